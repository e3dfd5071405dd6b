// SPDX-License-Identifier: Apache-2.0
// ctest: waits
// Cloud models: hangar's requests beside those of the official clients, what its streams give, and what it says when a cloud fails.
import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import http from 'node:http';
import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI } from '@google/genai';
import OpenAI from 'openai';
import { Asking } from '../support/asking.mjs';
import { fakeCloud } from '../support/fakecloud.mjs';

const KEY = 'sk-canary-4f9d1c7ab2e86035-xyz', OTHER = 'sk-other-77aa0b1c2d3e4f55-uvw';
const cloud = await fakeCloud();
const asking = new Asking({ TEST_KEY: KEY, OTHER_KEY: OTHER, HANGAR_LOG: 'all=debug', http_proxy: 'http://127.0.0.1:9', ALL_PROXY: 'http://127.0.0.1:9' });
test.after(async () => { Asking.killAll(); await cloud.close(); });

const models = { openai: 'gpt-test', gemini: 'gemini-2.5-flash', anthropic: 'claude-3-7-sonnet-latest' };
const providers = Object.keys(models);
const target = (provider, more = {}) => ({ provider, url: cloud.url, model: models[provider], key_env: 'TEST_KEY', ...more });
const hi = { messages: [{ role: 'user', content: 'Hi' }] };

// ---- the official clients, asked to stream ----

const clients = {
  async openai(body) {
    const c = new OpenAI({ apiKey: KEY, baseURL: `${cloud.url}/v1`, maxRetries: 0 });
    let text = '';
    for await (const chunk of await c.chat.completions.create({ stream: true, stream_options: { include_usage: true }, ...body })) text += chunk.choices[0]?.delta.content ?? '';
    return text;
  },
  async gemini({ model, contents, config }) {
    const c = new GoogleGenAI({ apiKey: KEY, httpOptions: { baseUrl: cloud.url } });
    let text = '';
    for await (const chunk of await c.models.generateContentStream({ model, contents, config })) for (const p of chunk.candidates?.[0]?.content?.parts ?? []) text += p.text ?? '';
    return text;
  },
  async anthropic(body) {
    const c = new Anthropic({ apiKey: KEY, baseURL: cloud.url, maxRetries: 0 });
    let text = '';
    for await (const e of await c.messages.create({ stream: true, ...body })) if (e.type === 'content_block_delta') text += e.delta.text ?? '';
    return text;
  },
};
const decisive = {
  openai: ['authorization', 'content-type'],
  gemini: ['x-goog-api-key', 'content-type'],
  anthropic: ['x-api-key', 'anthropic-version', 'content-type'],
};

const schema = { type: 'object', properties: { city: { type: 'string' }, sure: { type: 'boolean' } }, required: ['city', 'sure'], additionalProperties: false };
const parameters = { type: 'object', properties: { place: { type: 'string', description: 'a town' }, days: { type: 'integer', minimum: 1 } }, required: ['place'], additionalProperties: false };
const weather = { name: 'weather', description: 'How the weather will be', parameters };
const noon = { name: 'noon', description: 'When noon is', parameters: { type: 'object', properties: {} } };
const toolTurn = [
  { role: 'user', content: 'Weather in Oslo and Rome?' },
  { role: 'assistant', content: 'I look.', tool_calls: [
    { id: 'c1', type: 'function', function: { name: 'weather', arguments: { place: 'Oslo' } } },
    { id: 'c2', type: 'function', function: { name: 'weather', arguments: { place: 'Rome', days: 2 } } }] },
  { role: 'tool', tool_call_id: 'c1', content: '{"sky":"snow"}' },
  { role: 'tool', tool_call_id: 'c2', content: 'sun' },
  { role: 'user', content: 'And "Z\u00fcrich"?\n\u{1F600}' },
];
const functions = [weather, noon].map((f) => ({ type: 'function', function: f }));

