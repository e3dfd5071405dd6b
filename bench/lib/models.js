// SPDX-License-Identifier: Apache-2.0
// Checkpoints in the shapes of known models, in a cache of the Hub's layout, for measurements. `fill` 'hole' leaves the weights a hole in a
// sparse file (zeros that take no space: for what never reads them, or reads only their length); 'random' writes numbers of a trained
// model's size, norms around 1, so that a model of any depth gives finite answers.
'use strict';
const fs = require('node:fs');
const path = require('node:path');

const COMMIT = 'b'.repeat(40);
const POOL = 1 << 22; // numbers that repeat from a place that each tensor chooses

const bytesOf = { F32: 4, BF16: 2 };

// Tensors in the order they were named, with the spelling of each family.
class Shapes {
  constructor() { this.all = {}; }
  put(name, ...shape) { this.all[name] = shape; }
  linear(name, out, from, bias = true) {
    this.put(`${name}.weight`, out, from);
    if (bias) this.put(`${name}.bias`, out);
  }
  norm(name, width, bias = true) {
    this.put(`${name}.weight`, width);
    if (bias) this.put(`${name}.bias`, width);
  }
}

// openai/whisper-small: 241.7 million parameters.
function whisperSmall() {
  const d = 768, inner = 3072, t = new Shapes();
  const attention = (name) => { for (const p of ['q', 'k', 'v', 'out']) t.linear(`${name}.${p}_proj`, d, d, p !== 'k'); };
  const side = (name, cross) => {
    for (let i = 0; i < 12; i++) {
      const layer = `model.${name}.layers.${i}`;
      attention(`${layer}.self_attn`);
      t.norm(`${layer}.self_attn_layer_norm`, d);
      if (cross) { attention(`${layer}.encoder_attn`); t.norm(`${layer}.encoder_attn_layer_norm`, d); }
      t.linear(`${layer}.fc1`, inner, d);
      t.linear(`${layer}.fc2`, d, inner);
      t.norm(`${layer}.final_layer_norm`, d);
    }
    t.norm(`model.${name}.layer_norm`, d);
  };
  t.put('model.encoder.conv1.weight', d, 80, 3);
  t.put('model.encoder.conv1.bias', d);
  t.put('model.encoder.conv2.weight', d, d, 3);
  t.put('model.encoder.conv2.bias', d);
  t.put('model.encoder.embed_positions.weight', 1500, d);
  side('encoder', false);
  t.put('model.decoder.embed_tokens.weight', 51865, d);
  t.put('model.decoder.embed_positions.weight', 448, d);
  side('decoder', true);
  const config = {
    architectures: ['WhisperForConditionalGeneration'], model_type: 'whisper', d_model: d, encoder_layers: 12,
    decoder_layers: 12, encoder_attention_heads: 12, decoder_attention_heads: 12, encoder_ffn_dim: inner,
    decoder_ffn_dim: inner, num_mel_bins: 80, vocab_size: 51865, max_source_positions: 1500, max_target_positions: 448,
    activation_function: 'gelu', scale_embedding: false, decoder_start_token_id: 50258, eos_token_id: 50257, pad_token_id: 50257,
  };
  return { name: 'whisper-small', dtype: 'F32', tensors: t.all, config };
}

// bert-base-uncased: 109.5 million parameters.
function bertBase() {
  const d = 768, inner = 3072, t = new Shapes();
  t.put('embeddings.word_embeddings.weight', 30522, d);
  t.put('embeddings.position_embeddings.weight', 512, d);
  t.put('embeddings.token_type_embeddings.weight', 2, d);
  t.norm('embeddings.LayerNorm', d);
  for (let i = 0; i < 12; i++) {
    const layer = `encoder.layer.${i}`;
    for (const p of ['query', 'key', 'value']) t.linear(`${layer}.attention.self.${p}`, d, d);
    t.linear(`${layer}.attention.output.dense`, d, d);
    t.norm(`${layer}.attention.output.LayerNorm`, d);
    t.linear(`${layer}.intermediate.dense`, inner, d);
    t.linear(`${layer}.output.dense`, d, inner);
    t.norm(`${layer}.output.LayerNorm`, d);
  }
  t.linear('pooler.dense', d, d);
  const config = {
    architectures: ['BertModel'], model_type: 'bert', hidden_size: d, num_hidden_layers: 12, num_attention_heads: 12,
    intermediate_size: inner, vocab_size: 30522, hidden_act: 'gelu',
  };
  return { name: 'bert-base', dtype: 'F32', tensors: t.all, config };
}

