// SPDX-License-Identifier: Apache-2.0
// Text generation by the ONNX runner, spoken to directly. The graphs are so small that every answer can be worked out here: the next token is
// a sum over all tokens and positions so far, taken from the cache, so that a cache that is cut, kept or counted wrongly shows at once.
import test from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runners } from '../support/models.mjs';
import { model } from '../support/tinyonnx.mjs';
import { Runner, frame } from '../support/wire.mjs';

const program = join(runners, 'hangar-runner-onnx');
const home = realpathSync(mkdtempSync(join(tmpdir(), 'hangar-generate-')));
test.after(() => { Runner.killAll(); rmSync(home, { recursive: true, force: true }); });

const VOCAB = 32;
const ints = (...data) => ({ type: 'I64', shape: [data.length], data });
const float = (x) => ({ type: 'F32', shape: [], data: [x] });

// The nodes of a decoder. `type`: of cache and logits; `hidden`: beside an encoder, the type of its output; `slow`: products of large matrices before the logits.
function decoder({ type = 'F32', hidden = '', slow = 0, wrong = null, decoderName = '' } = {}) {
  const f16 = type === 'F16', cache = (n, what) => `${n}.0.${decoderName}${what}`;
  const nodes = [], to = (x, out, t) => (nodes.push(['Cast', [x], [out], { to: t === 'F16' ? 10 : 1 }]), out);
  const side = (what, source) => {
    const past = cache('past_key_values', what), present = cache('present', what);
    to(source, `${what}_f`, 'F32');
    nodes.push(['Reshape', [`${what}_f`, 'four'], [`${what}_4`]], ['Mul', [`${what}_4`, 'weights'], [`${what}_w`]]);
    nodes.push(['Concat', [past, f16 ? to(`${what}_w`, `${what}_h`, 'F16') : `${what}_w`], [present], { axis: 2 }]);
    nodes.push(['ReduceSum', [f16 ? to(present, `${what}_p`, 'F32') : present, 'axes13'], [`${what}_s`], { keepdims: 0 }]);
    nodes.push(['CumSum', [`${what}_s`, 'one'], [`${what}_c`]], ['Shape', [past], [`${what}_n`], { start: 2, end: 3 }]);
    nodes.push(['Slice', [`${what}_c`, `${what}_n`, 'big', 'axis1'], [`${what}_new`]], ['Mul', [`${what}_new`, 'sixteenth'], [what]]);
  };
  side('key', 'input_ids');
  if (!hidden) side('value', 'position_ids');
  else side('value', 'input_ids');
  const sum = ['Mul', ['key', 'three'], ['key3']];
  nodes.push(sum, ['Mul', ['value', 'five'], ['value5']], ['Add', ['key3', 'value5'], ['both']], ['Add', ['both', 'unit'], ['plus']]);
  if (hidden) {
    // twice the sum of what the encoder gave, where its mask is 1
    to('encoder_attention_mask', 'mask_f', 'F32');
    nodes.push(['ReduceSum', [to('encoder_hidden_states', 'hidden_f', 'F32'), 'axis2'], ['hidden_s'], { keepdims: 0 }], ['Mul', ['hidden_s', 'mask_f'], ['hidden_m']]);
    nodes.push(['ReduceSum', ['hidden_m'], ['hidden_t'], { keepdims: 0 }], ['Mul', ['hidden_t', 'two'], ['extra']]);
  } else {
    // 7 for each place that the mask has too many
    to('attention_mask', 'mask_f', 'F32');
    nodes.push(['ReduceSum', ['mask_f'], ['mask_t'], { keepdims: 0 }], ['Shape', ['present.0.key'], ['total'], { start: 2, end: 3 }]);
    nodes.push(['Reshape', [to('total', 'total_f', 'F32'), 'none'], ['total_0']], ['Sub', ['mask_t', 'total_0'], ['over']], ['Mul', ['over', 'seven'], ['extra']]);
  }
  nodes.push(['Add', ['plus', 'extra'], ['whole']], ['Mod', ['whole', 'vocab'], ['next'], { fmod: 1 }], ['Unsqueeze', ['next', 'last'], ['column']]);
  nodes.push(['Sub', ['column', 'tokens'], ['far']], ['Mul', ['far', 'far'], ['square']], ['Mul', ['square', 'minus'], ['score']]);
  let last = 'score';
  if (slow) {
    nodes.push(['ReduceMin', ['key'], ['least'], { keepdims: 0 }], ['Mul', ['least', 'zero'], ['nothing']], ['Expand', ['nothing', 'large'], ['m0']]);
    for (let i = 0; i < slow; i++) nodes.push(['MatMul', [`m${i}`, `m${i}`], [`m${i + 1}`]]);
    nodes.push(['ReduceMax', [`m${slow}`], ['most'], { keepdims: 0 }], ['Add', [last, 'most'], ['slowly']]);
    last = 'slowly';
  }
  if (wrong !== null) {
    nodes.push(['Mul', [last, 'wrong'], ['bad']]);
    last = 'bad';
  }
  if (f16) to(last, 'logits', 'F16');
  else nodes.push(['Identity', [last], ['logits']]);
  const caches = ['key', 'value'], shape = (sequence) => ['batch_size', 2, sequence, 2];
  return model({
    nodes,
    constants: {
      four: ints(1, 1, -1, 1), axes13: ints(1, 3), big: ints('9223372036854775807'), axis1: ints(1), axis2: ints(2), last: ints(-1), large: ints(1000, 1000),
      none: { type: 'I64', shape: [0], data: [] }, one: { type: 'I64', shape: [], data: [1] }, weights: { type: 'F32', shape: [1, 2, 1, 2], data: [1, 2, 4, 9] },
      sixteenth: float(1 / 16), two: float(2), three: float(3), five: float(5), seven: float(7), unit: float(1), vocab: float(VOCAB), minus: float(-0.5), zero: float(0),
      wrong: float(wrong ?? 1), tokens: { type: 'F32', shape: [VOCAB], data: [...Array(VOCAB).keys()] },
    },
    inputs: [
      ['input_ids', 'I64', ['batch_size', 'sequence_length']],
      ...(hidden
        ? [['encoder_hidden_states', hidden, ['batch_size', 'encoder_sequence_length', 4]], ['encoder_attention_mask', 'I64', ['batch_size', 'encoder_sequence_length']]]
        : [['attention_mask', 'I64', ['batch_size', 'total_sequence_length']], ['position_ids', 'I64', ['batch_size', 'sequence_length']]]),
      ...caches.map((c) => [cache('past_key_values', c), type, shape('past_sequence_length')]),
    ],
    outputs: [['logits', type, ['batch_size', 'sequence_length', VOCAB]], ...caches.map((c) => [cache('present', c), type, shape('total_sequence_length')])],
  });
}

