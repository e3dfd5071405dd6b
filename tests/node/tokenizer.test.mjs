// SPDX-License-Identifier: Apache-2.0
// Texts to ids and back against @huggingface/transformers, for each kind of tokenizer that models come with. Where that library
// is known to part from the Rust library `tokenizers`, which is the measure, the texts that show it are named here by a rule; what
// Rust does with them is held by the unit tests.
import test from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { PreTrainedTokenizer } from '@huggingface/transformers';
import { pairs, texts } from '../fixtures/tokenizer/texts.mjs';

// Halves of surrogate pairs become U+FFFD, as in UTF-8 (String.prototype.toWellFormed, which Node 18 has not).
const wellFormed = (text) => Buffer.from(text).toString();

const top = process.env.HANGAR_TOP, folder = join(top, 'tests/fixtures/tokenizer');
const tool = join(process.env.HANGAR_BUILD, 'tests/tool_tokenize');
const models = ['tiny-chat', 'tiny-embed', 'whisper-digits'].map((m) => join(top, 'models/hangar-labs', m, 'tokenizer.json'));
const files = [...readdirSync(folder).filter((f) => f.endsWith('.json')).map((f) => join(folder, f)), ...models];
const nameOf = (file) => file.split('/').slice(file.startsWith(folder) ? -1 : -2)[0].replace('.json', '');
const ask = (file, questions, ...more) => execFileSync(tool, [file, ...more], { input: questions.map((q) => `${JSON.stringify(q)}\n`).join(''), maxBuffer: 1 << 28 })
  .toString().trimEnd().split('\n').map((line) => JSON.parse(line));
const port = (file, config = {}) => new PreTrainedTokenizer(JSON.parse(readFileSync(file)), { clean_up_tokenization_spaces: false, unk_token: '[UNK]', ...config });

