// SPDX-License-Identifier: Apache-2.0
// A Hub on loopback that lies, stalls and breaks on command. Import it, or run it to play with:
//
//     node tests/support/faulthub.mjs acme/one ./folder [PATH=FAULT]...      e.g.  model.bin=corrupt
//
// Three origins: the Hub itself, its storage ("cdn", where LFS files are redirected to with a signed address that expires), and a
// stranger that only writes down what it is sent. Every request is in `log`; `served` counts body bytes per path.
//
// A fault is {kind, times?, ...} for one path (or for '*', all of them; for the first hop of a path as
// 'resolve:PATH'; for the API as 'info' and 'tree'); it holds for the next `times` requests
// (default: for ever). The kinds are the keys of `faults` below; each says what it does.
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');
export const gitSha1 = (bytes) => crypto.createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
const PIECE = 64 * 1024;
const isLfs = (name) => /\.(safetensors|gguf|onnx|bin)$/.test(name);

// Until `out` takes more, or is gone.
function writable(out) {
    return new Promise((resolve) => {
        const go = () => {
            out.off('drain', go);
            out.off('close', go);
            resolve();
        };
        out.on('drain', go);
        out.on('close', go);
    });
}

// Bytes over a response or a raw socket, at hub.rate bytes per second per stream; ends quietly when the other side goes.
async function pour(hub, out, bytes, name) {
    for (let at = 0; at < bytes.length && !out.destroyed; at += PIECE) {
        const piece = bytes.subarray(at, at + PIECE);
        hub.served[name] = (hub.served[name] ?? 0) + piece.length;
        if (!out.write(piece)) await writable(out);
        if (hub.rate) await sleep((1000 * piece.length) / hub.rate);
    }
}

// Head and body as they are, whatever they claim, on the bare socket.
function raw(res, status, headers) {
    const socket = res.socket;
    res.detachSocket?.(socket);
    socket.write(`HTTP/1.1 ${status} Raw\r\n` + Object.entries(headers).map(([k, v]) => `${k}: ${v}\r\n`).join('') + '\r\n');
    return socket;
}

// What a file request would honestly be answered with.
function honest(file, req) {
    const m = /^bytes=(\d+)-(\d*)$/.exec(req.headers.range ?? '');
    const size = file.bytes.length;
    if (!m) return { status: 200, headers: { 'Content-Length': size, ETag: `"${file.cdnTag}"` }, body: file.bytes };
    const start = Number(m[1]), end = m[2] === '' ? size - 1 : Math.min(Number(m[2]), size - 1);
    if (start >= size || end < start) return { status: 416, headers: { 'Content-Range': `bytes */${size}`, 'Content-Length': 0 }, body: Buffer.alloc(0) };
    return {
        status: 206, body: file.bytes.subarray(start, end + 1), start, end,
        headers: { 'Content-Length': end - start + 1, 'Content-Range': `bytes ${start}-${end}/${size}`, ETag: `"${file.cdnTag}"` },
    };
}

async function send(hub, res, a, name) {
    res.writeHead(a.status, a.headers);
    await pour(hub, res, a.body, name);
    res.end();
}

