// SPDX-License-Identifier: Apache-2.0
// A cloud on loopback that speaks as OpenAI, Gemini and Anthropic do, and breaks on command. Import it, or run it to play with:
//
//     node tests/support/fakecloud.mjs [PORT] [KIND]           e.g.  8088 overloaded
//
// The dialect follows from the path. Every request is in `requests` ({dialect, method, path, headers, json, raw, stream, closed}); `closed`
// becomes true when the client goes before the answer is out.
//
//     const cloud = await fakeCloud({ text: 'Hello there' });
//     cloud.next({ kind: 'rate', retryAfter: 7 });    // the next request
//     cloud.next({ text: 'Other words' });            // the one after it
//     cloud.always = { kind: 'stall', after: 1 };     // all that follow
//
// A reply is {text, tools, finish, usage, thought, pause} (what is left out is the cloud's own; text may be a list of pieces; tools is
// [{id, name, arguments}]; pause is milliseconds between pieces), and with `kind` one of `faults` below; each says what it does.
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import zlib from 'node:zlib';

const pieces = (text) => (Array.isArray(text) ? text : text.match(/\S+\s*|\s+/g) ?? []);
const words = { 400: 'bad request', 401: 'wrong key', 403: 'not for you', 404: 'no such model', 429: 'slow down', 500: 'it broke', 503: 'not now', 529: 'Overloaded' };
const types = { 400: 'invalid_request_error', 401: 'authentication_error', 403: 'permission_error', 404: 'not_found_error', 429: 'rate_limit_error', 500: 'api_error', 503: 'api_error', 529: 'overloaded_error' };

// ---- what each dialect looks like ----

const openai = {
  finishes: { stop: 'stop', length: 'length', tool_calls: 'tool_calls', content_filter: 'content_filter' },
  chunk: (json, choices, more = {}) => ({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1700000000, model: json.model, choices, ...more }),
  *events(json, r) {
    const delta = (d, finish = null) => ({ data: openai.chunk(json, [{ index: 0, delta: d, logprobs: null, finish_reason: finish }]) });
    yield delta({ role: 'assistant', content: '' });
    if (r.thought) yield delta({ reasoning_content: r.thought });
    for (const p of pieces(r.text)) yield { ...delta({ content: p }), piece: true };
    for (const [index, t] of r.tools.entries()) {
      const args = JSON.stringify(t.arguments), half = args.length >> 1;
      yield delta({ tool_calls: [{ index, id: t.id, type: 'function', function: { name: t.name, arguments: '' } }] });
      for (const a of [args.slice(0, half), args.slice(half)]) yield delta({ tool_calls: [{ index, function: { arguments: a } }] });
    }
    yield delta({}, openai.finishes[r.finish]);
    const usage = { prompt_tokens: r.usage[0], completion_tokens: r.usage[1], total_tokens: r.usage[0] + r.usage[1] };
    if (json.stream_options?.include_usage) yield { data: openai.chunk(json, [], { usage }) };
    yield { data: '[DONE]' };
  },
  whole: (json, r) => ({
    id: 'chatcmpl-1', object: 'chat.completion', created: 1700000000, model: json.model,
    choices: [{
      index: 0, finish_reason: openai.finishes[r.finish], logprobs: null,
      message: {
        role: 'assistant', content: pieces(r.text).join(''), refusal: null,
        ...(r.tools.length ? { tool_calls: r.tools.map((t) => ({ id: t.id, type: 'function', function: { name: t.name, arguments: JSON.stringify(t.arguments) } })) } : {}),
      },
    }],
    usage: { prompt_tokens: r.usage[0], completion_tokens: r.usage[1], total_tokens: r.usage[0] + r.usage[1] },
  }),
  error: (status, message) => ({ error: { message, type: types[status], param: null, code: null } }),
  broken: (message) => ({ data: { error: { message, type: 'server_error', param: null, code: null } } }),
};

