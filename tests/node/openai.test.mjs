// SPDX-License-Identifier: Apache-2.0
// OpenAI's own client against `hangar serve`: every route, streaming and not, errors in its classes, a client that leaves.
import test from 'node:test';
import assert from 'node:assert/strict';
import { File } from 'node:buffer';
import { createReadStream, readFileSync } from 'node:fs';
import { join } from 'node:path';
import OpenAI, { toFile } from 'openai';
import { clip, clips, ownHangar, reference } from '../support/models.mjs';
import { addFake, events, fakeRunners, serve, stream } from '../support/serving.mjs';

globalThis.File ??= File; // Node 18 has it under this name alone
const own = ownHangar('openai', 'tiny-chat-gguf', 'tiny-chat', 'tiny-embed', 'whisper-digits');
for (const name of ['echo', 'endless', 'noload', 'crash', 'cut', 'cut2', 'cut3']) addFake(own, name);
const config = `models:
  list:
    helper: { ref: "fake/echo" }
    broken: { ref: "fake/noload", fallback: [helper] }
`;
const daemon = await serve('openai', { own });
const faked = await serve('openai-fake', { own, config, env: { HANGAR_RUNNERS: fakeRunners(own.home), HANGAR_SOCKET: join(own.home, 'fake.sock') } });
test.after(async () => {
  await Promise.all([daemon.end(), faked.end()]);
  own.remove();
});

const client = new OpenAI({ baseURL: `${daemon.url}/v1`, apiKey: 'none', maxRetries: 0 });
const fake = new OpenAI({ baseURL: `${faked.url}/v1`, apiKey: 'none', maxRetries: 0 });
const chat = 'hangar-labs/tiny-chat-gguf', onnx = 'hangar-labs/tiny-chat', whisper = 'hangar-labs/whisper-digits', embedder = 'hangar-labs/tiny-embed';
const cases = reference('tiny-chat-gguf').files['tiny-chat-Q8_0.gguf'];
const [first] = cases;
const all = async (pieces) => {
  const list = [];
  for await (const p of pieces) list.push(p);
  return list;
};

test('models, one by one and all', async () => {
  const ids = (await all(client.models.list())).map((m) => m.id);
  for (const id of [chat, onnx, whisper, embedder]) assert.ok(ids.includes(id), id);
  const one = await client.models.retrieve(chat);
  assert.deepEqual([one.id, one.object, one.owned_by], [chat, 'model', 'hangar-labs']);
  assert.ok(Number.isInteger(one.created));
  assert.equal((await daemon.get(`/v1/models/${chat}`)).status, 200, 'with its slash as it is');
  await assert.rejects(client.models.retrieve('no/such'), OpenAI.NotFoundError);
});

test('chat gives the texts of the reference, from both engines, whole and in chunks', async () => {
  for (const model of [chat, onnx]) {
    for (const one of cases) {
      const ask = { model, messages: one.messages, temperature: 0 };
      const { data, response } = await client.chat.completions.create(ask).withResponse();
      assert.equal(data.choices[0].message.content, one.text);
      assert.equal(data.choices[0].finish_reason, one.finish);
      assert.equal(data.model, model);
      assert.equal(response.headers.get('x-hangar-model'), model);
      assert.equal(response.headers.get('x-hangar-fallback'), null);
      assert.equal(data.usage.total_tokens, data.usage.prompt_tokens + data.usage.completion_tokens);
      assert.ok(data.usage.completion_tokens > 0);
      const { data: chunks, response: head } = await client.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } }).withResponse();
      assert.match(head.headers.get('content-type'), /^text\/event-stream/);
      assert.equal(head.headers.get('x-hangar-model'), model);
      const list = await all(chunks);
      assert.equal(list[0].choices[0].delta.role, 'assistant');
      assert.equal(list.map((c) => c.choices[0]?.delta.content ?? '').join(''), one.text);
      assert.equal(list.at(-2).choices[0].finish_reason, one.finish);
      assert.deepEqual(list.at(-1).choices, []);
      assert.equal(list.at(-1).usage.completion_tokens, data.usage.completion_tokens);
      assert.ok(list.every((c) => c.object === 'chat.completion.chunk' && c.id === list[0].id && c.model === model));
    }
  }
});

