// SPDX-License-Identifier: Apache-2.0
// What happens around a conversion: its child is killed, it is cancelled in each phase, the disk is full, another one does the same. Nothing
// half made is ever visible, nothing is left, and one line says why.
import test from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ownHangar, program } from '../support/models.mjs';

const own = ownHangar('convert-faults');
test.after(own.remove);
const artifacts = join(own.env.HANGAR_HOME, 'artifacts', 'models--t--large');
const below = () => (existsSync(artifacts) ? readdirSync(artifacts, { recursive: true }).map(String) : []);

// A BERT of 200 MB of zeros, which take no space.
function large(dir) {
  const width = 1024, inner = 4096, header = {};
  let at = 0;
  const put = (name, ...shape) => {
    const bytes = 4 * shape.reduce((a, b) => a * b);
    header[name] = { dtype: 'F32', shape, data_offsets: [at, (at += bytes)] };
  };
  const linear = (name, rows, columns) => [put(`${name}.weight`, rows, columns), put(`${name}.bias`, rows)];
  const norm = (name) => [put(`${name}.weight`, width), put(`${name}.bias`, width)];
  const table = (name, rows) => put(`embeddings.${name}_embeddings.weight`, rows, width);
  table('word', 64), table('position', 64), table('token_type', 2), norm('embeddings.LayerNorm');
  for (let i = 0; i < 4; i++) {
    const layer = `encoder.layer.${i}.`;
    for (const part of ['self.query', 'self.key', 'self.value', 'output.dense']) linear(`${layer}attention.${part}`, width, width);
    norm(`${layer}attention.output.LayerNorm`), linear(`${layer}intermediate.dense`, inner, width);
    linear(`${layer}output.dense`, width, inner), norm(`${layer}output.LayerNorm`);
  }
  const text = JSON.stringify(header), padded = text + ' '.repeat((8 - (text.length % 8)) % 8), length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  mkdirSync(dir);
  const file = openSync(join(dir, 'model.safetensors'), 'w');
  writeSync(file, length), writeSync(file, padded), ftruncateSync(file, 8 + padded.length + at), closeSync(file);
  writeFileSync(join(dir, 'config.json'), JSON.stringify({
    architectures: ['BertModel'], model_type: 'bert', vocab_size: 64, hidden_size: width, num_hidden_layers: 4, num_attention_heads: 16,
    intermediate_size: inner, max_position_embeddings: 64, type_vocab_size: 2, pad_token_id: 0,
  }));
}

test.before(() => {
  large(join(own.home, 'large'));
  const got = own.hangar(['add', join(own.home, 'large'), '--as', 't/large']);
  assert.equal(got.status, 0, got.stderr);
});
test.beforeEach(() => rmSync(artifacts, { recursive: true, force: true }));

// A conversion at work: its process, what it said, and its end.
function begin(...args) {
  const child = spawn(program, ['convert', 't/large', '--form', 'int8', ...args], { env: own.env });
  const it = { child, said: '' };
  child.stderr.setEncoding('utf8').on('data', (text) => (it.said += text));
  it.end = new Promise((resolve) => child.on('close', (status, signal) => resolve({ status, signal, line: it.said.trim().split('\n').at(-1) })));
  return it;
}

async function until(what, it) {
  for (let i = 0; i < 6000 && it.child.exitCode === null; i++) {
    const found = what();
    if (found) return found;
    await sleep(2);
  }
  throw new Error(`it never came to that: ${it.said}`);
}

// What /proc holds; nothing of a thread or process that is gone.
function proc(...path) {
  try {
    return readFileSync(join('/proc', ...path), 'utf8');
  } catch {
    return '';
  }
}

// The child of this name that the conversion has just now.
function childOf({ child: { pid } }, name) {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((thread) => proc(`${pid}/task`, thread, 'children').split(' '));
  return children.filter(Boolean).map(Number).find((one) => proc(`${one}`, 'cmdline').includes(name));
}

test('a child killed while it writes weights', async () => {
  const it = begin();
  await until(() => below().some((path) => path.endsWith('.onnx_data')), it);
  process.kill(childOf(it, 'hangar-runner-convert'), 'SIGKILL');
  const { status, line } = await it.end;
  assert.notEqual(status, 0);
  assert.match(line, /^hangar: converting t\/large: .*SIGKILL/);
  assert.deepEqual(below(), []);
});

test('a child killed while it proves', async () => {
  const it = begin();
  process.kill(await until(() => childOf(it, 'hangar-runner-onnx'), it), 'SIGKILL');
  const { status, line } = await it.end;
  assert.equal(status, 6);
  assert.match(line, /^hangar: converting t\/large: .*SIGKILL/);
  assert.deepEqual(below(), []);
});

for (const phase of ['building graphs', 'checking structure', 'loading', 'running', 'comparing with the original', 'computing anew']) {
  test(`cancelled while ${phase}`, async () => {
    const it = begin();
    await until(() => it.said.includes(phase), it);
    it.child.kill('SIGTERM');
    const { status, signal, line } = await it.end;
    assert.deepEqual([status, signal], [130, null]);
    assert.match(line, /^hangar: converting t\/large: .*cancelled$/);
    assert.deepEqual(below(), []);
  });
}

test('no room for the weights', () => {
  const got = spawnSync('bash', ['-c', 'ulimit -f 20000; exec "$0" "$@"', program, 'convert', 't/large', '--form', 'int8'], { env: own.env, encoding: 'utf8' });
  assert.equal(got.status, 7, got.stderr);
  assert.match(got.stderr, /\nhangar: converting t\/large: model\.onnx_data needs [\d.]+ MB: [^\n]+\n$/);
  assert.deepEqual(below(), []);
});

test('no room for the graph', () => {
  const out = join(own.home, 'full');
  const got = spawnSync('bash', ['-c', 'ulimit -f 8; exec "$0" "$@"', program, 'convert', 't/large', '--out', out, '--copy'], { env: own.env, encoding: 'utf8' });
  assert.deepEqual([got.status, got.signal], [7, null], got.stderr);
  assert.ok(!existsSync(out));
});

test('two at once', async () => {
  const both = [begin('--json'), begin('--json')];
  for (const it of both) assert.equal((await it.end).status, 0, it.said);
  const [commit] = readdirSync(artifacts), kept = readdirSync(join(artifacts, commit));
  assert.deepEqual(kept.filter((name) => name !== 'choice.json'), ['onnx-int8']);
  assert.equal(own.hangar(['validate', 't/large']).status, 0);
});