// last_hidden_state[t] = [id, 0, 0, 0] of the encoder's tokens.
const encoder = (type = 'F32') => model({
  nodes: [['Cast', ['input_ids'], ['f'], { to: 1 }], ['Unsqueeze', ['f', 'last'], ['column']], ['Mul', ['column', 'first'], ['whole']],
    ['Cast', ['whole'], ['last_hidden_state'], { to: type === 'F16' ? 10 : 1 }]],
  constants: { last: ints(-1), first: { type: 'F32', shape: [4], data: [1, 0, 0, 0] } },
  inputs: [['input_ids', 'I64', ['batch_size', 'sequence_length']], ['attention_mask', 'I64', ['batch_size', 'sequence_length']]],
  outputs: [['last_hidden_state', type, ['batch_size', 'sequence_length', 4]]],
});

// What greedy decoding must give, token by token.
function expected(prompt, count, { eos = [] } = {}) {
  const all = [...prompt], made = [];
  while (made.length < count) {
    const positions = (all.length * (all.length - 1)) / 2;
    const next = (3 * all.reduce((a, b) => a + b, 0) + 5 * positions + 1) % VOCAB;
    made.push(next);
    all.push(next);
    if (eos.includes(next)) break;
  }
  return made;
}

let folders = 0;
async function started(graphs, texts = {}) {
  const folder = join(home, String(folders++));
  const { mkdirSync } = await import('node:fs');
  mkdirSync(folder);
  const list = Object.entries(graphs).map(([name, bytes]) => {
    const path = join(folder, `${name}.onnx`);
    writeFileSync(path, bytes);
    return { name, path };
  });
  const parts = [], places = [];
  let offset = 0;
  for (const [name, doc] of Object.entries(texts)) {
    const bytes = Buffer.from(typeof doc === 'string' ? doc : JSON.stringify(doc));
    places.push({ name, offset, bytes: bytes.length });
    parts.push(bytes);
    offset += bytes.length;
  }
  const runner = new Runner(program);
  assert.equal((await runner.answer()).type, 'HELLO');
  const ready = await runner.ask('LOAD', { folder, files: [], graphs: list, threads: 1, texts: places }, Buffer.concat(parts));
  assert.equal(ready.type, 'READY', JSON.stringify(ready.json));
  return runner;
}
// One call; { done, ticks }.
async function generate(runner, call) {
  const ticks = [];
  runner.socket.write(frame('CALL', { op: 'generate', temperature: 0, ...call }));
  for (;;) {
    const one = await runner.next();
    if (one.type === 'TICK') ticks.push(one.json);
    else if (one.type === 'DONE') return { done: one.json, ticks };
    else if (one.type !== 'PIECE') throw new Error(`${one.type} ${JSON.stringify(one.json)}`);
  }
}
const fails = async (runner, call, code, words) => {
  const got = await runner.ask('CALL', { op: 'generate', temperature: 0, ...call });
  assert.equal(got.type, 'FAIL', JSON.stringify(got.json));
  assert.equal(got.json.code, code, got.json.message);
  assert.match(got.json.message, words);
};
const prompt = (n, seed = 1) => Array.from({ length: n }, (_, i) => (i * 7 + seed * 3) % VOCAB);

