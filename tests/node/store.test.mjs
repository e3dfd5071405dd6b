// SPDX-License-Identifier: Apache-2.0
// The store through the real program: what is added is listed, shown, checked and removed; damage is named exactly; other tools' caches
// are read in place, and the Hub's own npm client reads ours.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

const top = process.env.HANGAR_TOP ?? fileURLToPath(new URL('../..', import.meta.url));
const hangar = process.env.HANGAR ?? path.join(top, 'build/hangar');
const load = (name) => import(pathToFileURL(createRequire(path.join(top, 'tests/package.json')).resolve(name)));
const here = fs.mkdtempSync(path.join(process.env.TMPDIR ?? '/tmp', 'store-'));
test.after(() => fs.rmSync(here, { recursive: true, force: true }));
const models = path.join(top, 'models/hangar-labs');
const gitSha1 = (bytes) => crypto.createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');

let count = 0;
// A store of its own: {cache, home, run(...args), json(...args), env}.
function store() {
    const dir = path.join(here, `s${count++}`);
    const cache = path.join(dir, 'hub'), home = path.join(dir, 'home');
    fs.mkdirSync(dir);
    const env = { PATH: process.env.PATH, HOME: dir, HF_HUB_CACHE: cache, HANGAR_HOME: home };
    const run = (...args) => spawnSync(hangar, args, { env, encoding: 'utf8', timeout: 60000 });
    const json = (...args) => {
        const r = run(...args, '--json');
        const lines = r.stdout.trim().split('\n');
        const result = lines.at(-1) ? JSON.parse(lines.at(-1)) : null;
        return { code: r.status, result, stderr: r.stderr, all: lines };
    };
    return { dir, cache, home, env, run, json };
}

// The report among the lines of a failed command: the one that has the member.
const lineWith = (r, key) => r.all.map((l) => JSON.parse(l)).find((d) => key in d);

test('add, ls, show, verify, rm', () => {
    const s = store();
    let r = s.json('ls');
    assert.equal(r.code, 0);
    assert.deepEqual(r.result.models, []);
    assert.equal(fs.existsSync(s.cache), false, 'looking makes nothing');
    r = s.json('add', path.join(models, 'tiny-embed'), '--as', 'hangar-labs/tiny-embed');
    assert.equal(r.code, 0, r.stderr);
    const snapshot = r.result.path;
    assert.equal(r.result.files, fs.readdirSync(snapshot, { recursive: true, withFileTypes: true }).filter((e) => !e.isDirectory()).length);
    const weights = fs.readFileSync(path.join(models, 'tiny-embed/model.safetensors'));
    assert.equal(fs.readlinkSync(path.join(snapshot, 'model.safetensors')), `../../blobs/${sha256(weights)}`);
    const pooling = fs.readFileSync(path.join(models, 'tiny-embed/1_Pooling/config.json'));
    assert.equal(fs.readlinkSync(path.join(snapshot, '1_Pooling/config.json')), `../../../blobs/${gitSha1(pooling)}`);
    assert.deepEqual(fs.readFileSync(path.join(snapshot, 'model.safetensors')), weights);
    assert.equal(s.json('add', path.join(models, 'tiny-chat-gguf/tiny-chat-Q8_0.gguf')).code, 0);

    r = s.json('ls');
    assert.deepEqual(r.result.models.map((m) => [m.ref, m.format, m.architecture]),
        [['hangar-labs/tiny-embed', 'safetensors', 'bert'], ['local/tiny-chat-Q8_0', 'gguf', 'llama']]);
    assert.match(s.run('ls').stdout, /hangar-labs\/tiny-embed/);
    r = s.json('show', 'hangar-labs/tiny-embed');
    assert.equal(r.result.parameters, 316320);
    assert.equal(r.result.license, 'apache-2.0');
    assert.equal(r.result.fits, true);
    assert.equal(r.result.files.find((f) => f.path === 'model.safetensors').blob, sha256(weights));

    r = s.json('verify', '--all');
    assert.equal(r.code, 0, r.stderr);
    assert.equal(r.result.ok, r.result.files);
    r = s.json('rm', 'local/tiny-chat-Q8_0', '--yes');
    assert.equal(r.code, 0, r.stderr);
    assert.equal(fs.existsSync(path.join(s.cache, 'models--local--tiny-chat-Q8_0')), false);
    assert.equal(s.json('ls').result.models.length, 1);
});

