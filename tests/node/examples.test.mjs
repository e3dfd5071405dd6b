// SPDX-License-Identifier: Apache-2.0
// The C examples, as an embedder would run them.
import test from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ownHangar } from '../support/models.mjs';

const { env, home, remove } = ownHangar('examples', 'tiny-chat-gguf');
test.after(remove);
const MODEL = 'hangar-labs/tiny-chat-gguf';
const at = (name) => join(process.env.HANGAR_BUILD, 'examples', name);
const run = (name, args, more = {}) => spawnSync(at(name), args, { env: { ...env, ...more }, encoding: 'utf8' });

test('basic: two questions to a loaded model', () => {
  const got = run('basic', [MODEL]);
  assert.equal(got.status, 0, got.stderr);
  const answers = got.stdout.split('\n').filter((l) => l.startsWith('{')).map((l) => JSON.parse(l));
  assert.deepEqual(answers.map((a) => a.text), ['The capital of France is Paris.', '3 plus 4 is 7.']);
});

test('basic: a model that is not there is one line and the exit code of the command', () => {
  const got = run('basic', ['nobody/nothing']);
  assert.equal(got.status, 3);
  assert.match(got.stderr, /^NOT_FOUND: .*hangar pull nobody\/nothing/);
});

test('streaming: the answer as it comes', async () => {
  const child = spawn(at('streaming'), [MODEL, 'What is the capital of France?'], { env });
  const pieces = [];
  child.stdout.on('data', (d) => pieces.push(String(d)));
  const code = await new Promise((done) => child.on('close', done));
  assert.equal(code, 0);
  assert.equal(pieces.join(''), 'The capital of France is Paris.\n');
});

test('fallback: the next of the chain answers, and it is told who', () => {
  const config = join(home, 'hangar.yaml');
  writeFileSync(config, `
models:
  list:
    helper:
      provider: anthropic
      model: claude-3-7-sonnet-20250219
      url: http://127.0.0.1:1
      api_key_env: EXAMPLE_KEY
      fallback: [small]
    small:
      ref: ${MODEL}
`);
  for (const more of [{}, { EXAMPLE_KEY: 'sk-canary-example' }]) { // no key; a key, but nobody listens
    const got = run('fallback', ['helper', 'What is the capital of France?'], { HANGAR_CONFIG: config, ...more });
    assert.equal(got.status, 0, got.stderr);
    assert.equal(got.stdout, 'The capital of France is Paris.\n');
    const report = JSON.parse(got.stderr.trim().split('\n').at(-1));
    assert.equal(report.model, 'small');
    assert.equal(report.fell_back, true);
    assert.match(got.stderr, /small answers for helper/);
    assert.doesNotMatch(got.stdout + got.stderr, /canary/);
  }
});
