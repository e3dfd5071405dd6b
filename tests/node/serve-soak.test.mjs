// SPDX-License-Identifier: Apache-2.0
// Fifty clients at once, with random cancels, kills of runners, loads and unloads: no answer is wrong, nobody waits for ever, nothing is left over.
//   HANGAR_SOAK=120     seconds instead of 10
//   HANGAR_SEED=N       the course of the chances (their order in time is the machine's)
//   HANGAR_SOAK_OF=DIR  the daemon and its runners of another build, for example build-tsan or build-asan:
//     cmake --preset tsan && cmake --build build-tsan --target hangar hangar-runner-llama
//     HANGAR=build/hangar HANGAR_TOP=$PWD HANGAR_SOAK=120 HANGAR_SOAK_OF=build-tsan node --test tests/node/serve-soak.test.mjs
import test from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import http from 'node:http';
import { join, resolve } from 'node:path';
import { program, reference } from '../support/models.mjs';
import { events, runnersOf, serve, sleep, until } from '../support/serving.mjs';

const seconds = Number(process.env.HANGAR_SOAK || 10);
const other = process.env.HANGAR_SOAK_OF;
const daemon = other ? resolve(other, 'hangar') : program;
const CLIENTS = 50;
const PATIENCE = 120_000; // ms that one request may take on a machine that is busy with other things
let seed = Number(process.env.HANGAR_SEED || 4264);

// A number below n.
function dice(n) {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return (seed >>> 8) % n;
}
const pick = (list) => list[dice(list.length)];

// The weights of 8 and of 16 bits answer these alike, so one may go on with what the other has begun.
const files = reference('tiny-chat-gguf').files;
const known = files['tiny-chat-Q8_0.gguf'].map(({ messages, text }) => ({ messages, text }));
assert.deepEqual(files['tiny-chat-F16.gguf'].map(({ text }) => text), known.map(({ text }) => text));

const config = `
models:
  list:
    eight: { ref: "hangar-labs/tiny-chat-gguf:tiny-chat-Q8_0.gguf" }
    sixteen: { ref: "hangar-labs/tiny-chat-gguf:tiny-chat-F16.gguf", fallback: [eight] }
engine:
  step_timeout: 20s
serve:
  keep_alive: 2s
  queue: 60
  probe_interval: 200ms
  probe_timeout: 10s
  restart_backoff: 5ms
  restart_limit: 1000
  breaker_failures: 1000
`;
const models = ['eight', 'sixteen'];

// One request, told as it goes: { status, headers, text, whole, error }. leave: characters after which the client goes away, -1 = it stays.
function ask(url, path, body, agent, leave = -1) {
  return new Promise((done) => {
    const got = { status: 0, headers: {}, text: '', whole: false, left: false, error: null };
    const req = http.request(url + path, { method: 'POST', agent, headers: { 'content-type': 'application/json' } }, (res) => {
      got.status = res.statusCode;
      got.headers = res.headers;
      res.setEncoding('utf8');
      res.on('data', (d) => {
        got.text += d;
        if (leave >= 0 && got.text.length >= leave) go();
      });
      res.on('end', () => { got.whole = true; done(got); });
      res.on('error', (e) => { got.error = e; done(got); });
    });
    const go = () => { got.left = true; req.destroy(); done(got); };
    if (leave === 0) setTimeout(go, dice(30));
    req.setTimeout(PATIENCE, () => { got.error = new Error('no sign for too long'); req.destroy(); done(got); });
    req.on('error', (e) => { got.error ??= e; done(got); });
    req.end(JSON.stringify(body));
  });
}