test('a flipped byte is named exactly, with exit code 6', () => {
    const s = store();
    const added = s.json('add', path.join(models, 'tiny-embed'), '--as', 'a/embed').result;
    s.json('add', path.join(models, 'tiny-chat-gguf'), '--as', 'a/chat');
    const blob = fs.realpathSync(path.join(added.path, 'model.safetensors'));
    const bytes = fs.readFileSync(blob), sound = sha256(bytes);
    bytes[bytes.length >> 1] ^= 0x10;
    fs.writeFileSync(blob, bytes);
    const r = s.json('verify', '--all');
    assert.equal(r.code, 6);
    const report = lineWith(r, 'damaged');
    assert.deepEqual(report.damaged, [{ ref: 'a/embed', path: 'model.safetensors', expected: sound, actual: sha256(bytes), problem: 'hash' }]);
    const text = s.run('verify', 'a/embed');
    assert.equal(text.status, 6);
    assert.match(text.stdout + text.stderr, /a\/embed.*model\.safetensors.*damaged/);
    assert.equal(s.json('verify', 'a/chat').code, 0, 'the other model is sound');
    fs.rmSync(blob);
    assert.equal(lineWith(s.json('verify', 'a/embed'), 'damaged').damaged[0].problem, 'missing');
    // Added again, it is whole again.
    assert.equal(s.json('add', path.join(models, 'tiny-embed'), '--as', 'a/embed').code, 0);
    assert.equal(s.json('verify', '--all').code, 0);
});

test('exit codes of what is not there and what cannot be', () => {
    const s = store();
    assert.equal(s.run('show', 'no/such').status, 3);
    assert.equal(s.run('rm', 'no/such', '--yes').status, 3);
    assert.equal(s.run('verify', 'no/such').status, 3);
    assert.equal(s.run('add', path.join(s.dir, 'none')).status, 3);
    for (const name of ['../x', 'a/../b', '/etc/passwd', 'a/b@../x', 'a/b:../x', 'a--b', 'a/b/c', 'a/b\nc'])
        for (const verb of ['show', 'rm', 'verify']) assert.ok([2, 6].includes(s.run(verb, name).status), `${verb} ${name}`);
    fs.mkdirSync(path.join(s.dir, 'bad'));
    fs.symlinkSync('/etc/passwd', path.join(s.dir, 'bad/link'));
    assert.equal(s.run('add', path.join(s.dir, 'bad')).status, 6);
    assert.equal(spawnSync('mkfifo', [path.join(s.dir, 'x.gguf')]).status, 0);
    assert.equal(s.run('add', path.join(s.dir, 'x.gguf')).status, 6);
    assert.equal(s.run('add', '/dev/zero').status, 6);
    assert.deepEqual(fs.readdirSync(s.dir).filter((f) => !['bad', 'x.gguf', 'hub', 'home'].includes(f)), []);
});

