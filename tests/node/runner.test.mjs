// SPDX-License-Identifier: Apache-2.0
// The ONNX runner spoken to directly: features, encoder and decoder against the reference, and what it does with hostile frames.
import test from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { models, ownHangar, reference, runners, samples } from '../support/models.mjs';
import { Runner, frame, inputs, tensor } from '../support/wire.mjs';

const program = join(runners, 'hangar-runner-onnx');
const own = ownHangar('runner', 'whisper-digits', 'tiny-embed');
test.after(() => { Runner.killAll(); own.remove(); });

// The converted form of a repository on its own legs: weights placed beside the graphs, so that a LOAD needs no list of them.
const exported = (repo) => {
  const out = join(own.home, `${repo}-out`);
  own.result(['convert', `hangar-labs/${repo}`, '--out', out, '--copy']);
  const folder = realpathSync(join(out, 'onnx'));
  const graphs = readdirSync(folder).filter((f) => f.endsWith('.onnx')).map((f) => ({ name: f.slice(0, -5), path: join(folder, f) }));
  return { folder, files: [], graphs };
};
const folders = {};
const started = async (repo, more = {}) => {
  folders[repo] ??= exported(repo);
  const runner = new Runner(program);
  assert.equal((await runner.answer()).type, 'HELLO');
  const ready = await runner.ask('LOAD', { ...folders[repo], ...more });
  assert.equal(ready.type, 'READY', JSON.stringify(ready.json));
  runner.ready = ready.json;
  return runner;
};
const near = (got, want, limit, what) => want.forEach((w, i) => assert.ok(Math.abs(got[i] - w) <= limit, `${what}[${i}]: ${got[i]}, wanted ${w}`));
const floats = (name) => {
  const raw = samples(name);
  return Float32Array.from({ length: raw.length / 2 }, (_, i) => raw.readInt16LE(2 * i) / 32768);
};
const range = (t, row, from, to) => Array.from(t.data.subarray(row * t.shape.at(-1) + from, row * t.shape.at(-1) + to));

test('the runner locks itself in', async () => {
  const runner = await started('tiny-embed');
  const status = readFileSync(`/proc/${runner.child.pid}/status`, 'utf8');
  if (/^Seccomp:/m.test(readFileSync('/proc/self/status', 'utf8'))) {
    assert.ok(runner.ready.sandbox >= 1);
    assert.match(status, /^Seccomp:\s+2$/m);
    assert.match(status, /^NoNewPrivs:\s+1$/m);
  }
  const { code } = await runner.end();
  assert.equal(code, 0);
});

