// SPDX-License-Identifier: Apache-2.0
// Repositories of a test's own: a checkpoint of tests/fixtures/arch with the files that stand around it, and a small tokenizer that fits it.
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export const fixtures = join(process.env.HANGAR_TOP, 'tests/fixtures/arch');
export const words = 'red green blue one two three cat dog bird is a the no yes and or in on we you it they see go come big small old new sun moon sea . ! ?'.split(' ');

// A tokenizer.json of `size` words, of which the special ones are first ({ pad, unk, cls, sep }: [id, text]); cls and sep go around a text.
export function wordTokenizer(special, size = 96) {
  const vocab = {}, all = Object.values(special);
  for (const [id, text] of all) vocab[text] = id;
  let at = 4;
  for (const word of words) vocab[word] = at++;
  while (at < size) vocab[`w${at}`] = at++;
  const around = [special.cls && 'cls', 'A', special.sep && 'sep'].filter(Boolean);
  return {
    version: '1.0', truncation: null, padding: null,
    added_tokens: all.map(([id, content]) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true })),
    normalizer: null, pre_tokenizer: { type: 'WhitespaceSplit' }, decoder: null,
    post_processor: {
      type: 'TemplateProcessing', pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 0 } }],
      single: around.map((part) => (part === 'A' ? { Sequence: { id: 'A', type_id: 0 } } : { SpecialToken: { id: special[part][1], type_id: 0 } })),
      special_tokens: Object.fromEntries([special.cls, special.sep].filter(Boolean).map(([id, text]) => [text, { id: text, ids: [id], tokens: [text] }])),
    },
    model: { type: 'WordLevel', vocab, unk_token: special.unk[1] },
  };
}

// The checkpoint `arch` under changed settings, with files (text, bytes or documents by their path), in the store as local/NAME.
export function addRepo(own, name, arch, files = {}, changes = {}) {
  const folder = join(own.home, name), from = join(fixtures, arch);
  mkdirSync(folder);
  cpSync(join(from, 'model.safetensors'), join(folder, 'model.safetensors'));
  const config = { ...JSON.parse(readFileSync(join(from, 'config.json'), 'utf8')), ...changes };
  for (const [file, doc] of Object.entries({ 'config.json': config, ...files })) {
    if (doc === null) continue;
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), typeof doc === 'string' || Buffer.isBuffer(doc) ? doc : JSON.stringify(doc));
  }
  const got = own.hangar(['add', folder, '--as', `local/${name}`]);
  assert.equal(got.status, 0, got.stderr);
  return `local/${name}`;
}

// A safetensors file of F32 tensors: { name: { shape, data } }.
export function safetensors(tensors) {
  const header = {}, parts = [];
  let at = 0;
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    const bytes = Buffer.from(Float32Array.from(data).buffer);
    header[name] = { dtype: 'F32', shape, data_offsets: [at, at + bytes.length] };
    at += bytes.length;
    parts.push(bytes);
  }
  const text = Buffer.from(JSON.stringify(header)), size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([size, text, ...parts]);
}

// The greatest difference between two lists of one length.
export function far(a, b) {
  assert.equal(a.length, b.length);
  return a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i])), 0);
}
