// SPDX-License-Identifier: Apache-2.0
// A Llama of nested loops, to be called like a converted one: it shows that the comparison passes what is right. `lie` plants one
// error, to show that the comparison tells.
import { floats } from './vectors.mjs';

const values = ({ data }) => new Float32Array(new Uint8Array(data).buffer);
const silu = (x) => x / (1 + Math.exp(-x));

function times(w, x) {
  const y = new Float64Array(w.length / x.length);
  for (let r = 0; r < y.length; r++) for (let c = 0; c < x.length; c++) y[r] += w[r * x.length + c] * x[c];
  return y;
}

export class Llama {
  constructor({ tensors }, config, lie = '') {
    this.w = Object.fromEntries([...tensors].map(([name, tensor]) => [name, values(tensor)]));
    Object.assign(this, { config, lie, layers: config.num_hidden_layers, heads: config.num_attention_heads, groups: config.num_key_value_heads });
    this.size = config.head_dim ?? config.hidden_size / this.heads;
    const stems = Array.from({ length: this.layers }, (_, n) => [`${n}.key`, `${n}.value`]).flat();
    this.inputMetadata = [
      ...['input_ids', 'attention_mask', 'position_ids'].map((name) => ({ name, type: 'int64', shape: ['batch_size', 'length'] })),
      ...stems.map((stem) => ({ name: `past_key_values.${stem}`, type: 'float32', shape: ['batch_size', this.groups, 'past', this.size] }))];
    this.outputNames = ['logits', ...stems.map((stem) => `present.${stem}`)];
  }

  norm(x, name) {
    const scale = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length + this.config.rms_norm_eps);
    return x.map((v, i) => v * scale * this.w[`${name}.weight`][i]);
  }

  // Each head turned: the pair (i, i + half) by the angle position / theta^(2 i / size).
  turn(x, position) {
    const half = this.size / 2, theta = this.config.rope_parameters.rope_theta, way = this.lie === 'turns backwards' ? -1 : 1;
    return x.map((v, at) => {
      const i = at % this.size, angle = way * position * theta ** (-(i % half) / half);
      return v * Math.cos(angle) + (i < half ? -x[at + half] : x[at - half]) * Math.sin(angle);
    });
  }

  // What one token sees of the tokens up to itself.
  attend(q, keys, vals, mask) {
    const { size, lie } = this, out = new Float64Array(q.length);
    for (let h = 0; h < this.heads; h++) {
      const g = lie === 'takes the wrong group' ? h % this.groups : Math.floor(h * this.groups / this.heads);
      const scores = keys.map((k, j) => {
        if (!mask[j] && lie !== 'ignores the mask') return -1e30;
        let sum = 0;
        for (let i = 0; i < size; i++) sum += k[g * size + i] * q[h * size + i];
        return lie === 'forgets the scale' ? sum : sum / Math.sqrt(size);
      });
      const most = Math.max(...scores), powers = scores.map((s) => Math.exp(s - most)), total = powers.reduce((a, b) => a + b, 0);
      vals.forEach((v, j) => {
        for (let i = 0; i < size; i++) out[h * size + i] += powers[j] / total * v[g * size + i];
      });
    }
    return out;
  }

  layer(n, x, position, keys, vals, mask) {
    const name = `model.layers.${n}`, weight = (part) => this.w[`${name}.${part}.weight`];
    const a = this.norm(x, `${name}.input_layernorm`);
    keys.push(this.turn(times(weight('self_attn.k_proj'), a), position));
    vals.push(times(weight('self_attn.v_proj'), a));
    const seen = this.attend(this.turn(times(weight('self_attn.q_proj'), a), position), keys, vals, mask);
    const y = times(weight('self_attn.o_proj'), seen);
    x = x.map((v, i) => v + y[i]);
    const m = this.norm(x, `${name}.post_attention_layernorm`);
    const [gate, up] = (this.lie === 'swaps gate and up' ? ['up', 'gate'] : ['gate', 'up']).map((side) => times(weight(`mlp.${side}_proj`), m));
    const z = times(weight('mlp.down_proj'), gate.map((v, i) => silu(v) * up[i]));
    return x.map((v, i) => v + z[i]);
  }

  // [batch, groups, length, size] to a list of tokens and back.
  tokens({ data, dims: [, , length] }, row) {
    return Array.from({ length }, (_, t) => Float64Array.from({ length: this.groups * this.size }, (_, i) =>
      data[((row * this.groups + Math.floor(i / this.size)) * length + t) * this.size + (i % this.size)]));
  }
  tensor(rows) {
    const { groups, size, lie } = this, length = rows[0].length, data = new Float32Array(rows.length * groups * length * size);
    rows.forEach((list, r) => list.forEach((_, t) => {
      const token = list[lie === 'mixes up the past' && length > 2 ? (t + 1) % length : t];
      token.forEach((v, i) => { data[((r * groups + Math.floor(i / size)) * length + t) * size + (i % size)] = v; });
    }));
    return floats(data, [rows.length, groups, length, size]);
  }

  async run(feeds) {
    const { dims: [batch, length], data: ids } = feeds.input_ids, hidden = this.config.hidden_size, total = feeds.attention_mask.dims[1];
    const past = (side) => Array.from({ length: this.layers }, (_, n) =>
      Array.from({ length: batch }, (_, r) => this.tokens(feeds[`past_key_values.${n}.${side}`], r)));
    const keys = past('key'), vals = past('value'), logits = [];
    for (let at = 0; at < batch * length; at++) {
      const r = Math.floor(at / length), id = Number(ids[at]), mask = [...feeds.attention_mask.data.slice(r * total, (r + 1) * total)].map(Number);
      const position = this.lie === 'counts anew at each call' ? at % length : Number(feeds.position_ids.data[at]);
      let x = Float64Array.from(this.w['model.embed_tokens.weight'].subarray(id * hidden, (id + 1) * hidden));
      for (let n = 0; n < this.layers; n++) x = this.layer(n, x, position, keys[n][r], vals[n][r], mask);
      logits.push(times(this.w['lm_head.weight'] ?? this.w['model.embed_tokens.weight'], this.norm(x, 'model.norm')));
    }
    if (this.lie === 'gives no number') logits[0][0] = NaN;
    const made = { logits: floats(logits.flatMap((row) => [...row]), [batch, length, logits[0].length]) };
    for (let n = 0; n < this.layers; n++) Object.assign(made, { [`present.${n}.key`]: this.tensor(keys[n]), [`present.${n}.value`]: this.tensor(vals[n]) });
    return made;
  }
}
