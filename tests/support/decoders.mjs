// SPDX-License-Identifier: Apache-2.0
// Decoders in settings that no fixture has: the config.json of a fixture with some keys changed, random weights in the shapes that
// follow from it, and prompts with and without padding.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeWeights } from './weights.mjs';

const fixture = (name) => JSON.parse(readFileSync(join(process.env.HANGAR_TOP, 'tests/fixtures/arch', name, 'config.json'), 'utf8'));

// Normal numbers from a seed.
function normal(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(next())) * Math.cos(2 * Math.PI * next());
}

// ---- names and shapes of the weights ----

const range = (n) => Array.from({ length: n }, (_, i) => i);
const linear = (t, name, out, from, bias) => Object.assign(t, { [`${name}.weight`]: [out, from], ...(bias && { [`${name}.bias`]: [out] }) });
const conv1d = (t, name, from, out) => Object.assign(t, { [`${name}.weight`]: [from, out], [`${name}.bias`]: [out] });
const norm = (t, name, size, bias = true) => Object.assign(t, { [`${name}.weight`]: [size], ...(bias && { [`${name}.bias`]: [size] }) });

function gatedMlp(t, p, c, i, D, I) {
  const expert = (name, inner, [gate, up, down]) => {
    linear(t, `${name}.${gate}`, inner, D);
    linear(t, `${name}.${up}`, inner, D);
    linear(t, `${name}.${down}`, D, inner);
  };
  if (c.model_type === 'mixtral') {
    linear(t, `${p}.block_sparse_moe.gate`, c.num_local_experts, D);
    for (const e of range(c.num_local_experts)) expert(`${p}.block_sparse_moe.experts.${e}`, I, ['w1', 'w3', 'w2']);
  } else if (c.model_type === 'qwen3_moe' && (i + 1) % c.decoder_sparse_step === 0 && !c.mlp_only_layers.includes(i)) {
    const count = c.num_experts ?? c.num_local_experts;
    linear(t, `${p}.mlp.gate`, count, D);
    for (const e of range(count)) expert(`${p}.mlp.experts.${e}`, c.moe_intermediate_size, ['gate_proj', 'up_proj', 'down_proj']);
  } else if (c.model_type === 'phi3') {
    linear(t, `${p}.mlp.gate_up_proj`, 2 * I, D);
    linear(t, `${p}.mlp.down_proj`, D, I);
  } else {
    for (const name of ['gate', 'up']) linear(t, `${p}.mlp.${name}_proj`, I, D, c.mlp_bias);
    linear(t, `${p}.mlp.down_proj`, D, I, c.mlp_bias);
  }
}

function llama(c) {
  const size = c.head_dim ?? c.hidden_size / c.num_attention_heads, Q = c.num_attention_heads * size, K = (c.num_key_value_heads ?? c.num_attention_heads) * size;
  const D = c.hidden_size, I = c.intermediate_size, is = (...types) => types.includes(c.model_type), t = {};
  t['model.embed_tokens.weight'] = [c.vocab_size, D];
  for (const i of range(c.num_hidden_layers)) {
    const p = `model.layers.${i}`, a = `${p}.self_attn`, bias = c.attention_bias || is('qwen2');
    if (is('phi3')) linear(t, `${a}.qkv_proj`, Q + 2 * K, D);
    else for (const [name, out] of [['q', Q], ['k', K], ['v', K]]) linear(t, `${a}.${name}_proj`, out, D, bias);
    linear(t, `${a}.o_proj`, D, Q, c.attention_bias);
    gatedMlp(t, p, c, i, D, I);
    const whole = is('olmo2'), each = is('qwen3', 'qwen3_moe', 'gemma3_text');
    if (whole || each) {
      norm(t, `${a}.q_norm`, whole ? Q : size, false);
      norm(t, `${a}.k_norm`, whole ? K : size, false);
    }
    if (!whole) norm(t, `${p}.input_layernorm`, D, false);
    norm(t, `${p}.post_attention_layernorm`, D, false);
    if (is('gemma2', 'gemma3_text')) norm(t, `${p}.pre_feedforward_layernorm`, D, false);
    if (is('gemma2', 'gemma3_text', 'olmo2')) norm(t, `${p}.post_feedforward_layernorm`, D, false);
  }
  norm(t, 'model.norm', D, false);
  if (!c.tie_word_embeddings) t['lm_head.weight'] = [c.vocab_size, D];
  return t;
}

