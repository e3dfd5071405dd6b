// SPDX-License-Identifier: Apache-2.0
// Ollama's own client against `hangar serve`: every route, streaming and not, loading and letting go, pulls with progress.
import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ollama } from 'ollama';
import { models, ownHangar, reference } from '../support/models.mjs';
import { addFake, fakeRunners, serve, sleep, stream, until } from '../support/serving.mjs';
import { FaultHub } from '../support/faulthub.mjs';

const own = ownHangar('ollama', 'tiny-chat-gguf', 'tiny-chat', 'tiny-embed');
for (const name of ['echo', 'endless', 'gone']) addFake(own, name);
const daemon = await serve('ollama', { own });
const hub = await new FaultHub().start();
const faked = await serve('ollama-fake', { own, env: { HANGAR_RUNNERS: fakeRunners(own.home), HANGAR_SOCKET: join(own.home, 'fake.sock'), HF_ENDPOINT: hub.url } });
test.after(async () => {
  await Promise.all([daemon.end(), faked.end()]);
  await hub.stop();
  own.remove();
});

const client = new Ollama({ host: daemon.url }), fake = new Ollama({ host: faked.url });
const model = 'hangar-labs/tiny-chat-gguf', embedder = 'hangar-labs/tiny-embed';
const cases = reference('tiny-chat-gguf').files['tiny-chat-Q8_0.gguf'];
const [first] = cases, [{ content: prompt }] = first.messages;
const greedy = { temperature: 0 };
const all = async (pieces) => {
  const list = [];
  for await (const p of pieces) list.push(p);
  return list;
};
const status = (code) => (e) => e.status_code === code;

test('somebody is here', async () => {
  const got = await daemon.get('/');
  assert.deepEqual([got.status, got.text], [200, 'hangar is here\n']);
  assert.equal((await fetch(daemon.url, { method: 'HEAD' })).status, 200);
  assert.match((await client.version()).version, /^\d+\.\d+\.\d+/);
});

test('tags and show', async () => {
  const one = (await client.list()).models.find((m) => m.name === model);
  assert.deepEqual([one.model, one.details.format, one.details.family], [model, 'gguf', 'llama']);
  assert.ok(one.size > 0 && one.digest.length === 40 && !Number.isNaN(Date.parse(one.modified_at)));
  const shown = await client.show({ model });
  assert.deepEqual([shown.details.parameter_size, shown.details.quantization_level, shown.license], ['738K', 'Q8_0', 'apache-2.0']);
  assert.equal(shown.model_info['general.architecture'], 'llama');
  assert.deepEqual(shown.capabilities, ['completion'], 'its template has no place for tools');
  assert.match(shown.template, /im_start/);
  assert.match((await client.show({ model: 'hangar-labs/tiny-chat' })).template, /im_start/);
  assert.deepEqual((await client.show({ model: 'claude-3.7-sonnet' })).capabilities, ['completion', 'tools']);
  assert.deepEqual((await client.show({ model: embedder })).capabilities, ['embedding']);
  await assert.rejects(client.show({ model: 'no/such' }), status(404));
});

test('chat gives the texts of the reference, whole and in lines', async () => {
  for (const one of cases) {
    const whole = await client.chat({ model, messages: one.messages, options: greedy });
    assert.deepEqual([whole.message.role, whole.message.content, whole.done, whole.done_reason], ['assistant', one.text, true, 'stop']);
    assert.ok(whole.eval_count > 0 && whole.prompt_eval_count > 0 && whole.total_duration > 0 && Number.isInteger(whole.eval_duration));
    const lines = await all(await client.chat({ model, messages: one.messages, options: greedy, stream: true }));
    assert.equal(lines.map((l) => l.message.content).join(''), one.text);
    assert.equal(lines.at(-1).eval_count, whole.eval_count);
    assert.ok(lines.every((l) => l.model === model && !Number.isNaN(Date.parse(l.created_at))));
    assert.deepEqual(lines.map((l) => l.done), lines.map((_, i) => i === lines.length - 1));
  }
});

