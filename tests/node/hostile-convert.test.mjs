// SPDX-License-Identifier: Apache-2.0
// ctest: long
// Checkpoints that were damaged or made to do harm. Whatever stands in config.json, in the index or in a safetensors file: `hangar convert`
// ends with an exit code, with one line that names the key or the tensor, within 1 GiB of address space, and leaves nothing behind.
import test from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ownHangar, program } from '../support/models.mjs';
import { fileOf, readWeights, writeSharded, writeWeights } from '../support/weights.mjs';

const fixtures = join(process.env.HANGAR_TOP, 'tests/fixtures/arch');
const own = ownHangar('hostile');
test.after(own.remove);

const SPACE = 1 << 20; // KiB of address space
const hangar = (...args) => spawnSync('bash', ['-c', `ulimit -v ${SPACE} -c 0; exec "$0" "$@"`, program, ...args],
  { env: own.env, encoding: 'utf8', timeout: 30000, maxBuffer: 1 << 24 });

function below(dir) {
  return existsSync(dir) ? readdirSync(dir, { recursive: true }) : [];
}

const artifacts = (name) => below(join(own.env.HANGAR_HOME, 'artifacts')).filter((path) => path.startsWith(`models--bad--${name}`));

// One line on stderr, behind the names of the phases that were reached and a note on memory, and one of the exit codes of bad data: 6 it is not what it says
// it is, 9 it is not known here.
function refused(got, names, what) {
  const said = `${what}: exit ${got.status}, ${got.signal}: ${got.stderr.slice(0, 600)}`;
  assert.equal(got.error, undefined, said);
  assert.equal(got.signal, null, said);
  assert.ok(got.status === 6 || got.status === 9, said);
  assert.match(got.stderr, /^(([a-z][a-z ]{2,40}|in 32 bits it needs [^\n]+)\n)*hangar: [^\n]+\n$/, said);
  const line = got.stderr.trimEnd().split('\n').at(-1);
  assert.ok(Buffer.byteLength(line) < 1000, said);
  assert.doesNotMatch(line, /[\0-\x1f\x7f]/, said);
  assert.match(line, names, said);
  return line;
}

let count = 0;
// A folder made by `damage`, through add and both ways of convert.
function hostile(fixture, names, damage) {
  const name = `m${++count}`, from = join(own.home, 'from', name), out = join(own.home, 'out', name);
  mkdirSync(from, { recursive: true });
  for (const file of ['config.json', 'generation_config.json', 'model.safetensors']) {
    if (existsSync(join(fixtures, fixture, file))) copyFileSync(join(fixtures, fixture, file), join(from, file));
  }
  damage(from);
  const added = hangar('add', from, '--as', `bad/${name}`);
  assert.equal(added.status, 0, `add ${name}: ${added.stderr}`); // it takes files as they are
  refused(hangar('convert', `bad/${name}`), names, 'convert');
  const json = hangar('convert', `bad/${name}`, '--out', out, '--json');
  assert.ok([6, 9].includes(json.status), `${json.status}: ${json.stdout}${json.stderr}`);
  assert.match(JSON.parse(json.stdout.trim().split('\n').at(-1)).error.message, names);
  assert.equal(existsSync(out), false, 'a folder is there');
  assert.deepEqual(below(join(own.home, 'out')), [], 'something is left beside it');
  assert.deepEqual(artifacts(name).filter((path) => path.split('/').length > 2), [], 'an artifact is there');
  rmSync(from, { recursive: true });
}

test('the models that are damaged below convert as long as they are whole', () => {
  for (const name of new Set([...settings.map(([name]) => name), 'bert', 'llama', 'whisper'])) {
    for (const args of [['add', join(fixtures, name), '--as', `good/${name}`], ['convert', `good/${name}`, '--out', join(own.home, 'good', name)]]) {
      const got = own.hangar(args);
      assert.equal(got.status, 0, `${name}: ${got.stderr}`);
    }
  }
});

// ---- config.json, key by key ----

