// SPDX-License-Identifier: Apache-2.0
// hangar's own routes, against a real daemon: verbs and jobs, models, questions, the OpenAPI document.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import test, { after, before } from 'node:test';
import { clip, models, ownHangar, program } from '../support/models.mjs';
import { events, runnersOf, serve, stream, until } from '../support/serving.mjs';

const chat = 'hangar-labs/tiny-chat-gguf', embedder = 'hangar-labs/tiny-embed', whisper = 'hangar-labs/whisper-digits';
const sse = { accept: 'text/event-stream' };
let hub, d;

// `hangar mirror` over the starter models, as the Hub that pulls go to.
async function mirror() {
  const own = ownHangar('native-hub');
  const child = spawn(program, ['mirror', models, '--listen', '127.0.0.1:0'], { env: own.env, stdio: ['ignore', 'pipe', 'inherit'] });
  process.on('exit', () => child.kill('SIGKILL'));
  const url = await new Promise((done) => child.stdout.once('data', (text) => done(String(text).trim())));
  return { url, stop: () => { child.kill('SIGKILL'); own.remove(); } };
}

before(async () => {
  hub = await mirror();
  d = await serve('native', {
    repos: ['tiny-chat-gguf', 'tiny-embed', 'whisper-digits'], env: { HF_ENDPOINT: hub.url },
    config: 'models:\n  list:\n    tiny:\n      ref: hangar-labs/tiny-chat-gguf\n    far:\n      provider: openai\n      url: http://127.0.0.1:9/v1\n      model: x\n      api_key_env: NO_SUCH_KEY\n',
  });
});
after(async () => {
  await d?.end();
  hub?.stop();
  d?.remove();
});

const del = (path) => d.get(path, { method: 'DELETE' });

test('verbs that read answer GET and POST with the document of the command', async () => {
  const ls = d.result(['ls']);
  assert.deepEqual((await d.get('/hangar/v1/ls')).json, ls);
  assert.deepEqual((await d.post('/hangar/v1/ls', {})).json, ls);
  const show = await d.get(`/hangar/v1/show?ref=${chat}`);
  assert.equal(show.status, 200);
  assert.deepEqual({ ...show.json, memory_available: 0 }, { ...d.result(['show', chat]), memory_available: 0 });
  assert.equal((await d.get('/hangar/v1/version')).json.version, d.result(['version']).version);
  const bare = await fetch(d.url + '/hangar/v1/version', { method: 'POST' }); // without a body at all
  assert.equal(bare.status, 200);
  // Where the exit code is the answer of the command, the document is it here.
  for (const [ref, exists] of [[chat, true], ['hangar-labs/none', false]]) {
    const got = await d.post('/hangar/v1/show', { ref, exists: true });
    assert.equal(got.status, 200);
    assert.equal(got.json.exists, exists);
  }
  assert.equal((await d.get(`/hangar/v1/show?ref=hangar-labs/none&exists=1`)).json.exists, false);
});

test('what is asked wrongly is refused by its name', async () => {
  for (const [path, body, words] of [
    ['/hangar/v1/show', {}, /ref is missing/],
    ['/hangar/v1/show', { ref: chat, exist: true }, /there is no 'exist'; did you mean exists\?/],
    ['/hangar/v1/show', { ref: 7 }, /ref needs a text, not '7'/],
    ['/hangar/v1/pull', { ref: chat, limit_rate: 'fast' }, /limit_rate needs a size/],
    ['/hangar/v1/convert', { ref: chat, out: '/tmp/somewhere' }, /out has a meaning on the command line alone/],
    ['/hangar/v1/rm', { ref: chat, yes: true }, /yes has a meaning on the command line alone/],
    ['/hangar/v1/config', { what: 'check', file: '/etc/passwd' }, /file has a meaning on the command line alone/],
    ['/hangar/v1/config', { what: 'chek' }, /did you mean check/],
    ['/hangar/v1/generate', { model: 'tiny' }, /neither "messages" nor "prompt"/],
    ['/hangar/v1/generate', { model: 'tiny', prompt: 'a', messages: [] }, /not both/],
    ['/hangar/v1/generate', { model: 'tiny', prompt: 'a', temperature: 9 }, /temperature/],
    ['/hangar/v1/generate', { model: 'tiny', prompt: 'a', no_such: 1 }, /no_such/],
    ['/hangar/v1/embed', { model: embedder, input: [] }, /"input" is empty/],
    ['/hangar/v1/embed', { model: embedder, input: ['a', 1] }, /a text or a list of texts/],
    ['/hangar/v1/load', { model: 'tiny', keep_alive: 'long' }, /keep_alive/],
  ]) {
    const got = await d.post(path, body);
    assert.equal(got.status, 400, `${path} ${JSON.stringify(body)}: ${got.text}`);
    assert.match(got.json.error.message, words);
    assert.equal(got.json.error.code, 'usage');
  }
  assert.equal((await d.get('/hangar/v1/show?ref=a/b&exists=maybe')).status, 400);
  assert.equal((await d.get('/hangar/v1/pull?ref=a/b')).status, 405);
  for (const verb of ['add', 'run', 'serve', 'mirror', 'wait', 'up', 'nothing']) assert.equal((await d.post(`/hangar/v1/${verb}`, {})).status, 404, verb);
});