// Each: (hub, fault, file, req, res, name) -> answers. `file` is null for the API.
const faults = {
    // One byte of the file is another one.
    async corrupt(hub, f, file, req, res, name) {
        const bad = Buffer.from(file.bytes);
        bad[f.at ?? bad.length >> 1] ^= 1;
        await send(hub, res, honest({ ...file, bytes: bad }, req), name);
    },
    // The server's file is shorter than the list says, and it is honest about it.
    async short(hub, f, file, req, res, name) {
        await send(hub, res, honest({ ...file, bytes: file.bytes.subarray(0, f.bytes ?? file.bytes.length >> 1) }, req), name);
    },
    // Content-Length says more than comes (then the connection ends) ...
    async longer(hub, f, file, req, res, name) {
        const a = honest(file, req), socket = raw(res, a.status, { ...a.headers, 'Content-Length': a.body.length + 100 });
        await pour(hub, socket, a.body, name);
        socket.destroy();
    },
    // ... or less.
    async shorter(hub, f, file, req, res, name) {
        const a = honest(file, req), socket = raw(res, a.status, { ...a.headers, 'Content-Length': a.body.length - 10 });
        await pour(hub, socket, a.body, name);
        socket.end();
    },
    // A body without an announced length that never ends.
    async endless(hub, f, file, req, res, name) {
        const socket = raw(res, 200, { Connection: 'close' });
        await pour(hub, socket, file.bytes, name);
        while (!socket.destroyed) await pour(hub, socket, Buffer.alloc(PIECE, 7), name);
    },
    async status(hub, f, file, req, res) {
        res.writeHead(f.status, { 'Content-Length': 0, ...(f.headers ?? {}) });
        res.end();
    },
    // Half of all requests fail (chosen by a counter, so that a run repeats).
    async half(hub, f, file, req, res, name) {
        f.count = (f.count ?? 0) + 1;
        if (f.count % 2) return faults.status(hub, { status: [500, 502, 503, 408][f.count % 4] }, file, req, res);
        return send(hub, res, honest(file, req), name);
    },
    // The connection is cut after some bytes of the body.
    async drop(hub, f, file, req, res, name) {
        const a = honest(file, req), n = Math.min(a.body.length, f.bytes ?? Math.floor(hub.random() * (f.most ?? a.body.length)));
        const socket = raw(res, a.status, a.headers);
        await pour(hub, socket, a.body.subarray(0, n), name);
        if (f.reset) socket.resetAndDestroy();
        else socket.destroySoon();
    },
    // Some bytes, then silence.
    async stall(hub, f, file, req, res, name) {
        const a = honest(file, req);
        await pour(hub, raw(res, a.status, a.headers), a.body.subarray(0, f.bytes ?? 1000), name);
    },
    async mute() {},
    async loop(hub, f, file, req, res) {
        hub.loops = (hub.loops ?? 0) + 1;
        res.writeHead(302, { Location: `${req.url.split('?')[0]}?again=${hub.loops}`, 'Content-Length': 0 });
        res.end();
    },
    // To the stranger, or wherever `to` says.
    async away(hub, f, file, req, res) {
        res.writeHead(302, { Location: f.to ?? `${hub.strangerUrl}/taken`, 'Content-Length': 0 });
        res.end();
    },
    // Ranges are not for this server.
    async whole(hub, f, file, req, res, name) {
        await send(hub, res, honest(file, { headers: {} }), name);
    },
    async unsatisfiable(hub, f, file, req, res) {
        res.writeHead(416, { 'Content-Range': `bytes */${file.bytes.length}`, 'Content-Length': 0 });
        res.end();
    },
    // 206 with another Content-Range than was asked for (`text` as it is), or none (`text` null).
    async range(hub, f, file, req, res, name) {
        const a = honest(file, req);
        if (a.status !== 206) return send(hub, res, a, name);
        const headers = { ...a.headers, 'Content-Range': f.text ?? `bytes ${a.start + 1}-${a.end + 1}/${file.bytes.length}` };
        if (f.text === null) delete headers['Content-Range'];
        return send(hub, res, { ...a, headers }, name);
    },
    // 206 although the whole was asked for.
    async part(hub, f, file, req, res, name) {
        await send(hub, res, honest(file, { headers: { range: req.headers.range ?? 'bytes=0-' } }), name);
    },
    async encoded(hub, f, file, req, res, name) {
        const a = honest(file, req);
        await send(hub, res, { ...a, headers: { ...a.headers, 'Content-Encoding': 'gzip' } }, name);
    },
    async headers(hub, f, file, req, res) {
        const { socket } = res;
        socket.write('HTTP/1.1 200 Raw\r\n');
        while (!socket.destroyed) await pour(hub, socket, Buffer.from('X-Filler: ' + 'x'.repeat(4000) + '\r\n'), 'headers');
    },
};

export class FaultHub {
    constructor({ token = '', rate = 0, seed = 1 } = {}) {
        Object.assign(this, { token, rate, seed, repos: {}, faults: {}, log: [], served: {}, signed: new Map(), signs: 0, pageSize: 1000 });
    }

    // Always the same sequence.
    random() {
        this.seed = (this.seed * 1103515245 + 12345) % 2147483648;
        return this.seed / 2147483648;
    }

    // Adds a commit to a repository and lets `ref` point to it. files: {path: Buffer | string}.
    commit(name, files, ref = 'main') {
        const repo = (this.repos[name] ??= { refs: {}, commits: {}, mode: '' });
        const entries = {};
        for (const [p, content] of Object.entries(files)) {
            const bytes = Buffer.from(content);
            entries[p] = { bytes, lfs: isLfs(p), oid: isLfs(p) ? sha256(bytes) : gitSha1(bytes), cdnTag: sha256(`cdn ${p}`) };
        }
        const commit = crypto.createHash('sha1').update(JSON.stringify(Object.entries(entries).map(([p, e]) => [p, e.oid]))).digest('hex');
        repo.commits[commit] = entries;
        repo.refs[ref] = commit;
        return commit;
    }