test('a prompt of several chunks, and tokens one by one', async () => {
  const runner = await started({ model: decoder() });
  const ids = prompt(300);
  const { done, ticks } = await generate(runner, { ids, max_tokens: 40 });
  assert.deepEqual(done.tokens, expected(ids, 40));
  assert.equal(done.finish, 'length');
  assert.deepEqual([done.prompt_tokens, done.prompt_reused, done.generated_tokens, done.text], [300, 0, 40, '']);
  assert.deepEqual(ticks.map((t) => t.done), [128, 256, 300]);
  assert.ok(ticks.every((t) => t.total === 300));
  await runner.end();
});

test('what the cache holds is not read again', async () => {
  const runner = await started({ model: decoder() });
  const ids = prompt(20);
  const first = (await generate(runner, { ids, max_tokens: 10 })).done;
  // the next turn of a conversation; the last token of the first answer was never fed
  const longer = [...ids, ...first.tokens, 5, 6, 7];
  const second = (await generate(runner, { ids: longer, max_tokens: 12 })).done;
  assert.equal(second.prompt_reused, 29);
  assert.deepEqual(second.tokens, expected(longer, 12));
  // another way from the middle on: the cache is cut
  const other = [...ids.slice(0, 11), 30, 29, 28];
  const third = (await generate(runner, { ids: other, max_tokens: 12 })).done;
  assert.equal(third.prompt_reused, 11);
  assert.deepEqual(third.tokens, expected(other, 12));
  // the same again: one token is read for its scores
  const again = (await generate(runner, { ids: other, max_tokens: 12 })).done;
  assert.equal(again.prompt_reused, 13);
  assert.deepEqual(again.tokens, third.tokens);
  // nothing in common
  const fresh = [31, 1];
  const last = (await generate(runner, { ids: fresh, max_tokens: 3 })).done;
  assert.equal(last.prompt_reused, 0);
  assert.deepEqual(last.tokens, expected(fresh, 3));
  await runner.end();
});

test('cache and scores of 16 bits', async () => {
  const runner = await started({ model: decoder({ type: 'F16' }) });
  const ids = prompt(140), other = [...ids.slice(0, 50), 3, 2];
  assert.deepEqual((await generate(runner, { ids, max_tokens: 30 })).done.tokens, expected(ids, 30));
  const cut = (await generate(runner, { ids: other, max_tokens: 30 })).done;
  assert.equal(cut.prompt_reused, 50);
  assert.deepEqual(cut.tokens, expected(other, 30));
  await runner.end();
});

test('an answer ends with each of the end tokens, a full context, or its limit', async () => {
  const ids = prompt(5);
  const free = expected(ids, 30), end = free[9], at = free.indexOf(end);
  for (const [generation, config] of [[{ eos_token_id: [31.5, end] }, { eos_token_id: 77 }], [{}, { eos_token_id: end }], [{ eos_token_id: null }, { eos_token_id: [end] }]]) {
    const runner = await started({ model: decoder() }, { 'generation_config.json': generation, 'config.json': config });
    const { done } = await generate(runner, { ids, max_tokens: 30 });
    assert.equal(done.finish, 'stop');
    assert.deepEqual(done.tokens, free.slice(0, at + 1));
    await runner.end();
  }
  const runner = await started({ model: decoder() }, { 'config.json': { n_positions: 12 } });
  const { done } = await generate(runner, { ids, max_tokens: 30 });
  assert.equal(done.finish, 'length');
  assert.deepEqual(done.tokens, free.slice(0, 8));
  assert.equal((await generate(runner, { ids, max_tokens: 30, context: 7 })).done.tokens.length, 3);
  await fails(runner, { ids: prompt(12) }, 'TOO_LONG', /12 tokens, and .* at most 12;/);
  await fails(runner, { ids: prompt(7), context: 7 }, 'TOO_LONG', /7 tokens and the context 7; .*--context-length/);
  await fails(runner, { ids: [1, VOCAB] }, 'INVALID', /token 32, and the model knows 32/);
  await fails(runner, { ids, context: 13 }, 'LIMIT', /over the 12/);
  await runner.end();
});