function phi(c) {
  const D = c.hidden_size, size = D / c.num_attention_heads, K = c.num_key_value_heads * size, t = {};
  t['model.embed_tokens.weight'] = [c.vocab_size, D];
  for (const i of range(c.num_hidden_layers)) {
    const p = `model.layers.${i}`;
    norm(t, `${p}.input_layernorm`, D);
    for (const [name, out] of [['q_proj', D], ['k_proj', K], ['v_proj', K], ['dense', D]]) linear(t, `${p}.self_attn.${name}`, out, D, true);
    if (c.qk_layernorm) for (const name of ['q', 'k']) norm(t, `${p}.self_attn.${name}_layernorm`, size);
    linear(t, `${p}.mlp.fc1`, c.intermediate_size, D, true);
    linear(t, `${p}.mlp.fc2`, D, c.intermediate_size, true);
  }
  norm(t, 'model.final_layernorm', D);
  return linear(t, 'lm_head', c.vocab_size, D, true);
}

function gpt2(c, { bare }) {
  const D = c.n_embd, I = c.n_inner ?? 4 * D, body = bare ? '' : 'transformer.';
  const t = { [`${body}wte.weight`]: [c.vocab_size, D], [`${body}wpe.weight`]: [c.n_positions, D] };
  for (const i of range(c.n_layer)) {
    const p = `${body}h.${i}`;
    norm(t, `${p}.ln_1`, D);
    norm(t, `${p}.ln_2`, D);
    conv1d(t, `${p}.attn.c_attn`, D, 3 * D);
    conv1d(t, `${p}.attn.c_proj`, D, D);
    conv1d(t, `${p}.mlp.c_fc`, D, I);
    conv1d(t, `${p}.mlp.c_proj`, I, D);
  }
  return norm(t, `${body}ln_f`, D);
}

function neox(c) {
  const D = c.hidden_size, bias = c.attention_bias ?? true;
  const t = { 'gpt_neox.embed_in.weight': [c.vocab_size, D], 'embed_out.weight': [c.vocab_size, D] };
  for (const i of range(c.num_hidden_layers)) {
    const p = `gpt_neox.layers.${i}`;
    norm(t, `${p}.input_layernorm`, D);
    norm(t, `${p}.post_attention_layernorm`, D);
    linear(t, `${p}.attention.query_key_value`, 3 * D, D, bias);
    linear(t, `${p}.attention.dense`, D, D, bias);
    linear(t, `${p}.mlp.dense_h_to_4h`, c.intermediate_size, D, true);
    linear(t, `${p}.mlp.dense_4h_to_h`, D, c.intermediate_size, true);
  }
  return norm(t, 'gpt_neox.final_layer_norm', D);
}

function opt(c) {
  const D = c.hidden_size, W = c.word_embed_proj_dim, bias = c.enable_bias, body = 'model.decoder';
  const t = { [`${body}.embed_tokens.weight`]: [c.vocab_size, W], [`${body}.embed_positions.weight`]: [c.max_position_embeddings + 2, D] };
  if (W !== D) {
    linear(t, `${body}.project_in`, D, W);
    linear(t, `${body}.project_out`, W, D);
  }
  for (const i of range(c.num_hidden_layers)) {
    const p = `${body}.layers.${i}`;
    for (const name of ['q', 'k', 'v', 'out']) linear(t, `${p}.self_attn.${name}_proj`, D, D, bias);
    norm(t, `${p}.self_attn_layer_norm`, D);
    norm(t, `${p}.final_layer_norm`, D);
    linear(t, `${p}.fc1`, c.ffn_dim, D, bias);
    linear(t, `${p}.fc2`, D, c.ffn_dim, bias);
  }
  if (c.do_layer_norm_before && !c._remove_final_layer_norm) norm(t, `${body}.final_layer_norm`, D);
  return t;
}

function falcon(c) {
  const D = c.hidden_size, heads = c.num_attention_heads, I = c.ffn_hidden_size, grouped = c.new_decoder_architecture, t = {};
  const keys = grouped ? c.num_kv_heads : c.multi_query ? 1 : heads, two = grouped && c.num_ln_in_parallel_attn !== 1;
  t['transformer.word_embeddings.weight'] = [c.vocab_size, D];
  for (const i of range(c.num_hidden_layers)) {
    const p = `transformer.h.${i}`;
    for (const name of two ? ['ln_attn', 'ln_mlp'] : ['input_layernorm']) norm(t, `${p}.${name}`, D);
    if (!c.parallel_attn && !grouped) norm(t, `${p}.post_attention_layernorm`, D);
    linear(t, `${p}.self_attention.query_key_value`, (heads + 2 * keys) * (D / heads), D, c.bias);
    linear(t, `${p}.self_attention.dense`, D, D, c.bias);
    linear(t, `${p}.mlp.dense_h_to_4h`, I, D, c.bias);
    linear(t, `${p}.mlp.dense_4h_to_h`, D, I, c.bias);
  }
  return norm(t, 'transformer.ln_f', D);
}

const shapes = { phi, gpt2, gpt_neox: neox, opt, falcon };

// ---- the settings ----