// As Python's client leaves it: a git file, an LFS file, a name in a folder, a tag, a plain file, an unfinished download.
function pythonCache(cache) {
    const repo = path.join(cache, 'models--acme--one'), commit = 'c'.repeat(40);
    const put = (file, bytes, oid) => {
        const to = path.join(repo, 'snapshots', commit, file);
        fs.mkdirSync(path.dirname(to), { recursive: true });
        fs.mkdirSync(path.join(repo, 'blobs'), { recursive: true });
        fs.writeFileSync(path.join(repo, 'blobs', oid), bytes);
        fs.symlinkSync(path.relative(path.dirname(to), path.join(repo, 'blobs', oid)), to);
    };
    const text = Buffer.from('{"model_type": "bert"}'), weights = crypto.randomBytes(1000);
    put('config.json', text, gitSha1(text));
    put('onnx/model.onnx', weights, sha256(weights));
    fs.writeFileSync(path.join(repo, 'blobs', `${'d'.repeat(40)}.12ab34cd.incomplete`), 'half');
    for (const [ref, to] of [['main', commit], ['v1', commit], ['refs/pr/1', 'e'.repeat(40)]]) {
        fs.mkdirSync(path.dirname(path.join(repo, 'refs', ref)), { recursive: true });
        fs.writeFileSync(path.join(repo, 'refs', ref), to);
    }
    fs.mkdirSync(path.join(repo, '.no_exist', commit), { recursive: true });
    fs.writeFileSync(path.join(repo, '.no_exist', commit, 'adapter_config.json'), '');
    fs.mkdirSync(path.join(cache, 'datasets--acme--data'), { recursive: true });
    fs.mkdirSync(path.join(cache, '.locks/models--acme--one'), { recursive: true });
    fs.writeFileSync(path.join(cache, 'version.txt'), '1');
    return { repo, commit };
}

test("another tool's cache is found and used in place", () => {
    const s = store();
    const { repo, commit } = pythonCache(s.cache);
    const before = spawnSync('sh', ['-c', `cd '${s.cache}' && find . -type f -o -type l | sort | xargs -d '\\n' ls -l --time-style=full-iso`], { encoding: 'utf8' }).stdout;
    const r = s.json('ls').result;
    assert.deepEqual(r.models.map((m) => [m.ref, m.commit, m.files]), [['acme/one', commit, 2]]);
    assert.equal(s.json('show', 'acme/one@v1').result.commit, commit);
    assert.equal(s.json('show', `acme/one@${commit}`).result.architecture, 'bert');
    assert.equal(s.json('verify', '--all').code, 0);
    assert.equal(s.run('show', 'acme/one@refs/pr/1').status, 3, 'a ref whose snapshot is not there');
    const after = spawnSync('sh', ['-c', `cd '${s.cache}' && find . -type f -o -type l | sort | xargs -d '\\n' ls -l --time-style=full-iso`], { encoding: 'utf8' }).stdout;
    assert.equal(after, before, 'looking changes nothing');
    // A name goes alone while another leads to the same commit; the last takes the folder along, nothing else.
    assert.equal(s.json('rm', 'acme/one@v1', '--yes').code, 0);
    assert.ok(fs.existsSync(path.join(repo, 'snapshots', commit, 'config.json')));
    assert.equal(s.json('rm', 'acme/one', '--yes').code, 0);
    assert.equal(fs.existsSync(repo), false);
    assert.ok(fs.existsSync(path.join(s.cache, 'version.txt')) && fs.existsSync(path.join(s.cache, 'datasets--acme--data')));
});

test("the Hub's npm client reads our cache", async () => {
    const { scanCacheDir } = await load('@huggingface/hub');
    const s = store();
    const added = s.json('add', path.join(models, 'tiny-embed'), '--as', 'hangar-labs/tiny-embed').result;
    const info = await scanCacheDir(s.cache);
    assert.deepEqual(info.warnings, []);
    const [repo] = info.repos;
    assert.equal(info.repos.length, 1);
    assert.equal(repo.id.name, 'hangar-labs/tiny-embed');
    assert.equal(repo.id.type, 'model');
    assert.equal(repo.revisions.length, 1);
    assert.equal(repo.revisions[0].commitOid, added.commit);
    assert.deepEqual([...repo.revisions[0].refs], ['main']);
    assert.ok(repo.revisions[0].files.some((f) => f.path.endsWith('model.safetensors')));
});

