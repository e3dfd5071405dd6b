// SPDX-License-Identifier: Apache-2.0
// BERT, RoBERTa and ELECTRA from their equations, in double precision and one text at a time: padding is cut off before, so that what padding
// does to a graph's answers shows. Positions may be relative (Shaw et al. 2018; Huang et al. 2020).
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readWeights } from './weights.mjs';

// erf by its series, which for |x| < 6 is exact to the last digits of a double but for the cancelling ones.
function erf(x) {
  if (Math.abs(x) > 5) return Math.sign(x);
  let sum = x, part = x;
  for (let n = 1; Math.abs(part) > 1e-18; n++) {
    part *= -(x * x) / n;
    sum += part / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}
const gelu = (x) => (x * (1 + erf(x / Math.SQRT2))) / 2, acts = { gelu, relu: (x) => Math.max(0, x), tanh: Math.tanh };

export class PlainBert {
  constructor(folder) {
    this.config = JSON.parse(readFileSync(join(folder, 'config.json')));
    this.class = this.config.architectures[0];
    this.tensors = new Map([...readWeights(join(folder, 'model.safetensors')).tensors].map(([name, { data }]) =>
      [name.replace(/^(bert|roberta|electra)\./, ''), Float64Array.from({ length: data.length / 4 }, (_, i) => data.readFloatLE(4 * i))]));
    this.act = acts[this.config.hidden_act];
  }

  get(name) {
    const tensor = this.tensors.get(name);
    if (!tensor) throw new Error(`no ${name}`);
    return tensor;
  }

  linear(x, name, weight = this.get(`${name}.weight`), bias = this.get(`${name}.bias`)) {
    return x.map((row) => Float64Array.from(bias, (b, o) => row.reduce((sum, v, i) => sum + v * weight[o * row.length + i], b)));
  }

  norm(x, name) {
    const scale = this.get(`${name}.weight`), shift = this.get(`${name}.bias`);
    return x.map((row) => {
      const mean = row.reduce((a, b) => a + b, 0) / row.length, spread = row.reduce((a, b) => a + (b - mean) ** 2, 0) / row.length;
      return row.map((v, i) => ((v - mean) / Math.sqrt(spread + this.config.layer_norm_eps)) * scale[i] + shift[i]);
    });
  }

  embed(ids, kinds) {
    const table = (name) => this.get(`embeddings.${name}_embeddings.weight`), width = this.get('embeddings.LayerNorm.weight').length;
    const roberta = /^(Roberta|Camembert|XLM)/.test(this.class), pad = this.config.pad_token_id;
    const kind = this.config.position_embedding_type ?? 'absolute';
    let count = 0;
    const x = ids.map((id, i) => {
      const place = roberta ? pad + (id === pad ? 0 : ++count) : i, type = roberta ? 0 : kinds[i];
      return Float64Array.from({ length: width }, (_, j) => table('word')[id * width + j] + table('token_type')[type * width + j] +
        (kind === 'absolute' ? table('position')[place * width + j] : 0));
    });
    const y = this.norm(x, 'embeddings.LayerNorm');
    return width === this.config.hidden_size ? y : this.linear(y, 'embeddings_project');
  }

  attention(x, at) {
    const [q, k, v] = ['query', 'key', 'value'].map((name) => this.linear(x, `${at}.${name}`));
    const { num_attention_heads: heads, hidden_size: width, max_position_embeddings: max, position_embedding_type: kind = 'absolute' } = this.config;
    const dim = width / heads, far = kind === 'absolute' ? null : this.get(`${at}.distance_embedding.weight`);
    const out = x.map(() => new Float64Array(width));
    for (let h = 0; h < heads; h++) {
      const part = (row) => row.subarray(h * dim, (h + 1) * dim), dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
      x.forEach((_, i) => {
        const scores = x.map((__, j) => {
          const row = far?.subarray((i - j + max - 1) * dim, (i - j + max) * dim);
          return (dot(part(q[i]), part(k[j])) + (row ? dot(part(q[i]), row) : 0) + (kind === 'relative_key_query' ? dot(part(k[j]), row) : 0)) / Math.sqrt(dim);
        });
        const top = Math.max(...scores), weights = scores.map((s) => Math.exp(s - top)), all = weights.reduce((a, b) => a + b, 0);
        weights.forEach((w, j) => part(v[j]).forEach((value, c) => (out[i][h * dim + c] += (w / all) * value)));
      });
    }
    return out;
  }

  // What the model says of one text: { name: rows }, each row as long as the output's last axis.
  run(ids, kinds) {
    const plus = (a, b) => a.map((row, i) => row.map((v, j) => v + b[i][j])), all = (x, act) => x.map((row) => row.map(act));
    let x = this.embed(ids, kinds);
    for (let i = 0; i < this.config.num_hidden_layers; i++) {
      const at = `encoder.layer.${i}`;
      x = this.norm(plus(x, this.linear(this.attention(x, `${at}.attention.self`), `${at}.attention.output.dense`)), `${at}.attention.output.LayerNorm`);
      x = this.norm(plus(x, this.linear(all(this.linear(x, `${at}.intermediate.dense`), this.act), `${at}.output.dense`)), `${at}.output.LayerNorm`);
    }
    return this.head(x, all);
  }

  words(x, all, dense, norm, decoder, biases, act) {
    const y = this.norm(all(this.linear(x, dense), act), norm), tied = this.config.tie_word_embeddings;
    const bias = (tied ? biases : [...biases].reverse()).map((name) => this.tensors.get(name)).find(Boolean);
    return { logits: this.linear(y, null, this.get(tied ? 'embeddings.word_embeddings.weight' : `${decoder}.weight`), bias) };
  }

  head(x, all) {
    const ending = this.class.replace(/^(Bert|Roberta|Camembert|Electra)/, ''), electra = this.class.startsWith('Electra');
    if (ending === 'Model') return { last_hidden_state: x };
    if (ending === 'ForTokenClassification') return { logits: this.linear(x, 'classifier') };
    if (ending === 'ForSequenceClassification')
      return { logits: this.linear(all(this.linear(x.slice(0, 1), 'classifier.dense'), electra ? gelu : Math.tanh), 'classifier.out_proj') };
    if (ending === 'ForPreTraining')
      return { logits: this.linear(all(this.linear(x, 'discriminator_predictions.dense'), this.act), 'discriminator_predictions.dense_prediction') };
    if (electra) return this.words(x, all, 'generator_predictions.dense', 'generator_predictions.LayerNorm', null, ['generator_lm_head.bias'], gelu);
    if (ending !== 'ForMaskedLM') throw new Error(`no head ${ending}`);
    return this.words(x, all, 'cls.predictions.transform.dense', 'cls.predictions.transform.LayerNorm', 'cls.predictions.decoder',
      ['cls.predictions.bias', 'cls.predictions.decoder.bias'], this.act);
  }
}
