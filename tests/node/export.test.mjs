// SPDX-License-Identifier: Apache-2.0
// What `hangar convert` writes, read by others: onnxruntime-node gives the reference's numbers, @huggingface/transformers
// transcribes and embeds from the folder; and `hangar validate` tells a sound model from a damaged one.
import test from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, readdirSync, realpathSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { ownHangar } from '../support/models.mjs';

const top = process.env.HANGAR_TOP;
const require = createRequire(join(top, 'tests/'));
const ort = require('onnxruntime-node');
const json = (text) => JSON.parse(text.trim().split('\n').at(-1));
const read = (...path) => JSON.parse(readFileSync(join(...path), 'utf8'));
const out = (name) => join(dir, 'out', name);
const fixtures = ['bert', 'bert-cls', 'bert-mlm', 'whisper'];
const starters = ['whisper-digits', 'tiny-embed'];
const own = ownHangar('export', ...starters);
const dir = own.home, hangar = (...args) => own.hangar(args);

function ok(result, code = 0) {
  assert.equal(result.status, code, result.stderr + result.stdout);
  return result;
}

test.before(() => {
  for (const name of fixtures) ok(hangar('add', join(top, 'tests/fixtures/arch', name), '--as', `arch/${name}`));
  for (const name of fixtures) ok(hangar('convert', `arch/${name}`, '--out', out(name)));
  for (const name of starters) ok(hangar('convert', `hangar-labs/${name}`, '--out', out(name)));
});
test.after(own.remove);

const session = (name, graph) => ort.InferenceSession.create(join(out(name), 'onnx', `${graph}.onnx`));
const longs = (numbers, shape) => new ort.Tensor('int64', BigInt64Array.from(numbers.map(BigInt)), shape);
const floats = (numbers, shape) => new ort.Tensor('float32', Float32Array.from(numbers), shape);
const apart = (a, b) => {
  assert.equal(a.length, b.length);
  let worst = 0;
  for (let i = 0; i < a.length; i++) worst = Math.max(worst, Math.abs(a[i] - b[i]));
  return Number.isNaN(worst) ? Infinity : worst;
};

for (const name of ['bert', 'bert-cls', 'bert-mlm']) {
  test(`${name} gives the reference's numbers in onnxruntime-node`, async () => {
    const model = await session(name, 'model');
    assert.deepEqual(model.inputNames, ['input_ids', 'attention_mask', 'token_type_ids']);
    for (const one of read(top, 'tests/fixtures/arch', name, 'reference.json').cases) {
      const shape = one.inputs.input_ids.shape;
      const mask = one.inputs.attention_mask.data.flat(9);
      const given = await model.run({
        input_ids: longs(one.inputs.input_ids.data.flat(9), shape), attention_mask: longs(mask, shape),
        token_type_ids: longs(mask.map(() => 0), shape),
      });
      for (const [key, want] of Object.entries(one.outputs)) {
        assert.deepEqual(given[key].dims, want.shape);
        const row = given[key].data.length / mask.length;
        // Where there is a row for each token the reference holds zeros for padding.
        const have = want.shape.length === 3 ? given[key].data.map((x, i) => (mask[Math.floor(i / row)] ? x : 0)) : given[key].data;
        assert.ok(apart(have, want.data.flat(9)) < 5e-5, `${key}: ${apart(have, want.data.flat(9))}`);
      }
    }
  });
}

// The decoder with its cache: call it with ids, it remembers.
async function decoder(model, hidden) {
  const past = {};
  for (const { name, shape } of model.inputMetadata) {
    if (name.startsWith('past_key_values.')) past[name] = floats([], [1, shape[1], 0, shape[3]]);
  }
  let cached = false;
  return async (ids) => {
    const given = await model.run({
      input_ids: longs(ids, [1, ids.length]), encoder_hidden_states: hidden, ...past, use_cache_branch: new ort.Tensor('bool', [cached], [1]),
    });
    for (const name of Object.keys(past)) {
      if (!(cached && name.includes('.encoder.'))) past[name] = given[name.replace('past_key_values', 'present')];
    }
    cached = true;
    return given.logits;
  };
}

