// SPDX-License-Identifier: Apache-2.0
// ctest: waits long
// `hangar pull` against a Hub that lies, stalls and breaks. Whatever happens, what is visible in the cache is what its name says
// (look() throws otherwise), and every end is a declared one.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { gitSha1, sha256 } from '../support/faulthub.mjs';
import { bytes, look, pull, scene, start, walk } from '../support/pulling.mjs';

const MIB = 1024 * 1024;
const big = bytes(5 * MIB + 77, 'big');
const one = { 'config.json': '{"a": 1}\n', 'model.bin': big };

// A pull of `files` (default: `one`) with some faults: {hub, r, got}.
async function meet(t, faults, { files = one, settings, ...hub } = {}) {
    const s = await scene(t, hub);
    s.hub.commit('acme/one', files);
    for (const [where, [kind, more]] of Object.entries(faults)) s.hub.fault(where, kind, more);
    const r = await pull(s, 'acme/one', { settings });
    return { s, hub: s.hub, r, got: look(s, 'acme/one') };
}

function whole({ r, got }, files = one) {
    assert.equal(r.code, 0, r.err);
    assert.deepEqual(got.files, Object.fromEntries(Object.entries(files).map(([k, v]) => [k, Buffer.from(v)])));
    assert.deepEqual(got.partials, []);
}

// The pull failed with `code`; nothing of the broken file is left, and there is no ref.
function refused({ r, got }, code, words) {
    assert.equal(r.code, code, r.err);
    if (words) assert.match(r.err, words);
    assert.ok(!got.blobs.includes(sha256(big)));
    assert.deepEqual([got.refs, got.commits], [{}, []]);
}

test('a corrupted byte: fetched once more, then an error that names both digests', async (t) => {
    whole(await meet(t, { 'model.bin': ['corrupt', { times: 1 }] }));
    whole(await meet(t, { 'config.json': ['corrupt', { times: 1 }] }));
    const m = await meet(t, { 'model.bin': ['corrupt'] });
    refused(m, 6, new RegExp(`model.bin.*[0-9a-f]{64}.*${sha256(big)}`));
    assert.deepEqual(m.got.partials, [], 'no damaged bytes stay for the next run');
    m.hub.faults = {};
    assert.equal((await pull(m.s, 'acme/one')).code, 0, 'nothing has to be cleaned up by hand');
});

test('a short file', async (t) => {
    refused(await meet(t, { 'model.bin': ['short'] }), 6, /model\.bin/);
    refused(await meet(t, { 'config.json': ['short'] }), 6, /config\.json/);
    whole(await meet(t, { 'model.bin': ['short', { times: 1 }] }));
});

test('a lying Content-Length', async (t) => {
    refused(await meet(t, { 'model.bin': ['longer'] }), 6);
    refused(await meet(t, { 'model.bin': ['shorter'] }), 6);
    refused(await meet(t, { 'config.json': ['longer'] }), 6, /config\.json/);
    whole(await meet(t, { 'model.bin': ['longer', { times: 1, skip: 1 }] }));
});

test('a body that never ends is cut off', async (t) => {
    const m = await meet(t, { 'model.bin': ['endless'] });
    refused(m, 6, /more bytes than/);
    assert.ok(m.hub.served['model.bin'] < 40 * MIB, `${m.hub.served['model.bin']}`);
    whole(await meet(t, { 'config.json': ['endless', { times: 1 }] }));
});

test('429: the asked time is waited, in seconds, as a date, as RateLimit; an absurd one is an error', async (t) => {
    const date = () => ({ 'Retry-After': new Date(Date.now() + 3000).toUTCString() });
    for (const make of [() => ({ 'Retry-After': '2' }), date, () => ({ RateLimit: '"resolvers";r=0;t=2' })]) {
        const headers = make();
        const m = await meet(t, { 'resolve:model.bin': ['status', { status: 429, times: 1, headers }] });
        whole(m);
        assert.ok(m.r.seconds > 1.5 && m.r.seconds < 6, `${m.r.seconds} s for ${JSON.stringify(headers)}`);
        assert.match(m.r.err, /again in/);
    }
    for (const after of ['86400', '99999999999999999999', 'Fri, 31 Dec 2199 23:59:59 GMT']) {
        const m = await meet(t, { info: ['status', { status: 429, headers: { 'Retry-After': after } }] });
        assert.equal(m.r.code, 5, m.r.err);
        if (after.length < 10 || after.length > 20) assert.ok(m.r.seconds < 2);
    }
});