test('the graphs of a model share one set of threads', async () => {
  const threads = (pid) => Number(/^Threads:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
  const counts = [];
  for (const count of [1, 6]) {
    const runner = await started('whisper-digits', { threads: count });
    assert.equal(runner.ready.graphs.length, 2);
    counts.push(threads(runner.child.pid));
    await runner.end();
  }
  assert.equal(counts[1] - counts[0], 5, `${counts}`);
});

test('features and encoder of each reference clip', async () => {
  const runner = await started('whisper-digits', { media: true });
  for (const one of reference('whisper-digits').clips) {
    const sound = floats(one.file);
    const done = await runner.ask('CALL', { op: 'encode', mels: 80, frames: 3000 }, Buffer.from(sound.buffer));
    assert.equal(done.type, 'DONE', JSON.stringify(done.json));
    const mel = tensor(done, 'input_features'), hidden = tensor(done, 'last_hidden_state');
    assert.deepEqual(mel.shape, one.mel.shape);
    assert.deepEqual(hidden.shape, one.encoder.shape);
    near(range(mel, 0, 0, 8), one.mel.bin0_frames_0_8, 1e-3, 'mel 0');
    near(range(mel, 20, 60, 72), one.mel.bin20_frames_60_72, 1e-3, 'mel 20');
    near(range(mel, 79, 100, 108), one.mel.bin79_frames_100_108, 1e-3, 'mel 79');
    near(range(hidden, 0, 0, 8), one.encoder.t0_dims_0_8, 1e-3, 'encoder 0');
    near(range(hidden, 50, 0, 8), one.encoder.t50_dims_0_8, 1e-3, 'encoder 50');
    near(range(hidden, 100, 56, 64), one.encoder.t100_dims_56_64, 1e-3, 'encoder 100');
    near(range(hidden, 1499, 0, 8), one.encoder.t1499_dims_0_8, 1e-3, 'encoder 1499');
  }
  await runner.end();
});

// The first clip behind the encoder, and the graph that goes on from there.
async function encoded() {
  const runner = await started('whisper-digits', { media: true });
  const [one] = reference('whisper-digits').clips;
  const done = await runner.ask('CALL', { op: 'encode', mels: 80, frames: 3000 }, Buffer.from(floats(one.file).buffer));
  return { runner, one, hidden: tensor(done, 'last_hidden_state'), decoder: runner.ready.graphs.find((g) => g.name === 'decoder_model_merged') };
}

test('the decoder\'s first step by "run"', async () => {
  const { runner, one, hidden, decoder } = await encoded();
  const named = {};
  for (const port of decoder.inputs) {
    const shape = port.shape.map((n, i) => (n >= 0 ? n : i === 0 ? 1 : 0));
    if (port.name === 'input_ids') named[port.name] = { dtype: 'I64', shape: [1, 4], data: BigInt64Array.from(one.decoder.prompt.map(BigInt)) };
    else if (port.name === 'encoder_hidden_states') named[port.name] = { dtype: 'F32', shape: hidden.shape, data: hidden.data };
    else if (port.name === 'use_cache_branch') named[port.name] = { dtype: 'BOOL', shape: [1], data: new Uint8Array(1) };
    else named[port.name] = { dtype: port.dtype, shape, data: new Float32Array(0) };
  }
  const { list, bin } = inputs(named);
  const step = await runner.ask('CALL', { op: 'run', graph: decoder.name, inputs: list, outputs: ['logits'] }, bin);
  assert.equal(step.type, 'DONE', JSON.stringify(step.json));
  const logits = tensor(step, 'logits');
  assert.deepEqual(logits.shape, [1, 4, 2120]);
  near(range(logits, 3, 0, 8), one.decoder.step0_logits_0_8, 2e-3, 'logits');
  const [[best, score]] = one.decoder.step0_top5;
  const row = range(logits, 3, 0, 2120);
  assert.equal(row.indexOf(Math.max(...row)), best);
  near([row[best]], [score], 2e-3, 'best');
  await runner.end();
});

test('a step that goes on from what "run" has kept is the one that goes on from what was sent', async () => {
  const { runner, one, hidden, decoder } = await encoded();
  const past = decoder.inputs.map(({ name }) => name).filter((name) => name.startsWith('past_key_values.'));
  const present = (name) => name.replace('past_key_values', 'present');
  const step = (ids, cached, pasts, more) => {
    const { list, bin } = inputs({
      input_ids: { dtype: 'I64', shape: [1, ids.length], data: BigInt64Array.from(ids.map(BigInt)) },
      encoder_hidden_states: { dtype: 'F32', shape: hidden.shape, data: hidden.data },
      use_cache_branch: { dtype: 'BOOL', shape: [1], data: Uint8Array.of(cached) },
      ...pasts,
    });
    return runner.ask('CALL', { op: 'run', graph: decoder.name, inputs: [...list, ...(more.kept ?? [])], ...more.call }, bin);
  };
  const empty = Object.fromEntries(past.map((name) => {
    const { dtype, shape } = decoder.inputs.find((port) => port.name === name);
    return [name, { dtype, shape: shape.map((n, i) => (n >= 0 ? n : i === 0 ? 1 : 0)), data: new Float32Array(0) }];
  }));
  const prompt = one.decoder.prompt, next = one.generated_ids[0];
  const first = await step(prompt, 0, empty, {});
  const sent = Object.fromEntries(past.map((name) => {
    const { shape, data } = tensor(first, present(name));
    return [name, { dtype: 'F32', shape, data }];
  }));
  const wanted = await step([next], 1, sent, { call: { outputs: ['logits'] } });
  const kept = await step(prompt, 0, empty, { call: { keep: past.map(present) } });
  assert.deepEqual(kept.json.outputs.map(({ name }) => name), ['logits']);
  const got = await step([next], 1, {}, { kept: past.map((name) => ({ name, kept: present(name) })), call: { outputs: ['logits'], keep: past.map(present).filter((name) => name.includes('.decoder.')) } });
  assert.equal(got.type, 'DONE', JSON.stringify(got.json));
  assert.equal(Buffer.compare(got.bin, wanted.bin), 0);
  const grown = await step([next], 1, {}, { kept: past.map((name) => ({ name, kept: present(name) })), call: { outputs: [present(past.find((name) => name.includes('.decoder.')))] } });
  assert.equal(tensor(grown, grown.json.outputs[0].name).shape[2], prompt.length + 2, 'what is kept again takes the place of the first');
  await runner.end();
});

test('with and without packed weights the numbers are the same', async () => {
  const ids = BigInt64Array.from(reference('tiny-embed').sentences[0].input_ids.map(BigInt));
  const ones = ids.map(() => 1n), zeros = ids.map(() => 0n);
  const { list, bin } = inputs({
    input_ids: { dtype: 'I64', shape: [1, ids.length], data: ids },
    attention_mask: { dtype: 'I64', shape: [1, ids.length], data: ones },
    token_type_ids: { dtype: 'I64', shape: [1, ids.length], data: zeros },
  });
  for (const more of [{}, { prepack: false }, { threads: 1 }]) {
    const runner = await started('tiny-embed', more);
    const done = await runner.ask('CALL', { op: 'run', graph: 'model', inputs: list }, bin);
    assert.equal(done.type, 'DONE', JSON.stringify(done.json));
    near(range(tensor(done, 'last_hidden_state'), 0, 0, 8), reference('tiny-embed').sentences[0].hidden_t0_0_8, 1e-4, 'hidden');
    await runner.end();
  }
});

test('calls that make no sense are answered and survived', async () => {
  const runner = await started('tiny-embed', { media: true });
  const one = { name: 'input_ids', dtype: 'I64', shape: [1, 2], offset: 0, bytes: 16 };
  const bad = [
    [{ op: 'dance' }, 'UNSUPPORTED'],
    [{}, 'UNSUPPORTED'],
    [{ op: 'run' }, 'NOT_FOUND'],
    [{ op: 'run', graph: 'other' }, 'NOT_FOUND'],
    [{ op: 'run', graph: 'model', inputs: [{ ...one, name: 'nothing' }] }, 'INVALID'],
    [{ op: 'run', graph: 'model', inputs: [{ ...one, offset: 8 }] }, 'INVALID'],
    [{ op: 'run', graph: 'model', inputs: [{ ...one, offset: 2 ** 60 }] }, 'INVALID'],
    [{ op: 'run', graph: 'model', inputs: [{ ...one, shape: [1, 3] }] }, 'INVALID'],
    [{ op: 'run', graph: 'model', inputs: [{ ...one, shape: [-1, -2] }] }, 'INVALID'],
    [{ op: 'run', graph: 'model', inputs: [{ ...one, shape: [2 ** 40, 2 ** 40] }] }, 'INVALID'],
    [{ op: 'run', graph: 'model', inputs: [{ ...one, shape: [1, 1, 1, 1, 1, 1, 1, 1, 2] }] }, 'INVALID'],
    [{ op: 'run', graph: 'model', inputs: [{ ...one, dtype: 'TEXT' }] }, 'INVALID'],
    [{ op: 'run', graph: 'model', inputs: [one], outputs: ['nothing'] }, 'INVALID'],
    [{ op: 'run', graph: 'model', inputs: [one], keep: ['nothing'] }, 'INVALID'],
    [{ op: 'run', graph: 'model', inputs: [one], outputs: ['last_hidden_state'], keep: ['last_hidden_state'] }, 'INVALID'],
    [{ op: 'run', graph: 'model', inputs: [one], outputs: Array(300).fill('last_hidden_state') }, 'INVALID'],
    [{ op: 'run', graph: 'model', inputs: [{ name: 'input_ids', kept: 'last_hidden_state' }] }, 'INVALID'],
    [{ op: 'run', graph: 'model', inputs: Array(300).fill(one) }, 'LIMIT'],
    [{ op: 'run', graph: 'model', inputs: [{ ...one, dtype: 'F32', shape: [1, 4] }] }, 'ENGINE'],
    [{ op: 'encode', mels: 80, frames: 3000 }, 'NOT_FOUND'],
    [{ op: 'encode', mels: 0, frames: 3000 }, 'INVALID'],
    [{ op: 'transcribe' }, 'INVALID'],
    [{ op: 'ctc' }, 'INVALID'],
    [{ op: 'ctc', window: 480000, stride: 80000, ratio: 0, least: 400 }, 'INVALID'],
    [{ op: 'ctc', window: 2 ** 40, stride: 80000, ratio: 320, least: 400 }, 'INVALID'],
    [{ op: 'ctc', window: 480000, stride: 240000, ratio: 320, least: 400 }, 'INVALID'],
    [{ op: 'ctc', window: 480001, stride: 80000, ratio: 320, least: 400 }, 'INVALID'],
    [{ op: 'ctc', window: 480000, stride: 80000, ratio: 320, least: 400 }, 'INVALID'], // no file
  ];
  for (const [call, code] of bad) {
    const got = await runner.ask('CALL', call, Buffer.alloc(16));
    assert.equal(got.type, 'FAIL', JSON.stringify(call));
    assert.equal(got.json.code, code, `${JSON.stringify(call).slice(0, 100)}: ${got.json.message}`);
    assert.ok(got.json.message && !got.json.message.includes('\n'));
  }
  assert.equal((await runner.ask('LOAD', folders['tiny-embed'])).json.code, 'USAGE');
  runner.socket.write(frame('CANCEL')); // late: nothing
  assert.equal((await runner.ask('CALL', { op: 'dance' })).type, 'FAIL');
  assert.equal((await runner.end()).code, 0);
});

test('without "media" the libraries for sound and pictures are not there', async () => {
  const libraries = (runner) => /libav(codec|format)/.test(readFileSync(`/proc/${runner.child.pid}/maps`, 'utf8'));
  const plain = await started('tiny-embed'), media = await started('tiny-embed', { media: true });
  assert.equal(libraries(plain), false);
  assert.equal(libraries(media), true);
  for (const op of ['transcribe', 'ctc', 'picture']) {
    const got = await plain.ask('CALL', { op });
    assert.equal(got.json.code, 'USAGE');
    assert.match(got.json.message, /needs a LOAD with "media"/);
  }
  await plain.end(), await media.end();
});

test('a LOAD that makes no sense is answered', async () => {
  folders['tiny-embed'] ??= exported('tiny-embed');
  const good = folders['tiny-embed'];
  const weight = { name: 'embeddings.word_embeddings.weight', file: 0, offset: 0, bytes: 16, dtype: 'F32', shape: [4] };
  const file = realpathSync(join(models, 'hangar-labs/tiny-embed/model.safetensors'));
  const graph = { ...good.graphs[0] };
  const bad = [
    [{}, 'INVALID'],
    [{ ...good, graphs: [] }, 'INVALID'],
    [{ ...good, graphs: Array(9).fill(graph) }, 'INVALID'],
    [{ ...good, threads: -1 }, 'INVALID'],
    [{ ...good, graphs: [{ name: 'x' }] }, 'INVALID'],
    [{ ...good, files: ['/nonexistent'] }, 'NOT_FOUND'],
    [{ ...good, files: [file], graphs: [{ name: 'not-a-graph', path: file }] }, 'INVALID'],
    [{ ...good, files: [file], graphs: [{ ...graph, initializers: [{ ...weight, file: 1 }] }] }, 'INVALID'],
    [{ ...good, files: [file], graphs: [{ ...graph, initializers: [{ ...weight, offset: 2 ** 50 }] }] }, 'INVALID'],
    [{ ...good, files: [file], graphs: [{ ...graph, initializers: [{ ...weight, bytes: 12 }] }] }, 'INVALID'],
    [{ ...good, files: [file], graphs: [{ ...graph, initializers: [{ ...weight, shape: [2 ** 62, 4] }] }] }, 'INVALID'],
  ];
  for (const [load, code] of bad) {
    const runner = new Runner(program);
    assert.equal((await runner.answer()).type, 'HELLO');
    const got = await runner.ask('LOAD', load);
    assert.equal(got.type, 'FAIL', JSON.stringify(load).slice(0, 200));
    assert.equal(got.json.code, code, `${JSON.stringify(load).slice(0, 120)}: ${got.json.message}`);
    assert.equal((await runner.ask('CALL', { op: 'run', graph: 'model' })).json.code, 'USAGE');
    await runner.end();
  }
});

test('outside its files the runner reads nothing', async () => {
  folders['tiny-embed'] ??= exported('tiny-embed');
  const good = folders['tiny-embed'];
  const runner = new Runner(program);
  await runner.answer();
  // the graph lies outside the folder that the frame names
  const got = await runner.ask('LOAD', { ...good, folder: own.env.HANGAR_HOME, files: [] });
  const { json } = got;
  const caged = /^NoNewPrivs:\s+1$/m.test(readFileSync(`/proc/${runner.child.pid}/status`, 'utf8'));
  assert.ok(caged);
  if (got.type === 'READY') assert.ok(json.sandbox < 2, 'a kernel with Landlock keeps it out');
  else assert.equal(got.type, 'FAIL');
  await runner.end();
});

test('garbage ends the runner, and so does a closed socket', async () => {
  for (const bytes of ['GET / HTTP/1.1\r\n\r\n', Buffer.alloc(64), frame('HELLO', {})]) {
    const runner = new Runner(program);
    await runner.answer();
    runner.socket.write(bytes);
    assert.equal((await runner.exited).code, 0);
  }
  const runner = new Runner(program);
  await runner.answer();
  assert.equal((await runner.end()).code, 0);
  assert.throws(() => execFileSync(program, ['--what'], { stdio: 'pipe' }), /takes only --version/);
});
