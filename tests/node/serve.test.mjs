// SPDX-License-Identifier: Apache-2.0
// `hangar serve` as other programs lean on it: it gates their start, tells the truth while runners die, and leaves nothing behind.
import test from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ownHangar, program } from '../support/models.mjs';
import { addFake, fakeRunners, runnersOf, serve, sleep, until } from '../support/serving.mjs';

const MODEL = 'hangar-labs/tiny-chat-gguf';
const quick = `
engine:
  step_timeout: 1s
serve:
  probe_interval: 200ms
  probe_timeout: 1s
  restart_backoff: 10ms
`;
const question = { messages: [{ role: 'user', content: 'What is the capital of France?' }], temperature: 0 };
const chat = (d, model = MODEL) => d.post('/v1/chat/completions', { model, ...question });

// Reads the status file and /health again and again, as fast as it can (about each millisecond), until stop(); each reading must be whole.
function watch(d, file) {
  const seen = { file: new Set(), health: new Set(), reads: 0, bad: [] };
  let on = true;
  const files = (async () => {
    while (on) {
      try {
        const doc = JSON.parse(readFileSync(file, 'utf8'));
        for (const key of ['status', 'error', 'timestamp', 'model_path', 'device']) if (!(key in doc)) seen.bad.push(`no ${key}`);
        seen.file.add(doc.status);
        seen.reads++;
      } catch (e) {
        if (e.code !== 'ENOENT' || seen.reads > 0) seen.bad.push(String(e));
      }
      await sleep(1);
    }
  })();
  const health = (async () => {
    while (on) {
      const got = await d.get('/health');
      if (typeof got.json?.status !== 'string' || typeof got.json.model_loaded !== 'boolean') seen.bad.push(got.text);
      seen.health.add(got.json?.status);
      await sleep(5);
    }
  })();
  return { seen, stop: async () => { on = false; await Promise.all([files, health]); return seen; } };
}

const status = (file) => JSON.parse(readFileSync(file, 'utf8')).status;
const ready = async (d) => (await d.get('/ready')).status === 200;

test('a preloaded model gates the start of another program', async (t) => {
  const own = ownHangar('serve-gate', 'tiny-chat-gguf');
  t.after(own.remove);
  const socket = join(own.home, 'hangar.sock');
  const env = { ...own.env, HANGAR_SOCKET: socket };
  const mark = join(own.home, 'mark');
  // The waiter comes first, when no daemon is there yet.
  const waiter = spawn(program, ['wait', MODEL, '--timeout', '60s', '--', 'sh', '-c', `echo "$1" > ${mark}; exit 7`, 'sh', 'started'], { env, stdio: 'ignore' });
  const ended = new Promise((done) => waiter.on('close', (code) => done(code)));
  await sleep(300);
  assert.ok(!existsSync(mark), 'nothing is ready yet');
  const file = join(own.home, 'status.json');
  const d = await serve('gate', { own, args: ['--preload', MODEL, '--status-file', file] });
  t.after(() => d.end());
  assert.equal(await ended, 7, 'the exit code is the command\'s');
  assert.equal(readFileSync(mark, 'utf8'), 'started\n');
  assert.equal(status(file), 'ready');
  assert.ok(await ready(d));
  const got = await chat(d);
  assert.equal(got.json.choices[0].message.content, 'The capital of France is Paris.');
});

test('a wait that is in vain ends with a timeout and starts nothing', (t) => {
  const own = ownHangar('serve-vain', 'tiny-chat-gguf');
  t.after(own.remove);
  const mark = join(own.home, 'mark');
  const got = own.hangar(['wait', MODEL, '--timeout', '1s', '--', 'touch', mark]);
  assert.equal(got.status, 5, got.stderr);
  assert.ok(!existsSync(mark));
});

test('a model that nobody keeps warm is loaded by who waits, when asked to', (t) => {
  const own = ownHangar('serve-or-load', 'tiny-chat-gguf');
  t.after(own.remove);
  const got = own.hangar(['wait', MODEL, '--timeout', '30s', '--or-load', '--', 'echo', 'here']);
  assert.equal(got.status, 0, got.stderr);
  assert.equal(got.stdout, 'here\n');
});

