// SPDX-License-Identifier: Apache-2.0
// ctest: long
// Settings that no fixture of tests/fixtures/arch has, in models that must answer as a fixture does: the same network, told in another way
// (weights under other names, a factor moved from one place to another, padding where nothing is), goes through
// `hangar add` and `hangar convert --out`, and onnxruntime-node holds it to the fixture's reference.json.
import test from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ownHangar } from '../support/models.mjs';
import { LIMIT, apart, configuration, floats, followFolder, fromItself, fromOther, fromReference, longs, open, reference } from '../support/vectors.mjs';
import { bart, numbers, wav2vec2 } from '../support/plain.mjs';
import { readWeights, writeWeights } from '../support/weights.mjs';

const fixture = (name) => join(process.env.HANGAR_TOP, 'tests/fixtures/arch', name);
const own = ownHangar('variants');
test.after(own.remove);
let count = 0;

const tensor = (shape, list) => {
  const data = Buffer.alloc(4 * list.length);
  list.forEach((value, i) => data.writeFloatLE(value, 4 * i));
  return { dtype: 'F32', shape, data };
};
const times = (t, factor) => tensor(t.shape, numbers(t).map((value) => value * factor));
const copy = (t) => ({ ...t, data: Buffer.from(t.data) });

// The fixture with `change` made to its configuration and its tensors (a Map): where the converted model is.
function variant(name, change, ...options) {
  const id = `${name}-${count++}`, from = join(own.home, 'from', id), out = join(own.home, 'out', id);
  const config = configuration(fixture(name)), weights = readWeights(join(fixture(name), 'model.safetensors'));
  change(config, weights.tensors);
  mkdirSync(from, { recursive: true });
  writeFileSync(join(from, 'config.json'), JSON.stringify(config));
  writeWeights(join(from, 'model.safetensors'), weights);
  for (const args of [['add', from, '--as', `test/${id}`], ['convert', `test/${id}`, '--out', out, ...options]]) {
    const { status, stderr } = own.hangar(args);
    assert.equal(status, 0, `hangar ${args[0]} ${id}: ${status}: ${stderr.trim()}`);
  }
  return { out, config };
}

const rename = (tensors, from, to) => {
  for (const [name, t] of [...tensors]) {
    if (!name.match(from)) continue;
    tensors.delete(name);
    tensors.set(name.replace(from, to), t);
  }
};

// Answers as the fixture does, in both styles.
function same(what, name, change, cases = reference(fixture(name))) {
  for (const style of ['fused', 'portable']) {
    test(`${name}: ${what} (${style})`, async () => {
      const { out, config } = variant(name, change, '--style', style);
      const run = await followFolder(out, cases, config);
      const far = fromReference(run), self = fromItself(run);
      assert.ok(far.value <= LIMIT, far.text);
      assert.ok(!self || self.value <= LIMIT, self?.text);
    });
  }
}

// Two variants that are the same network; the second may be asked about the same things in another order of numbers.
function twins(what, name, one, two, cases = reference(fixture(name)), others = cases) {
  for (const style of ['fused', 'portable']) {
    test(`${name}: ${what} (${style})`, async () => {
      const a = variant(name, one, '--style', style), b = variant(name, two, '--style', style);
      const first = await followFolder(a.out, cases, a.config), second = await followFolder(b.out, others, b.config);
      const far = fromOther(first, second);
      assert.ok(far.value <= LIMIT, far.text);
      assert.ok(fromReference(first).value > 1e-3, 'another network than the fixture');
    });
  }
}

// ---- text to text ----