// [fixture, key (a.b for one inside, none for several at once), what it is set to, what the message must name]; `undefined` takes the key out.
const settings = [
  ...['64', -64, 0, 64.5, 1e18, 2 ** 32 + 64, [], {}, true, null, undefined].map((v) => ['bert', 'hidden_size', v, /hidden_size/]),
  ...['2', -1, 0, 1e9, 2.5, null].map((v) => ['bert', 'num_hidden_layers', v, /num_hidden_layers/]),
  ['bert', 'num_hidden_layers', 3, /layer\.2\./], // more than the file has: the tensor that is missing
  ['bert', 'num_attention_heads', 5, /num_attention_heads|hidden_size|heads/],
  ...[-4, 0, '4'].map((v) => ['bert', 'num_attention_heads', v, /num_attention_heads/]),
  ['bert', 'vocab_size', 97, /word_embeddings/],
  ...[-1, 1e15].map((v) => ['bert', 'vocab_size', v, /vocab_size/]),
  ['bert', 'intermediate_size', 95, /intermediate\.dense/],
  ['bert', 'max_position_embeddings', 1e12, /max_position_embeddings/],
  ...['swish9', 7, '../../etc/passwd', 'x'.repeat(300), 'a\nb\u001b[2J'].map((v) => ['bert', 'hidden_act', v, /hidden_act/]),
  ...['small', -1, [1e-12]].map((v) => ['bert', 'layer_norm_eps', v, /layer_norm_eps/]),
  ['bert', 'position_embedding_type', 'relative_spiral', /position_embedding_type/],
  ['bert', 'position_embedding_type', 'relative_key', /distance_embedding/], // known, but its table is not in the file
  ['bert', 'is_decoder', true, /is_decoder/],
  ['bert', 'architectures', ['BertForTimeTravel'], /architectures|BertForTimeTravel/],
  ['bert', 'architectures', 'BertModel', /architectures/],
  ['bert', 'architectures', [7], /architectures/],
  ['bert', 'model_type', 'skynet', /model_type|skynet/],
  ['bert', 'model_type', 7, /model_type/],
  ['bert', 'model_type', undefined, /model_type/],
  ['bert', 'model_type', '../bert', /model_type/],
  ['bert', 'auto_map', { AutoModel: 'evil.py--Model' }, /auto_map/],
  ['bert', 'quantization_config', { quant_method: 'gptq', bits: 4 }, /quantization_config/],
  ['bert', 'an_unknown_switch', true, /an_unknown_switch/],

  ...[-1, 1e9, 'x'].map((v) => ['roberta', 'pad_token_id', v, /pad_token_id|word_embeddings|position_embeddings/]),
  ['roberta', 'max_position_embeddings', 127, /position_embeddings/],
  ['roberta', 'type_vocab_size', 9, /token_type/],
  ...[5, 0].map((v) => ['distilbert', 'n_heads', v, /n_heads|heads|dim/]),
  ['distilbert', 'activation', 'spiral', /activation/],
  ['xlm-roberta', 'architectures', ['XLMRobertaForTimeTravel'], /architectures|TimeTravel/],

  ...[5, 3].map((v) => ['llama', 'num_attention_heads', v, /num_attention_heads|heads|hidden_size|q_proj/]),
  ...[3, 0, -2, 8].map((v) => ['llama', 'num_key_value_heads', v, /num_key_value_heads|heads/]),
  ...[15, -16, '16', 1e7].map((v) => ['llama', 'head_dim', v, /head_dim|q_proj/]),
  ...['64', -64, 1e18].map((v) => ['llama', 'hidden_size', v, /hidden_size/]),
  ['llama', 'intermediate_size', 97, /mlp\.|intermediate_size/],
  ['llama', 'num_hidden_layers', 3, /layers\.2\./],
  ['llama', 'num_hidden_layers', 1e9, /num_hidden_layers/],
  ['llama', 'vocab_size', 97, /embed_tokens|vocab_size/],
  ['llama', 'hidden_act', 'spiral', /hidden_act/],
  ...[-1e-6, 'x'].map((v) => ['llama', 'rms_norm_eps', v, /rms_norm_eps/]),
  ...['spiral', 7].map((v) => ['llama', 'rope_parameters.rope_type', v, /rope/]),
  ...[-1, 0, '10000', [1]].map((v) => ['llama', 'rope_parameters.rope_theta', v, /rope_theta/]),
  ...['yes', [1]].map((v) => ['llama', 'rope_parameters', v, /rope_parameters/]),
  ...[{}, { factor: -2 }, { factor: 'x' }, { factor: 0 }].map((v) => ['llama', 'rope_parameters', { rope_theta: 10000, rope_type: 'linear', ...v }, /rope|factor/]),
  ['llama', 'rope_parameters', { rope_theta: 10000, rope_type: 'llama3', factor: 8 }, /rope|freq_factor|original_max/],
  ['llama', 'rope_parameters', { rope_theta: 10000, rope_type: 'longrope', short_factor: [1], long_factor: [1, 2] }, /rope|factor/],
  ['llama', 'rope_scaling', { type: 'spiral', factor: 2 }, /rope/],
  ['llama', 'tie_word_embeddings', 'maybe', /tie_word_embeddings/],
  ['llama', 'architectures', ['LlamaForTimeTravel'], /architectures|LlamaForTimeTravel/],
  ['llama', 'auto_map', { AutoModelForCausalLM: 'a--b.C' }, /auto_map/],
  ['llama', 'quantization_config', { quant_method: 'bitsandbytes', load_in_4bit: true }, /quantization_config/],
  ['llama', 'attention_bias', true, /bias/],

  ...[['full_attention'], ['full_attention', 'full_attention', 'full_attention'], ['full_attention', 'sideways'], ['full_attention', 7], 'full_attention'].map((v) =>
    ['qwen2', 'layer_types', v, /layer_types/]),
  ['gemma2', 'layer_types', ['sliding_attention'], /layer_types/],
  ...[-1, 'x', 0.5].map((v) => ['gemma2', 'sliding_window', v, /sliding_window/]),
  ...[-50, 'x'].map((v) => ['gemma2', 'attn_logit_softcapping', v, /attn_logit_softcapping/]),
  ...[-5, '8'].map((v) => ['mistral', 'sliding_window', v, /sliding_window/]),
  ...[5, 0, -4].map((v) => ['gpt2', 'n_head', v, /n_head|heads|n_embd/]),
  ['gpt2', 'n_positions', 127, /wpe|n_positions/],
  ['gpt2', 'activation_function', 'spiral', /activation_function/],
  ...[-1, 7, 'x'].map((v) => ['gpt_neox', 'rope_parameters.partial_rotary_factor', v, /rotary|rope/]),
  ['gpt_neox', 'hidden_act', 'spiral', /hidden_act/],
  ['falcon', 'num_attention_heads', 5, /num_attention_heads|heads|hidden_size/],
  ['falcon', 'new_decoder_architecture', 'x', /new_decoder_architecture/],
  ...[9, 0, -1].map((v) => ['mixtral', 'num_experts_per_tok', v, /num_experts_per_tok|experts/]),
  ...[0, -1, 5, 1e9].map((v) => ['mixtral', 'num_local_experts', v, /expert|block_sparse_moe\.gate/]),
  ['qwen3_moe', 'mlp_only_layers', ['x'], /mlp_only_layers/],
  ['qwen3_moe', 'decoder_sparse_step', 0, /decoder_sparse_step/],

  ...[-8, 'x'].map((v) => ['modernbert', 'local_attention', v, /local_attention/]),
  ['modernbert', 'layer_types', ['full_attention'], /layer_types/],
  ['deberta-v2', 'pos_att_type', ['x2y'], /pos_att_type/],
  ['deberta-v2', 'position_buckets', 1e9, /position_buckets|rel_embeddings/],
  ['mpnet', 'relative_attention_num_buckets', 0, /relative_attention_num_buckets|relative_attention_bias/],
  ['t5', '', { feed_forward_proj: 'gated-spiral', dense_act_fn: undefined, is_gated_act: undefined }, /feed_forward_proj/],
  ['t5', 'dense_act_fn', 'spiral', /dense_act_fn|feed_forward_proj/],
  ...[0, -5, 33].map((v) => ['t5', 'relative_attention_num_buckets', v, /relative_attention/]),
  ...[0, -1, 15].map((v) => ['t5', 'd_kv', v, /d_kv|SelfAttention/]),
  ['bart', 'decoder_attention_heads', 5, /decoder_attention_heads|heads|d_model/],
  ['marian', 'activation_function', 'spiral', /activation_function/],
  ...[1e6, -1, '2'].map((v) => ['whisper', 'encoder_layers', v, /encoder_layers/]),
  ...[5, 0].map((v) => ['whisper', 'decoder_attention_heads', v, /decoder_attention_heads|heads/]),
  ['whisper', 'num_mel_bins', 81, /conv1|num_mel_bins/],
  ['whisper', 'd_model', 1e9, /d_model/],
  ['whisper', 'max_source_positions', 4e9, /max_source_positions/],
  ['whisper', 'activation_function', 'spiral', /activation_function/],
  ['whisper', 'quantization_config', { bits: 8 }, /quantization_config/],
  ...[0, -8, 7, '8'].map((v) => ['vit', 'patch_size', v, /patch/]),
  ...[0, 1e9, 40].map((v) => ['vit', 'image_size', v, /image_size|position_embeddings/]),
  ['vit', 'num_channels', -3, /num_channels/],
  ['clip', 'text_config', undefined, /text_config/],
  ['clip', 'vision_config', 7, /vision_config/],
  ['clip', 'vision_config.patch_size', 0, /patch_size/],
  ['clip', 'text_config.num_attention_heads', 5, /num_attention_heads|heads|hidden_size/],
  ['siglip', 'vision_config.hidden_act', 'spiral', /hidden_act/],
  ['wav2vec2', 'conv_kernel', [10, 3], /conv_/],
  ['wav2vec2', 'conv_stride', [5, 2, 2, 2, 2, 2, 0], /conv_stride/],
  ['wav2vec2', 'conv_dim', [32, 32, 32, 32, 32, 32, 1e9], /conv_/],
  ['wav2vec2', 'feat_extract_norm', 'odd', /feat_extract_norm/],
  ...[0, 5].map((v) => ['wav2vec2', 'num_conv_pos_embedding_groups', v, /num_conv_pos_embedding|pos_conv_embed|among \d+ groups/]),
];