const gemini = {
  finishes: { stop: 'STOP', length: 'MAX_TOKENS', tool_calls: 'STOP', content_filter: 'SAFETY' },
  chunk: (json, parts, r, finish) => ({
    candidates: [{ content: { role: 'model', parts }, index: 0, ...(finish ? { finishReason: finish } : {}) }],
    usageMetadata: { promptTokenCount: r.usage[0], candidatesTokenCount: r.usage[1], totalTokenCount: r.usage[0] + r.usage[1] },
    modelVersion: 'fake', responseId: 'r1',
  }),
  *events(json, r) {
    if (r.thought) yield { data: gemini.chunk(json, [{ text: r.thought, thought: true }], r) };
    for (const p of pieces(r.text)) yield { data: gemini.chunk(json, [{ text: p }], r), piece: true };
    if (r.tools.length) yield { data: gemini.chunk(json, r.tools.map((t) => ({ functionCall: { name: t.name, args: t.arguments } })), r) };
    yield { data: gemini.chunk(json, [{ text: '' }], r, gemini.finishes[r.finish]) };
  },
  whole: (json, r) => gemini.chunk(json, [...pieces(r.text).map((text) => ({ text })), ...r.tools.map((t) => ({ functionCall: { name: t.name, args: t.arguments } }))], r, gemini.finishes[r.finish]),
  error: (status, message) => ({ error: { code: status, message, status: 'FAKE' } }),
  broken: (message) => ({ data: { error: { code: 500, message, status: 'INTERNAL' } } }),
};

const anthropic = {
  finishes: { stop: 'end_turn', length: 'max_tokens', tool_calls: 'tool_use', content_filter: 'refusal' },
  event: (type, more) => ({ event: type, data: { type, ...more } }),
  *events(json, r) {
    const e = anthropic.event;
    let index = 0;
    yield e('message_start', { message: { id: 'msg_1', type: 'message', role: 'assistant', model: json.model, content: [], stop_reason: null, stop_sequence: null, usage: { input_tokens: r.usage[0], output_tokens: 1 } } });
    yield e('ping', {});
    if (r.thought) {
      yield e('content_block_start', { index, content_block: { type: 'thinking', thinking: '', signature: '' } });
      yield e('content_block_delta', { index, delta: { type: 'thinking_delta', thinking: r.thought } });
      yield e('content_block_stop', { index: index++ });
    }
    if (pieces(r.text).length) {
      yield e('content_block_start', { index, content_block: { type: 'text', text: '' } });
      for (const p of pieces(r.text)) yield { ...e('content_block_delta', { index, delta: { type: 'text_delta', text: p } }), piece: true };
      yield e('content_block_stop', { index: index++ });
    }
    for (const t of r.tools) {
      const args = JSON.stringify(t.arguments), half = args.length >> 1;
      yield e('content_block_start', { index, content_block: { type: 'tool_use', id: t.id, name: t.name, input: {} } });
      for (const partial_json of ['', args.slice(0, half), args.slice(half)]) yield e('content_block_delta', { index, delta: { type: 'input_json_delta', partial_json } });
      yield e('content_block_stop', { index: index++ });
    }
    yield e('message_delta', { delta: { stop_reason: anthropic.finishes[r.finish], stop_sequence: null }, usage: { output_tokens: r.usage[1] } });
    yield e('message_stop', {});
  },
  whole: (json, r) => ({
    id: 'msg_1', type: 'message', role: 'assistant', model: json.model, stop_reason: anthropic.finishes[r.finish], stop_sequence: null,
    content: [...(pieces(r.text).length ? [{ type: 'text', text: pieces(r.text).join('') }] : []), ...r.tools.map((t) => ({ type: 'tool_use', id: t.id, name: t.name, input: t.arguments }))],
    usage: { input_tokens: r.usage[0], output_tokens: r.usage[1] },
  }),
  error: (status, message) => ({ type: 'error', error: { type: types[status], message }, request_id: 'req_1' }),
  broken: (message) => anthropic.event('error', { error: { type: 'overloaded_error', message } }),
};

const dialects = { openai, gemini, anthropic };
const dialectOf = (path) => (path.includes('/chat/completions') ? 'openai' : /:(stream)?generateContent/i.test(path) ? 'gemini' : path.endsWith('/messages') ? 'anthropic' : null);
const line = (e) => (e.event ? `event: ${e.event}\n` : '') + `data: ${typeof e.data === 'string' ? e.data : JSON.stringify(e.data)}\n\n`;

