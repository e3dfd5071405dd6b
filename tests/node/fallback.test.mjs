// SPDX-License-Identifier: Apache-2.0
// ctest: waits long
// docs/formats/fallback.md, row by row: what fails, when, in which dialect, streaming or not, and what the client sees. Prints the table.
import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { words } from '../support/fakerunner-words.mjs';
import { addFake, events, fakeRunners, serve, stream, until } from '../support/serving.mjs';
import { ownHangar } from '../support/models.mjs';

const ALL = words.join('');

// ---- a cloud that speaks OpenAI and does what the question says: "cloud=deed" ----

const chunk = (res, text, finish = null) => res.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: text === null ? {} : { content: text }, finish_reason: finish }] })}\n\n`);
const asked = [];
const cloud = http.createServer((req, res) => {
  let body = '';
  req.on('data', (d) => { body += d; });
  req.on('end', () => {
    const question = JSON.parse(body).messages.at(-1).content;
    const deed = /(?:cloud|\*)=([\w-]+)/.exec(question)?.[1] ?? 'ok';
    asked.push({ deed, body: JSON.parse(body), key: req.headers.authorization });
    const fail = (status, headers = {}) => res.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify({ error: { message: `cloud says ${status}`, type: 'x' } }));
    const status = /^status-(\d+)$/.exec(deed)?.[1];
    if (status) return fail(Number(status), status === '429' ? { 'retry-after': '1' } : {});
    if (deed === 'drop') return req.socket.destroy();
    if (deed === 'silent') return undefined;
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const word of deed.endsWith('-mid') ? words.slice(0, 3) : words) chunk(res, word);
    if (deed === 'cut-mid') return setTimeout(() => req.socket.destroy(), 20);
    if (deed === 'error-mid') return setTimeout(() => res.end(`data: ${JSON.stringify({ error: { message: 'overloaded', type: 'server_error' } })}\n\n`), 20);
    chunk(res, null, 'stop');
    return res.end('data: [DONE]\n\n');
  });
});
await new Promise((done) => cloud.listen(0, '127.0.0.1', done));

// ---- the daemon: models whose runners are scripted, chains, short times ----

const own = ownHangar('fallback');
const fakes = ['a', 'b', 'noload', 'crashload', 'alone', 'heavy'];
for (const name of fakes) addFake(own, name);
const url = `http://127.0.0.1:${cloud.address().port}/v1`;
const local = (name, more = '') => `    ${name}:\n      ref: fake/${name}\n${more}`;
const config = `
engine:
  step_timeout: 1s
serve:
  retries: 0
  first_timeout: 1s
  stall_timeout: 1s
  restart_backoff: 1ms
  restart_limit: 1000
  breaker_failures: 1000
models:
  list:
${['a', 'noload', 'crashload'].map((n) => local(n, '      fallback: [b]\n')).join('')}${local('b')}${local('alone')}${local('heavy', '      memory_limit: 160MB\n      fallback: [b]\n')}    cloud:
      provider: openai
      model: gpt-test
      url: ${url}
      api_key_env: TEST_KEY
      fallback: [b]
    nokey:
      provider: openai
      model: gpt-test
      url: ${url}
      api_key_env: TEST_KEY_THAT_IS_NOT_SET
      fallback: [b]
    nobody:
      provider: openai
      model: gpt-test
      url: http://127.0.0.1:1/v1
      fallback: [b]
    chain:
      ref: fake/noload
      fallback: [nobody, cloud]
    home:
      ref: fake/noload
      local_only: true
      fallback: [b]
`;
const daemon = await serve('fallback', { own, config, env: { HANGAR_RUNNERS: fakeRunners(own.home), TEST_KEY: 'sk-canary-1234567890' } });
test.after(async () => {
  await daemon.end();
  cloud.closeAllConnections?.();
  cloud.close();
  own.remove();
});

// ---- the dialects: a question, and what came of it as {text, models, status, error, streamError, complete} ----

