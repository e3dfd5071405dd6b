// SPDX-License-Identifier: Apache-2.0
// `hangar mirror` as clients see it: the npm client lists and downloads from it, and plain requests look at every promise.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import { createRequire } from 'node:module';
import path from 'node:path';
import test, { after, before } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

const top = process.env.HANGAR_TOP ?? fileURLToPath(new URL('../..', import.meta.url));
const hangar = process.env.HANGAR ?? path.join(top, 'build/hangar');
const load = (name) => import(pathToFileURL(createRequire(path.join(top, 'tests/package.json')).resolve(name)));
const here = fs.mkdtempSync(path.join(process.env.TMPDIR ?? '/tmp', 'mirror-'));
const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');
const gitSha1 = (bytes) => crypto.createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
const env = { PATH: process.env.PATH, HOME: here, HANGAR_HOME: path.join(here, 'own'), HF_HOME: path.join(here, 'hf') };

// Starts a mirror over `dir`; resolves to {url, stop}.
function mirror(dir, ...more) {
    const child = spawn(hangar, ['mirror', dir, '--listen', '127.0.0.1:0', ...more], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve(signal ?? code)));
    return new Promise((resolve, reject) => {
        let said = '';
        const listen = (piece) => {
            said += piece;
            const url = said.match(/http:\/\/127\.0\.0\.1:\d+/)?.[0];
            if (url) resolve({ url, stop: () => (child.kill('SIGINT'), ended) });
        };
        child.stdout.on('data', listen);
        child.stderr.on('data', listen);
        child.on('error', reject);
        ended.then((how) => reject(new Error(`the mirror ended (${how}): ${said}`)));
    });
}

function put(name, bytes) {
    const file = path.join(here, 'hub', name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, bytes);
}

const weights = crypto.randomBytes(3_000_001);
let hub, url;
before(async () => {
    put('acme/one/README.md', '# one\n');
    put('acme/one/config.json', '{"a": 1}\n');
    put('acme/one/empty.txt', '');
    put('acme/one/model.safetensors', weights);
    put('acme/one/sub/dir/notes äö #1%.txt', 'deep\n');
    put('acme/one/sub/more.json', '[]\n');
    put('acme/one@v2/config.json', '{"a": 2}\n');
    put('acme/one@refs%2Fpr%2F1/config.json', '{"a": 3}\n');
    put('secret.txt', 'not for you\n');
    fs.symlinkSync('/etc/passwd', path.join(here, 'hub/acme/one/passwd'));
    fs.symlinkSync('../../secret.txt', path.join(here, 'hub/acme/one/inner'));
    for (let i = 0; i < 25; i++) put(`acme/many/f${String(i).padStart(2, '0')}.txt`, `${i}\n`);
    hub = await mirror(path.join(here, 'hub'));
    url = hub.url;
});
after(async () => {
    assert.ok([0, 130].includes(await hub?.stop()));
    fs.rmSync(here, { recursive: true, force: true });
});

// A request that is sent exactly as it is written; fetch() would tidy its path up.
function raw(target, { method = 'GET', headers = {} } = {}) {
    const { hostname, port } = new URL(url);
    const lines = Object.entries({ Host: `${hostname}:${port}`, Connection: 'close', ...headers }).map(([k, v]) => `${k}: ${v}\r\n`);
    return new Promise((resolve, reject) => {
        const pieces = [];
        const socket = net.connect(port, hostname, () => socket.write(`${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`));
        socket.on('data', (piece) => pieces.push(piece));
        socket.on('error', reject);
        socket.on('end', () => {
            const text = Buffer.concat(pieces).toString('latin1');
            resolve({ status: Number(text.split(' ')[1]), text });
        });
    });
}
const get = (target, options = {}) => fetch(url + target, { redirect: 'manual', ...options });
const api = async (target, options) => {
    const answer = await get(target, options);
    assert.equal(answer.status, 200, target);
    return answer.json();
};