test('generate, with a system message, raw, with options', async () => {
  const ask = (more) => client.generate({ model, prompt, ...more, options: { ...greedy, ...more?.options } });
  assert.equal((await ask()).response, first.text);
  assert.equal((await all(await ask({ stream: true }))).map((l) => l.response).join(''), first.text);
  assert.equal((await ask({ raw: true, prompt: reference('tiny-chat').prompts[0].rendered })).response, first.text);
  const short = await ask({ options: { num_predict: 2 } });
  assert.deepEqual([short.done_reason, short.eval_count], ['length', 2]);
  assert.equal((await ask({ options: { num_predict: -1, num_thread: 2 } })).response, first.text);
  assert.equal((await ask({ prompt: 'Count from 3 to 12', options: { stop: [', 6'] } })).response, '3, 4, 5');
  const hot = () => ask({ options: { temperature: 5, seed: 9, num_predict: 20 } }).then((r) => r.response);
  assert.equal(await hot(), await hot());
  const probs = await ask({ logprobs: true, top_logprobs: 2 });
  assert.equal(probs.logprobs.map((t) => t.token).join(''), first.text);
  assert.equal(probs.logprobs[0].top_logprobs.length, 2);
  const got = stream(daemon.url, '/api/generate', { model, prompt, options: greedy });
  await got.done;
  assert.equal(got.headers['content-type'], 'application/x-ndjson', 'it streams when nothing is said');
  assert.equal(got.headers['x-hangar-model'], model);
});

test('JSON by schema', async () => {
  const format = { type: 'object', properties: { n: { enum: [3, 7] } }, required: ['n'], additionalProperties: false };
  const got = await client.chat({ model, messages: first.messages, format, options: { ...greedy, num_predict: 200 } });
  assert.ok([3, 7].includes(JSON.parse(got.message.content).n));
});

const weather = { type: 'function', function: { name: 'weather', description: 'of a city', parameters: { type: 'object', properties: { city: { type: 'string' } } } } };

test('tool calls and their answers', async () => {
  const ask = { model: 'fake/echo', messages: [{ role: 'user', content: '*=tool' }], tools: [weather] };
  const { message } = await fake.chat(ask);
  assert.deepEqual(message.tool_calls[0].function, { name: 'weather', arguments: { city: 'Paris' } });
  const lines = await all(await fake.chat({ ...ask, stream: true }));
  assert.deepEqual(lines.flatMap((l) => l.message.tool_calls ?? []).map((c) => c.function.arguments), [{ city: 'Paris' }]);
  assert.equal(lines.at(-1).done_reason, 'stop');
  const next = await fake.chat({ ...ask, messages: [...ask.messages, message, { role: 'tool', tool_name: 'weather', content: '*=echo sunny' }] });
  assert.equal(next.message.content, '*=echo sunny');
});

test('a request without a question loads, and with keep_alive 0 lets go', async () => {
  const loaded = async () => (await client.ps()).models.map((m) => m.name);
  await client.generate({ model, prompt: '', keep_alive: 0 });
  await until('it is gone', async () => !(await loaded()).includes(model));
  assert.equal((await client.generate({ model, prompt: '', keep_alive: '10m' })).done_reason, 'load');
  const one = (await client.ps()).models.find((m) => m.name === model);
  const left = (Date.parse(one.expires_at) - Date.now()) / 60000;
  assert.ok(left > 8 && left < 11, `${left} minutes`);
  assert.ok(one.size > 0);
  assert.equal((await client.chat({ model, messages: [], keep_alive: 0 })).done_reason, 'unload');
  await until('it is gone', async () => !(await loaded()).includes(model));
  assert.equal((await client.chat({ model, messages: [], keep_alive: 0 })).done_reason, 'unload', 'twice is no error');
  await client.chat({ model, messages: [], keep_alive: -1 });
  assert.match((await client.ps()).models.find((m) => m.name === model).expires_at, /^9999/);
  await client.chat({ model, messages: [], keep_alive: '5m' });
  await assert.rejects(client.generate({ model: 'no/such', prompt: '' }), status(404));
});

test('vectors are those of the reference', async () => {
  const { sentences } = reference('tiny-embed'), input = sentences.map((s) => s.text);
  const far = (a, b) => Math.max(...a.map((x, i) => Math.abs(x - b[i])));
  const got = await client.embed({ model: embedder, input });
  for (const [i, vector] of got.embeddings.entries()) assert.ok(far(vector, sentences[i].embedding) < 1e-4, input[i]);
  assert.equal(got.prompt_eval_count, sentences.reduce((n, s) => n + s.input_ids.length, 0));
  const { embedding } = await client.embeddings({ model: embedder, prompt: input[0] });
  assert.ok(far(embedding, got.embeddings[0]) < 1e-5);
  const long = 'word '.repeat(2000);
  assert.equal((await client.embed({ model: embedder, input: long })).embeddings.length, 1);
  await assert.rejects(client.embed({ model: embedder, input: long, truncate: false }), status(400));
  await assert.rejects(client.embed({ model: embedder, input: 'x', dimensions: 7 }), status(400));
  await assert.rejects(client.embed({ model, input: 'x' }), (e) => e.status_code >= 400);
});

