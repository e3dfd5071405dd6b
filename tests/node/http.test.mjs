// SPDX-License-Identifier: Apache-2.0
// ctest: waits long
// The daemon's HTTP server over real sockets: what clients of all sorts see, honest ones and others. Its endpoints are those of
// tests/support/httpd.c.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import test, { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const top = process.env.HANGAR_TOP ?? fileURLToPath(new URL('../..', import.meta.url));
const build = process.env.HANGAR_BUILD ?? path.join(top, 'build');
const tool = path.join(build, 'tests/tool_httpd');
const sanitized = /^HANGAR_SANITIZE:\w+=\S/m.test(fs.readFileSync(path.join(build, 'CMakeCache.txt'), 'utf8')); // its memory says nothing
const here = fs.mkdtempSync(path.join(process.env.TMPDIR ?? '/tmp', 'http-'));
const started = [];
after(async () => {
    for (const s of started) await s.stop();
    fs.rmSync(here, { recursive: true, force: true });
});

// Starts a server; resolves to {url, port, socket, keys, stop}, or to {code, said} when it does not start.
function serve(...args) {
    const child = spawn(tool, args, { cwd: here, stdio: ['pipe', 'pipe', 'pipe'], env: { PATH: process.env.PATH, HOME: here, HANGAR_HOME: path.join(here, 'home') } });
    let said = '', out = '';
    const ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve(signal ?? code)));
    child.stderr.on('data', (piece) => (said += piece));
    child.stdin.on('error', () => {});
    return new Promise((resolve) => {
        child.stdout.on('data', (piece) => {
            out += piece;
            const lines = out.split('\n');
            const url = lines.find((l) => l.startsWith('listens '))?.slice(8);
            if (url === undefined || lines.length < 2) return;
            const server = {
                url, port: Number(url.split(':').pop()), pid: child.pid,
                keys: Object.fromEntries(lines.filter((l) => l.startsWith('key ')).map((l) => l.split(' ').slice(1))),
                stop: () => (child.stdin.end(), ended),
                kill: () => (child.kill('SIGKILL'), ended),
            };
            started.push(server);
            resolve(server);
        });
        ended.then((code) => resolve({ code, said }));
    });
}

// A connection: what came so far, and ways to wait for it.
function dial(server, options = {}) {
    const socket = net.connect(server.path ? { path: server.path } : { port: server.port, host: '127.0.0.1', ...options });
    const c = { socket, text: '', ended: false, error: null };
    const waiting = new Set();
    const changed = () => waiting.forEach((f) => f());
    socket.on('data', (piece) => ((c.text += piece.toString('latin1')), changed()));
    socket.on('error', (e) => ((c.error = e), (c.ended = true), changed()));
    socket.on('close', () => ((c.ended = true), changed()));
    c.send = (text) => (socket.write(text, 'latin1'), c);
    c.until = (what, seconds = 20) =>
        new Promise((resolve, reject) => {
            const timer = setTimeout(() => (waiting.delete(look), reject(new Error(`waited ${seconds} s for ${what}; there is: ${c.text.slice(0, 500)}`))), seconds * 1000);
            const look = () => {
                const done = typeof what === 'function' ? what(c) : c.text.match(what);
                if (!done) return c.ended && typeof what !== 'function' && (clearTimeout(timer), waiting.delete(look), reject(new Error(`it ended before ${what}; there is: ${c.text.slice(0, 500)}`)));
                clearTimeout(timer);
                waiting.delete(look);
                resolve(done);
            };
            waiting.add(look);
            look();
        });
    c.end = (seconds) => c.until((x) => x.ended, seconds).then(() => c.text);
    return c;
}
const host = (s) => `Host: 127.0.0.1:${s.port}\r\n`;
// One request as it is written, on a connection of its own; everything that comes back until the other side closes.
async function raw(server, text, seconds) {
    const c = dial(server).send(text);
    const all = await c.end(seconds);
    c.socket.destroy();
    return { status: Number(all.split(' ')[1] ?? 0), text: all };
}
const ask = (server, method, target, headers = '', body = '') =>
    raw(server, `${method} ${target} HTTP/1.1\r\n${/^host:/im.test(headers) ? '' : host(server)}Connection: close\r\n${headers}${body ? `Content-Length: ${Buffer.byteLength(body)}\r\n` : ''}\r\n${body}`);
const stats = async (server) => (await fetch(server.url + '/stats')).json();
const json = { 'content-type': 'application/json' };
// Waits until the figures are as wanted; resolves to the milliseconds that took.
async function stats_until(server, want, seconds = 20) {
    const began = performance.now();
    for (;;) {
        const s = await stats(server);
        if (want(s)) return performance.now() - began;
        if (performance.now() - began > seconds * 1000) assert.fail(`after ${seconds} s: ${JSON.stringify(s)}`);
        await sleep(2);
    }
}

test('answers, their headers, and what an endpoint sees', async () => {
    const s = await serve();
    const r = await fetch(s.url + '/v1/echo?q=a+b%26c&h=yes', { headers: { authorization: 'Bearer sk-secret', 'user-agent': 'me' } });
    assert.equal(r.status, 200);
    assert.match(r.headers.get('x-request-id'), /^[0-9a-f]{16}$/);
    assert.equal(r.headers.get('server'), 'hangar');
    assert.equal(r.headers.get('x-echo'), 'yes');
    assert.equal(r.headers.get('access-control-allow-origin'), null);
    assert.deepEqual(await r.json(), { endpoint: '/v1/echo', part: '', q: 'a b&c', agent: 'me', secret: null, body: null });
    const part = async (target) => (await (await fetch(s.url + target)).json());
    assert.equal((await part('/v1/echo/a%2Fb%20c')).part, 'a/b c');
    assert.equal((await part('/v1/echo/list')).endpoint, '/v1/echo/list');
    assert.equal((await part('/v1/rest/a/b/c')).part, 'a/b/c');
    const split = await ask(s, 'GET', '/v1/echo?h=a%0d%0aX-Evil:%201');
    assert.equal(split.status, 200);
    assert.doesNotMatch(split.text, /evil/i);
    const ids = new Set(await Promise.all(Array.from({ length: 500 }, async () => (await fetch(s.url + '/stats')).headers.get('x-request-id'))));
    assert.equal(ids.size, 500);
    const missing = await fetch(s.url + '/v1/nothing');
    assert.equal(missing.status, 404);
    assert.equal((await missing.json()).error.code, 'unknown_url');
    const put = await fetch(s.url + '/v1/echo/x', { method: 'PUT' });
    assert.equal(put.status, 405);
    assert.equal(put.headers.get('allow'), 'GET, HEAD, DELETE');
    assert.equal((await fetch(s.url + '/v1/echo/x', { method: 'DELETE' })).status, 200);
});