    fault(where, kind, more = {}) {
        this.faults[where] = { kind, times: Infinity, ...more };
    }

    take(where) {
        const f = this.faults[where] ?? (/^(info|tree|resolve:.*)$/.test(where) ? null : this.faults['*']);
        if (!f || f.times <= 0 || (f.skip ?? 0) > 0) {
            if (f?.skip > 0) f.skip--;
            return null;
        }
        f.times--;
        return f;
    }

    async start() {
        const listen = (handler) => new Promise((resolve) => {
            const server = http.createServer({ keepAliveTimeout: 60000 }, handler);
            server.on('clientError', (e, socket) => socket.destroy());
            server.listen(0, '127.0.0.1', () => resolve(server));
        });
        const note = (origin, req) => this.log.push({ origin, method: req.method, url: req.url, headers: req.headers, at: Date.now() });
        const guard = (origin, fn) => (req, res) => {
            note(origin, req);
            res.on('error', () => {});
            Promise.resolve(fn(req, res)).catch(() => res.destroy());
        };
        this.servers = [
            await listen(guard('hub', (q, s) => this.hub(q, s))),
            await listen(guard('cdn', (q, s) => this.cdn(q, s))),
            await listen(guard('stranger', (q, s) => s.end('thank you'))),
        ];
        [this.url, this.cdnUrl, this.strangerUrl] = this.servers.map((s) => `http://127.0.0.1:${s.address().port}`);
        return this;
    }

    async stop() {
        for (const s of this.servers) {
            s.closeAllConnections();
            await new Promise((done) => s.close(done));
        }
    }

    requests(origin, pattern = /./) {
        return this.log.filter((r) => r.origin === origin && pattern.test(r.url));
    }