for (const [what, strike] of [['killed', 'SIGKILL'], ['stopped', 'SIGSTOP']]) {
  test(`a runner that is ${what} is replaced, and all the while the truth is told`, async (t) => {
    const file = join(process.cwd(), `status-${what}.json`);
    const d = await serve(`serve-${what}`, { repos: ['tiny-chat-gguf'], config: quick, args: ['--preload', MODEL, '--status-file', file] });
    t.after(async () => { await d.end(); d.remove(); });
    await until('it is ready', () => ready(d));
    const w = watch(d, file);
    const [pid] = runnersOf(d.child.pid);
    process.kill(pid, strike);
    await until('it is seen', async () => status(file) !== 'ready');
    await until('another runner answers', async () => status(file) === 'ready' && (await ready(d)) && runnersOf(d.child.pid)[0] !== pid);
    const got = await chat(d);
    assert.equal(got.status, 200, got.text);
    assert.equal(got.json.choices[0].message.content, 'The capital of France is Paris.');
    const seen = await w.stop();
    assert.deepEqual(seen.bad, []);
    assert.ok(seen.reads > 20);
    assert.ok(seen.file.size >= 2, [...seen.file].join());
    assert.equal(runnersOf(d.child.pid).length, 1);
    assert.ok(JSON.parse(d.hangar(['why', '--json']).stdout).reasons.some((r) => r.kind === 'restart'));
  });
}

test('a runner that outgrows its limit is killed and said so; others go on', async (t) => {
  const own = ownHangar('serve-heavy');
  addFake(own, 'heavy');
  addFake(own, 'light');
  const config = `${quick}models:\n  list:\n    heavy: {ref: fake/heavy, memory_limit: 300MB}\n    light: {ref: fake/light}\n`;
  const d = await serve('heavy', { own, config, env: { HANGAR_RUNNERS: fakeRunners(own.home) } });
  t.after(async () => { await d.end(); own.remove(); });
  const [bad, good] = await Promise.all([
    d.post('/v1/chat/completions', { model: 'heavy', messages: [{ role: 'user', content: 'heavy=grow' }] }),
    d.post('/v1/chat/completions', { model: 'light', messages: [{ role: 'user', content: 'x' }] }),
  ]);
  assert.equal(good.status, 200, good.text);
  assert.ok(bad.status >= 500, bad.text);
  assert.match(bad.json.error.message, /memory/);
});

test('two that ask for a model that is loading share the load', async (t) => {
  const own = ownHangar('serve-share');
  addFake(own, 'slowload');
  const d = await serve('share', { own, env: { HANGAR_RUNNERS: fakeRunners(own.home) } });
  t.after(async () => { await d.end(); own.remove(); });
  const ask = () => d.post('/v1/chat/completions', { model: 'fake/slowload', messages: [{ role: 'user', content: 'x' }] });
  const all = await Promise.all([ask(), ask(), ask()]);
  for (const one of all) assert.equal(one.status, 200, one.text);
  const { models } = JSON.parse(d.hangar(['ps', '--json']).stdout);
  assert.equal(models.length, 1);
  assert.equal(models[0].uses, 3);
  assert.equal(models[0].restarts, 0);
  assert.match((await d.get('/metrics')).text, /hangar_runner_loads_total\{model="fake\/slowload",result="OK"\} 1\n/);
});

test('load, ps, unload: the memory is back', async (t) => {
  const d = await serve('serve-hand', { repos: ['tiny-chat-gguf', 'tiny-embed'] });
  t.after(async () => { await d.end(); d.remove(); });
  assert.equal(d.hangar(['load', MODEL]).status, 0);
  assert.equal(d.hangar(['load', 'hangar-labs/tiny-embed']).status, 0, 'converts it first');
  let { models } = JSON.parse(d.hangar(['ps', '--json']).stdout);
  assert.deepEqual(models.map((m) => m.state), ['ready', 'ready']);
  assert.equal(runnersOf(d.child.pid).length, 2);
  for (const name of [MODEL, 'hangar-labs/tiny-embed']) {
    const got = d.hangar(['unload', name]);
    assert.equal(got.status, 0, got.stderr);
  }
  assert.equal(runnersOf(d.child.pid).length, 0, 'who is told "unloaded" finds no process any more');
  ({ models } = JSON.parse(d.hangar(['ps', '--json']).stdout));
  assert.deepEqual(models, []);
  assert.equal(d.hangar(['unload', MODEL]).status, 3);
});

test('idle models leave by themselves, at the time that the request names', async (t) => {
  const d = await serve('serve-idle', { repos: ['tiny-chat-gguf'] });
  t.after(async () => { await d.end(); d.remove(); });
  const got = await d.post('/api/generate', { model: MODEL, prompt: 'Hello', stream: false, keep_alive: '300ms' });
  assert.equal(got.status, 200, got.text);
  assert.equal(runnersOf(d.child.pid).length, 1);
  await until('it has left', () => runnersOf(d.child.pid).length === 0);
});

