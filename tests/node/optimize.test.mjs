// SPDX-License-Identifier: Apache-2.0
// ctest: long
// `hangar quantize` and `hangar optimize` over the real program: what they make is what is used, what they measured is shown, and what went
// wrong leaves nothing. And the runner's operation "time", spoken to directly.
import test from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { clip, clips, ownHangar, program, runners } from '../support/models.mjs';
import { llama, writeRandom } from '../support/randommodel.mjs';
import { Runner } from '../support/wire.mjs';

const TRIED = ['cpu', 'cpu-packed', 'cpu-int8', 'cpu-int8-blocks', 'cpu-int4'];
const SHORT = ['cpu-short', 'cpu-int8-short']; // for what hears windows of sound
const own = ownHangar('optimize', 'whisper-digits', 'tiny-chat', 'tiny-embed');
test.after(() => { Runner.killAll(); own.remove(); });
const { hangar, result, env } = own;

const show = (ref) => result(['show', ref]);
const root = (ref) => {
  const { repo, commit } = show(ref);
  return join(env.HANGAR_HOME, 'artifacts', `models--${repo.replace('/', '--')}`, commit);
};
const kinds = (ref) => (existsSync(root(ref)) ? readdirSync(root(ref)).filter((name) => name !== 'choice.json').sort() : []);
const chosen = (ref) => show(ref).artifacts.filter((a) => a.chosen).map((a) => a.kind).join();
const manifest = (ref, kind) => JSON.parse(readFileSync(join(root(ref), kind, 'hangar.json'), 'utf8'));
const forget = (ref) => rmSync(root(ref), { recursive: true, force: true });
const embed = (...more) => result(['embed', 'hangar-labs/tiny-embed', 'the quick brown fox', ...more]).embeddings[0];
const cosine = (a, b) => a.reduce((s, x, i) => s + x * b[i], 0) / Math.hypot(...a) / Math.hypot(...b);
const config = (text) => {
  const file = join(own.home, 'hangar.yaml');
  writeFileSync(file, `models:\n  conversion:\n    ${text}\n`);
  return { ...env, HANGAR_CONFIG: file };
};
const withConfig = (text, args) => {
  const got = hangar([...args, '--json'], { env: config(text) });
  assert.equal(got.status, 0, got.stderr);
  return own.last(got);
};

// The table of a measured choice: every form is there, and the chosen one is the fastest of those that are right, by the rules of the page.
function checkTable(got, { steps, batch, tried = TRIED, counted = 64 }) {
  assert.equal(got.asked, 'auto');
  assert.deepEqual(got.table.map((row) => row.profile).filter((name) => name !== 'gpu-fp16'), tried);
  const right = got.table.filter((row) => row.ok);
  assert.ok(right.length >= 3, JSON.stringify(got.table));
  for (const row of got.table) {
    if (!row.ok) {
      assert.ok(row.why.length > 10, row.profile);
      assert.equal(row.score, null);
      continue;
    }
    assert.equal(row.why, null);
    for (const key of ['prefill_ms', 'load_seconds', 'memory', 'bytes']) assert.ok(row[key] > 0, `${row.profile}: ${key} ${row[key]}`);
    assert.equal(row.step_ms !== null, steps);
    assert.equal(row.batch_ms !== null, batch);
    const sum = row.prefill_ms + (row.batch_ms ?? 0) + counted * (row.step_ms ?? 0);
    assert.ok(Math.abs(row.score - sum) < 1e-6 * sum, `${row.profile}: ${row.score} is not ${sum}`);
    assert.equal(row.drift === null, row.form === 'f32');
    if (row.drift !== null) assert.ok(row.drift > 0 && row.drift < 0.35, `${row.profile}: drift ${row.drift}`);
  }
  const least = (rows) => rows.reduce((a, b) => (b.score < a.score ? b : a));
  const plain = least(right.filter((row) => row.form === 'f32')), other = least(right.filter((row) => row.form !== 'f32'));
  assert.equal(got.profile, other.score * 1.1 < plain.score ? other.profile : plain.profile);
}

