// SPDX-License-Identifier: Apache-2.0
// A GGUF file with some of its values changed: texts, and items of arrays of texts or of 32-bit numbers. The tensors stay as they are.
import { readFileSync, writeFileSync } from 'node:fs';

const SIZES = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };
const STRING = 8, ARRAY = 9;

const text = (s) => {
  const bytes = Buffer.from(s), length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return Buffer.concat([length, bytes]);
};
const u32 = (n) => {
  const b = Buffer.alloc(4);
  b.writeUInt32LE(n);
  return b;
};

// changes: { key: 'text', or key: (items) => items for an array, or key: null to leave it out }; a key that is not there is added as text.
export function editGguf(from, to, changes) {
  const file = readFileSync(from);
  let at = 24;
  const number = () => Number(file.readBigUInt64LE((at += 8) - 8)), word = () => file.readUInt32LE((at += 4) - 4);
  const string = () => {
    const n = number();
    return file.subarray(at, (at += n));
  };
  const skip = (type) => {
    if (type === STRING) string();
    else if (type === ARRAY) {
      const items = word(), count = number();
      for (let i = 0; i < count; i++) skip(items);
    } else at += SIZES[type];
  };
  const tensors = Number(file.readBigUInt64LE(8)), values = Number(file.readBigUInt64LE(16));
  const parts = [], left = { ...changes };
  let count = 0, alignment = 32;
  for (let i = 0; i < values; i++) {
    const begin = at, key = string().toString(), type = word(), value = at;
    skip(type);
    if (key === 'general.alignment') alignment = file.readUInt32LE(value);
    const change = left[key];
    delete left[key];
    if (change === null) continue;
    count++;
    if (change === undefined) parts.push(file.subarray(begin, at));
    else if (typeof change === 'string') parts.push(text(key), u32(STRING), text(change));
    else {
      const end = at;
      at = value;
      const items = word(), n = number();
      const list = Array.from({ length: n }, () => (items === STRING ? string().toString() : file.readInt32LE((at += 4) - 4)));
      const changed = change(list), length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(changed.length));
      parts.push(text(key), u32(ARRAY), u32(items), length, ...changed.map((x) => (items === STRING ? text(x) : u32(x))));
      at = end;
    }
  }
  for (const [key, value] of Object.entries(left)) {
    parts.push(text(key), u32(STRING), text(value));
    count++;
  }
  const infos = at;
  for (let i = 0; i < tensors; i++) {
    string();
    const rank = word();
    at += 8 * rank + 4 + 8;
  }
  const header = Buffer.from(file.subarray(0, 24));
  header.writeBigUInt64LE(BigInt(count), 16);
  const head = Buffer.concat([header, ...parts, file.subarray(infos, at)]);
  const padding = Buffer.alloc((alignment - (head.length % alignment)) % alignment);
  writeFileSync(to, Buffer.concat([head, padding, file.subarray(Math.ceil(at / alignment) * alignment)]));
  return to;
}