test('what is refused is named', async () => {
  for (const [bad, word] of [
    [{ images: ['aGk='] }, 'images'], [{ template: '{{ .Prompt }}' }, 'template'], [{ suffix: 'x' }, 'suffix'], [{ context: [1] }, 'context'], [{ think: true }, 'think'],
    [{ options: { temperature: -1 } }, 'temperature'], [{ options: { mirostat: 2 } }, 'mirostat'], [{ format: 'xml' }, 'format'], [{ keep_alive: 'soon' }, 'keep_alive'],
  ])
    await assert.rejects(client.generate({ model, prompt, ...bad }), (e) => e.status_code === 400 && e.message.includes(word), JSON.stringify(bad));
  await assert.rejects(client.chat({ model, messages: [{ role: 'user', content: 'x', images: ['aGk='] }] }), status(400));
  await assert.rejects(client.generate({ prompt }), status(400));
  await assert.rejects(client.generate({ model: 'no/such', prompt }), status(404));
});

test('a failure in mid-stream is a line', async () => {
  const ask = { model: 'fake/echo', messages: [{ role: 'user', content: '*=crash-mid' }], tools: [weather], stream: true };
  await assert.rejects(async () => all(await fake.chat(ask)), /\w/);
  const got = stream(faked.url, '/api/chat', ask);
  await got.done;
  assert.equal(got.status, 200);
  assert.match(JSON.parse(got.text.trim().split('\n').at(-1)).error, /\w/);
});

test('a client that leaves ends the generation', async () => {
  const run = await fake.generate({ model: 'fake/endless', prompt: '*=endless', stream: true });
  await assert.rejects(async () => {
    for await (const line of run) if (line.response) run.abort();
  }, /abort/i);
  assert.equal((await fake.generate({ model: 'fake/endless', prompt: '*=echo' })).response, '*=echo');
});

test('pull fetches from the Hub and tells how far it is', async () => {
  const bytes = readFileSync(join(models, 'hangar-labs/tiny-chat-gguf/tiny-chat-Q8_0.gguf')), size = 6 << 20;
  hub.commit('acme/large', { 'README.md': 'hello', 'large.bin': Buffer.alloc(size, 1) });
  hub.rate = 2 << 20;
  const lines = await all(await fake.pull({ model: 'acme/large', stream: true }));
  hub.rate = 0;
  assert.equal(lines[0].status, 'pulling manifest');
  assert.equal(lines.at(-1).status, 'success');
  const ofFile = lines.filter((l) => l.digest === 'large.bin');
  assert.ok(ofFile.length > 2 && ofFile.every((l, i) => l.total === size && l.completed >= (ofFile[i - 1]?.completed ?? 0)), JSON.stringify(ofFile));
  assert.equal(ofFile.at(-1).completed, size);
  hub.commit('acme/one', { 'model.gguf': bytes });
  await all(await fake.pull({ model: 'acme/one:latest', stream: true }));
  assert.equal((await fake.generate({ model: 'acme/one', prompt: '*=echo' })).response, '*=echo');
  hub.commit('acme/two', { 'model.gguf': bytes });
  assert.equal((await fake.pull({ model: 'acme/two' })).status, 'success');
  assert.ok((await fake.list()).models.some((m) => m.name === 'acme/two'));
  await assert.rejects(fake.pull({ model: 'acme/none' }), status(404));
  await assert.rejects(async () => all(await fake.pull({ model: 'acme/none', stream: true })), /acme\/none/);
  await assert.rejects(fake.pull({ model: 'acme/two', insecure: true }), status(400));
  await assert.rejects(fake.pull({ model: 'claude-3.7-sonnet' }), (e) => e.status_code === 400 && e.message.includes('ANTHROPIC_API_KEY'));
});

test('a client that leaves ends its pull', async () => {
  hub.commit('acme/big', { 'model.gguf': Buffer.alloc(8 << 20, 7) });
  hub.rate = 1 << 20;
  const run = await fake.pull({ model: 'acme/big', stream: true });
  await assert.rejects(async () => {
    for await (const line of run) if (line.completed > 0) run.abort();
  }, /abort/i);
  const served = () => hub.served['model.gguf'];
  await until('no more bytes are fetched', async () => {
    const before = served();
    await sleep(400);
    return served() === before;
  });
  hub.rate = 0;
  assert.ok(served() < (8 << 20) + 2 * 810176, 'it was not fetched to its end');
});

test('delete takes a model away', async () => {
  await fake.generate({ model: 'fake/gone', prompt: 'hi' });
  assert.equal((await fake.delete({ model: 'fake/gone' })).status, 'success');
  assert.ok(!(await fake.list()).models.some((m) => m.name === 'fake/gone'));
  assert.ok(!(await fake.ps()).models.some((m) => m.name === 'fake/gone'));
  await assert.rejects(fake.delete({ model: 'fake/gone' }), status(404));
});