const dialects = {
  openai: {
    body: (model, content, streams, more) => ['/v1/chat/completions', { model, messages: [{ role: 'user', content }], stream: streams, ...more }],
    whole: (doc) => ({ text: doc.choices[0].message.content, models: [doc.model], complete: true, tools: doc.choices[0].message.tool_calls }),
    error: (doc) => doc.error.message,
    stream(text) {
      const got = { text: '', models: [], complete: text.trimEnd().endsWith('data: [DONE]') };
      for (const { data } of events(text)) {
        if (data === '[DONE]') continue;
        if (data.error) { got.streamError = data.error.message; continue; }
        const c = data.choices[0];
        if (c?.delta.content) got.text += c.delta.content;
        if (c?.delta.content && got.models.at(-1) !== data.model) got.models.push(data.model);
        if (c?.delta.tool_calls) got.tools = (got.tools ?? []).concat(c.delta.tool_calls);
      }
      return got;
    },
  },
  ollama: {
    body: (model, content, streams, more) => ['/api/chat', { model, messages: [{ role: 'user', content }], stream: streams, ...more }],
    whole: (doc) => ({ text: doc.message.content, models: [doc.model], complete: doc.done, tools: doc.message.tool_calls }),
    error: (doc) => doc.error,
    stream(text) {
      const got = { text: '', models: [], complete: false };
      for (const line of text.split('\n').filter(Boolean).map((l) => JSON.parse(l))) {
        if (line.error) { got.streamError = line.error; continue; }
        got.text += line.message.content ?? '';
        if (line.message.content && got.models.at(-1) !== line.model) got.models.push(line.model);
        if (line.message.tool_calls) got.tools = line.message.tool_calls;
        got.complete ||= line.done;
      }
      return got;
    },
  },
  native: {
    body: (model, content, streams, more) => ['/hangar/v1/generate', { model, messages: [{ role: 'user', content }], stream: streams, ...more }],
    whole: (doc) => ({ text: doc.text, models: [doc.model], complete: true, tools: doc.tool_calls }),
    error: (doc) => doc.error.message,
    stream(text) {
      const got = { text: '', models: [], complete: false };
      for (const { event, data } of events(text)) {
        if (event === 'head') got.models.push(data.model);
        if (event === 'text') got.text += data.text;
        if (event === 'tool') got.tools = (got.tools ?? []).concat(data);
        if (event === 'error') got.streamError = data.error?.message ?? data.message;
        if (event === 'done') got.complete = true;
      }
      return got;
    },
  },
};

async function ask(dialect, model, question, streams, more = {}) {
  const d = dialects[dialect];
  const [path, body] = d.body(model, question, streams, more);
  const s = stream(daemon.url, path, body);
  await s.done;
  const got = { status: s.status, headers: s.headers };
  if (s.error && !s.status) return { ...got, transport: String(s.error) };
  if (s.status !== 200) return { ...got, error: d.error(JSON.parse(s.text)) };
  return { ...got, ...(streams ? d.stream(s.text) : d.whole(JSON.parse(s.text))), ended: s.ended };
}

// ---- what may be seen ----

const sees = {
  // One normal answer, of another model, and it is told who.
  'answer of b': (got) => {
    assert.equal(got.status, 200, got.error);
    assert.equal(got.text, ALL);
    assert.equal(got.models.at(-1), 'b');
    assert.ok(got.complete && !got.streamError);
    assert.equal(got.headers['x-hangar-model'], 'b');
    assert.equal(got.headers['x-hangar-fallback'], '1');
  },
  // One stream: the words of a, then those of b from exactly there.
  'a, gone on by b': (got, model) => {
    assert.equal(got.status, 200, got.error);
    assert.equal(got.text, ALL);
    assert.deepEqual(got.models, [model, 'b']);
    assert.ok(got.complete && !got.streamError);
  },
  'error in the stream': (got) => {
    assert.equal(got.status, 200, got.error);
    assert.ok(got.streamError, 'the stream must tell');
    assert.ok(!got.complete, 'and must not seem whole');
  },
};
const error = (status) => {
  const fn = (got) => {
    assert.equal(got.status, status, JSON.stringify(got));
    assert.ok(got.error && !/\n/.test(got.error), got.error);
  };
  return fn;
};
for (const status of [400, 413, 422, 502, 503, 504]) sees[`error ${status}`] = error(status);

const schema = { openai: { response_format: { type: 'json_object' } }, ollama: { format: 'json' }, native: { json: true } };
const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } } }];

// what fails | phase | model | question | not streaming | streaming
const rows = [
  ['cannot be loaded', 'load', 'noload', 'x', 'answer of b', 'answer of b'],
  ['dies while it loads', 'load', 'crashload', 'x', 'answer of b', 'answer of b'],
  ['runner killed', 'before', 'a', 'a=crash-before', 'answer of b', 'answer of b'],
  ['runner hangs', 'before', 'a', 'a=hang-before', 'answer of b', 'answer of b'],
  ['runner sends garbage', 'before', 'a', 'a=garbage', 'answer of b', 'answer of b'],
  ['runner over its memory', 'before', 'heavy', 'heavy=grow', 'answer of b', 'answer of b'],
  ['runner killed', 'in text', 'a', 'a=crash-mid', 'answer of b', 'a, gone on by b'],
  ['runner hangs', 'in text', 'a', 'a=hang-mid', 'answer of b', 'a, gone on by b'],
  ['runner killed, JSON asked', 'in text', 'a', 'a=crash-mid', 'answer of b', 'error in the stream', schema],
  ['question wrong', 'before', 'a', 'a=refuse', 'error 422', 'error 422'],
  ['prompt too long', 'before', 'a', 'a=limit', 'error 400', 'error 400'],
  ['cannot be loaded, no chain', 'load', 'alone2', 'x', 'error 502', 'error 502'],
  ['runner killed, no chain', 'before', 'alone', 'alone=crash-before', 'error 502', 'error 502'],
  ['runner killed, no chain', 'in text', 'alone', 'alone=crash-mid', 'error 502', 'error in the stream'],
  ['all of the chain killed', 'before', 'a', '*=crash-before', 'error 502', 'error 502'],
  ['all of the chain killed', 'in text', 'a', '*=crash-mid', 'error 502', 'error in the stream'],
  ['cloud: nobody listens', 'before', 'nobody', 'x', 'answer of b', 'answer of b'],
  ['cloud: connection dropped', 'before', 'cloud', 'cloud=drop', 'answer of b', 'answer of b'],
  ['cloud: no word in time', 'before', 'cloud', 'cloud=silent', 'answer of b', 'answer of b'],
  ['cloud: 429', 'before', 'cloud', 'cloud=status-429', 'answer of b', 'answer of b'],
  ['cloud: 500', 'before', 'cloud', 'cloud=status-500', 'answer of b', 'answer of b'],
  ['cloud: 503', 'before', 'cloud', 'cloud=status-503', 'answer of b', 'answer of b'],
  ['cloud: key refused (401)', 'before', 'cloud', 'cloud=status-401', 'answer of b', 'answer of b'],
  ['cloud: key not set', 'before', 'nokey', 'x', 'answer of b', 'answer of b'],
  ['cloud: question wrong (400)', 'before', 'cloud', 'cloud=status-400', 'error 400', 'error 400'],
  ['cloud: connection cut', 'in text', 'cloud', 'cloud=cut-mid', 'answer of b', 'a, gone on by b'],
  ['cloud: error event', 'in text', 'cloud', 'cloud=error-mid', 'answer of b', 'a, gone on by b'],
];
rows.find((r) => r[2] === 'alone2')[2] = 'fake/noload';

