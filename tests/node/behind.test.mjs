// SPDX-License-Identifier: Apache-2.0
// The programs of examples/behind, started by `hangar wait` when the model is ready; and what the systemd units rely on.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { ownHangar, program } from '../support/models.mjs';
import { runnersOf, serve, until } from '../support/serving.mjs';

const top = process.env.HANGAR_TOP, model = 'hangar-labs/tiny-chat-gguf';
let d;
before(async () => {
  d = await serve('behind', { repos: ['tiny-chat-gguf'], args: ['--preload', model] });
});
after(async () => {
  await d?.end();
  d?.remove();
});

// `hangar wait MODEL -- COMMAND`; resolves to the address that the program prints.
async function behind(...command) {
  const child = spawn(program, ['wait', model, '--', ...command, model, '0'], { cwd: top, env: { ...d.env, HANGAR_URL: d.url }, stdio: ['ignore', 'pipe', 'pipe'] });
  let err = '';
  child.stderr.on('data', (text) => { err += text; });
  process.on('exit', () => child.kill('SIGKILL'));
  const url = await new Promise((done, failed) => {
    child.stdout.once('data', (text) => done(String(text).trim()));
    child.on('close', () => failed(new Error(`${command.join(' ')}: ${err}`)));
  });
  // It has become the program: the same process.
  assert.match(readFileSync(`/proc/${child.pid}/cmdline`, 'utf8'), /api\.py|backend\.mjs/);
  return { url, child };
}

test('a Python API answers by the model that the daemon holds', async () => {
  const { url, child } = await behind('python3', 'examples/behind/api.py');
  const ask = (body) => fetch(url + '/answer', { method: 'POST', body: JSON.stringify(body) });
  const got = await ask({ question: 'Say hello' });
  const doc = await got.json();
  assert.equal(got.status, 200, JSON.stringify(doc));
  assert.ok(doc.answer.length > 0);
  assert.equal(doc.model, model);
  const all = await Promise.all(Array.from({ length: 8 }, () => ask({ question: 'Say hello' }).then((r) => r.json())));
  for (const one of all) assert.equal(one.answer, doc.answer);
  assert.equal((await ask({})).status, 400);
  const health = await (await fetch(url + '/health')).json();
  assert.equal(health.status, 'healthy');
  assert.equal(runnersOf(d.child.pid).length, 1); // all share one
  child.kill('SIGINT');
});

test('a Node backend streams, and its client\'s hanging up ends the generation', async () => {
  const { url, child } = await behind(process.execPath, 'examples/behind/backend.mjs');
  assert.equal((await fetch(url + '/ready')).status, 200);
  const got = await fetch(url + '/ask?q=Say+hello');
  assert.equal(got.status, 200);
  assert.equal(got.headers.get('x-model'), model);
  assert.ok((await got.text()).length > 0);
  assert.equal((await fetch(url + '/ask')).status, 404);
  for (let i = 0; i < 5; i++) {
    await new Promise((done) => {
      const req = http.get(url + '/ask?q=Say+hello', (res) => res.once('data', () => { req.destroy(); done(); }));
      req.on('error', done);
    });
  }
  await until('nothing is being answered', async () => (await d.get('/hangar/v1/ps')).json.models[0].state === 'ready');
  child.kill();
});

test('the configuration of the examples brings both up behind a daemon of their own', async () => {
  const own = ownHangar('behind-up', 'tiny-chat', 'tiny-chat-gguf'), dir = join(own.home, 'behind');
  mkdirSync(dir);
  for (const name of ['api.py', 'backend.mjs']) copyFileSync(join(top, 'examples/behind', name), join(dir, name));
  const config = readFileSync(join(top, 'examples/behind/hangar.yaml'), 'utf8').replace("'8000'", "'0'").replace("'8001'", "'0'");
  writeFileSync(join(dir, 'hangar.yaml'), config.replace('[node,', `['${process.execPath}',`));
  const child = spawn(program, ['up'], { env: { ...own.env, HANGAR_CONFIG: join(dir, 'hangar.yaml'), HANGAR_LISTEN: '127.0.0.1:0' }, stdio: ['ignore', 'pipe', 'pipe'] });
  process.on('exit', () => child.kill('SIGTERM'));
  let out = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { out += text; });
  const ended = new Promise((done) => child.on('close', (code) => done(code)));
  await until('both run', () => /^api \| http:/m.test(out) && /^backend \| http:/m.test(out), 60);
  child.kill('SIGINT');
  assert.equal(await ended, 0, out);
  own.remove();
});

test('the systemd units say what the daemon does', () => {
  const unit = (name) => readFileSync(join(top, 'packaging/systemd', name), 'utf8');
  const daemon = unit('hangar.service'), model = unit('hangar@.service');
  assert.match(daemon, /^Type=notify$/m);
  assert.match(daemon, /^ExecStart=\/usr\/bin\/hangar serve --grace 20s$/m);
  const seconds = (name) => Number(daemon.match(new RegExp(`^${name}=(\\d+)s$`, 'm'))[1]);
  assert.ok(seconds('TimeoutStopSec') > 20 && seconds('WatchdogSec') >= 10);
  for (const forbidden of ['MemoryDenyWriteExecute', 'PrivateDevices', 'PrivateNetwork', 'PrivateUsers']) assert.doesNotMatch(daemon, new RegExp(`^${forbidden}=`, 'm'));
  assert.match(model, /^Type=oneshot$/m);
  assert.match(model, /^RemainAfterExit=yes$/m);
  assert.match(model, /^ExecStart=\/usr\/bin\/hangar wait %I --timeout 180s$/m);
  const same = (name) => assert.equal(daemon.match(new RegExp(`^Environment=${name}=.*$`, 'm'))[0], model.match(new RegExp(`^Environment=${name}=.*$`, 'm'))[0]);
  for (const name of ['HOME', 'HANGAR_HOME', 'HANGAR_CONFIG', 'HANGAR_SOCKET']) same(name);
});
