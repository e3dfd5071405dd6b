// SPDX-License-Identifier: Apache-2.0
// A daemon that says what a test wants: an HTTP server on a unix socket.
import http from 'node:http';

// handle(request, response, body) answers; gives { requests, end() }. requests: what came, as { method, url, headers, body }.
export async function fakeDaemon(socket, handle) {
  const requests = [];
  const server = http.createServer((req, res) => {
    let text = '';
    req.on('data', (d) => { text += d; });
    req.on('end', () => {
      const body = text ? JSON.parse(text) : null;
      requests.push({ method: req.method, url: req.url, headers: req.headers, body });
      handle(req, res, body);
    });
  });
  await new Promise((done) => server.listen(socket, done));
  const end = () => new Promise((done) => { server.close(done); server.closeAllConnections(); });
  return { requests, end };
}

export function json(res, value, status = 200) {
  res.writeHead(status, { 'content-type': 'application/json' });
  res.end(JSON.stringify(value));
}

// Events [[name, data], ...] in pieces of `size` bytes.
export function events(res, list, { size = 7, end = true } = {}) {
  res.writeHead(200, { 'content-type': 'text/event-stream' });
  const text = list.map(([name, data]) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`).join('');
  for (let at = 0; at < text.length; at += size) res.write(text.slice(at, at + size));
  if (end) res.end();
}

export const slot = (name, state, more = {}) => ({
  name, state, ref: null, loader: null, task: null, memory: 0, pinned: false, wanted: false, idle_seconds: null, expires_in: null,
  progress: null, phase: null, error: null, waiting: 0, uses: 0, restarts: 0, pid: null, load_seconds: null, loaded_at: null, probed_at: null,
  ...more,
});