// Decoders of the llama kind: s has type, width, inner, layers, heads, kv, vocab, tied, bias (of q, k, v), dtype, shards.
function decoder(name, s) {
  const t = new Shapes(), size = s.width / s.heads;
  t.put('model.embed_tokens.weight', s.vocab, s.width);
  for (let i = 0; i < s.layers; i++) {
    const layer = `model.layers.${i}`;
    t.linear(`${layer}.self_attn.q_proj`, s.heads * size, s.width, s.bias);
    t.linear(`${layer}.self_attn.k_proj`, s.kv * size, s.width, s.bias);
    t.linear(`${layer}.self_attn.v_proj`, s.kv * size, s.width, s.bias);
    t.linear(`${layer}.self_attn.o_proj`, s.width, s.heads * size, false);
    t.linear(`${layer}.mlp.gate_proj`, s.inner, s.width, false);
    t.linear(`${layer}.mlp.up_proj`, s.inner, s.width, false);
    t.linear(`${layer}.mlp.down_proj`, s.width, s.inner, false);
    t.norm(`${layer}.input_layernorm`, s.width, false);
    t.norm(`${layer}.post_attention_layernorm`, s.width, false);
  }
  t.norm('model.norm', s.width, false);
  if (!s.tied) t.linear('lm_head', s.vocab, s.width, false);
  const config = {
    architectures: [s.type === 'qwen2' ? 'Qwen2ForCausalLM' : 'LlamaForCausalLM'], model_type: s.type, hidden_size: s.width,
    intermediate_size: s.inner, num_hidden_layers: s.layers, num_attention_heads: s.heads, num_key_value_heads: s.kv,
    vocab_size: s.vocab, tie_word_embeddings: !!s.tied, hidden_act: 'silu', rms_norm_eps: 1e-6, rope_theta: 10000,
    max_position_embeddings: 4096,
  };
  return { name, dtype: s.dtype, shards: s.shards, tensors: t.all, config };
}
const qwen15b = () => decoder('qwen2.5-1.5b', {
  type: 'qwen2', width: 1536, inner: 8960, layers: 28, heads: 12, kv: 2, vocab: 151936, tied: true, bias: true, dtype: 'BF16',
});
const llama7b = () => decoder('llama-2-7b', {
  type: 'llama', width: 4096, inner: 11008, layers: 32, heads: 32, kv: 32, vocab: 32000, dtype: 'BF16', shards: 2,
});
const llama100m = () => decoder('llama-100m', {
  type: 'llama', width: 768, inner: 2048, layers: 12, heads: 12, kv: 4, vocab: 32000, tied: true, dtype: 'F32',
});

/* ---- files ---- */

// Numbers with a bell's shape from a fixed start, as `dtype`: those of a layer's last matrix are small, or they would drown what came before.
const LAST = /(o_proj|out_proj|down_proj|fc2|output\.dense)\.weight$/;
const pools = {};
function pool(dtype, last) {
  const key = `${dtype} ${last}`, size = last ? 0.005 : 0.04;
  if (pools[key]) return pools[key];
  const numbers = new Float32Array(POOL);
  let state = 12345;
  const next = () => { state = (Math.imul(state, 1664525) + 1013904223) >>> 0; return state / 4294967296; };
  for (let i = 0; i < POOL; i++) numbers[i] = (next() + next() + next() - 1.5) * size;
  if (dtype === 'F32') return (pools[key] = Buffer.from(numbers.buffer));
  const words = new Uint32Array(numbers.buffer), half = new Uint16Array(POOL);
  for (let i = 0; i < POOL; i++) half[i] = (words[i] + 0x8000) >>> 16;
  return (pools[key] = Buffer.from(half.buffer));
}