test('whisper-digits measured: the transcripts stay what they were', () => {
  const ref = 'hangar-labs/whisper-digits', known = clips().filter((c) => c.model_text !== undefined);
  const texts = () => result(['transcribe', ref, ...known.map((c) => clip(c.file))]).results.map((r) => r.text);
  const before = texts();
  assert.deepEqual(before, known.map((c) => c.model_text));
  const got = result(['optimize', ref, '--seconds', '10s']);
  checkTable(got, { steps: true, batch: false, tried: [...TRIED, ...SHORT], counted: 16 });
  const seen = show(ref);
  assert.deepEqual(seen.choice.table, got.table);
  assert.equal(seen.choice.profile, got.profile);
  assert.equal(seen.artifacts.find((a) => a.chosen).path, got.path);
  assert.deepEqual(texts(), before, got.profile);
  const page = hangar(['show', ref]).stdout;
  for (const name of [...TRIED, ...SHORT]) assert.match(page, new RegExp(`${name} `));
  assert.match(page, /times in ms; score/);
  assert.ok(page.includes(got.why));
  const score = (name) => got.table.find((row) => row.profile === name).score;
  console.log(`  ${got.why}: ${got.table.map((row) => `${row.profile} ${row.score?.toFixed(1)}`).join(', ')}; f32 / chosen ${(score('cpu') / score(got.profile)).toFixed(2)}`);
  // whatever was the fastest on this machine: the others say the same
  for (const profile of ['cpu-int8', ...SHORT]) {
    assert.equal(result(['optimize', ref, '--profile', profile]).profile, profile);
    assert.equal(chosen(ref), `onnx-${profile === 'cpu-short' ? 'f32-short' : profile.slice(4)}`);
    assert.deepEqual(texts(), before, profile);
  }
  assert.equal(result(['quantize', ref]).profile, 'cpu-int8');
});

test('what hears no windows of sound has no form that samples silence', () => {
  const refused = hangar(['optimize', 'hangar-labs/tiny-embed', '--profile', 'cpu-short']);
  assert.equal(refused.status, 9);
  assert.match(refused.stderr, /the form f32-short is for models that hear windows of sound, and bert does not/);
  assert.equal(refused.stderr.split('\n').filter((line) => line.startsWith('hangar: ')).length, 1, refused.stderr);
  assert.deepEqual(kinds('hangar-labs/tiny-embed'), []);
});

test('tiny-chat: what was there stays, losers go, the answer comes from the chosen form', () => {
  const ref = 'hangar-labs/tiny-chat', ask = () => result(['run', ref, 'Say something.', '--max-tokens', '8', '--temperature', '0']).tokens.length;
  const first = result(['quantize', ref]);
  assert.deepEqual([first.asked, first.profile, first.form, first.why], ['small', 'cpu-int4', 'int4', 'cpu-int4 for text-generation']);
  assert.ok(first.proof.ok && first.proof.checks.some((c) => c.name === 'drift' && c.value > 0));
  assert.ok(ask() > 0);
  assert.deepEqual(kinds(ref), ['onnx-int4'], 'a run makes no other form');
  const got = result(['optimize', ref, '--seconds', '5']);
  checkTable(got, { steps: true, batch: false });
  assert.deepEqual(kinds(ref), [...new Set(['onnx-int4', chosen(ref)])].sort());
  assert.ok(ask() > 0);
  assert.deepEqual(kinds(ref), [...new Set(['onnx-int4', chosen(ref)])].sort());
  const all = result(['optimize', ref, '--seconds', '5', '--keep']);
  assert.deepEqual(kinds(ref), ['onnx', 'onnx-int4', 'onnx-int8', 'onnx-int8-blocks']);
  assert.equal(manifest(ref, chosen(ref)).form, all.form);
  assert.equal(result(['convert', ref]).form, 'f32');
  assert.equal(chosen(ref), 'onnx', 'what was converted last is used');
});

