// SPDX-License-Identifier: Apache-2.0
// What the daemon tells of itself is true at any moment: /health, /ready, the status file read each millisecond, and what systemd hears.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import { ownHangar, program } from '../support/models.mjs';
import { runnersOf, serve, until } from '../support/serving.mjs';

const quick = (more = '', backoff = '50ms') => `serve:\n  probe_interval: 300ms\n  probe_timeout: 1s\n  restart_backoff: ${backoff}\n${more}`;

// Reads a file each millisecond in a thread of its own; end() gives { reads, bad: [texts], seen: [documents, each that differs from the last] }.
function poll(file) {
  const worker = new Worker(`
    const { parentPort, workerData: file } = require('node:worker_threads');
    const { readFileSync } = require('node:fs');
    const pause = new Int32Array(new SharedArrayBuffer(4));
    const got = { reads: 0, bad: [], seen: [] };
    let last = '', over = false;
    parentPort.on('message', () => { over = true; });
    (function round() {
      for (let i = 0; i < 20; i++) {
        let text;
        try { text = readFileSync(file, 'utf8'); } catch (e) { text = String(e); }
        got.reads++;
        if (text !== last) {
          try { got.seen.push(JSON.parse(text)); } catch { if (got.bad.length < 10) got.bad.push(text); }
          last = text;
        }
        Atomics.wait(pause, 0, 0, 1);
      }
      if (over) parentPort.postMessage(got); else setImmediate(round);
    })();`, { eval: true, workerData: file });
  return {
    end: () => new Promise((done) => {
      worker.once('message', (got) => { worker.terminate(); done(got); });
      worker.postMessage('end');
    }),
  };
}

const ready = (d) => until('all is ready', async () => (await d.get('/ready')).status === 200, 60);
const row = async (d, name) => (await d.get('/hangar/v1/ps')).json.models.find((m) => m.name === name);