const t5Bias = (side, block) => `${side}.block.${block}.layer.0.SelfAttention.relative_attention_bias.weight`;
same('an untied head, whose weight has the factor inside', 't5', (config, tensors) => {
  config.tie_word_embeddings = false;
  delete config.scale_decoder_outputs;
  tensors.set('lm_head.weight', times(tensors.get('shared.weight'), config.d_model ** -0.5));
});
same('a head in the file although it is tied by name, and the scale told', 't5', (config, tensors) => {
  tensors.set('lm_head.weight', times(tensors.get('shared.weight'), config.d_model ** -0.5));
  config.scale_decoder_outputs = false;
});
same('without the newer keys', 't5', (config) => {
  for (const key of ['scale_decoder_outputs', 'dense_act_fn', 'is_gated_act', 'relative_attention_max_distance', 'tie_word_embeddings']) delete config[key];
});
same('as mT5', 't5', (config) => {
  config.model_type = 'mt5';
  config.architectures = ['MT5ForConditionalGeneration'];
  delete config.scale_decoder_outputs;
});
same('as UMT5, whose layers all have a bias', 't5', (config, tensors) => {
  config.model_type = 'umt5';
  config.architectures = ['UMT5ForConditionalGeneration'];
  for (const side of ['encoder', 'decoder']) tensors.set(t5Bias(side, 1), copy(tensors.get(t5Bias(side, 0))));
});
same('with wider heads, the rest of which is nothing', 't5', (config, tensors) => {
  const wider = (t, axis) => {
    const [rows, columns] = t.shape, old = numbers(t), h = config.num_heads, from = config.d_kv, to = 24;
    const list = [];
    if (axis === 0) for (let i = 0; i < h * to; i++) for (let j = 0; j < columns; j++) list.push(i % to < from ? old[(Math.floor(i / to) * from + i % to) * columns + j] : 0);
    else for (let i = 0; i < rows; i++) for (let j = 0; j < h * to; j++) list.push(j % to < from ? old[i * columns + Math.floor(j / to) * from + j % to] : 0);
    return tensor(axis === 0 ? [h * to, columns] : [rows, h * to], list);
  };
  for (const [name, t] of [...tensors]) {
    if (/Attention\.[qkv]\.weight$/.test(name)) tensors.set(name, wider(t, 0));
    if (/Attention\.o\.weight$/.test(name)) tensors.set(name, wider(t, 1));
  }
  config.d_kv = 24;
});
// sigmoid(1.702 a) a is quick_gelu(a).
for (const [act, slope] of [['silu', 1], ['quick_gelu', 1.702]]) {
  twins(`gated by sigmoid, which is ${act}`, 't5', (config) => Object.assign(config, { feed_forward_proj: act, dense_act_fn: act }), (config, tensors) => {
    Object.assign(config, { feed_forward_proj: 'gated-sigmoid', dense_act_fn: 'sigmoid', is_gated_act: true });
    for (const [name, t] of [...tensors]) {
      if (!name.endsWith('DenseReluDense.wi.weight')) continue;
      tensors.delete(name);
      tensors.set(name.replace('wi.weight', 'wi_0.weight'), times(t, slope));
      tensors.set(name.replace('wi.weight', 'wi_1.weight'), t);
    }
  });
}
twins('"gated-gelu" means gelu_new', 't5', ...['gated-gelu', 'gated-gelu_new'].map((proj) => (config, tensors) => {
  config.feed_forward_proj = proj;
  delete config.dense_act_fn;
  delete config.is_gated_act;
  for (const [name, t] of [...tensors]) {
    if (!name.endsWith('DenseReluDense.wi.weight')) continue;
    tensors.delete(name);
    tensors.set(name.replace('wi.weight', 'wi_0.weight'), t);
    tensors.set(name.replace('wi.weight', 'wi_1.weight'), times(t, -0.5));
  }
}));

// The list of buckets inside a graph: whole numbers of 8 bytes that begin with 0, 1, ..
function buckets(file, exact, length) {
  const bytes = readFileSync(file), want = Buffer.alloc(8 * exact);
  for (let i = 0; i < exact; i++) want.writeBigInt64LE(BigInt(i), 8 * i);
  const at = bytes.indexOf(want);
  assert.ok(at >= 0, 'no list of buckets');
  return Array.from({ length }, (_, i) => Number(bytes.readBigInt64LE(at + 8 * i)));
}
const firstOf = (list) => list.flatMap((bucket, distance) => (bucket !== list[distance - 1] ? [distance] : []));
test('t5: the distances at which buckets begin', () => {
  const { out } = variant('t5', () => {});
  const one = (n) => Array.from({ length: n }, (_, i) => i);
  // 8 2^(k / 2) and 16 8^(k / 16), rounded up
  assert.deepEqual(firstOf(buckets(join(out, 'onnx/encoder_model.onnx'), 8, 129)), [...one(8), 8, 12, 16, 23, 32, 46, 64, 91]);
  assert.deepEqual(firstOf(buckets(join(out, 'onnx/decoder_model_merged.onnx'), 16, 129)), [...one(16), 16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]);
});