test('whisper gives the reference\'s numbers in onnxruntime-node, at once and step by step', async () => {
  const encoder = await session('whisper', 'encoder_model');
  const model = await session('whisper', 'decoder_model_merged');
  const [one] = read(top, 'tests/fixtures/arch/whisper/reference.json').cases;
  const { input_features: mel, decoder_input_ids: prompt } = one.inputs;
  const hidden = (await encoder.run({ input_features: floats(mel.data.flat(9), mel.shape) })).last_hidden_state;
  assert.deepEqual(hidden.dims, one.outputs.last_hidden_state.shape);
  assert.ok(apart(hidden.data, one.outputs.last_hidden_state.data.flat(9)) < 5e-5);
  const ids = prompt.data.flat(9), want = one.outputs.logits.data.flat(9), words = one.outputs.logits.shape[2];
  const whole = await (await decoder(model, hidden))(ids);
  assert.deepEqual(whole.dims, one.outputs.logits.shape);
  assert.ok(apart(whole.data, want) < 5e-5);
  const step = await decoder(model, hidden);
  let at = 0;
  for (const count of [2, 1, 1, 2]) {
    const logits = await step(ids.slice(at, at + count));
    assert.ok(apart(logits.data, want.slice(at * words, (at + count) * words)) < 5e-5);
    at += count;
  }
});

// 16-bit PCM of a shipped clip, 16 kHz mono, as floats.
function clip(file) {
  const wav = readFileSync(join(top, 'models/clips', file));
  let at = 12;
  while (wav.toString('latin1', at, at + 4) !== 'data') at += 8 + wav.readUInt32LE(at + 4);
  return Float32Array.from({ length: wav.readUInt32LE(at + 4) / 2 }, (_, i) => wav.readInt16LE(at + 8 + 2 * i) / 32768);
}

async function transformers() {
  const module = await import(pathToFileURL(require.resolve('@huggingface/transformers')));
  module.env.allowRemoteModels = false;
  module.env.localModelPath = join(dir, 'out');
  return module;
}

test('whisper-digits: features, encoder and first logits are the reference\'s', async () => {
  const { AutoProcessor } = await transformers();
  const processor = await AutoProcessor.from_pretrained('whisper-digits');
  const encoder = await session('whisper-digits', 'encoder_model');
  const model = await session('whisper-digits', 'decoder_model_merged');
  for (const one of read(top, 'models/hangar-labs/whisper-digits/reference.json').clips) {
    const { input_features: mel } = await processor(clip(one.file));
    const hidden = (await encoder.run({ input_features: floats(mel.data, mel.dims) })).last_hidden_state;
    const width = hidden.dims[2];
    for (const [key, want] of Object.entries(one.encoder)) {
      const place = /^t(\d+)_dims_(\d+)_(\d+)$/.exec(key)?.slice(1).map(Number);
      if (!place) continue;
      const [t, from, to] = place;
      assert.ok(apart(hidden.data.slice(t * width + from, t * width + to), want) < 1e-3, key);
    }
    const logits = await (await decoder(model, hidden))(one.decoder.prompt);
    const last = logits.data.slice(-logits.dims[2]);
    assert.ok(apart(last.slice(0, 8), one.decoder.step0_logits_0_8) < 1e-3);
  }
});

test('transformers.js transcribes every clip from the folder', async () => {
  const { pipeline } = await transformers();
  const listen = await pipeline('automatic-speech-recognition', 'whisper-digits');
  const clips = read(top, 'models/clips/clips.json');
  for (const one of (clips.clips ?? clips).filter(({ file }) => /^digits-\d+\.wav$/.test(file))) {
    const { text } = await listen(clip(one.file), { language: 'en', task: 'transcribe' });
    assert.equal(text.trim(), one.model_text.trim(), one.file);
  }
});

