// SPDX-License-Identifier: Apache-2.0
// ctest: waits long
// `hangar pull` that is interrupted, killed, run twice at once, or robbed of its partial files.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { sha256 } from '../support/faulthub.mjs';
import { bytes, look, pull, scene, start } from '../support/pulling.mjs';

const MIB = 1024 * 1024;
const files = { 'config.json': '{"a": 1}\n', 'a.safetensors': bytes(24 * MIB + 1, 'a'), 'b.safetensors': bytes(12 * MIB + 77, 'b'), 'c.bin': bytes(300_000, 'c') };
const size = Object.values(files).reduce((sum, b) => sum + b.length, 0);

function complete(s, r) {
    assert.equal(r.code, 0, r.err);
    const got = look(s, 'acme/one');
    assert.deepEqual(got.files, Object.fromEntries(Object.entries(files).map(([k, v]) => [k, Buffer.from(v)])));
    assert.deepEqual(got.partials, [], 'no partial file left');
    return got;
}
const served = (hub) => Object.values(hub.served).reduce((sum, n) => sum + n, 0);
const blobs = (s) => path.join(s.cache, 'models--acme--one/blobs');

test('killed ten times at any moment, run once more: the same bytes, next to nothing twice', async (t) => {
    const s = await scene(t, { rate: 2_500_000, seed: 7 });
    const settings = { concurrent: 4, range_size: '1MiB' };
    s.hub.commit('acme/one', files);
    for (let i = 0; i < 10; i++) {
        const run = start(s, ['acme/one'], { settings });
        await sleep(50 + s.hub.random() * 700);
        run.child.kill('SIGKILL');
        const r = await run.done;
        if (r.signal === null) assert.equal(r.code, 0);
        const got = look(s, 'acme/one'); // whatever is visible is right
        assert.deepEqual([got.refs, got.commits], [{}, []]);
    }
    s.hub.rate = 0;
    complete(s, await pull(s, 'acme/one', { settings }));
    // Per kill, four streams lose what they had not written down (a range each at most) and what was in the pipes.
    assert.ok(served(s.hub) <= size + 10 * 4 * MIB + 10 * 4 * MIB, `${served(s.hub)} of ${size}`);
    const after = served(s.hub);
    complete(s, await pull(s, 'acme/one', { settings }));
    assert.equal(served(s.hub), after);
});

test('one stream, big ranges: a kill costs a piece, not the file', async (t) => {
    const s = await scene(t, { rate: 10_000_000 });
    const settings = { concurrent: 1, range_size: '64MiB' };
    s.hub.commit('acme/one', files);
    const run = start(s, ['acme/one', '--include', 'a.safetensors'], { settings });
    await sleep(1800);
    run.child.kill('SIGKILL');
    await run.done;
    const first = served(s.hub);
    assert.ok(first > 8 * MIB && first < 24 * MIB, `${first}`);
    s.hub.rate = 0;
    const r = await pull(s, ['acme/one', '--include', 'a.safetensors'], { settings });
    assert.equal(r.code, 0, r.err);
    assert.ok(served(s.hub) < 24 * MIB + 6 * MIB, `${served(s.hub)}`);
});

test('Ctrl-C: exit 130 within a second, what came is kept', async (t) => {
    const s = await scene(t, { rate: 3_000_000 });
    s.hub.commit('acme/one', files);
    const run = start(s, ['acme/one']);
    await sleep(1500);
    const at = performance.now();
    run.child.kill('SIGINT');
    const r = await run.done;
    assert.equal(r.code, 130, r.err);
    assert.ok(performance.now() - at < 1000, `${performance.now() - at} ms`);
    const got = look(s, 'acme/one');
    assert.deepEqual(got.refs, {});
    assert.ok(got.partials.length > 0);
    assert.ok(got.partials.every((n) => n.endsWith('.incomplete')), '`hf cache prune` cleans them');
    s.hub.rate = 0;
    complete(s, await pull(s, 'acme/one'));
    assert.ok(served(s.hub) < size + 9 * MIB, `${served(s.hub)} of ${size}`);
});