test('a stop string that only the end of the answer makes', async () => {
  // half characters are held back until no token can complete them
  const vocab = Object.fromEntries([...Array(VOCAB).keys()].map((id) => [`<0x${(0x80 + id).toString(16).toUpperCase()}>`, id]));
  const runner = await started({ model: decoder() }, { 'tokenizer.json': { model: { type: 'BPE', vocab, merges: [] }, decoder: { type: 'ByteFallback' } } });
  const whole = (await generate(runner, { ids: prompt(5), max_tokens: 3 })).done; // without those of the prompt
  assert.deepEqual([whole.text, whole.finish], ['\uFFFD'.repeat(3), 'length']);
  const cut = (await generate(runner, { ids: prompt(5), max_tokens: 3, stop: ['\uFFFD'] })).done;
  assert.deepEqual([cut.text, cut.finish], ['', 'stop']);
  await runner.end();
});

test('a character that the prompt begins and the answer ends', async () => {
  const ids = prompt(5), [next] = expected(ids, 1), bytes = [0xC3, 0x80 + next];
  const vocab = Object.fromEntries([...Array(VOCAB).keys()].map((id) => [`w${id}`, id]));
  delete vocab[`w${ids.at(-1)}`];
  delete vocab[`w${next}`];
  const byte = (b) => `<0x${b.toString(16).toUpperCase()}>`;
  assert.notEqual(ids.at(-1), next);
  const runner = await started({ model: decoder() }, { 'tokenizer.json': { model: { type: 'BPE', vocab: { ...vocab, [byte(bytes[0])]: ids.at(-1), [byte(bytes[1])]: next }, merges: [] }, decoder: { type: 'ByteFallback' } } });
  const answer = (await generate(runner, { ids, max_tokens: 1 })).done;
  assert.equal(answer.text, Buffer.from(bytes).toString());
  await runner.end();
});

// A letter for each id; `pair`: two ids whose letters the tokenizer reads as one token, `as`.
function letters(pair = [], as = -1) {
  const letter = (id) => String.fromCharCode(id < 26 ? 97 + id : 22 + id);
  const vocab = Object.fromEntries([...Array(VOCAB).keys()].map((id) => [id === as ? pair.map(letter).join('') : letter(id), id]));
  const merges = pair.length ? [pair.map(letter)] : [];
  return { tokenizer: { model: { type: 'BPE', vocab, merges }, decoder: { type: 'Fuse' } }, text: (ids) => ids.map(letter).join('') };
}

test('an answer that was begun, alone and beside an encoder', async () => {
  const ids = prompt(6, 3), whole = expected(ids, 12), unused = [...Array(VOCAB).keys()].find((id) => !whole.includes(id) && !ids.includes(id));
  assert.ok(unused >= 0);
  // the tokenizer joins two letters that stand side by side in the answer: the model does not, and is believed at temperature 0
  const { tokenizer, text } = letters(whole.slice(4, 6), unused);
  let runner = await started({ model: decoder() }, { 'tokenizer.json': tokenizer });
  for (let cut = 1; cut < whole.length; cut++) {
    const begun = text(whole.slice(0, cut));
    const { done } = await generate(runner, { ids, begun, begun_tokens: cut, max_tokens: 12 });
    assert.deepEqual([done.tokens, done.text, done.begun_tokens], [whole.slice(cut), text(whole.slice(cut)), cut], begun);
  }
  const warm = (await generate(runner, { ids, begun: text(whole.slice(0, 6)), max_tokens: 1, temperature: 1, seed: 1 })).done;
  assert.equal(warm.begun_tokens, 5, 'the tokenizer\'s own');
  await runner.end();
  const beside = { encoder_model: encoder(), decoder_model_merged: decoder({ hidden: 'F32', decoderName: 'decoder.' }) };
  for (const config of [{ decoder_start_token_id: 6 }, { decoder_start_token_id: 6, forced_bos_token_id: 11 }]) {
    const plain = letters();
    runner = await started(beside, { 'config.json': config, 'tokenizer.json': plain.tokenizer });
    const { done: all } = await generate(runner, { ids, max_tokens: 9 });
    const first = config.forced_bos_token_id === undefined ? 0 : 1;
    for (let cut = 1; cut < 9; cut++) {
      // the token that is forced to be the first is no text that anybody saw, were it control; here it is a letter
      const begun = plain.text(all.tokens.slice(first, cut));
      if (!begun) continue;
      const { done } = await generate(runner, { ids, begun, max_tokens: 9 - cut });
      assert.deepEqual(done.tokens, all.tokens.slice(cut), `${cut}`);
    }
    await runner.end();
  }
});

