// SPDX-License-Identifier: Apache-2.0
// `hangar transcribe` with models of one answer per frame: a wav2vec 2.0 of random weights with 32 letters, held to what
// @huggingface/transformers makes of the same clips, whole and, by the cut of its pipeline, in windows.
import test from 'node:test';
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { clip, ownHangar, samples, wav } from '../support/models.mjs';

const top = process.env.HANGAR_TOP;
const library = await import(pathToFileURL(createRequire(join(top, 'tests/')).resolve('@huggingface/transformers')));
const own = ownHangar('ctc');
test.after(own.remove);
Object.assign(library.env, { allowRemoteModels: false, localModelPath: join(own.home, 'out') });

const fixture = join(top, 'tests/fixtures/arch/wav2vec2');
const config = JSON.parse(readFileSync(join(fixture, 'config.json'), 'utf8'));
const letters = ['<pad>', '<s>', '</s>', '<unk>', '|', ..."ETAONIHSRDLUMWCFGYPBVK'XJQÉ"];
const vocab = Object.fromEntries(letters.map((letter, id) => [letter, id]));
const preprocessor = { feature_extractor_type: 'Wav2Vec2FeatureExtractor', feature_size: 1, do_normalize: true, padding_value: 0, return_attention_mask: false, sampling_rate: 16000 };
const names = { tokenizer_class: 'Wav2Vec2CTCTokenizer', bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>', pad_token: '<pad>', word_delimiter_token: '|', do_lower_case: false };
// As transformers.js has it: the blank is no special token, or it would be gone before letters are told apart by it.
const tokenizer = {
  version: '1.0', truncation: null, padding: null,
  added_tokens: [0, 1, 2, 3].map((id) => ({ id, content: letters[id], single_word: false, lstrip: false, rstrip: false, normalized: false, special: id > 0 })),
  normalizer: null, pre_tokenizer: null, post_processor: null,
  decoder: { type: 'CTC', pad_token: '<pad>', word_delimiter_token: '|', cleanup: true },
  model: { vocab },
};

// A repository with some of the files, in the store as local/NAME.
function add(name, files, changes = {}) {
  const folder = join(own.home, name);
  mkdirSync(folder);
  cpSync(join(fixture, 'model.safetensors'), join(folder, 'model.safetensors'));
  const all = { 'config.json': { ...config, ...changes }, 'preprocessor_config.json': preprocessor, ...files };
  for (const [file, doc] of Object.entries(all)) if (doc) writeFileSync(join(folder, file), typeof doc === 'string' ? doc : JSON.stringify(doc));
  const got = own.hangar(['add', folder, '--as', `local/${name}`]);
  assert.equal(got.status, 0, got.stderr);
  return `local/${name}`;
}
const older = { 'vocab.json': vocab, 'tokenizer_config.json': names };
const plain = add('plain', older);
const transcribe = (ref, file, ...options) => own.result(['transcribe', ref, file, ...options]);
const fails = (args, status, words) => {
  const got = own.hangar(['transcribe', ...args]);
  assert.equal(got.status, status, got.stderr);
  assert.match(got.stderr.trim().split('\n').at(-1), words);
};
const put = (name, bytes) => {
  writeFileSync(join(own.home, name), bytes);
  return join(own.home, name);
};

// The other side: features, graph and letters by the library, from what `convert --out` wrote.
add('other', { 'tokenizer.json': tokenizer, 'tokenizer_config.json': names });
own.result(['convert', 'local/other', '--out', join(own.home, 'out', 'other')]);
const options = { dtype: 'fp32', session_options: { intraOpNumThreads: 1, interOpNumThreads: 1 } };
const model = await library.AutoModelForCTC.from_pretrained('other', options);
const processor = await library.AutoFeatureExtractor.from_pretrained('other');
const words = await library.AutoTokenizer.from_pretrained('other');
const floats = (bytes) => Float32Array.from(new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)), (x) => x / 32768);
async function frames(sound) {
  const { logits } = await model(await processor(sound));
  const [, count, width] = logits.dims;
  return Array.from({ length: count }, (_, t) => {
    const row = logits.data.subarray(t * width, (t + 1) * width);
    return row.indexOf(Math.max(...row));
  });
}
const decode = (ids) => words.decode(ids, { skip_special_tokens: true }).trim();

