// SPDX-License-Identifier: Apache-2.0
// A daemon of a test's own: `hangar serve` with a home, a store, a configuration and a free port, ended with the test.
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { models, ownHangar, program, runners } from './models.mjs';

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// Waits until fn() is true (or gives something); fails with `what` after `seconds`.
export async function until(what, fn, seconds = 30, every = 10) {
  for (const end = Date.now() + seconds * 1000; ;) {
    const got = await fn();
    if (got) return got;
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await sleep(every);
  }
}

// options: repos (starter models to add), config (text of hangar.yaml), args (of serve), env, program.
// Gives { url, port, socket, env, home, hangar, result, child, notes(), end(), get(path), post(path, body) }.
export async function serve(name, { repos = [], config = '', args = [], env = {}, own = ownHangar(name, ...repos), daemon = program } = {}) {
  const file = join(own.home, 'hangar.yaml');
  writeFileSync(file, config);
  const all = { ...own.env, HANGAR_CONFIG: file, HANGAR_SOCKET: join(own.home, 'hangar.sock'), ...env };
  const child = spawn(daemon, ['serve', '--listen', '127.0.0.1:0', ...args], { env: all, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '', notes = '';
  child.stderr.on('data', (d) => { notes += d; });
  const exited = new Promise((done) => child.on('close', (code, signal) => done({ code, signal })));
  const url = await new Promise((done, failed) => {
    child.stdout.on('data', (d) => {
      out += d;
      if (out.includes('\n')) done(out.split('\n')[0]);
    });
    exited.then((how) => failed(new Error(`hangar serve ended (${JSON.stringify(how)}): ${notes}`)));
  });
  const end = async (signal = 'SIGTERM') => {
    child.kill(signal);
    return exited;
  };
  process.on('exit', () => child.kill('SIGKILL'));
  const get = async (path, options) => {
    const got = await fetch(url + path, options);
    const text = await got.text();
    return { status: got.status, headers: got.headers, text, json: /json/.test(got.headers.get('content-type') ?? '') && text ? JSON.parse(text) : null };
  };
  const post = (path, body, options = {}) =>
    get(path, { method: 'POST', body: JSON.stringify(body), ...options, headers: { 'content-type': 'application/json', ...options.headers } });
  return {
    ...own, env: all, url, port: Number(new URL(url).port), socket: all.HANGAR_SOCKET, child, exited, notes: () => notes, end, get, post,
    hangar: (a, o) => own.hangar(a, { env: all, ...o }),
  };
}

// One request, its answer in pieces as they come: { status, headers, chunks, text, ended, error, destroy() }; `done` settles at the end.
export function stream(url, path, body, headers = {}) {
  const got = { status: 0, headers: {}, chunks: [], text: '', ended: false, error: null };
  got.done = new Promise((done) => {
    const req = http.request(url + path, { method: 'POST', headers: { 'content-type': 'application/json', ...headers } }, (res) => {
      got.status = res.statusCode;
      got.headers = res.headers;
      res.on('data', (d) => { got.chunks.push(String(d)); got.text += d; });
      res.on('end', () => { got.ended = true; done(got); });
      res.on('error', (e) => { got.error = e; done(got); });
    });
    req.on('error', (e) => { got.error = e; done(got); });
    req.end(JSON.stringify(body));
    got.destroy = () => req.destroy();
  });
  return got;
}

// The events of an SSE text: [{event, data}], data parsed where it is JSON.
export function events(text) {
  return text.split('\n\n').filter((block) => block.trim()).map((block) => {
    const one = { event: 'message', data: '' };
    for (const line of block.split('\n')) {
      if (line.startsWith('event: ')) one.event = line.slice(7);
      if (line.startsWith('data: ')) one.data += line.slice(6);
    }
    try { one.data = JSON.parse(one.data); } catch { /* as it is */ }
    return one;
  });
}

// The runners that live below a process: their ids.
export function runnersOf(pid) {
  const found = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      const comm = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (Number(parent) === pid && state !== 'Z' && comm.startsWith('hangar-runner')) found.push(Number(name));
    } catch { /* it ended meanwhile */ }
  }
  return found;
}

// A folder for HANGAR_RUNNERS whose llama runner is the scripted one of fakerunner.mjs, the others the real ones.
export function fakeRunners(home) {
  const dir = join(home, 'runners');
  mkdirSync(dir, { recursive: true });
  const script = join(dirname(fileURLToPath(import.meta.url)), 'fakerunner.mjs');
  const file = join(dir, 'hangar-runner-llama');
  writeFileSync(file, `#!/bin/sh\nexec '${process.execPath}' '${script}'\n`);
  chmodSync(file, 0o755);
  for (const other of ['hangar-runner-onnx', 'hangar-runner-convert']) symlinkSync(join(runners, other), join(dir, other));
  return dir;
}

// A model that the scripted runner plays: any GGUF file will do.
export function addFake(own, name) {
  const got = own.hangar(['add', join(models, 'hangar-labs/tiny-chat-gguf/tiny-chat-Q8_0.gguf'), '--as', `fake/${name}`]);
  if (got.status !== 0) throw new Error(`adding ${name}: ${got.stderr}`);
}