test('503: again and again within the retries, then exit 5', async (t) => {
    whole(await meet(t, { 'model.bin': ['status', { status: 503, times: 2 }] }));
    whole(await meet(t, { info: ['status', { status: 500, times: 1 }], tree: ['status', { status: 502, times: 1 }] }));
    const m = await meet(t, { 'config.json': ['status', { status: 503 }] }, { settings: { retries: 1 } });
    assert.equal(m.r.code, 5, m.r.err);
    assert.match(m.r.err, /503/);
    const none = await meet(t, { info: ['status', { status: 503 }] }, { settings: { retries: 0 } });
    assert.equal(none.r.code, 5);
    assert.equal(none.hub.requests('hub').length, 1, 'retries: 0 means one try');
});

test('half of all requests fail', async (t) => {
    const files = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`f${i}.txt`, `file ${i}\n`]));
    whole(await meet(t, { '*': ['half'] }, { files, settings: { retries: 10 } }), files);
});

test('the connection breaks at any byte', async (t) => {
    const m = await meet(t, { 'model.bin': ['drop', { most: 300_000, times: 30 }] });
    whole(m);
    assert.ok(m.hub.served['model.bin'] < big.length + 30 * 64 * 1024, 'it goes on where it broke');
    whole(await meet(t, { 'model.bin': ['drop', { bytes: 100_000, times: 3, reset: true }] }));
    whole(await meet(t, { 'config.json': ['drop', { bytes: 3, times: 2 }] }));
    const dead = await meet(t, { 'model.bin': ['drop', { bytes: 0 }] }, { settings: { retries: 2 } });
    refused(dead, 5, /model\.bin/);
});

test('silence', async (t) => {
    const settings = { stall_timeout: '1s', retries: 1 };
    whole(await meet(t, { 'model.bin': ['stall', { times: 2, bytes: 200_000 }] }, { settings: { ...settings, retries: 3 } }));
    const m = await meet(t, { 'model.bin': ['stall', { bytes: 0 }] }, { settings });
    refused(m, 5, /no data for 1 s/);
    assert.ok(m.r.seconds < 6, `${m.r.seconds} s`);
    const mute = await meet(t, { info: ['mute'] }, { settings });
    assert.equal(mute.r.code, 5);
});

test('the total time', async (t) => {
    const m = await meet(t, {}, { rate: 400_000, settings: { timeout: '2s', concurrent: 1 } });
    refused(m, 5, /models\.download\.timeout/);
    assert.ok(m.r.seconds < 4);
    m.hub.rate = 0;
    assert.equal((await pull(m.s, 'acme/one')).code, 0);
    assert.ok(m.hub.served['model.bin'] < big.length + 2 * MIB, 'what came was kept');
});

test('redirects: loops, other schemes, strangers', async (t) => {
    const loop = await meet(t, { 'resolve:model.bin': ['loop'] });
    refused(loop, 6, /redirect/);
    assert.ok(loop.hub.loops <= 11, `${loop.hub.loops}`);
    const api = await meet(t, { info: ['loop'] });
    assert.equal(api.r.code, 6);
    for (const to of ['file:///etc/passwd', 'gopher://127.0.0.1/x', 'http://user:pw@127.0.0.1/x', 'http://a\\@b/', 'http:///x', ''])
        refused(await meet(t, { 'resolve:model.bin': ['away', { to }] }), to ? 6 : 5);
    const stranger = await meet(t, { 'resolve:model.bin': ['away'] });
    refused(stranger, 6);
});