const shown = (value) => (value === undefined ? 'missing' : JSON.stringify(value).slice(0, 60));

for (const fixture of new Set(settings.map(([name]) => name))) {
  test(`config.json of ${fixture}`, async (t) => {
    for (const [, key, value, names] of settings.filter(([name]) => name === fixture)) {
      await t.test(`${key}: ${shown(value)}`, () => hostile(fixture, names, (dir) => {
        const config = JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8'));
        const path = key.split('.'), last = path.pop();
        if (key) path.reduce((object, part) => object[part], config)[last] = value;
        else Object.assign(config, value);
        writeFileSync(join(dir, 'config.json'), JSON.stringify(config));
      }));
    }
  });
}

const good = (fixture) => readFileSync(join(fixtures, fixture, 'config.json'), 'utf8');
const texts = {
  'empty': '', 'no object': '[]', 'a number': '7', 'cut off': good('bert').slice(0, 200), 'behind the end': `${good('bert')}{}`,
  'NaN': good('bert').replace('1e-12', 'NaN'), 'deep': '{"a":'.repeat(100000), 'deep lists': `{"a":${'['.repeat(200000)}`,
  'not UTF-8': Buffer.concat([Buffer.from('{"model_type": "bert", "x": "'), Buffer.from([0xff, 0xc0, 0x80]), Buffer.from('"}')]),
  'big': `{"model_type": "bert", "x": "${'y'.repeat(8 << 20)}"}`, 'many keys': `{${Array.from({ length: 300000 }, (_, i) => `"k${i}":1`)}}`,
  'NULs': '\0'.repeat(1000), 'key twice': good('bert').replace('{', '{"hidden_size": 32,'),
};
test('config.json as a text', async (t) => {
  for (const [what, text] of Object.entries(texts)) {
    await t.test(what, () => hostile('bert', /config\.json/, (dir) => writeFileSync(join(dir, 'config.json'), text)));
  }
  await t.test('missing', () => hostile('bert', /config\.json/, (dir) => rmSync(join(dir, 'config.json'))));
});