test('a random decoder of 20 million parameters', () => {
  const from = join(own.home, 'random');
  const count = writeRandom(from, llama({ hidden_size: 384, intermediate_size: 1024, num_hidden_layers: 8, num_attention_heads: 6, num_key_value_heads: 6, vocab_size: 16000, tie_word_embeddings: true }));
  assert.ok(count > 1.9e7 && count < 2.3e7, `${count}`);
  assert.equal(hangar(['add', from, '--as', 'test/random']).status, 0);
  const got = result(['optimize', 'test/random', '--seconds', '20s']);
  checkTable(got, { steps: true, batch: false });
  const { score } = got.table.find((row) => row.profile === got.profile);
  assert.ok(score <= got.table[0].score);
  assert.deepEqual(kinds('test/random'), [chosen('test/random')]);
  const ports = result(['validate', 'test/random']);
  assert.equal(ports.form, got.form, 'the report card is that of the chosen form');
  console.log(`  ${got.why}: ${got.table.map((row) => `${row.profile} ${row.score === null ? row.why : row.score.toFixed(1)}`).join(', ')}`);
});

test('a text encoder: one text and many', () => {
  const ref = 'hangar-labs/tiny-embed', before = embed();
  forget(ref);
  checkTable(result(['optimize', ref, '--seconds', '3']), { steps: false, batch: true });
  result(['quantize', ref]);
  const after = embed();
  assert.notDeepEqual(after, before, 'the quantized form is used');
  assert.ok(cosine(after, before) > 0.999);
  result(['quantize', ref, '--profile', 'cpu']);
  assert.deepEqual(embed(), before);
});

test('a damaged choice: 32 bits and a note; a damaged form is made anew', () => {
  const ref = 'hangar-labs/tiny-embed';
  forget(ref);
  const plain = embed();
  result(['quantize', ref]);
  const small = embed();
  for (const text of ['{', '', '{"kind":"../../../etc"}', '{"kind":"onnx-int3"}']) {
    writeFileSync(join(root(ref), 'choice.json'), text);
    assert.deepEqual(embed(), plain);
    assert.equal(show(ref).choice, null);
    assert.equal(chosen(ref), 'onnx');
  }
  result(['quantize', ref]);
  rmSync(join(root(ref), 'onnx'), { recursive: true });
  rmSync(join(root(ref), 'onnx-int8', 'model.onnx_data'));
  assert.deepEqual(embed(), small);
  assert.deepEqual(kinds(ref), ['onnx-int8']);
});

test('a damaged choice is told of', () => {
  const ref = 'hangar-labs/tiny-chat';
  writeFileSync(join(root(ref), 'choice.json'), '{');
  const got = hangar(['run', ref, 'Say something.', '--max-tokens', '2']);
  assert.equal(got.status, 0, got.stderr);
  assert.match(got.stderr, /choice\.json cannot be read, so the 32-bit form is used; hangar optimize hangar-labs\/tiny-chat chooses/);
});

test('levels: in the manifest, with the same answers; O3 is refused', () => {
  const ref = 'hangar-labs/tiny-embed';
  forget(ref);
  const want = embed();
  for (const [level, style] of [['O0', 'portable'], ['O1', 'portable'], ['O2', 'fused']]) {
    const got = result(['optimize', ref, '--profile', 'cpu', '--level', level]);
    assert.deepEqual([got.level, got.style], [level, style]);
    assert.equal(manifest(ref, 'onnx').level, level);
    embed().forEach((x, i) => assert.ok(Math.abs(x - want[i]) < 1e-5, `${level}: ${x}, wanted ${want[i]}`));
  }
  for (const profile of ['cpu', 'auto']) {
    const no = hangar(['optimize', ref, '--profile', profile, '--level', 'O3']);
    assert.equal(no.status, 9, no.stderr);
    assert.match(no.stderr, /O3 is not made.*use O2/s);
  }
  assert.equal(hangar(['optimize', ref, '--level', 'O9']).status, 2);
  assert.deepEqual(kinds(ref), ['onnx']);
});