// What the dialects' answers come to: { text, failed, end }. failed: an error in its proper shape.
const dialects = {
  openai: {
    path: '/v1/chat/completions',
    body: (model, messages, stream) => ({ model, messages, stream, temperature: 0, max_tokens: 64 }),
    whole: (doc) => doc.choices[0].message.content,
    failed: (doc) => typeof doc.error?.message === 'string',
    stream(text) {
      const all = events(text), last = all.at(-1)?.data;
      const said = all.map((e) => e.data.choices?.[0]?.delta?.content ?? '').join('');
      return { text: said, end: last === '[DONE]', failed: typeof last?.error?.message === 'string' };
    },
  },
  ollama: {
    path: '/api/chat',
    body: (model, messages, stream) => ({ model, messages, stream, options: { temperature: 0, num_predict: 64 } }),
    whole: (doc) => doc.message.content,
    failed: (doc) => typeof doc.error === 'string',
    stream(text) {
      const all = text.trim().split('\n').filter(Boolean).map((line) => JSON.parse(line));
      const last = all.at(-1);
      return { text: all.map((d) => d.message?.content ?? '').join(''), end: last?.done === true, failed: typeof last?.error === 'string' };
    },
  },
};

// Statuses that a client may see while runners are killed and models are taken away.
const FAULTS = new Set([499, 502, 503, 504]);

/** What is wrong with an answer; '' = nothing. tally counts how it ended. */
function judge(got, dialect, stream, text, tally) {
  const count = (name) => { tally[name] = (tally[name] ?? 0) + 1; };
  if (got.left) return count('left'), '';
  if (got.error) return `the connection broke: ${got.error.message}`;
  if (!got.whole) return 'the answer has no end';
  if (got.status !== 200) {
    count(`status ${got.status}`);
    if (!FAULTS.has(got.status)) return `status ${got.status}: ${got.text}`;
    return dialect.failed(JSON.parse(got.text)) ? '' : `no error in its shape: ${got.text}`;
  }
  if (got.headers['x-hangar-fallback']) count('stood in');
  if (!stream) {
    const said = dialect.whole(JSON.parse(got.text));
    count('whole');
    return said === text ? '' : `said ${JSON.stringify(said)} for ${JSON.stringify(text)}`;
  }
  const said = dialect.stream(got.text);
  if (said.end && !said.failed) {
    count('streamed');
    return said.text === text ? '' : `streamed ${JSON.stringify(said.text)} for ${JSON.stringify(text)}`;
  }
  count('cut');
  if (!said.failed) return `the stream ends without end or error: ${got.text.slice(-300)}`;
  return text.startsWith(said.text) ? '' : `began ${JSON.stringify(said.text)} for ${JSON.stringify(text)}`;
}

const openFiles = (pid) => readdirSync(`/proc/${pid}/fd`).length;
const resident = (pid) => Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * 4096;
const median = (list) => list.slice().sort((a, b) => a - b)[list.length >> 1];

