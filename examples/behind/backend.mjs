// SPDX-License-Identifier: Apache-2.0
// A Node backend behind hangar: it streams answers on to its own clients, and stops a generation whose client has gone. No packages.
//
//     hangar serve --preload MODEL &
//     hangar wait MODEL -- node examples/behind/backend.mjs MODEL [PORT]
//
//     GET /ask?q=...    the answer as plain text, piece by piece
//     GET /ready        200 when hangar's preload models all answer
//
// HANGAR_URL is the daemon's address (http://127.0.0.1:4264 when it is not set), HANGAR_KEY a key, where it wants one.
import http from 'node:http';

const url = process.env.HANGAR_URL ?? 'http://127.0.0.1:4264';
const [model = 'tiny', port = '8001'] = process.argv.slice(2);
const headers = { 'content-type': 'application/json', accept: 'text/event-stream' };
if (process.env.HANGAR_KEY) headers.authorization = `Bearer ${process.env.HANGAR_KEY}`;

// The events of a stream, parsed, as they come.
async function* events(body) {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const piece of body) {
    rest += decoder.decode(piece, { stream: true });
    for (let end; (end = rest.indexOf('\n\n')) >= 0; rest = rest.slice(end + 2)) {
      const lines = rest.slice(0, end).split('\n');
      const name = lines.find((l) => l.startsWith('event: '))?.slice(7);
      yield { name, data: JSON.parse(lines.filter((l) => l.startsWith('data: ')).map((l) => l.slice(6)).join('\n')) };
    }
  }
}

async function ask(question, res) {
  const gone = new AbortController();
  res.on('close', () => gone.abort()); // hangar ends the generation when we hang up
  const body = JSON.stringify({ model, messages: [{ role: 'user', content: question }], max_tokens: 64, temperature: 0 });
  const answer = await fetch(`${url}/hangar/v1/generate`, { method: 'POST', headers, body, signal: gone.signal });
  if (!answer.ok) {
    res.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text());
    return;
  }
  res.writeHead(200, { 'content-type': 'text/plain; charset=utf-8', 'x-model': answer.headers.get('x-hangar-model') ?? '' });
  for await (const { name, data } of events(answer.body)) {
    if (name === 'text') res.write(data.text);
    if (name === 'error') return void res.destroy(new Error(data.error.message)); // a cut stream is no finished answer
  }
  res.end();
}

const server = http.createServer(async (req, res) => {
  const at = new URL(req.url, 'http://localhost');
  try {
    if (at.pathname === '/ready') {
      const got = await fetch(`${url}/ready`);
      res.writeHead(got.status, { 'content-type': 'application/json' }).end(await got.text());
    } else if (at.pathname === '/ask' && at.searchParams.get('q')) {
      await ask(at.searchParams.get('q'), res);
    } else {
      res.writeHead(404).end('GET /ask?q=... or /ready\n');
    }
  } catch (error) {
    if (res.destroyed) return;
    if (res.headersSent) res.destroy();
    else res.writeHead(502).end(`hangar cannot be reached: ${error.message}\n`);
  }
});
server.listen(Number(port), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