// ---- safetensors ----

const NAME = 'encoder.layer.1.output.dense.weight';
const NAMES = /encoder\.layer\.1\.output\.dense\.weight/;

// The header of bert's file as an object, its bytes, and the file made of what `change` leaves of them.
function headed(change) {
  return (dir) => {
    const file = readFileSync(join(dir, 'model.safetensors')), length = Number(file.readBigUInt64LE(0));
    const header = JSON.parse(file.toString('utf8', 8, 8 + length)), data = file.subarray(8 + length);
    const made = change(header, data, file);
    writeFileSync(join(dir, 'model.safetensors'), Buffer.isBuffer(made) ? made : fileOf(JSON.stringify(header), data));
  };
}
const sized = (length) => headed((_, __, file) => {
  const made = Buffer.from(file);
  made.writeBigUInt64LE(BigInt(length));
  return made;
});
const texted = (change) => headed((header, data) => fileOf(change(JSON.stringify(header)), data));
const tensor = (change) => headed((header) => void change(header[NAME], header));
const first = (header) => Object.entries(header).filter(([name]) => name !== '__metadata__').sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0])[0][1];

// The header's own small alphabet refuses these before it knows of tensors.
const LETTER = /model\.safetensors: header: character 0x.. at byte \d+/;
const header = /model\.safetensors.*header|model\.safetensors.*bytes|model\.safetensors.*line/;
const files = {
  ...Object.fromEntries([0, 1, 2, 7].map((n) => [`${n} bytes`, [/model\.safetensors/, (dir) => writeFileSync(join(dir, 'model.safetensors'), Buffer.alloc(n))]])),
  ...Object.fromEntries(['0', '1', '2', '313777', '313785', '2147483648', '9223372036854775808', '18446744073709551615', '100000001'].map((n) => [`length ${n}`, [header, sized(n)]])),
  'not safetensors': [/model\.safetensors/, (dir) => writeFileSync(join(dir, 'model.safetensors'), 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n')],
  'a pickle': [/model\.safetensors/, (dir) => writeFileSync(join(dir, 'model.safetensors'), Buffer.from('80024b2a2e', 'hex'))],
  'deep header': [/model\.safetensors/, (dir) => writeFileSync(join(dir, 'model.safetensors'), fileOf('{"a":'.repeat(100000)))],
  'space before it': [header, texted((text) => ` ${text}`)],
  'byte order mark': [header, texted((text) => `\ufeff${text}`)],
  'behind the header': [header, texted((text) => `${text}x`)],
  'bad UTF-8': [header, headed((h, data) => {
    const made = fileOf(JSON.stringify(h), data);
    made[made.indexOf('layer')] = 0xff;
    return made;
  })],
  'lone surrogate': [header, texted((text) => text.replace(NAME, '\\ud800'))],
  'metadata is a list': [/__metadata__/, headed((h) => { h.__metadata__ = []; })],
  'metadata is no text': [/__metadata__/, headed((h) => { h.__metadata__ = { format: 7 }; })],
  'bytes behind': [/behind|model\.safetensors/, headed((h, data) => fileOf(JSON.stringify(h), Buffer.concat([data, Buffer.from('PK\x05\x06')])))],
  'cut off': [/model\.safetensors/, headed((h, data) => fileOf(JSON.stringify(h), data.subarray(0, -100)))],
  'hole': [/tensor|hole/, headed((h, data) => {
    for (const [name, t] of Object.entries(h)) if (name !== '__metadata__') t.data_offsets = t.data_offsets.map((n) => n + 4);
    return fileOf(JSON.stringify(h), Buffer.concat([Buffer.alloc(4), data]));
  })],
  'overlap': [/tensor/, tensor((t, h) => { t.data_offsets = first(h).data_offsets.map((n, i) => (i ? n - n + t.data_offsets[1] - t.data_offsets[0] : 0)); })],
  'range backwards': [NAMES, tensor((t) => t.data_offsets.reverse())],
  'range past the end': [NAMES, tensor((t) => { t.data_offsets = [2 ** 40, 2 ** 40 + 24576]; })],
  'range negative': [LETTER, tensor((t) => { t.data_offsets = [-24576, 0]; })],
  'range of texts': [NAMES, tensor((t) => { t.data_offsets = ['0', '4']; })],
  'range of one': [NAMES, tensor((t) => { t.data_offsets = [0]; })],
  'no range': [NAMES, tensor((t) => delete t.data_offsets)],
  'shape overflows': [NAMES, tensor((t) => { t.shape = [4294967296, 4294967296]; })],
  'shape overflows late': [NAMES, tensor((t) => { t.shape = [2 ** 53 - 1, 4096]; })],
  'shape negative': [LETTER, tensor((t) => { t.shape = [-64, -96]; })],
  'shape of fractions': [LETTER, tensor((t) => { t.shape = [64.5, 96]; })],
  'shape of texts': [NAMES, tensor((t) => { t.shape = ['64', '96']; })],
  'shape of nulls': [LETTER, tensor((t) => { t.shape = [null, 96]; })],
  'shape of another size': [NAMES, tensor((t) => { t.shape = [64, 95]; })],
  'shape turned': [NAMES, tensor((t) => t.shape.reverse())],
  'shape flat': [NAMES, tensor((t) => { t.shape = [64 * 96]; })],
  'shape of 40 dimensions': [NAMES, tensor((t) => { t.shape = [...Array(38).fill(1), 64, 96]; })],
  'no shape': [NAMES, tensor((t) => delete t.shape)],
  'dtype unknown': [NAMES, tensor((t) => { t.dtype = 'F33'; })],
  'dtype a number': [NAMES, tensor((t) => { t.dtype = 32; })],
  'dtype of whole numbers': [NAMES, tensor((t) => { t.dtype = 'I32'; })],
  'tensor is a number': [NAMES, headed((h) => { h[NAME] = 7; })],
  'tensor missing': [NAMES, headed((h, data) => {
    const all = [];
    let at = 0;
    for (const [name, t] of Object.entries(h).filter(([name]) => name !== '__metadata__')) {
      const [from, to] = t.data_offsets;
      if (name === NAME) delete h[name];
      else {
        all.push(data.subarray(from, to));
        t.data_offsets = [at, at += to - from];
      }
    }
    return fileOf(JSON.stringify(h), Buffer.concat(all));
  })],
  'name twice': [/twice/, texted((text) => text.replace('encoder.layer.0.output.dense.weight', NAME))],
  'name of 5000 letters': [/name/, texted((text) => text.replace(NAME, 'n'.repeat(5000)))],
  'name with an escape': [/encoder\.layer\.1\.output/, texted((text) => text.replace(NAME, '\\u001b[2J\\n'))],
};
// One tensor in another type, its bytes made to fit.
for (const [dtype, size] of [['F8_E4M3', 1], ['I8', 1], ['BOOL', 1], ['I64', 8]]) {
  files[`${dtype} for a weight`] = [NAMES, (dir) => {
    const weights = readWeights(join(dir, 'model.safetensors')), t = weights.tensors.get(NAME);
    weights.tensors.set(NAME, { dtype, shape: t.shape, data: Buffer.alloc(t.data.length / 4 * size) });
    writeWeights(join(dir, 'model.safetensors'), weights);
  }];
}
for (const [what, [names, damage]] of Object.entries(files)) {
  test(`safetensors: ${what}`, () => hostile('bert', names, damage));
}

test('safetensors: a header of a million tensors is read or refused in time and space', () => {
  const header = Array.from({ length: 1000000 }, (_, i) => `"t${i}":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`);
  const from = performance.now(), dir = join(own.home, 'million');
  mkdirSync(dir);
  copyFileSync(join(fixtures, 'bert/config.json'), join(dir, 'config.json'));
  writeFileSync(join(dir, 'model.safetensors'), fileOf(`{${header}}`));
  assert.equal(hangar('add', dir, '--as', 'bad/million').status, 0);
  refused(hangar('convert', 'bad/million'), /model\.safetensors|embeddings/, 'convert');
  assert.ok(performance.now() - from < 60000);
});

test('a number that is none in a weight: no conversion of it passes', () => {
  for (const [name, key] of [['bert', NAME], ['whisper', 'model.decoder.layers.1.fc1.weight'], ['llama', 'model.layers.1.mlp.up_proj.weight']]) {
    for (const value of [NaN, Infinity]) {
      const from = join(own.home, `nan-${name}`), ref = `nan/${name}-${String(value).toLowerCase()}`;
      cpSync(join(fixtures, name), from, { recursive: true });
      rmSync(join(from, 'reference.json'));
      const weights = readWeights(join(from, 'model.safetensors'));
      weights.tensors.get(key).data.writeFloatLE(value, 16);
      writeWeights(join(from, 'model.safetensors'), weights);
      assert.equal(own.hangar(['add', from, '--as', ref]).status, 0);
      const made = own.hangar(['convert', ref]);
      const judged = made.status === 0 ? own.hangar(['validate', ref]) : made;
      assert.equal(judged.status, 6, `${ref}: ${judged.stdout}${judged.stderr}`);
      assert.equal(judged.signal, null);
      rmSync(from, { recursive: true });
    }
  }
});

// ---- the index of several files ----

const INDEX = 'model.safetensors.index.json';
const indexed = (change) => (dir) => {
  writeSharded(dir, readWeights(join(dir, 'model.safetensors')));
  rmSync(join(dir, 'model.safetensors'));
  const index = JSON.parse(readFileSync(join(dir, INDEX), 'utf8'));
  const made = change(index, dir);
  if (made !== null) writeFileSync(join(dir, INDEX), typeof made === 'string' ? made : JSON.stringify(index));
};
const leads = (to) => [/index\.json|\.safetensors/, indexed((index) => { index.weight_map[NAME] = to; })];
const indexes = {
  ...Object.fromEntries(['../../../../etc/passwd', '/etc/passwd', 'a/../model-00001-of-00003.safetensors', './model-00001-of-00003.safetensors', '', '.', 'model.bin',
    'model-00009-of-00003.safetensors', 'model\\..\\x.safetensors', 'x'.repeat(5000), 7, null, []].map((to) => [`leads to ${shown(to)}`, leads(to)])),
  'leads to another of the files': [NAMES, indexed((index) => {
    index.weight_map[NAME] = Object.values(index.weight_map).find((file) => file !== index.weight_map[NAME]);
  })],
  'knows a tensor that is nowhere': [/no\.such\.tensor/, indexed((index) => { index.weight_map['no.such.tensor'] = 'model-00001-of-00003.safetensors'; })],
  'has no map': [/weight_map|index\.json/, indexed((index) => void delete index.weight_map)],
  'map is a list': [/weight_map|index\.json/, indexed((index) => { index.weight_map = []; })],
  'map is empty': [/weight_map|index\.json/, indexed((index) => { index.weight_map = {}; })],
  'is no JSON': [/index\.json/, indexed(() => '{')],
  'is deep': [/index\.json/, indexed(() => '{"a":'.repeat(100000))],
  'names 20000 files': [/index\.json|files/, indexed((index) => {
    for (let i = 0; i < 20000; i++) index.weight_map[`t${i}`] = `f${i}.safetensors`;
  })],
  'one file is missing': [/model-00002-of-00003\.safetensors/, indexed((_, dir) => void rmSync(join(dir, 'model-00002-of-00003.safetensors')))],
  'one file is damaged': [/model-00002-of-00003\.safetensors/, indexed((_, dir) => void writeFileSync(join(dir, 'model-00002-of-00003.safetensors'), 'x'.repeat(100)))],
  'two files have the same tensor': [/tensor|twice|embeddings|encoder/, indexed((_, dir) => {
    copyFileSync(join(dir, 'model-00001-of-00003.safetensors'), join(dir, 'model-00003-of-00003.safetensors'));
  })],
};
for (const [what, [names, damage]] of Object.entries(indexes)) {
  test(`index: ${what}`, () => hostile('bert', names, damage));
}

// ---- what lies beside ----

test('no option makes a damaged file pass', () => {
  const from = join(own.home, 'flags');
  cpSync(join(fixtures, 'bert'), from, { recursive: true });
  files['overlap'][1](from);
  assert.equal(hangar('add', from, '--as', 'bad/flags').status, 0);
  const ways = [[], ['--out', join(own.home, 'flagged')]];
  const flags = [[], ['--copy'], ['--link'], ['--reflink'], ['--opset', '21'], ['--style', 'portable'], ['--opset', '20', '--style', 'portable', '--copy']];
  for (const way of ways) {
    for (const flag of way.length ? flags : flags.filter((list) => !list.some((word) => /--(copy|link|reflink)/.test(word)))) {
      refused(hangar('convert', 'bad/flags', ...way, ...flag), files['overlap'][0], `convert ${[...way, ...flag].join(' ')}`);
    }
  }
  assert.equal(existsSync(join(own.home, 'flagged')), false);
});

test('weights that only Python can read are refused, and its code does not travel', () => {
  const from = join(own.home, 'code'), out = join(own.home, 'coded');
  mkdirSync(join(from, 'sub'), { recursive: true });
  copyFileSync(join(fixtures, 'bert/config.json'), join(from, 'config.json'));
  const canary = { 'pytorch_model.bin': 'x', 'evil.pkl': 'x', 'modeling_bert.py': 'raise SystemExit', 'sub/None.py': 'x', 'handler.py': 'x', 'run.sh': 'x' };
  for (const [name, text] of Object.entries(canary)) writeFileSync(join(from, name), text);
  assert.equal(hangar('add', from, '--as', 'bad/code').status, 0);
  refused(hangar('convert', 'bad/code', '--out', out), /pickles \(pytorch_model\.bin\).*only safetensors are converted/, 'convert');
  copyFileSync(join(fixtures, 'bert/model.safetensors'), join(from, 'model.safetensors'));
  assert.equal(hangar('add', from, '--as', 'bad/code').status, 0);
  assert.equal(own.hangar(['convert', 'bad/code', '--out', out]).status, 0);
  assert.deepEqual(below(out).sort(), ['config.json', 'onnx', 'onnx/model.onnx', 'onnx/model.safetensors']);
});

test('a link out of the folder is not taken in, a link in place of --out is not followed', () => {
  const from = join(own.home, 'links');
  cpSync(join(fixtures, 'bert'), from, { recursive: true });
  symlinkSync('/etc/passwd', join(from, 'vocab.txt'));
  assert.match(refused(hangar('add', from, '--as', 'bad/links'), /vocab\.txt/, 'add'), /link/);
  rmSync(join(from, 'vocab.txt'));
  assert.equal(hangar('add', from, '--as', 'bad/links').status, 0);
  mkdirSync(join(own.home, 'aim'));
  for (const to of ['aim', 'nowhere']) {
    symlinkSync(join(own.home, to), join(own.home, `to-${to}`));
    assert.notEqual(hangar('convert', 'bad/links', '--out', join(own.home, `to-${to}`)).status, 0);
    assert.deepEqual(below(join(own.home, to)), []);
    assert.equal(existsSync(join(own.home, 'nowhere')), false);
  }
});

test('nothing that was refused is listed as converted', () => {
  const { status, stdout } = own.hangar(['ls', '--json']);
  assert.equal(status, 0);
  assert.doesNotMatch(stdout, /"bad\/m\d+"[^}]*"onnx"/);
  assert.deepEqual(artifacts('m'), []); // nor as empty folders
});