test('t5: more tokens than any bucket begins at, at once and with the cache', async () => {
  const { out, config } = variant('t5', () => {});
  const ids = (n) => ({ shape: [1, n], data: Array.from({ length: n }, (_, i) => (i * 37 + 11) % 90 + 2) });
  const cases = [{ inputs: { input_ids: ids(160), attention_mask: { shape: [1, 160], data: Array(160).fill(1) }, decoder_input_ids: ids(150) }, outputs: { logits: null } }];
  const far = fromItself(await followFolder(out, { class: 'T5ForConditionalGeneration', cases }, config));
  assert.ok(far.value <= LIMIT, far.text);
});

const scaledUp = (config, tensors) => {
  const shared = tensors.get('model.shared.weight');
  config.scale_embedding = true;
  config.tie_word_embeddings = false;
  tensors.set('model.shared.weight', times(shared, config.d_model ** -0.5));
  tensors.set('lm_head.weight', shared);
};
for (const name of ['bart', 'marian']) same('embeddings that are scaled, a head of its own', name, scaledUp);
same('the names of the bare model', 'bart', (config, tensors) => {
  config.architectures = ['BartModel'];
  rename(tensors, /^model\./, '');
});
same('the table under the name of a stack', 'bart', (config, tensors) => rename(tensors, /^model\.shared/, 'model.decoder.embed_tokens'));
same('two tables', 'marian', (config, tensors) => {
  const shared = tensors.get('model.shared.weight');
  config.share_encoder_decoder_embeddings = false;
  tensors.delete('model.shared.weight');
  tensors.set('model.encoder.embed_tokens.weight', shared);
  tensors.set('model.decoder.embed_tokens.weight', copy(shared));
});
same('two tables of different length', 'marian', (config, tensors) => {
  const shared = tensors.get('model.shared.weight'), rows = config.vocab_size;
  config.share_encoder_decoder_embeddings = false;
  config.vocab_size = rows + 5;
  config.decoder_vocab_size = rows;
  tensors.delete('model.shared.weight');
  tensors.set('model.encoder.embed_tokens.weight', tensor([rows + 5, config.d_model], [...numbers(shared), ...Array(5 * config.d_model).fill(1)]));
  tensors.set('model.decoder.embed_tokens.weight', copy(shared));
});
same('positions in the file', 'marian', (config, tensors) => {
  const width = config.d_model, half = width / 2, list = [];
  for (let p = 0; p < config.max_position_embeddings; p++) {
    for (let j = 0; j < half; j++) list.push(Math.sin(p / 10000 ** (2 * j / width)));
    for (let j = 0; j < half; j++) list.push(Math.cos(p / 10000 ** (2 * j / width)));
  }
  for (const side of ['encoder', 'decoder']) tensors.set(`model.${side}.embed_positions.weight`, tensor([config.max_position_embeddings, width], list));
});

// ---- pictures, sounds ----