// Where the JavaScript port differs, and why.
const bytes = (text) => [...Buffer.from(text)];
const cluster = new Intl.Segmenter('en', { granularity: 'grapheme' });
const charsmapDiffers = (t) => /[\u0085\ufbff-\ufdff\u{1f100}-\u{1f1ff}\u03d0-\u03ff]/u.test(t) || [...cluster.segment(t)].some(({ segment: s }) => [...s].length > 1 && Buffer.byteLength(s) >= 6);
const astralHan = (t) => /[\u{20000}-\u{2fa1f}]/u.test(t); // looks at halves of characters
const encodeDiffers = {
  'bert-cased': astralHan,
  'bert-uncased': astralHan,
  'tiny-embed': astralHan,
  clip: (t) => t.includes('Σ'), // lower-cases a final sigma by its place
  falcon: (t) => bytes(t).some((b) => [0xb2, 0xb3, 0xb9, 0xbc, 0xbd, 0xbe].includes(b)), // Digits sees ¼ and the like, as which such bytes are written
  starcoder: (t) => /[^\P{N}\p{ASCII}]/u.test(t), // Digits knows 0 to 9 alone
  layoutlm: (t) => /[\ufeff\u0085]|[\p{P}!-/:-@[-`{-~]{2}/u.test(t), // Punctuation joins what is to be isolated
  wordlevel: (t) => t.includes('\u0085'), // is no white space there
  'unigram-bytes': (t) => t.includes('\ufeff'), // is white space there
  t5: charsmapDiffers, // does not read the compiled map
  'xlm-roberta': charsmapDiffers,
};
const decodeDiffers = {
  // ByteFallback keeps the good part of bytes that are no text, and takes a byte order mark for none
  clip: (text) => text.includes('\ufeff'),
  gemma: (text) => /[\ufeff\ufffd]/.test(text),
  llama2: (text) => /[\ufeff\ufffd]/.test(text),
  mistral: (text) => /[\ufeff\ufffd]/.test(text),
  'unigram-bytes': (text) => /^ |[\ufeff\ufffd]/.test(text), // and takes a space at the beginning for Metaspace's character
};

test('there are texts enough', () => assert.ok(texts.length >= 300, `${texts.length} texts`));

for (const file of files) {
  const name = nameOf(file), differs = encodeDiffers[name] ?? (() => false);
  test(`${name}: ids of every text`, () => {
    const js = port(file), all = texts.map((t) => wellFormed(t));
    const got = ask(file, [...all.map((text) => ({ text })), ...all.map((text) => ({ text, plain: true }))]);
    let compared = 0;
    all.forEach((text, i) => {
      assert.equal(got[i].error, undefined, JSON.stringify(text));
      const want = js.encode(text);
      // The port's Unigram has no bytes for the unknown.
      if (differs(text) || (name === 'unigram-bytes' && want.includes(0))) return;
      compared++;
      assert.deepEqual(got[i].ids, want, `${JSON.stringify(text)}: ${got[i].ids.map((id) => js._tokenizer.id_to_token(id)).join('|')}`);
      assert.deepEqual(got[all.length + i].ids, js.encode(text, { add_special_tokens: false }), `plain ${JSON.stringify(text)}`);
    });
    assert.ok(compared >= texts.length * (name === 'unigram-bytes' ? 0.4 : 0.7), `only ${compared} compared`);
  });

  test(`${name}: ids to text, at once and one by one`, () => {
    const js = port(file), lists = ask(file, texts.map((text) => ({ text: wellFormed(text) }))).map((a) => a.ids).filter((ids) => ids.length);
    let seed = 7;
    const random = (n) => { seed = (seed * 1103515245 + 12345) % 2147483648; return Math.floor(seed / 65536) % n; };
    const size = js._tokenizer.model.vocab.length;
    for (let i = 0; i < 200; i++) lists.push(Array.from({ length: 1 + random(12) }, () => random(size)));
    const whole = lists.map((ids) => ids.filter((id) => js._tokenizer.id_to_token(id) !== undefined)).filter((ids) => ids.length);
    const got = ask(file, whole.flatMap((decode) => [{ decode, skip: false }, { decode, skip: true }]));
    let compared = 0;
    got.forEach((answer, i) => {
      const ids = whole[i >> 1];
      assert.equal(answer.error, undefined);
      assert.equal(answer.pieces.join(''), answer.text);
      for (const piece of answer.pieces) assert.ok(wellFormed(piece) === piece);
      const want = js.decode(ids, { skip_special_tokens: i % 2 === 1 });
      if (decodeDiffers[name]?.(answer.text) || decodeDiffers[name]?.(want)) return;
      compared++;
      assert.equal(answer.text, want, JSON.stringify(ids));
    });
    assert.ok(compared >= got.length * 0.7, `only ${compared} of ${got.length} compared`);
  });

  test(`${name}: pairs`, (t) => {
    const js = port(file);
    if (JSON.parse(readFileSync(file)).post_processor?.pair?.length === 0) return t.skip('takes none');
    const all = pairs.filter((p) => !p.some((x) => differs(x) || (name === 'unigram-bytes' && js.encode(x).includes(0))));
    const got = ask(file, all.map(([text, pair]) => ({ text, pair })));
    all.forEach(([text, pair], i) => {
      // ByteLevel alone keeps no second text there, and an empty one is none.
      if (pair === '' || ['gpt2'].includes(name)) return;
      const want = js._encode_plus(text, { text_pair: pair, add_special_tokens: true });
      assert.deepEqual(got[i].ids, want.input_ids ?? want.ids, JSON.stringify([text, pair]));
      // RoBERTa's types are all 0 in Rust.
      if (want.token_type_ids && !['roberta', 'clip'].includes(name)) assert.deepEqual(got[i].types, want.token_type_ids);
    });
  });
}

test('clean_up_tokenization_spaces, when the configuration asks for it', () => {
  const config = resolve('config.json');
  writeFileSync(config, JSON.stringify({ clean_up_tokenization_spaces: true }));
  for (const name of ['gpt2', 'llama2', 'bert-uncased']) {
    const file = join(folder, `${name}.json`), js = port(file, { clean_up_tokenization_spaces: true });
    const more = ['a . b', 'ca n\'t', 'do n\'t stop !', 'it \'s \' quoted \' , and  \' t', 'n \' t x n \' t', ' . ? ! , \' ', 'we \'ve \'re \'m \'s n\'t', 'x n \' t', 'a  .  b', ' \' \' \' '];
    const lists = ask(file, [...texts, ...more].map((text) => ({ text: wellFormed(text) }))).map((a) => a.ids).filter((ids) => ids.length);
    ask(file, lists.map((decode) => ({ decode })), config).forEach((answer, i) => {
      assert.equal(answer.pieces.join(''), answer.text);
      const want = js.decode(lists[i]);
      if (!decodeDiffers[name]?.(want) && !decodeDiffers[name]?.(answer.text)) assert.equal(answer.text, want);
    });
  }
});

test('bytes that are no UTF-8 are read as TextDecoder reads them', () => {
  const broken = ['ff', '61ff62', 'c3', 'c328', 'e282', 'e28241', 'f09f98', 'f09f9841', 'eda080', 'c080', 'f8888080', '80', '61c3a9ff', 'e2e282ac', 'f4908080', 'f0808080'];
  for (const name of ['gpt2', 'llama2', 't5', 'bert-cased']) {
    const file = join(folder, `${name}.json`), js = port(file);
    ask(file, broken.map((hex) => ({ hex }))).forEach((answer, i) => assert.deepEqual(answer.ids, js.encode(new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.from(broken[i], 'hex'))), `${name} ${broken[i]}`));
  }
});

test('a text is cut to a number of tokens, a pair from its longer side', () => {
  const file = join(folder, 'bert-cased.json');
  const [one, two, even] = ask(file, [{ text: 'the of and to in', max: 5 }, { text: 'the of and to in', pair: 'the of', max: 8 }, { text: 'the of and to in', pair: 'the of and to in', max: 8 }]);
  const [all] = ask(file, [{ text: 'the of and to in' }]);
  assert.deepEqual(one.ids, [...all.ids.slice(0, 4), all.ids.at(-1)]);
  assert.equal(one.truncated, true);
  assert.deepEqual(two.types, [0, 0, 0, 0, 0, 1, 1, 1]);
  assert.deepEqual(even.types, [0, 0, 0, 0, 1, 1, 1, 1]);
  assert.equal(all.truncated, false);
});

test('a long word and a long text take no time to speak of', () => {
  const started = Date.now();
  for (const name of ['llama2', 'gpt2', 'qwen2', 'bert-cased', 't5', 'deepseek']) {
    const file = join(folder, `${name}.json`), mega = 1 << 20;
    const got = ask(file, [{ text: 'thean'.repeat(mega / 5) }, { text: ' '.repeat(mega) }, { text: 'the of and '.repeat(mega / 11) }, { text: '\u0301\u0323'.repeat(mega / 8) }, { text: '!\n'.repeat(mega / 2) }]);
    for (const answer of got) assert.equal(answer.error, undefined, name);
  }
  assert.ok(Date.now() - started < 60000, `${Date.now() - started} ms`);
});