test('errors in the words of each dialect', async () => {
    const s = await serve();
    const fail = async (base, code, retry = 0) => {
        const r = await fetch(`${s.url}${base}/fail?code=${code}&retry=${retry}`);
        return [r.status, await r.json(), r.headers.get('retry-after')];
    };
    assert.deepEqual(await fail('/v1', 22, 3), [503, { error: { message: '"model" at ? is odd', type: 'server_error', param: null, code: 'overloaded' } }, '3']);
    assert.deepEqual(await fail('/v1', 7), [404, { error: { message: '"model" at ? is odd', type: 'invalid_request_error', param: 'model', code: 'model_not_found' } }, null]);
    assert.deepEqual(await fail('/api', 6), [400, { error: '"model" at ? is odd' }, null]);
    assert.deepEqual(await fail('/hangar/v1', 16), [413, { error: { code: 'limit', message: '"model" at ? is odd' } }, null]);
    assert.deepEqual(await fail('/hangar/v1', 4), [500, { error: { code: 'internal', message: 'internal error' } }, null]);
});

test('keep-alive, pipelining, HEAD and HTTP/1.0', async () => {
    const s = await serve();
    const c = dial(s);
    for (let i = 0; i < 3; i++) c.send(`GET /v1/echo?q=${i} HTTP/1.1\r\n${host(s)}\r\nGET /later?ms=20 HTTP/1.1\r\n${host(s)}\r\nGET /stream?count=2&ms=5 HTTP/1.1\r\n${host(s)}\r\n`);
    c.send(`GET /v1/echo?q=last HTTP/1.1\r\n${host(s)}Connection: close\r\n\r\n`);
    const all = await c.end();
    assert.equal(all.match(/HTTP\/1\.1 200/g).length, 10);
    assert.deepEqual(all.match(/"q":"\w+"|later\n|begin/g), ['"q":"0"', 'later\n', 'begin', '"q":"1"', 'later\n', 'begin', '"q":"2"', 'later\n', 'begin', '"q":"last"']);
    assert.match(all, /Connection: close/i);
    for (const target of ['/v1/echo', '/later?ms=5', '/stream?count=2&ms=5']) {
        const head = await ask(s, 'HEAD', target);
        assert.equal(head.status, 200);
        assert.match(head.text, /\r\n\r\n$/);
    }
    const old = (more) => raw(s, `GET /stream?count=2&ms=5 HTTP/1.0\r\n${host(s)}${more}\r\n`);
    for (const more of ['', 'Connection: keep-alive\r\n']) {
        const r = await old(more);
        assert.equal(r.status, 200);
        assert.doesNotMatch(r.text, /chunked/i);
        assert.match(r.text, /\r\n\r\nbegin\nx{10}\nx{10}\n$/);
    }
    const kept = dial(s).send(`GET /v1/echo HTTP/1.0\r\n${host(s)}Connection: keep-alive\r\n\r\n`);
    await kept.until(/"body":null}$/);
    kept.send(`GET /later HTTP/1.0\r\n${host(s)}\r\n`);
    assert.match(await kept.end(), /later\n$/);
    assert.equal((await stats(s)).running, 1);
});

test('a stream goes out piece by piece, each turn in one chunk', async () => {
    const s = await serve();
    const c = dial(s).send(`GET /stream?count=3&ms=100 HTTP/1.1\r\n${host(s)}Connection: close\r\n\r\n`);
    await c.until(/6\r\nbegin\n\r\n/);
    assert.doesNotMatch(c.text, /xx/);
    assert.match(await c.end(), /\r\n\r\n6\r\nbegin\n\r\n(B\r\nx{10}\n\r\n){3}0\r\n\r\n$/);
    assert.match((await ask(s, 'GET', '/stream?ms=0&end=1')).text, /6\r\nbegin\n\r\n0\r\n\r\n$/);
    const big = await (await fetch(s.url + '/stream?count=3&ms=1&size=1300000')).text();
    assert.equal(big.length, 6 + 3 * 1_300_001);
    if (spawnSync('curl', ['--version']).status !== 0) return;
    const curl = spawnSync('curl', ['-sN', '--max-time', '20', s.url + '/stream?count=3'], { encoding: 'utf8' });
    assert.equal(curl.stdout, 'begin\n' + 'xxxxxxxxxx\n'.repeat(3));
});

test('a client that goes is noticed, however it waits', async (t) => {
    const s = await serve('socket', path.join(here, 'gone.sock'));
    const local = { path: path.join(here, 'gone.sock'), port: s.port };
    let gone = 0, worst = 0;
    const ways = { closes: (c) => c.socket.destroy(), resets: (c) => c.socket.resetAndDestroy(), 'half closes': (c) => c.socket.end() };
    for (const target of ['/later?ms=100000', '/stream?ms=0&count=0', '/stream?ms=5&count=0', '/stream?ms=5&count=0&size=200000']) {
        for (const [how, leave] of Object.entries(ways)) {
            for (const where of how === 'resets' ? [s] : [s, local]) {
                const c = dial(where).send(`GET ${target} HTTP/1.1\r\n${host(s)}\r\n`);
                if (target.startsWith('/stream')) await c.until(/begin/);
                else await stats_until(s, (x) => x.running === 2);
                if (target.includes('size')) {
                    c.socket.pause(); // until the system's buffers are full and the server waits for room
                    await sleep(200);
                }
                leave(c);
                gone++;
                const ms = await stats_until(s, (x) => x.gone === gone && x.running === 1, 5);
                worst = Math.max(worst, ms);
                c.socket.destroy();
                assert.ok(ms < 1000, `${target}: who ${how} is noticed after ${ms} ms`);
            }
        }
    }
    t.diagnostic(`the slowest was noticed after ${worst.toFixed(1)} ms`);
});

