// SPDX-License-Identifier: Apache-2.0
// wav2vec 2.0 and BART with their kin, computed anew in double precision from a checkpoint: slow, plain, and written from the papers' equations.
// Rows are arrays of numbers: a matrix is a list of rows.

export const numbers = ({ data }) => Array.from({ length: data.length / 4 }, (_, i) => data.readFloatLE(4 * i));

// erf by its series near 0, by the continued fraction of erfc (Lentz) far from it.
function erf(x) {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let sum = a, term = a;
    for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
      term *= -a * a / n;
      sum += term / (2 * n + 1);
    }
    return Math.sign(x) * sum * 2 / Math.sqrt(Math.PI);
  }
  let f = a, c = a, d = 0;
  for (let n = 1; n < 200; n++) {
    d = 1 / (a + n / 2 * d);
    c = a + n / 2 / c;
    f *= c * d;
  }
  return Math.sign(x) * (1 - Math.exp(-a * a) / (f * Math.sqrt(Math.PI)));
}
export const gelu = (x) => x / 2 * (1 + erf(x / Math.SQRT2));

const plus = (x, y) => x.map((row, i) => row.map((value, j) => value + y[i][j]));
const each = (x, f) => x.map((row) => row.map(f));

// The tensors of a checkpoint, as modules.
export class Weights {
  constructor(tensors) {
    this.tensors = tensors;
    this.kept = new Map();
  }

  list(name) {
    if (!this.kept.has(name)) {
      if (!this.tensors.has(name)) throw new Error(`no ${name}`);
      this.kept.set(name, numbers(this.tensors.get(name)));
    }
    return this.kept.get(name);
  }

  has(name) { return this.tensors.has(name); }
  shape(name) { return this.tensors.get(name).shape; }

  linear(name, x) {
    const w = this.list(`${name}.weight`), bias = this.has(`${name}.bias`) ? this.list(`${name}.bias`) : null;
    const [out, inner] = this.shape(`${name}.weight`);
    return x.map((row) => Array.from({ length: out }, (_, o) => {
      let sum = bias ? bias[o] : 0;
      for (let i = 0; i < inner; i++) sum += row[i] * w[o * inner + i];
      return sum;
    }));
  }

  norm(name, x, eps) {
    const w = this.list(`${name}.weight`), b = this.list(`${name}.bias`);
    return x.map((row) => {
      const mean = row.reduce((s, v) => s + v, 0) / row.length;
      const deviation = Math.sqrt(row.reduce((s, v) => s + (v - mean) ** 2, 0) / row.length + eps);
      return row.map((v, i) => (v - mean) / deviation * w[i] + b[i]);
    });
  }

  // Rows of x to those of `to`; sees(i, j): query i sees key j.
  attention(name, x, to, heads, sees) {
    const q = this.linear(`${name}.q_proj`, x), k = this.linear(`${name}.k_proj`, to), v = this.linear(`${name}.v_proj`, to);
    const size = q[0].length / heads, mixed = q.map((row) => row.map(() => 0));
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < q.length; i++) {
        const scores = k.map((key, j) => {
          let sum = 0;
          for (let n = h * size; n < (h + 1) * size; n++) sum += q[i][n] * key[n];
          return sees(i, j) ? sum / Math.sqrt(size) : -Infinity;
        });
        const top = Math.max(...scores), raised = scores.map((s) => Math.exp(s - top)), all = raised.reduce((a, b) => a + b, 0);
        for (let j = 0; j < v.length; j++) for (let n = h * size; n < (h + 1) * size; n++) mixed[i][n] += raised[j] / all * v[j][n];
      }
    }
    return this.linear(`${name}.out_proj`, mixed);
  }
}

// x [channels][length] by w [out, in / groups, kernel].
function convolve(x, w, [out, inner, kernel], bias, { stride = 1, pad = 0, groups = 1 }) {
  const length = Math.floor((x[0].length + 2 * pad - kernel) / stride) + 1;
  return Array.from({ length: out }, (_, o) => Array.from({ length }, (__, t) => {
    let sum = bias ? bias[o] : 0;
    const first = Math.floor(o / (out / groups)) * inner;
    for (let i = 0; i < inner; i++) {
      for (let k = 0; k < kernel; k++) {
        const at = t * stride + k - pad;
        if (at >= 0 && at < x[0].length) sum += x[first + i][at] * w[(o * inner + i) * kernel + k];
      }
    }
    return sum;
  }));
}
const turned = (x) => x[0].map((_, j) => x.map((row) => row[j]));