test('health, readiness and the status file follow a runner that is killed and one that hangs', async () => {
  const own = ownHangar('health', 'tiny-chat-gguf', 'tiny-embed');
  const file = join(own.home, 'status.json');
  const names = ['hangar-labs/tiny-chat-gguf', 'hangar-labs/tiny-embed'];
  const d = await serve('health', { own, config: quick(), args: ['--status-file', file, '--preload', names[0], '--preload', names[1]] });
  const polled = poll(file);
  const early = await d.get('/ready');
  if (early.status !== 200) {
    assert.equal(early.status, 503);
    assert.match(early.json.error.message, /hangar-labs\/tiny-/);
    assert.ok(Number(early.headers.get('retry-after')) >= 1);
  }
  await ready(d);
  const good = (await d.get('/health')).json;
  assert.deepEqual([good.status, good.model_loaded, typeof good.gpu_available], ['healthy', true, 'boolean']);
  assert.deepEqual(good.models.map((m) => [m.name, m.state, m.error]).sort(), names.map((n) => [n, 'ready', null]));
  assert.ok(good.models.every((m) => m.probed_at > 1e9) && good.uptime >= 0 && good.version);
  assert.equal((await d.get('/livez')).text, 'ok\n');
  const told = await until('the file knows the path', () => {
    const now = JSON.parse(readFileSync(file, 'utf8'));
    return now.status === 'ready' && now.model_path.startsWith('/') && now;
  });
  assert.deepEqual(Object.keys(told).slice(0, 6), ['status', 'error', 'timestamp', 'model_path', 'device', 'models']);
  assert.ok(statSync(told.model_path).isDirectory());
  assert.deepEqual([told.error, told.device, told.pid], [null, 'cpu', d.child.pid]);
  assert.deepEqual(told.models, { [names[0]]: 'ready', [names[1]]: 'ready' });
  assert.ok(Math.abs(told.timestamp - Date.now() / 1000) < 600 && !Number.isInteger(told.timestamp * 1e-3));

  for (const [signal, times] of [['SIGKILL', 1], ['SIGSTOP', 2]]) {
    const before = await row(d, names[0]);
    process.kill(before.pid, signal);
    // One of two has failed: degraded, not ready; a hang is found out by a probe.
    const bad = await until(`${signal} is noticed`, async () => {
      const now = await d.get('/health');
      return now.json.status !== 'healthy' && now;
    }, 30, 1);
    assert.equal(bad.status, 200);
    assert.equal(bad.json.status, 'degraded');
    assert.equal(bad.json.model_loaded, false);
    await ready(d);
    const now = await row(d, names[0]);
    assert.notEqual(now.pid, before.pid);
    assert.equal(now.restarts, times);
    await until('the old runner is gone', () => !runnersOf(d.child.pid).includes(before.pid));
    assert.equal((await d.get('/health')).json.status, 'healthy');
  }
  // One that works is no news for the file, and healthy.
  await Promise.all(Array.from({ length: 20 }, () => d.post('/hangar/v1/embed', { model: names[1], input: 'a' })));
  await until('the file is ready again', () => JSON.parse(readFileSync(file, 'utf8')).status === 'ready');
  const got = await polled.end();
  assert.deepEqual(got.bad, []);
  assert.ok(got.reads > 500, `${got.reads} reads`);
  const states = got.seen.map((s) => s.status).filter((s, i, all) => s !== all[i - 1]);
  assert.equal(states.at(-1), 'ready');
  assert.ok(states.filter((s) => s !== 'ready').length >= 2, states.join(' ')); // both failures were there to be seen
  assert.ok(got.seen.some((s) => s.models[names[0]] !== 'ready' && s.models[names[1]] === 'ready'));
  for (let i = 1; i < got.seen.length; i++) assert.ok(got.seen[i].timestamp >= got.seen[i - 1].timestamp);
  for (const s of got.seen) if (s.status === 'error') assert.ok(s.error?.length > 0, JSON.stringify(s));
  for (const s of got.seen) if (s.status === 'ready') assert.deepEqual(Object.values(s.models), ['ready', 'ready']);
  const kinds = (await d.get('/hangar/v1/why')).json.reasons.map((r) => r.kind);
  assert.ok(kinds.includes('restart'), kinds.join(' '));
  assert.deepEqual(await d.end(), { code: 0, signal: null });
  assert.ok(!existsSync(file));
  d.remove();
});

test('a model that never comes is an error in the file, in /ready and in /health', async () => {
  const own = ownHangar('health-never', 'tiny-chat-gguf');
  const file = join(own.home, 'status.json');
  const config = quick('  restart_limit: 2\n') + 'models:\n  list:\n    small:\n      ref: hangar-labs/tiny-chat-gguf\n      memory_limit: 1MiB\n  preload: [small]\n';
  const d = await serve('health-never', { own, config, args: ['--status-file', file] });
  await until('it is given up', async () => (await row(d, 'small'))?.state === 'quarantined', 60);
  const health = await d.get('/health');
  assert.equal(health.status, 503);
  assert.deepEqual([health.json.status, health.json.model_loaded], ['unhealthy', false]);
  assert.match(health.json.models[0].error, /./);
  const no = await d.get('/ready');
  assert.equal(no.status, 503);
  assert.match(no.json.error.message, /small is quarantined: /);
  const told = await until('the file says so', () => {
    const now = JSON.parse(readFileSync(file, 'utf8'));
    return now.models.small === 'quarantined' && now;
  });
  assert.equal(told.status, 'error');
  assert.equal(told.error, health.json.models[0].error);
  // A second daemon, whose address is taken, leaves the file of the first alone.
  const text = readFileSync(file, 'utf8');
  const second = spawnSync(program, ['serve', '--listen', `127.0.0.1:${d.port}`, '--socket', join(own.home, 'other.sock'), '--status-file', file], { env: d.env, encoding: 'utf8', timeout: 60_000 });
  assert.equal(second.status, 8, second.stderr);
  assert.equal(readFileSync(file, 'utf8'), text);
  // Killed, it leaves a file that names a process which is gone; the next one writes its own before it answers.
  await d.end('SIGKILL');
  assert.equal(JSON.parse(readFileSync(file, 'utf8')).pid, d.child.pid);
  const next = await serve('health-never', { own, config: quick(), args: ['--status-file', file] });
  assert.equal(JSON.parse(readFileSync(file, 'utf8')).pid, next.child.pid);
  const idle = (await next.get('/health')).json;
  assert.deepEqual([idle.status, idle.model_loaded, idle.models], ['healthy', false, []]);
  assert.equal((await next.get('/ready')).status, 200);
  await next.end();
  d.remove();
});

