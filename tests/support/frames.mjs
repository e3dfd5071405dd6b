// SPDX-License-Identifier: Apache-2.0
// The frames between hangar and a runner, as src/engine/wire.h has them.
export const TYPES = { HELLO: 1, LOAD: 2, READY: 3, CALL: 4, PIECE: 5, DONE: 6, FAIL: 7, CANCEL: 8, TICK: 9 };

export function frame(type, json = null, bin = Buffer.alloc(0)) {
  const text = Buffer.from(json === null ? '' : JSON.stringify(json));
  const header = Buffer.alloc(16);
  header.writeUInt32LE(0x31574748, 0);
  header.writeUInt16LE(TYPES[type], 4);
  header.writeUInt32LE(text.length, 8);
  header.writeUInt32LE(bin.length, 12);
  return Buffer.concat([header, text, bin]);
}
