// SPDX-License-Identifier: Apache-2.0
// Text encoders that no fixture has: heads and settings, made from the fixtures by changing config.json and adding random weights.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readWeights, writeWeights } from './weights.mjs';

const W = 64, VOCAB = 96, INNER = 96, HEADS = 4, HEAD = W / HEADS;

// The same numbers at every run.
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function tensor(shape, next, middle = 0, spread = 0.3) {
  const data = new Float32Array(shape.reduce((a, b) => a * b, 1)).map(() => middle + spread * (next() - 0.5));
  return { dtype: 'F32', shape, data: Buffer.from(data.buffer) };
}

const linear = (name, out, bias = true, width = W) => [[`${name}.weight`, [out, width]], ...(bias ? [[`${name}.bias`, [out]]] : [])];
const norm = (name, width = W, bias = true) => [[`${name}.weight`, [width], 1], ...(bias ? [[`${name}.bias`, [width]]] : [])];
const layers = (count, make) => Array.from({ length: count }, (_, i) => make(i)).flat();

const bert = 'encoder.layer.';
const words = (at, normed, bias = `${at}.bias`) => [...linear(`${at}.dense`, W), ...norm(`${at}.${normed}`), [bias, [VOCAB]]];
const twoStep = [...linear('classifier.dense', W), ...linear('classifier.out_proj', 3)];
const tokens = linear('classifier', 5), span = linear('qa_outputs', 2);
const distances = (rows) => layers(2, (i) => [[`${bert}${i}.attention.self.distance_embedding.weight`, [rows, HEAD]]]);
const electra = { embedding_size: 24 };
const narrow = [['embeddings.word_embeddings.weight', [VOCAB, 24]], ['embeddings.position_embeddings.weight', [128, 24]],
  ['embeddings.token_type_embeddings.weight', [2, 24]], ...norm('embeddings.LayerNorm', 24), ...linear('embeddings_project', W, true, 24)];
const heads = (family, masked, sequence, others = {}) => ({
  'masked': { class: `${family}ForMaskedLM`, add: masked },
  'sequence': { class: `${family}ForSequenceClassification`, add: sequence },
  'token': { class: `${family}ForTokenClassification`, add: tokens },
  'span': { class: `${family}ForQuestionAnswering`, add: span },
  ...others,
});
const modernHead = (bias, width) => [...linear('head.dense', W, bias), ...norm('head.norm', W, false), ...(width ? linear('classifier', width) : [])];
const modernBiases = layers(4, (i) => [
  [`layers.${i}.attn.Wqkv.bias`, [3 * W]], [`layers.${i}.attn.Wo.bias`, [W]], [`layers.${i}.mlp.Wi.bias`, [2 * INNER]], [`layers.${i}.mlp.Wo.bias`, [W]],
  ...(i ? [[`layers.${i}.attn_norm.bias`, [W]]] : []), [`layers.${i}.mlp_norm.bias`, [W]]]);
const positional = (...kinds) => layers(2, (i) => kinds.flatMap((kind) => linear(`${bert}${i}.attention.self.pos_${kind}_proj`, W)));