test('the Host names this server, once', async () => {
    const s = await serve();
    const p = s.port;
    for (const good of [`127.0.0.1:${p}`, `localhost:${p}`, `LOCALHOST:${p}`, `[::1]:${p}`]) assert.equal((await ask(s, 'GET', '/v1/echo', `Host: ${good}\r\n`)).status, 200, good);
    for (const bad of ['evil.test', `127.0.0.1.evil.test:${p}`, '', `localhost.:${p}`, '127.0.0.1', `127.0.0.1:${p + 1}`, `[::ffff:127.0.0.1]:${p}`, `evil.test:${p}`, `user@localhost:${p}`, `localhost:${p}/`, `0.0.0.0:${p}`, `127.1:${p}`, `localhost:0${p}x`]) {
        const r = await ask(s, 'GET', '/v1/echo', `Host: ${bad}\r\n`);
        assert.equal(r.status, 421, `"${bad}": ${r.text}`);
    }
    assert.equal((await raw(s, `GET /v1/echo HTTP/1.1\r\n${host(s)}${host(s)}Connection: close\r\n\r\n`)).status, 421);
    assert.equal((await raw(s, 'GET /v1/echo HTTP/1.1\r\nConnection: close\r\n\r\n')).status, 400);
    assert.equal((await raw(s, 'GET /v1/echo HTTP/1.0\r\n\r\n')).status, 421);
    for (const target of [`http://evil.test/v1/echo`, `http://127.0.0.1:${p}/v1/echo`, '*', 'v1/echo', '/%', '/%00', '/a%zz', '/v1/../v1/echo', '/v1/%2e%2e/echo', '/./v1/echo'])
        assert.equal((await ask(s, 'GET', target)).status, 400, target);
    const { called } = await stats(s);
    assert.equal(called, 4);
});

test('pages of elsewhere can neither ask nor change', async () => {
    const s = await serve('cors', 'https://app.example.org');
    const body = '{"model":"a"}';
    const types = ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/json', ''];
    for (const origin of ['https://evil.test', 'null', 'file://', 'https://app.example.org.evil.test', 'http://127.0.0.1:1', 'chrome-extension://x'])
        for (const type of types) {
            const r = await ask(s, 'POST', '/api/json', `Origin: ${origin}\r\n${type && `Content-Type: ${type}\r\n`}`, body);
            assert.equal(r.status, 403, `${origin} ${type}`);
            assert.doesNotMatch(r.text, /access-control/i);
        }
    for (const site of ['cross-site', 'same-site', 'x'])
        assert.equal((await ask(s, 'POST', '/api/json', `Sec-Fetch-Site: ${site}\r\nContent-Type: application/json\r\n`, body)).status, 403);
    // A browser's own page has to say what it sends; what is no browser may leave it out, and speak to Ollama's addresses as curl does.
    assert.equal((await ask(s, 'POST', '/api/json', 'Sec-Fetch-Site: same-origin\r\nContent-Type: text/plain\r\n', body)).status, 415);
    assert.equal((await ask(s, 'POST', '/api/json', `Origin: ${s.url}\r\nContent-Type: application/x-www-form-urlencoded\r\n`, body)).status, 415);
    assert.equal((await ask(s, 'POST', '/v1/json', 'Content-Type: application/x-www-form-urlencoded\r\n', body)).status, 415);
    assert.equal((await ask(s, 'POST', '/v1/json', 'Content-Type: text/plain\r\n', body)).status, 415);
    assert.equal((await ask(s, 'POST', '/v1/json', 'Content-Type: application/jsonp\r\n', body)).status, 415);
    assert.equal((await stats(s)).called, 0);
    for (const head of ['', 'Content-Type: application/json; charset=utf-8\r\n', 'Content-Type: APPLICATION/JSON\r\n', 'Content-Type: application/x-www-form-urlencoded\r\n', `Origin: ${s.url}\r\nSec-Fetch-Site: same-origin\r\nContent-Type: application/json\r\n`])
        assert.equal((await ask(s, 'POST', '/api/json', head, body)).status, 200, head);
    const allowed = await ask(s, 'POST', '/v1/json', 'Origin: https://app.example.org\r\nSec-Fetch-Site: cross-site\r\nContent-Type: application/json\r\n', body);
    assert.equal(allowed.status, 200);
    assert.match(allowed.text, /\r\nAccess-Control-Allow-Origin: https:\/\/app\.example\.org\r\n/i);
    assert.match(allowed.text, /\r\nVary: Origin\r\n/i);
    const flight = (origin) => ask(s, 'OPTIONS', '/v1/json', `Origin: ${origin}\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type, x-stainless-os\r\n`);
    const ok = await flight('https://app.example.org');
    assert.equal(ok.status, 204);
    assert.match(ok.text, /Allow-Methods: POST\r\n/);
    assert.match(ok.text, /Allow-Headers: content-type, x-stainless-os\r\n/);
    assert.equal((await flight('https://evil.test')).status, 403);
    assert.doesNotMatch((await flight('https://evil.test')).text, /access-control/i);
    const plain = await serve();
    const none = await ask(plain, 'OPTIONS', '/v1/json');
    assert.equal(none.status, 204);
    assert.match(none.text, /\r\nAllow: POST\r\n/);
    assert.doesNotMatch(none.text, /access-control/i);
});

