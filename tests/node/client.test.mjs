// SPDX-License-Identifier: Apache-2.0
// The verbs that speak to a daemon, against one that says what the test wants: what they send, what they make of answers, good and bad.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fakeCloud } from '../support/fakecloud.mjs';
import { events, fakeDaemon, json, slot } from '../support/fakedaemon.mjs';
import { ownHangar, program } from '../support/models.mjs';

const own = ownHangar('client', 'tiny-chat-gguf');
const socket = join(own.home, 's.sock');
const env = { ...own.env, HANGAR_SOCKET: socket };
after(() => own.remove());

// Runs without blocking this process, which plays the daemon: { status, signal, out, err, json }.
function hangar(args, { extra = {}, signal = null, when = null } = {}) {
  return new Promise((done) => {
    const child = spawn(program, args, { env: { ...env, ...extra }, stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '', err = '';
    child.stdout.on('data', (d) => { out += d; });
    child.stderr.on('data', (d) => {
      err += d;
      if (signal && when && err.includes(when)) { child.kill(signal); signal = null; }
    });
    child.on('close', (status, ended) => {
      const last = out.trim().split('\n').at(-1);
      done({ status, signal: ended, out, err, pid: child.pid, json: last?.startsWith('{') ? JSON.parse(last) : null });
    });
  });
}

async function withDaemon(handle, fn, at = socket) {
  const daemon = await fakeDaemon(at, handle);
  try {
    await fn(daemon);
  } finally {
    await daemon.end();
  }
}

test('without a daemon each says in one line what to do', async () => {
  for (const args of [['ps'], ['load', 'x'], ['unload', 'x'], ['why'], ['top', '--once']]) {
    const got = await hangar(args);
    assert.equal(got.status, 5, args.join(' '));
    assert.equal(got.err, `hangar: no hangar daemon listens on ${socket}; \`hangar serve\` starts one\n`);
  }
  writeFileSync(socket, ''); // a file that is no socket
  const got = await hangar(['ps', '--json']);
  assert.equal(got.json.error.code, 'NETWORK');
  unlinkSync(socket);
});

test('ps shows what the daemon holds', async () => {
  const doc = {
    models: [
      slot('org/a', 'ready', { task: 'text-generation', memory: 5_000_000, uses: 3, expires_in: 61 }),
      slot('helper', 'loading', { phase: 'converting', progress: 0.42, wanted: true }),
      slot('bad\u001b[31m', 'failed', { error: 'killed by SIGKILL' }),
    ],
    memory: { budget: 8e9, used: 5e6 },
  };
  await withDaemon((req, res) => json(res, doc), async (daemon) => {
    const got = await hangar(['ps', '--json']);
    assert.deepEqual(got.json, doc);
    assert.equal(daemon.requests[0].method, 'GET');
    assert.equal(daemon.requests[0].url, '/hangar/v1/ps');
    const page = await hangar(['ps']);
    assert.match(page.out, /org\/a +ready +text-generation +5\.0 MB +3 +in /);
    assert.match(page.out, /helper +converting 42%/);
    assert.match(page.out, /✗ bad\\x1b\[31m: killed by SIGKILL/);
    assert.match(page.out, /memory: 5\.0 MB of 8\.0 GB/);
    assert.ok(!page.out.includes('\u001b'));
  });
});

test('load passes the events on and tells the end', async () => {
  const answer = { name: 'org/a', models: [slot('org/a', 'ready', { memory: 1e6, load_seconds: 0.5, task: 'text-generation' })] };
  const list = [['phase', { text: 'loading' }], ['total', { done: 500, total: 1000 }], ['note', { text: 'a note' }],
    ['unheard', { x: 1 }], ['result', answer]];
  for (const size of [1, 7, 4096]) {
    await withDaemon((req, res) => events(res, list, { size }), async (daemon) => {
      const got = await hangar(['load', 'org/a', '--pin', '--keep-alive', '90s']);
      assert.equal(got.status, 0, got.err);
      assert.match(got.out, /✓ org\/a is in memory/);
      assert.match(got.err, /loading/);
      assert.match(got.err, /a note/);
      const asked = daemon.requests[0];
      assert.equal(asked.method, 'POST');
      assert.equal(asked.url, '/hangar/v1/load');
      assert.equal(asked.headers.accept, 'text/event-stream');
      assert.deepEqual(asked.body, { model: 'org/a', pinned: true, keep_alive: 90 });
      assert.deepEqual((await hangar(['load', 'org/a', '--keep-alive', 'never', '--json'])).json, answer);
      assert.deepEqual(daemon.requests[1].body, { model: 'org/a', keep_alive: -1 });
    });
  }
});

test('an answer that ends badly is an error, never a success', async () => {
  const cases = [
    [(res) => events(res, [['error', { error: { code: 'limit', message: 'it can never fit' } }]]), 6, /it can never fit/],
    [(res) => events(res, [['phase', { text: 'loading' }]]), 5, /went away in the middle/],
    [(res) => { events(res, [['phase', { text: 'loading' }]], { end: false }); setTimeout(() => res.destroy(), 50); }, 5, /daemon/],
    [(res) => { res.writeHead(200, { 'content-type': 'text/event-stream' }); res.end('event: result\ndata: {not json\n\n'); }, 6, /event of the daemon/],
    [(res) => { res.writeHead(200, { 'content-type': 'text/plain' }); res.end('hello'); }, 6, /'text\/plain' where events were wanted/],
    [(res) => json(res, { error: { code: 'overloaded', message: 'too much' } }, 503), 8, /too much/],
    [(res) => json(res, { error: { code: 'NOT_FOUND', message: 'there is no x' } }, 404), 3, /there is no x/],
    [(res) => { res.writeHead(404); res.end('<html>'); }, 3, /not found/],
    [(res) => { res.writeHead(500); res.end(); }, 1, /failed/],
    [(res) => res.destroy(), 5, /daemon/],
  ];
  for (const [answer, status, words] of cases) {
    await withDaemon((req, res) => answer(res), async () => {
      const got = await hangar(['load', 'local/x']);
      assert.equal(got.status, status, got.err);
      assert.match(got.err, words);
      assert.equal(got.out, '');
    });
  }
  await withDaemon((req, res) => { res.writeHead(200); res.end('[1'); }, async () => {
    const got = await hangar(['ps']);
    assert.equal(got.status, 6);
    assert.match(got.err, /the daemon's answer/);
  });
});

test('Ctrl-C ends a load and the request with it', async () => {
  let gone = null;
  const closed = new Promise((done) => { gone = done; });
  await withDaemon((req, res) => {
    res.on('close', gone);
    events(res, [['phase', { text: 'loading' }]], { end: false });
  }, async () => {
    const got = await hangar(['load', 'org/a'], { signal: 'SIGINT', when: 'loading' });
    assert.equal(got.status, 130);
    await closed;
  });
});

test('unload and why say what is meant', async () => {
  await withDaemon((req, res) => {
    if (req.url === '/hangar/v1/unload') json(res, { name: 'org/a', models: [] });
    else json(res, { reasons: [{ time: Math.floor(Date.now() / 1000), kind: 'fallback', model: 'a b', text: 'it was busy' }] });
  }, async (daemon) => {
    assert.match((await hangar(['unload', 'org/a', '--now'])).out, /✓ org\/a is out of memory/);
    assert.deepEqual(daemon.requests[0].body, { model: 'org/a', now: true });
    const page = await hangar(['why', 'a b/&c', '--kind', 'fallback', '-n', '5']);
    assert.match(page.out, /fallback +a b +it was busy/);
    assert.equal(daemon.requests[1].url, '/hangar/v1/why?model=a%20b%2F%26c&kind=fallback&limit=5');
    assert.equal((await hangar(['why', '--kind', 'nothing'])).status, 2);
  });
});

test('wait goes on when the model is ready, and becomes the command', async () => {
  let looks = 0;
  const states = ['loading', 'loading', 'ready'];
  await withDaemon((req, res) => {
    const state = states[Math.min(looks++, 2)];
    json(res, { models: [slot('helper', state), slot('other', 'ready', { ref: 'org/b' })], memory: {} });
  }, async () => {
    const got = await hangar(['wait', 'helper', 'org/b', '--', process.execPath, '-e',
      'process.on("SIGPIPE", () => {}); console.log(process.pid, process.argv.slice(1).join(), "x")', '--', '--json', '-q']);
    assert.equal(got.status, 0, got.err);
    assert.equal(got.out, `${got.pid} --json,-q x\n`);
    assert.match(got.err, /waiting for helper: it is loading/);
    assert.ok(looks >= 3);
    // The command's own end is what a supervisor sees, and it starts with the signals as they are usual.
    assert.equal((await hangar(['wait', 'helper', '--', 'sh', '-c', 'exit 7'])).status, 7);
    assert.equal((await hangar(['wait', 'helper', '--', 'sh', '-c', 'kill -PIPE $$'])).signal, 'SIGPIPE');
    assert.equal((await hangar(['wait', 'helper', '--', 'sh', '-c', 'kill -TERM $$'])).signal, 'SIGTERM');
    assert.equal((await hangar(['wait', 'helper', '--', join(own.home, 'nothing-here')])).status, 3);
    const doc = (await hangar(['wait', 'helper', '--json'])).json;
    assert.equal(doc.models[0].by, 'daemon');
  });
});

test('wait outlives a daemon that comes late, and gives up in time', async () => {
  const waiting = hangar(['wait', 'helper', '--timeout', '60s']);
  await new Promise((done) => setTimeout(done, 300));
  await withDaemon((req, res) => json(res, { models: [slot('helper', 'busy')], memory: {} }), async () => {
    assert.equal((await waiting).status, 0);
  });
  const late = await hangar(['wait', 'helper', '--timeout', '400ms', '--', 'echo', 'never']);
  assert.equal(late.status, 5);
  assert.equal(late.out, '');
  assert.match(late.err, /helper is not ready after .* no hangar daemon listens/);
  await withDaemon((req, res) => json(res, { models: [slot('helper', 'failed', { error: 'boom' })], memory: {} }), async () => {
    const got = await hangar(['wait', 'helper', '--timeout', '400ms']);
    assert.match(got.err, /it is failed: boom/);
    const other = await hangar(['wait', 'org/other', '--timeout', '400ms']);
    assert.match(other.err, /does not hold it: `hangar load org\/other`/);
  });
  await withDaemon((req, res) => json(res, { models: [slot('helper', 'quarantined', { error: 'boom' })], memory: {} }), async () => {
    const got = await hangar(['wait', 'helper']);
    assert.equal(got.status, 1);
    assert.match(got.err, /given helper up: boom; `hangar load helper` tries again/);
  });
});

test('wait --or-load proves that the model loads here', async () => {
  const got = await hangar(['wait', 'hangar-labs/tiny-chat-gguf', '--or-load', '--', 'echo', 'went on']);
  assert.equal(got.status, 0, got.err);
  assert.equal(got.out, 'went on\n');
  assert.match(got.err, /loads here/);
  const none = await hangar(['wait', 'local/none', '--or-load', '--', 'echo', 'never'], { extra: { HF_HUB_OFFLINE: '1' } });
  assert.notEqual(none.status, 0);
  assert.equal(none.out, '');
  await withDaemon((req, res) => json(res, { models: [], memory: {} }), async () => {
    const late = await hangar(['wait', 'hangar-labs/tiny-chat-gguf', '--or-load', '--timeout', '300ms', '--json']);
    assert.equal(late.status, 0, late.err);
    assert.equal(late.json.models[0].by, 'here');
  });
});

test('wait knows the models of the catalogue', async () => {
  const none = await hangar(['wait', 'claude-3.7-sonnet']);
  assert.equal(none.status, 4);
  assert.match(none.err, /export ANTHROPIC_API_KEY=/);
  const got = await hangar(['wait', 'claude-3.7-sonnet', '--json'], { extra: { ANTHROPIC_API_KEY: 'canary' } });
  assert.equal(got.json.models[0].by, 'cloud');
  assert.ok(!(got.out + got.err).includes('canary'));
  const file = join(own.home, 'hangar.yaml');
  writeFileSync(file, 'models: {list: {helper: {ref: hangar-labs/tiny-chat-gguf}}}\n');
  const here = await hangar(['wait', 'helper', '--or-load'], { extra: { HANGAR_CONFIG: file } });
  assert.equal(here.status, 0, here.err);
});

test('top adds up the figures and tells what happened between two looks', async () => {
  let look = 0;
  const figures = (n) => `# HELP hangar_asks_total Questions.
# TYPE hangar_asks_total counter
hangar_asks_total{model="org/a",kind="generate",result="OK"} ${3 + n}
hangar_asks_total{model="org/a",kind="generate",result="LIMIT"} 1
hangar_asks_total{model="org/b",kind="generate",result="OK"} 70
hangar_generated_tokens_total{model="org/a"} ${100 + 50 * n}
hangar_generate_seconds_total{model="org/a"} ${2 + n}
hangar_first_token_seconds_sum{model="org/a"} 0.5
hangar_first_token_seconds_count{model="org/a"} 5
hangar_prompt_tokens_total{model="we\\"ird,\\\\{}=\\n"} 9
hangar_http_requests_total{route="/a",method="GET",status="200"} ${10 + n}
hangar_http_requests_total{route="/b",method="GET",status="404"} 2
hangar_http_connections 4
hangar_process_resident_bytes 1.5e+07
hangar_asks_total{broken
hangar_asks_total{model="org/a"} NaN
`;
  const ps = { models: [slot('org/a', 'busy', { memory: 5e6, waiting: 2 }), slot('we"ird,\\{}=\n', 'ready')], memory: { budget: 8e9, used: 5e6 } };
  await withDaemon((req, res) => {
    if (req.url !== '/metrics') return json(res, ps);
    res.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' });
    res.end(figures(look++));
    return null;
  }, async () => {
    const doc = (await hangar(['top', '--once', '--json'])).json;
    const [a, odd] = doc.models;
    assert.equal(a.asks, 4);
    assert.equal(a.generated_tokens, 100);
    assert.equal(a.speed, 50);
    assert.equal(a.first_token_seconds, 0.1);
    assert.equal(a.tokens_per_second, null);
    assert.equal(a.waiting, 2);
    assert.equal(odd.prompt_tokens, 9);
    assert.equal(doc.http.requests, 12);
    assert.equal(doc.http.connections, 4);
    assert.equal(doc.http.requests_per_second, null);
    assert.equal(doc.process.resident, 15e6);
    const page = await hangar(['top']); // no terminal: one table
    assert.equal(page.status, 0, page.err);
    assert.match(page.out, /org\/a +busy +5\.0 MB +- +50\.0 +100 ms +2 +5/);
    assert.match(page.out, /models +5\.0 MB of 8\.0 GB/);
    assert.ok(!page.out.includes('\u001b'));
  });
  await withDaemon((req, res) => (req.url === '/metrics' ? json(res, { error: { code: 'denied', message: 'no' } }, 403) : json(res, ps)), async () => {
    assert.equal((await hangar(['top', '--once'])).status, 4);
  });
});

test('run asks the daemon, and tells who answers', async () => {
  const done = { model: 'other', fell_back: true, finish: 'stop', prompt_tokens: 3, prompt_reused: 0, generated_tokens: 2,
    prompt_seconds: 0, generate_seconds: 0, load_seconds: 0, total_seconds: 0 };
  const list = [['head', { asked: 'helper', model: 'other', fell_back: true, load_seconds: 0 }], ['text', { text: 'Par' }], ['text', { text: 'is \u00e9\n' }],
    ['tool', { id: 'x' }], ['done', done]];
  await withDaemon((req, res) => events(res, list, { size: 3 }), async (daemon) => {
    const got = await hangar(['run', 'helper', 'What?', '--system', 'Be short', '--temperature', '0', '--stop', 'END', '-n', '7', '--seed', '5']);
    assert.equal(got.status, 0, got.err);
    assert.equal(got.out, 'Paris \u00e9\n');
    assert.match(got.err, /other answers for helper/);
    const { model, stream, messages, temperature, stop, max_tokens: most, seed, op } = daemon.requests[0].body;
    assert.deepEqual({ model, stream, messages, temperature, stop, most, seed, op }, {
      model: 'helper', stream: true, messages: [{ role: 'system', content: 'Be short' }, { role: 'user', content: 'What?' }],
      temperature: 0, stop: ['END'], most: 7, seed: 5, op: undefined,
    });
    const doc = (await hangar(['run', 'helper', 'What?', '--json'])).json;
    assert.deepEqual(doc, { text: 'Paris \u00e9\n', ...done });
    await hangar(['run', 'helper', 'as it is', '--raw']);
    assert.equal(daemon.requests[2].body.prompt, 'as it is');
    assert.equal(daemon.requests[2].body.messages, undefined);
  });
  await withDaemon((req, res) => events(res, [['head', { model: 'helper' }], ['text', { text: 'half' }], ['error', { error: { code: 'engine', message: 'it died' } }]]), async () => {
    const got = await hangar(['run', 'helper', 'What?']);
    assert.equal(got.status, 1);
    assert.equal(got.out.trim(), 'half');
    assert.match(got.err, /it died/);
  });
});

test('run asks a cloud model itself when no daemon runs', async () => {
  const cloud = await fakeCloud({ text: 'Hello from afar' });
  const file = join(own.home, 'cloud.yaml');
  writeFileSync(file, `models: {list: {claude-3.7-sonnet: {url: '${cloud.url}', api_key_env: MY_CLAUDE_KEY},
    near: {ref: org/not-here, fallback: [claude-3.7-sonnet]}}}\n`);
  const extra = { HANGAR_CONFIG: file, MY_CLAUDE_KEY: 'canary-key', HF_HUB_OFFLINE: '1' };
  try {
    const got = await hangar(['run', 'claude-3.7-sonnet', 'Hi'], { extra });
    assert.equal(got.status, 0, got.err);
    assert.equal(got.out.trim(), 'Hello from afar');
    assert.equal(cloud.requests[0].dialect, 'anthropic');
    assert.equal(cloud.requests[0].json.model, 'claude-3-7-sonnet-20250219');
    assert.equal(cloud.requests[0].headers['x-api-key'], 'canary-key');
    const doc = await hangar(['run', 'claude-3.7-sonnet', 'Hi', '--json'], { extra });
    assert.equal(doc.json.text, 'Hello from afar');
    assert.ok(!(doc.out + doc.err).includes('canary'));
    const chained = await hangar(['run', 'near', 'Hi'], { extra });
    assert.equal(chained.out.trim(), 'Hello from afar');
    assert.match(chained.err, /claude-3\.7-sonnet answers for near/);
    const none = await hangar(['run', 'claude-3.7-sonnet', 'Hi'], { extra: { ...extra, MY_CLAUDE_KEY: '' } });
    assert.notEqual(none.status, 0);
    assert.match(none.err, /MY_CLAUDE_KEY/);
  } finally {
    await cloud.stop();
  }
});

test('a socket with a long name', async () => {
  const dir = join(own.home, 'd'.repeat(100), 'e'.repeat(60));
  mkdirSync(dir, { recursive: true });
  const cwd = process.cwd();
  process.chdir(dir);
  try {
    await withDaemon((req, res) => json(res, { models: [], memory: {} }), async () => {
      const got = await hangar(['ps'], { extra: { HANGAR_SOCKET: join(dir, 's') } });
      assert.equal(got.status, 0, got.err);
    }, 's');
  } finally {
    process.chdir(cwd);
  }
});
