// SPDX-License-Identifier: Apache-2.0
// `hangar embed` over the real program: the reference's vectors, retrieval, batches, cuts.
import test from 'node:test';
import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { models, ownHangar, reference } from '../support/models.mjs';

const repo = 'hangar-labs/tiny-embed';
const own = ownHangar('embed', 'tiny-embed', 'whisper-digits');
test.after(own.remove);
const { hangar, result } = own;
const embed = (...texts) => result(['embed', repo, ...texts]);
const ref = reference('tiny-embed');
const far = (a, b) => Math.max(...a.map((x, i) => Math.abs(x - b[i])));
const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);

test('the vectors of the reference, one by one and all at once', () => {
  const all = embed(...ref.sentences.map((s) => s.text));
  assert.equal(all.dimensions, 96);
  assert.deepEqual(all.truncated, []);
  for (const [i, s] of ref.sentences.entries()) {
    assert.ok(far(all.embeddings[i], s.embedding) < 1e-4, s.text);
    assert.equal(all.tokens[i], s.input_ids.length);
    assert.ok(far(embed(s.text).embeddings[0], all.embeddings[i]) < 1e-5, 'a batch changes nothing');
    for (const [j] of ref.sentences.entries())
      assert.ok(Math.abs(dot(all.embeddings[i], all.embeddings[j]) - ref.cosine[i][j]) < 1e-3);
  }
});

test('each query finds its paraphrase', () => {
  const { queries, candidates, best } = ref.retrieval;
  const got = embed(...queries, ...candidates).embeddings;
  queries.forEach((q, i) => {
    const scores = candidates.map((_, j) => dot(got[i], got[queries.length + j]));
    assert.equal(scores.indexOf(Math.max(...scores)), best[i], q);
  });
});

test('many texts of many lengths keep their order', () => {
  const texts = Array.from({ length: 150 }, (_, i) => 'seven '.repeat((i * 37) % 23).trim() || 'Meet Kate in Athens.');
  const all = embed(...texts);
  assert.equal(all.embeddings.length, 150);
  for (const i of [0, 1, 42, 149]) assert.ok(far(embed(texts[i]).embeddings[0], all.embeddings[i]) < 1e-5);
});

test('a long text is cut at the tokenizer\'s limit and said so', () => {
  const got = embed('short', 'word '.repeat(500));
  assert.deepEqual(got.truncated, [1]);
  assert.equal(got.tokens[1], 64);
  assert.ok(got.embeddings[1].every(Number.isFinite));
});

test('an empty text and odd characters are texts like others', () => {
  const got = embed('', '\u00c9t\u00e9 \u4e2d\u56fd \u{1F600}', ' ');
  assert.equal(got.tokens[0], 2);
  assert.ok(far(got.embeddings[0], got.embeddings[2]) < 1e-6);
  got.embeddings.forEach((v) => assert.ok(Math.abs(dot(v, v) - 1) < 1e-5));
});

// A variant of the model with some files changed.
const variant = (name, change) => {
  const dir = join(own.home, name);
  cpSync(join(models, 'hangar-labs/tiny-embed'), dir, { recursive: true });
  change(dir);
  const got = hangar(['add', dir, '--as', `local/${name}`]);
  assert.equal(got.status, 0, got.stderr);
  return (text) => hangar(['embed', `local/${name}`, text, '--json']);
};
const values = (got) => {
  assert.equal(got.status, 0, got.stderr + got.stdout);
  return own.last(got).embeddings[0];
};
const pooling = (dir, mode) => writeFileSync(join(dir, '1_Pooling/config.json'), JSON.stringify({ word_embedding_dimension: 96, ...mode }));
const modules = (dir, ...types) => writeFileSync(join(dir, 'modules.json'), JSON.stringify(types.map((type, idx) =>
  ({ idx, name: `${idx}`, path: idx === 1 ? '1_Pooling' : '', type: `sentence_transformers.models.${type}` }))));

test('the pooling is the one that the repository declares', () => {
  const first = ref.sentences[0];
  const cls = values(variant('cls', (dir) => {
    modules(dir, 'Transformer', 'Pooling');
    pooling(dir, { pooling_mode_cls_token: true });
  })(first.text));
  assert.ok(far(cls.slice(0, 8), first.hidden_t0_0_8) < 1e-3, 'the first token\'s state, not normalised');
  const last = values(variant('last', (dir) => {
    modules(dir, 'Transformer', 'Pooling');
    pooling(dir, { pooling_mode: 'lasttoken' });
  })(first.text));
  assert.ok(far(last.slice(88, 96), first.hidden_last_88_96) < 1e-3);
  const two = values(variant('two', (dir) => {
    modules(dir, 'Transformer', 'Pooling');
    pooling(dir, { pooling_mode_cls_token: true, pooling_mode_lasttoken: true });
  })(first.text));
  assert.equal(two.length, 192);
  assert.ok(far(two, [...cls, ...last]) < 1e-6);
});

