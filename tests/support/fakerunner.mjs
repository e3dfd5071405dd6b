// SPDX-License-Identifier: Apache-2.0
// A scripted llama runner, for tests of what happens around one. It speaks the wire over descriptor 3 and knows its name from the repository of the
// file it is to load (fake/NAME). What it does in a call stands in the last message, one "name=deed" for each runner, a "*" for all:
//   ok            writes the words of `words`, one a piece; goes on behind "begun"
//   crash-before  dies before the first word            crash-mid   dies after three words
//   hang-before   stops giving signs before the first    hang-mid    the same after three words
//   garbage       sends what is no frame                 refuse      FAIL INVALID, as for a wrong question
//   limit         FAIL TOO_LONG, as a prompt gets        slow        one word each 50 ms
//   tool          a tool call                            tool-crash  a tool call, then dies
//   probe-hang    ok, but no probe is answered any more  echo        the prompt itself, at once
//   grow          takes memory until it is killed        endless     one word each 5 ms, until it is told to end
// A name that begins with "noload" fails to load, "crashload" dies while it loads, "slowload" takes a second.
import net from 'node:net';
import { frame } from './frames.mjs';
import { words } from './fakerunner-words.mjs';

const socket = new net.Socket({ fd: 3, readable: true, writable: true });
let name = '', buffer = Buffer.alloc(0), cancelled = false, busy = false, probes = true;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const send = (type, json) => new Promise((done) => socket.write(frame(type, json), done));
const never = () => new Promise(() => setInterval(() => {}, 1000));

async function load(doc) {
  name = /models--fake--([^/]+)/.exec(doc.model)?.[1] ?? '';
  if (name.startsWith('crashload')) process.kill(process.pid, 'SIGKILL');
  if (name.startsWith('slowload')) await sleep(1000);
  if (name.startsWith('noload')) return send('FAIL', { code: 'ENGINE', message: 'this model cannot be loaded' });
  return send('READY', { description: 'fake', parameters: 1, bytes: 1, context_trained: 2048, vocabulary: 10, has_template: true });
}

function deed(doc) {
  const last = doc.messages ? doc.messages.at(-1).content : doc.prompt;
  for (const part of String(last).split(/[\s;]+/)) {
    const [who, what] = part.split('=');
    if (what && (who === name || who === '*')) return what;
  }
  return 'ok';
}

const done = (finish, made) => send('DONE', {
  text: '', tokens: [], finish, prompt_tokens: 7, prompt_reused: 0, generated_tokens: made, prompt_seconds: 0.001, generate_seconds: 0.001,
});

async function generate(doc) {
  const what = deed(doc);
  if (what === 'refuse') return send('FAIL', { code: 'INVALID', message: 'the question is wrong' });
  if (what === 'limit') return send('FAIL', { code: 'TOO_LONG', message: 'the prompt has 9000 tokens and the context 2048' });
  if (what === 'crash-before') process.kill(process.pid, 'SIGKILL');
  if (what === 'hang-before') return never();
  if (what === 'garbage') return socket.write(Buffer.from('this is no frame at all, whatever else it is'));
  if (what === 'probe-hang') probes = false;
  if (what === 'echo') {
    await send('PIECE', { text: String(doc.messages?.at(-1).content ?? doc.prompt) });
    return done('stop', 1);
  }
  if (what === 'grow') {
    for (const kept = []; ;) {
      kept.push(Buffer.alloc(16 << 20, 1));
      await send('TICK', { done: 0, total: 0 });
      await sleep(5);
    }
  }
  if (what === 'tool' || what === 'tool-crash') {
    await send('PIECE', { tool_call: { id: 'call_1', name: 'weather', arguments: '{"city":"Paris"}' } });
    if (what === 'tool-crash') process.kill(process.pid, 'SIGKILL');
    return done('tool_calls', 5);
  }
  if (what === 'endless') {
    for (let i = 0; !cancelled; i++) {
      await send('PIECE', { text: `${i} ` });
      await sleep(5);
    }
    return send('FAIL', { code: 'CANCELLED', message: 'cancelled' });
  }
  let begun = doc.begun ?? '', made = 0;
  for (const [i, word] of words.entries()) {
    if (cancelled) return send('FAIL', { code: 'CANCELLED', message: 'cancelled' });
    if (begun.startsWith(word)) {
      begun = begun.slice(word.length);
      continue;
    }
    if (what === 'crash-mid' && i === 3) process.kill(process.pid, 'SIGKILL');
    if (what === 'hang-mid' && i === 3) return never();
    await send('PIECE', { text: word });
    made++;
    await sleep(what === 'slow' ? 50 : 1);
  }
  return done('stop', made);
}

async function call(doc) {
  busy = true;
  cancelled = false;
  if (doc.op === 'probe') await (probes ? send('DONE', { seconds: 0.001 }) : never());
  else if (doc.op === 'generate') await generate(doc);
  else await send('FAIL', { code: 'UNSUPPORTED', message: `this runner has no operation "${doc.op}"` });
  busy = false;
}

function take(type, doc) {
  if (type === 2) load(doc);
  else if (type === 4) call(doc);
  else if (type === 8 && busy) cancelled = true;
}

socket.on('data', (chunk) => {
  buffer = Buffer.concat([buffer, chunk]);
  while (buffer.length >= 16) {
    const json = buffer.readUInt32LE(8), bin = buffer.readUInt32LE(12);
    if (buffer.length < 16 + json + bin) return;
    const type = buffer.readUInt16LE(4);
    const doc = json ? JSON.parse(buffer.subarray(16, 16 + json)) : null;
    buffer = buffer.subarray(16 + json + bin);
    take(type, doc);
  }
});
socket.on('end', () => process.exit(0));
socket.on('error', () => process.exit(0));
send('HELLO', { engine: 'llama', version: 'fake', protocol: 1 });