test('a stream ends with [DONE], and without usage when none was asked for', async () => {
  const got = stream(daemon.url, '/v1/chat/completions', { model: chat, messages: first.messages, temperature: 0, stream: true });
  await got.done;
  const list = events(got.text);
  assert.equal(list.at(-1).data, '[DONE]');
  assert.ok(list.slice(0, -1).every((e) => e.data.usage === undefined));
});

test('stop, seed and max_tokens do what they say', async () => {
  const ask = (more) => client.chat.completions.create({ model: chat, messages: [{ role: 'user', content: 'Count from 3 to 12' }], ...more });
  const stopped = await ask({ temperature: 0, stop: ', 6' });
  assert.deepEqual([stopped.choices[0].message.content, stopped.choices[0].finish_reason], ['3, 4, 5', 'stop']);
  assert.equal((await ask({ temperature: 0, stop: ['9', '5'] })).choices[0].message.content, '3, 4, ');
  const short = await ask({ temperature: 0, max_completion_tokens: 3, max_tokens: 9 });
  assert.deepEqual([short.choices[0].finish_reason, short.usage.completion_tokens], ['length', 3]);
  const free = { temperature: 5, top_p: 1, top_k: 0, min_p: 0, max_tokens: 20 };
  const hot = () => ask({ ...free, seed: 42 }).then((r) => r.choices[0].message.content);
  assert.equal(await hot(), await hot());
  const others = await Promise.all([1, 2, 3].map((seed) => ask({ ...free, seed })));
  assert.ok(new Set(others.map((o) => o.choices[0].message.content)).size > 1);
});

test('roles and parts of text', async () => {
  const [{ content }] = first.messages;
  const parts = await client.chat.completions.create({ model: chat, temperature: 0, messages: [{ role: 'user', content: [{ type: 'text', text: content }] }] });
  assert.equal(parts.choices[0].message.content, first.text);
  const echo = (messages) => fake.chat.completions.create({ model: 'fake/echo', messages }).then((r) => r.choices[0].message.content);
  assert.equal(await echo([{ role: 'developer', content: 'x' }, { role: 'user', content: [{ type: 'text', text: 'é"\n' }, { type: 'text', text: '*=echo 😀' }] }]), 'é"\n\n*=echo 😀');
});

test('logprobs, whole and in chunks', async () => {
  const ask = { model: chat, messages: first.messages, temperature: 0, logprobs: true, top_logprobs: 3 };
  const { choices: [whole] } = await client.chat.completions.create(ask);
  const list = whole.logprobs.content;
  assert.equal(list.map((t) => t.token).join(''), first.text);
  assert.equal(list[0].top_logprobs.length, 3);
  for (const [i, [, logprob]] of first.first_token_top3.entries())
    assert.ok(Math.abs(list[0].top_logprobs[i].logprob - logprob) < 0.2, `${list[0].top_logprobs[i].logprob} is not ${logprob}`);
  assert.equal(list[0].logprob, list[0].top_logprobs[0].logprob);
  assert.deepEqual(list[0].bytes, [...Buffer.from(list[0].token)]);
  const chunks = await all(await client.chat.completions.create({ ...ask, stream: true }));
  assert.deepEqual(chunks.flatMap((c) => c.choices[0].logprobs?.content ?? []).map((t) => t.token), list.map((t) => t.token));
});