const rope = (more) => ({ rope_parameters: { rope_theta: 10000, ...more } });
const oldRope = (scaling, more) => ({ rope_parameters: undefined, rope_theta: 10000, ...more, rope_scaling: scaling });
const original = (n) => ({ original_max_position_embeddings: n });
const llama3 = { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4, ...original(32) };
const lists = { short_factor: range(8).map((i) => 1 + i / 8), long_factor: range(8).map((i) => 2 + i * i) };
const mixed = { query_pre_attn_scalar: 32, sliding_window: 6 };
const once = { once: true }; // in a cache lie keys that turned by the frequencies of a shorter text

// name: [fixture, keys changed (undefined: left out), { once, bare }]
export const settings = {
  'llama, linear': ['llama', rope({ rope_type: 'linear', factor: 4 })],
  'llama, linear, old spelling': ['llama', oldRope({ type: 'linear', factor: 2.5 })],
  'llama, dynamic': ['llama', rope({ rope_type: 'dynamic', factor: 2 })],
  'llama, dynamic, beyond its length': ['llama', { max_position_embeddings: 16, ...rope({ rope_type: 'dynamic', factor: 2 }) }, once],
  'llama, llama3': ['llama', rope(llama3)],
  'llama, llama3, old spelling': ['llama', oldRope(llama3, { rope_theta: 500 })],
  'llama, yarn': ['llama', rope({ rope_type: 'yarn', factor: 4, ...original(32) })],
  'llama, yarn with all its keys': ['llama',
    rope({ rope_type: 'yarn', factor: 4, mscale: 1, mscale_all_dim: 0.7, beta_fast: 16, beta_slow: 2, truncate: false, ...original(32) })],
  'llama, biases': ['llama', { attention_bias: true, mlp_bias: true }],
  'llama, tied': ['llama', { tie_word_embeddings: true }],
  'llama, three queries for a key': ['llama', { num_attention_heads: 6, head_dim: 24 }],
  'llama, heads of an odd width': ['llama', { num_attention_heads: 6, num_key_value_heads: 3, head_dim: 20 }],
  'llama, few keys in the file': ['llama', { head_dim: undefined, num_key_value_heads: undefined, rope_parameters: undefined }],
  'llama, gelu': ['llama', { hidden_act: 'gelu' }],
  'mistral, window': ['mistral', { sliding_window: 5 }],
  'mistral, window of one': ['mistral', { sliding_window: 1 }],
  'mixtral, window, 3 of 8': ['mixtral', { sliding_window: 6, num_local_experts: 8, num_experts_per_tok: 3 }],
  'mixtral, all': ['mixtral', { num_experts_per_tok: 4 }],
  'mixtral, one': ['mixtral', { num_experts_per_tok: 1 }],
  'qwen2, late window': ['qwen2', { use_sliding_window: true, sliding_window: 4, max_window_layers: 1, layer_types: undefined }],
  'qwen2, types of layers': ['qwen2', { use_sliding_window: true, sliding_window: 4, layer_types: ['sliding_attention', 'full_attention'] }],
  'qwen3, biases': ['qwen3', { attention_bias: true }],
  'phi3, part of a head turns': ['phi3', { hidden_size: 128, partial_rotary_factor: 0.75, ...rope({ rope_type: 'default', partial_rotary_factor: 0.75 }) }],
  'phi3, longrope': ['phi3', { max_position_embeddings: 512, ...original(64), ...oldRope({ type: 'longrope', ...lists }) }],
  'phi3, longrope, beyond its length': ['phi3', { max_position_embeddings: 512, ...original(16), ...oldRope({ type: 'su', ...lists }) }, once],
  'phi3, longrope, new spelling': ['phi3', { max_position_embeddings: 512, ...rope({ rope_type: 'longrope', ...original(16), ...lists }) }, once],
  'phi3, window': ['phi3', { sliding_window: 7 }],
  'phi, norms of queries and keys': ['phi', { qk_layernorm: true, num_key_value_heads: 2 }],
  'phi, old spelling': ['phi', { rope_parameters: undefined, rope_theta: 5000, partial_rotary_factor: 0.25 }],
  'gemma, old spelling': ['gemma', { hidden_act: 'gelu', rope_parameters: undefined, rope_theta: 10000 }],
  'gemma, one key': ['gemma', { num_key_value_heads: 1 }],
  'gemma2, tight caps and window': ['gemma2',
    { sliding_window: 5, attn_logit_softcapping: 2, final_logit_softcapping: 3, query_pre_attn_scalar: 16, layer_types: undefined, num_hidden_layers: 3 }],
  'gemma2, no caps': ['gemma2', { attn_logit_softcapping: null, final_logit_softcapping: null }],
  'gemma3, both types of layers': ['gemma3_text', {
    ...mixed, layer_types: ['sliding_attention', 'full_attention', 'sliding_attention'],
    rope_parameters: { full_attention: { rope_theta: 1e6, rope_type: 'linear', factor: 8 }, sliding_attention: { rope_theta: 1e4, rope_type: 'default' } },
  }],
  'gemma3, old spelling': ['gemma3_text', {
    ...mixed, layer_types: undefined, _sliding_window_pattern: undefined, sliding_window_pattern: 3,
    ...oldRope({ rope_type: 'linear', factor: 8 }, { rope_theta: 1e6, rope_local_base_freq: 1e4 }),
  }],
  'smollm3, layers without positions': ['smollm3', { num_hidden_layers: 4, no_rope_layers: undefined, no_rope_layer_interval: 2, layer_types: undefined }],
  'smollm3, window': ['smollm3', { no_rope_layers: [1, 0], layer_types: undefined, use_sliding_window: true, sliding_window: 5, attention_bias: true }],
  'granite, scales': ['granite', {
    embedding_multiplier: 3, attention_multiplier: 0.1, residual_multiplier: 0.4, logits_scaling: 2.5, tie_word_embeddings: true, attention_bias: true, mlp_bias: true,
  }],
  'olmo2, biases': ['olmo2', { attention_bias: true, num_key_value_heads: 4 }],
  'gpt2, scores by layer': ['gpt2', { scale_attn_by_inverse_layer_idx: true, n_inner: 80, n_layer: 3 }],
  'gpt2, unscaled, without the outer module': ['gpt2', { scale_attn_weights: false }, { bare: true }],
  'gpt_neox, one after the other': ['gpt_neox', { use_parallel_residual: false, attention_bias: false }],
  'gpt_neox, old spelling': ['gpt_neox', { rope_parameters: undefined, rotary_pct: 0.5, rotary_emb_base: 5000, attention_bias: undefined }],
  'opt, norms behind, narrow embeddings': ['opt', { do_layer_norm_before: false, word_embed_proj_dim: 32 }],
  'opt, no last norm, no biases': ['opt', { _remove_final_layer_norm: true, enable_bias: false }],
  'falcon, groups': ['falcon', { new_decoder_architecture: true, num_kv_heads: 2 }],
  'falcon, groups, one norm': ['falcon', { new_decoder_architecture: true, num_kv_heads: 2, num_ln_in_parallel_attn: 1, bias: true }],
  'falcon, alibi, one after the other': ['falcon', { alibi: true, multi_query: false, parallel_attn: false, bias: true }],
  'falcon, alibi, six heads': ['falcon', { alibi: true, num_attention_heads: 6, hidden_size: 96, ffn_hidden_size: 128 }],
  'falcon, a key for each head': ['falcon', { multi_query: false }],
  'qwen3_moe, some layers without experts': ['qwen3_moe', { decoder_sparse_step: 2, num_hidden_layers: 4, norm_topk_prob: true, mlp_only_layers: [3] }],
  'qwen3_moe, 5 of 70': ['qwen3_moe', { num_local_experts: undefined, num_experts: 70, num_experts_per_tok: 5 }],
};

