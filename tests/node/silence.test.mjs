// SPDX-License-Identifier: Apache-2.0
// Whisper's forms that sample the silence behind a short sound: the encoder in onnxruntime-node against the one that computes everything, and
// @huggingface/transformers, which knows nothing of it and transcribes as ever.
import test from 'node:test';
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { clips, ownHangar, samples } from '../support/models.mjs';

const top = process.env.HANGAR_TOP;
const resolve = createRequire(join(top, 'tests/')).resolve;
const ort = await import(pathToFileURL(resolve('onnxruntime-node')));
const library = await import(pathToFileURL(resolve('@huggingface/transformers')));
const own = ownHangar('silence', 'whisper-digits');
test.after(own.remove);
Object.assign(library.env, { allowRemoteModels: false, localModelPath: own.home });

const MELS = 80, FRAMES = 3000, POSITIONS = 1500, WIDTH = 64, EVERY = 8;
const encoders = {}, decoders = {};
for (const [form, style] of [['f32', 'fused'], ['f32-short', 'fused'], ['f32-short', 'portable']]) {
  const name = `${form}-${style}`, out = join(own.home, name);
  own.result(['convert', 'hangar-labs/whisper-digits', '--form', form, '--style', style, '--out', out]);
  const open = (graph) => ort.InferenceSession.create(join(out, `onnx/${graph}.onnx`), { intraOpNumThreads: 2, interOpNumThreads: 1 });
  encoders[name] = await open('encoder_model');
  decoders[name] = await open('decoder_model_merged');
}

// Features of so many frames of sound, silence behind them.
function features(...sounds) {
  const data = new Float32Array(sounds.length * MELS * FRAMES).fill(-0.75);
  let seed = 1;
  const random = () => (seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff) / 0x7fffffff;
  sounds.forEach((sound, row) => {
    for (let m = 0; m < MELS; m++)
      for (let t = 0; t < sound; t++) data[(row * MELS + m) * FRAMES + t] = 0.6 * Math.sin(0.03 * t * (1 + m / 9) + row) + 0.4 * random();
  });
  return new ort.Tensor('float32', data, [sounds.length, MELS, FRAMES]);
}
const hear = async (name, input) => (await encoders[name].run({ input_features: input })).last_hidden_state;
// Relative L2 of positions [from, to) of a row.
function apart(have, want, row, from, to) {
  let square = 0, all = 0;
  for (let i = (row * POSITIONS + from) * WIDTH; i < (row * POSITIONS + to) * WIDTH; i++) {
    square += (have.data[i] - want.data[i]) ** 2;
    all += want.data[i] ** 2;
  }
  return Math.sqrt(square / all);
}
const same = (h, row, a, b) => {
  const at = (p) => h.data.subarray((row * POSITIONS + p) * WIDTH, (row * POSITIONS + p + 1) * WIDTH);
  return Buffer.compare(Buffer.from(at(a).slice().buffer), Buffer.from(at(b).slice().buffer)) === 0;
};

for (const style of ['fused', 'portable']) {
  const name = `f32-short-${style}`;
  test(`${style}: a short sound is heard as ever, and positions of the silence stand for their neighbours`, async () => {
    for (const sound of [1, 2, 99, 100, 301, 1000, 1700]) {
      const input = features(sound), want = await hear('f32-fused', input), have = await hear(name, input);
      assert.deepEqual(have.dims, [1, POSITIONS, WIDTH]);
      const half = Math.ceil(sound / 2), far = apart(have, want, 0, 0, half);
      assert.ok(far < 0.01, `${sound} frames: ${far}`);
      assert.ok(apart(have, want, 0, half, POSITIONS) < 0.15, `${sound} frames: silence`);
      // the samples: groups of eight that end with the window, and none of them in the sound or right behind it
      for (let p = POSITIONS - EVERY; p > half + EVERY + 8; p -= EVERY) for (let i = 1; i < EVERY; i++) assert.ok(same(have, 0, p, p + i), `${sound} frames: ${p} and ${p + i}`);
      for (let p = 1; p < half + 4; p++) assert.ok(!same(have, 0, p - 1, p), `${sound} frames: ${p}`);
    }
  });

  test(`${style}: a sound that fills most of the window is heard whole`, async () => {
    for (const sound of [1900, 2500, 3000]) {
      const input = features(sound), want = await hear('f32-fused', input), have = await hear(name, input);
      assert.ok(apart(have, want, 0, 0, POSITIONS) < 1e-5, `${sound} frames`);
    }
  });

  test(`${style}: nothing but silence, and sounds of a batch, of which the longest counts`, async () => {
    const nothing = features(0);
    assert.ok(apart(await hear(name, nothing), await hear('f32-fused', nothing), 0, 0, 4) < 0.02);
    const input = features(200, 900, 40), want = await hear('f32-fused', input), have = await hear(name, input);
    assert.deepEqual(have.dims, [3, POSITIONS, WIDTH]);
    [100, 450, 20].forEach((half, row) => assert.ok(apart(have, want, row, 0, half) < 0.01, `row ${row}`));
    for (let p = 1; p < 454; p++) assert.ok(!same(have, 0, p - 1, p), `row 0, ${p}`);
    const full = features(200, 3000);
    assert.ok(apart(await hear(name, full), await hear('f32-fused', full), 0, 0, POSITIONS) < 1e-5);
  });
}