test('200 instead of 206, a wrong Content-Range, 416, a part of what was asked whole', async (t) => {
    const plain = await meet(t, { 'model.bin': ['whole'] });
    whole(plain);
    assert.equal(plain.hub.served['model.bin'], big.length, 'the whole is taken as it comes');
    whole(await meet(t, { 'model.bin': ['whole', { skip: 2, times: 100 }] }));
    whole(await meet(t, { 'model.bin': ['range', { skip: 1, times: 1 }] }));
    whole(await meet(t, { 'model.bin': ['range', { text: null }] }));
    for (const text of ['bytes 0-1048575/*', 'bytes */5242957', 'bytes 0-99', 'bytes=0-1048575/5242957', 'bytes -1-5/9', 'chunks 0-1/2'])
        whole(await meet(t, { 'model.bin': ['range', { text }] }));
    whole(await meet(t, { 'model.bin': ['unsatisfiable', { times: 1 }] }));
    refused(await meet(t, { 'model.bin': ['unsatisfiable'] }), 6, /model\.bin/);
    refused(await meet(t, { 'config.json': ['part'] }), 6);
    refused(await meet(t, { 'model.bin': ['encoded'] }), 6, /encoding/);
});

test('headers without end', async (t) => {
    assert.equal((await meet(t, { info: ['headers'] })).r.code, 6);
    refused(await meet(t, { 'model.bin': ['headers'] }), 6, /headers/);
});

test('a signed address expires', async (t) => {
    const s = await scene(t);
    s.hub.commit('acme/one', one);
    for (const uses of [1, 2, 3]) { // several streams are sent to one address: all but as many are refused
        s.hub.signedUses = uses, s.hub.rate = 1 << 20;
        const r = await pull(s, 'acme/one', { settings: { retries: 0 } });
        assert.equal(r.code, 0, r.err);
        assert.ok(s.hub.requests('hub', /resolve.*model/).length > 1, 'a new address was asked for');
        fs.rmSync(s.cache, { recursive: true });
        s.hub.log.length = 0;
    }
    s.hub.signedUses = 0;
    const never = await pull(s, 'acme/one', { settings: { retries: 1 } });
    assert.equal(never.code, 4, never.err);
    assert.match(never.err, /403/);
    assert.deepEqual(look(s, 'acme/one').refs, {});
});

test('the file is another one than the list said', async (t) => {
    for (const lie of [{ lieTag: { 'model.bin': sha256('other') } }, { lieSize: { 'model.bin': 17 } }, { lieCommit: 'a'.repeat(40) },
        { lieTag: { 'config.json': gitSha1(Buffer.from('other')) } }]) {
        const s = await scene(t);
        s.hub.commit('acme/one', one);
        Object.assign(s.hub, lie);
        const r = await pull(s, 'acme/one');
        assert.equal(r.code, 6, r.err);
        assert.equal(s.hub.requests('hub', /revision/).length, 2, 'the Hub was asked once more');
        assert.deepEqual(look(s, 'acme/one').refs, {});
    }
});

test('main moves while it is pulled: all files are of one commit', async (t) => {
    const s = await scene(t, { rate: 1_500_000 });
    const before = s.hub.commit('acme/one', one);
    const run = start(s, ['acme/one']);
    await new Promise((resolve) => setTimeout(resolve, 700));
    const after = s.hub.commit('acme/one', { 'config.json': '{"a": 2}\n', 'model.bin': bytes(5 * MIB, 'new') });
    const r = await run.done;
    assert.equal(r.code, 0, r.err);
    const got = look(s, 'acme/one');
    assert.deepEqual([got.refs.main, got.commits], [before, [before]]);
    assert.deepEqual(got.files['config.json'], Buffer.from('{"a": 1}\n'));
    s.hub.rate = 0;
    assert.equal((await pull(s, 'acme/one')).code, 0);
    assert.equal(look(s, 'acme/one').refs.main, after);
});

