// SPDX-License-Identifier: Apache-2.0
// ctest: waits
// `hangar pull` against a Hub that behaves: what it asks for, what it leaves, and what it says when the answer is no.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { gitSha1, sha256 } from '../support/faulthub.mjs';
import { bytes, look, pull, scene, walk } from '../support/pulling.mjs';

const files = {
    'README.md': '# one\n', 'config.json': '{"a": 1}\n', 'empty.txt': '', 'empty.bin': '',
    'model.safetensors': bytes(3_000_001), 'copy/model.safetensors': bytes(3_000_001), 'sub/dir/notes äö #1%.txt': 'deep\n',
};
const buffers = (all) => Object.fromEntries(Object.entries(all).map(([k, v]) => [k, Buffer.from(v)]));

test('a revision comes whole, byte by byte, under its names', async (t) => {
    const s = await scene(t);
    const commit = s.hub.commit('acme/one', files);
    const r = await pull(s, 'acme/one');
    assert.equal(r.code, 0, r.err);
    const got = look(s, 'acme/one');
    assert.deepEqual(got.files, buffers(files));
    assert.deepEqual(got.refs, { main: commit });
    assert.deepEqual(got.partials, []);
    assert.equal(got.blobs.length, 6, 'the same content is there once');
    assert.ok(got.blobs.includes(sha256(files['model.safetensors'])) && got.blobs.includes(gitSha1(Buffer.from('# one\n'))));
    assert.deepEqual(s.hub.log.filter((q) => q.method !== 'GET'), []);
    assert.equal(s.hub.requests('hub', /resolve.*README/).length, 1, 'one request for a small file');
    assert.equal(s.hub.requests('hub', /empty/).length, 0, 'none for an empty one');
    assert.equal(s.hub.served['copy/model.safetensors'] ?? s.hub.served['model.safetensors'], 3_000_001, 'the same content is fetched once');
    assert.ok(s.hub.log.every((q) => q.headers['accept-encoding'] === 'identity' && !q.headers.cookie && !q.headers.referer));
    assert.ok(s.hub.requests('hub', /resolve/).every((q) => q.url.includes(`/resolve/${commit}/`)), 'everything by the commit');

    const before = s.hub.log.length;
    assert.equal((await pull(s, 'acme/one')).code, 0);
    assert.equal(s.hub.log.length - before, 2, 'the second time it asks for the commit and the list');
});

test('direct answers, relative redirects, a tree in pages, no tree at all', async (t) => {
    const s = await scene(t);
    s.hub.commit('acme/one', files);
    s.hub.relative = true;
    s.hub.pageSize = 2;
    assert.equal((await pull(s, 'acme/one')).code, 0);
    assert.deepEqual(look(s, 'acme/one').files, buffers(files));
    assert.equal(s.hub.requests('hub', /tree.*cursor/).length, 3);
    s.hub.commit('acme/two', files);
    s.hub.noTree = true;
    assert.equal((await pull(s, 'acme/two')).code, 0);
    assert.deepEqual(look(s, 'acme/two').files, buffers(files));
});

test('revisions: a branch with slashes is one segment, a commit gets no ref, all keep their own', async (t) => {
    const s = await scene(t);
    s.hub.commit('acme/one', { 'a.txt': 'main' });
    const pr = s.hub.commit('acme/one', { 'a.txt': 'pr' }, 'refs/pr/1');
    const old = s.hub.commit('acme/one', { 'a.txt': 'old' }, 'gone');
    delete s.hub.repos['acme/one'].refs.gone;
    assert.equal((await pull(s, 'acme/one@refs/pr/1')).code, 0);
    assert.ok(s.hub.requests('hub', /revision\/refs%2Fpr%2F1$/).length);
    assert.equal((await pull(s, `acme/one@${old}`)).code, 0);
    assert.deepEqual(look(s, 'acme/one').refs, { 'refs/pr/1': pr });
    const r = await pull(s, 'acme/one@nope');
    assert.equal(r.code, 3);
    assert.match(r.err, /nope/);
});