test('Ctrl-C while nothing comes: before the first answer, in a wait', async (t) => {
    const s = await scene(t);
    s.hub.commit('acme/one', files);
    for (const [where, kind, more] of [['info', 'mute', {}], ['a.safetensors', 'stall', { bytes: 0 }], ['info', 'status', { status: 429, headers: { 'Retry-After': '60' } }],
        ['resolve:a.safetensors', 'status', { status: 429, headers: { 'Retry-After': '60' } }]]) {
        s.hub.faults = {};
        s.hub.fault(where, kind, more);
        const run = start(s, ['acme/one']);
        await sleep(600);
        const at = performance.now();
        run.child.kill('SIGINT');
        assert.equal((await run.done).code, 130);
        assert.ok(performance.now() - at < 1000, `${where}: ${performance.now() - at} ms`);
    }
});

test('two, then five pulls at the same time: all succeed, each file is fetched once', async (t) => {
    const s = await scene(t, { rate: 8_000_000 });
    s.hub.commit('acme/one', files);
    const two = await Promise.all([1, 2].map(() => pull(s, 'acme/one')));
    two.forEach((r) => complete(s, r));
    assert.equal(s.hub.served['a.safetensors'], files['a.safetensors'].length);
    assert.match(two.map((r) => r.err).join(''), /another process/);
    fs.rmSync(s.cache, { recursive: true });
    for (const r of await Promise.all([1, 2, 3, 4, 5].map(() => pull(s, 'acme/one')))) complete(s, r);
});

test('a partial file that is not what its journal says is found out and fetched anew', async (t) => {
    const s = await scene(t, { rate: 6_000_000 });
    s.hub.commit('acme/one', files);
    const cut = async () => {
        fs.rmSync(s.cache, { recursive: true, force: true });
        s.hub.rate = 6_000_000;
        const run = start(s, ['acme/one'], { settings: { concurrent: 2 } });
        await sleep(1200);
        run.child.kill('SIGKILL');
        await run.done;
        s.hub.rate = 0;
        const name = look(s, 'acme/one').partials.find((n) => n.endsWith('.ranges.incomplete'));
        assert.ok(name, 'there is a journal');
        return { journal: path.join(blobs(s), name), partial: path.join(blobs(s), name.replace('.ranges', '')) };
    };
    const edits = {
        'bytes were changed': ({ partial }) => { const fd = fs.openSync(partial, 'r+'); fs.writeSync(fd, 'garbage', 1000); fs.closeSync(fd); },
        'the journal is garbage': ({ journal }) => fs.writeFileSync(journal, bytes(500, 'junk')),
        'the journal is empty': ({ journal }) => fs.writeFileSync(journal, ''),
        'the journal is torn': ({ journal }) => fs.truncateSync(journal, fs.statSync(journal).size - 5),
        'the journal is gone': ({ journal }) => fs.rmSync(journal),
        'the partial file is gone': ({ partial }) => fs.rmSync(partial),
        'the partial file is another one': ({ partial }) => { fs.rmSync(partial); fs.writeFileSync(partial, bytes(5 * MIB, 'other')); },
        'the partial file is too long': ({ partial }) => fs.truncateSync(partial, 100 * MIB),
        'the partial file is too short': ({ partial }) => fs.truncateSync(partial, 10),
    };
    for (const [what, edit] of Object.entries(edits)) {
        edit(await cut());
        const r = await pull(s, 'acme/one');
        assert.equal(r.code, 0, `${what}: ${r.err}`);
        complete(s, r);
    }
});

test('a partial file that somebody removes meanwhile', async (t) => {
    const s = await scene(t, { rate: 4_000_000 });
    s.hub.commit('acme/one', files);
    const run = start(s, ['acme/one']);
    await sleep(1000);
    for (const name of fs.readdirSync(blobs(s))) if (name.endsWith('.incomplete')) fs.rmSync(path.join(blobs(s), name));
    s.hub.rate = 0;
    complete(s, await run.done);
});

test('another tool has the blob: it is used; another tool holds the lock: it is waited for', async (t) => {
    const s = await scene(t);
    s.hub.commit('acme/one', files);
    fs.mkdirSync(blobs(s), { recursive: true });
    for (const name of ['a.safetensors', 'b.safetensors']) fs.writeFileSync(path.join(blobs(s), sha256(files[name])), files[name]);
    complete(s, await pull(s, 'acme/one'));
    assert.equal(s.hub.served['a.safetensors'], undefined);
});