// ---- checkpoints and prompts ----

function weight(name, shape, config, next) {
  const data = Buffer.alloc(4 * shape.reduce((a, b) => a * b, 1)), vector = shape.length === 1;
  const from = config.model_type === 'gpt2' ? shape[0] : shape[1];
  const scale = vector ? 0.2 : /embed|wte|wpe/.test(name) ? 0.7 : 1.2 / Math.sqrt(from);
  const middle = vector && name.endsWith('weight') && !config.model_type.startsWith('gemma') ? 1 : 0;
  for (let at = 0; at < data.length; at += 4) data.writeFloatLE(middle + scale * next(), at);
  return { dtype: 'F32', shape, data };
}

// Writes config.json and model.safetensors; gives { config, cases, once }, cases as a reference.json has them but without outputs.
export function make(name, folder) {
  const [from, changes, { once: oneCall = false, ...how } = {}] = settings[name];
  const config = JSON.parse(JSON.stringify({ ...fixture(from), ...changes })), next = normal([...name].reduce((a, ch) => Math.imul(a, 31) + ch.charCodeAt(0), 7));
  const tensors = new Map(Object.entries((shapes[config.model_type] ?? llama)(config, how)).map(([at, shape]) => [at, weight(at, shape, config, next)]));
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  writeWeights(join(folder, 'model.safetensors'), { tensors });
  const length = 24, ids = (rows) => ({ shape: [rows, length], data: range(rows * length).map(() => Math.floor(Math.abs(next()) * 1000) % config.vocab_size) });
  const mask = { shape: [3, length], data: [0, 5, 11].flatMap((padding) => range(length).map((i) => Number(i >= padding))) };
  return { config, once: oneCall, cases: [{ inputs: { input_ids: ids(2) } }, { inputs: { input_ids: ids(3), attention_mask: mask } }] };
}