test('the settings of models.conversion', () => {
  const ref = 'hangar-labs/tiny-embed';
  forget(ref);
  withConfig('enable_quantization: true', ['embed', ref, 'x']);
  assert.deepEqual([kinds(ref), chosen(ref)], [['onnx-int8'], 'onnx-int8']);
  forget(ref);
  const got = withConfig('enable_quantization: true', ['convert', ref]);
  assert.deepEqual([got.form, got.profile, got.why], ['int8', 'cpu-int8', 'models.conversion.enable_quantization is on']);
  assert.equal(withConfig('enable_quantization: true', ['convert', ref, '--form', 'f32']).form, 'f32');
  assert.equal(withConfig('optimization_level: O1', ['convert', ref]).level, 'O1');
  assert.equal(withConfig('optimization_level: O3', ['convert', ref]).level, 'O2');
  const gpu = withConfig('target_platform: gpu', ['optimize', ref]);
  assert.deepEqual([gpu.profile, gpu.form, gpu.table], ['gpu-fp16', 'f16', null]);
  assert.match(gpu.why, /target_platform/);
});

test('a folder for others leaves what hangar uses alone', () => {
  const ref = 'hangar-labs/tiny-embed', out = join(own.home, 'out');
  forget(ref);
  result(['convert', ref]);
  const got = result(['quantize', ref, '--profile', 'cpu-int8-blocks', '--out', out]);
  assert.equal(got.form, 'int8-blocks');
  assert.ok(readdirSync(join(out, 'onnx')).includes('model_quantized.onnx'));
  assert.deepEqual([kinds(ref), chosen(ref), show(ref).choice], [['onnx'], 'onnx', null]);
});

test('a cancel in the midst of trying leaves nothing', async () => {
  forget('test/random');
  const child = spawn(program, ['optimize', 'test/random'], { env });
  let said = '', done = false;
  const ended = new Promise((go) => child.on('close', (code) => go(code)));
  child.stderr.on('data', (data) => {
    said += data;
    if (done || !/trying cpu-int8 \(3 of \d\)[^]*measuring/.test(said)) return;
    done = true;
    child.kill('SIGINT');
  });
  assert.equal(await ended, 130, said);
  assert.ok(!existsSync(join(env.HANGAR_HOME, 'artifacts', 'models--test--random')), said);
});

test('a model that cannot be converted says why, once', () => {
  const from = join(own.home, 'alien');
  mkdirSync(from);
  writeFileSync(join(from, 'config.json'), JSON.stringify({ model_type: 'alien', architectures: ['AlienModel'] }));
  writeFileSync(join(from, 'model.safetensors'), Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('{}')]));
  assert.equal(hangar(['add', from, '--as', 'test/alien']).status, 0);
  const got = hangar(['optimize', 'test/alien']);
  assert.equal(got.status, 9, got.stderr);
  assert.match(got.stderr, /hangar: optimizing test\/alien: .*model_type alien/);
  assert.ok(!existsSync(join(env.HANGAR_HOME, 'artifacts', 'models--test--alien')));
});

test('the operation "time": what is asked is checked', async () => {
  const ref = 'hangar-labs/tiny-embed';
  forget(ref);
  const out = join(own.home, 'timed');
  result(['convert', ref, '--out', out, '--copy']);
  const runner = new Runner(join(runners, 'hangar-runner-onnx'));
  assert.equal((await runner.answer()).type, 'HELLO');
  const folder = join(out, 'onnx');
  assert.equal((await runner.ask('LOAD', { folder, files: [], graphs: [{ name: 'model', path: join(folder, 'model.onnx') }], optimize: 'basic' })).type, 'READY');
  const tokens = (fill, shape = [2, 5]) => ['input_ids', 'attention_mask', 'token_type_ids'].map((name, i) => ({ name, dtype: 'I64', shape, ...(i === 0 ? fill : { fill: i === 1 ? 1 : 0 }) }));
  const time = async (more) => {
    let answer = await runner.ask('CALL', { op: 'time', graph: 'model', inputs: tokens({ random: 100 }), warm: 1, repeats: 3, seconds: 60, ...more });
    while (answer.type === 'TICK') answer = await runner.answer();
    return answer;
  };
  const good = await time({});
  assert.equal(good.type, 'DONE', JSON.stringify(good.json));
  assert.equal(good.json.seconds.length, 3);
  assert.ok(good.json.seconds.every((s) => s > 0));
  assert.equal((await time({ seconds: 0, warm: 5 })).json.seconds.length, 1, 'at least one counts');
  const bad = [
    { graph: 'none' }, { inputs: tokens({}) }, { inputs: tokens({ random: 0 }) }, { inputs: tokens({ random: -1 }) }, { inputs: tokens({ fill: 1e300 }) },
    { inputs: tokens({ random: 'x' }) }, { inputs: tokens({ fill: 1 }, [2 ** 40, 2 ** 40]) }, { inputs: tokens({ fill: 1 }, [-1, 5]) }, { inputs: tokens({ fill: 1 }, [2 ** 33, 1]) },
    { inputs: [{ name: 'nobody', dtype: 'I64', shape: [1], fill: 1 }] }, { inputs: [{ name: 'input_ids', dtype: 'X', shape: [1, 1], fill: 1 }] },
    { repeats: 0 }, { repeats: 1e9 }, { warm: -1 }, { seconds: -1 }, { inputs: Array(300).fill(tokens({ fill: 1 })[0]) }, { inputs: [] },
    { inputs: tokens({ random: 1e9 }) }, { inputs: [{ name: 'input_ids', dtype: 'U8', shape: [1, 1], fill: 300 }] }];
  for (const more of bad) assert.equal((await time(more)).type, 'FAIL', JSON.stringify(more).slice(0, 100));
  assert.equal((await time({})).type, 'DONE', 'the runner goes on');
  await runner.end();
});

