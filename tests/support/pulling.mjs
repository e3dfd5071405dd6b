// SPDX-License-Identifier: Apache-2.0
// What the pull tests share: running the program with a cache of its own, and looking at what it left there.
import { spawn } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { FaultHub, gitSha1, sha256 } from './faulthub.mjs';

export const top = process.env.HANGAR_TOP ?? fileURLToPath(new URL('../..', import.meta.url));
export const hangar = process.env.HANGAR ?? path.join(top, 'build/hangar');
const base = fs.mkdtempSync(path.join(process.env.TMPDIR ?? '/tmp', 'pull-'));
let count = 0;

// A hub and a place to pull to; `t` (a test) takes both down again.
export async function scene(t, options = {}) {
    const hub = await new FaultHub(options).start();
    const dir = path.join(base, String(++count));
    fs.mkdirSync(dir);
    t.after(async () => {
        await hub.stop();
        fs.rmSync(dir, { recursive: true, force: true });
    });
    const env = { PATH: process.env.PATH, HOME: dir, HANGAR_HOME: path.join(dir, 'own'), HF_HUB_CACHE: path.join(dir, 'cache'), HF_ENDPOINT: hub.url };
    return { hub, dir, env, cache: env.HF_HUB_CACHE, config: {} };
}

// Starts `hangar pull`. settings: keys of models.download. Resolves to {code, signal, out, err, seconds}.
export function start(s, args, { settings = {}, env = {} } = {}) {
    const config = path.join(s.dir, 'hangar.yaml');
    const all = { retries: 3, stall_timeout: '5s', range_size: '1MiB', ...settings };
    fs.writeFileSync(config, 'models:\n  download:\n' + Object.entries(all).map(([k, v]) => `    ${k}: ${v}\n`).join(''));
    const from = performance.now();
    const child = spawn(hangar, ['pull', ...args], { env: { ...s.env, HANGAR_CONFIG: config, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const done = new Promise((resolve) => {
        let out = '', err = '';
        child.stdout.on('data', (d) => { out += d; });
        child.stderr.on('data', (d) => { err += d; });
        child.on('close', (code, signal) => resolve({ code, signal, out, err, seconds: (performance.now() - from) / 1000 }));
    });
    return { child, done };
}
export const pull = (s, args, more) => start(s, [].concat(args), more).done;

// Every file below dir, relative; links are not followed.
export function walk(dir) {
    if (!fs.existsSync(dir)) return [];
    return fs.readdirSync(dir, { recursive: true, withFileTypes: true })
        .filter((e) => !e.isDirectory()).map((e) => path.relative(dir, path.join(e.parentPath ?? e.path, e.name))).sort();
}

const cached = new Map();
function digest(file, digits) {
    const key = `${file} ${fs.statSync(file).mtimeMs}`;
    if (!cached.has(key)) {
        const bytes = fs.readFileSync(file);
        cached.set(key, digits === 64 ? sha256(bytes) : gitSha1(bytes));
    }
    return cached.get(key);
}

// What is visible of a repository: {blobs, partials, files: {path: Buffer}, refs}. Throws when anything visible is not what its name says.
export function look(s, repo) {
    const dir = path.join(s.cache, 'models--' + repo.replace('/', '--'));
    const found = { blobs: [], partials: [], files: {}, refs: {}, commits: [] };
    for (const name of walk(path.join(dir, 'blobs'))) {
        if (name.endsWith('.incomplete')) found.partials.push(name);
        else if (/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(name) && digest(path.join(dir, 'blobs', name), name.length) === name) found.blobs.push(name);
        else throw new Error(`blobs/${name} is not what its name says`);
    }
    for (const name of walk(path.join(dir, 'snapshots'))) {
        const [commit, ...rest] = name.split('/');
        const real = fs.realpathSync(path.join(dir, 'snapshots', name));
        if (!found.blobs.includes(path.basename(real))) throw new Error(`snapshots/${name} leads to ${real}`);
        if (!found.commits.includes(commit)) found.commits.push(commit);
        found.files[rest.join('/')] = fs.readFileSync(real);
    }
    for (const name of walk(path.join(dir, 'refs'))) found.refs[name] = fs.readFileSync(path.join(dir, 'refs', name), 'utf8');
    return found;
}

// The same bytes for the same name and size.
export function bytes(size, seed = 'x') {
    return crypto.createCipheriv('aes-128-ctr', crypto.createHash('md5').update(seed).digest(), Buffer.alloc(16)).update(Buffer.alloc(size));
}
