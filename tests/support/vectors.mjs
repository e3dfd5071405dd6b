// SPDX-License-Identifier: Apache-2.0
// Runs converted models on the cases of a reference.json and measures how far the values are apart.
//
// A graph is anything with inputMetadata, outputNames and run(feeds), such as a session of onnxruntime-node. `follow` takes a model
// through every way of calling it that its kind has, and returns what came out:
//
//   plain     each case as it is
//   decoder   each case at once; again as a prompt and then one token at a time; one row alone in pieces of several tokens; greedy
//             tokens one by one through the cache
//   seq2seq   encoder, then all decoder tokens at once; again one at a time; again in pieces of several
//
// as a list of { what, shape, data, want, mask }: `want` are the reference's numbers where it has some, `mask` tells rows that
// count. `ids` of a greedy case are compared on the spot. Every call is also held to the contract of names and shapes.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const ort = createRequire(join(process.env.HANGAR_TOP, 'tests/'))('onnxruntime-node');
export const LIMIT = 5e-5;

export const longs = (numbers, shape) => new ort.Tensor('int64', BigInt64Array.from(numbers, BigInt), shape);
export const floats = (numbers, shape) => new ort.Tensor('float32', Float32Array.from(numbers), shape);
const flag = (value) => new ort.Tensor('bool', [value], [1]);
const product = (shape) => shape.reduce((a, b) => a * b, 1);

export function open(folder, graph) {
  return ort.InferenceSession.create(join(folder, 'onnx', `${graph}.onnx`), { intraOpNumThreads: 1, interOpNumThreads: 1 });
}

// The greatest difference of two lists of numbers and where it is; rows whose mask is 0 do not count. NaN is infinitely far away.
export function apart(have, want, mask) {
  assert.equal(have.length, want.length, `${have.length} numbers instead of ${want.length}`);
  const width = mask ? have.length / mask.length : 1;
  assert.ok(have.length > 0 && Number.isInteger(width));
  let value = 0, at = -1;
  for (let i = 0; i < have.length; i++) {
    if (mask && !mask[Math.floor(i / width)]) continue;
    const far = Math.abs(have[i] - want[i]);
    if (!(far <= value)) [value, at] = [Number.isNaN(far) ? Infinity : far, i];
    if (value === Infinity) break;
  }
  return { value, at };
}

// One call: `given` are tensors by name; what the graph does not declare is left out, what it declares must be there.
async function call(graph, given) {
  const feeds = {};
  for (const { name, type, shape } of graph.inputMetadata) {
    const tensor = given[name];
    assert.ok(tensor, `input ${name}: not in the contract`);
    assert.equal(type, tensor.type, `type of ${name}`);
    assert.equal(shape.length, tensor.dims.length, `rank of ${name}`);
    shape.forEach((size, i) => assert.ok(typeof size !== 'number' || size === tensor.dims[i], `${name}: [${shape}] given [${tensor.dims}]`));
    feeds[name] = tensor;
  }
  return graph.run(feeds);
}

const declared = (graph, ...names) => {
  const have = graph.inputMetadata.map(({ name }) => name);
  for (const name of names) assert.ok(have.includes(name), `no input ${name} in ${have.join(', ')}`);
};

// Columns from..to of a matrix given row by row.
const columns = (numbers, rows, from, to) => {
  const width = numbers.length / rows;
  return Array.from({ length: rows }, (_, r) => numbers.slice(r * width + from, r * width + to)).flat();
};

// Keys and values that a decoder is given back at each call. Head count and size must be numbers in the graph, lengths symbols.
class Cache {
  constructor(graph, batch, layers) {
    const shapes = new Map(graph.inputMetadata.map(({ name, shape }) => [name, shape]));
    this.past = {};
    this.length = 0;
    for (const name of shapes.keys()) {
      if (!name.startsWith('past_key_values.')) continue;
      const [, heads, length, size] = shapes.get(name);
      assert.ok(typeof heads === 'number' && typeof size === 'number' && typeof length === 'string', `${name}: [${shapes.get(name)}]`);
      this.past[name] = floats([], [batch, heads, 0, size]);
      assert.ok(graph.outputNames.includes(name.replace('past_key_values', 'present')), `no present for ${name}`);
    }
    const stems = new Set(Object.keys(this.past).map((name) => name.replace(/\.(key|value)$/, '')));
    assert.equal(Object.keys(this.past).length, 2 * stems.size, 'keys and values in pairs');
    assert.equal(new Set([...stems].map((stem) => stem.split('.')[1])).size, layers, 'a cache for each layer');
  }

