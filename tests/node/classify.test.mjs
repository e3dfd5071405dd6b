// SPDX-License-Identifier: Apache-2.0
// `hangar classify` over the real program: a small BERT with a head and a vocabulary of its own, held to onnxruntime-node's logits.
import test from 'node:test';
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { ownHangar } from '../support/models.mjs';

const ort = createRequire(join(process.env.HANGAR_TOP, 'tests', 'package.json'))('onnxruntime-node');
const own = ownHangar('classify', 'tiny-embed');
test.after(own.remove);
const { hangar, result } = own;

// 96 tokens: the special ones, then words; the checkpoint is random, so that any words will do.
const words = ['red', 'green', 'blue', 'one', 'two', 'three', 'cat', 'dog', 'bird', '##s', 'is', 'a', 'the', '.', '!'];
const vocabulary = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', ...words];
while (vocabulary.length < 96) vocabulary.push(`[unused${vocabulary.length}]`);
const ids = (text) => [2, ...text.toLowerCase().replace('birds', 'bird ##s').split(' ').map((w) => Math.max(vocabulary.indexOf(w), 1)), 3];

// The checkpoint under another configuration.
function add(name, changes = {}, tokenizer = {}) {
  const folder = join(own.home, name), from = join(process.env.HANGAR_TOP, 'tests/fixtures/arch/bert-cls');
  mkdirSync(folder);
  cpSync(join(from, 'model.safetensors'), join(folder, 'model.safetensors'));
  const config = { ...JSON.parse(readFileSync(join(from, 'config.json'), 'utf8')), ...changes };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  writeFileSync(join(folder, 'vocab.txt'), vocabulary.join('\n') + '\n');
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ do_lower_case: true, ...tokenizer }));
  const got = hangar(['add', folder, '--as', `local/${name}`]);
  assert.equal(got.status, 0, got.stderr);
  return `local/${name}`;
}
const labels = { 0: 'angry', 1: 'calm', 2: 'glad' };
const plain = add('plain', { id2label: labels });

// The logits by another engine binding, from the folder that other tools get.
const sessions = {};
async function logits(text, ref = plain) {
  if (!sessions[ref]) {
    const out = join(own.home, ref, 'out');
    result(['convert', ref, '--out', out, '--copy']);
    sessions[ref] = await ort.InferenceSession.create(join(out, 'onnx', 'model.onnx'));
  }
  const tokens = ids(text), tensor = (data) => new ort.Tensor('int64', BigInt64Array.from(data, BigInt), [1, tokens.length]);
  const got = await sessions[ref].run({ input_ids: tensor(tokens), attention_mask: tensor(tokens.map(() => 1)), token_type_ids: tensor(tokens.map(() => 0)) });
  return Array.from(got.logits.data);
}
const softmax = (x) => x.map((v) => Math.exp(v)).map((e, _, all) => e / all.reduce((a, b) => a + b, 0));
const sigmoid = (x) => x.map((v) => 1 / (1 + Math.exp(-v)));
// [[label, score]...], the likeliest first, as the document must have it.
function ranked(scores, names = (i) => labels[i]) {
  return scores.map((score, i) => ({ label: names(i), score })).sort((a, b) => b.score - a.score);
}
function same(got, want) {
  assert.deepEqual(got.map((l) => l.label), want.map((l) => l.label));
  got.forEach((l, i) => assert.ok(Math.abs(l.score - want[i].score) < 1e-5, `${l.label}: ${l.score}, wanted ${want[i].score}`));
}
const texts = ['the cat is red', 'two blue birds', 'dog dog dog dog !', 'a'];

test('shares of the labels, alike alone and in a batch with others', async () => {
  const all = result(['classify', plain, ...texts]);
  assert.deepEqual([all.model, all.task, all.function, all.truncated], [plain, 'text-classification', 'softmax', []]);
  for (const [i, text] of texts.entries()) {
    assert.equal(all.results[i].text, text);
    same(all.results[i].labels, ranked(softmax(await logits(text))));
    const [alone] = result(['classify', plain, text]).results;
    same(alone.labels, all.results[i].labels);
  }
});

test('what the repository declares is what the scores are', async () => {
  const raw = await logits(texts[0]);
  for (const [type, name, scores] of [['multi_label_classification', 'sigmoid', sigmoid(raw)], ['regression', 'none', raw], ['single_label_classification', 'softmax', softmax(raw)]]) {
    const got = result(['classify', add(type, { problem_type: type, id2label: labels }), texts[0]]);
    assert.equal(got.function, name);
    same(got.results[0].labels, ranked(scores));
  }
  const got = hangar(['classify', add('odd', { problem_type: 'guessing' }), 'x']);
  assert.equal(got.status, 9);
  assert.match(got.stderr, /problem_type "guessing"/);
});

test('labels without names have numbers, and --top says how many are told', async () => {
  const some = add('some', { id2label: { 1: 'calm', 7: 'far', x: 'no' } });
  const want = ranked(softmax(await logits(texts[1])), (i) => (i === 1 ? 'calm' : `LABEL_${i}`));
  same(result(['classify', some, texts[1], '--top', '0']).results[0].labels, want);
  same(result(['classify', some, texts[1], '--top', '2']).results[0].labels, want.slice(0, 2));
  same(result(['classify', some, texts[1], '--top', '1']).results[0].labels, want.slice(0, 1));
});

test('a label for each token', async () => {
  // the same head over every token
  const tokens = add('tokens', { architectures: ['BertForTokenClassification'], id2label: labels, problem_type: 'regression' });
  const all = result(['classify', tokens, ...texts]);
  assert.deepEqual([all.task, all.function], ['token-classification', 'softmax']);
  for (const [i, text] of texts.entries()) {
    const want = await logits(text, tokens), names = ids(text);
    assert.deepEqual(all.results[i].tokens.map((t) => t.id), names);
    all.results[i].tokens.forEach((t, at) => {
      assert.equal(t.token, vocabulary[names[at]]);
      same([t], ranked(softmax(want.slice(3 * at, 3 * at + 3))).slice(0, 1));
    });
  }
  const page = hangar(['classify', tokens, texts[1]]);
  assert.deepEqual(page.stdout.trim().split('\n').map((line) => line.split(/ +/)[0]), ['token', '[CLS]', 'two', 'blue', 'bird', '##s', '[SEP]']);
});

test('lines of the standard input, and texts that are cut', async () => {
  const got = hangar(['classify', plain, '--json'], { input: `${texts[0]}\n\n${'cat '.repeat(500)}\n` });
  assert.equal(got.status, 0, got.stderr);
  const doc = own.last(got);
  assert.deepEqual(doc.results.map((r) => r.text.length > 0), [true, true]);
  assert.deepEqual(doc.truncated, [1]);
  same(doc.results[1].labels, ranked(softmax(await logits('cat '.repeat(126).trim()))));
  const short = result(['classify', add('short', { id2label: labels }, { model_max_length: 5 }), 'cat dog bird red green']);
  assert.deepEqual(short.truncated, [0]);
  same(short.results[0].labels, ranked(softmax(await logits('cat dog bird'))));
});

test('a model for something else, and the other way round', () => {
  let got = hangar(['classify', 'hangar-labs/tiny-embed', 'x']);
  assert.equal(got.status, 9);
  assert.match(got.stderr, /embeddings, wanted one for text classification/);
  got = hangar(['embed', plain, 'x']);
  assert.equal(got.status, 9);
  assert.match(got.stderr, /text classification, wanted one for embeddings/);
  got = hangar(['classify', plain, 'x', '--top', '-1']);
  assert.equal(got.status, 2);
});