const bad = ['../x', 'a/../../x', '..', '.', 'a/..', './a', 'a/./b', '/etc/passwd', '//x', 'a//b', 'a/', '', 'a\\b', '..\\x', 'C:\\x', 'C:x', 'c:/x',
    '\\\\host\\share\\x', 'a\0b', 'a\nb', 'a\rb', 'a\tb', '\u001b[2J', 'a\u007f', 'a\u0085', 'CON', 'con.txt', 'dir/NUL', 'aux.json', 'COM1', 'lpt9.bin',
    'COM\u00b9', 'x.', 'x ', 'dir./x', 'a/ /b', 'n'.repeat(256), `${'d/'.repeat(40)}x`, `${'long/'.repeat(250)}x`, 'file:stream', 'a:b',
    '../../refs/main', '../../../.ssh/authorized_keys', '..%2f/../x'];
const odd = ['-rf', '--help', '.hidden', '.gitattributes', 'a b', 'ä ö', '日本語.txt', '%2e%2e', '..x', 'x..y', '...a', '$HOME', '`id`', 'a;b', "it's", '"q"', 'a*b?', 'UPPER.txt',
    'upper.txt', 'console', 'aux2', '#1', '&', '🦙.json', 'n'.repeat(255), `${'d/'.repeat(20)}x`];