// By fixture: the prefix of the base model, and what is made of it. `base` tensors belong to the base
// model. `plain`: hangar's own reference does not know it, tests/support/plainbert.mjs
// does. `counted`: places are counted from the row's beginning, so that padding on the left moves them.
export const families = {
  bert: {
    prefix: 'bert.',
    counted: true,
    variants: {
      'token': { class: 'BertForTokenClassification', add: tokens },
      'span': { class: 'BertForQuestionAnswering', add: span },
      'untied': { class: 'BertForMaskedLM', config: { tie_word_embeddings: false },
        add: [...words('cls.predictions.transform', 'LayerNorm', 'cls.predictions.bias'), ...linear('cls.predictions.decoder', VOCAB, false)] },
      'untied-two-biases': { plain: true, class: 'BertForMaskedLM', config: { tie_word_embeddings: false },
        add: [...words('cls.predictions.transform', 'LayerNorm', 'cls.predictions.bias'), ...linear('cls.predictions.decoder', VOCAB)] },
      'relative_key': { plain: true, counted: false, config: { position_embedding_type: 'relative_key' }, base: distances(255) },
      'relative_key_query': { plain: true, counted: false, config: { position_embedding_type: 'relative_key_query' }, base: distances(255) },
      'electra': { plain: true, type: 'electra', class: 'ElectraModel', config: electra, base: narrow },
      'electra-words': { plain: true, type: 'electra', class: 'ElectraForMaskedLM', config: { ...electra, hidden_act: 'relu' }, base: narrow,
        add: [...linear('generator_predictions.dense', 24), ...norm('generator_predictions.LayerNorm', 24), ['generator_lm_head.bias', [VOCAB]]] },
      'electra-replaced': { plain: true, type: 'electra', class: 'ElectraForPreTraining', config: { embedding_size: W },
        add: [...linear('discriminator_predictions.dense', W), ...linear('discriminator_predictions.dense_prediction', 1)] },
      'electra-sequence': { plain: true, type: 'electra', class: 'ElectraForSequenceClassification', config: { embedding_size: W, hidden_act: 'relu' }, add: twoStep },
    },
  },
  roberta: {
    prefix: 'roberta.',
    variants: heads('Roberta', words('lm_head', 'layer_norm'), twoStep, {
      'untied': { class: 'RobertaForMaskedLM', config: { tie_word_embeddings: false, hidden_act: 'relu' },
        add: [...words('lm_head', 'layer_norm'), ...linear('lm_head.decoder', VOCAB, false)] },
      'camembert': { plain: true, type: 'camembert', class: 'CamembertForTokenClassification', add: tokens },
      'pad': { counted: true, config: { pad_token_id: 5 } },
    }),
  },
  distilbert: {
    prefix: 'distilbert.',
    counted: true,
    variants: heads('DistilBert', [...linear('vocab_transform', W), ...norm('vocab_layer_norm'), ['vocab_projector.bias', [VOCAB]]],
      [...linear('pre_classifier', W), ...linear('classifier', 3)], { 'relu': { config: { activation: 'relu' } } }),
  },
  mpnet: { prefix: 'mpnet.', variants: heads('MPNet', words('lm_head', 'layer_norm'), twoStep) },
  modernbert: {
    prefix: 'model.',
    variants: {
      'masked': { class: 'ModernBertForMaskedLM', add: [...modernHead(false), ['decoder.bias', [VOCAB]]] },
      'masked-bare': { class: 'ModernBertForMaskedLM', config: { classifier_bias: true, decoder_bias: false, tie_word_embeddings: false, classifier_activation: 'relu' },
        add: [...modernHead(true), ['decoder.weight', [VOCAB, W]]] },
      'sequence': { class: 'ModernBertForSequenceClassification', add: modernHead(false, 3) },
      'sequence-mean': { class: 'ModernBertForSequenceClassification', config: { classifier_pooling: 'mean' }, add: modernHead(false, 3) },
      'token': { class: 'ModernBertForTokenClassification', add: modernHead(false, 5) },
      'span': { class: 'ModernBertForQuestionAnswering', add: modernHead(false, 2) },
      'biases': { config: { attention_bias: true, mlp_bias: true, norm_bias: true, hidden_activation: 'gelu_pytorch_tanh' },
        base: [...modernBiases, ['embeddings.norm.bias', [W]], ['final_norm.bias', [W]]] },
      'older-keys': { config: { layer_types: undefined, rope_parameters: undefined, global_attn_every_n_layers: 2, global_rope_theta: 80000, local_rope_theta: 5000, local_attention: 6 } },
      'one-theta': { config: { layer_types: undefined, rope_parameters: undefined, global_rope_theta: 80000, local_rope_theta: null } },
    },
  },
  'deberta-v2': {
    prefix: 'deberta.',
    variants: heads('DebertaV2', words('cls.predictions.transform', 'LayerNorm', 'cls.predictions.bias'), [...linear('pooler.dense', W), ...linear('classifier', 3)], {
      'masked-new': { class: 'DebertaV2ForMaskedLM', config: { legacy: false }, add: words('lm_predictions.lm_head', 'LayerNorm') },
      'c2p': { config: { pos_att_type: 'c2p' } },
      'p2c': { config: { pos_att_type: ['p2c'], norm_rel_ebd: 'none' } },
      'own-projections': { config: { share_att_key: false, pos_att_type: 'p2c|c2p' }, base: positional('key', 'query') },
      'own-c2p': { config: { share_att_key: false, pos_att_type: ['c2p'] }, base: positional('key') },
      'no-buckets': { config: { position_buckets: -1, max_relative_positions: 6 }, base: [['encoder.rel_embeddings.weight', [12, W]]] },
      'few-distances': { config: { max_relative_positions: 20 } },
      'places-types': { counted: true, config: { position_biased_input: true, type_vocab_size: 2 },
        base: [['embeddings.position_embeddings.weight', [128, W]], ['embeddings.token_type_embeddings.weight', [2, W]]] },
      'not-relative': { counted: true, config: { relative_attention: false, pos_att_type: [], position_biased_input: true }, base: [['embeddings.position_embeddings.weight', [128, W]]] },
      'conv': { config: { conv_kernel_size: 3, conv_act: 'gelu' },
        base: [['encoder.conv.conv.weight', [W, W, 3]], ['encoder.conv.conv.bias', [W]], ...norm('encoder.conv.LayerNorm')] },
    }),
  },
};