test('the index may go, break or belong to somebody else', () => {
    const s = store();
    s.json('add', path.join(models, 'tiny-embed'), '--as', 'a/embed');
    const names = () => s.json('ls').result.models.map((m) => `${m.ref} ${m.architecture}`);
    assert.deepEqual(names(), ['a/embed bert']);
    const index = path.join(s.home, 'index.db');
    assert.ok(fs.existsSync(index));
    for (const damage of [
        () => fs.rmSync(index),
        () => fs.rmSync(s.home, { recursive: true }),
        () => fs.writeFileSync(index, crypto.randomBytes(20000)),
        () => fs.truncateSync(index, 100),
        () => { fs.rmSync(index); fs.mkdirSync(index); },
        () => { fs.rmSync(s.home, { recursive: true }); fs.writeFileSync(s.home, ''); },
    ]) {
        damage();
        assert.deepEqual(names(), ['a/embed bert']);
    }
});

test('many at once: adding, listing, checking and removing', async () => {
    const s = store();
    const start = (...args) => new Promise((resolve) => {
        const child = spawn(hangar, args, { env: s.env, stdio: ['ignore', 'ignore', 'pipe'] });
        let said = '';
        child.stderr.on('data', (d) => { said += d; });
        child.on('exit', (code, signal) => resolve({ args, code: code ?? signal, said }));
    });
    const work = [];
    for (let i = 0; i < 4; i++) work.push(start('add', path.join(models, 'tiny-embed'), '--as', 'a/one'), start('ls'),
        start('add', path.join(models, 'tiny-chat-gguf/tiny-chat-Q8_0.gguf'), '--as', `a/m${i}`));
    for (const r of await Promise.all(work)) assert.equal(r.code, 0, `${r.args.join(' ')}: ${r.said}`);
    const more = [start('rm', 'a/m0', '--yes'), start('rm', 'a/m0', '--yes'), start('rm', 'a/m1', '--yes'), start('verify', 'a/one'),
        start('add', path.join(models, 'tiny-embed'), '--as', 'a/one'), start('ls'), start('ls', '--json')];
    const done = await Promise.all(more);
    assert.deepEqual([done[0].code, done[1].code].sort(), [0, 3], 'one of two removes it');
    for (const r of done.slice(2)) assert.equal(r.code, 0, `${r.args.join(' ')}: ${r.said}`);
    assert.deepEqual(s.json('ls').result.models.map((m) => m.ref), ['a/m2', 'a/m3', 'a/one']);
    assert.equal(s.json('verify', '--all').code, 0);
});

test('a killed add leaves nothing that is seen, and is done again', async () => {
    const s = store();
    const big = path.join(s.dir, 'big.gguf');
    fs.writeFileSync(big, Buffer.alloc(48 << 20, 7));
    for (let i = 0; i < 6; i++) {
        const child = spawn(hangar, ['add', big, '--as', 'a/big'], { env: s.env, stdio: 'ignore' });
        const ended = new Promise((resolve) => child.on('exit', resolve));
        await new Promise((resolve) => setTimeout(resolve, 5 + 8 * i));
        child.kill('SIGKILL');
        await ended;
        const r = s.json('verify', '--all');
        assert.equal(r.code, 0, 'whatever is visible is right');
    }
    assert.equal(s.json('add', big, '--as', 'a/big').code, 0);
    assert.equal(s.json('verify', '--all').code, 0);
    assert.equal(s.json('rm', 'a/big', '--yes').code, 0);
    assert.equal(fs.existsSync(path.join(s.cache, 'models--a--big')), false, 'also what was left half done');
});