// Each row is about one failure by itself: before it the model answers, so that neither a restart nor a breaker holds it back.
const rested = (model) => until(`${model} answers`, async () => {
  const got = await ask('openai', model, 'x', false);
  return got.status === 200 && got.models[0] === model;
}, 60, 50);

const table = [];
for (const [what, phase, model, question, plain, streaming, more] of rows) {
  test(`${what} (${phase}): ${plain} / ${streaming}`, async () => {
    const seen = [];
    for (const dialect of Object.keys(dialects)) {
      for (const streams of [false, true]) {
        const want = streams ? streaming : plain;
        for (const one of ['b', ...(/^(a|alone|heavy|cloud)$/.test(model) ? [model] : [])]) await rested(one);
        const got = await ask(dialect, model, question, streams, more?.[dialect] ?? {});
        try {
          sees[want](got, model);
        } catch (e) {
          e.message = `${dialect} ${streams ? 'stream' : 'whole'}: ${e.message}\n${JSON.stringify(got)}`;
          throw e;
        }
        seen.push(want);
      }
    }
    table.push([what, phase, plain, streaming]);
  });
}

test('a tool call that is out is never spliced', async () => {
  for (const dialect of Object.keys(dialects)) {
    await rested('a');
    const got = await ask(dialect, 'a', 'a=tool-crash', true, { tools });
    sees['error in the stream'](got);
    await rested('a');
    const whole = await ask(dialect, 'a', 'a=tool-crash', false, { tools });
    sees['answer of b'](whole);
  }
  table.push(['runner killed after a tool call', 'in text', 'answer of b', 'error in the stream']);
});

test('a chain of several is gone through in order', async () => {
  await rested('cloud');
  const got = await ask('openai', 'chain', 'x', false);
  assert.equal(got.status, 200, got.error);
  assert.deepEqual(got.models, ['cloud']);
});

test('what is local stays here, whatever fails', async () => {
  const before = asked.length;
  const got = await ask('openai', 'home', '*=crash-before', false);
  assert.equal(got.status, 502);
  assert.equal(asked.length, before);
});

test('`hangar why` tells the switches, /metrics counts them, and no key is anywhere', async () => {
  const why = await daemon.get('/hangar/v1/why?model=a&kind=fallback&limit=256');
  assert.equal(why.status, 200, why.text);
  assert.ok(why.json.reasons.some((r) => /b answers for a/.test(r.text)), why.text);
  assert.ok(why.json.reasons.some((r) => /b goes on for a/.test(r.text)), why.text);
  const metrics = await daemon.get('/metrics');
  assert.match(metrics.text, /hangar_fallbacks_total\{from="a",to="b",phase="before"/);
  assert.match(metrics.text, /hangar_fallbacks_total\{from="a",to="b",phase="text"/);
  for (const text of [why.text, metrics.text, daemon.notes()]) assert.doesNotMatch(text, /sk-canary/);
  assert.ok(asked.every((one) => one.key === 'Bearer sk-canary-1234567890'));
});

test('the table', () => {
  const heads = ['what fails', 'phase', 'client sees (whole)', 'client sees (stream)'];
  const all = [heads, ...table];
  const width = heads.map((_, i) => Math.max(...all.map((r) => r[i].length)));
  for (const row of all) console.log(`# ${row.map((cell, i) => cell.padEnd(width[i])).join('  ')}`);
  assert.equal(table.length, rows.length + 1);
  const page = readFileSync(join(process.env.HANGAR_TOP, 'docs/formats/fallback.md'), 'utf8');
  const told = page.split('\n').filter((l) => /^\| .* \| (load|before|in text) \|/.test(l));
  assert.deepEqual(told.sort(), table.map((row) => `| ${row.join(' | ')} |`).sort(), 'the page has the same table');
});