// Writes a variant; the words may be prefixed as in models with a head, or not.
export function makeVariant(fixtures, family, name, to) {
  const { variants } = families[family], variant = variants[name], prefix = variant.type === 'electra' ? 'electra.' : families[family].prefix;
  const next = random(name.length * 977 + family.length);
  const { tensors } = readWeights(join(fixtures, family, 'model.safetensors'));
  const prefixed = Boolean(variant.class) || name.length % 2 === 1;
  const out = new Map([...tensors].map(([key, value]) => [prefixed ? prefix + key : key, value]));
  const put = (key, shape, middle) => out.set(key, tensor(shape, next, middle));
  for (const [key, shape, middle] of variant.base ?? []) put(prefixed ? prefix + key : key, shape, middle);
  for (const [key, shape, middle] of variant.add ?? []) put(key, shape, middle);
  const config = { ...JSON.parse(readFileSync(join(fixtures, family, 'config.json'))), ...variant.config };
  if (variant.class) config.architectures = [variant.class];
  if (variant.type) config.model_type = variant.type;
  mkdirSync(to, { recursive: true });
  writeFileSync(join(to, 'config.json'), JSON.stringify(config));
  writeWeights(join(to, 'model.safetensors'), { tensors: out });
}

// A batch: rows of different lengths, padded on one side; ids are never the padding of a family (0 or 1).
export function batchOf(lengths, { left = false, kinds = false, seed = 1 } = {}) {
  const next = random(seed), size = Math.max(...lengths), shape = [lengths.length, size];
  const inputs = { input_ids: [], attention_mask: [], token_type_ids: [] };
  for (const length of lengths) {
    for (let i = 0; i < size; i++) {
      const kept = left ? i >= size - length : i < length, place = left ? i - (size - length) : i;
      inputs.input_ids.push(kept ? 2 + Math.floor(next() * (VOCAB - 2)) : 1);
      inputs.attention_mask.push(kept ? 1 : 0);
      inputs.token_type_ids.push(kept && place > length / 2 ? 1 : 0);
    }
  }
  if (!kinds) delete inputs.token_type_ids;
  return Object.fromEntries(Object.entries(inputs).map(([name, data]) => [name, { shape, data }]));
}