same('sizes in pairs', 'vit', (config) => {
  config.image_size = [32, 32];
  config.patch_size = [8, 8];
});
const qkvBias = /attention\.(query|key|value)\.bias$/;
twins('no biases, and biases of nothing', 'vit', (config, tensors) => {
  for (const [name, t] of tensors) if (qkvBias.test(name)) tensors.set(name, times(t, 0));
}, (config, tensors) => {
  config.qkv_bias = false;
  for (const name of [...tensors.keys()]) if (qkvBias.test(name)) tensors.delete(name);
});
// A picture on its side, in patches on their side.
const turned = (rows, columns, list) => Array.from({ length: rows * columns }, (_, i) => list[(i % rows) * columns + Math.floor(i / rows)]);
const pictures = (change) => {
  const all = reference(fixture('vit'));
  for (const { inputs: { pixel_values: x } } of all.cases) change(x);
  return all;
};
const wide = (config, tensors) => {
  const { data, shape: [out, channels] } = tensors.get('vit.embeddings.patch_embeddings.projection.weight');
  const old = numbers({ data }), list = [];
  for (let i = 0; i < out * channels * 8; i++) for (let j = 0; j < 16; j++) list.push(old[i * 8 + (j % 8)] * (1 + j / 16));
  const place = numbers(tensors.get('vit.embeddings.position_embeddings')).slice(0, 9 * config.hidden_size);
  return { list, place, out, channels };
};
twins('patches that are no squares', 'vit', (config, tensors) => {
  const { list, place, out, channels } = wide(config, tensors);
  config.patch_size = [8, 16];
  tensors.set('vit.embeddings.patch_embeddings.projection.weight', tensor([out, channels, 8, 16], list));
  tensors.set('vit.embeddings.position_embeddings', tensor([1, 9, config.hidden_size], place));
}, (config, tensors) => {
  const { list, place, out, channels } = wide(config, tensors), width = config.hidden_size;
  config.patch_size = [16, 8];
  const sides = Array.from({ length: out * channels }, (_, i) => turned(8, 16, list.slice(i * 128, (i + 1) * 128))).flat();
  tensors.set('vit.embeddings.patch_embeddings.projection.weight', tensor([out, channels, 16, 8], sides));
  const rows = Array.from({ length: 8 }, (_, i) => place.slice((i + 1) * width, (i + 2) * width)); // 4 x 2
  tensors.set('vit.embeddings.position_embeddings', tensor([1, 9, width], [...place.slice(0, width), ...turned(4, 2, rows).flat()]));
}, reference(fixture('vit')), pictures((x) => {
  const [batch, channels, height, width] = x.shape, size = height * width;
  x.data = Array.from({ length: batch * channels }, (_, i) => turned(height, width, x.data.slice(i * size, (i + 1) * size))).flat();
}));

test('vit: the bare model with its pooler', async () => {
  const { out } = variant('vit', (config, tensors) => {
    config.architectures = ['ViTModel'];
    const eye = Array.from({ length: 64 * 64 }, (_, i) => (i % 65 ? 0 : 1));
    tensors.set('vit.pooler.dense.weight', tensor([64, 64], eye));
    tensors.set('vit.pooler.dense.bias', tensor([64], Array(64).fill(0.25)));
  });
  const model = await open(out, 'model'), { shape, data } = reference(fixture('vit')).cases[0].inputs.pixel_values;
  const got = await model.run({ pixel_values: floats(data, shape) });
  assert.deepEqual(got.last_hidden_state.dims, [2, 17, 64]);
  assert.deepEqual(got.pooler_output.dims, [2, 64]);
  const first = (i) => got.last_hidden_state.data[Math.floor(i / 64) * 17 * 64 + (i % 64)];
  assert.ok(apart(got.pooler_output.data, Array.from({ length: 128 }, (_, i) => Math.tanh(first(i) + 0.25))).value < 1e-6);
  await model.release();
});