// Each: the question in hangar's words, and in those of each client.
const questions = {
  plain: {
    ask: { messages: [{ role: 'user', content: 'Say "hi" \\ and\nmore \u00e9 \u{1F680}' }], max_tokens: 50 },
    openai: { messages: [{ role: 'user', content: 'Say "hi" \\ and\nmore \u00e9 \u{1F680}' }], max_tokens: 50 },
    gemini: { contents: [{ role: 'user', parts: [{ text: 'Say "hi" \\ and\nmore \u00e9 \u{1F680}' }] }], config: { maxOutputTokens: 50 } },
    anthropic: { messages: [{ role: 'user', content: 'Say "hi" \\ and\nmore \u00e9 \u{1F680}' }], max_tokens: 50 },
  },
  system: {
    ask: { messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Hi' }], max_tokens: 9 },
    openai: { messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Hi' }], max_tokens: 9 },
    gemini: { contents: [{ role: 'user', parts: [{ text: 'Hi' }] }], config: { systemInstruction: 'Be brief.', maxOutputTokens: 9 } },
    anthropic: { system: 'Be brief.', messages: [{ role: 'user', content: 'Hi' }], max_tokens: 9 },
  },
  'many turns': {
    ask: { messages: [{ role: 'user', content: 'One' }, { role: 'assistant', content: 'Two' }, { role: 'user', content: [{ type: 'text', text: 'Thr' }, { type: 'text', text: 'ee' }] }], max_tokens: 5 },
    openai: { messages: [{ role: 'user', content: 'One' }, { role: 'assistant', content: 'Two' }, { role: 'user', content: 'Three' }], max_tokens: 5 },
    gemini: { contents: [{ role: 'user', parts: [{ text: 'One' }] }, { role: 'model', parts: [{ text: 'Two' }] }, { role: 'user', parts: [{ text: 'Three' }] }], config: { maxOutputTokens: 5 } },
    anthropic: { messages: [{ role: 'user', content: 'One' }, { role: 'assistant', content: 'Two' }, { role: 'user', content: 'Three' }], max_tokens: 5 },
  },
  sampling: {
    ask: { ...hi, temperature: 0.3, top_p: 0.9, top_k: 20, min_p: 0.05, repeat_penalty: 1.1, seed: 7, stop: ['END', '\n\n'], max_tokens: 100, logprobs: 3, context: 4096 },
    openai: { ...hi, temperature: 0.3, top_p: 0.9, seed: 7, stop: ['END', '\n\n'], max_tokens: 100 },
    gemini: { contents: [{ role: 'user', parts: [{ text: 'Hi' }] }], config: { temperature: 0.3, topP: 0.9, topK: 20, seed: 7, stopSequences: ['END', '\n\n'], maxOutputTokens: 100 } },
    anthropic: { ...hi, temperature: 0.3, top_p: 0.9, top_k: 20, stop_sequences: ['END', '\n\n'], max_tokens: 100 },
  },
  'tools and their results': {
    ask: { messages: toolTurn, tools: functions, tool_choice: 'auto', max_tokens: 64 },
    openai: {
      messages: toolTurn.map((m) => (m.tool_calls ? { ...m, tool_calls: m.tool_calls.map((c) => ({ ...c, function: { name: c.function.name, arguments: JSON.stringify(c.function.arguments) } })) } : m)),
      tools: functions, tool_choice: 'auto', max_tokens: 64,
    },
    gemini: {
      contents: [
        { role: 'user', parts: [{ text: toolTurn[0].content }] },
        { role: 'model', parts: [{ text: 'I look.' }, { functionCall: { name: 'weather', args: { place: 'Oslo' } } }, { functionCall: { name: 'weather', args: { place: 'Rome', days: 2 } } }] },
        { role: 'user', parts: [{ functionResponse: { name: 'weather', response: { sky: 'snow' } } }, { functionResponse: { name: 'weather', response: { output: 'sun' } } }] },
        { role: 'user', parts: [{ text: toolTurn[4].content }] },
      ],
      config: {
        maxOutputTokens: 64, toolConfig: { functionCallingConfig: { mode: 'AUTO' } },
        tools: [{ functionDeclarations: [weather, noon].map(({ name, description, parameters: p }) => ({ name, description, parametersJsonSchema: p })) }],
      },
    },
    anthropic: {
      messages: [
        { role: 'user', content: toolTurn[0].content },
        { role: 'assistant', content: [{ type: 'text', text: 'I look.' }, { type: 'tool_use', id: 'c1', name: 'weather', input: { place: 'Oslo' } }, { type: 'tool_use', id: 'c2', name: 'weather', input: { place: 'Rome', days: 2 } }] },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'c1', content: '{"sky":"snow"}' }, { type: 'tool_result', tool_use_id: 'c2', content: 'sun' }] },
        { role: 'user', content: toolTurn[4].content },
      ],
      tools: [weather, noon].map(({ name, description, parameters: p }) => ({ name, description, input_schema: p })),
      tool_choice: { type: 'auto' }, max_tokens: 64,
    },
  },
  'one tool of two': {
    ask: { ...hi, tools: functions, tool_choice: { name: 'noon' }, max_tokens: 64 },
    openai: { ...hi, tools: functions, tool_choice: { type: 'function', function: { name: 'noon' } }, max_tokens: 64 },
    gemini: {
      contents: [{ role: 'user', parts: [{ text: 'Hi' }] }],
      config: {
        maxOutputTokens: 64, toolConfig: { functionCallingConfig: { mode: 'ANY', allowedFunctionNames: ['noon'] } },
        tools: [{ functionDeclarations: [weather, noon].map(({ name, description, parameters: p }) => ({ name, description, parametersJsonSchema: p })) }],
      },
    },
    anthropic: { ...hi, tools: [weather, noon].map(({ name, description, parameters: p }) => ({ name, description, input_schema: p })), tool_choice: { type: 'tool', name: 'noon' }, max_tokens: 64 },
  },
  'a JSON schema': {
    models: { anthropic: 'claude-sonnet-4-5' },
    ask: { ...hi, json_schema: JSON.stringify(schema), max_tokens: 64 },
    openai: { ...hi, response_format: { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } }, max_tokens: 64 },
    gemini: { contents: [{ role: 'user', parts: [{ text: 'Hi' }] }], config: { maxOutputTokens: 64, responseMimeType: 'application/json', responseJsonSchema: schema } },
    anthropic: { ...hi, output_config: { format: { type: 'json_schema', schema } }, max_tokens: 64 },
  },
  'any JSON': {
    ask: { ...hi, json: true, max_tokens: 64 },
    openai: { ...hi, response_format: { type: 'json_object' }, max_tokens: 64 },
    gemini: { contents: [{ role: 'user', parts: [{ text: 'Hi' }] }], config: { maxOutputTokens: 64, responseMimeType: 'application/json' } },
  },
  'what is configured beside it': {
    extra: { openai: { user: 'me', top_k: 4 }, gemini: { safety_settings: [{ category: 'HARM_CATEGORY_HARASSMENT', threshold: 'BLOCK_NONE' }], generationConfig: { thinkingConfig: { thinkingBudget: 0 }, maxOutputTokens: 7 } }, anthropic: { metadata: { user_id: 'me' }, temperature: 0.9 } },
    ask: { ...hi, temperature: 0.5, max_tokens: 64 },
    openai: { ...hi, temperature: 0.5, max_tokens: 64, user: 'me', top_k: 4 },
    gemini: { contents: [{ role: 'user', parts: [{ text: 'Hi' }] }], config: { temperature: 0.5, maxOutputTokens: 64, safetySettings: [{ category: 'HARM_CATEGORY_HARASSMENT', threshold: 'BLOCK_NONE' }], thinkingConfig: { thinkingBudget: 0 } } },
    anthropic: { ...hi, temperature: 0.5, max_tokens: 64, metadata: { user_id: 'me' } },
  },
};

