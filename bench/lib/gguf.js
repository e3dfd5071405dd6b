// SPDX-License-Identifier: Apache-2.0
// A GGUF file of any size with random weights and the vocabulary of another one, for speeds where no trained model is.
'use strict';
const fs = require('node:fs');

const SIZES = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8], STRING = 8, ARRAY = 9, U32 = 4, F32 = 6, TYPE_F32 = 0, TYPE_Q8_0 = 8, ALIGN = 32;

// The keys of a file and their values as they lie there: [{ key, bytes }], bytes with the type in front.
function readKeys(file) {
  const all = fs.readFileSync(file);
  let at = 24;
  const u32 = () => { at += 4; return all.readUInt32LE(at - 4); };
  const u64 = () => { at += 8; return Number(all.readBigUInt64LE(at - 8)); };
  const skip = (type) => {
    if (type === STRING) {
      const length = u64(); // which moves `at`, too
      at += length;
    } else if (type === ARRAY) for (let inner = u32(), n = u64(); n > 0; n--) skip(inner);
    else at += SIZES[type];
  };
  if (all.toString('latin1', 0, 4) !== 'GGUF' || all.readUInt32LE(4) !== 3) throw new Error(`${file} is no GGUF of version 3`);
  const keys = [];
  for (let n = Number(all.readBigUInt64LE(16)); n > 0; n--) {
    const length = u64(), key = all.toString('utf8', at, at + length);
    at += length;
    const from = at;
    skip(u32());
    keys.push({ key, bytes: all.subarray(from, at) });
  }
  return keys;
}

const string = (text) => { const b = Buffer.from(text), n = Buffer.alloc(8); n.writeBigUInt64LE(BigInt(b.length)); return Buffer.concat([n, b]); };
const words = (...list) => { const b = Buffer.alloc(4 * list.length); list.forEach((w, i) => b.writeUInt32LE(w, 4 * i)); return b; };
const longs = (...list) => { const b = Buffer.alloc(8 * list.length); list.forEach((w, i) => b.writeBigUInt64LE(BigInt(w), 8 * i)); return b; };
const real = (x) => { const b = words(F32, 0); b.writeFloatLE(x, 4); return b; };

// Writes `to`, a llama with the vocabulary of `from`; shape: { width, inner, layers, heads, kv, context }. Gives its number of weights.
function randomGguf(from, to, { width, inner, layers, heads, kv, context = 2048 }) {
  const size = width / heads, keys = readKeys(from);
  const tokens = keys.find((k) => k.key === 'tokenizer.ggml.tokens').bytes, vocabulary = Number(tokens.readBigUInt64LE(8));
  const own = {
    'llama.context_length': words(U32, context), 'llama.embedding_length': words(U32, width), 'llama.block_count': words(U32, layers),
    'llama.feed_forward_length': words(U32, inner), 'llama.attention.head_count': words(U32, heads), 'llama.attention.head_count_kv': words(U32, kv),
    'llama.rope.dimension_count': words(U32, size), 'llama.attention.layer_norm_rms_epsilon': real(1e-5), 'llama.vocab_size': words(U32, vocabulary),
    'general.architecture': Buffer.concat([words(STRING), string('llama')]), 'general.file_type': words(U32, 7),
  };
  const kept = keys.filter((k) => !(k.key in own) && !/^(llama\.|general\.(?!architecture))/.test(k.key));
  const pairs = [...Object.entries(own).map(([key, bytes]) => ({ key, bytes })), ...kept];
  const tensors = [['token_embd.weight', [width, vocabulary]]];
  for (let i = 0; i < layers; i++) {
    const at = `blk.${i}`;
    tensors.push([`${at}.attn_norm.weight`, [width]], [`${at}.attn_q.weight`, [width, width]], [`${at}.attn_k.weight`, [width, kv * size]],
      [`${at}.attn_v.weight`, [width, kv * size]], [`${at}.attn_output.weight`, [width, width]], [`${at}.ffn_norm.weight`, [width]],
      [`${at}.ffn_gate.weight`, [width, inner]], [`${at}.ffn_up.weight`, [width, inner]], [`${at}.ffn_down.weight`, [inner, width]]);
  }
  tensors.push(['output_norm.weight', [width]], ['output.weight', [width, vocabulary]]);
  const count = (dims) => dims.reduce((a, b) => a * b, 1), bytes = (dims) => (dims.length === 1 ? 4 * dims[0] : (count(dims) / 32) * 34);
  const padded = (n) => Math.ceil(n / ALIGN) * ALIGN;
  let offset = 0;
  const infos = tensors.map(([name, dims]) => {
    const info = Buffer.concat([string(name), words(dims.length), longs(...dims), words(dims.length === 1 ? TYPE_F32 : TYPE_Q8_0), longs(offset)]);
    offset += padded(bytes(dims));
    return info;
  });
  const head = Buffer.concat([Buffer.from('GGUF'), words(3), longs(tensors.length, pairs.length), ...pairs.flatMap((p) => [string(p.key), p.bytes]), ...infos]);
  const fd = fs.openSync(to, 'w');
  fs.writeSync(fd, Buffer.concat([head, Buffer.alloc(padded(head.length) - head.length)]));
  for (const [, dims] of tensors) fs.writeSync(fd, Buffer.concat([weights(dims), Buffer.alloc(padded(bytes(dims)) - bytes(dims))]));
  fs.closeSync(fd);
  return tensors.reduce((sum, [, dims]) => sum + count(dims), 0);
}

// Norms are 1; matrices have blocks of 32 whole numbers and a scale of 16 bits, so small that activations stay as they are in an untrained model.
let state = 12345;
function weights(dims) {
  if (dims.length === 1) return Buffer.from(new Float32Array(dims[0]).fill(1).buffer);
  const blocks = (dims[0] * dims[1]) / 32, out = Buffer.alloc(blocks * 34), words32 = new Int32Array(8), numbers = Buffer.from(words32.buffer);
  for (let b = 0; b < blocks; b++) {
    for (let i = 0; i < 8; i++) words32[i] = state = (Math.imul(state, 1664525) + 1013904223) | 0;
    out.writeUInt16LE(0x0d00, b * 34); // 2 ** -12.4 or so
    numbers.copy(out, b * 34 + 2);
  }
  return out;
}

module.exports = { randomGguf };