test('one path that is not clean, and the whole revision is refused before the first byte', async (t) => {
    const s = await scene(t);
    s.hub.commit('acme/one', one);
    assert.ok(bad.length >= 40);
    for (const name of bad) {
        for (const type of ['file', 'directory'].slice(0, name.startsWith('..') ? 2 : 1)) {
            s.hub.edit = (list) => [...list, { type, path: name, size: 1, oid: gitSha1(Buffer.from('x')) }];
            const r = await pull(s, 'acme/one');
            assert.equal(r.code, 6, `${JSON.stringify(name)}: ${r.err}`);
            assert.ok(!/[\0-\x09\x0b-\x1f\x7f]/.test(r.err.replace(/\x1b\[[0-9;?]*[A-Za-z]|\r/g, '')), 'no control bytes in the message');
        }
    }
    assert.deepEqual(walk(s.cache), []);
    assert.equal(s.hub.requests('hub', /resolve/).length, 0);
    assert.deepEqual(fs.readdirSync(path.dirname(s.dir)).filter((n) => !/^\d+$/.test(n)), []);
});

test('names that are odd but harmless come through', async (t) => {
    const s = await scene(t);
    const files = Object.fromEntries(odd.map((name, i) => [name, `${i}\n`]));
    s.hub.commit('acme/odd', files);
    const r = await pull(s, 'acme/odd');
    assert.equal(r.code, 0, r.err);
    assert.deepEqual(Object.keys(look(s, 'acme/odd').files).sort(), [...odd].sort());
});

test('a list that contradicts itself, or is none', async (t) => {
    const s = await scene(t);
    s.hub.commit('acme/one', one);
    const entry = (more) => (list) => [...list, { type: 'file', path: 'new', size: 1, oid: gitSha1(Buffer.from('x')), ...more }];
    const lfs = (more) => entry({ lfs: { oid: sha256('x'), size: 1, pointerSize: 130, ...more } });
    for (const edit of [entry({ path: 'config.json' }), entry({ path: 'config.json/x' }), entry({ path: undefined }), entry({ path: 7 }), entry({ type: undefined }),
        entry({ size: -1 }), entry({ size: 1.5 }), entry({ size: '1' }), entry({ size: undefined }), entry({ size: 2 ** 62 }), entry({ oid: null }), entry({ oid: 'x'.repeat(40) }),
        entry({ oid: 'ABCDEF0123456789ABCDEF0123456789ABCDEF01' }), entry({ oid: sha256('x') }), entry({ oid: `sha256:${sha256('x')}` }), entry({ oid: '../../x' }),
        lfs({ oid: sha256('x').slice(1) }), lfs({ oid: `${sha256('x')}0` }), lfs({ oid: gitSha1(Buffer.from('x')) }), lfs({ oid: undefined }), lfs({ size: 2 }),
        () => ({}), () => 'files', () => [[1]], () => [null], () => Array(3).fill({})]) {
        s.hub.edit = edit;
        const list = edit([]);
        if (!Array.isArray(list)) s.hub.raw = { tree: (req, res, json) => json(list) };
        const r = await pull(s, 'acme/one');
        assert.equal(r.code, 6, `${edit}: ${r.err}`);
    }
    s.hub.edit = lfs({ oid: '*'.repeat(64) });
    s.hub.raw = null;
    assert.equal((await pull(s, 'acme/one')).code, 4, 'a hidden digest means that access must be asked for');
    s.hub.edit = (list) => Array.from({ length: 100_001 }, (_, i) => ({ ...list[0], path: `f${i}` }));
    s.hub.pageSize = 200_000;
    const many = await pull(s, 'acme/one');
    assert.equal(many.code, 6);
    assert.match(many.err, /100000/);
    s.hub.edit = null;
    for (const text of ['', '[', '[]]', '{"a":', 'null', '"x"', '[1e999]', '\ufffe', '<html>'])
        for (const what of ['revision', 'tree']) {
            s.hub.raw = { [what]: (req, res, json) => json(text) };
            assert.equal((await pull(s, 'acme/one')).code, 6, `${what}: ${text}`);
        }
    for (const sha of [undefined, null, 7, 'main', '*'.repeat(40), 'A'.repeat(40), '../x', 'a'.repeat(64)]) {
        s.hub.raw = { revision: (req, res, json) => json({ id: 'acme/one', sha }) };
        assert.equal((await pull(s, 'acme/one')).code, 6, `sha ${sha}`);
    }
    assert.deepEqual(walk(s.cache), []);
});

test('300 MB of nested JSON, and a list without end', async (t) => {
    const s = await scene(t);
    s.hub.commit('acme/one', one);
    let sent = 0;
    const flood = (piece, length) => async (req, res) => {
        sent = 0;
        res.writeHead(200, length ? { 'Content-Length': length } : {});
        for (let gone = false; !gone && sent < 300 * MIB; sent += piece.length) {
            if (!res.write(piece)) await new Promise((go) => { const end = () => { res.off('drain', end); res.off('close', end); go(); }; res.on('drain', end); res.on('close', end); });
            gone = res.destroyed;
        }
        res.end();
    };
    for (const [piece, length] of [[Buffer.alloc(MIB, '['), 300 * MIB], [Buffer.alloc(MIB, '['), 0], [Buffer.alloc(MIB, '{"a":'), 0], [Buffer.alloc(MIB, ' '), 0]]) {
        for (const what of ['tree', 'revision']) {
            s.hub.raw = { [what]: flood(piece, length) };
            const r = await pull(s, 'acme/one');
            assert.equal(r.code, 6, r.err);
            assert.match(r.err, /limit|deep|nest|over/i);
            assert.ok(sent < 80 * MIB, `${sent} bytes were taken`);
        }
    }
    s.hub.raw = { tree: (req, res, json) => json(`${'['.repeat(40)}${']'.repeat(40)}`) };
    assert.equal((await pull(s, 'acme/one')).code, 6, 'forty levels are too many');
});

test('pages: a foreign next page is not followed, one that never ends is cut off', async (t) => {
    const s = await scene(t, { token: 'hf_secret' });
    s.hub.commit('acme/one', one);
    for (const next of [`${s.hub.strangerUrl}/tree`, 'http://user@127.0.0.1/x', 'ftp://127.0.0.1/x', '//127.0.0.1:1/x']) {
        s.hub.nextPage = next;
        const r = await pull(s, 'acme/one', { env: { HF_TOKEN: 'hf_secret' } });
        assert.equal(r.code, 6, r.err);
    }
    assert.equal(s.hub.requests('stranger').length, 0);
    s.hub.nextPage = '?recursive=true&cursor=5';
    s.hub.log = [];
    const r = await pull(s, 'acme/one', { env: { HF_TOKEN: 'hf_secret' } });
    assert.equal(r.code, 6);
    assert.ok(s.hub.requests('hub', /tree/).length <= 1001);
});