for (const [what, q] of Object.entries(questions))
  for (const provider of providers.filter((p) => q[p]))
    test(`${provider}: ${what}, as the official client asks`, async () => {
      const model = q.models?.[provider] ?? models[provider];
      cloud.requests.length = 0;
      const theirs = await clients[provider]({ model, ...structuredClone(q[provider]) });
      const ours = await asking.ask(target(provider, { model, extra: q.extra?.[provider] }), q.ask);
      assert.equal(ours.fault, 'none', ours.error);
      assert.equal(ours.text, theirs);
      assert.equal(theirs, 'Hello from the cloud');
      const [a, b] = cloud.requests;
      assert.equal(cloud.requests.length, 2);
      assert.equal(b.method, a.method);
      assert.equal(b.path, a.path);
      for (const h of decisive[provider]) {
        assert.ok(a.headers[h], h);
        assert.equal(b.headers[h], a.headers[h], h);
      }
      assert.deepEqual(b.json, a.json);
    });

// ---- answers ----

for (const provider of providers)
  test(`${provider}: pieces, tool calls, ends and counts`, async () => {
    cloud.next({ text: ['Gr\u00fc\u00dfe ', '"x" \\ \n\t\u0001', '\u{1F600}'], thought: 'hm', usage: [21, 8] });
    const a = await asking.ask(target(provider), hi);
    assert.deepEqual(a.pieces, ['Gr\u00fc\u00dfe ', '"x" \\ \n\t\u0001', '\u{1F600}']);
    assert.deepEqual([a.fault, a.finish, a.prompt_tokens, a.generated_tokens], ['none', 'stop', 21, 8]);
    cloud.next({ text: 'I call.', tools: [{ id: 't1', name: 'weather', arguments: { place: 'Oslo', nested: [{ deep: 'a"b' }] } }, { id: 't2', name: 'noon', arguments: {} }] });
    const b = await asking.ask(target(provider), { ...hi, tools: functions });
    const id = (t) => (provider === 'gemini' ? '' : t); // Gemini's calls have none
    assert.deepEqual(b.tools, [{ id: id('t1'), name: 'weather', arguments: { place: 'Oslo', nested: [{ deep: 'a"b' }] } }, { id: id('t2'), name: 'noon', arguments: {} }]);
    assert.deepEqual([b.text, b.finish], ['I call.', 'tool_calls']);
    for (const finish of ['length', 'content_filter']) {
      cloud.next({ finish });
      assert.equal((await asking.ask(target(provider), hi)).finish, finish);
    }
    cloud.next({ text: '' });
    const c = await asking.ask(target(provider), hi);
    assert.deepEqual([c.fault, c.text, c.finish], ['none', '', 'stop']);
    cloud.next({ kind: 'open' });
    const d = await asking.ask(target(provider, { stall_timeout: 600 }), hi);
    assert.deepEqual([d.fault, d.text], ['none', 'Hello from the cloud']);
  });