test('the facts of a model', async () => {
    const info = await api('/api/models/acme/one?blobs=true');
    assert.equal(info.id, 'acme/one');
    assert.match(info.sha, /^[0-9a-f]{40}$/);
    assert.match(info._id, /^[0-9a-f]{24}$/);
    assert.deepEqual(info.siblings.map((s) => s.rfilename).sort(), [
        'README.md', 'config.json', 'empty.txt', 'inner', 'model.safetensors', 'sub/dir/notes äö #1%.txt', 'sub/more.json']);
    const by = Object.fromEntries(info.siblings.map((s) => [s.rfilename, s]));
    assert.equal(by['config.json'].blobId, gitSha1(Buffer.from('{"a": 1}\n')));
    assert.equal(by['config.json'].lfs, undefined);
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256(weights)}\nsize ${weights.length}\n`;
    assert.deepEqual(by['model.safetensors'].lfs, { sha256: sha256(weights), size: weights.length, pointerSize: pointer.length });
    assert.equal(by['model.safetensors'].blobId, gitSha1(Buffer.from(pointer)));
    assert.equal(await (await get('/acme/one/raw/main/model.safetensors')).text(), pointer);
    const plain = await api('/api/models/acme/one');
    assert.deepEqual(plain.siblings[0], { rfilename: 'README.md' });
    assert.equal((await api(`/api/models/acme/one/revision/${info.sha}`)).sha, info.sha);
    assert.notEqual((await api('/api/models/acme/one/revision/v2')).sha, info.sha);
    assert.deepEqual(Object.keys(await api('/api/models/acme/one?expand=sha&expand=likes')).sort(), ['_id', 'id', 'likes', 'sha']);
});

test('the tree, in pages', async () => {
    const tree = await api('/api/models/acme/one/tree/main');
    assert.deepEqual(tree.filter((e) => e.type === 'directory').map((e) => e.path), ['sub']);
    assert.equal(tree.find((e) => e.path === 'model.safetensors').lfs.oid, sha256(weights));
    const all = await api('/api/models/acme/one/tree/main?recursive=true');
    assert.deepEqual(all.map((e) => `${e.type[0]} ${e.path}`), [
        'f README.md', 'f config.json', 'f empty.txt', 'f inner', 'f model.safetensors', 'd sub', 'd sub/dir',
        'f sub/dir/notes äö #1%.txt', 'f sub/more.json']);
    const part = await api('/api/models/acme/one/tree/main/sub%2Fdir?expand=true');
    assert.deepEqual(part.map((e) => e.path), ['sub/dir/notes äö #1%.txt']);
    assert.match(part[0].lastCommit.id, /^[0-9a-f]{40}$/);
    let next = '/api/models/acme/many/tree/main?limit=7', seen = [], pages = 0;
    while (next) {
        const answer = await get(next);
        seen.push(...(await answer.json()).map((e) => e.path));
        pages++;
        const link = answer.headers.get('link')?.match(/^<([^>]+)>; rel="next"$/)?.[1];
        assert.ok(!link || link.startsWith(`${url}/`), link);
        next = link?.slice(url.length);
    }
    assert.equal(pages, 4);
    assert.deepEqual(seen, Array.from({ length: 25 }, (_, i) => `f${String(i).padStart(2, '0')}.txt`));
    assert.equal((await get('/api/models/acme/one/tree/main/none')).headers.get('x-error-code'), 'EntryNotFound');
    assert.equal((await get('/api/models/acme/one/tree/main?cursor=x')).status, 400);
});

test('references, paths, commits, the list', async () => {
    const refs = await api('/api/models/acme/one/refs?include_prs=1');
    assert.deepEqual(refs.branches.map((b) => `${b.name} ${b.ref}`), ['main refs/heads/main', 'v2 refs/heads/v2']);
    assert.deepEqual(refs.pullRequests.map((b) => b.ref), ['refs/pr/1']);
    const json = await api('/api/models/acme/one/paths-info/main', {
        method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ paths: ['config.json', 'sub', 'none'] }) });
    assert.deepEqual(json.map((e) => e.path), ['config.json', 'sub']);
    const form = await api('/api/models/acme/one/paths-info/main', {
        method: 'POST', body: new URLSearchParams([['paths', 'sub/dir/notes äö #1%.txt'], ['expand', 'True']]) });
    assert.equal(form[0].path, 'sub/dir/notes äö #1%.txt');
    assert.ok(form[0].lastCommit.id);
    assert.equal((await get('/api/models/acme/one/paths-info/main', { method: 'POST', body: '{"paths":' })).status, 400);
    assert.equal((await api('/api/models/acme/one/commits/main')).length, 1);
    assert.deepEqual((await api('/api/models?search=AN')).map((m) => m.id), ['acme/many']);
    const first = await get('/api/models?limit=1&author=acme');
    const next = first.headers.get('link').match(/<([^>]+)>/)[1];
    assert.deepEqual((await (await fetch(next)).json()).map((m) => m.id), ['acme/one']);
});

test('a small file: 307 to an address with the commit, then the bytes', async () => {
    const body = Buffer.from('{"a": 1}\n');
    const first = await get('/acme/one/resolve/main/config.json');
    assert.equal(first.status, 307);
    assert.ok(first.headers.get('location').startsWith('/api/resolve-cache/models/acme/one/'));
    const commit = first.headers.get('x-repo-commit');
    assert.match(commit, /^[0-9a-f]{40}$/);
    const second = await get(first.headers.get('location'));
    assert.equal(second.status, 200);
    assert.equal(second.headers.get('etag'), `"${gitSha1(body)}"`);
    assert.equal(second.headers.get('x-repo-commit'), commit);
    assert.deepEqual(Buffer.from(await second.arrayBuffer()), body);
    assert.equal((await get('/acme/one/resolve/main/config.json', { headers: { 'If-None-Match': `"${gitSha1(body)}"` } })).status, 304);
    assert.deepEqual(await (await fetch(`${url}/acme/one/resolve/v2/config.json`)).json(), { a: 2 });
    assert.deepEqual(await (await fetch(`${url}/acme/one/resolve/refs%2Fpr%2F1/config.json`)).json(), { a: 3 });
    const odd = await fetch(`${url}/acme/one/resolve/main/sub/dir/${encodeURIComponent('notes äö #1%.txt')}`);
    assert.equal(await odd.text(), 'deep\n');
    assert.match(odd.headers.get('content-disposition'), /filename\*=UTF-8''notes%20%C3%A4%C3%B6%20%231%25\.txt;/);
});

test('a big file: 302 to a signed address that cannot be altered', async () => {
    const first = await get('/acme/one/resolve/main/model.safetensors');
    assert.equal(first.status, 302);
    assert.equal(first.headers.get('x-linked-size'), String(weights.length));
    assert.equal(first.headers.get('x-linked-etag'), `"${sha256(weights)}"`);
    const address = new URL(first.headers.get('location'));
    assert.equal(address.origin, url);
    assert.deepEqual(Buffer.from(await (await fetch(address)).arrayBuffer()), weights);
    for (const [key, value] of [['Signature', '0'.repeat(64)], ['Expires', '99999999999'], ['Key', 'acme/one/config.json'], ['Key', '../secret.txt']]) {
        const altered = new URL(address);
        altered.searchParams.set(key, value);
        const answer = await fetch(altered);
        assert.equal(answer.status, 403, key);
        assert.match(await answer.text(), /<Code>AccessDenied<\/Code>/);
    }
    const other = new URL(address);
    other.pathname = `/lfs/${'a'.repeat(64)}`;
    assert.equal((await fetch(other)).status, 403);
});

test('ranges', async () => {
    const size = weights.length, file = '/acme/one/resolve/main/model.safetensors';
    const part = async (range, more = {}) => {
        const answer = await fetch(url + file, { headers: { Range: range, ...more } });
        return { status: answer.status, range: answer.headers.get('content-range'), etag: answer.headers.get('etag'),
            body: Buffer.from(await answer.arrayBuffer()) };
    };
    for (const [range, from, to] of [['bytes=0-0', 0, 0], ['bytes=10-1999', 10, 1999], [`bytes=${size - 1}-`, size - 1, size - 1],
        ['bytes=-5', size - 5, size - 1], [`bytes=-${size + 5}`, 0, size - 1], [`bytes=7-${size * 2}`, 7, size - 1]]) {
        const got = await part(range);
        assert.equal(got.status, 206, range);
        assert.equal(got.range, `bytes ${from}-${to}/${size}`);
        assert.deepEqual(got.body, weights.subarray(from, to + 1), range);
    }
    const past = await part(`bytes=${size}-`);
    assert.equal(past.status, 416);
    assert.equal(past.range, `bytes */${size}`);
    for (const range of ['bytes=0-1,5-6', 'bytes=5-1', 'lines=0-1']) assert.equal((await part(range)).status, 200, range);
    const { etag } = await part('bytes=0-0');
    assert.equal((await part('bytes=0-9', { 'If-Range': etag })).status, 206);
    assert.equal((await part('bytes=0-9', { 'If-Range': '"other"' })).status, 200);
    assert.equal((await part('bytes=0-9', { 'If-Match': '"other"' })).status, 412);
});

test('HEAD says what GET says', async () => {
    for (const target of ['/api/models/acme/one', '/api/models/acme/one/tree/main', '/acme/one/resolve/main/config.json',
        '/acme/one/resolve/main/model.safetensors', '/acme/one/raw/main/config.json', '/acme/one/resolve/main/none', '/api/whoami-v2']) {
        const one = await get(target), two = await get(target, { method: 'HEAD' });
        await one.arrayBuffer();
        assert.equal(two.status, one.status, target);
        assert.equal(await two.text(), '');
        for (const name of ['content-length', 'etag', 'x-repo-commit', 'x-linked-size', 'x-error-code', 'x-error-message'])
            assert.equal(two.headers.get(name), one.headers.get(name), `${target} ${name}`);
    }
    const file = await fetch(`${url}/acme/one/resolve/main/model.safetensors`, { method: 'HEAD' });
    assert.equal(file.headers.get('content-length'), String(weights.length));
});

test('errors as the Hub words them', async () => {
    const rows = [
        ['/acme/none/resolve/main/x', 404, 'RepoNotFound', 'Repository not found'],
        ['/api/models/acme/none', 404, 'RepoNotFound', 'Repository not found'],
        ['/api/models/no--pe/x', 404, 'RepoNotFound', 'Repository not found'],
        ['/acme/one/resolve/none/config.json', 404, 'RevisionNotFound', 'Invalid rev id'],
        [`/acme/one/resolve/${'0'.repeat(40)}/config.json`, 404, 'RevisionNotFound', 'Invalid rev id'],
        ['/api/models/acme/one/revision/none', 404, 'RevisionNotFound', 'Invalid rev id'],
        ['/acme/one/resolve/main/none', 404, 'EntryNotFound', 'Entry not found'],
        ['/acme/one/resolve/main/sub', 404, 'EntryNotFound', 'Entry not found'],
        ['/api/whoami-v2', 401, null, 'Invalid username or password.'],
        ['/api/none', 404, null, 'Not found'],
    ];
    for (const [target, status, code, message] of rows) {
        const answer = await get(target);
        assert.equal(answer.status, status, target);
        assert.equal(answer.headers.get('x-error-code'), code, target);
        assert.equal(answer.headers.get('x-error-message'), message, target);
        assert.equal(answer.headers.has('x-repo-commit'), code === 'EntryNotFound', target);
        const text = await answer.text();
        assert.equal(target.startsWith('/api/') ? JSON.parse(text).error : text, message);
    }
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
        const answer = await get('/acme/one/resolve/main/config.json', { method });
        assert.equal(answer.status, 405);
        assert.equal(answer.headers.get('allow'), 'GET, HEAD');
    }
});

test('nothing outside the folder, however it is spelled', async () => {
    const up = ['../../../secret.txt', '..%2f..%2f..%2fsecret.txt', '%2e%2e/%2e%2e/secret.txt', '..%252f..%252fsecret.txt', '..\\..\\secret.txt',
        '/etc/passwd', '%2fetc%2fpasswd', 'sub/../config.json', './config.json', 'sub//more.json', 'passwd', 'config.json%00.txt',
        'config.json%', 'C:%5Cx', '.git/config', 'config.json/', 'config.json/x'];
    for (const tail of up) {
        for (const kind of ['resolve', 'raw']) {
            const { status, text } = await raw(`/acme/one/${kind}/main/${tail}`);
            // "config.json/" is the same as without the slash; all others are not there.
            if (tail === 'config.json/') continue;
            assert.ok(status === 404 || status === 400, `${kind} ${tail}: ${status}`);
            assert.ok(!text.includes('not for you') && !text.includes('root:'), tail);
        }
    }
    for (const target of ['/../secret.txt', '/acme/../secret.txt', '//acme/one/resolve/main/config.json', '/acme/one/../../secret.txt',
        '/acme/./one/resolve/main/config.json', '/%2e%2e/secret.txt/resolve/main/x', '/../hub/resolve/main/secret.txt',
        '/acme/one@v2/resolve/main/config.json', '/acme/one/resolve/..%2f..%2f/secret.txt', '/api/models/acme/one/tree/main/..%2f..']) {
        const { status } = await raw(target);
        assert.ok(status === 404 || status === 400, `${target}: ${status}`);
    }
    // A link within the mirror's own folder is fine.
    assert.equal((await fetch(`${url}/acme/one/resolve/main/inner`)).status, 200);
});

test('a page of another origin gets nothing', async () => {
    for (const host of ['evil.test', '127.0.0.1.evil.test', 'localhost', 'localhost:1', '127.0.0.1:0'])
        assert.equal((await raw('/api/models', { headers: { Host: host } })).status, 421, host);
    const answer = await get('/api/models', { headers: { Origin: 'https://evil.test' } });
    assert.deepEqual([...answer.headers.keys()].filter((name) => name.startsWith('access-control')), []);
});

test('many clients at once', async () => {
    const jobs = Array.from({ length: 200 }, async (_, i) => {
        const answer = await fetch(i % 4 ? `${url}/acme/many/resolve/main/f${String(i % 25).padStart(2, '0')}.txt` : `${url}/acme/one/resolve/main/model.safetensors`);
        const body = Buffer.from(await answer.arrayBuffer());
        if (i % 4) assert.equal(body.toString(), `${i % 25}\n`);
        else assert.equal(sha256(body), sha256(weights));
    });
    await Promise.all(jobs);
});

test('the npm client lists and downloads', async () => {
    const { downloadFile, downloadFileToCacheDir, fileDownloadInfo, listFiles, listModels, modelInfo, snapshotDownload } = await load('@huggingface/hub');
    const repo = 'acme/one';
    const quiet = console.debug;
    console.debug = () => {};
    const seen = [];
    for await (const entry of listFiles({ repo, hubUrl: url, recursive: true })) if (entry.type === 'file') seen.push(entry.path);
    assert.equal(seen.length, 7);
    const models = [];
    for await (const model of listModels({ hubUrl: url, search: { query: 'one' } })) models.push(model.name);
    assert.deepEqual(models, ['acme/one']);
    const { sha } = await modelInfo({ name: repo, hubUrl: url, additionalFields: ['sha'] });
    const info = await fileDownloadInfo({ repo, path: 'model.safetensors', hubUrl: url });
    assert.equal(info.size, weights.length);
    assert.equal(info.etag, `"${sha256(weights)}"`);
    assert.equal(await fileDownloadInfo({ repo, path: 'none', hubUrl: url }), null);
    const blob = await downloadFile({ repo, path: 'model.safetensors', hubUrl: url });
    assert.deepEqual(Buffer.from(await blob.arrayBuffer()), weights);
    const old = await downloadFile({ repo, path: 'config.json', revision: 'v2', hubUrl: url });
    assert.equal(await old.text(), '{"a": 2}\n');
    const cacheDir = path.join(here, 'cache');
    const file = await downloadFileToCacheDir({ repo, path: 'sub/more.json', hubUrl: url, cacheDir });
    assert.equal(fs.readFileSync(file, 'utf8'), '[]\n');
    fs.renameSync(path.join(here, 'hub/acme/one/sub/dir'), path.join(here, 'odd')); // its client does not escape '#' and '%'
    const folder = await snapshotDownload({ repo, hubUrl: url, cacheDir });
    fs.renameSync(path.join(here, 'odd'), path.join(here, 'hub/acme/one/sub/dir'));
    console.debug = quiet;
    assert.notEqual(path.basename(folder), sha);
    assert.deepEqual(fs.readFileSync(path.join(folder, 'model.safetensors')), weights);
    assert.equal(fs.readFileSync(path.join(folder, 'empty.txt')).length, 0);
    const blobs = fs.readdirSync(path.join(cacheDir, 'models--acme--one/blobs'));
    assert.ok(blobs.includes(sha256(weights)));
});

test('hf downloads', { skip: spawnSync('hf', ['version']).status === 0 ? false : 'hf is not installed' }, () => {
    const ran = spawnSync('hf', ['download', 'acme/one', 'model.safetensors', 'config.json'], {
        encoding: 'utf8', env: { ...env, HF_ENDPOINT: url, HF_HUB_DISABLE_UPDATE_CHECK: '1', HF_HUB_DISABLE_TELEMETRY: '1' } });
    assert.equal(ran.status, 0, ran.stderr);
    const blob = path.join(env.HF_HOME, 'hub/models--acme--one/blobs', sha256(weights));
    assert.deepEqual(fs.readFileSync(blob), weights);
});

test('it does not open to other machines without a token', () => {
    const ran = spawnSync(hangar, ['mirror', path.join(here, 'hub'), '--listen', '0.0.0.0:0'], { env, encoding: 'utf8', timeout: 10000 });
    assert.equal(ran.status, 2);
    assert.match(ran.stderr, /token/);
});

test('a folder that is not there', () => {
    const ran = spawnSync(hangar, ['mirror', path.join(here, 'none')], { env, encoding: 'utf8', timeout: 10000 });
    assert.equal(ran.status, 3);
});