test('transformers.js embeds from the folder', async () => {
  const { pipeline } = await transformers();
  const embed = await pipeline('feature-extraction', 'tiny-embed');
  for (const one of read(top, 'models/hangar-labs/tiny-embed/reference.json').sentences) {
    const { data } = await embed(one.text, { pooling: 'mean', normalize: true });
    assert.ok(apart(data, one.embedding) < 1e-4, one.text);
  }
});

// A checkpoint again, every weight cut to its upper 16 bits: as BF16, or as F32 with the lower ones zero.
function halved(from, to, type) {
  mkdirSync(to, { recursive: true });
  const file = readFileSync(join(from, 'model.safetensors'));
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + length));
  const parts = [];
  let at = 0;
  for (const [name, tensor] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [begin, end] = tensor.data_offsets.map((x) => x + 8 + length);
    const count = (end - begin) / 4, size = type === 'BF16' ? 2 : 4;
    const part = Buffer.alloc(count * size);
    for (let i = 0; i < count; i++) file.copy(part, i * size + size - 2, begin + 4 * i + 2, begin + 4 * i + 4);
    parts.push(part);
    header[name] = { ...tensor, dtype: type, data_offsets: [at, at + part.length] };
    at += part.length;
  }
  const text = Buffer.from(JSON.stringify(header));
  const first = Buffer.alloc(8);
  first.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(join(to, 'model.safetensors'), Buffer.concat([first, text, ...parts]));
  writeFileSync(join(to, 'config.json'), readFileSync(join(from, 'config.json')));
}

for (const [name, graphs] of [['bert-mlm', ['model']], ['whisper', ['encoder_model', 'decoder_model_merged']]]) {
  test(`${name}: 16-bit weights give what the same numbers give in 32 bits`, async () => {
    const given = {};
    for (const type of ['BF16', 'F32']) {
      const as = `half-${name}-${type}`.toLowerCase();
      halved(join(top, 'tests/fixtures/arch', name), join(dir, as), type);
      ok(hangar('add', join(dir, as), '--as', `arch/${as}`));
      ok(hangar('convert', `arch/${as}`, '--out', out(as)));
      ok(hangar('convert', `arch/${as}`));
      ok(hangar('validate', `arch/${as}`));
      const first = await session(as, graphs[0]);
      if (name === 'bert-mlm') {
        const ids = [5, 17, 40, 3, 88], ones = ids.map(() => 1);
        given[type] = (await first.run({
          input_ids: longs(ids, [1, 5]), attention_mask: longs(ones, [1, 5]), token_type_ids: longs(ids.map((_, i) => i & 1), [1, 5]),
        })).logits.data;
      } else {
        const mel = Array.from({ length: 80 * 200 }, (_, i) => Math.sin(0.01 * i));
        const hidden = (await first.run({ input_features: floats(mel, [1, 80, 200]) })).last_hidden_state;
        given[type] = (await (await decoder(await session(as, graphs[1]), hidden))([3, 9, 27])).data;
      }
    }
    assert.ok(apart(given.BF16, given.F32) < 1e-5, String(apart(given.BF16, given.F32)));
  });
}

test('validate passes what is sound', () => {
  for (const ref of [...fixtures.map((name) => `arch/${name}`), ...starters.map((name) => `hangar-labs/${name}`)]) {
    ok(hangar('convert', ref));
    const report = json(ok(hangar('validate', ref, '--json')).stdout);
    assert.equal(report.ok, true);
    const names = report.checks.map((check) => check.name);
    for (const need of ['structure', 'load', 'finite']) assert.ok(names.includes(need), `${ref}: ${need}`);
    assert.ok(names.includes(ref.includes('whisper') ? 'cache' : 'padding'));
    if (ref !== 'hangar-labs/whisper-digits') assert.ok(names.includes('reference')); // its reference is about clips it does not hold
  }
});

