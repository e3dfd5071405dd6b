// SPDX-License-Identifier: Apache-2.0
// `hangar up`: programs start in order when their models are ready, are kept running, get the signals, and none of them stays behind.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fakeDaemon, json, slot } from '../support/fakedaemon.mjs';
import { ownHangar, program } from '../support/models.mjs';
import { until } from '../support/serving.mjs';

const own = ownHangar('up', 'tiny-chat-gguf');
const socket = join(own.home, 's.sock');
const config = join(own.home, 'hangar.yaml');
const env = { ...own.env, HANGAR_SOCKET: socket, HANGAR_CONFIG: config };
const running = new Set();
after(() => {
  for (const child of running) child.kill('SIGKILL');
  own.remove();
});

const alive = (pid) => {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

// Processes that have this word in their environment, besides zombies: what a program left behind.
const marked = (word) => readdirSync('/proc').filter((pid) => {
  try {
    return /^\d+$/.test(pid) && Number(pid) !== process.pid && readFileSync(`/proc/${pid}/environ`, 'latin1').includes(word) && alive(pid);
  } catch {
    return false;
  }
});

// Starts `hangar up` with a configuration: { child, out(), err(), end } where end is a promise of { status, signal }.
function up(yaml, args = [], mark = 'NO_MARK') {
  writeFileSync(config, yaml);
  const child = spawn(program, ['up', ...args], { env: { ...env, MARK: mark }, stdio: ['ignore', 'pipe', 'pipe'], cwd: own.home });
  let out = '', err = '';
  running.add(child);
  child.stdout.on('data', (d) => { out += d; });
  child.stderr.on('data', (d) => { err += d; });
  const end = new Promise((done) => child.on('close', (status, signal) => { running.delete(child); done({ status, signal }); }));
  return { child, out: () => out, err: () => err, end, all: () => `${out}\n--\n${err}` };
}

const quick = 'serve: {restart_backoff: 20ms, restart_limit: 3}\n';
const held = (...names) => (req, res) => json(res, { models: names.map((n) => slot(n, 'ready')), memory: {} });

async function withDaemon(handle, fn) {
  const daemon = await fakeDaemon(socket, handle);
  try {
    await fn(daemon);
  } finally {
    await daemon.end();
    rmSync(socket, { force: true });
  }
}

test('a daemon is waited for, then the models, then the one before', async () => {
  let state = 'loading';
  const u0 = `${quick}models: {list: {helper: {ref: hangar-labs/tiny-chat-gguf}}}
programs:
  - {name: one, command: [sh, -c, 'echo one runs; echo more >&2; printf "no end"; sleep 0.3'], models: [helper]}
  - {name: two, command: [sh, -c, 'echo "$WORD" $(basename $(pwd)) $0', 010], env: {WORD: two  words, HOME: }, cwd: sub}
`;
  mkdirSync(join(own.home, 'sub'), { recursive: true });
  const u = up(u0, ['--external-daemon']);
  await until('it waits', () => u.err().includes('one waits: for helper: no hangar daemon listens'));
  await withDaemon((req, res) => json(res, { models: [slot('helper', state)], memory: {} }), async () => {
    await until('it waits for the model', () => u.err().includes('one waits: for helper: it is loading'));
    assert.equal(u.out(), '');
    state = 'ready';
    assert.equal((await u.end).status, 0, u.all());
  });
  assert.match(u.out(), /one \| one runs\n/);
  assert.match(u.out(), /one \| more\n/);
  assert.match(u.out(), /one \| no end\n/);
  assert.match(u.out(), /two \| two {2}words sub 010\n/);
  assert.ok(u.err().indexOf('one runs (process') < u.err().indexOf('two runs (process'), u.err());
  assert.match(u.err(), /one ended: exit code 0/);
});

test('a model that nobody holds is asked for', async () => {
  const models = [];
  await withDaemon((req, res, body) => {
    if (req.url === '/hangar/v1/load') {
      models.push(slot(body.model, 'ready'));
      json(res, { name: body.model, models });
    } else json(res, { models, memory: {} });
  }, async (daemon) => {
    const u = up(`${quick}programs: [{name: a, command: ['true'], models: [org/b]}]\n`);
    assert.equal((await u.end).status, 0, u.all());
    assert.deepEqual(daemon.requests.find((r) => r.method === 'POST').body, { model: 'org/b', pinned: true });
  });
  await withDaemon((req, res) => json(res, { models: [slot('org/b', 'quarantined', { error: 'boom' })], memory: {} }), async () => {
    const u = up(`${quick}programs: [{name: a, command: [sleep, '60']}, {name: b, command: ['true'], models: [org/b]}]\n`);
    assert.equal((await u.end).status, 1);
    assert.match(u.err(), /the daemon has given org\/b up: boom/);
    assert.match(u.err(), /a ended: killed by SIGTERM/);
  });
});

test('a program that fails is started again, and ends all when it fails too often', async () => {
  await withDaemon(held(), async () => {
    const u = up(`${quick}programs:
  - {name: good, command: [sleep, '60'], restart: always}
  - {name: bad, command: [sh, -c, 'echo try; exit 3']}
`);
    assert.equal((await u.end).status, 1);
    assert.equal(u.out().match(/bad \| try/g).length, 4);
    assert.match(u.err(), /bad ended: exit code 3; it is started again in 0\.02 s/);
    assert.match(u.err(), /bad ended: exit code 3; it is started again in 0\.08 s/);
    assert.match(u.err(), /that was the 4th time in a row/);
    assert.match(u.err(), /good ended: killed by SIGTERM/);
    const never = up(`${quick}programs: [{name: a, command: [sleep, '60']}, {name: b, command: ['false'], restart: never}]\n`);
    assert.equal((await never.end).status, 1);
    assert.match(never.err(), /b ended: exit code 1/);
    const count = join(own.home, 'count');
    const always = up(`${quick}programs: [{name: a, command: [sh, -c, 'echo x >>${count}'], restart: always}]\n`);
    await until('it is started again and again', () => existsSync(count) && readFileSync(count, 'utf8').length >= 10);
    always.child.kill('SIGTERM');
    assert.equal((await always.end).status, 0, always.all());
  });
});

test('signals are passed on, and the end has the reverse order', async () => {
  await withDaemon(held(), async () => {
    const say = (n) => `{name: ${n}, command: [sh, -c, 'trap "echo hup" HUP; trap "echo bye; exit 0" TERM INT; echo up; while :; do sleep 0.05; done']}`;
    for (const [signal, word] of [['SIGTERM', 'SIGTERM'], ['SIGINT', 'SIGINT']]) {
      const u = up(`${quick}programs: [${say('a')}, ${say('b')}, ${say('c')}]\n`);
      await until('all run', () => /c \| up/.test(u.out()));
      u.child.kill('SIGHUP');
      await until('all heard it', () => ['a', 'b', 'c'].every((n) => u.out().includes(`${n} | hup`)));
      u.child.kill(signal);
      assert.equal((await u.end).status, 0, word);
      const order = u.out().split('\n').filter((l) => l.endsWith('bye')).map((l) => l[0]).join('');
      assert.equal(order, 'cba');
    }
    const deaf = up(`${quick}programs: [{name: deaf, command: [sh, -c, 'trap "" TERM INT; echo up; while :; do sleep 0.05; done']}]\n`);
    await until('it runs', () => deaf.out().includes('up'));
    deaf.child.kill('SIGTERM');
    await until('the end began', () => deaf.err().includes('asked to end'));
    const began = Date.now();
    deaf.child.kill('SIGTERM');
    assert.equal((await deaf.end).status, 0);
    assert.ok(Date.now() - began < 8000);
    assert.match(deaf.err(), /did not end in time/);
    const late = up(`${quick}programs: [{name: deaf, command: [sh, -c, 'trap "" TERM INT; echo up; while :; do sleep 0.05; done']}]\n`, ['--grace', '200ms']);
    await until('it runs', () => late.out().includes('up'));
    late.child.kill('SIGTERM');
    assert.equal((await late.end).status, 0);
  });
});

test('nothing is left, not even of a command that was killed', async () => {
  await withDaemon(held(), async () => {
    const mark = `hangar-up-${process.pid}`;
    const nest = '{name: nest, command: [sh, -c, \'sh -c "sleep 1000 & sleep 1001 & wait" & echo up; wait\']}';
    for (const signal of ['SIGTERM', 'SIGKILL']) {
      const u = up(`${quick}programs: [${nest}]\n`, [], mark);
      await until('it runs', () => u.out().includes('up'));
      await until('the nest is there', () => marked(mark).length >= 5);
      u.child.kill(signal);
      await u.end;
      await until(`nothing is left after ${signal}`, () => marked(mark).length === 0);
    }
  });
});

test('the daemon is started when none runs, with the models, and ends last', async () => {
  const u = up(`models: {list: {helper: {ref: hangar-labs/tiny-chat-gguf}}}
serve: {restart_backoff: 20ms, listen: '127.0.0.1:0'}
programs:
  - {name: app, command: [${program}, run, helper, 'What is the capital of France?', --temperature, '0'], models: [helper], restart: never}
`);
  const end = await u.end;
  assert.equal(end.status, 0, u.all());
  assert.match(u.out(), /app \| .*Paris/);
  assert.ok(u.err().lastIndexOf('hangar ended') > u.err().lastIndexOf('app ended'), u.err());
});

test('mistakes are named with their line, before anything starts', async () => {
  const cases = [
    ['', 3, /there are no programs/],
    ['programs: []\n', 3, /there are no programs/],
    ['programs:\n  - {command: [a]}\n', 6, /line 2: programs.0.name: a name/],
    ['programs:\n  - x\n', 6, /line 2: programs.0: a map/],
    ['programs:\n  - {name: a}\n', 6, /line 2: programs.a.command: a program is wanted/],
    ['programs:\n  - {name: a, command: []}\n', 6, /command: a program is wanted/],
    ['programs:\n  - {name: a, command: [[b]]}\n', 6, /command: a list of texts/],
    ['programs:\n  - {name: a, command: nothing-like-this-anywhere}\n', 3, /no program nothing-like-this-anywhere in PATH/],
    ['programs:\n  - {name: a, command: ./nothing}\n', 3, /\.\/nothing is no program/],
    ['programs:\n  - {name: a/b, command: x}\n', 6, /name: a name/],
    ['programs:\n  - {name: a, comand: x}\n', 6, /programs.a.comand: unknown key; did you mean 'command'/],
    ['programs:\n  - {name: a, command: "true"}\n  - {name: a, command: "true"}\n', 6, /line 3: programs.a.name: is there twice/],
    ['programs:\n  - {name: a, command: "true", after: [b]}\n  - {name: b, command: "true"}\n', 6, /after: there is no program 'b' above/],
    ['programs:\n  - {name: a, command: "true", restart: sometimes}\n', 6, /restart: one of never/],
    ['programs:\n  - {name: a, command: "true", env: [x]}\n', 6, /env: a map/],
    ['programs:\n  - {name: a, command: "true", models: [zzz]}\n', 6, /models: there is no model 'zzz'/],
    ['programs:\n  - {name: a, command: "true", models: [claude-3.7-sonnet]}\n', 6, /its key is not set/],
    ['programs:\n  - {name: hangar, command: "true"}\n', 6, /is the daemon's own/],
  ];
  for (const [yaml, status, words] of cases) {
    const u = up(yaml);
    assert.equal((await u.end).status, status, `${yaml}: ${u.err()}`);
    assert.match(u.err(), words);
    assert.equal(u.out(), '');
  }
});