test('include, exclude, one file, and a dry run that writes nothing', async (t) => {
    const s = await scene(t);
    s.hub.commit('acme/one', files);
    const dry = await pull(s, ['acme/one', '--dry-run']);
    assert.equal(dry.code, 0, dry.err);
    assert.ok(!fs.existsSync(s.cache));
    assert.equal(s.hub.requests('hub', /resolve/).length, 0);
    assert.equal((await pull(s, ['acme/one', '--include', '*.json', '--include', '*.md', '--exclude', 'README*'])).code, 0);
    assert.deepEqual(Object.keys(look(s, 'acme/one').files), ['config.json']);
    assert.equal((await pull(s, 'acme/one:README.md')).code, 0);
    assert.deepEqual(Object.keys(look(s, 'acme/one').files), ['README.md', 'config.json']);
    assert.equal((await pull(s, ['acme/one', '--include', '*.nothing'])).code, 3);
    assert.equal((await pull(s, 'acme/one:nothing.gguf')).code, 3);
});

test('the result tells what was done', async (t) => {
    const s = await scene(t);
    const commit = s.hub.commit('acme/one', files);
    const last = (r) => JSON.parse(r.out.trim().split('\n').at(-1));
    const first = last(await pull(s, ['acme/one', '--json']));
    assert.equal(first.commit, commit);
    assert.equal(first.bytes_total, 3_000_001 + 6 + 9 + 5);
    assert.equal(first.bytes_fetched, first.bytes_total);
    assert.ok(fs.existsSync(path.join(first.path, 'model.safetensors')));
    assert.deepEqual(first.files.map((f) => f.path).sort(), Object.keys(files).sort());
    assert.ok(first.files.every((f) => f.state === 'fetched'));
    const second = last(await pull(s, ['acme/one', '--json']));
    assert.ok(second.files.every((f) => f.state === 'have'));
    assert.equal(second.bytes_fetched, 0);
});

test('a token goes to the Hub and nowhere else', async (t) => {
    const s = await scene(t, { token: 'hf_secret' });
    s.hub.commit('acme/one', files).toString();
    s.hub.repos['acme/one'].mode = 'private';
    const r = await pull(s, 'acme/one', { env: { HF_TOKEN: 'hf_secret' } });
    assert.equal(r.code, 0, r.err);
    assert.ok(s.hub.requests('hub').every((q) => q.headers.authorization === 'Bearer hf_secret'));
    assert.ok(s.hub.requests('cdn').length > 0);
    assert.ok(s.hub.requests('cdn').every((q) => !q.headers.authorization));
    assert.ok(!(r.out + r.err).includes('hf_secret'));
    fs.writeFileSync(path.join(s.dir, '.netrc'), 'machine 127.0.0.1 login me password netrc_secret\n', { mode: 0o600 });
    s.hub.fault('resolve:config.json', 'away');
    fs.rmSync(s.cache, { recursive: true });
    await pull(s, 'acme/one', { env: { HF_TOKEN: 'hf_secret' } });
    assert.ok(s.hub.requests('stranger').length > 0);
    assert.ok(s.hub.requests('stranger').every((q) => !q.headers.authorization && !q.headers.cookie && !q.headers.referer));
    for (const name of walk(s.dir))
        if (name !== '.netrc') assert.ok(!fs.readFileSync(path.join(s.dir, name)).includes('hf_secret'), name);
});

test('gated, private, disabled, missing, a bad token: exit codes and next steps', async (t) => {
    const s = await scene(t, { token: 'hf_good' });
    s.hub.commit('acme/one', files);
    const repo = s.hub.repos['acme/one'], good = { env: { HF_TOKEN: 'hf_good' } };
    repo.mode = 'gated';
    let r = await pull(s, 'acme/one');
    assert.equal(r.code, 4);
    assert.match(r.err, new RegExp(`gated.*${s.hub.url}/acme/one.*HF_TOKEN`));
    r = await pull(s, 'acme/one', good);
    assert.equal(r.code, 4);
    assert.match(r.err, new RegExp(`visit ${s.hub.url}/acme/one`));
    assert.deepEqual(walk(s.cache), [], 'masked digests are written nowhere');
    repo.granted = true;
    assert.equal((await pull(s, 'acme/one', good)).code, 0);
    repo.mode = 'private';
    r = await pull(s, 'acme/one');
    assert.equal(r.code, 3);
    assert.match(r.err, /HF_TOKEN/);
    repo.mode = 'disabled';
    r = await pull(s, 'acme/one', good);
    assert.equal(r.code, 4);
    assert.match(r.err, /disabled/);
    r = await pull(s, 'acme/other', good);
    assert.equal(r.code, 3);
    r = await pull(s, 'acme/one', { env: { HF_TOKEN: 'hf_bad' } });
    assert.equal(r.code, 4);
    assert.match(r.err, /token/);
    assert.ok(!r.err.includes('hf_bad'));
});