function ones(count, dtype) {
  if (dtype === 'F32') return Buffer.from(new Float32Array(count).fill(1).buffer);
  return Buffer.from(new Uint16Array(count).fill(0x3f80).buffer);
}

function fillTensor(fd, at, name, bytes, dtype) {
  const size = bytesOf[dtype];
  if (/norm\w*\.weight$/i.test(name)) { fs.writeSync(fd, ones(bytes / size, dtype), 0, bytes, at); return; }
  const from = pool(dtype, LAST.test(name));
  let start = 0;
  for (const c of name) start = (Math.imul(start, 31) + c.charCodeAt(0)) >>> 0;
  for (let left = bytes, i = (start % POOL) * size; left > 0; i = 0) {
    const n = Math.min(left, from.length - i);
    fs.writeSync(fd, from, i, n, at + bytes - left);
    left -= n;
  }
}

// A safetensors file with these tensors ({name: shape}). Returns its length.
function checkpoint(file, tensors, dtype, fill) {
  const header = { __metadata__: { format: 'pt' } }, places = [];
  let at = 0;
  for (const [name, shape] of Object.entries(tensors)) {
    const bytes = bytesOf[dtype] * shape.reduce((a, b) => a * b, 1);
    header[name] = { dtype, shape, data_offsets: [at, at + bytes] };
    places.push([name, at, bytes]);
    at += bytes;
  }
  let text = JSON.stringify(header);
  text += ' '.repeat((8 - (text.length % 8)) % 8);
  const length = Buffer.alloc(8), first = 8 + text.length;
  length.writeBigUInt64LE(BigInt(text.length));
  const fd = fs.openSync(file, 'w');
  fs.writeSync(fd, Buffer.concat([length, Buffer.from(text)]));
  fs.ftruncateSync(fd, first + at);
  if (fill === 'random') for (const [name, from, bytes] of places) fillTensor(fd, first + from, name, bytes, dtype);
  fs.closeSync(fd);
  return first + at;
}

// Puts a model into the cache `hub` as bench/NAME, its files plain ones. Returns {ref, files: [path], bytes}.
function repository(hub, model, fill = 'hole', name = model.name) {
  const base = path.join(hub, `models--bench--${name}`), snapshot = path.join(base, 'snapshots', COMMIT);
  fs.mkdirSync(snapshot, { recursive: true });
  fs.mkdirSync(path.join(base, 'refs'), { recursive: true });
  fs.writeFileSync(path.join(base, 'refs', 'main'), COMMIT);
  fs.writeFileSync(path.join(snapshot, 'config.json'), JSON.stringify(model.config));
  const names = Object.keys(model.tensors), count = model.shards || 1, each = Math.ceil(names.length / count);
  const out = { ref: `bench/${name}`, files: [], bytes: 0 }, map = {};
  for (let i = 0; i < count; i++) {
    const part = (n) => String(n).padStart(5, '0');
    const file = count === 1 ? 'model.safetensors' : `model-${part(i + 1)}-of-${part(count)}.safetensors`;
    const mine = names.slice(i * each, (i + 1) * each);
    for (const n of mine) map[n] = file;
    out.bytes += checkpoint(path.join(snapshot, file), Object.fromEntries(mine.map((n) => [n, model.tensors[n]])), model.dtype, fill);
    out.files.push(path.join(snapshot, file));
  }
  if (count > 1) {
    fs.writeFileSync(path.join(snapshot, 'model.safetensors.index.json'),
      JSON.stringify({ metadata: { total_size: out.bytes }, weight_map: map }));
  }
  return out;
}

module.exports = { COMMIT, whisperSmall, bertBase, qwen15b, llama7b, llama100m, repository };