test('a verb tells its events, then its result or its error', async () => {
  const got = stream(d.url, '/hangar/v1/verify', { ref: whisper }, sse);
  await got.done;
  assert.match(got.headers['content-type'], /^text\/event-stream/);
  const all = events(got.text);
  assert.equal(all.at(-1).event, 'result');
  assert.deepEqual(all.at(-1).data.damaged, []);
  assert.ok(all.some((e) => e.event === 'total' && e.data.done === e.data.total));
  const missing = stream(d.url, '/hangar/v1/verify', { ref: 'hangar-labs/none' }, sse);
  await missing.done;
  assert.deepEqual(events(missing.text).map((e) => e.event), ['error']);
  assert.equal(events(missing.text)[0].data.error.code, 'not_found');
  const plain = await d.post('/hangar/v1/verify', { ref: 'hangar-labs/none' });
  assert.equal(plain.status, 404, plain.text);
});

test('a pull as a job: number, events from the beginning and from the middle, result', async () => {
  const begun = await d.post('/hangar/v1/pull?background=1', { ref: 'hangar-labs/tiny-chat' });
  assert.equal(begun.status, 202);
  assert.match(begun.json.job, /^[0-9a-f]{16}$/);
  assert.equal(begun.headers.get('location'), `/hangar/v1/jobs/${begun.json.job}`);
  const at = `/hangar/v1/jobs/${begun.json.job}`;
  const live = await fetch(d.url + at + '/events');
  assert.match(live.headers.get('content-type'), /^text\/event-stream/);
  const first = await live.text();
  const all = events(first);
  assert.equal(all.at(-1).event, 'result');
  assert.ok(all.at(-1).data.files.length > 2);
  assert.ok(all.some((e) => e.event === 'phase') && all.some((e) => e.event === 'plan'));
  const job = (await d.get(at)).json;
  assert.equal(job.state, 'done');
  assert.equal(job.verb, 'pull');
  assert.equal(job.ref, 'hangar-labs/tiny-chat');
  assert.equal(job.background, true);
  assert.deepEqual(job.result, all.at(-1).data);
  assert.ok(job.created <= job.started && job.started <= job.ended);
  // The same again, and only what is behind an event.
  assert.equal(await (await fetch(d.url + at + '/events')).text(), first);
  const ids = [...first.matchAll(/^id: (\d+)$/gm)].map((m) => Number(m[1]));
  assert.deepEqual(ids, ids.map((_, i) => i + 1));
  assert.equal(ids.length, job.events);
  const rest = await (await fetch(d.url + at + '/events', { headers: { 'last-event-id': String(ids.length - 2) } })).text();
  assert.equal(rest, first.slice(first.indexOf(`id: ${ids.length - 1}\n`)));
  assert.equal((await d.get(at + '/events?after=x')).status, 400);
  const list = (await d.get('/hangar/v1/jobs')).json;
  assert.ok(list.jobs.some((j) => j.id === begun.json.job));
  for (const path of ['/hangar/v1/jobs/0123456789abcdef', '/hangar/v1/jobs/..%2f', '/hangar/v1/jobs/x/events']) assert.ok([400, 404].includes((await d.get(path)).status), path);
  assert.deepEqual(d.result(['verify', 'hangar-labs/tiny-chat']).damaged, []);
});