test('the operation "time": sound with silence behind it, and what another graph gives', async () => {
  const out = join(own.home, 'heard'), folder = join(out, 'onnx');
  result(['convert', 'hangar-labs/whisper-digits', '--form', 'f32-short', '--out', out, '--copy']);
  const runner = new Runner(join(runners, 'hangar-runner-onnx'));
  assert.equal((await runner.answer()).type, 'HELLO');
  const graphs = ['encoder_model', 'decoder_model_merged'].map((name) => ({ name, path: join(folder, `${name}.onnx`) }));
  const ready = await runner.ask('LOAD', { folder, files: [], graphs });
  assert.equal(ready.type, 'READY', JSON.stringify(ready.json));
  const mel = (sound) => ({ name: 'input_features', dtype: 'F32', shape: [1, 80, 3000], random: 1, ...sound });
  const states = (more) => ({ name: 'encoder_hidden_states', of: 'last_hidden_state', graph: 'encoder_model', inputs: [mel({ sound: 300 })], ...more });
  const decoder = (...first) => [...first, { name: 'input_ids', dtype: 'I64', shape: [1, 4], random: 500 }, { name: 'use_cache_branch', dtype: 'BOOL', shape: [1], fill: 0 },
    ...ready.json.graphs[1].inputs.filter((port) => port.name.startsWith('past_')).map(({ name, dtype, shape }) => ({ name, dtype, shape: [1, shape[1], 0, shape[3]], random: 1 }))];
  const time = (graph, inputs) => runner.ask('CALL', { op: 'time', graph, inputs, warm: 2, repeats: 9, seconds: 60 });
  const least = async (graph, inputs) => {
    const done = await time(graph, inputs);
    assert.equal(done.type, 'DONE', JSON.stringify(done.json));
    return Math.min(...done.json.seconds);
  };
  // Not a matter of the machine: attention over 1500 positions against 300 of them.
  assert.ok((await least('encoder_model', [mel({ sound: 300 })])) < (await least('encoder_model', [mel({})])), 'silence is sampled');
  assert.ok((await least('decoder_model_merged', decoder(states()))) > 0);
  const bad = [mel({ sound: -1 }), { ...mel({}), of: 'last_hidden_state', graph: 'encoder_model' }];
  for (const one of bad) assert.equal((await time('encoder_model', [one])).type, 'FAIL', JSON.stringify(one));
  const wrong = [{ graph: 'none' }, { of: 'nothing' }, { inputs: [] }, { inputs: [mel({ sound: 'x', random: 0 })] }, { inputs: Array(300).fill(mel({})) },
    { graph: 'decoder_model_merged', of: 'logits', inputs: decoder(states()) }];
  for (const more of wrong) assert.equal((await time('decoder_model_merged', decoder(states(more)))).type, 'FAIL', JSON.stringify(more).slice(0, 100));
  assert.ok((await least('decoder_model_merged', decoder(states()))) > 0, 'the runner goes on');
  await runner.end();
});