  take(given, count, cached) {
    this.length += count;
    for (const [name, old] of Object.entries(this.past)) {
      if (cached && name.includes('.encoder.')) continue; // made once; what later calls say of it does not count
      const now = given[name.replace('past_key_values', 'present')];
      const length = name.includes('.encoder.') ? now.dims[2] : this.length;
      assert.deepEqual(now.dims, [old.dims[0], old.dims[1], length, old.dims[3]], `shape of ${name} after ${this.length} tokens`);
      this.past[name] = now;
    }
  }
}

// ---- encoders, images, sound, pairs ----

async function plain({ model }, { cases }) {
  const made = [];
  for (const [n, one] of cases.entries()) {
    const given = {};
    for (const [name, { shape, data }] of Object.entries(one.inputs)) given[name] = name.endsWith('_values') ? floats(data, shape) : longs(data, shape);
    declared(model, ...Object.keys(given));
    const ids = one.inputs.input_ids, mask = one.inputs.attention_mask?.data;
    if (ids) {
      given.attention_mask ??= longs(ids.data.map(() => 1), ids.shape);
      given.token_type_ids = longs(ids.data.map(() => 0), ids.shape);
    }
    const got = await call(model, given);
    for (const [name, want] of Object.entries(one.outputs)) {
      assert.ok(got[name], `no output ${name} in ${Object.keys(got).join(', ')}`);
      const tokens = mask && want.shape.length === 3;
      made.push({ what: `case ${n}, ${name}`, shape: got[name].dims, data: got[name].data, want, mask: tokens ? mask : null });
    }
  }
  return { made, greedy: null };
}

// ---- decoders with a cache ----

const counted = (mask, rows) => {
  const width = mask.length / rows;
  return mask.map((_, i) => Math.max(0, mask.slice(Math.floor(i / width) * width, i + 1).reduce((a, b) => a + b, 0) - 1));
};

// The case's ids in pieces of the given lengths; the logits of all, joined. The mask grows with the past.
async function pieces(model, layers, { ids, mask, positions, rows }, lengths) {
  const cache = new Cache(model, rows, layers), parts = [];
  let at = 0;
  for (const count of lengths) {
    const end = at + count;
    const got = await call(model, {
      input_ids: longs(columns(ids, rows, at, end), [rows, count]), attention_mask: longs(columns(mask, rows, 0, end), [rows, end]),
      position_ids: longs(columns(positions, rows, at, end), [rows, count]), ...cache.past,
    });
    assert.ok(got.logits, 'no output logits');
    assert.deepEqual(got.logits.dims.slice(0, 2), [rows, count], 'shape of logits');
    cache.take(got, count, false);
    parts.push(got.logits);
    at = end;
  }
  return joined(parts, rows);
}

// Pieces of [rows, count, words] as one [rows, all, words].
function joined(parts, rows) {
  const words = parts[0].dims[2], total = parts.reduce((sum, part) => sum + part.dims[1], 0);
  const data = new Float32Array(rows * total * words);
  let at = 0;
  for (const { dims: [, count, width], data: from } of parts) {
    assert.equal(width, words);
    for (let r = 0; r < rows; r++) data.set(from.subarray(r * count * words, (r + 1) * count * words), (r * total + at) * words);
    at += count;
  }
  return { shape: [rows, total, words], data };
}