for (const provider of providers)
  test(`${provider}: events that nobody knows are passed over`, async () => {
    cloud.next({ kind: 'foreign' });
    const a = await asking.ask(target(provider), hi);
    assert.deepEqual([a.fault, a.text, a.tools.length, a.finish], ['none', 'Hello from the cloud', 0, 'stop']);
  });

test('one connection serves many questions, and many questions run at once', async () => {
  const before = cloud.connections;
  for (let i = 0; i < 20; i++) assert.equal((await asking.ask(target(providers[i % 3]), hi)).fault, 'none');
  assert.ok(cloud.connections <= before + 1, `${cloud.connections - before} connections`);
  const all = await Promise.all(Array.from({ length: 60 }, (_, i) => {
    cloud.next({ text: `answer to somebody, ${i}`, pause: i % 3 });
    return asking.ask(target(providers[i % 3]), hi);
  }));
  for (const a of all) assert.equal(a.fault, 'none', a.error);
  assert.equal(new Set(all.map((a) => a.text)).size, 60);
});

test('an answer that has begun is gone on with', async () => {
  cloud.requests.length = 0;
  cloud.next({ text: [' jumps', ' over'] });
  const a = await asking.ask(target('anthropic'), hi, 'The fox');
  assert.equal(a.text, ' jumps over');
  assert.deepEqual(cloud.requests[0].json.messages, [...hi.messages, { role: 'assistant', content: 'The fox' }]);
  for (const [provider, model] of [['openai', 'gpt-test'], ['gemini', 'gemini-2.5-flash'], ['anthropic', 'claude-opus-4-6']]) {
    const b = await asking.ask(target(provider, { model }), hi, 'The fox');
    assert.equal(b.refused?.code, 'USAGE');
  }
  assert.equal(cloud.requests.length, 1);
});

test('what a provider cannot do is said before anything is sent', async () => {
  const before = cloud.requests.length;
  for (const provider of providers) {
    const a = await asking.ask(target(provider), { ...hi, grammar: 'root ::= "x"' });
    assert.match(a.refused.error, /grammar cannot be asked of/);
    for (const bad of [{}, { messages: [] }, { messages: [{ role: 'wizard', content: 'x' }] }, { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] },
      { ...hi, tools: functions, tool_choice: 'maybe' }, { ...hi, json_schema: '{' }, { ...hi, json_schema: '[]' }])
      assert.equal((await asking.ask(target(provider), bad)).refused?.code, 'USAGE', JSON.stringify(bad));
  }
  assert.match((await asking.ask(target('anthropic'), { ...hi, json: true })).refused.error, /^json cannot be asked/);
  assert.match((await asking.ask(target('anthropic'), { ...hi, json_schema: '{}' })).refused.error, /^json_schema cannot be asked/);
  assert.equal(cloud.requests.length, before);
});

// ---- faults ----