for (const name of ['digits-01.wav', 'digits-04.wav', 'digits-09.wav', 'digits-12.wav']) {
  test(`${name}: the library's letters`, async () => {
    const sound = floats(samples(name)), ids = await frames(sound), want = decode(ids);
    assert.ok(want.length > 20, `a text to compare, not "${want}"`);
    const got = transcribe(plain, clip(name));
    assert.equal(got.text, want);
    assert.equal(transcribe('local/other', clip(name)).text, want, 'by the vocabulary of tokenizer.json');
    assert.equal(got.language, null);
    assert.ok(Math.abs(got.duration - sound.length / 16000) < 1e-9);
    assert.deepEqual(got.segments.map((s) => s.text), want.split(/ +/));
    assert.deepEqual(got.tokens.map((id) => (id === 4 ? ' ' : letters[id])).join('').trim(), want);
    // times: each word from the first frame of its first letter to behind the last of its last
    let at = 0;
    for (const segment of got.segments) {
      const from = Math.round(segment.start * 50), to = Math.round(segment.end * 50);
      assert.ok(Math.abs(segment.start * 50 - from) < 1e-6 && from >= at && to > from && to <= ids.length);
      assert.equal(letters[ids[from]], segment.text[0]);
      assert.equal(letters[ids[to - 1]], segment.text.at(-1));
      assert.equal(decode(ids.slice(from, to)), segment.text);
      assert.notEqual(ids[from - 1], ids[from]);
      assert.notEqual(ids[to], ids[to - 1]);
      at = to;
    }
  });
}

test('seventy seconds: windows of thirty that overlap, and times of the whole file', async () => {
  const bytes = Buffer.concat([samples('digits-01.wav', 25), samples('digits-02.wav', 20.002), samples('digits-03.wav', 24.9)]);
  const sound = floats(bytes), ids = [];
  for (let from = 0; ; from += 320000) {
    const part = await frames(sound.slice(from, from + 480000)), last = from + 480000 >= sound.length;
    ids.push(...part.slice(from ? 250 : 0, last ? part.length : 1250));
    if (last) break;
  }
  const got = transcribe(plain, put('long.wav', wav(bytes)));
  assert.equal(got.text, decode(ids));
  assert.equal(got.duration, sound.length / 16000);
  for (const segment of got.segments) assert.equal(decode(ids.slice(Math.round(segment.start * 50), Math.round(segment.end * 50))), segment.text);
  assert.ok(got.segments.at(-1).end > 60);
});

test('thirty seconds are one window, a sample more are two', async () => {
  const bytes = samples('digits-05.wav', 31), whole = await frames(floats(bytes.subarray(0, 960000)));
  assert.equal(transcribe(plain, put('one.wav', wav(bytes.subarray(0, 960000)))).text, decode(whole));
  const rest = await frames(floats(bytes.subarray(640000, 960002)));
  assert.equal(transcribe(plain, put('two.wav', wav(bytes.subarray(0, 960002)))).text, decode([...whole.slice(0, 1250), ...rest.slice(250)]));
});

