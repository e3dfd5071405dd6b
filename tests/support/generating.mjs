// SPDX-License-Identifier: Apache-2.0
// The runners that write text, spoken to directly: the chat model by llama.cpp and by ONNX Runtime, and one call with all that comes of it.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { models, runners } from './models.mjs';
import { Runner, frame } from './wire.mjs';

export const gguf = (file = 'tiny-chat-F16.gguf') => join(models, 'hangar-labs/tiny-chat-gguf', file);

// The llama runner with a GGUF file.
export async function llama(file = gguf()) {
  const runner = new Runner(join(runners, 'hangar-runner-llama'));
  assert.equal((await runner.answer()).type, 'HELLO');
  const ready = await runner.ask('LOAD', { model: realpathSync(file), threads: 1 });
  assert.equal(ready.type, 'READY', JSON.stringify(ready.json));
  return runner;
}

// The ONNX runner with a model as `hangar convert --out` gives it, with the texts that hangar sends along; `changes` replaces some of them.
export async function onnx(own, ref = 'hangar-labs/tiny-chat', changes = {}) {
  const out = join(own.home, 'out', ref);
  if (!existsSync(out)) own.result(['convert', ref, '--out', out]);
  const folder = realpathSync(join(out, 'onnx'));
  const graphs = readdirSync(folder).filter((f) => f.endsWith('.onnx')).map((f) => ({ name: f.slice(0, -5), path: join(folder, f) }));
  const parts = [], texts = [];
  let offset = 0;
  for (const name of ['tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja', 'generation_config.json', 'config.json']) {
    const change = changes[name];
    const bytes = change !== undefined ? Buffer.from(typeof change === 'string' ? change : JSON.stringify(change))
      : existsSync(join(out, name)) ? readFileSync(join(out, name)) : null;
    if (!bytes) continue;
    parts.push(bytes);
    texts.push({ name, offset, bytes: bytes.length });
    offset += bytes.length;
  }
  const runner = new Runner(join(runners, 'hangar-runner-onnx'));
  assert.equal((await runner.answer()).type, 'HELLO');
  const ready = await runner.ask('LOAD', { folder, files: [], graphs, threads: 1, texts }, Buffer.concat(parts));
  assert.equal(ready.type, 'READY', JSON.stringify(ready.json));
  return runner;
}

// One call: { done, text: of the pieces, pieces, ticks }, or { fail }.
export async function generate(runner, call) {
  const pieces = [], ticks = [];
  runner.socket.write(frame('CALL', { op: 'generate', temperature: 0, max_tokens: 64, ...call }));
  for (;;) {
    const one = await runner.next();
    if (one.type === 'PIECE') pieces.push(one.json);
    else if (one.type === 'TICK') ticks.push(one.json);
    else if (one.type === 'FAIL') return { fail: one.json, pieces, ticks };
    else {
      assert.equal(one.type, 'DONE', JSON.stringify(one.json));
      const text = pieces.map((p) => p.text ?? '').join('');
      return { done: one.json, text, pieces, ticks };
    }
  }
}