test('a job that is cancelled ends soon, keeps what it has, and goes on later', async () => {
  const slow = await serve('native-slow', { env: { HF_ENDPOINT: hub.url } });
  const { job } = (await slow.post('/hangar/v1/pull?background=1', { ref: whisper, limit_rate: '20K' })).json;
  const at = `/hangar/v1/jobs/${job}`;
  await until('it runs', async () => (await slow.get(at)).json.state === 'running');
  const told = stream(slow.url, `/hangar/v1/nothing`, {});
  await told.done;
  const watching = fetch(slow.url + at + '/events').then((r) => r.text());
  await until('bytes came', async () => (await slow.get(at)).json.events > 3);
  const from = Date.now();
  const asked = (await slow.get(at, { method: 'DELETE' })).json;
  assert.equal(asked.id, job);
  await until('it ended', async () => (await slow.get(at)).json.state === 'cancelled');
  assert.ok(Date.now() - from < 10_000);
  const last = events(await watching).at(-1);
  assert.equal(last.event, 'error');
  assert.equal(last.data.error.code, 'cancelled');
  const ended = (await slow.get(at)).json;
  assert.equal(ended.error.code, 'cancelled');
  assert.equal(ended.result, null);
  assert.equal((await slow.get(at, { method: 'DELETE' })).json.state, 'cancelled');
  const again = await slow.post('/hangar/v1/pull', { ref: whisper });
  assert.equal(again.status, 200);
  // A client that goes ends what it asked for, unless that is a job.
  slow.result(['rm', whisper, '--yes']);
  const leaving = stream(slow.url, '/hangar/v1/pull', { ref: whisper, limit_rate: '20K' }, sse);
  await until('it tells something', () => leaving.text.includes('event: '));
  leaving.destroy();
  await until('nothing runs', async () => (await slow.get('/hangar/v1/jobs')).json.jobs.every((j) => j.state !== 'running'));
  // What a kill cuts short is known afterwards.
  await slow.post('/hangar/v1/pull?background=1', { ref: whisper, limit_rate: '20K' });
  await until('it runs', async () => (await slow.get('/hangar/v1/jobs')).json.jobs.some((j) => j.state === 'running' && j.events > 2));
  await slow.end('SIGKILL');
  const next = await serve('native-slow', { own: slow, env: { HF_ENDPOINT: hub.url } });
  const { interrupted } = (await next.get('/hangar/v1/jobs')).json;
  assert.equal(interrupted[0].kind, 'pull');
  assert.equal(interrupted[0].state, 'interrupted');
  assert.match(interrupted[0].ref, /whisper-digits/);
  await next.end();
  next.remove();
});

test('a running job does not keep the daemon from ending', async () => {
  const own = await serve('native-end', { env: { HF_ENDPOINT: hub.url } });
  await own.post('/hangar/v1/pull?background=1', { ref: whisper, limit_rate: '20K' });
  await until('it runs', async () => (await own.get('/hangar/v1/jobs')).json.jobs.some((j) => j.state === 'running'));
  const how = await own.end();
  assert.deepEqual(how, { code: 0, signal: null });
  own.remove();
});