test('a status file that cannot be written is told at once', () => {
  const own = ownHangar('health-file');
  const got = spawnSync(program, ['serve', '--listen', '127.0.0.1:0', '--socket', '', '--status-file', '/proc/no/status.json'], { env: own.env, encoding: 'utf8', timeout: 60_000 });
  assert.notEqual(got.status, 0);
  assert.match(got.stderr, /status file/);
  own.remove();
});

// systemd's side of NOTIFY_SOCKET: each datagram as a line of JSON.
const listener = `
import json, os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound", flush=True)
while True: print(json.dumps(s.recv(65536).decode()), flush=True)
`;

test('systemd hears how far it is, when it is ready, that it lives, and that it ends', async () => {
  const own = ownHangar('health-notify', 'tiny-chat-gguf');
  const socket = join(own.home, 'notify');
  const ear = spawn('python3', ['-c', listener, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
  process.on('exit', () => ear.kill('SIGKILL'));
  let heard = '';
  ear.stdout.on('data', (text) => { heard += text; });
  await until('somebody listens', () => heard.includes('bound'));
  const told = () => heard.split('\n').slice(1).filter(Boolean).map((line) => JSON.parse(line));
  // News goes out five times a second at most: the failure lasts longer than that.
  const d = await serve('health-notify', { own, config: quick('', '1s'), args: ['--preload', 'hangar-labs/tiny-chat-gguf'], env: { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '200000' } });
  await ready(d);
  await until('READY', () => told().some((t) => t.startsWith('READY=1\n')));
  const all = told();
  const at = all.findIndex((t) => t.startsWith('READY=1\n'));
  assert.equal(all[at], 'READY=1\nSTATUS=1 of 1 models ready');
  assert.ok(all.slice(0, at).filter((t) => !['WATCHDOG=1', 'STATUS=starting'].includes(t)).every((t) => /^EXTEND_TIMEOUT_USEC=\d+\nSTATUS=0 of 1 models ready/.test(t)), JSON.stringify(all));
  const dogs = () => told().filter((t) => t === 'WATCHDOG=1').length;
  const had = dogs();
  await until('it lives', () => dogs() >= had + 5);
  process.kill((await row(d, 'hangar-labs/tiny-chat-gguf')).pid, 'SIGKILL');
  await until('the failure is told', () => told().slice(at + 1).some((t) => t.startsWith('STATUS=0 of 1 models ready; hangar-labs/tiny-chat-gguf: ')));
  await until('and its end', () => told().at(-1).includes('1 of 1') || told().slice(at + 1).some((t) => t === 'STATUS=1 of 1 models ready'));
  await d.end();
  await until('the end is told', () => told().some((t) => t.startsWith('STOPPING=1')));
  assert.equal(told().filter((t) => t.includes('READY=1')).length, 1);
  ear.kill();
  d.remove();
});

test('metrics are text for Prometheus', async () => {
  const d = await serve('health-metrics', { repos: ['tiny-chat-gguf'] });
  await d.post('/hangar/v1/generate', { model: 'hangar-labs/tiny-chat-gguf', prompt: 'a', max_tokens: 2 });
  const got = await d.get('/metrics');
  assert.equal(got.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  assert.match(got.text, /^hangar_memory_used_bytes \d+$/m);
  assert.match(got.text, /^hangar_runner_state\{model="hangar-labs\/tiny-chat-gguf",state="ready"\} 1$/m);
  await d.end();
  d.remove();
});
