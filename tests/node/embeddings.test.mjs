// SPDX-License-Identifier: Apache-2.0
// `hangar embed` with every kind of text encoder, held to @huggingface/transformers on what `convert --out` wrote; and with the modules that
// repositories of sentence-transformers declare, held to their formulas.
import test from 'node:test';
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ownHangar } from '../support/models.mjs';
import { addRepo, far, safetensors, wordTokenizer } from '../support/repos.mjs';

const library = await import(pathToFileURL(createRequire(join(process.env.HANGAR_TOP, 'tests/')).resolve('@huggingface/transformers')));
const own = ownHangar('embeddings');
test.after(own.remove);
Object.assign(library.env, { allowRemoteModels: false, localModelPath: join(own.home, 'out') });
const options = { dtype: 'fp32', session_options: { intraOpNumThreads: 1, interOpNumThreads: 1 } };

const bert = { pad: [0, '[PAD]'], unk: [1, '[UNK]'], cls: [2, '[CLS]'], sep: [3, '[SEP]'] };
const roberta = { cls: [0, '<s>'], pad: [1, '<pad>'], sep: [2, '</s>'], unk: [3, '<unk>'] };
const t5 = { pad: [0, '<pad>'], sep: [1, '</s>'], unk: [2, '<unk>'] };
const files = (special, limit = 1e30) => ({
  'tokenizer.json': wordTokenizer(special),
  'tokenizer_config.json': { tokenizer_class: 'PreTrainedTokenizerFast', model_max_length: limit, pad_token: special.pad[1], unk_token: special.unk[1] },
});
const texts = ['the cat is red', 'two', 'the sun and the moon and the old sea . we go on !', 'dog dog unheard bird ?', ''];
const fails = (args, status, words) => {
  const got = own.hangar(args);
  assert.equal(got.status, status, got.stderr);
  assert.match(got.stderr.trim().split('\n').at(-1), words);
};
const embed = (ref, ...some) => own.result(['embed', ref, ...some]);

// arch, class of the tokens, settings, how long a text may be
const cases = [
  ['bert', bert, {}, 128], ['roberta', roberta, {}, 126], ['xlm-roberta', roberta, { architectures: ['XLMRobertaModel'] }, 126],
  ['xlm-roberta', roberta, { architectures: ['CamembertModel'], model_type: 'camembert' }, 126, 'camembert'], ['distilbert', bert, {}, 512],
  ['mpnet', roberta, {}, 126], ['modernbert', bert, {}, 128], ['deberta-v2', bert, {}, 128], ['t5', t5, { architectures: ['T5EncoderModel'] }, 65536],
];
for (const [arch, special, changes, limit, name = arch] of cases) {
  test(`${name}: the mean of the library's hidden states`, async () => {
    const ref = addRepo(own, name, arch, files(special), changes);
    own.result(['convert', ref, '--out', join(own.home, 'out', name)]);
    const tokenizer = await library.AutoTokenizer.from_pretrained(name);
    // transformers.js knows no T5 encoder alone: its file is a plain one
    const model = await (name === 't5' ? library.PreTrainedModel : library.AutoModel).from_pretrained(name, { ...options, ...(name === 't5' && { model_file_name: 'model' }) });
    const got = embed(ref, ...texts);
    assert.equal(got.embeddings.length, texts.length);
    for (const [i, text] of texts.entries()) {
      const inputs = tokenizer(text), states = (await model(inputs)).last_hidden_state, [, count, dims] = states.dims;
      assert.equal(got.tokens[i], count);
      const mean = Array.from({ length: dims }, (_, d) => Array.from({ length: count }, (__, t) => states.data[t * dims + d]).reduce((a, b) => a + b, 0) / count);
      assert.ok(far(got.embeddings[i], mean) < 1e-4, `"${text}": ${far(got.embeddings[i], mean)}`);
    }
    if (limit < 1000) {
      const long = embed(ref, 'cat '.repeat(600), 'dog');
      assert.deepEqual(long.truncated, [0]);
      assert.equal(long.tokens[0], limit);
      assert.ok(long.embeddings[0].every(Number.isFinite));
    }
  });
}

// ---- modules ----