test('models: what there is, loading, using, unloading', async () => {
  const list = (await d.get('/hangar/v1/models')).json.models;
  const tiny = list.find((m) => m.name === 'tiny'), far = list.find((m) => m.name === 'far');
  assert.equal(tiny.kind, 'local');
  assert.equal(tiny.declared, true);
  assert.equal(tiny.ref, chat);
  assert.equal(far.kind, 'cloud');
  assert.equal(far.has_key, false);
  assert.ok(list.some((m) => m.name === embedder && m.size > 0));
  assert.ok(!JSON.stringify(list).includes('NO_SUCH_KEY='));
  const loaded = await d.post('/hangar/v1/load', { model: 'tiny', keep_alive: -1 });
  assert.equal(loaded.status, 200, loaded.text);
  const [row] = loaded.json.models;
  assert.equal(row.name, 'tiny');
  assert.equal(row.state, 'ready');
  assert.equal(row.expires_in, null);
  assert.ok(row.memory > 1e6 && row.pid > 0 && row.load_seconds > 0 && row.probed_at > 0);
  const ps = (await d.get('/hangar/v1/ps')).json;
  assert.equal(ps.models.find((m) => m.name === 'tiny').pid, row.pid);
  assert.ok(ps.memory.budget > ps.memory.used && ps.memory.used > 0);
  assert.deepEqual(runnersOf(d.child.pid).includes(row.pid), true);
  assert.equal((await d.get('/hangar/v1/models')).json.models.find((m) => m.name === 'tiny').state, 'ready');
  const away = await d.post('/hangar/v1/unload', { model: 'tiny' });
  assert.deepEqual(away.json, { name: 'tiny', models: [] });
  assert.ok(!runnersOf(d.child.pid).includes(row.pid));
  assert.equal((await d.post('/hangar/v1/unload', { model: 'tiny' })).status, 404);
  assert.equal((await d.post('/hangar/v1/load', { model: 'none/such' })).status, 404);
  assert.equal((await d.post('/hangar/v1/load', { model: 'far' })).status, 501);
  const told = stream(d.url, '/hangar/v1/load', { model: 'tiny' }, sse);
  await told.done;
  assert.equal(events(told.text).at(-1).event, 'result');
  assert.equal(events(told.text).at(-1).data.models[0].state, 'ready');
  const why = (await d.get('/hangar/v1/why?limit=1')).json.reasons;
  assert.equal(why.length, 1);
  assert.match(why[0].text, /./);
  assert.equal((await d.get('/hangar/v1/why?kind=eviction')).json.reasons.length, 0);
  assert.equal((await d.get('/hangar/v1/why?limit=0')).status, 400);
});

test('generate: whole and in pieces', async () => {
  const ask = { model: 'tiny', messages: [{ role: 'user', content: 'What is the capital of France?' }], temperature: 0, max_tokens: 24 };
  const whole = await d.post('/hangar/v1/generate', ask);
  assert.equal(whole.status, 200, whole.text);
  assert.equal(whole.headers.get('x-hangar-model'), 'tiny');
  assert.equal(whole.headers.get('x-hangar-fallback'), null);
  const { text, finish, generated_tokens: tokens, prompt_tokens: prompt, tool_calls: calls, model, fell_back: fell } = whole.json;
  assert.ok(text.length > 0 && tokens > 0 && prompt > 0);
  assert.ok(['stop', 'length'].includes(finish));
  assert.deepEqual([calls, model, fell], [[], 'tiny', false]);
  const got = stream(d.url, '/hangar/v1/generate', { ...ask, stream: true });
  await got.done;
  const all = events(got.text);
  assert.equal(all[0].event, 'head');
  assert.deepEqual([all[0].data.asked, all[0].data.model, all[0].data.fell_back], ['tiny', 'tiny', false]);
  assert.equal(all.filter((e) => e.event === 'text').map((e) => e.data.text).join(''), text);
  assert.equal(all.at(-1).event, 'done');
  assert.equal(all.at(-1).data.finish, finish);
  assert.equal(all.at(-1).data.generated_tokens, tokens);
  // Accept alone asks for events, too; "stream": false wins over it.
  const accepted = stream(d.url, '/hangar/v1/generate', ask, sse);
  await accepted.done;
  assert.equal(events(accepted.text).at(-1).event, 'done');
  const refused = await d.post('/hangar/v1/generate', { ...ask, stream: false }, { headers: sse });
  assert.equal(refused.json.text, text);
  const raw = await d.post('/hangar/v1/generate', { model: 'tiny', prompt: 'The capital of', temperature: 0, max_tokens: 4, logprobs: 2 });
  assert.equal(raw.status, 200, raw.text);
  assert.ok(raw.json.logprobs.length >= 1 && raw.json.logprobs[0].top.length >= 1);
  const shaped = await d.post('/hangar/v1/generate', { ...ask, json_schema: { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] } });
  assert.equal(shaped.status, 200, shaped.text);
  if (shaped.json.finish === 'stop') assert.equal(typeof JSON.parse(shaped.json.text).n, 'number');
  for (const [body, status] of [[{ ...ask, model: 'none/such' }, 404], [{ ...ask, model: embedder }, 501]]) {
    const no = await d.post('/hangar/v1/generate', body);
    assert.equal(no.status, status, no.text);
  }
});

