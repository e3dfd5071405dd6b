// SPDX-License-Identifier: Apache-2.0
// A hangar of a test's own, holding shipped models, and readers for the shipped clips and references.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export const program = process.env.HANGAR;
export const models = join(process.env.HANGAR_TOP, 'models');
export const runners = dirname(program);
export const clip = (name) => join(models, 'clips', name);
export const reference = (name) => JSON.parse(readFileSync(join(models, 'hangar-labs', name, 'reference.json'), 'utf8'));

export function clips() {
  const doc = JSON.parse(readFileSync(clip('clips.json'), 'utf8'));
  return Array.isArray(doc) ? doc : doc.clips;
}

// { env, home, hangar(args, options), result(args) }: result() is the document of a command that must succeed.
export function ownHangar(name, ...repos) {
  const home = mkdtempSync(join(tmpdir(), `hangar-${name}-`));
  const env = { PATH: process.env.PATH, HOME: home, HANGAR_HOME: join(home, 'hangar'), HF_HOME: join(home, 'hf'), LANG: 'C.UTF-8', HANGAR_THREADS: '1' };
  const hangar = (args, options = {}) => spawnSync(program, args, { env, encoding: 'utf8', maxBuffer: 1 << 28, ...options });
  const last = (got) => JSON.parse(got.stdout.trim().split('\n').at(-1));
  const result = (args) => {
    const got = hangar([...args, '--json']);
    if (got.status !== 0) throw new Error(`hangar ${args.join(' ')}: ${got.status}\n${got.stdout}${got.stderr}`);
    return last(got);
  };
  for (const repo of repos) {
    const got = hangar(['add', join(models, 'hangar-labs', repo), '--as', `hangar-labs/${repo}`]);
    if (got.status !== 0) throw new Error(`adding ${repo}: ${got.stderr}`);
  }
  return { env, home, hangar, last, result, remove: () => rmSync(home, { recursive: true, force: true }) };
}

// The 16-bit samples of a WAV file, with `seconds` of silence behind them when it is shorter.
export function samples(name, seconds = 0) {
  const file = readFileSync(clip(name));
  const at = file.indexOf('data') + 8;
  const data = file.subarray(at);
  return seconds ? Buffer.concat([data, Buffer.alloc(Math.max(0, seconds * 32000 - data.length))]) : data;
}

export function wav(...parts) {
  const data = Buffer.concat(parts), header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + data.length, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(16000, 24);
  header.writeUInt32LE(32000, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36);
  header.writeUInt32LE(data.length, 40);
  return Buffer.concat([header, data]);
}