const plainFiles = files(bert);
const plain = addRepo(own, 'plain', 'bert', { ...plainFiles });
const module = (idx, type, path = '') => ({ idx, name: `${idx}`, path, type: `sentence_transformers.models.${type}` });
const numbers = (count, seed) => Array.from({ length: count }, (_, i) => Math.sin(seed + 1.7 * i) / 4);
const dense = (folder, input, output, act, { bias = true, seed = 1 } = {}) => ({
  [`${folder}/config.json`]: { in_features: input, out_features: output, bias, activation_function: act },
  [`${folder}/model.safetensors`]: safetensors({ 'linear.weight': { shape: [output, input], data: numbers(input * output, seed) }, ...(bias && { 'linear.bias': { shape: [output], data: numbers(output, seed + 5) } }) }),
});
const linear = (x, output, act, { bias = true, seed = 1 } = {}) => {
  const w = Float32Array.from(numbers(x.length * output, seed)), b = Float32Array.from(numbers(output, seed + 5));
  return Array.from({ length: output }, (_, o) => act(x.reduce((sum, v, i) => sum + v * w[o * x.length + i], bias ? b[o] : 0)));
};
const erf = (x) => { // Maclaurin's series
  let term = x, sum = x;
  for (let n = 1; n < 60; n++) sum += (term *= (-x * x) / n) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * sum;
};
const acts = {
  Identity: (x) => x, Tanh: Math.tanh, ReLU: (x) => Math.max(x, 0), GELU: (x) => (x / 2) * (1 + erf(x / Math.SQRT2)),
  Sigmoid: (x) => 1 / (1 + Math.exp(-x)), SiLU: (x) => x / (1 + Math.exp(-x)),
};
const unit = (x) => x.map((v) => v / Math.hypot(...x));
const text = texts[2];

for (const [name, act] of Object.entries(acts)) {
  test(`a Dense module with ${name}`, () => {
    const bias = name !== 'Identity', ref = addRepo(own, `dense-${name}`, 'bert', {
      ...plainFiles, 'modules.json': [module(0, 'Transformer'), module(1, 'Pooling', '1_Pooling'), module(2, 'Dense', '2_Dense')],
      ...dense('2_Dense', 64, 10, `torch.nn.modules.${name === 'Identity' ? 'linear' : 'activation'}.${name}`, { bias }),
    });
    const got = embed(ref, text, 'dog'), [a, b] = embed(plain, text, 'dog').embeddings;
    assert.equal(got.dimensions, 10);
    assert.ok(far(got.embeddings[0], linear(a, 10, act, { bias })) < 1e-5);
    assert.ok(far(got.embeddings[1], linear(b, 10, act, { bias })) < 1e-5);
  });
}

test('several modules, in their order', () => {
  const ref = addRepo(own, 'chain', 'bert', {
    ...plainFiles, 'modules.json': [module(0, 'Transformer'), module(1, 'Pooling', '1_Pooling'), module(2, 'Normalize', '2_Normalize'), module(3, 'Dense', '3_Dense'), module(4, 'Dropout', '4_Dropout'), module(5, 'Dense', '5_Dense'), module(6, 'Normalize', '6_Normalize')],
    ...dense('3_Dense', 64, 80, 'torch.nn.modules.activation.Tanh', { seed: 2 }), ...dense('5_Dense', 80, 7, 'torch.nn.modules.linear.Identity', { bias: false, seed: 3 }),
  });
  const [x] = embed(plain, text).embeddings;
  const want = unit(linear(linear(unit(x), 80, acts.Tanh, { seed: 2 }), 7, acts.Identity, { bias: false, seed: 3 }));
  assert.ok(far(embed(ref, text).embeddings[0], want) < 1e-5);
});