const unit = (list) => {
  const size = Math.hypot(...list);
  return list.map((value) => value / size);
};
for (const name of ['clip', 'siglip']) {
  test(`${name}: each half alone gives what both give together`, async () => {
    const { out } = variant(name, () => {});
    const { inputs, outputs } = reference(fixture(name)).cases[0], ids = inputs.input_ids, pixels = inputs.pixel_values;
    const given = { input_ids: longs(ids.data, ids.shape), ...(name === 'clip' && { attention_mask: longs(ids.data.map(() => 1), ids.shape) }) };
    const text = await open(out, 'text_model'), vision = await open(out, 'vision_model');
    const t = await text.run(given), v = await vision.run({ pixel_values: floats(pixels.data, pixels.shape) });
    assert.ok(apart(unit([...(t.text_embeds ?? t.pooler_output).data]), outputs.text_embeds.data).value < LIMIT);
    assert.ok(apart(unit([...(v.image_embeds ?? v.pooler_output).data]), outputs.image_embeds.data).value < LIMIT);
    await text.release();
    await vision.release();
  });

  test(`${name}: several texts and pictures at once, and how alike they are`, async () => {
    const { out } = variant(name, () => {});
    const { inputs } = reference(fixture(name)).cases[0], pixels = inputs.pixel_values.data, ids = inputs.input_ids.data;
    const model = await open(out, 'model'), other = ids.map((id, i) => (i + 3 < ids.length ? (id * 7 + i) % 90 : id));
    const masked = name === 'clip' ? (mask) => ({ attention_mask: longs(mask, [mask.length / ids.length, ids.length]) }) : () => ({});
    const ones = ids.map(() => 1), flat = pixels.map((value, i) => value * Math.cos(i));
    const pair = await model.run({ input_ids: longs([...ids, ...other, ...ids], [3, ids.length]), ...masked([...ones, ...ones, ...ones]), pixel_values: floats([...pixels, ...flat], [2, 3, 32, 32]) });
    assert.deepEqual(pair.logits_per_text.dims, [3, 2]);
    assert.deepEqual(pair.logits_per_image.dims, [2, 3]);
    const alone = await model.run({ input_ids: longs(other, [1, ids.length]), ...masked(ones), pixel_values: floats(flat, [1, 3, 32, 32]) });
    const width = pair.text_embeds.dims[1];
    assert.ok(apart(pair.text_embeds.data.slice(width, 2 * width), alone.text_embeds.data).value < 1e-6);
    assert.ok(apart(pair.image_embeds.data.slice(width), alone.image_embeds.data).value < 1e-6);
    const scalar = (leaf) => numbers(readWeights(join(fixture(name), 'model.safetensors')).tensors.get(leaf))[0];
    const scale = Math.exp(scalar('logit_scale')), bias = name === 'siglip' ? scalar('logit_bias') : 0;
    for (let t = 0; t < 3; t++) {
      for (let i = 0; i < 2; i++) {
        let sum = 0;
        for (let j = 0; j < width; j++) sum += pair.text_embeds.data[t * width + j] * pair.image_embeds.data[i * width + j];
        assert.ok(Math.abs(pair.logits_per_text.data[2 * t + i] - (scale * sum + bias)) < 1e-4);
        assert.equal(pair.logits_per_text.data[2 * t + i], pair.logits_per_image.data[3 * i + t]);
      }
    }
    await model.release();
  });
}

for (const [name, kinds] of [['clip', ['CLIPTextModelWithProjection', 'CLIPVisionModelWithProjection']], ['siglip', ['SiglipTextModel', 'SiglipVisionModel']]]) {
  test(`${name}: each half alone in transformers.js`, async () => {
    const library = await import(pathToFileURL(createRequire(join(process.env.HANGAR_TOP, 'tests/')).resolve('@huggingface/transformers')));
    const { out } = variant(name, () => {});
    const { inputs: { input_ids: ids, pixel_values: pixels }, outputs } = reference(fixture(name)).cases[0];
    Object.assign(library.env, { allowRemoteModels: false, localModelPath: dirname(out) });
    const [text, vision] = await Promise.all(kinds.map((kind) => library[kind].from_pretrained(basename(out), { dtype: 'fp32' })));
    const word = (list) => new library.Tensor('int64', BigInt64Array.from(list, BigInt), ids.shape);
    const t = await text({ input_ids: word(ids.data), attention_mask: word(ids.data.map(() => 1)) });
    const v = await vision({ pixel_values: new library.Tensor('float32', Float32Array.from(pixels.data), pixels.shape) });
    assert.ok(apart(unit([...(t.text_embeds ?? t.pooler_output).data]), outputs.text_embeds.data).value < LIMIT);
    assert.ok(apart(unit([...(v.image_embeds ?? v.pooler_output).data]), outputs.image_embeds.data).value < LIMIT);
    await text.dispose();
    await vision.dispose();
  });
}