test('offline: what is in the store is enough, what is not is said', async (t) => {
    const s = await scene(t);
    s.hub.commit('acme/one', files);
    const off = { env: { HF_HUB_OFFLINE: '1' } };
    let r = await pull(s, 'acme/one', off);
    assert.equal(r.code, 5);
    assert.match(r.err, /HF_HUB_OFFLINE/);
    assert.equal((await pull(s, 'acme/one')).code, 0);
    const before = s.hub.log.length;
    r = await pull(s, 'acme/one', off);
    assert.equal(r.code, 0, r.err);
    assert.equal((await pull(s, ['acme/one', '--include', 'missing*'], off)).code, 5);
    assert.equal(s.hub.log.length, before, 'not one request');
});

test('nobody there: exit 5 with the reason within seconds', async (t) => {
    const s = await scene(t);
    const r = await pull(s, 'acme/one', { env: { HF_ENDPOINT: 'http://127.0.0.1:1' }, settings: { retries: 5 } });
    assert.equal(r.code, 5);
    assert.ok(r.seconds < 6, `${r.seconds} s`);
    assert.match(r.err, /http:\/\/127\.0\.0\.1:1 cannot be reached/);
});

test('no room: exit 7 before the first byte', async (t) => {
    const s = await scene(t);
    s.hub.commit('acme/one', files);
    s.hub.edit = (list) => list.map((e) => (e.path === 'model.safetensors' ? { ...e, size: 2 ** 45, lfs: { ...e.lfs, oid: sha256('big'), size: 2 ** 45 } } : e));
    const r = await pull(s, 'acme/one');
    assert.equal(r.code, 7, r.err);
    assert.match(r.err, /free/);
    assert.equal(s.hub.requests('hub', /resolve/).length, 0);
});

test('a rate limit holds over all streams', async (t) => {
    const s = await scene(t);
    s.hub.commit('acme/one', { 'a.bin': bytes(1_500_000, 'a'), 'b.bin': bytes(1_500_000, 'b') });
    const r = await pull(s, ['acme/one', '--limit-rate', '1500000']);
    assert.equal(r.code, 0, r.err);
    assert.ok(r.seconds > 1.6 && r.seconds < 4, `${r.seconds} s`);
});

test('several streams share a big file, and many files share the connections', async (t) => {
    const s = await scene(t, { rate: 8_000_000 });
    const big = bytes(24 * 1024 * 1024, 'big'), all = { 'big.safetensors': big };
    s.hub.commit('acme/one', all);
    const r = await pull(s, 'acme/one', { settings: { concurrent: 6 } });
    assert.equal(r.code, 0, r.err);
    assert.ok(r.seconds < 2.5, `${r.seconds} s; one stream needs 3`);
    const ranges = s.hub.requests('cdn').map((q) => q.headers.range);
    assert.ok(ranges.length > 3 && ranges.every((x) => /^bytes=\d+-\d+$/.test(x)), ranges.join());
    assert.equal(s.hub.served['big.safetensors'], big.length, 'no byte twice');
    assert.equal(s.hub.requests('hub', /resolve/).length, 1, 'one signed address serves all ranges');
    const many = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`f${i}.txt`, `${i}\n`]));
    s.hub.commit('acme/many', many);
    assert.equal((await pull(s, 'acme/many')).code, 0);
    assert.deepEqual(look(s, 'acme/many').files, buffers(many));
});