test('a sign of life when nothing goes out', async () => {
  // without a tokenizer an answer has no text at all
  const runner = await started({ model: decoder() });
  runner.socket.write(frame('CALL', { op: 'generate', temperature: 0, ids: prompt(3), max_tokens: 1000000, context: 1000000 }));
  let life = 0;
  while (life < 2) {
    const one = await runner.next();
    assert.equal(one.type, 'TICK');
    if (one.json.total === 0) life++;
  }
  assert.equal((await runner.ask('CANCEL')).json.code, 'CANCELLED');
  await runner.end();
});

test('a LOAD that failed is the only one', async () => {
  const runner = new Runner(program);
  await runner.answer();
  for (const words of [/No such file/, /loaded already|one LOAD/]) {
    const got = await runner.ask('LOAD', { folder: home, files: [join(home, 'nothing')], graphs: [{ name: 'model', path: 'x' }],
      texts: [{ name: 'config.json', offset: 0, bytes: 2 }] }, Buffer.from('{}'));
    assert.equal(got.type, 'FAIL');
    assert.match(got.json.message, words);
  }
  await runner.end();
});

test('tokens that no answer has', async () => {
  const ids = prompt(5), [never] = expected(ids, 1);
  const runner = await started({ model: decoder() }, { 'generation_config.json': { bad_words_ids: [[never], [1, 2]], suppress_tokens: [99999] } });
  const { done } = await generate(runner, { ids, max_tokens: 1 });
  assert.equal(Math.abs(done.tokens[0] - never), 1);
  await runner.end();
});

test('a seed is an answer', async () => {
  const runner = await started({ model: decoder() });
  const call = { ids: prompt(9), max_tokens: 20, temperature: 5, top_k: 0, top_p: 1, min_p: 0 };
  const answers = [];
  for (const seed of [1, 1, 2, -1, -1]) answers.push(String((await generate(runner, { ...call, seed })).done.tokens));
  assert.equal(answers[0], answers[1]);
  assert.equal(new Set(answers).size, 4);
  await runner.end();
});

test('a cancel between steps and in the midst of one; the runner goes on', async () => {
  for (const slow of [0, 400]) {
    const runner = await started({ model: decoder({ slow }) });
    runner.socket.write(frame('CALL', { op: 'generate', temperature: 0, ids: prompt(3), max_tokens: 500000, context: 1000000 }));
    if (slow) await new Promise((go) => setTimeout(go, 300));
    else assert.equal((await runner.next()).type, 'TICK');
    const from = Date.now();
    runner.socket.write(frame('CANCEL'));
    const end = await runner.answer();
    assert.deepEqual([end.type, end.json.code], ['FAIL', 'CANCELLED']);
    assert.ok(Date.now() - from < 2500, `${Date.now() - from} ms`);
    if (!slow) {
      const ids = prompt(30, 2);
      assert.deepEqual((await generate(runner, { ids, max_tokens: 9 })).done.tokens, expected(ids, 9));
    }
    assert.equal((await runner.end()).code, 0);
  }
});