test('completions take the prompt as it is', async () => {
  const { rendered } = reference('tiny-chat').prompts[0];
  const ask = { model: chat, prompt: rendered, temperature: 0 };
  const whole = await client.completions.create(ask);
  assert.deepEqual([whole.choices[0].text, whole.choices[0].finish_reason, whole.object], [first.text, 'stop', 'text_completion']);
  assert.equal((await client.completions.create({ ...ask, prompt: [rendered] })).choices[0].text, first.text);
  const chunks = await all(await client.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } }));
  assert.equal(chunks.map((c) => c.choices[0]?.text ?? '').join(''), first.text);
  assert.equal(chunks.at(-2).choices[0].finish_reason, 'stop');
  assert.equal(chunks.at(-1).usage.completion_tokens, whole.usage.completion_tokens);
  const long = await client.completions.create({ model: chat, prompt: rendered, temperature: 5, seed: 3 });
  assert.ok(long.usage.completion_tokens <= 16, 'the default of the dialect');
  const { choices: [{ logprobs }] } = await client.completions.create({ ...ask, logprobs: 2 });
  assert.equal(logprobs.tokens.join(''), first.text);
  assert.equal(logprobs.text_offset[1], logprobs.tokens[0].length);
  assert.equal(Object.keys(logprobs.top_logprobs[0]).length, 2);
  await assert.rejects(client.completions.create({ ...ask, prompt: [1, 2] }), OpenAI.BadRequestError);
  await assert.rejects(client.completions.create({ ...ask, prompt: ['a', 'b'] }), OpenAI.BadRequestError);
  await assert.rejects(client.completions.create({ ...ask, echo: true }), (e) => e.param === 'echo');
});

test('embeddings are those of the reference, as floats and as base64', async () => {
  const { sentences } = reference('tiny-embed'), input = sentences.map((s) => s.text);
  const far = (a, b) => Math.max(...a.map((x, i) => Math.abs(x - b[i])));
  const raw = await daemon.post('/v1/embeddings', { model: embedder, input, encoding_format: 'float' });
  for (const more of [{}, { encoding_format: 'float' }, { encoding_format: 'base64' }, { dimensions: 96 }]) {
    const got = await client.embeddings.create({ model: embedder, input, ...more });
    assert.equal(got.data.length, input.length);
    for (const [i, one] of got.data.entries()) {
      const vector = typeof one.embedding === 'string' ? [...new Float32Array(new Uint8Array(Buffer.from(one.embedding, 'base64')).buffer)] : one.embedding;
      assert.ok(far(vector, sentences[i].embedding) < 1e-4, input[i]);
      assert.ok(far(vector, raw.json.data[i].embedding) < 1e-6, 'each way has the same floats');
      assert.equal(one.index, i);
    }
    assert.equal(got.usage.prompt_tokens, sentences.reduce((n, s) => n + s.input_ids.length, 0));
  }
  assert.equal((await client.embeddings.create({ model: embedder, input: 'one' })).data.length, 1);
  for (const bad of [{ dimensions: 5 }, { input: [1, 2] }, { input: [[1, 2]] }, { input: [] }, { encoding_format: 'int8' }])
    await assert.rejects(client.embeddings.create({ model: embedder, input: 'x', ...bad }), OpenAI.BadRequestError, JSON.stringify(bad));
});

test('transcriptions give what the clips say, in every format', async () => {
  for (const one of clips()) {
    const got = await client.audio.transcriptions.create({ model: whisper, file: createReadStream(clip(one.file)), language: 'en' });
    assert.equal(got.text, one.model_text, one.file);
  }
  const [one] = clips();
  const ask = (more) => client.audio.transcriptions.create({ model: whisper, file: createReadStream(clip(one.file)), ...more });
  assert.equal(await ask({ response_format: 'text' }), `${one.model_text}\n`);
  const verbose = await ask({ response_format: 'verbose_json', timestamp_granularities: ['segment'] });
  assert.deepEqual([verbose.task, verbose.language, verbose.text], ['transcribe', 'en', one.model_text]);
  assert.ok(Math.abs(verbose.duration - one.seconds) < 0.1);
  assert.equal(verbose.segments.map((s) => s.text).join(' '), one.model_text);
  assert.ok(verbose.segments.every((s, i) => s.id === i && s.end >= s.start));
  const time = (s, point) => new Date(Math.round(s * 1000)).toISOString().slice(11, 23).replace('.', point);
  const cues = (point, number) => verbose.segments.map((s, i) => `${number ? `${i + 1}\n` : ''}${time(s.start, point)} --> ${time(s.end, point)}\n${s.text}\n\n`).join('');
  assert.equal(await ask({ response_format: 'srt' }), cues(',', true));
  assert.equal(await ask({ response_format: 'vtt' }), `WEBVTT\n\n${cues('.', false)}`);
  const heard = await all(await ask({ stream: true }));
  assert.equal(heard.filter((e) => e.type === 'transcript.text.delta').map((e) => e.delta).join(''), one.model_text);
  assert.deepEqual([heard.at(-1).type, heard.at(-1).text], ['transcript.text.done', one.model_text]);
});

