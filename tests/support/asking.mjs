// SPDX-License-Identifier: Apache-2.0
// tool_cloud as an object: questions to cloud models, and what happened to them.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const program = join(process.env.HANGAR_BUILD, 'tests', 'tool_cloud');

export class Asking {
  static all = new Set();
  static killAll() { for (const a of Asking.all) a.child.kill('SIGKILL'); }

  constructor(env = {}) {
    this.child = spawn(program, { env: { PATH: process.env.PATH, ...env } });
    this.output = '';
    this.waiting = new Map();
    this.id = 0;
    Asking.all.add(this);
    this.gone = new Promise((go) => this.child.on('close', (code, signal) => { Asking.all.delete(this); go(code ?? signal); }));
    for (const stream of [this.child.stdout, this.child.stderr]) stream.on('data', (d) => { this.output += d; });
    createInterface({ input: this.child.stdout }).on('line', (l) => this.#take(JSON.parse(l)));
  }

  #take(said) {
    const q = this.waiting.get(said.id);
    if ('text' in said) q.pieces.push(said.text);
    if ('tool' in said) q.tools.push(said.tool);
    q.wake?.();
    if (!said.end && !said.refused && !said.cancelled) return;
    this.waiting.delete(said.id);
    q.resolve({ text: q.pieces.join(''), pieces: q.pieces, tools: q.tools, ...said.end, refused: said.refused, cancelled: said.cancelled });
  }

  // {text, pieces, tools, fault, retry_after, finish, prompt_tokens, generated_tokens, code, error} or {refused: {code, error}}
  ask(target, ask, begun = '') {
    const id = ++this.id, q = { pieces: [], tools: [] };
    const done = new Promise((resolve) => { q.resolve = resolve; });
    this.waiting.set(id, q);
    this.child.stdin.write(JSON.stringify({ id, target, ask, begun }) + '\n');
    done.cancel = () => this.child.stdin.write(JSON.stringify({ id, cancel: true }) + '\n');
    // Until something of the answer is there.
    done.begun = new Promise((go) => { q.wake = go; });
    return done;
  }

  // Ends it; 0 when it ended well.
  async end() { this.child.stdin.end(); return this.gone; }
}