async function greedily(model, layers, { inputs, outputs }, stop) {
  let ids = inputs.input_ids.data, fresh = ids;
  const want = outputs.greedy_ids.data, cache = new Cache(model, 1, layers);
  while (ids.length < want.length) {
    const from = ids.length - fresh.length;
    const { logits, ...present } = await call(model, {
      input_ids: longs(fresh, [1, fresh.length]), attention_mask: longs(ids.map(() => 1), [1, ids.length]),
      position_ids: longs(fresh.map((_, i) => from + i), [1, fresh.length]), ...cache.past,
    });
    cache.take(present, fresh.length, false);
    const last = logits.data.slice(-logits.dims[2]);
    assert.ok(last.every(Number.isFinite), 'logits of a greedy step: not finite');
    for (const id of stop) last[id] = -Infinity;
    fresh = [last.indexOf(Math.max(...last))];
    ids = [...ids, ...fresh];
  }
  return ids;
}

async function decoder({ model }, { cases }, config) {
  const made = [], layers = config.num_hidden_layers ?? config.n_layer;
  let greedy = null;
  declared(model, 'input_ids', 'attention_mask');
  for (const [n, one] of cases.entries()) {
    if (one.outputs.greedy_ids) {
      assert.match(one.note, /end token suppressed/);
      const ids = await greedily(model, layers, one, [config.eos_token_id ?? []].flat());
      greedy = { ids, want: one.outputs.greedy_ids.data };
      continue;
    }
    const [[name, want]] = Object.entries(one.outputs);
    const { shape: [rows, width], data: ids } = one.inputs.input_ids;
    const mask = one.inputs.attention_mask?.data ?? ids.map(() => 1);
    const given = { ids, mask, rows, positions: one.inputs.position_ids?.data ?? counted(mask, rows) };
    const counts = name === 'logits_where_mask' ? mask : null;
    const add = (how, result, w = want, m = counts) => made.push({ what: `case ${n}, logits ${how}`, ...result, want: w, mask: m });
    const first = Math.floor(width / 2) - 1;
    add('at once', await pieces(model, layers, given, [width]));
    add('step by step', await pieces(model, layers, given, [first, ...Array(width - first).fill(1)]));
    if (counts) continue;
    const alone = { ids: ids.slice(0, width), mask: mask.slice(0, width), rows: 1, positions: given.positions.slice(0, width) };
    const row = { shape: [1, ...want.shape.slice(1)], data: want.data.slice(0, want.data.length / rows) };
    add('of one row in pieces', await pieces(model, layers, alone, [first, 3, width - first - 3]), row);
  }
  return { made, greedy };
}

// ---- encoders with decoders ----

async function translated(graph, layers, given, rows, ids, lengths) {
  const cache = new Cache(graph, rows, layers), parts = [];
  let at = 0;
  for (const count of lengths) {
    const got = await call(graph, {
      ...given, input_ids: longs(columns(ids, rows, at, at + count), [rows, count]), ...cache.past, use_cache_branch: flag(at > 0),
    });
    assert.deepEqual(got.logits.dims.slice(0, 2), [rows, count], 'shape of logits');
    cache.take(got, count, at > 0);
    parts.push(got.logits);
    at += count;
  }
  return joined(parts, rows);
}

async function seq2seq({ encoder, decoder: graph }, { cases }, config) {
  const made = [], layers = config.decoder_layers ?? config.num_decoder_layers;
  declared(graph, 'input_ids', 'encoder_hidden_states', 'use_cache_branch');
  for (const [n, { inputs, outputs }] of cases.entries()) {
    const { shape: [rows, width], data: ids } = inputs.decoder_input_ids;
    const given = {};
    for (const name of ['input_ids', 'attention_mask']) if (inputs[name]) given[name] = longs(inputs[name].data, inputs[name].shape);
    if (inputs.input_features) given.input_features = floats(inputs.input_features.data, inputs.input_features.shape);
    const { last_hidden_state: hidden } = await call(encoder, given);
    if (outputs.last_hidden_state) made.push({ what: `case ${n}, encoder`, shape: hidden.dims, data: hidden.data, want: outputs.last_hidden_state });
    const fixed = { encoder_hidden_states: hidden, ...(given.attention_mask && { encoder_attention_mask: given.attention_mask }) };
    const add = async (how, lengths) => made.push({
      what: `case ${n}, logits ${how}`, ...(await translated(graph, layers, fixed, rows, ids, lengths)), want: outputs.logits,
    });
    await add('at once', [width]);
    await add('step by step', Array(width).fill(1));
    await add('in pieces', [2, 1, width - 3]);
  }
  return { made, greedy: null };
}