// ---- what can go wrong ----

const refused = (status) => async (cloud, r, d, request, res) => {
  const headers = { 'Content-Type': 'application/json' };
  if (r.retryAfter !== undefined) headers['Retry-After'] = String(r.retryAfter);
  res.writeHead(status, headers).end(JSON.stringify(dialects[d].error(status, r.message ?? words[status])));
};

// Each: (cloud, reply, dialect, request, res) -> answers. `after` counts pieces of text that come before it happens (default 0).
export const faults = {
  bad: refused(400),
  key: refused(401),
  denied: refused(403),
  missing: refused(404),
  rate: refused(429), // with `retryAfter`, seconds or a date
  broken: refused(500),
  unavailable: refused(503),
  overloaded: refused(529),
  // The connection is reset before a byte of an answer.
  async reset(cloud, r, d, request, res) { res.socket.resetAndDestroy?.() ?? res.socket.destroy(); },
  // Nothing comes for `pause` milliseconds, then all; without `pause` nothing comes ever.
  async slow(cloud, r, d, request, res) { if (r.pause === undefined) await cloud.hang(res); else { await sleep(r.pause); await stream(cloud, { ...r, pause: 0 }, d, request, res); } },
  // The head, and then signs of life without an answer, for ever.
  async pings(cloud, r, d, request, res) {
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    while (!res.destroyed && !cloud.closed) { res.write(': ping\n\n'); await sleep(20); }
  },
  // After some pieces nothing more.
  async stall(cloud, r, d, request, res) { await stream(cloud, r, d, request, res, () => cloud.hang(res)); },
  // After some pieces the connection is over, in mid-stream.
  async cut(cloud, r, d, request, res) { await stream(cloud, r, d, request, res, () => res.write('', () => res.socket?.destroy())); },
  // The same, but as if it were the proper end of the body.
  async short(cloud, r, d, request, res) { await stream(cloud, r, d, request, res, () => res.end()); },
  // The service's own event of an error.
  async error(cloud, r, d, request, res) { await stream(cloud, r, d, request, res, () => res.end(line(dialects[d].broken(r.message ?? 'it broke in the middle')))); },
  // An event that is no JSON.
  async garbage(cloud, r, d, request, res) { await stream(cloud, r, d, request, res, () => res.end('data: {"cut": \n\n')); },
  // One line that never ends.
  async endless(cloud, r, d, request, res) {
    await stream(cloud, r, d, request, res, async () => {
      res.write('data: ');
      while (!res.destroyed && !cloud.closed) if (!res.write('x'.repeat(65536))) await new Promise((go) => { res.once('drain', go); res.once('close', go); });
    });
  },
  // An event of ten MiB, in lines that are none too long.
  async huge(cloud, r, d, request, res) {
    await stream(cloud, r, d, request, res, async () => {
      for (let i = 0; i < 160 && !res.destroyed; i++) res.write(`data: ${'x'.repeat(65536)}\n`);
      res.end('\n');
    });
  },
  // Events that are none of the dialect's, before the answer.
  async foreign(cloud, r, d, request, res) {
    await stream(cloud, { ...r, before: ['event: execute\ndata: {"type":"execute","code":"<script>alert(1)</script>"}\n\n', 'event: x\ndata: []\n\n', 'data: {"object":"news","choices":null,"text":"no"}\n\n', 'retry: 1\nid: 7\n\n', 'data: "text"\n\n'] }, d, request, res);
  },
  // A body that is compressed, although nobody asked for it.
  async zipped(cloud, r, d, request, res) {
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Content-Encoding': 'gzip' }).end(zlib.gzipSync([...dialects[d].events(request.json, r)].map(line).join('')));
  },
  // Another content type than a stream's.
  async type(cloud, r, d, request, res) { res.writeHead(200, { 'Content-Type': 'text/html' }).end('<html>login</html>'); },
  // A redirect to `location`.
  async redirect(cloud, r, d, request, res) { res.writeHead(307, { Location: r.location ?? cloud.url }).end(); },
  // More headers than anybody needs.
  async headers(cloud, r, d, request, res) { for (let i = 0; i < 600; i++) res.setHeader(`x-${i}`, 'x'.repeat(80)); res.writeHead(200).end(); },
  // The whole answer, and then the connection stays open.
  async open(cloud, r, d, request, res) { await stream(cloud, r, d, request, res, null, () => cloud.hang(res)); },
};