for (const [rule, eos] of [['the largest id', 2], ['the first one of its id', 90]]) {
  test(`clip: padding changes nothing (the end is ${rule})`, async () => {
    const { out } = variant('clip', (config) => { config.text_config.eos_token_id = eos; });
    const text = await open(out, 'text_model'), ids = [1, 20, 33, 7, 90];
    const run = (rows, mask) => text.run({ input_ids: longs(rows.flat(), [rows.length, rows[0].length]), attention_mask: longs(mask.flat(), [mask.length, mask[0].length]) });
    const alone = await run([ids], [ids.map(() => 1)]);
    const padded = await run([[...ids, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7, 90]], [[1, 1, 1, 1, 1, 0, 0, 0], Array(8).fill(1)]);
    assert.ok(apart(padded.text_embeds.data.slice(0, 32), alone.text_embeds.data).value < 1e-6);
    const again = await run([[...ids, 90, 90, 90]], [[1, 1, 1, 1, 1, 0, 0, 0]]); // the end token as padding: the first one counts
    assert.ok(apart(again.text_embeds.data, alone.text_embeds.data).value < 1e-6);
    await text.release();
  });
}

same('the end told by its own id', 'clip', (config) => { config.text_config.eos_token_id = Math.max(...reference(fixture('clip')).cases[0].inputs.input_ids.data); });
same('weight norm under its older names', 'wav2vec2', (config, tensors) => {
  rename(tensors, 'parametrizations.weight.original0', 'weight_g');
  rename(tensors, 'parametrizations.weight.original1', 'weight_v');
});
same('as HuBERT', 'wav2vec2', (config, tensors) => {
  config.model_type = 'hubert';
  config.architectures = ['HubertForCTC'];
  rename(tensors, /^wav2vec2\./, 'hubert.');
});
test('wav2vec2: classes from the mean of all frames', async () => {
  const { out } = variant('wav2vec2', (config, tensors) => {
    config.architectures = ['Wav2Vec2ForSequenceClassification'];
    config.classifier_proj_size = 32;
    rename(tensors, /^lm_head\./, 'projector.');
    tensors.set('classifier.weight', tensor([3, 32], Array.from({ length: 96 }, (_, i) => (i % 32 === Math.floor(i / 32) ? 1 : 0))));
    tensors.set('classifier.bias', tensor([3], [0, 0, 0.5]));
  });
  const { inputs: { input_values: sound }, outputs: { logits } } = reference(fixture('wav2vec2')).cases[0], frames = logits.shape[1];
  const model = await open(out, 'model'), got = await model.run({ input_values: floats(sound.data, sound.shape) });
  const mean = (k) => Array.from({ length: frames }, (_, f) => logits.data[f * 32 + k]).reduce((a, b) => a + b) / frames;
  assert.deepEqual(got.logits.dims, [1, 3]);
  assert.ok(apart(got.logits.data, [mean(0), mean(1), mean(2) + 0.5]).value < LIMIT);
  await model.release();
});

test('wav2vec2: two sounds at once give what each gives alone', async () => {
  const { out } = variant('wav2vec2', () => {});
  const { input_values: { data } } = reference(fixture('wav2vec2')).cases[0].inputs;
  const model = await open(out, 'model'), other = data.map((value, i) => value * Math.sin(i / 9));
  const both = await model.run({ input_values: floats([...data, ...other], [2, data.length]) });
  const alone = await model.run({ input_values: floats(other, [1, data.length]) });
  assert.ok(apart(both.logits.data.slice(both.logits.data.length / 2), alone.logits.data).value < 1e-5);
  await model.release();
});

// ---- against the equations in double precision ----

// Numbers that look random and are the same in each run.
const noise = (shape, seed, size = 1, around = 0) => {
  let state = seed;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  return tensor(shape, Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => around + size * next()));
};
const addNorm = (tensors, name, width, seed) => {
  tensors.set(`${name}.weight`, noise([width], seed, 0.3, 1));
  tensors.set(`${name}.bias`, noise([width], seed + 1, 0.3));
};

// A variant's configuration and tensors again, for the equations.
const parts = (name, change) => {
  const config = configuration(fixture(name)), { tensors } = readWeights(join(fixture(name), 'model.safetensors'));
  change(config, tensors);
  return { config, tensors };
};

