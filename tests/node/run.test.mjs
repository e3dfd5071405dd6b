// SPDX-License-Identifier: Apache-2.0
// `hangar run` over the real program: the reference's ids, streaming, errors, a runner that dies.
import test from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { models, ownHangar, program, reference } from '../support/models.mjs';

const { env, home, hangar, remove } = ownHangar('run', 'tiny-chat-gguf');

// A grammar that never lets the answer end, so that there is time to disturb it.
writeFileSync(join(home, 'endless.gbnf'), 'root ::= [a-z ] root\n');
test.after(remove);

for (const [file, cases] of Object.entries(reference('tiny-chat-gguf').files)) {
  test(`${file} gives the ids of the reference at temperature 0`, () => {
    for (const one of cases.filter((c) => c.messages.length === 1)) {
      const [message] = one.messages;
      const got = hangar(['run', `hangar-labs/tiny-chat-gguf:${file}`, message.content, '--temperature', '0', '--json']);
      assert.equal(got.status, 0, got.stderr);
      const answer = JSON.parse(got.stdout);
      assert.deepEqual(answer.tokens, one.tokens);
      assert.equal(answer.text, one.text);
      assert.equal(answer.finish, one.finish);
    }
  });
}

test('the answer streams to stdout and nothing else does', () => {
  const got = hangar(['run', 'hangar-labs/tiny-chat-gguf', 'What is the capital of France?', '--temperature', '0']);
  assert.equal(got.status, 0, got.stderr);
  assert.equal(got.stdout, 'The capital of France is Paris.\n');
});

test('a prompt may come by a pipe', () => {
  const got = hangar(['run', 'hangar-labs/tiny-chat-gguf', '--temperature', '0'], { input: 'What is 7 plus 15?\n' });
  assert.equal(got.status, 0, got.stderr);
  assert.equal(got.stdout, '7 plus 15 is 22.\n');
});

test('a JSON schema from a file is held to', () => {
  const schema = join(home, 'schema.json');
  writeFileSync(schema, JSON.stringify({ type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] }));
  const got = hangar(['run', 'hangar-labs/tiny-chat-gguf', 'Hello', '--temperature', '0', '--json-schema', schema]);
  assert.equal(got.status, 0, got.stderr);
  assert.equal(typeof JSON.parse(got.stdout).ok, 'boolean');
});

test('a model that is not there names the command that fetches it', () => {
  const got = hangar(['run', 'nobody/nothing', 'Hello']);
  assert.equal(got.status, 3);
  assert.match(got.stderr, /hangar pull nobody\/nothing/);
});

test('a damaged model is one clear line', () => {
  const bad = join(home, 'bad.gguf');
  writeFileSync(bad, readFileSync(join(models, 'hangar-labs/tiny-chat-gguf/tiny-chat-Q8_0.gguf')).subarray(0, 100000));
  assert.equal(hangar(['add', bad, '--as', 'local/bad']).status, 0);
  const got = hangar(['run', 'local/bad', 'Hello']);
  assert.notEqual(got.status, 0);
  assert.equal(got.stderr.trim().split('\n').length, 1, got.stderr);
});

test('a runner that is killed is one clear line and no zombie', async () => {
  const child = spawn(program, ['run', 'hangar-labs/tiny-chat-gguf', 'Hello', '--temperature', '5', '--context-length', '131072', '--max-tokens', '120000', '--min-p', '0',
    '--top-k', '0', '--top-p', '1', '--grammar', join(home, 'endless.gbnf')], { env });
  let stderr = '';
  child.stderr.on('data', (d) => { stderr += d; });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const runner = spawnSync('pgrep', ['-P', String(child.pid)], { encoding: 'utf8' }).stdout.trim();
  assert.match(runner, /^\d+$/);
  process.kill(Number(runner), 'SIGKILL');
  const status = await new Promise((resolve) => child.once('exit', resolve));
  assert.equal(status, 1);
  assert.match(stderr, /SIGKILL/);
});

test('Ctrl-C ends an answer within a second with exit code 130', async () => {
  const child = spawn(program, ['run', 'hangar-labs/tiny-chat-gguf', 'Hello', '--temperature', '5', '--context-length', '131072', '--max-tokens', '120000', '--min-p', '0',
    '--top-k', '0', '--top-p', '1', '--grammar', join(home, 'endless.gbnf')], { env });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const begin = Date.now();
  child.kill('SIGINT');
  const status = await new Promise((resolve) => child.once('exit', resolve));
  assert.equal(status, 130);
  assert.ok(Date.now() - begin < 1000);
});