// The stream of a reply; `fault` happens in place of what follows `after` pieces.
async function stream(cloud, r, d, request, res, fault = null, end = () => res.end()) {
  let left = r.after ?? 0;
  res.writeHead(200, { 'Content-Type': 'text/event-stream' });
  res.socket?.setNoDelay(true);
  for (const foreign of r.before ?? []) res.write(foreign);
  for (const e of dialects[d].events(request.json, r)) {
    if (fault && e.piece && left-- === 0) return fault();
    if (res.destroyed) return;
    res.write(line(e));
    if (r.pause) await sleep(r.pause);
  }
  if (fault) return fault();
  return end();
}

async function answer(cloud, r, d, request, res) {
  if (r.kind) return faults[r.kind](cloud, r, d, request, res);
  if (request.stream) return stream(cloud, r, d, request, res);
  res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(dialects[d].whole(request.json, r)));
}

async function bodyOf(req) {
  const parts = [];
  for await (const part of req) parts.push(part);
  return Buffer.concat(parts).toString('utf8');
}

export async function fakeCloud(own = {}) {
  const base = { text: 'Hello from the cloud', tools: [], finish: null, usage: [11, 5], ...own };
  const queue = [];
  const cloud = { requests: [], always: null, closed: false, sockets: new Set(), connections: 0 };
  cloud.next = (...replies) => queue.push(...replies);
  // Until the client or the test goes.
  cloud.hang = (res) => new Promise((go) => { res.on('close', go); cloud.release.push(go); });
  cloud.release = [];
  const server = http.createServer(async (req, res) => {
    const raw = await bodyOf(req).catch(() => '');
    let json = null;
    try { json = JSON.parse(raw); } catch { /* recorded as it is */ }
    const path = req.url, d = dialectOf(path.split('?')[0]);
    const request = { dialect: d, method: req.method, path, headers: req.headers, json, raw, closed: false, stream: json?.stream === true || /:streamGenerateContent/.test(path) };
    cloud.requests.push(request);
    res.on('close', () => { if (!res.writableFinished) request.closed = true; });
    if (!d || !json) return void res.writeHead(d ? 400 : 404, { 'Content-Type': 'application/json' }).end('{"error":{"message":"no such path"}}');
    const r = { ...base, ...(queue.shift() ?? cloud.always ?? {}) };
    r.finish ??= r.tools.length ? 'tool_calls' : 'stop';
    await answer(cloud, r, d, request, res);
  });
  server.keepAliveTimeout = 60000;
  server.on('connection', (socket) => { cloud.connections++; cloud.sockets.add(socket); socket.on('error', () => {}); socket.on('close', () => cloud.sockets.delete(socket)); });
  const listen = (port) => new Promise((go) => server.listen(port, '127.0.0.1', go));
  await listen(own.port ?? 0);
  cloud.port = server.address().port;
  cloud.url = `http://127.0.0.1:${cloud.port}`;
  // Connections are refused from here on, until `start`.
  cloud.stop = () => new Promise((go) => {
    for (const release of cloud.release.splice(0)) release();
    server.close(go);
    for (const socket of cloud.sockets) socket.destroy();
  });
  cloud.start = () => listen(cloud.port);
  cloud.close = async () => { cloud.closed = true; if (server.listening) await cloud.stop(); };
  return cloud;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const cloud = await fakeCloud({ port: Number(process.argv[2] ?? 0) });
  if (process.argv[3]) cloud.always = { kind: process.argv[3] };
  console.log(`${cloud.url}/v1 (openai), ${cloud.url} (gemini, anthropic)`);
}