test('each way of pooling', async () => {
  own.result(['convert', plain, '--out', join(own.home, 'out', 'plain')]);
  const model = await library.AutoModel.from_pretrained('plain', options), tokenizer = await library.AutoTokenizer.from_pretrained('plain');
  const { data, dims: [, count, dims] } = (await model(tokenizer(text))).last_hidden_state;
  const rows = Array.from({ length: count }, (_, t) => Array.from(data.slice(t * dims, (t + 1) * dims)));
  const over = (fn) => Array.from({ length: dims }, (_, d) => fn(rows.map((row) => row[d])));
  const sum = (x) => x.reduce((a, b) => a + b, 0);
  const ways = {
    cls_token: rows[0], max_tokens: over((x) => Math.max(...x)), mean_tokens: over((x) => sum(x) / count), mean_sqrt_len_tokens: over((x) => sum(x) / Math.sqrt(count)),
    weightedmean_tokens: over((x) => sum(x.map((v, i) => v * (i + 1))) / sum(x.map((_, i) => i + 1))), lasttoken: rows.at(-1),
  };
  for (const [way, want] of Object.entries(ways)) {
    const ref = addRepo(own, `pool-${way}`, 'bert', { ...plainFiles, 'modules.json': [module(0, 'Transformer'), module(1, 'Pooling', '1_Pooling')], '1_Pooling/config.json': { [`pooling_mode_${way}`]: true, pooling_mode_cls_token: way === 'cls_token' } });
    const [got] = embed(ref, text, 'a much longer text so that there is padding in the batch of two , by far the longer one').embeddings;
    assert.ok(far(got, want) < 1e-4, way);
  }
});

test('what sentence_bert_config.json says: the length, and small letters', () => {
  const ref = addRepo(own, 'short', 'bert', { ...plainFiles, 'sentence_bert_config.json': { max_seq_length: 6, do_lower_case: true } });
  const got = embed(ref, 'THE Cat IS red and old', 'the cat is red');
  assert.deepEqual([got.truncated, got.tokens], [[0], [6, 6]]);
  assert.ok(far(got.embeddings[0], got.embeddings[1]) < 1e-6);
});

test('modules that do not fit are refused', () => {
  const list = [module(0, 'Transformer'), module(1, 'Pooling', '1_Pooling'), module(2, 'Dense', '2_Dense')];
  const bad = (name, more, status, words) => fails(['embed', addRepo(own, name, 'bert', { ...plainFiles, 'modules.json': list, ...more }), 'x'], status, words);
  const tanh = 'torch.nn.modules.activation.Tanh', fine = dense('2_Dense', 64, 4, tanh);
  bad('bad-none', {}, 6, /2_Dense\/config\.json is missing/);
  bad('bad-width', dense('2_Dense', 32, 4, tanh), 6, /Dense module of 32 features follows 64/);
  bad('bad-act', dense('2_Dense', 64, 4, 'torch.nn.modules.activation.Mish'), 9, /activation_function "torch.*Mish"/);
  bad('bad-file', { ...fine, '2_Dense/model.safetensors': null, '2_Dense/pytorch_model.bin': 'x' }, 9, /2_Dense\/model\.safetensors is missing/);
  bad('bad-shape', { ...fine, '2_Dense/config.json': { in_features: 64, out_features: 5, activation_function: tanh } }, 6, /linear\.weight is missing or has another shape/);
  bad('bad-size', { ...fine, '2_Dense/config.json': { in_features: 2 ** 40, out_features: 5 } }, 6, /in_features/);
  bad('bad-bytes', { ...fine, '2_Dense/model.safetensors': 'short' }, 6, /2_Dense\/model\.safetensors/);
  bad('bad-path', { 'modules.json': [module(0, 'Transformer'), module(1, 'Pooling', '1_Pooling'), module(2, 'Dense', '../../x')] }, 6, /config\.json is missing/);
  bad('bad-many', { 'modules.json': [module(0, 'Transformer'), module(1, 'Pooling', '1_Pooling'), ...Array.from({ length: 20 }, (_, i) => module(i + 2, 'Normalize'))] }, 6, /more than 16 modules/);
});

test('a head in place of hidden states is named; a decoder is said to be one', () => {
  fails(['embed', addRepo(own, 'masked', 'bert-mlm', plainFiles), 'x'], 9, /a BertForMaskedLM gives the answers of its head.*no hidden states/);
  fails(['embed', addRepo(own, 'decoder', 'qwen3', files(t5)), 'x'], 9, /text generation, wanted one for embeddings/);
});

test('an embedder that bears the class of the masked model it was made of', () => {
  const modules = { 'modules.json': [module(0, 'Transformer')] }, masked = { architectures: ['BertForMaskedLM'] };
  const got = embed(addRepo(own, 'once-masked', 'bert', { ...plainFiles, ...modules }, masked), text);
  assert.deepEqual(got.embeddings, embed(plain, text).embeddings);
  fails(['embed', addRepo(own, 'still-masked', 'bert-mlm', { ...plainFiles, ...modules }), 'x'], 9, /answers of its head and no last_hidden_state/);
});