test('a client that leaves ends its generation', async () => {
  await d.post('/hangar/v1/load', { model: 'tiny' });
  const got = stream(d.url, '/hangar/v1/generate', { model: 'tiny', prompt: 'a', max_tokens: 100_000, temperature: 1, min_p: 0, stream: true, json_schema: { type: 'array', items: { type: 'integer' }, minItems: 10_000 } });
  await until('text comes', () => got.text.includes('event: text') || got.ended);
  got.destroy();
  await until('the model is free', async () => (await d.get('/hangar/v1/ps')).json.models.find((m) => m.name === 'tiny').state === 'ready', 10);
});

test('embed and transcribe', async () => {
  const two = await d.post('/hangar/v1/embed', { model: embedder, input: ['a cat', 'a dog'] });
  assert.equal(two.status, 200, two.text);
  assert.equal(two.json.embeddings.length, 2);
  assert.equal(two.json.embeddings[0].length, two.json.dimensions);
  assert.deepEqual((await d.post('/hangar/v1/embed', { model: embedder, input: 'a cat' })).json.embeddings[0], two.json.embeddings[0]);
  const no = await d.post('/hangar/v1/classify', { model: embedder, input: 'a cat' });
  assert.equal(no.status, 501, no.text);
  const form = new FormData();
  form.set('model', whisper);
  form.set('file', new Blob([readFileSync(clip('digits-01.wav'))]), 'digits.wav');
  const heard = await fetch(d.url + '/hangar/v1/transcribe', { method: 'POST', body: form });
  const doc = await heard.json();
  assert.equal(heard.status, 200, JSON.stringify(doc));
  assert.ok(doc.text.length > 0);
  const pieces = await (await fetch(d.url + '/hangar/v1/transcribe', { method: 'POST', body: form, headers: sse })).text();
  const all = events(pieces);
  assert.equal(all[0].event, 'head');
  assert.equal(all.at(-1).event, 'done');
  assert.equal(all.at(-1).data.text, doc.text);
  form.set('beams', '99');
  assert.equal((await fetch(d.url + '/hangar/v1/transcribe', { method: 'POST', body: form })).status, 400);
  form.delete('file');
  form.delete('beams');
  assert.equal((await fetch(d.url + '/hangar/v1/transcribe', { method: 'POST', body: form })).status, 400);
});

// ---- the OpenAPI document ----