test('what audio routes refuse', async () => {
  const [one] = clips();
  const ask = (more) => client.audio.transcriptions.create({ model: whisper, file: createReadStream(clip(one.file)), ...more });
  for (const bad of [{ response_format: 'ass' }, { temperature: 0.5 }, { timestamp_granularities: ['word'], response_format: 'verbose_json' }, { language: 'klingon' },
    { stream: true, response_format: 'srt' }])
    await assert.rejects(ask(bad), OpenAI.BadRequestError, JSON.stringify(bad));
  await assert.rejects(ask({ file: await toFile(Buffer.from('this is no sound'), 'x.wav') }), (e) => e.status >= 400 && e.status < 500);
  await assert.rejects(ask({ model: 'no/such' }), OpenAI.NotFoundError);
  await assert.rejects(ask({ model: embedder }), (e) => e instanceof OpenAI.APIError);
  const file = await toFile(readFileSync(clip(one.file)), 'a.wav');
  await assert.rejects(client.audio.translations.create({ model: 'no/such', file }), OpenAI.NotFoundError);
  await assert.rejects(client.audio.translations.create({ model: whisper, file, response_format: 'ass' }), OpenAI.BadRequestError);
});

test('responses: a text, its events, its state that is not kept', async () => {
  const [{ content }] = first.messages;
  const ask = { model: chat, input: content, temperature: 0 };
  const whole = await client.responses.create({ ...ask, store: true, metadata: { a: 'b' } });
  assert.deepEqual([whole.object, whole.status, whole.output_text, whole.store], ['response', 'completed', first.text, false]);
  assert.deepEqual(whole.metadata, { a: 'b' });
  assert.equal(whole.usage.total_tokens, whole.usage.input_tokens + whole.usage.output_tokens);
  const list = await all(await client.responses.create({ ...ask, stream: true }));
  assert.deepEqual(list.map((e) => e.sequence_number), list.map((_, i) => i));
  const types = list.map((e) => e.type), deltas = types.filter((t) => t === 'response.output_text.delta');
  assert.deepEqual(types, ['response.created', 'response.in_progress', 'response.output_item.added', 'response.content_part.added', ...deltas,
    'response.output_text.done', 'response.content_part.done', 'response.output_item.done', 'response.completed']);
  assert.equal(list.filter((e) => e.delta !== undefined).map((e) => e.delta).join(''), first.text);
  assert.equal(list.at(-1).response.output[0].content[0].text, first.text);
  assert.equal(list.at(-1).response.usage.output_tokens, whole.usage.output_tokens);
  const run = client.responses.stream(ask);
  assert.equal((await run.finalResponse()).output_text, first.text, 'the client puts it together');
  const cut = await client.responses.create({ ...ask, max_output_tokens: 2 });
  assert.deepEqual([cut.status, cut.incomplete_details.reason], ['incomplete', 'max_output_tokens']);
  const talk = await client.responses.create({ model: chat, temperature: 0, input: [{ role: 'user', content: [{ type: 'input_text', text: content }] }] });
  assert.equal(talk.output_text, first.text);
  await assert.rejects(client.responses.retrieve(whole.id), OpenAI.NotFoundError);
  await assert.rejects(client.responses.delete(whole.id), OpenAI.NotFoundError);
  await assert.rejects(client.responses.create({ ...ask, previous_response_id: whole.id }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'previous_response_id');
  await assert.rejects(client.responses.create({ ...ask, tools: [{ type: 'web_search' }] }), OpenAI.BadRequestError);
});

const weather = { name: 'weather', description: 'of a city', parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } };

test('tool calls, whole and in chunks, and their answers', async () => {
  const ask = { model: 'fake/echo', messages: [{ role: 'user', content: '*=tool' }], tools: [{ type: 'function', function: weather }], parallel_tool_calls: true };
  const { choices: [whole] } = await fake.chat.completions.create(ask);
  assert.equal(whole.finish_reason, 'tool_calls');
  assert.deepEqual([whole.message.content, whole.message.tool_calls[0].function.name], [null, 'weather']);
  assert.deepEqual(JSON.parse(whole.message.tool_calls[0].function.arguments), { city: 'Paris' });
  const chunks = await all(await fake.chat.completions.create({ ...ask, stream: true }));
  const [call] = chunks.flatMap((c) => c.choices[0].delta.tool_calls ?? []);
  assert.deepEqual([call.index, call.type, call.function.name, call.function.arguments], [0, 'function', 'weather', '{"city":"Paris"}']);
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'tool_calls');
  const next = await fake.chat.completions.create({
    ...ask, messages: [...ask.messages, whole.message, { role: 'tool', tool_call_id: whole.message.tool_calls[0].id, content: '*=echo sunny' }],
  });
  assert.equal(next.choices[0].message.content, '*=echo sunny');
  const response = await fake.responses.create({ model: 'fake/echo', input: '*=tool', tools: [{ type: 'function', strict: true, ...weather }] });
  assert.deepEqual(response.output.map((o) => [o.type, o.name, o.arguments]), [['function_call', 'weather', '{"city":"Paris"}']]);
  const list = await all(await fake.responses.create({ model: 'fake/echo', input: '*=tool', stream: true, tools: [{ type: 'function', strict: true, ...weather }] }));
  assert.ok(list.some((e) => e.type === 'response.function_call_arguments.done' && e.arguments === '{"city":"Paris"}'));
  assert.equal(list.at(-1).type, 'response.completed');
});

test('a real model is held to a call by its grammar', async () => {
  const parameters = { type: 'object', properties: { city: { enum: ['Paris', 'Rome'] } }, required: ['city'], additionalProperties: false };
  const ask = { model: chat, messages: first.messages, temperature: 0, max_tokens: 100, tools: [{ type: 'function', function: { ...weather, parameters } }] };
  for (const tool_choice of ['required', { type: 'function', function: { name: 'weather' } }]) {
    const { choices: [{ message, finish_reason }] } = await client.chat.completions.create({ ...ask, tool_choice });
    assert.equal(finish_reason, 'tool_calls');
    assert.equal(message.tool_calls.length, 1);
    assert.equal(message.tool_calls[0].function.name, 'weather');
    assert.ok(['Paris', 'Rome'].includes(JSON.parse(message.tool_calls[0].function.arguments).city));
  }
  const chunks = await all(await client.chat.completions.create({ ...ask, tool_choice: 'required', stream: true }));
  assert.equal(chunks.flatMap((c) => c.choices[0].delta.tool_calls ?? []).length, 1);
  const none = await client.chat.completions.create({ ...ask, tool_choice: 'none' });
  assert.equal(none.choices[0].message.content, first.text);
  await assert.rejects(client.chat.completions.create({ ...ask, tool_choice: { type: 'function', function: { name: 'other' } } }), OpenAI.BadRequestError);
});