test('a head that can be read in two ways ends its connection', async () => {
    const s = await serve();
    const H = host(s), P = 'POST /v1/json HTTP/1.1\r\n', B = '{"model":"a"}', T = 'Content-Type: application/json\r\n', L = `Content-Length: ${B.length}\r\n`;
    const hidden = `DELETE /v1/echo/x HTTP/1.1\r\n${H}\r\n`;
    const chunk = (size, data = B) => `${P}${H}${T}Transfer-Encoding: chunked\r\n\r\n${size}\r\n${data}\r\n0\r\n\r\n`;
    const heads = [
        `${P}${H}${T}${L}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
        `${P}${H}${T}Transfer-Encoding: chunked\r\n${L}\r\n0\r\n\r\n`,
        `${P}${H}${T}${L}${L}\r\n${B}`,
        `${P}${H}${T}${L}Content-Length: 0\r\n\r\n${B}`,
        `${P}${H}${T}Content-Length: 13, 13\r\n\r\n${B}`,
        `${P}${H}${T}Content-Length: +13\r\n\r\n${B}`,
        `${P}${H}${T}Content-Length: -13\r\n\r\n${B}`,
        `${P}${H}${T}Content-Length: 0x0d\r\n\r\n${B}`,
        `${P}${H}${T}Content-Length: 13 \r\n\r\n${B}`,
        `${P}${H}${T}Content-Length: 1 3\r\n\r\n${B}`,
        `${P}${H}${T}Content-Length:\r\n\r\n${B}`,
        `${P}${H}${T}Content-Length: 99999999999999999999\r\n\r\n${B}`,
        `${P}${H}${T}Content-Length : 13\r\n\r\n${B}`,
        `${P}${H}${T}Content-Length\t: 13\r\n\r\n${B}`,
        `${P}${H}${T} Content-Length: 13\r\n\r\n${B}`,
        `${P}${H}${T}Content-Length:\r\n 13\r\n\r\n${B}`,
        `${P}${H}${T}Content_Length: 0\r\nContent-Length : 13\r\n\r\n${B}`,
        `${P}${H}${T}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`,
        `${P}${H}${T}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
        `${P}${H}${T}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
        `${P}${H}${T}Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n`,
        `${P}${H}${T}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
        `${P}${H}${T}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
        `${P}${H}${T}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n`,
        `${P}${H}${T}Transfer-Encoding:\tchunked\x0b\r\n\r\n0\r\n\r\n`,
        `${P}${H}${T}Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n`,
        `${P}${H}${T}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n`,
        `${P}${H}${T}Transfer-Encoding: \r\n\r\n0\r\n\r\n`,
        `${P}${H}${T}X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
        `POST /v1/json HTTP/1.0\r\n${H}${T}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
        `${P}${H}X: y\nContent-Length: 0\r\n\r\n`,
        `${P}${H}${T}${L}X: y\n\r\n${B}`,
        `${P}${H}${T}${L}X: y\r\n\n${B}`,
        `${P}${H}${T}${L}\n${B}`,
        `POST /v1/json HTTP/1.1\n${H}${T}${L}\r\n${B}`,
        `${P}${H}X: a\rb\r\n${T}${L}\r\n${B}`,
        `${P}${H}X: a\0b\r\n${T}${L}\r\n${B}`,
        `${P}${H}X\0Y: b\r\n${T}${L}\r\n${B}`,
        `${P}${H}X: a\x01\r\n${T}${L}\r\n${B}`,
        `${P}${H}X: a\x7f\r\n${T}${L}\r\n${B}`,
        `${P}${H}: x\r\n${T}${L}\r\n${B}`,
        `${P}${H}no colon\r\n${T}${L}\r\n${B}`,
        `${P}${H}X Y: z\r\n${T}${L}\r\n${B}`,
        `${P}${H}X(Y): z\r\n${T}${L}\r\n${B}`,
        `${P}${H}X\xe9: z\r\n${T}${L}\r\n${B}`,
        `${P}${H}X: folded\r\n\tmore\r\n${T}${L}\r\n${B}`,
        `${P} Host: x\r\n${H}${T}${L}\r\n${B}`,
        `POST  /v1/json HTTP/1.1\r\n${H}${T}${L}\r\n${B}`,
        `POST /v1/json  HTTP/1.1\r\n${H}${T}${L}\r\n${B}`,
        `POST /v1/json HTTP/1.1 \r\n${H}${T}${L}\r\n${B}`,
        `POST\t/v1/json\tHTTP/1.1\r\n${H}${T}${L}\r\n${B}`,
        `POST /v1/json x HTTP/1.1\r\n${H}${T}${L}\r\n${B}`,
        `POST /v1/json HTTP/1.2\r\n${H}${T}${L}\r\n${B}`,
        `POST /v1/json HTTP/2.0\r\n${H}${T}${L}\r\n${B}`,
        `POST /v1/json HTTP/11\r\n${H}${T}${L}\r\n${B}`,
        `POST /v1/json http/1.1\r\n${H}${T}${L}\r\n${B}`,
        `POST /v1/json\r\n${H}${T}${L}\r\n${B}`,
        `P(ST /v1/json HTTP/1.1\r\n${H}${T}${L}\r\n${B}`,
        ` POST /v1/json HTTP/1.1\r\n${H}${T}${L}\r\n${B}`,
        'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
        '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n',
    ];
    const chunks = ['-2', '+5', '0x5', ' 5', '', 'd;ext=1\r\nx', 'FFFFFFFFFFFFFFFF', '1FFFFFFFFFFFFFFFF', '00000000000000000d', 'g', '5 5', '13'].map((size) => chunk(size));
    assert.ok(heads.length >= 60, `${heads.length} heads`);
    for (const text of [...heads, ...chunks]) {
        // What ends early may be waiting for more: the end of what is sent brings it to its end.
        const c = dial(s).send(text + hidden + hidden);
        await c.until((x) => x.ended || /\r\n\r\n/.test(x.text) || x.sent, 2).catch(() => c.socket.end());
        const all = await c.end(5);
        // (libmicrohttpd says some of its own refusals twice.)
        const answers = all.match(/HTTP\/1\.[01] \d+/g) ?? [];
        if (heads.includes(text)) assert.ok(answers.every((a) => /HTTP\/1\.[01] (400|413|505)/.test(a)), `${JSON.stringify(text)} -> ${all}`);
        else assert.ok(answers.length <= 1, `${JSON.stringify(text)} -> ${all}`);
        c.socket.destroy();
    }
    const { called, running } = await stats(s);
    assert.ok(called <= chunks.length, `${called} endpoints were called`);
    assert.equal(running, 1);
    // And no hidden request was carried out: a DELETE would be called under its own path.
    const before = (await stats(s)).called;
    assert.match((await raw(s, chunk('d') + hidden)).text, /HTTP\/1\.1 200/);
    await sleep(50);
    assert.equal((await stats(s)).called, before + 1);
});

test('heads are limited', async () => {
    const s = await serve();
    const many = (n) => Array.from({ length: n }, (_, i) => `X-${i}: y\r\n`).join('');
    assert.equal((await ask(s, 'GET', '/v1/echo', many(60))).status, 200);
    assert.equal((await ask(s, 'GET', '/v1/echo', many(64))).status, 431);
    assert.equal((await ask(s, 'GET', '/v1/echo', `X: ${'y'.repeat(7000)}\r\n`)).status, 200);
    assert.equal((await ask(s, 'GET', '/v1/echo', `X: ${'y'.repeat(40000)}\r\n`)).status, 431);
    assert.equal((await ask(s, 'GET', '/v1/echo', many(2000))).status, 431);
    assert.equal((await ask(s, 'GET', `/v1/echo?q=${'a'.repeat(7000)}`)).status, 200);
    assert.equal((await ask(s, 'GET', `/v1/echo?q=${'a'.repeat(9000)}`)).status, 414);
    assert.equal((await ask(s, 'GET', `/${'a'.repeat(60000)}`)).status, 414);
    const rss = (await stats(s)).rss;
    for (const piece of ['x'.repeat(65536), 'X: y\r\n'.repeat(8192), '\r\n'.repeat(16384)]) {
        const c = dial(s).send(piece.startsWith('X') ? `GET / HTTP/1.1\r\n${host(s)}` : '');
        for (let i = 0; i < 200 && !c.ended; i++) {
            c.send(piece);
            await new Promise((resolve) => setImmediate(resolve));
        }
        c.socket.destroy();
    }
    if (!sanitized) assert.ok((await stats(s)).rss < rss + 8 * 2 ** 20);
});

test('bodies are limited, and their senders hear of it', async () => {
    const s = await serve('body', '100000');
    const head = (more) => `POST /v1/json HTTP/1.1\r\n${host(s)}Content-Type: application/json\r\n${more}\r\n`;
    const huge = await raw(s, head('Content-Length: 107374182400\r\n'));
    assert.equal(huge.status, 413);
    const waits = dial(s).send(head('Content-Length: 100001\r\nExpect: 100-continue\r\n'));
    assert.match(await waits.end(), /^HTTP\/1\.1 413/);
    const goes = dial(s).send(head('Content-Length: 13\r\nExpect: 100-continue\r\n'));
    await goes.until(/^HTTP\/1\.1 100/);
    goes.send('{"model":"a"}');
    await goes.until(/HTTP\/1\.1 200/);
    // One that is a bit too long is read to its end, so that the answer arrives and the connection lives.
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const post = (body, extra = {}) =>
        new Promise((resolve, reject) => {
            const r = http.request(s.url + '/v1/json', { method: 'POST', agent, headers: { ...json, ...extra } }, (answer) => {
                let text = '';
                const port = answer.socket.localPort;
                answer.on('data', (piece) => (text += piece)).on('end', () => resolve({ status: answer.statusCode, text, port }));
            });
            r.on('error', reject);
            r.end(body);
        });
    const big = JSON.stringify({ model: 'x'.repeat(1_500_000) });
    const first = await post(big, { 'content-length': big.length });
    assert.equal(first.status, 413);
    assert.match(first.text, /longer than 100000 bytes/);
    const second = await post('{"model":"a"}');
    assert.equal(second.status, 200);
    assert.equal(second.port, first.port);
    const chunked = await post(big, { 'transfer-encoding': 'chunked' });
    assert.equal(chunked.status, 413);
    agent.destroy();
    // Chunks without end are cut off.
    const rss = (await stats(s)).rss;
    const endless = dial(s).send(head('Transfer-Encoding: chunked\r\n'));
    const piece = `10000\r\n${'y'.repeat(65536)}\r\n`;
    for (let i = 0; i < 2000 && !endless.ended; i++) if (!endless.socket.write(piece)) await Promise.race([new Promise((resolve) => endless.socket.once('drain', resolve)), endless.end(20)]);
    await endless.end();
    const tiny = dial(s).send(head('Transfer-Encoding: chunked\r\n'));
    for (let i = 0; i < 200 && !tiny.ended; i++) tiny.send('1\r\ny\r\n'.repeat(1000));
    await tiny.until((c) => c.ended || /413/.test(c.text) || c.socket.bytesWritten >= 1_200_000);
    tiny.socket.destroy();
    if (!sanitized) assert.ok((await stats(s)).rss < rss + 16 * 2 ** 20);
    assert.equal((await stats(s)).called, 2);
});

test('JSON that is odd is refused in one line', async () => {
    const s = await serve();
    const post = async (body, base = '/v1') => {
        const r = await fetch(`${s.url}${base}/json`, { method: 'POST', headers: json, body });
        return [r.status, (await r.json()).error?.message ?? ''];
    };
    const deep = (n) => `{"model":"a","x":${'['.repeat(n)}${']'.repeat(n)}}`;
    assert.deepEqual(await post('{"model":"a"}'), [200, '']);
    assert.equal((await post(deep(62)))[0], 200);
    for (const body of [deep(64), deep(100000), '{"model":"a","model":"b"}', '{"x":{"a":1,"a":2},"model":"a"}', '[]', '"a"', '1', 'null', '', '{', '{"model":"a"}x', '{"model":"\xff"}', "{'model':'a'}", '{"model":"a",}', '{"model":"\\ud800"}', '{"model":"a","n":NaN}', '\ufeff{"model":"a"}', '{"model":"a"}\0']) {
        const [status, words] = await post(Buffer.from(body, 'latin1').length === body.length && !body.includes('\ufeff') ? Buffer.from(body, 'latin1') : body);
        assert.equal(status, 400, JSON.stringify(body.slice(0, 40)) + words);
        assert.ok(words && !words.includes('\n'), body.slice(0, 40));
    }
    // Long ones are parsed aside: others are answered meanwhile, and the client may go.
    const long = JSON.stringify({ model: 'a', x: Array.from({ length: 100000 }, (_, i) => i) });
    assert.deepEqual(await post(long), [200, '']);
    assert.equal((await post(long.slice(0, -1)))[0], 400);
    assert.equal((await post(long.replace('{', '{"model":1,')))[0], 400);
    for (let i = 0; i < 20; i++) {
        const c = dial(s).send(`POST /v1/json HTTP/1.1\r\n${host(s)}Content-Type: application/json\r\nContent-Length: ${long.length}\r\n\r\n${long}`);
        await new Promise((resolve) => setTimeout(() => (c.socket.destroy(), resolve()), i));
    }
    await stats_until(s, (x) => x.running === 1);
    assert.deepEqual(await post('{"model":"a","temperature":3}'), [400, '"temperature" must be a number from 0 to 2']);
    assert.deepEqual(await post('{"model":"a","tempo":3}', '/hangar/v1'), [400, '"tempo" is not a field of this request']);
    assert.deepEqual(await post('{"model":"a","tempo":3}'), [200, '']);
});

test('forms bring one file', async () => {
    const s = await serve('upload', '1000000');
    const form = (bytes, more = {}) => {
        const f = new FormData();
        for (const [k, v] of Object.entries(more)) f.append(k, v);
        f.append('list[]', 'a');
        f.append('list[]', 'b');
        f.append('file', new Blob([bytes]), 'ünï "x".wav');
        return fetch(s.url + '/v1/form', { method: 'POST', body: f });
    };
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7919) % 251));
    const r = await (await form(bytes, { model: 'whisper' })).json();
    assert.deepEqual(r, { name: r.name, bytes: bytes.length, sum: bytes.reduce((a, b) => a + b, 0), model: 'whisper', list: 'a,b' });
    assert.match(r.name, /^ünï .*wav$/);
    const over = await form(Buffer.alloc(1_000_001));
    assert.equal(over.status, 413);
    assert.match((await over.json()).error.message, /the file is longer than 1000000 bytes/);
    assert.equal((await fetch(s.url + '/v1/form', { method: 'POST', headers: json, body: '{}' })).status, 415);
    const broken = await ask(s, 'POST', '/v1/form', 'Content-Type: multipart/form-data; boundary=B\r\n', '--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx');
    assert.equal(broken.status, 400);
    assert.match(broken.text, /before its last boundary/);
    assert.equal((await ask(s, 'POST', '/v1/form', 'Content-Type: multipart/form-data\r\n', '--B')).status, 400);
    const { fds } = await stats(s);
    for (let i = 0; i < 20; i++) await form(Buffer.alloc(1_000_001)).then((x) => x.arrayBuffer());
    assert.ok((await stats(s)).fds <= fds + 2);
});

test('who is slow is cut off, who waits is not', async () => {
    const s = await serve('slow', '1');
    const idle = dial(s).send(`GET /stream?ms=0&count=0 HTTP/1.1\r\n${host(s)}\r\n`);
    const later = dial(s).send(`GET /later?ms=4000 HTTP/1.1\r\n${host(s)}Connection: close\r\n\r\n`);
    const drip = (first, byte) => {
        const c = dial(s).send(first);
        const timer = setInterval(() => (c.ended ? clearInterval(timer) : c.send(byte)), 100);
        c.socket.on('close', () => clearInterval(timer));
        return c;
    };
    const slow = [];
    for (let i = 0; i < 60; i++) {
        slow.push(drip('G', 'E'));
        slow.push(drip(`GET / HTTP/1.1\r\n${host(s)}X: `, 'y'));
        slow.push(drip(`POST /v1/json HTTP/1.1\r\n${host(s)}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n`, ' '));
    }
    for (let i = 0; i < 20; i++) slow.push(dial(s));
    // Readers that do not read: a stream, and an answer whose size is known.
    const lazy = [1, 2, 3].map(() => dial(s).send(`GET /stream?ms=20&count=0&size=100000 HTTP/1.1\r\n${host(s)}\r\n`));
    for (const c of lazy) c.until(/begin/).then(() => c.socket.pause());
    const began = performance.now();
    let worst = 0;
    while (performance.now() - began < 1500) {
        const at = performance.now();
        assert.equal((await fetch(s.url + '/v1/echo')).status, 200);
        worst = Math.max(worst, performance.now() - at);
    }
    await Promise.all(slow.map((c) => c.end(10)));
    assert.ok(worst < 1000, `a request took ${worst} ms`);
    await stats_until(s, (x) => x.gone === lazy.length, 30); // whose socket is full is told nothing but its end
    assert.match(await later.end(), /later\n$/);
    assert.ok(!idle.ended);
    for (const c of [idle, ...lazy]) c.socket.destroy();
    await stats_until(s, (x) => x.running === 1);
});

test('connections are limited: idle ones make room, else there is a 503', async () => {
    const s = await serve('max', '20');
    const busy = Array.from({ length: 10 }, () => dial(s).send(`GET /stream?ms=0&count=0 HTTP/1.1\r\n${host(s)}\r\n`));
    await Promise.all(busy.map((c) => c.until(/begin/)));
    const idle = [];
    for (let i = 0; i < 10; i++) {
        idle.push(dial(s).send(`GET /v1/echo HTTP/1.1\r\n${host(s)}\r\n`));
        await idle[i].until(/"body":null}/);
    }
    for (let i = 0; i < 10; i++) {
        busy.push(dial(s).send(`GET /stream?ms=0&count=0 HTTP/1.1\r\n${host(s)}\r\n`));
        await busy.at(-1).until(/begin/);
        await idle[i].end(); // the oldest goes first
        assert.equal(idle.filter((c) => c.ended).length, i + 1);
    }
    const refused = await raw(s, `GET /v1/echo HTTP/1.1\r\n${host(s)}\r\n`);
    assert.equal(refused.status, 503);
    assert.match(refused.text, /\r\nRetry-After: 1\r\n/);
    assert.match(refused.text, /more than 20 connections/);
    assert.ok(busy.every((c) => !c.ended));
    busy.pop().socket.destroy();
    for (let i = 0; ; i++) {
        const r = await raw(s, `GET /v1/echo HTTP/1.1\r\n${host(s)}Connection: close\r\n\r\n`);
        if (r.status === 200) break;
        assert.ok(i < 200);
        await sleep(20);
    }
    for (const c of busy) c.socket.destroy();
});

test('two thousand idle streams cost memory only', async (t) => {
    const s = await serve();
    const cpu = () => fs.readFileSync(`/proc/${s.pid}/stat`, 'utf8').split(' ').slice(13, 15).reduce((a, b) => a + Number(b), 0);
    const before = await stats(s);
    const streams = [];
    for (let i = 0; i < 2000; i++) {
        streams.push(dial(s).send(`GET /stream?ms=0&count=0 HTTP/1.1\r\n${host(s)}User-Agent: OpenAI/JS 6.49.0\r\nAccept: application/json\r\n\r\n`));
        if (i % 100 === 99) await Promise.all(streams.slice(-100).map((c) => c.until(/begin/)));
    }
    const full = await stats(s);
    assert.equal(full.running, 2001);
    const each = (full.rss - before.rss) / 2000;
    const ticks = cpu();
    await sleep(1000);
    const used = cpu() - ticks;
    t.diagnostic(`${Math.round(each)} bytes each, ${used} ticks of CPU in a second`);
    // One request writes to all of them: whoever had its turn already gets another.
    assert.equal(await (await fetch(s.url + '/tell')).text(), 'done\n');
    await Promise.all(streams.map((c) => c.until(/told\n/)));
    if (!sanitized) assert.ok(each < 20 * 1024, `${each} bytes each`);
    assert.ok(used <= 20, `${used} ticks`);
    for (const c of streams) c.socket.destroy();
    await stats_until(s, (x) => x.running === 1 && x.gone === 2000 && x.fds <= before.fds + 16);
    if (!sanitized) await stats_until(s, (x) => x.rss < before.rss + 8 * 2 ** 20);
});

test('ten thousand connections that come and go leave nothing', async () => {
    const s = await serve('slow', '2'); // an end that comes together with half a request is found by the clock
    await Promise.all(Array.from({ length: 50 }, () => stats(s)));
    const before = await stats(s);
    const texts = ['', 'G', `GET /later?ms=1000 HTTP/1.1\r\n${host(s)}\r\n`, `GET /stream?ms=1&count=0 HTTP/1.1\r\n${host(s)}\r\n`, `POST /v1/json HTTP/1.1\r\n${host(s)}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"mo`,
        `POST /v1/form HTTP/1.1\r\n${host(s)}Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 1000\r\n\r\n--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nabc`, `GET /v1/echo HTTP/1.1\r\n${host(s)}\r\n`];
    let n = 0;
    const one = () =>
        new Promise((resolve) => {
            const i = n++;
            const socket = net.connect(s.port, '127.0.0.1');
            socket.on('error', () => {});
            socket.on('close', resolve);
            socket.on('connect', () => {
                socket.write(texts[i % texts.length]);
                if (i % 3 === 0) socket.resetAndDestroy();
                else if (i % 3 === 1) socket.end(() => socket.destroy());
                else setTimeout(() => socket.destroy(), i % 5);
            });
        });
    const all = async (count) => {
        const lane = async () => {
            while (n < count) await one();
        };
        await Promise.all(Array.from({ length: 100 }, lane));
        await stats_until(s, (x) => x.running === 1 && x.fds <= before.fds, 30);
        return (await stats(s)).rss;
    };
    // How many are open at once, and so what the heap grows to, is a matter of the machine: the first ones show it.
    const some = await all(3000), more = await all(13000);
    if (!sanitized) assert.ok(more < some + 12 * 2 ** 20, `${some} bytes, then ${more}`);
});

test('the unix socket is its owner\'s, and is taken over from the dead only', async () => {
    const file = path.join(here, 'sub', 'd'.repeat(100), 'hangar.sock'); // longer than a socket's address may be
    const s = await serve('socket', file);
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
    const short = path.join(here, 'link.sock');
    fs.symlinkSync(file, short);
    const local = { path: path.relative(process.cwd(), short).length < 100 ? short : short, port: s.port };
    const get = (p, h = 'anything') => new Promise((resolve, reject) => http.get({ socketPath: p, path: '/v1/echo', headers: { host: h } }, (r) => (r.resume(), resolve(r.statusCode))).on('error', reject));
    assert.equal(await get(local.path), 200);
    const second = await serve('socket', file);
    assert.equal(second.code, 8);
    assert.match(second.said, /listens on .* already/);
    assert.equal(await get(local.path), 200);
    await s.kill();
    assert.ok(fs.existsSync(file));
    const third = await serve('socket', file);
    assert.equal(await get(local.path), 200);
    await third.stop();
    assert.ok(!fs.existsSync(file));
    fs.writeFileSync(file, 'mine');
    const fourth = await serve('socket', file);
    assert.equal(fourth.code, 2);
    assert.match(fourth.said, /is no socket/);
    assert.equal(fs.readFileSync(file, 'utf8'), 'mine');
    const taken = await serve('listen', `127.0.0.1:${(await serve()).port}`);
    assert.equal(taken.code, 8);
    for (const odd of ['localhost', '127.0.0.1', 'example.org:80', '127.0.0.1:99999', ':80', '127.0.0.1:-1']) assert.equal((await serve('listen', odd)).code, 2, odd);
});

test('keys: without them only this machine, with them only who has one', async () => {
    assert.equal((await serve('listen', '0.0.0.0:0')).code, 2);
    assert.equal((await serve('listen', '[::]:0')).code, 2);
    assert.match((await serve('listen', '0.0.0.0:0')).said, /needs API keys/);
    const file = path.join(here, 'keys.sock');
    const s = await serve('socket', file, 'home', path.join(here, 'keyed'), 'key', 'asker:infer', 'key', 'boss:manage');
    assert.match(s.keys.asker, /^hgk_/);
    const on = async (method, target, authorization) => (await ask(s, method, target, authorization ? `Authorization: ${authorization}\r\n` : '')).status;
    const table = [
        ['GET', '/stats', { none: 200, wrong: 200, asker: 200, boss: 200 }],
        ['GET', '/v1/echo', { none: 401, wrong: 401, asker: 200, boss: 200 }],
        ['HEAD', '/v1/echo', { none: 401, wrong: 401, asker: 200, boss: 200 }],
        ['DELETE', '/v1/echo/x', { none: 401, wrong: 401, asker: 403, boss: 200 }],
        ['GET', '/nothing', { none: 404, wrong: 404, asker: 404, boss: 404 }],
    ];
    const keys = { none: '', wrong: 'Bearer hgk_' + 'x'.repeat(48), asker: `Bearer ${s.keys.asker}`, boss: `Bearer ${s.keys.boss}` };
    for (const [method, target, want] of table) for (const [who, status] of Object.entries(want)) assert.equal(await on(method, target, keys[who]), status, `${method} ${target} ${who}`);
    for (const odd of [s.keys.asker, `Basic ${s.keys.asker}`, `Bearer ${s.keys.asker.slice(0, -1)}`, `Bearer ${s.keys.asker}x`, 'Bearer ', `Token ${s.keys.asker}`]) assert.equal(await on('GET', '/v1/echo', odd), 401, odd);
    assert.equal((await ask(s, 'GET', '/v1/echo', `Authorization: ${keys.asker}\r\nAuthorization: ${keys.asker}\r\n`)).status, 401);
    assert.equal((await ask(s, 'GET', '/v1/echo', `X-Api-Key: ${s.keys.asker}\r\n`)).status, 401);
    assert.equal((await ask(s, 'GET', `/v1/echo?key=${s.keys.asker}`)).status, 401);
    const denied = await ask(s, 'GET', '/v1/echo');
    assert.match(denied.text, /WWW-Authenticate: Bearer/i);
    assert.match(denied.text, /invalid_api_key/);
    // One protected path in many spellings: the same decision, or none such, never a way around.
    for (const target of ['/v1/echo/', '//v1/echo', '/v1//echo', '/v1/./echo', '/v1/x/../echo', '/v1%2fecho', '/%76%31/echo', '/V1/echo', '/v1/echo;x', '/v1/echo?', '/v1/echo?x', '/v1/echo%00', '/v1/echo%20', '/v1/echo#x', `http://127.0.0.1:${s.port}/v1/echo`, '/v1/ech%6f', '/v1/ech%256f', '\\v1\\echo', '/v1\\echo', '/%2e/v1/echo', '/v1/echo/..', '/v1/echo/%2e', '/;/v1/echo', '/v1/rest/../echo', '/v1/rest/..%2fecho'])
        assert.ok([400, 401, 404].includes(await on('GET', target)), target);
    const over = (headers) => new Promise((resolve, reject) => http.request({ socketPath: file, method: 'DELETE', path: '/v1/echo/x', headers }, (r) => (r.resume(), resolve(r.statusCode))).on('error', reject).end());
    assert.equal(await over({ host: 'x' }), 200); // the owner's
    const open = await serve('listen', '0.0.0.0:0', 'home', path.join(here, 'keyed'));
    const named = (h, k) => ask(open, 'GET', '/v1/echo', `Host: ${h}\r\n${k ? `Authorization: ${k}\r\n` : ''}`);
    assert.equal((await named('models.example.org', keys.asker)).status, 200);
    assert.equal((await named('models.example.org')).status, 401);
    assert.equal((await named('a/b', keys.asker)).status, 421);
    // When the last key goes, what can be reached from elsewhere is closed, not open.
    fs.rmSync(path.join(here, 'keyed', 'keys.json'));
    assert.equal((await named('models.example.org', keys.asker)).status, 401);
    assert.equal(await on('GET', '/v1/echo'), 200);
});

test('what happens is counted', async () => {
    const s = await serve();
    const gone = dial(s).send(`GET /stream?ms=0&count=0 HTTP/1.1\r\n${host(s)}\r\n`);
    await gone.until(/begin/);
    const figures = async () => {
        const text = await (await fetch(s.url + '/metrics')).text();
        return (name) => Number(text.match(new RegExp(`^${name.replace(/[{}]/g, '\\$&')} (\\S+)$`, 'm'))?.[1] ?? 0);
    };
    assert.equal((await figures())('hangar_http_streams'), 1);
    gone.socket.destroy();
    await stats_until(s, (x) => x.gone === 1);
    for (let i = 0; i < 3; i++) await (await fetch(s.url + '/v1/echo/x')).text();
    await ask(s, 'GET', '/v1/echo', 'Host: evil.test\r\n');
    for (let i = 0; i < 5; i++) await ask(s, 'GET', `/made-up-${i}`);
    await ask(s, 'POST', '/v1/json', 'Content-Type: application/json\r\n', '{"model":"abc"}');
    const now = await figures();
    assert.equal(now('hangar_http_requests_total{route="/v1/echo/:",method="GET",status="200"}'), 3);
    assert.equal(now('hangar_http_requests_total{route="",method="",status="404"}'), 5); // callers make no series
    assert.equal(now('hangar_http_requests_total{route="",method="",status="421"}'), 1);
    assert.equal(now('hangar_http_request_seconds_count{route="/v1/echo/:"}'), 3);
    assert.equal(now('hangar_http_refused_total{why="wrong_host"}'), 1);
    assert.equal(now('hangar_http_refused_total{why="unknown_url"}'), 5);
    assert.equal(now('hangar_http_received_bytes_total'), 15);
    assert.equal(now('hangar_http_clients_gone_total'), 1);
    assert.equal(now('hangar_http_streams'), 0);
    assert.ok(now('hangar_http_connections') >= 1 && now('hangar_http_sent_bytes_total') > 300);
});

test('a server that is quiet ends what runs, and takes no more', async () => {
    const s = await serve();
    const idle = dial(s).send(`GET /v1/echo HTTP/1.1\r\n${host(s)}\r\n`);
    await idle.until(/"body":null}/);
    const runs = dial(s).send(`GET /stream?ms=50&count=10 HTTP/1.1\r\n${host(s)}\r\n`);
    await runs.until(/begin/);
    const last = dial(s).send(`POST /quiesce HTTP/1.1\r\n${host(s)}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`);
    await last.until(/quiet/);
    await idle.end();
    await assert.rejects(fetch(s.url + '/v1/echo'));
    assert.match(await runs.end(), /(x{10}\n[^x]*){10}0\r\n\r\n$/);
    assert.equal(await s.stop(), 0);
});

test('ends cleanly in the middle of everything', async () => {
    const s = await serve('socket', path.join(here, 'end.sock'));
    const all = [];
    for (let i = 0; i < 50; i++) for (const target of ['/later?ms=100000', '/stream?ms=1&count=0', '/stream?ms=0&count=0', '/v1/echo']) all.push(dial(s).send(`GET ${target} HTTP/1.1\r\n${host(s)}\r\n`));
    all.push(dial(s).send('GET '));
    await stats_until(s, (x) => x.running === 151);
    assert.equal(await s.stop(), 0);
    await Promise.all(all.map((c) => c.end()));
});