test(`fifty clients for ${seconds} s`, { timeout: (seconds + 240) * 1000 }, async (t) => {
  const env = other ? { HANGAR_RUNNERS: resolve(other), TSAN_OPTIONS: 'exitcode=66', ASAN_OPTIONS: 'exitcode=66' } : {};
  const d = await serve('soak', { repos: ['tiny-chat-gguf'], config, env, daemon });
  t.after(d.remove);
  const pid = d.child.pid, tally = {}, wrong = [];
  const post = async (path, body) => {
    const got = await ask(d.url, path, body, false);
    assert.ok(got.whole, `${path}: ${got.error}`);
    return got.status;
  };
  // Each model once, each dialect: from here on everything that stays open is open.
  for (const model of models)
    for (const [name, dialect] of Object.entries(dialects)) {
      const got = await ask(d.url, dialect.path, dialect.body(model, known[0].messages, false), false);
      assert.equal(got.status, 200, `${name}: ${got.text}`);
      assert.equal(judge(got, dialect, false, known[0].text, {}), '');
    }
  for (const model of models) assert.equal(await post('/hangar/v1/unload', { model }), 200);
  await until('no runner', () => runnersOf(pid).length === 0);
  const filesBefore = openFiles(pid);

  const end = Date.now() + seconds * 1000;
  const kept = new http.Agent({ keepAlive: true, maxSockets: CLIENTS });
  const client = async () => {
    while (Date.now() < end && wrong.length === 0) {
      const question = pick(known), model = pick(models), stream = dice(2) === 0;
      const dialect = dialects[pick(Object.keys(dialects))];
      const leave = dice(8) === 0 ? dice(3) * 150 : -1;
      const agent = dice(4) === 0 ? false : kept;
      const got = await ask(d.url, dialect.path, dialect.body(model, question.messages, stream), agent, leave);
      let bad;
      try { bad = judge(got, dialect, stream, question.text, tally); } catch (e) { bad = `${e.message}: ${got.text}`; }
      if (bad) wrong.push(`${model}, ${dialect.path}, stream ${stream}: ${bad}`);
      if (dice(10) === 0) await sleep(dice(50));
    }
  };
  const trouble = async () => {
    while (Date.now() < end && wrong.length === 0) {
      await sleep(50 + dice(400));
      const what = dice(6), runner = pick([...runnersOf(pid), 0]), model = pick(models);
      try {
        if (what < 2 && runner) process.kill(runner, 'SIGKILL');
        if (what === 2 && runner) { // stopped for a while: what waits goes on afterwards
          process.kill(runner, 'SIGSTOP');
          await sleep(200);
          process.kill(runner, 'SIGCONT');
        }
      } catch (e) {
        if (e.code !== 'ESRCH') throw e; // it ended meanwhile
      }
      const status = what === 3 ? await post('/hangar/v1/unload', { model, now: dice(2) === 0 })
        : what === 4 ? await post('/hangar/v1/load', { model }) : 200;
      if (![200, 404, 499, 502, 503].includes(status)) wrong.push(`a load or unload by hand: ${status}`);
    }
  };
  const samples = [];
  const look = async () => {
    for (; Date.now() < end && wrong.length === 0; await sleep(100)) samples.push({ at: Date.now(), memory: resident(pid), files: openFiles(pid) });
  };
  await Promise.all([...Array.from({ length: CLIENTS }, client), trouble(), look()]);
  kept.destroy();
  t.diagnostic(`seed ${process.env.HANGAR_SEED || 4264}: ${JSON.stringify(tally)}`);
  assert.deepEqual(wrong, [], d.notes().slice(-4000));
  assert.ok((tally.whole ?? 0) + (tally.streamed ?? 0) > CLIENTS, 'there were answers');

  // Quiet again: everybody is answered, and what was open is closed.
  for (const model of models) {
    // One that failed often may rest for half a minute yet (serve.breaker_cooldown).
    await until(`${model} answers itself`, async () => {
      const got = await ask(d.url, '/v1/chat/completions', dialects.openai.body(model, known[0].messages, false), false);
      assert.equal(judge(got, dialects.openai, false, known[0].text, {}), '');
      assert.equal(got.status, 200, got.text);
      return got.headers['x-hangar-fallback'] === undefined;
    }, 60);
  }
  for (const model of models) assert.equal(await post('/hangar/v1/unload', { model }), 200);
  await until('no runner', () => runnersOf(pid).length === 0);
  await until('files closed', () => openFiles(pid) <= filesBefore, 60).catch((e) => { throw new Error(`${e.message}: ${filesBefore} before, ${openFiles(pid)} now`); });
  const third = Math.floor(samples.length / 3);
  const middle = median(samples.slice(third, 2 * third).map((s) => s.memory)), last = median(samples.slice(2 * third).map((s) => s.memory));
  t.diagnostic(`memory ${Math.round(middle / 1024)} KiB, then ${Math.round(last / 1024)} KiB; files ${filesBefore}, at most ${Math.max(...samples.map((s) => s.files))}`);
  if (!other) assert.ok(last < middle + (6 << 20), `memory grew from ${middle} to ${last}`); // sanitizers keep what was freed

  const how = await d.end();
  assert.deepEqual(how, { code: 0, signal: null }, d.notes().slice(-8000));
  assert.doesNotMatch(d.notes(), /Sanitizer|runtime error/);
  assert.deepEqual(runnersOf(pid), []);
});