const sounds = {
  'as the fixture is': () => {},
  'a stable layer norm': (config) => { config.do_stable_layer_norm = true; },
  'norms over channels, with biases': (config, tensors) => {
    config.feat_extract_norm = 'layer';
    config.conv_bias = true;
    config.conv_dim.forEach((width, i) => {
      addNorm(tensors, `wav2vec2.feature_extractor.conv_layers.${i}.layer_norm`, width, 7 * i);
      tensors.set(`wav2vec2.feature_extractor.conv_layers.${i}.conv.bias`, noise([width], 100 + i, 0.2));
    });
  },
  'all of that, an odd kernel, other widths and steps': (config, tensors) => {
    sounds['a stable layer norm'](config, tensors);
    Object.assign(config, { conv_dim: [8, 24, 16], conv_kernel: [10, 4, 5], conv_stride: [5, 4, 3], num_feat_extract_layers: 3, num_conv_pos_embeddings: 7, num_conv_pos_embedding_groups: 2 });
    for (const name of [...tensors.keys()]) if (/feature_extractor|feature_projection|pos_conv_embed/.test(name)) tensors.delete(name);
    config.conv_dim.forEach((width, i) => tensors.set(`wav2vec2.feature_extractor.conv_layers.${i}.conv.weight`, noise([width, i ? config.conv_dim[i - 1] : 1, config.conv_kernel[i]], 200 + i, 0.4)));
    sounds['norms over channels, with biases'](config, tensors);
    addNorm(tensors, 'wav2vec2.feature_projection.layer_norm', 16, 300);
    tensors.set('wav2vec2.feature_projection.projection.weight', noise([64, 16], 301, 0.3));
    tensors.set('wav2vec2.feature_projection.projection.bias', noise([64], 302, 0.3));
    const conv = 'wav2vec2.encoder.pos_conv_embed.conv.';
    tensors.set(`${conv}bias`, noise([64], 303, 0.3));
    tensors.set(`${conv}parametrizations.weight.original0`, noise([1, 1, 7], 304, 1, 2));
    tensors.set(`${conv}parametrizations.weight.original1`, noise([64, 32, 7], 305, 0.2));
  },
};
for (const [what, change] of Object.entries(sounds)) {
  for (const style of ['fused', 'portable']) {
    test(`wav2vec2 by its equations: ${what} (${style})`, async () => {
      const { config, tensors } = parts('wav2vec2', change), { out } = variant('wav2vec2', change, '--style', style);
      const { shape, data } = reference(fixture('wav2vec2')).cases[0].inputs.input_values;
      const want = wav2vec2(tensors, config, data), model = await open(out, 'model');
      const { logits } = await model.run({ input_values: floats(data, shape) });
      assert.deepEqual(logits.dims, [1, want.length, want[0].length]);
      const far = apart(logits.data, want.flat());
      assert.ok(far.value <= LIMIT, `${far.value}`);
      if (what.startsWith('as')) assert.ok(apart(want.flat(), reference(fixture('wav2vec2')).cases[0].outputs.logits.data).value <= LIMIT);
      await model.release();
    });
  }
}

const texts = {
  'as the fixture is': () => {},
  'as mBART, scaled': (config, tensors) => {
    Object.assign(config, { model_type: 'mbart', architectures: ['MBartForConditionalGeneration'], scale_embedding: true });
    for (const side of ['encoder', 'decoder']) addNorm(tensors, `model.${side}.layer_norm`, config.d_model, side.charCodeAt(0));
  },
  'heads and layers of different count': (config, tensors) => {
    Object.assign(config, { encoder_attention_heads: 8, decoder_attention_heads: 2, encoder_layers: 1, normalize_before: false, normalize_embedding: true, extra_pos_embeddings: 2 });
    tensors.set('final_logits_bias', noise([1, config.vocab_size], 5));
  },
};
for (const [what, change] of Object.entries(texts)) {
  const want = ({ cases: [{ inputs }], ...rest }) => {
    const { config, tensors } = parts('bart', change), [rows, width] = inputs.input_ids.shape, [, length] = inputs.decoder_input_ids.shape;
    const row = ({ data }, i, n) => data.slice(i * n, (i + 1) * n);
    const data = Array.from({ length: rows }, (_, i) => bart(tensors, config, row(inputs.input_ids, i, width), row(inputs.attention_mask, i, width), row(inputs.decoder_input_ids, i, length))).flat(2);
    return { ...rest, cases: [{ inputs, outputs: { logits: { shape: [rows, length, config.vocab_size], data } } }] };
  };
  same(`by its equations: ${what}`, 'bart', change, want(reference(fixture('bart'))));
}