test('calls that cannot be answered are one line, and the next is answered', async () => {
  const runner = await started({ model: decoder() });
  const ids = prompt(4);
  await fails(runner, { ids, json_schema: '{}' }, 'UNSUPPORTED', /only for GGUF models/);
  await fails(runner, { ids, grammar: 'root ::= "a"' }, 'UNSUPPORTED', /only for GGUF models/);
  await fails(runner, { prompt: 'Hello' }, 'UNSUPPORTED', /no tokenizer/);
  await fails(runner, { messages: [{ role: 'user', content: 'Hello' }] }, 'UNSUPPORTED', /no tokenizer/);
  for (const wrong of [[], 'abc', [1, -1], [1.5], ['1'], [2 ** 40]]) await fails(runner, { ids: wrong }, 'USAGE', /ids? /);
  await fails(runner, { ids, temperature: 6 }, 'USAGE', /temperature/);
  await fails(runner, { ids, stop: [''] }, 'USAGE', /stop string/);
  await fails(runner, { ids, max_tokens: 0 }, 'USAGE', /max_tokens/);
  assert.deepEqual((await generate(runner, { ids, max_tokens: 5 })).done.tokens, expected(ids, 5));
  await runner.end();
});

test('a model whose scores are no numbers', async () => {
  const runner = await started({ model: decoder({ wrong: NaN }) });
  for (const temperature of [0, 1]) await fails(runner, { ids: prompt(4), temperature }, 'ENGINE', /not a number/);
  await runner.end();
});

test('graphs and texts that do not fit', async () => {
  const plain = model({
    nodes: [['Cast', ['input_ids'], ['logits'], { to: 1 }]], inputs: [['input_ids', 'I64', ['b', 's']]], outputs: [['logits', 'F32', ['b', 's']]],
  });
  for (const [graphs, code, words] of [[{ model: plain }, 'UNSUPPORTED', /no cache/], [{ other: plain }, 'NOT_FOUND', /no graph "model"/]]) {
    const runner = await started(graphs);
    for (let i = 0; i < 2; i++) await fails(runner, { ids: [1, 2] }, code, words);
    await runner.end();
  }
  const wrongs = [[{ name: 'config.json', offset: 1, bytes: 4 }], [{ name: 'config.json', offset: 0, bytes: -1 }], [{ name: 'config.json' }], { a: 1 },
    Array(17).fill({ name: 'x', offset: 0, bytes: 1 }), [{ name: 'config.json', offset: 0, bytes: 3 }]];
  for (const texts of wrongs) {
    const runner = new Runner(program);
    await runner.answer();
    const got = await runner.ask('LOAD', { folder: home, files: [], graphs: [{ name: 'model', path: join(home, '0/model.onnx') }], texts }, Buffer.from('{]}x'));
    assert.deepEqual([got.type, got.json.code], ['FAIL', 'INVALID'], JSON.stringify(texts));
    await runner.end();
  }
});

test('beside an encoder', async () => {
  const graphs = { encoder_model: encoder(), decoder_model_merged: decoder({ hidden: 'F32', decoderName: 'decoder.' }) };
  const answer = (prompt, start, count, first = []) => {
    const all = [start], made = [];
    while (made.length < count) {
      const sum = all.reduce((a, b) => a + b, 0);
      made.push(made.length < first.length ? first[made.length] : (8 * sum + 1 + 2 * prompt.reduce((a, b) => a + b, 0)) % VOCAB);
      all.push(made.at(-1));
    }
    return made;
  };
  const ids = [4, 9, 1];
  let runner = await started(graphs, { 'config.json': { decoder_start_token_id: 6 } });
  for (const p of [ids, [2], ids]) {
    const { done } = await generate(runner, { ids: p, max_tokens: 15 });
    assert.deepEqual(done.tokens, answer(p, 6, 15));
    assert.deepEqual([done.prompt_tokens, done.prompt_reused], [p.length, 0]);
  }
  await runner.end();
  runner = await started(graphs, { 'config.json': { bos_token_id: 3 }, 'generation_config.json': { forced_bos_token_id: 11 } });
  assert.deepEqual((await generate(runner, { ids, max_tokens: 5 })).done.tokens, answer(ids, 3, 5, [11]));
  await runner.end();
  runner = await started(graphs);
  await fails(runner, { ids }, 'UNSUPPORTED', /decoder_start_token_id/);
  await runner.end();
  // what goes from one to the other may have 16 bits, if both say so
  const half = decoder({ type: 'F16', hidden: 'F16', decoderName: 'decoder.' }), config = { 'config.json': { decoder_start_token_id: 6 } };
  runner = await started({ encoder_model: encoder('F16'), decoder_model_merged: half }, config);
  assert.deepEqual((await generate(runner, { ids, max_tokens: 15 })).done.tokens, answer(ids, 6, 15));
  await runner.end();
  runner = await started({ encoder_model: encoder(), decoder_model_merged: half }, config);
  await fails(runner, { ids }, 'INVALID', /gives F32 and the decoder wants F16/);
  await runner.end();
});
