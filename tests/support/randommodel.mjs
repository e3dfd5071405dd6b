// SPDX-License-Identifier: Apache-2.0
// Checkpoints of any size with random weights, so that speeds and sizes can be looked at where no trained model is. Weights are normal with a
// standard deviation of 0.02, norms are 1, biases are 0: activations stay in the range of a model before its training.
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

// The same numbers on every run.
function normals(seed) {
  let a = seed >>> 0, spare = null;
  const uniform = () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return () => {
    if (spare !== null) {
      const value = spare;
      spare = null;
      return value;
    }
    const r = Math.sqrt(-2 * Math.log(1 - uniform())), angle = 2 * Math.PI * uniform();
    spare = r * Math.sin(angle);
    return r * Math.cos(angle);
  };
}

const range = (n) => Array.from({ length: n }, (_, i) => i);
const linear = (name, out, into, bias = true) => [[`${name}.weight`, [out, into]], ...(bias ? [[`${name}.bias`, [out]]] : [])];
const norm = (name, width) => [[`${name}.weight`, [width], 1], [`${name}.bias`, [width]]];

const families = {
  llama({ hidden_size: d, intermediate_size: f, vocab_size: v, num_hidden_layers: n, num_attention_heads: h, num_key_value_heads: k, head_dim = d / h, tie_word_embeddings: tied }) {
    return [['model.embed_tokens.weight', [v, d]], ...range(n).flatMap((i) => {
      const at = `model.layers.${i}`;
      return [
        [`${at}.input_layernorm.weight`, [d], 1], ...linear(`${at}.self_attn.q_proj`, h * head_dim, d, false),
        ...linear(`${at}.self_attn.k_proj`, k * head_dim, d, false), ...linear(`${at}.self_attn.v_proj`, k * head_dim, d, false),
        ...linear(`${at}.self_attn.o_proj`, d, h * head_dim, false), [`${at}.post_attention_layernorm.weight`, [d], 1],
        ...linear(`${at}.mlp.gate_proj`, f, d, false), ...linear(`${at}.mlp.up_proj`, f, d, false), ...linear(`${at}.mlp.down_proj`, d, f, false)];
    }), ['model.norm.weight', [d], 1], ...(tied ? [] : linear('lm_head', v, d, false))];
  },
  bert({ hidden_size: d, intermediate_size: f, vocab_size: v, num_hidden_layers: n, max_position_embeddings: p, type_vocab_size: t }) {
    return [['embeddings.word_embeddings.weight', [v, d]], ['embeddings.position_embeddings.weight', [p, d]], ['embeddings.token_type_embeddings.weight', [t, d]],
      ...norm('embeddings.LayerNorm', d), ...range(n).flatMap((i) => {
        const at = `encoder.layer.${i}`;
        return [...['query', 'key', 'value'].flatMap((x) => linear(`${at}.attention.self.${x}`, d, d)), ...linear(`${at}.attention.output.dense`, d, d),
          ...norm(`${at}.attention.output.LayerNorm`, d), ...linear(`${at}.intermediate.dense`, f, d), ...linear(`${at}.output.dense`, d, f), ...norm(`${at}.output.LayerNorm`, d)];
      }), ...linear('pooler.dense', d, d)];
  },
  whisper({ d_model: d, encoder_layers: e, decoder_layers: n, encoder_ffn_dim: ef, decoder_ffn_dim: df, num_mel_bins: m, vocab_size: v, max_source_positions: s, max_target_positions: t }) {
    const attention = (at) => [...linear(`${at}.q_proj`, d, d), ...linear(`${at}.k_proj`, d, d, false), ...linear(`${at}.v_proj`, d, d), ...linear(`${at}.out_proj`, d, d)];
    const tail = (at, f) => [...linear(`${at}.fc1`, f, d), ...linear(`${at}.fc2`, d, f), ...norm(`${at}.final_layer_norm`, d)];
    return [['model.encoder.conv1.weight', [d, m, 3]], ['model.encoder.conv1.bias', [d]], ['model.encoder.conv2.weight', [d, d, 3]], ['model.encoder.conv2.bias', [d]],
      ['model.encoder.embed_positions.weight', [s, d]], ...range(e).flatMap((i) => {
        const at = `model.encoder.layers.${i}`;
        return [...attention(`${at}.self_attn`), ...norm(`${at}.self_attn_layer_norm`, d), ...tail(at, ef)];
      }), ...norm('model.encoder.layer_norm', d),
      ['model.decoder.embed_tokens.weight', [v, d]], ['model.decoder.embed_positions.weight', [t, d]], ...range(n).flatMap((i) => {
        const at = `model.decoder.layers.${i}`;
        return [...attention(`${at}.self_attn`), ...norm(`${at}.self_attn_layer_norm`, d), ...attention(`${at}.encoder_attn`), ...norm(`${at}.encoder_attn_layer_norm`, d), ...tail(at, df)];
      }), ...norm('model.decoder.layer_norm', d)];
  },
};

export const llama = (more) => ({
  architectures: ['LlamaForCausalLM'], model_type: 'llama', hidden_act: 'silu', attention_bias: false, mlp_bias: false, rms_norm_eps: 1e-6, max_position_embeddings: 2048,
  rope_parameters: { rope_theta: 10000, rope_type: 'default' }, bos_token_id: 1, eos_token_id: 2, tie_word_embeddings: false, dtype: 'float32', ...more,
});
export const bert = (more) => ({
  architectures: ['BertModel'], model_type: 'bert', hidden_act: 'gelu', layer_norm_eps: 1e-12, max_position_embeddings: 512, type_vocab_size: 2, vocab_size: 30522, pad_token_id: 0,
  hidden_size: 768, intermediate_size: 3072, num_hidden_layers: 12, num_attention_heads: 12, ...more,
});
export const whisper = (more) => ({
  architectures: ['WhisperForConditionalGeneration'], model_type: 'whisper', activation_function: 'gelu', d_model: 768, encoder_layers: 12, decoder_layers: 12, encoder_ffn_dim: 3072,
  decoder_ffn_dim: 3072, encoder_attention_heads: 12, decoder_attention_heads: 12, num_mel_bins: 80, vocab_size: 51865, max_source_positions: 1500, max_target_positions: 448,
  decoder_start_token_id: 50258, eos_token_id: 50257, pad_token_id: 50257, bos_token_id: 50257, scale_embedding: false, ...more,
});

// Writes config.json and model.safetensors (F32) into `to`; returns the number of parameters.
export function writeRandom(to, config, seed = 1) {
  const tensors = families[config.model_type](config).map(([name, shape, fill]) => ({ name, shape, fill, count: shape.reduce((x, y) => x * y, 1) }));
  const header = {}, next = normals(seed);
  let at = 0, parameters = 0;
  for (const { name, shape, count } of tensors) {
    header[name] = { dtype: 'F32', shape, data_offsets: [at, at += 4 * count] };
    parameters += count;
  }
  mkdirSync(to, { recursive: true });
  writeFileSync(join(to, 'config.json'), JSON.stringify(config));
  const text = JSON.stringify(header), padded = text + ' '.repeat((8 - (Buffer.byteLength(text) % 8)) % 8), length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const file = openSync(join(to, 'model.safetensors'), 'w');
  writeSync(file, length);
  writeSync(file, padded);
  for (const { shape, fill, count } of tensors) {
    const data = new Float32Array(count).fill(fill ?? 0);
    if (fill === undefined && shape.length > 1) for (let i = 0; i < count; i++) data[i] = 0.02 * next();
    writeSync(file, new Uint8Array(data.buffer));
  }
  closeSync(file);
  return parameters;
}
