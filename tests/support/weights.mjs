// SPDX-License-Identifier: Apache-2.0
// Checkpoints again in another form: safetensors files read, rounded to 16 bits, written, split.
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

// A file as { metadata, tensors: Map of name to { dtype, shape, data } }, in the order in which the data lie.
export function readWeights(file) {
  const bytes = readFileSync(file);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const { __metadata__: metadata, ...header } = JSON.parse(bytes.toString('utf8', 8, start));
  const entries = Object.entries(header).sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0]);
  return {
    metadata,
    tensors: new Map(entries.map(([name, { dtype, shape, data_offsets: [from, to] }]) =>
      [name, { dtype, shape, data: bytes.subarray(start + from, start + to) }])),
  };
}

// The bytes of a file whose header is `text`, with `data` behind it.
export function fileOf(text, data = Buffer.alloc(0)) {
  const header = Buffer.from(text), length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, data]);
}

export function writeWeights(file, { metadata, tensors }) {
  const header = metadata ? { __metadata__: metadata } : {};
  let at = 0;
  for (const [name, { dtype, shape, data }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [at, at + data.length] };
    at += data.length;
  }
  const text = JSON.stringify(header);
  writeFileSync(file, fileOf(text + ' '.repeat((8 - (Buffer.byteLength(text) % 8)) % 8), Buffer.concat([...tensors.values()].map((t) => t.data))));
}

const one = new Float32Array(1), bits = new Uint32Array(one.buffer);

// To the nearest whole number, halves to the even one.
const even = (x) => {
  const down = Math.floor(x), rest = x - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down;
};

// The 16 bits of a finite float: bfloat16 is its upper half, rounded.
function toBf16(x) {
  one[0] = x;
  return ((bits[0] + 0x7fff + ((bits[0] >>> 16) & 1)) >>> 16) & 0xffff;
}
function fromBf16(u) {
  bits[0] = u << 16;
  return one[0];
}

// IEEE 754 binary16: 5 bits of exponent, 10 of fraction. Below 2^-14 the steps are 2^-24; from 65520 on it is infinity.
function toF16(x) {
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0, size = Math.abs(x);
  if (size >= 65520) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | even(size * 2 ** 24);
  const exponent = Math.floor(Math.log2(size)), scaled = even((size / 2 ** exponent - 1) * 1024);
  return sign | (((exponent + 15) << 10) + scaled);
}
function fromF16(u) {
  const sign = u & 0x8000 ? -1 : 1, exponent = (u >> 10) & 31, fraction = u & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : fraction * 2 ** -24);
}
export const halves = { BF16: { to: toBf16, from: fromBf16 }, F16: { to: toF16, from: fromF16 } };

function widened({ shape, data }) {
  const made = Buffer.alloc(2 * data.length);
  for (let i = 0; i < data.length / 4; i++) made.writeDoubleLE(data.readFloatLE(4 * i), 8 * i);
  return { dtype: 'F64', shape, data: made };
}

// F32 tensors in `type` (BF16, F16, or the wider F64), or, when `back`, still F32 but holding exactly those values.
export function round({ metadata, tensors }, type, back) {
  const { to, from } = halves[type] ?? {};
  const cut = (tensor) => {
    const { dtype, shape, data } = tensor;
    if (dtype !== 'F32' || type === 'F32') return tensor;
    if (type === 'F64') return back ? tensor : widened(tensor);
    const count = data.length / 4, size = back ? 4 : 2, made = Buffer.alloc(count * size);
    for (let i = 0; i < count; i++) {
      const u = to(data.readFloatLE(4 * i));
      if (back) made.writeFloatLE(from(u), 4 * i);
      else made.writeUInt16LE(u, 2 * i);
    }
    return { dtype: back ? 'F32' : type, shape, data: made };
  };
  return { metadata, tensors: new Map([...tensors].map(([name, tensor]) => [name, cut(tensor)])) };
}

// Writes the tensors into `count` files and the index that names them; neighbours in the model come to lie in different files.
export function writeSharded(dir, { metadata, tensors }, count = 3) {
  const parts = Array.from({ length: count }, () => new Map());
  [...tensors].forEach(([name, tensor], i) => parts[i % count].set(name, tensor));
  const five = (n) => String(n).padStart(5, '0'), map = {};
  let total = 0;
  parts.forEach((part, i) => {
    const file = `model-${five(i + 1)}-of-${five(count)}.safetensors`;
    writeWeights(join(dir, file), { metadata, tensors: part });
    for (const [name, { data }] of part) {
      map[name] = file;
      total += data.length;
    }
  });
  writeFileSync(join(dir, 'model.safetensors.index.json'), JSON.stringify({ metadata: { total_size: total }, weight_map: map }));
}

// A checkpoint's folder in another form: f32, sharded, bf16, f16, and bf16-wide, f16-wide: rounded, but kept in 32 bits.
export function reform(from, to, form) {
  mkdirSync(to, { recursive: true });
  const type = { bf16: 'BF16', f16: 'F16' }[form.split('-')[0]];
  for (const name of ['generation_config.json', ...(type ? [] : ['reference.json'])]) {
    if (existsSync(join(from, name))) copyFileSync(join(from, name), join(to, name));
  }
  const config = JSON.parse(readFileSync(join(from, 'config.json'), 'utf8'));
  if (form === 'bf16') config.dtype = 'bfloat16';
  if (form === 'f16') config.dtype = 'float16';
  writeFileSync(join(to, 'config.json'), JSON.stringify(config, null, 2));
  const weights = readWeights(join(from, 'model.safetensors'));
  if (form === 'sharded') writeSharded(to, weights);
  else writeWeights(join(to, 'model.safetensors'), type ? round(weights, type, form.endsWith('-wide')) : weights);
}