test('without modules.json it is the mean, not normalised; without a pooling folder the mean', () => {
  const text = ref.sentences[0].text;
  const bare = values(variant('bare', (dir) => rmSync(join(dir, 'modules.json')))(text));
  const length = Math.sqrt(dot(bare, bare));
  assert.ok(Math.abs(length - 1) > 0.01, `${length}`);
  assert.ok(far(bare.map((x) => x / length), ref.sentences[0].embedding) < 1e-4);
  const folder = values(variant('folder', (dir) => rmSync(join(dir, '1_Pooling'), { recursive: true }))(text));
  assert.ok(far(folder, ref.sentences[0].embedding) < 1e-4);
});

// A safetensors file with its F32 tensors as BF16.
const toBf16 = (path) => {
  const file = readFileSync(path), length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, 8 + length)), parts = [];
  let offset = 0;
  for (const [name, t] of Object.entries(header).filter(([n]) => n !== '__metadata__').sort((a, b) => a[1].data_offsets[0] - b[1].data_offsets[0])) {
    const [from, to] = t.data_offsets.map((o) => o + 8 + length), half = Buffer.alloc((to - from) / 2);
    assert.equal(t.dtype, 'F32', name);
    for (let i = 0; i < half.length / 2; i++) {
      const bits = file.readUInt32LE(from + 4 * i);
      half.writeUInt16LE(((bits + 0x7fff + ((bits >>> 16) & 1)) / 65536) & 0xffff, 2 * i);
    }
    header[name] = { dtype: 'BF16', shape: t.shape, data_offsets: [offset, offset + half.length] };
    offset += half.length;
    parts.push(half);
  }
  const text = Buffer.from(JSON.stringify(header)), size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(path, Buffer.concat([size, text, ...parts]));
};

test('a checkpoint of 16 bits loads too, with what its weights lost', () => {
  const got = values(variant('bf16', (dir) => {
    toBf16(join(dir, 'model.safetensors'));
    rmSync(join(dir, 'reference.json')); // it is about the unrounded weights
  })(ref.sentences[0].text));
  const error = far(got, ref.sentences[0].embedding);
  assert.ok(error < 2e-2 && error > 1e-6, `${error}`);
});

test('a model that nothing here runs is named', () => {
  const other = variant('other', (dir) => {
    const config = JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8'));
    writeFileSync(join(dir, 'config.json'), JSON.stringify({ ...config, model_type: 'swin', architectures: ['SwinModel'] }));
  })('x');
  assert.equal(other.status, 9);
  assert.match(other.stdout + other.stderr, /of type .{1,2}swin/);
});

test('what is not known is refused by name', () => {
  const cnn = variant('cnn', (dir) => modules(dir, 'Transformer', 'CNN', 'Pooling'))('x');
  assert.equal(cnn.status, 9);
  assert.match(cnn.stdout + cnn.stderr, /modules\.json: a module .*CNN/);
  const early = variant('early', (dir) => modules(dir, 'Transformer', 'Dense', 'Pooling'))('x');
  assert.equal(early.status, 9);
  assert.match(early.stdout + early.stderr, /a module .*Dense.* before the pooling/);
  const odd = variant('odd', (dir) => pooling(dir, { pooling_mode_mean_tokens: true, pooling_mode_other_tokens: true }))('x');
  assert.equal(odd.status, 9);
  assert.match(odd.stdout + odd.stderr, /pooling_mode_other_tokens/);
  const neural = variant('neural', (dir) => {
    const doc = JSON.parse(readFileSync(join(dir, 'tokenizer.json'), 'utf8'));
    doc.model.type = 'Neural';
    writeFileSync(join(dir, 'tokenizer.json'), JSON.stringify(doc));
  })('x');
  assert.equal(neural.status, 9);
  assert.match(neural.stdout + neural.stderr, /Neural/);
  const speech = hangar(['embed', 'hangar-labs/whisper-digits', 'x']);
  assert.equal(speech.status, 9);
  assert.match(speech.stderr, /speech recognition.*embeddings/);
});

test('a default prompt goes before the text', () => {
  const got = values(variant('prompt', (dir) => writeFileSync(join(dir, 'config_sentence_transformers.json'),
    JSON.stringify({ prompts: { q: 'What is the ' }, default_prompt_name: 'q' })))('weather in Paris tomorrow?'));
  assert.ok(far(got, ref.sentences[0].embedding) < 1e-4);
});