const quick = { connect_timeout: 5, first_timeout: 0.3, stall_timeout: 0.3 };
const failures = [
  ['bad', {}, 'client', /400: bad request/],
  ['key', {}, 'key', /401: wrong key/],
  ['denied', {}, 'key', /403/],
  ['missing', {}, 'config', /404: no such model/],
  ['rate', { retryAfter: 7 }, 'rate', /429: slow down/, 7],
  ['broken', {}, 'server', /500: it broke/],
  ['unavailable', { retryAfter: 3 }, 'server', /503/, 3],
  ['overloaded', {}, 'server', /529: Overloaded/],
  ['reset', {}, 'broken', /./],
  ['slow', {}, 'timeout', /no answer within 0.3 s/],
  ['pings', {}, 'timeout', /no answer within 0.3 s/],
  ['stall', { after: 2 }, 'timeout', /nothing more came for 0.3 s/],
  ['cut', { after: 1 }, 'broken', /./],
  ['short', { after: 1 }, 'broken', /ended before the answer did/],
  ['error', { after: 1 }, 'server', /it broke in the middle/],
  ['error', { after: 0 }, 'server', /it broke in the middle/],
  ['garbage', { after: 1 }, 'broken', /an event of the stream/],
  ['endless', { after: 1 }, 'broken', /over the limit/],
  ['zipped', {}, 'broken', /ended before the answer did/],
  ['huge', { after: 1 }, 'broken', /an event of the stream: .*over the limit/],
  ['type', {}, 'broken', /text\/html instead of a stream/],
  ['redirect', {}, 'broken', /a redirect \(307\)/],
  ['headers', {}, 'broken', /bytes of headers/],
];
for (const provider of providers)
  for (const [kind, more, fault, words, retryAfter = -1] of failures)
    test(`${provider}: ${kind}${more.after !== undefined ? ` after ${more.after}` : ''} is ${fault}`, async () => {
      cloud.always = { kind, ...more }; // also for a second try on a fresh connection, when a kept one broke without a word
      const slow = kind === 'slow' || kind === 'pings' || kind === 'stall';
      const a = await asking.ask(target(provider, slow ? quick : {}), hi);
      cloud.always = null;
      assert.equal(a.fault, fault, a.error);
      assert.match(a.error, words);
      assert.match(a.error, new RegExp(`^asked \\(${provider}\\): `));
      assert.equal(a.retry_after, retryAfter);
      assert.equal(a.pieces.length, more.after ?? 0);
    });

test('a cloud that does not listen, and one that listens again', async () => {
  await cloud.stop();
  const a = await asking.ask(target('openai'), hi);
  assert.equal(a.fault, 'refused', a.error);
  await cloud.start();
  assert.equal((await asking.ask(target('openai'), hi)).fault, 'none');
});

test('a question that is cancelled ends at the cloud, too', async () => {
  cloud.requests.length = 0;
  cloud.next({ kind: 'stall', after: 1 });
  const a = asking.ask(target('anthropic'), hi);
  await a.begun;
  a.cancel();
  assert.equal((await a).cancelled, true);
  for (let i = 0; i < 500 && !cloud.requests[0].closed; i++) await new Promise((go) => setTimeout(go, 20));
  assert.equal(cloud.requests[0].closed, true);
});