// The first call of a decoder, and one more step with its cache.
async function say(name, hidden) {
  const batch = hidden.dims[0], ids = (...list) => new ort.Tensor('int64', BigInt64Array.from(Array(batch).fill(list).flat(), BigInt), [batch, list.length]);
  const feeds = { encoder_hidden_states: hidden, input_ids: ids(513, 514, 515), use_cache_branch: new ort.Tensor('bool', [false], [1]) };
  for (const port of decoders[name].inputMetadata) {
    if (port.name.startsWith('past_')) feeds[port.name] = new ort.Tensor('float32', new Float32Array(0), [batch, port.shape[1], 0, port.shape[3]]);
  }
  const first = await decoders[name].run(feeds);
  for (const [key, value] of Object.entries(first)) if (key.startsWith('present.')) feeds[key.replace('present', 'past_key_values')] = value;
  const next = await decoders[name].run({ ...feeds, input_ids: ids(7), use_cache_branch: new ort.Tensor('bool', [true], [1]) });
  return [first.logits, first['present.1.encoder.key'], first['present.0.encoder.value'], next.logits];
}

for (const style of ['fused', 'portable']) {
  test(`${style}: the decoder answers the same to states that repeat and to any others`, async () => {
    const name = `f32-short-${style}`, any = features(3000, 2000).data;
    const states = {
      'a short sound': await hear(name, features(300)),
      'sounds of a batch': await hear(name, features(40, 700)),
      'a full window': await hear(name, features(3000)),
      'one row for all': new ort.Tensor('float32', new Float32Array(POSITIONS * WIDTH).fill(0.5), [1, POSITIONS, WIDTH]),
      'two rows, which take turns': new ort.Tensor('float32', Float32Array.from({ length: POSITIONS * WIDTH }, (_, i) => Math.floor(i / WIDTH) % 2), [1, POSITIONS, WIDTH]),
      'only the second of a batch repeats': new ort.Tensor('float32', any.slice(0, 2 * 40 * WIDTH).fill(0.25, 45 * WIDTH), [2, 40, WIDTH]),
      'a single row': new ort.Tensor('float32', any.slice(0, WIDTH), [1, 1, WIDTH]),
    };
    for (const [what, hidden] of Object.entries(states)) {
      const want = await say('f32-fused', hidden), have = await say(name, hidden);
      want.forEach((one, i) => {
        assert.deepEqual(have[i].dims, one.dims, `${what}, ${i}`);
        one.data.forEach((x, k) => assert.ok(Math.abs(x - have[i].data[k]) <= 2e-5 * (1 + Math.abs(x)), `${what}, ${i}[${k}]: ${have[i].data[k]}, wanted ${x}`));
      });
    }
  });
}

test('transformers.js says the same of every clip', async () => {
  const listen = await library.pipeline('automatic-speech-recognition', 'f32-short-fused');
  for (const one of clips().filter(({ file }) => /^digits-\d+\.wav$/.test(file))) {
    const raw = samples(one.file), sound = Float32Array.from({ length: raw.length / 2 }, (_, i) => raw.readInt16LE(2 * i) / 32768);
    const { text } = await listen(sound, { language: 'en', task: 'transcribe' });
    assert.equal(text.trim(), one.model_text.trim(), one.file);
  }
});