// Logits [frames][words] of one sound.
export function wav2vec2(tensors, config, sound) {
  const w = new Weights(tensors), base = 'wav2vec2.', all = () => true, eps = config.layer_norm_eps;
  let x = [sound];
  config.conv_dim.forEach((_, i) => {
    const name = `${base}feature_extractor.conv_layers.${i}.`;
    x = convolve(x, w.list(`${name}conv.weight`), w.shape(`${name}conv.weight`), config.conv_bias ? w.list(`${name}conv.bias`) : null, { stride: config.conv_stride[i] });
    if (config.feat_extract_norm === 'layer') x = turned(w.norm(`${name}layer_norm`, turned(x), 1e-5));
    else if (i === 0) {
      const scale = w.list(`${name}layer_norm.weight`), shift = w.list(`${name}layer_norm.bias`);
      x = x.map((row, c) => {
        const mean = row.reduce((s, v) => s + v, 0) / row.length, variance = row.reduce((s, v) => s + (v - mean) ** 2, 0) / row.length;
        return row.map((v) => (v - mean) / Math.sqrt(variance + 1e-5) * scale[c] + shift[c]);
      });
    }
    x = each(x, gelu);
  });
  x = w.linear(`${base}feature_projection.projection`, w.norm(`${base}feature_projection.layer_norm`, turned(x), eps));
  const conv = `${base}encoder.pos_conv_embed.conv.`, size = w.list(`${conv}parametrizations.weight.original0`), way = w.list(`${conv}parametrizations.weight.original1`);
  const shape = w.shape(`${conv}parametrizations.weight.original1`), kernel = shape[2], length = Array(kernel).fill(0);
  way.forEach((v, i) => { length[i % kernel] += v * v; });
  const made = way.map((v, i) => v * size[i % kernel] / Math.sqrt(length[i % kernel]));
  let place = convolve(turned(x), made, shape, w.list(`${conv}bias`), { pad: Math.floor(kernel / 2), groups: config.num_conv_pos_embedding_groups });
  if (kernel % 2 === 0) place = place.map((row) => row.slice(0, -1));
  x = plus(x, turned(each(place, gelu)));
  const stable = config.do_stable_layer_norm, last = `${base}encoder.layer_norm`;
  if (!stable) x = w.norm(last, x, eps);
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const name = `${base}encoder.layers.${i}.`, heads = config.num_attention_heads;
    const feed = (y) => w.linear(`${name}feed_forward.output_dense`, each(w.linear(`${name}feed_forward.intermediate_dense`, y), gelu));
    const attend = (y) => w.attention(`${name}attention`, y, y, heads, all);
    if (stable) {
      x = plus(x, attend(w.norm(`${name}layer_norm`, x, eps)));
      x = plus(x, feed(w.norm(`${name}final_layer_norm`, x, eps)));
    } else {
      x = w.norm(`${name}layer_norm`, plus(x, attend(x)), eps);
      x = w.norm(`${name}final_layer_norm`, plus(x, feed(x)), eps);
    }
  }
  return w.linear('lm_head', stable ? w.norm(last, x, eps) : x);
}

// Logits [tokens][words] of one text: BART, or mBART (pre-norm).
export function bart(tensors, config, ids, mask, decoderIds) {
  const w = new Weights(tensors), eps = 1e-5, pre = config.model_type === 'mbart', width = config.d_model;
  const table = w.list('model.shared.weight'), factor = config.scale_embedding ? Math.sqrt(width) : 1;
  const stack = (side, tokens, h) => {
    const base = `model.${side}.`, place = w.list(`${base}embed_positions.weight`), heads = config[`${side}_attention_heads`];
    let x = tokens.map((id, p) => Array.from({ length: width }, (_, j) => factor * table[id * width + j] + place[(p + 2) * width + j]));
    x = w.norm(`${base}layernorm_embedding`, x, eps);
    for (let i = 0; i < config[`${side}_layers`]; i++) {
      const name = `${base}layers.${i}.`;
      const part = (norm, f) => { x = pre ? plus(x, f(w.norm(`${name}${norm}`, x, eps))) : w.norm(`${name}${norm}`, plus(x, f(x)), eps); };
      part('self_attn_layer_norm', (y) => w.attention(`${name}self_attn`, y, y, heads, (a, b) => (h ? b <= a : mask[b])));
      if (h) part('encoder_attn_layer_norm', (y) => w.attention(`${name}encoder_attn`, y, h, heads, (a, b) => mask[b]));
      part('final_layer_norm', (y) => w.linear(`${name}fc2`, each(w.linear(`${name}fc1`, y), gelu)));
    }
    return pre ? w.norm(`${base}layer_norm`, x, eps) : x;
  };
  const x = stack('decoder', decoderIds, stack('encoder', ids, null)), bias = w.list('final_logits_bias');
  return x.map((row) => bias.map((b, id) => row.reduce((sum, value, j) => sum + value * table[id * width + j], b)));
}
