// SPDX-License-Identifier: Apache-2.0
// A runner spoken to directly: frames over descriptor 3, as src/engine/wire.h has them.
import { spawn } from 'node:child_process';
import { TYPES, frame } from './frames.mjs';

export { TYPES, frame };
const NAMES = Object.fromEntries(Object.entries(TYPES).map(([name, number]) => [number, name]));

export class Runner {
  static #all = [];
  // For test.after: a test that failed half-way leaves its runner.
  static killAll() {
    for (const runner of Runner.#all) runner.child.kill('SIGKILL');
  }

  constructor(program, args = []) {
    this.child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
    Runner.#all.push(this);
    this.socket = this.child.stdio[3];
    this.words = '';
    this.child.stderr.on('data', (chunk) => (this.words += chunk));
    this.buffer = Buffer.alloc(0);
    this.frames = [];
    this.waiting = [];
    this.exited = new Promise((done) => this.child.on('exit', (code, signal) => done({ code, signal })));
    this.socket.on('data', (chunk) => this.feed(chunk));
    this.socket.on('error', () => {});
    this.exited.then(() => this.waiting.splice(0).forEach((wait) => wait.reject(new Error(`the runner ended: ${this.words}`))));
  }

  feed(chunk) {
    this.buffer = Buffer.concat([this.buffer, chunk]);
    while (this.buffer.length >= 16) {
      const json = this.buffer.readUInt32LE(8), bin = this.buffer.readUInt32LE(12);
      if (this.buffer.length < 16 + json + bin) return;
      const one = {
        type: NAMES[this.buffer.readUInt16LE(4)],
        json: json ? JSON.parse(this.buffer.subarray(16, 16 + json)) : null,
        bin: Buffer.from(this.buffer.subarray(16 + json, 16 + json + bin)),
      };
      this.buffer = this.buffer.subarray(16 + json + bin);
      const wait = this.waiting.shift();
      if (wait) wait.resolve(one);
      else this.frames.push(one);
    }
  }

  next() {
    if (this.frames.length) return Promise.resolve(this.frames.shift());
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  // The next frame that is no sign of life.
  async answer() {
    for (;;) {
      const one = await this.next();
      if (one.type !== 'TICK') return one;
    }
  }

  async ask(type, json, bin) {
    this.socket.write(frame(type, json, bin));
    return this.answer();
  }

  end() {
    this.socket.end();
    return this.exited;
  }
}

// A view of one output tensor of a DONE frame.
export function tensor(done, name) {
  const t = done.json.outputs.find((o) => o.name === name);
  const copy = new Uint8Array(done.bin.subarray(t.offset, t.offset + t.bytes)).buffer;
  return { shape: t.shape, dtype: t.dtype, data: t.dtype === 'I64' ? new BigInt64Array(copy) : new Float32Array(copy) };
}

// Tensors for a "run": {name: {dtype, shape, data: typed array}} as descriptions and bytes.
export function inputs(named) {
  const list = [], parts = [];
  let offset = 0;
  for (const [name, { dtype, shape, data }] of Object.entries(named)) {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    list.push({ name, dtype, shape, offset, bytes: bytes.length });
    const padded = Buffer.alloc(Math.ceil(bytes.length / 16) * 16);
    bytes.copy(padded);
    parts.push(padded);
    offset += padded.length;
  }
  return { list, bin: Buffer.concat(parts) };
}