// ---- all of them ----

export const kindOf = ({ class: name, cases: [{ inputs }] }) =>
  inputs.decoder_input_ids ? 'seq2seq' : /ForCausalLM$|LMHeadModel$/.test(name) ? 'decoder' : 'plain';
const ways = { plain, decoder, seq2seq };
const graphsOf = { plain: { model: 'model' }, decoder: { model: 'model' }, seq2seq: { encoder: 'encoder_model', decoder: 'decoder_model_merged' } };

// Runs graphs on all cases: { made, greedy }. Numbers that are not finite end it at once, masked rows included.
export async function follow(graphs, reference, config) {
  const result = await ways[kindOf(reference)](graphs, reference, config);
  for (const { what, shape, data } of result.made) {
    assert.equal(data.length, product(shape), what);
    assert.ok(data.every(Number.isFinite), `${what}: not finite`);
  }
  return result;
}

// The same for a folder that `hangar convert --out` wrote.
export async function followFolder(folder, reference, config) {
  const graphs = {};
  try {
    for (const [as, name] of Object.entries(graphsOf[kindOf(reference)])) graphs[as] = await open(folder, name);
    return await follow(graphs, reference, config);
  } finally {
    for (const graph of Object.values(graphs)) await graph.release();
  }
}

const place = (at, shape) => {
  const index = [];
  for (const size of [...shape].reverse()) {
    index.unshift(at % size);
    at = Math.floor(at / size);
  }
  return `[${index}]`;
};

function worst(list) {
  const sorted = list.sort((a, b) => b.value - a.value);
  return { ...sorted[0], text: `${sorted[0].what}: ${sorted[0].value.toExponential(1)} apart at ${sorted[0].where}` };
}

// How far a run is from the reference: { value, what, where, text } of the greatest difference.
export function fromReference({ made }) {
  return worst(made.map(({ what, shape, data, want, mask }) => {
    assert.deepEqual(shape, want.shape, `shape of ${what}`);
    const { value, at } = apart(data, want.data, mask);
    return { what, value, where: place(at, shape) };
  }));
}

// How far two runs of the same cases are from one another.
export function fromOther({ made }, other) {
  assert.deepEqual(made.map(({ what }) => what), other.made.map(({ what }) => what));
  return worst(made.map(({ what, shape, data, mask }, i) => {
    assert.deepEqual(shape, other.made[i].shape, `shape of ${what}`);
    const { value, at } = apart(data, other.made[i].data, mask);
    return { what, value, where: place(at, shape) };
  }));
}

// How far a run's own ways to the same numbers are apart: all at once against step by step. Null where there is one way only.
export function fromItself({ made }) {
  const list = [];
  for (const base of made.filter(({ what }) => what.endsWith('at once'))) {
    for (const other of made.filter(({ what }) => what !== base.what && what.split(',')[0] === base.what.split(',')[0] && what.includes('logits'))) {
      const { value, at } = apart(other.data, base.data.subarray(0, other.data.length), base.mask);
      list.push({ what: other.what, value, where: place(at, other.shape) });
    }
  }
  return list.length ? worst(list) : null;
}

export const reference = (folder) => JSON.parse(readFileSync(join(folder, 'reference.json'), 'utf8'));
export const configuration = (folder) => JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));

// What the independent reference says on a report card, all of which must be good.
export function independent({ checks }) {
  assert.deepEqual(checks.filter(({ ok }) => !ok), []);
  const check = checks.find(({ name }) => name === 'independent');
  assert.ok(check, `no check "independent" in ${checks.map(({ name }) => name)}`);
  assert.ok(check.ok && typeof check.value === 'number' && check.value <= check.limit, JSON.stringify(check));
  return check;
}