test('a client that leaves ends its generation', async (t) => {
  const d = await serve('serve-leave', { repos: ['tiny-chat-gguf'] });
  t.after(async () => { await d.end(); d.remove(); });
  await chat(d);
  const aborted = new AbortController();
  const endless = { model: MODEL, prompt: 'a', max_tokens: 4000, stream: true, temperature: 2, seed: 1, grammar: 'root ::= [a-z ] root' };
  const res = await fetch(`${d.url}/hangar/v1/generate`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(endless), signal: aborted.signal });
  assert.equal(res.status, 200);
  const reader = res.body.getReader();
  await reader.read();
  const state = async () => (await d.get('/hangar/v1/ps')).json.models[0].state;
  assert.equal(await state(), 'busy');
  const from = performance.now();
  aborted.abort();
  await until('the runner is free', async () => (await state()) === 'ready', 5, 2);
  const took = performance.now() - from;
  t.diagnostic(`free again after ${took.toFixed(0)} ms`);
  assert.ok(took < 1000, `${took} ms`);
});

test('curl -N shows each piece when it is there, and its end is the generation\'s', async (t) => {
  const d = await serve('serve-curl', { repos: ['tiny-chat-gguf'] });
  t.after(async () => { await d.end(); d.remove(); });
  await chat(d);
  const endless = JSON.stringify({ model: MODEL, prompt: 'a', max_tokens: 4000, stream: true, temperature: 2, seed: 1, grammar: 'root ::= [a-z ] root' });
  const state = async () => (await d.get('/hangar/v1/ps')).json.models[0].state;
  const took = [];
  for (let i = 0; i < 5; i++) {
    const curl = spawn('curl', ['-sN', `${d.url}/hangar/v1/generate`, '-H', 'Content-Type: application/json', '-d', endless], { stdio: ['ignore', 'pipe', 'inherit'] });
    let reads = 0;
    curl.stdout.on('data', () => reads++);
    await until('pieces have come, one by one', () => reads >= 5, 10, 1);
    assert.equal(await state(), 'busy');
    const from = performance.now();
    curl.kill('SIGKILL');
    await until('the runner is free', async () => (await state()) === 'ready', 5, 1);
    took.push(performance.now() - from);
  }
  t.diagnostic(`free again after ${took.map((ms) => ms.toFixed(0)).join(', ')} ms`);
  assert.ok(Math.min(...took) < 100, `${took}`); // the best, as other work disturbs
});

test('whatever way the daemon ends, no runner is left', async (t) => {
  for (const signal of ['SIGKILL', 'SIGTERM']) {
    const d = await serve(`serve-end-${signal}`, { repos: ['tiny-chat-gguf'], args: ['--preload', MODEL] });
    t.after(d.remove);
    await until('it is ready', () => ready(d));
    const pids = runnersOf(d.child.pid);
    assert.equal(pids.length, 1);
    const how = await d.end(signal);
    if (signal === 'SIGTERM') assert.deepEqual(how, { code: 0, signal: null });
    await until('the runner is gone', () => pids.every((pid) => !existsSync(`/proc/${pid}`) || /State:\tZ/.test(readFileSync(`/proc/${pid}/status`, 'utf8'))), 5);
  }
});

test('only one daemon has the socket; a stale one is no hindrance', async (t) => {
  const own = ownHangar('serve-two');
  t.after(own.remove);
  const d = await serve('two', { own });
  const second = spawnSync(program, ['serve', '--listen', '127.0.0.1:0'], { env: d.env, encoding: 'utf8', timeout: 20000 });
  assert.equal(second.status, 8, second.stderr);
  await d.end('SIGKILL');
  assert.ok(existsSync(d.socket), 'it had no time to remove it');
  const third = await serve('two', { own });
  assert.equal((await third.get('/health')).json.status, 'healthy');
  assert.deepEqual(await third.end(), { code: 0, signal: null });
  assert.ok(!existsSync(d.socket));
});

test('an address for others needs keys', (t) => {
  const own = ownHangar('serve-open');
  t.after(own.remove);
  writeFileSync(join(own.home, 'none'), '');
  const got = spawnSync(program, ['serve', '--listen', '0.0.0.0:0'], { env: own.env, encoding: 'utf8', timeout: 20000 });
  assert.equal(got.status, 2, got.stderr);
  assert.match(got.stderr, /hangar key create/);
});