test('a full disk: told as exit code 7, and removing still works', (t) => {
    const s = store();
    fs.mkdirSync(s.cache);
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', s.cache]).status !== 0) return t.skip('cannot mount here');
    try {
        assert.equal(s.json('add', path.join(models, 'tiny-embed'), '--as', 'a/embed').code, 0);
        const big = path.join(s.dir, 'big.gguf');
        fs.writeFileSync(big, Buffer.alloc(6 << 20));
        const r = s.run('add', big, '--as', 'a/big');
        assert.equal(r.status, 7, r.stderr);
        assert.match(r.stderr, /needs .* free/);
        try { fs.writeFileSync(path.join(s.cache, 'filler'), Buffer.alloc(8 << 20)); } catch { /* full now */ }
        assert.equal(s.json('ls').result.models.length, 1);
        const gone = s.json('rm', 'a/embed', '--yes');
        assert.equal(gone.code, 0, gone.stderr);
        assert.equal(s.json('ls').result.models.length, 0);
    } finally {
        spawnSync('umount', [s.cache]);
    }
});

test('a cache that cannot be written is still read', (t) => {
    const s = store();
    fs.mkdirSync(s.cache);
    if (spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', s.cache]).status !== 0) return t.skip('cannot mount here');
    try {
        s.json('add', path.join(models, 'tiny-embed'), '--as', 'a/embed');
        assert.equal(spawnSync('mount', ['-o', 'remount,ro', s.cache]).status, 0);
        assert.equal(s.json('ls').result.models.length, 1);
        assert.equal(s.json('show', 'a/embed').result.architecture, 'bert');
        assert.equal(s.json('verify', '--all').code, 0);
        assert.notEqual(s.run('rm', 'a/embed', '--yes').status, 0);
        assert.notEqual(s.run('add', path.join(models, 'tiny-chat-gguf')).status, 0);
        assert.equal(s.json('verify', '--all').code, 0);
    } finally {
        spawnSync('umount', [s.cache]);
    }
});

test('a pull repairs what a verification found damaged, and only that', async () => {
    const s = store();
    fs.mkdirSync(path.join(s.dir, 'served/a'), { recursive: true });
    fs.cpSync(path.join(models, 'tiny-embed'), path.join(s.dir, 'served/a/embed'), { recursive: true });
    const mirror = spawn(hangar, ['mirror', path.join(s.dir, 'served'), '--listen', '127.0.0.1:0'], { env: s.env, stdio: ['ignore', 'pipe', 'pipe'] });
    const ended = new Promise((resolve) => mirror.on('exit', resolve));
    try {
        s.env.HF_ENDPOINT = await new Promise((resolve, reject) => {
            let said = '';
            const listen = (piece) => {
                said += piece;
                const url = said.match(/http:\/\/127\.0\.0\.1:\d+/)?.[0];
                if (url) resolve(url);
            };
            mirror.stdout.on('data', listen);
            mirror.stderr.on('data', listen);
            ended.then(() => reject(new Error(`the mirror ended: ${said}`)));
        });
        const pulled = s.json('pull', 'a/embed');
        assert.equal(pulled.code, 0, pulled.stderr);
        const link = path.join(pulled.result.path, 'model.safetensors'), blob = fs.realpathSync(link), sound = fs.readFileSync(blob);
        const bad = Buffer.from(sound);
        bad[100] ^= 1;
        fs.writeFileSync(blob, bad);
        assert.equal(s.json('verify', 'a/embed').code, 6);
        const again = s.json('pull', 'a/embed');
        assert.equal(again.code, 0, again.stderr);
        assert.equal(again.result.bytes_fetched, sound.length);
        assert.deepEqual(fs.readFileSync(link), sound);
        assert.equal(s.json('verify', 'a/embed').code, 0);
        assert.equal(s.json('pull', 'a/embed').result.bytes_fetched, 0);
        assert.equal(s.json('rm', 'a/embed', '--yes').code, 0);
        assert.equal(fs.existsSync(path.join(s.cache, 'models--a--embed')), false);
    } finally {
        mirror.kill('SIGINT');
        await ended;
    }
});