test('JSON by schema and by itself', async () => {
  const schema = { type: 'object', properties: { n: { enum: [3, 7] } }, required: ['n'], additionalProperties: false };
  const { messages, text } = cases.find((c) => c.text.startsWith('{'));
  const ask = (response_format, more) => client.chat.completions.create({ model: chat, messages, temperature: 0, max_tokens: 200, response_format, ...more });
  const one = JSON.parse((await ask({ type: 'json_schema', json_schema: { name: 'n', schema } })).choices[0].message.content);
  assert.ok([3, 7].includes(one.n));
  assert.deepEqual(JSON.parse((await ask({ type: 'json_object' })).choices[0].message.content), JSON.parse(text));
  assert.match((await ask({ type: 'json_object' }, { messages: first.messages, max_tokens: 5 })).choices[0].message.content, /^\s*\{/, 'whatever the question');
  for (const bad of [{ type: 'nonsense' }, { type: 'integer', minimum: 3 }])
    await assert.rejects(ask({ type: 'json_schema', json_schema: { name: 'n', schema: bad } }), OpenAI.BadRequestError, JSON.stringify(bad));
  await assert.rejects(ask({ type: 'xml' }), OpenAI.BadRequestError);
});

test('errors have the classes of the client, and name the field', async () => {
  const ask = (more) => client.chat.completions.create({ model: chat, messages: first.messages, ...more });
  await assert.rejects(ask({ model: 'no/such' }), (e) => e instanceof OpenAI.NotFoundError && e.code === 'model_not_found');
  for (const [bad, param] of [
    [{ n: 2 }, 'n'], [{ temperature: -1 }, 'temperature'], [{ temperature: 'hot' }, 'temperature'], [{ top_p: 2 }, 'top_p'], [{ max_tokens: 0 }, 'max_tokens'],
    [{ logit_bias: { 5: 1 } }, 'logit_bias'], [{ messages: [] }, 'messages'], [{ messages: undefined }, 'messages'], [{ model: undefined }, 'model'],
    [{ stop: [''] }, 'stop'], [{ stream: 'yes' }, 'stream'], [{ presence_penalty: 3 }, 'presence_penalty'], [{ seed: 1.5 }, 'seed'],
    [{ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'http://127.0.0.1:1/x.png' } }] }] }, 'messages[0].content[0]'],
  ])
    await assert.rejects(ask(bad), (e) => {
      assert.ok(e instanceof OpenAI.BadRequestError, `${JSON.stringify(bad)}: ${e.status} ${e.message}`);
      assert.equal(e.param, param, e.message);
      return true;
    });
  assert.equal((await ask({ max_tokens: 1, nonsense: { a: 1 }, user: 'me', service_tier: 'auto' })).choices.length, 1, 'what nobody knows is passed over');
  await assert.rejects(ask({ messages: [{ role: 'user', content: 'word '.repeat(5000) }] }), (e) => e.status === 400 && e.code === 'context_length_exceeded' && /tokens/.test(e.message));
});

test('a failure before the first byte is a status, in mid-stream an event without [DONE]', async () => {
  const ask = (model, what, more) => fake.chat.completions.create({ model: `fake/${model}`, messages: [{ role: 'user', content: `*=${what}` }], ...more });
  const tools = [{ type: 'function', function: weather }]; // an answer that nobody else may go on with
  await assert.rejects(ask('echo', 'refuse'), (e) => e.status >= 400 && e.status < 500);
  await assert.rejects(ask('crash', 'crash-before', { stream: true }), OpenAI.InternalServerError);
  const got = stream(faked.url, '/v1/chat/completions', { model: 'fake/cut', messages: [{ role: 'user', content: '*=crash-mid' }], tools, stream: true });
  await got.done;
  assert.equal(got.status, 200);
  assert.match(events(got.text).at(-1).data.error.message, /\w/);
  assert.ok(!got.text.includes('[DONE]'));
  await assert.rejects(async () => all(await ask('cut2', 'crash-mid', { stream: true, tools })), OpenAI.APIError);
  const failed = await all(await fake.responses.create({ model: 'fake/cut3', input: '*=crash-mid', stream: true }));
  assert.equal(failed.at(-1).type, 'response.failed');
  assert.match(failed.at(-1).response.error.message, /\w/);
});

test('who stands in is named', async () => {
  const { data, response } = await fake.chat.completions.create({ model: 'broken', messages: [{ role: 'user', content: '*=echo hi' }] }).withResponse();
  assert.deepEqual([data.model, response.headers.get('x-hangar-model'), response.headers.get('x-hangar-fallback')], ['helper', 'helper', '1']);
});

test('a client that leaves ends the generation', async () => {
  const ask = { model: 'fake/endless', messages: [{ role: 'user', content: '*=endless' }] };
  const free = async () => (await fake.chat.completions.create({ ...ask, messages: [{ role: 'user', content: '*=echo' }] }, { timeout: 60000 })).choices[0].message.content;
  const run = await fake.chat.completions.create({ ...ask, stream: true });
  for await (const chunk of run) if (chunk.choices[0].delta.content) break; // which aborts it
  assert.equal(await free(), '*=echo');
  const whole = new AbortController();
  const gone = fake.chat.completions.create(ask, { signal: whole.signal });
  setTimeout(() => whole.abort(), 200);
  await assert.rejects(gone, OpenAI.APIUserAbortError);
  assert.equal(await free(), '*=echo');
  const response = await fake.responses.create({ model: 'fake/endless', input: '*=endless', stream: true });
  for await (const event of response) if (event.type === 'response.output_text.delta') break;
  assert.equal(await free(), '*=echo');
});