test('other settings: no normalization, other names of the tokens, small letters', async () => {
  const name = 'digits-06.wav', sound = floats(samples(name));
  const loud = add('loud', { ...older, 'preprocessor_config.json': { ...preprocessor, do_normalize: false } });
  const raw = await model({ input_values: new library.Tensor('float32', sound, [1, sound.length]) });
  const ids = Array.from({ length: raw.logits.dims[1] }, (_, t) => {
    const row = raw.logits.data.subarray(32 * t, 32 * t + 32);
    return row.indexOf(Math.max(...row));
  });
  assert.equal(transcribe(loud, clip(name)).text, decode(ids));
  const want = transcribe(plain, clip(name)).text;
  const renamed = { ...vocab, '[PAD]': 0, ' ': 4 };
  delete renamed['<pad>'];
  delete renamed['|'];
  const map = { pad_token: { content: '[PAD]' } };
  const other = add('renamed', { 'vocab.json': renamed, 'special_tokens_map.json': map, 'tokenizer_config.json': { word_delimiter_token: ' ', do_lower_case: true } });
  assert.equal(transcribe(other, clip(name)).text, want.toLowerCase());
  const none = add('none', { 'vocab.json': { ...vocab, '[EMPTY]': 0 }, 'tokenizer_config.json': { pad_token: 'not there' } });
  assert.equal(transcribe(none, clip(name)).text, want, 'the blank by its number in config.json');
});

test('--timestamps writes a line per word', () => {
  const got = own.hangar(['transcribe', plain, clip('digits-01.wav'), '--timestamps']), doc = transcribe(plain, clip('digits-01.wav'));
  const lines = got.stdout.trim().split('\n');
  assert.equal(lines.length, doc.segments.length);
  lines.forEach((line, i) => assert.match(line, new RegExp(`^\\[0:0\\d\\.\\d - 0:0\\d\\.\\d\\] ${doc.segments[i].text}$`)));
});

test('sounds too short for a frame have no words; silence and broken files are dealt with', () => {
  for (const count of [1, 399]) {
    const got = transcribe(plain, put('short.wav', wav(samples('digits-01.wav').subarray(9000, 9000 + 2 * count))));
    assert.deepEqual([got.text, got.segments, got.tokens], ['', [], []]);
  }
  assert.equal(typeof transcribe(plain, put('frame.wav', wav(samples('digits-01.wav').subarray(9000, 9800)))).text, 'string');
  assert.equal(transcribe(plain, put('silence.wav', wav(Buffer.alloc(64000)))).duration, 2);
  fails([plain, put('empty.wav', wav(Buffer.alloc(0)))], 6, /empty\.wav.*(no sound|not a readable audio)/);
  fails([plain, put('words.wav', 'these are words')], 6, /words\.wav.*not a readable audio file/);
});

test('what such a model cannot do is said', () => {
  fails([plain, clip('digits-01.wav'), '--language', 'en'], 9, /knows one language/);
  fails([plain, clip('digits-01.wav'), '--task', 'translate'], 9, /only transcribes/);
  fails([plain, clip('digits-01.wav'), '--beams', '3'], 9, /no beams/);
});

test('files that do not fit are refused by name', () => {
  const bad = (name, files, changes, status, words) => fails([add(name, files, changes), clip('digits-01.wav')], status, words);
  bad('bad-rate', { ...older, 'preprocessor_config.json': { ...preprocessor, sampling_rate: 8000 } }, {}, 9, /sampling_rate is not 16000/);
  bad('bad-kind', { ...older, 'preprocessor_config.json': { feature_extractor_type: 'WhisperFeatureExtractor' } }, {}, 9, /feature_extractor_type "Whisper/);
  bad('bad-none', {}, {}, 3, /has no letters/);
  bad('bad-nest', { 'vocab.json': { eng: vocab } }, {}, 6, /vocab\.json: .*not \{token: id\}/);
  bad('bad-id', { 'vocab.json': { ...vocab, far: 1e15 } }, {}, 6, /vocab\.json: .*not \{token: id\}/);
  bad('bad-minus', { 'vocab.json': { ...vocab, far: -1 } }, {}, 6, /vocab\.json: .*not \{token: id\}/);
  bad('bad-json', { 'vocab.json': '{"a":' }, {}, 6, /vocab\.json: /);
  bad('bad-blank', { 'vocab.json': { a: 0 } }, { pad_token_id: null }, 6, /names the blank/);
  bad('bad-steps', older, { conv_stride: [5, 2, 2, 2, 2, 2, 4096] }, 9, /no steps of up to a second/);
});