// Checks v against what OpenAPI 3.1 requires of each object; `at` names the place.
function checkDocument(doc) {
  const problems = [];
  const need = (ok, at, what) => { if (!ok) problems.push(`${at}: ${what}`); };
  const resolve = (ref) => ref.replace(/^#\//, '').split('/').reduce((v, key) => v?.[key.replace(/~1/g, '/').replace(/~0/g, '~')], doc);
  const types = new Set(['string', 'number', 'integer', 'boolean', 'array', 'object', 'null']);
  function schema(s, at) {
    need(typeof s === 'object' && s !== null, at, 'is no schema');
    if (s.$ref) return need(resolve(s.$ref), at, `${s.$ref} leads nowhere`);
    for (const t of [].concat(s.type ?? [])) need(types.has(t), at, `type ${t}`);
    if (s.required) need(Array.isArray(s.required) && s.required.length > 0 && s.required.every((r) => s.properties?.[r]), at, 'required names no property');
    if (s.enum) need(s.enum.length > 0, at, 'an empty enum');
    if (s.minimum !== undefined && s.maximum !== undefined) need(s.minimum <= s.maximum, at, 'an empty range');
    for (const [k, v] of Object.entries(s.properties ?? {})) schema(v, `${at}.${k}`);
    if (s.items) schema(s.items, `${at}[]`);
  }
  function content(c, at) {
    for (const [type, media] of Object.entries(c ?? {})) {
      need(/^[\w.+-]+\/[\w.+-]+$/.test(type), at, `the media type ${type}`);
      if (media.schema) schema(media.schema, `${at} ${type}`);
    }
  }
  function response(r, at) {
    if (r.$ref) return need(resolve(r.$ref), at, `${r.$ref} leads nowhere`);
    need(typeof r.description === 'string', at, 'no description');
    content(r.content, at);
  }
  need(/^3\.1\.\d+$/.test(doc.openapi), 'openapi', 'is not 3.1');
  need(doc.info?.title && doc.info?.version, 'info', 'lacks title or version');
  const ids = new Set();
  for (const [path, item] of Object.entries(doc.paths)) {
    need(path.startsWith('/'), path, 'does not begin with /');
    const names = [...path.matchAll(/\{(\w+)\}/g)].map((m) => m[1]);
    for (const [method, op] of Object.entries(item)) {
      const at = `${method} ${path}`;
      need(['get', 'post', 'put', 'delete', 'patch', 'head', 'options'].includes(method), at, 'no such method');
      need(op.operationId && !ids.has(op.operationId), at, 'operationId is missing or not unique');
      ids.add(op.operationId);
      const params = op.parameters ?? [];
      need(new Set(params.map((p) => `${p.in} ${p.name}`)).size === params.length, at, 'a parameter twice');
      for (const p of params) {
        need(p.name && ['path', 'query', 'header'].includes(p.in), at, 'a parameter without name or place');
        need(p.in !== 'path' || p.required === true, at, 'a path parameter that is not required');
        schema(p.schema, at);
      }
      assert.deepEqual(params.filter((p) => p.in === 'path').map((p) => p.name), names, at);
      if (op.requestBody) {
        need(Object.keys(op.requestBody.content ?? {}).length > 0, at, 'a body without content');
        content(op.requestBody.content, at);
      }
      need(Object.keys(op.responses ?? {}).length > 0, at, 'no responses');
      for (const [status, r] of Object.entries(op.responses)) {
        need(/^([1-5]\d\d|default)$/.test(status), at, `status ${status}`);
        response(r, `${at} ${status}`);
      }
      for (const one of op.security ?? []) for (const key of Object.keys(one)) need(doc.components.securitySchemes[key], at, `no scheme ${key}`);
    }
  }
  for (const [name, s] of Object.entries(doc.components.schemas)) schema(s, name);
  for (const [name, r] of Object.entries(doc.components.responses)) response(r, name);
  return problems;
}

test('the OpenAPI document is one, holds every route, and each route is there', async () => {
  const { json: doc, headers } = await d.get('/openapi.json');
  assert.match(headers.get('content-type'), /^application\/json/);
  assert.deepEqual(checkDocument(doc), []);
  // The check can fail.
  assert.ok(checkDocument({ ...doc, openapi: '2.0', paths: { bad: { get: { responses: {} } } } }).length >= 3);
  for (const path of ['/v1/chat/completions', '/v1/models', '/api/chat', '/api/tags', '/hangar/v1/pull', '/hangar/v1/jobs/{job}/events', '/health', '/metrics', '/openapi.json']) {
    assert.ok(doc.paths[path], path);
  }
  const pull = doc.components.schemas.post_hangar_v1_pull;
  assert.deepEqual(Object.keys(pull.properties).sort(), ['dry_run', 'exclude', 'include', 'limit_rate', 'ref']);
  assert.deepEqual(pull.required, ['ref']);
  assert.ok(!doc.components.schemas.post_hangar_v1_convert.properties.out);
  // No route is only in the document: none is answered as one that is not there at all.
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const method of Object.keys(item)) {
      if (['delete', 'put'].includes(method) && /models|blobs/.test(path)) continue;
      const res = await fetch(d.url + path.replace(/\{\w+\}/g, 'none'), { method: method.toUpperCase(), ...(method === 'post' && { body: '{"":1}', headers: { 'content-type': 'application/json' } }), signal: AbortSignal.timeout(60_000) });
      const text = await res.text();
      assert.notEqual(res.status, 405, `${method} ${path}`);
      assert.ok(res.status < 500 || res.status === 503, `${method} ${path}: ${res.status} ${text.slice(0, 200)}`);
      if (res.status === 404) assert.doesNotMatch(text, /there is no (such )?(page|route|path)/i, `${method} ${path}`);
    }
  }
});