test('validate tells when a weight or a graph is not what it was', () => {
  const converted = json(ok(hangar('convert', 'arch/bert', '--json')).stdout);
  const shown = json(ok(hangar('show', 'arch/bert', '--json')).stdout);
  const weights = realpathSync(join(shown.path, 'model.safetensors'));
  const good = readFileSync(weights), graph = join(converted.path, 'model.onnx'), goodGraph = readFileSync(graph);
  const bad = Buffer.from(good);
  for (let i = 0; i < 64; i++) bad.writeFloatLE(3, bad.length - 30000 + 4 * i);
  writeFileSync(weights, bad);
  const report = json(ok(hangar('validate', 'arch/bert', '--json'), 6).stdout);
  writeFileSync(weights, good);
  assert.equal(report.ok, false);
  assert.equal(report.checks.find((check) => check.name === 'reference').ok, false);
  assert.equal(read(converted.path, 'report.json').ok, false);

  const name = Buffer.from('Gemm');
  const broken = Buffer.from(goodGraph);
  broken.write('Gemn', broken.indexOf(name));
  writeFileSync(graph, broken);
  const structure = json(ok(hangar('validate', 'arch/bert', '--json'), 6).stdout).checks;
  assert.deepEqual(structure.map(({ name, ok }) => [name, ok]), [['structure', false]]); // the engine never sees it
  assert.match(structure[0].detail, /Gemn/);
  writeFileSync(graph, goodGraph);
  ok(hangar('validate', 'arch/bert'));
});

test('convert answers with the code that its error has', () => {
  ok(hangar('convert', 'arch/nothing'), 3);
  ok(hangar('convert', 'arch/bert', '--out', out('bert')), 2);
  ok(hangar('convert', 'arch/bert', '--opset', '16'), 2);
  ok(hangar('validate', 'arch/bert-cls@nothing'), 3);
  const odd = join(dir, 'odd');
  mkdirSync(odd);
  writeFileSync(join(odd, 'config.json'), '{"model_type": "mamba9"}');
  writeFileSync(join(odd, 'model.safetensors'), readFileSync(join(top, 'tests/fixtures/arch/bert/model.safetensors')));
  ok(hangar('add', odd, '--as', 'arch/odd'));
  assert.match(ok(hangar('convert', 'arch/odd'), 9).stderr, /mamba9/);
  ok(hangar('validate', 'arch/odd'), 3);
});

test('the folder has what it should and is nothing but real files', () => {
  for (const name of [...fixtures, ...starters]) {
    assert.ok(existsSync(join(out(name), 'config.json')));
    for (const entry of readdirSync(out(name), { recursive: true, withFileTypes: true })) assert.ok(entry.isFile() || entry.isDirectory());
  }
  assert.ok(existsSync(join(out('whisper-digits'), 'tokenizer.json')));
  ok(hangar('convert', 'arch/bert', '--copy', '--out', out('copied')));
  assert.equal(statSync(join(out('copied'), 'onnx/model.safetensors')).nlink, 1);
  const linked = ok(hangar('convert', 'arch/bert', '--link', '--out', out('linked')));
  assert.match(linked.stderr + linked.stdout, /onnx/);
  assert.equal(statSync(join(out('linked'), 'onnx/model.safetensors')).nlink > 1, true);
  assert.deepEqual(readdirSync(dirname(out('x'))).filter((entry) => entry.startsWith('.')), []);
});

test('validate looks at a form that is asked for, and layer by layer', () => {
  ok(hangar('convert', 'arch/bert', '--form', 'int8'));
  const plain = json(ok(hangar('validate', 'arch/bert', '--form', 'int8', '--json')).stdout);
  assert.equal(plain.form, 'int8');
  const named = (report, name) => report.checks.filter((check) => check.name === name);
  assert.equal(named(plain, 'drift').length, 1);
  const deep = json(ok(hangar('validate', 'arch/bert', '--form', 'int8', '--layers', '--json')).stdout);
  assert.equal(named(deep, 'drift').length, 2, 'one for the first layer, one for both');
  assert.ok(named(deep, 'drift').every(({ value }) => value > 0 && value < 0.1));
  const missing = hangar('validate', 'arch/bert', '--form', 'int4', '--json');
  assert.equal(missing.status, 3);
  assert.equal(hangar('validate', 'arch/bert', '--form', 'int5').status, 2);
});