test('hundreds of questions with faults and cancels leave nothing behind', async () => {
  const own = await fakeCloud(), busy = new Asking({ TEST_KEY: KEY });
  const descriptors = () => readdirSync(`/proc/${busy.child.pid}/fd`).length;
  const memory = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${busy.child.pid}/status`, 'utf8'))[1]);
  const kinds = [null, null, 'rate', 'cut', 'error', 'garbage', 'stall', 'reset', 'type'];
  // A turn: so many at once, a third of them cancelled at their first piece.
  const turn = (count) => Promise.all(Array.from({ length: count }, async (_, i) => {
    const kind = kinds[i % kinds.length];
    own.next(kind ? { kind, after: 1 } : { pause: 1 });
    const a = busy.ask({ ...target(providers[i % 3]), url: own.url, first_timeout: 5, stall_timeout: 0.2 }, hi);
    if (i % 3 === 0) void a.begun.then(() => a.cancel());
    return a;
  }));
  try {
    await turn(60);
    await turn(60);
    const kib = memory();
    for (let i = 0; i < 6; i++) await turn(60);
    // What is open are connections that are kept, no more than ran at once, and a few of the program's own; a leak would be hundreds.
    assert.ok(descriptors() <= 60 + 20, `${descriptors()} descriptors`);
    assert.ok(memory() < kib + 8192, `${memory()} KiB, ${kib} before`);
    assert.equal(await busy.end(), 0);
  } finally {
    await own.close();
  }
});

// ---- keys and addresses ----

test('a key goes to its own host only, and into one header', async () => {
  const second = await fakeCloud({ text: 'second' });
  cloud.requests.length = 0;
  try {
    await Promise.all(Array.from({ length: 200 }, async (_, i) => {
      const mine = i % 2 === 0, provider = providers[i % 3];
      const a = await asking.ask(target(provider, mine ? {} : { url: second.url, key_env: 'OTHER_KEY' }), hi);
      assert.equal(a.text, mine ? 'Hello from the cloud' : 'second');
    }));
    for (const [where, own, other] of [[cloud, KEY, OTHER], [second, OTHER, KEY]]) {
      assert.equal(where.requests.length, 100);
      for (const r of where.requests) {
        const all = JSON.stringify(r.headers) + r.path + r.raw;
        assert.ok(!all.includes(other));
        assert.equal(all.split(own).length, 2);
        assert.ok(!r.headers.cookie && !r.headers.referer);
      }
    }
    // A redirect takes no key along.
    second.requests.length = 0;
    cloud.next({ kind: 'redirect', location: `${second.url}/v1/messages` });
    assert.equal((await asking.ask(target('anthropic'), hi)).fault, 'broken');
    assert.equal(second.requests.length, 0);
  } finally {
    await second.close();
  }
});

test('a question names no host, no header and no variable', async () => {
  const seen = [];
  const stranger = http.createServer((req, res) => { seen.push(req.url); res.end(); });
  await new Promise((go) => stranger.listen(0, '127.0.0.1', go));
  const there = `http://127.0.0.1:${stranger.address().port}`;
  const names = { api_base: there, base_url: there, url: there, proxy: there, headers: { 'x-stolen': '1' }, api_key: 'os.environ/HOME', organization: 'o', extra: { user: 'x' }, model: 'other', stream: false };
  const texts = ['os.environ/TEST_KEY', 'env:TEST_KEY', '${TEST_KEY}', '$TEST_KEY', 'file:///etc/hostname', 'oidc/file/x', '{{TEST_KEY}}', '%(TEST_KEY)s'];
  for (const provider of providers) {
    cloud.requests.length = 0;
    assert.equal((await asking.ask(target(provider), hi)).fault, 'none');
    assert.equal((await asking.ask(target(provider), { ...hi, ...names })).fault, 'none');
    const [plain, laden] = cloud.requests;
    assert.equal(laden.raw, plain.raw);
    assert.equal(laden.headers['x-stolen'], undefined);
    for (const text of texts) {
      await asking.ask(target(provider), { messages: [{ role: 'user', content: text }] });
      assert.ok(cloud.requests.at(-1).raw.includes(JSON.stringify(text)), text);
    }
  }
  assert.deepEqual(seen, []);
  stranger.close();
});

test('addresses that a key would not be safe at are refused before anything is sent', async () => {
  for (const url of ['http://example.com', 'http://10.0.0.1:8000/v1', 'ftp://127.0.0.1', 'http://user:pass@127.0.0.1', 'http://localhost.example.com/v1', 'https://127.0.0.1/v1?key=x'])
    for (const provider of providers) {
      const a = await asking.ask(target(provider, { url }), hi);
      assert.equal(a.fault, 'config', `${url}: ${a.error}`);
      assert.match(a.error, /url: /);
    }
  assert.match((await asking.ask(target('openai', { key_env: 'NOT_SET' }), hi)).error, /no key: NOT_SET is not set/);
});

test('keys are in nothing that is said, whatever goes wrong', async () => {
  const echoes = [`Incorrect API key provided: ${KEY}. Find yours`, `key=${KEY.slice(0, 14)}***${KEY.slice(-4)}`, `${KEY}${KEY}`, `\n${KEY}\n`, 'x'.repeat(390) + KEY];
  for (const provider of providers)
    for (const message of echoes)
      for (const kind of ['key', 'broken', 'rate', 'error', 'bad']) {
        cloud.next({ kind, message });
        const a = await asking.ask(target(provider), hi);
        assert.notEqual(a.fault, 'none');
        for (let i = 0; i + 8 <= KEY.length; i++) assert.ok(!a.error.includes(KEY.slice(i, i + 8)), a.error);
      }
  assert.equal(await asking.end(), 0);
  assert.match(asking.output, /provider/);
  for (const key of [KEY, OTHER]) assert.ok(!asking.output.includes(key.slice(0, 16)), 'a key in the output');
});