    refuse(res, status, code, message, more = {}) {
        const body = JSON.stringify({ error: message });
        res.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body), 'X-Request-Id': 'Root=1-test',
            ...(code ? { 'X-Error-Code': code } : {}), 'X-Error-Message': message, ...more });
        res.end(body);
    }

    // Whether the repository may be read; answers when not.
    admit(repo, req, res, files) {
        const auth = req.headers.authorization, known = auth === `Bearer ${this.token}`;
        if (auth && !known) return this.refuse(res, 401, '', 'Invalid credentials in Authorization header');
        if (!repo || repo.mode === 'private') {
            if (repo && known) return true;
            return auth ? this.refuse(res, 404, 'RepoNotFound', 'Repository not found') : this.refuse(res, 401, '', 'Invalid username or password.');
        }
        if (repo.mode === 'disabled') return this.refuse(res, 403, '', 'Access to this resource is disabled.');
        if (repo.mode === 'gated' && files && !(known && repo.granted))
            return this.refuse(res, known ? 403 : 401, 'GatedRepo', 'Access to this model is restricted.');
        return true;
    }

    async hub(req, res) {
        const url = new URL(req.url, this.url);
        const segments = url.pathname.split('/').filter(Boolean).map(decodeURIComponent);
        if (segments[1] === 'resolve-cache') // /api/resolve-cache/models/ORG/NAME/COMMIT/PATH
            return this.resolve(segments.slice(3, 5).join('/'), segments[5], segments.slice(6).join('/'), req, res);
        if (segments[0] === 'api' && segments[1] === 'models') return this.api(segments.slice(2), url, req, res);
        const at = segments.indexOf('resolve');
        if (at < 0) return this.refuse(res, 404, '', 'Not found');
        return this.resolve(segments.slice(0, at).join('/'), segments[at + 1], segments.slice(at + 2).join('/'), req, res);
    }

    async api(segments, url, req, res) {
        const at = segments.findIndex((s) => s === 'revision' || s === 'tree');
        const name = segments.slice(0, at).join('/'), what = segments[at], rev = segments[at + 1], repo = this.repos[name];
        const fault = this.take(what === 'tree' ? 'tree' : 'info');
        if (fault) return faults[fault.kind](this, fault, null, req, res, what);
        if (this.admit(repo, req, res, false) !== true) return;
        const commit = repo.commits[rev] ? rev : repo.refs[rev];
        if (!commit) return this.refuse(res, 404, 'RevisionNotFound', `Invalid rev id: ${rev}`);
        const json = (value, headers = {}) => {
            const body = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
            res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': body.length, RateLimit: '"api";r=499;t=295', ...headers });
            res.end(body);
        };
        if (this.raw?.[what]) return this.raw[what](req, res, json);
        const masked = repo.mode === 'gated' && !repo.granted;
        const entries = Object.entries(repo.commits[commit]);
        if (what === 'revision')
            return json({ _id: '0123456789abcdef01234567', id: name, sha: commit, private: false, siblings: entries.map(([p, e]) => ({
                rfilename: p, size: e.bytes.length, blobId: e.lfs ? gitSha1(e.oid) : e.oid,
                ...(e.lfs ? { lfs: { sha256: masked ? '*'.repeat(64) : e.oid, size: e.bytes.length, pointerSize: 130 } } : {}) })) });
        if (this.noTree) return this.refuse(res, 404, '', 'Not found');
        let list = entries.map(([p, e]) => ({
            type: 'file', path: p, size: e.bytes.length, oid: e.lfs ? gitSha1(e.oid) : e.oid,
            ...(e.lfs ? { lfs: { oid: masked ? '*'.repeat(64) : e.oid, size: e.bytes.length, pointerSize: 130 }, xetHash: sha256(`xet${e.oid}`) } : {}) }));
        if (this.edit) list = this.edit(list);
        const from = Number(url.searchParams.get('cursor') ?? 0), to = from + this.pageSize;
        const next = this.nextPage ?? `${this.url}${url.pathname}?recursive=true&cursor=${to}`;
        return json(list.slice(from, to), to < list.length || this.nextPage ? { Link: `<${next}>; rel="next"` } : {});
    }

    async resolve(name, rev, p, req, res) {
        const repo = this.repos[name];
        if (this.admit(repo, req, res, true) !== true) return;
        const commit = repo.commits[rev] ? rev : repo.refs[rev];
        if (!commit) return this.refuse(res, 404, 'RevisionNotFound', `Invalid rev id: ${rev}`);
        const file = repo.commits[commit][p];
        if (!file) return this.refuse(res, 404, 'EntryNotFound', 'Entry not found', { 'X-Repo-Commit': commit });
        const early = this.take(`resolve:${p}`);
        if (early) return faults[early.kind](this, early, file, req, res, p);
        const linked = { 'X-Repo-Commit': this.lieCommit ?? commit, 'Accept-Ranges': 'bytes' };
        if (file.lfs) {
            const key = `${++this.signs}`;
            this.signed.set(key, { name: p, file, left: this.signedUses ?? Infinity });
            const tag = this.lieTag?.[p] ?? file.oid;
            res.writeHead(302, { Location: `${this.cdnUrl}/store/${key}?Expires=9999999999&Signature=${sha256(key)}`, 'Content-Length': 30,
                ETag: '"of-the-redirect"', ...linked, 'X-Linked-Size': this.lieSize?.[p] ?? file.bytes.length, 'X-Linked-ETag': `"${tag}"` });
            return res.end('Found. Redirecting to storage.');
        }
        if (this.relative && !req.url.startsWith('/api/resolve-cache')) {
            res.writeHead(307, { Location: `/api/resolve-cache/models/${name}/${commit}/${encodeURIComponent(p)}`, ...linked, 'Content-Length': 0 });
            return res.end();
        }
        const fault = this.take(p);
        if (fault) return faults[fault.kind](this, fault, file, req, res, p);
        const a = honest(file, req);
        return send(this, res, { ...a, headers: { ...a.headers, ...linked, ETag: `"${this.lieTag?.[p] ?? file.oid}"` } }, p);
    }

    async cdn(req, res) {
        const key = /^\/store\/(\d+)\?/.exec(req.url)?.[1], signed = this.signed.get(key);
        if (!signed || signed.left-- <= 0) {
            res.writeHead(403, { 'Content-Type': 'application/xml' });
            return res.end('<Error><Code>AccessDenied</Code></Error>');
        }
        const fault = this.take(signed.name);
        if (fault) return faults[fault.kind](this, fault, signed.file, req, res, signed.name);
        return send(this, res, honest(signed.file, req), signed.name);
    }
}

async function main([name, folder, ...wishes]) {
    if (!name || !folder) {
        process.stderr.write('usage: faulthub.mjs ORG/NAME FOLDER [PATH=FAULT]...\n');
        process.exit(2);
    }
    const files = {};
    for (const e of fs.readdirSync(folder, { recursive: true, withFileTypes: true })) {
        const full = path.join(e.parentPath ?? e.path, e.name);
        if (e.isFile()) files[path.relative(folder, full)] = fs.readFileSync(full);
    }
    const hub = await new FaultHub().start();
    hub.commit(name, files);
    for (const w of wishes) hub.fault(...w.split('='));
    process.stdout.write(`${hub.url}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
