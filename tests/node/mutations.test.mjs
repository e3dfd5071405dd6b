// SPDX-License-Identifier: Apache-2.0
// ctest: long
// Errors planted in the program that builds the graphs: `hangar convert` must refuse what such a program makes, with no reference.json in
// the repository, and show nothing of it. Each mutation is one change of a text that stands once in one source file; the file is compiled
// anew and linked before the build's own libraries, so that the linker takes it instead of theirs.
import test from 'node:test';
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { ownHangar, program, runners } from '../support/models.mjs';
import { readWeights, writeWeights } from '../support/weights.mjs';

const run = promisify(execFile);
const top = process.env.HANGAR_TOP, build = process.env.HANGAR_BUILD;
const fixtures = join(top, 'tests/fixtures/arch');
const own = ownHangar('mutations');
test.after(own.remove);

// ---- the changes ----

const dec = 'src/convert/arch/decoder.c', enc = 'src/convert/arch/encoder.c', att = 'src/graph/ops_attention.c';
const seq = 'src/convert/arch/seq2seq.c', whisper = 'src/convert/arch/whisper.c', silence = 'src/convert/arch/silence.c', codes = 'src/convert/quant/codes.c';
const portable = ['--style', 'portable'], form = (name) => ['--form', name];

// [what, model, the check that must fail first, file, from, to, options of convert]
const mutations = [
  // decoders
  ['gate and up are swapped', 'llama', 'independent', dec,
    'hg_op_mul(b->g, "gated", hg_op_act(b->g, "act", gate, d->act), up)', 'hg_op_mul(b->g, "gated", hg_op_act(b->g, "act", up, d->act), gate)'],
  ['gate and up are swapped', 'phi3', 'independent', 'src/convert/arch/phi3.c', 'hg_op_mul(b->g, "gated", up, hg_op_act(b->g, "act", gate, d->act))', 'hg_op_mul(b->g, "gated", gate, hg_op_act(b->g, "act", up, d->act))'],
  ['the scale of scores is forgotten', 'llama', 'independent', att,
    'return gqa_written_out(g, name, a, a->scale != 0 ? a->scale : 1 / sqrt((double)a->head_dim));', 'return gqa_written_out(g, name, a, a->scale != 0 ? a->scale : 1);', portable],
  ['query_pre_attn_scalar is forgotten', 'gemma2', 'independent', dec, 'd->scale = 1 / sqrt(hg_hfconfig_f64(c, "query_pre_attn_scalar", 256, 1e-6, 1e6));',
    '(void)hg_hfconfig_f64(c, "query_pre_attn_scalar", 256, 1e-6, 1e6);'],
  ['neighbours turn instead of halves', 'llama', 'independent', att,
    'hg_node_int(g, n, "num_heads", r->dim < head_dim ? heads : 0);', 'hg_node_int(g, n, "num_heads", r->dim < head_dim ? heads : 0); hg_node_int(g, n, "interleaved", 1);'],
  ['keys do not turn', 'qwen3', 'independent', dec, 'a.k = hg_op_rotate(b->g, "key_turned", a.k, r, d->kv_heads, d->head_dim);', ''],
  ['one half turns the wrong way', 'mistral', 'independent', att, 'hg_op_add(g, hg_op_join(part, name, "second"), c, d)', 'hg_op_sub(g, hg_op_join(part, name, "second"), c, d)', portable],
  ['the wrong share of a head turns', 'gpt_neox', 'independent', 'src/convert/arch/rope.c', 'return pow(r->theta, -2.0 * j / r->dim);', 'return pow(r->theta, -2.0 * j / r->head_dim);'],
  ['norms do not count from 1', 'gemma', 'independent', 'src/convert/arch/gemma.c', '{.norm_plus = 1, .counted = true}', '{.counted = true}'],
  ['embeddings are not scaled', 'gemma', 'independent', 'src/convert/arch/gemma.c', 'd.embed_scale = sqrt(d.width);', ''],
  ['another eps', 'llama', 'independent', dec, 'd->eps = hg_hfconfig_f64(c, def->eps_key ? def->eps_key : "rms_norm_eps", def->eps, 0, 1);',
    'd->eps = 10 * hg_hfconfig_f64(c, def->eps_key ? def->eps_key : "rms_norm_eps", def->eps, 0, 1);'],
  ['a residual is dropped', 'llama', 'independent', 'src/convert/arch/blocks.c',
    'hg_value *n = hg_block_add_rms_norm(b, name, s->x, s->y, size, eps, plus, last ? NULL : &s->x);',
    'hg_value *n = hg_block_rms_norm(b, name, s->y, size, eps, plus); if (!last) s->x = s->y;'],
  ['places begin one too early', 'opt', 'independent', 'src/convert/arch/opt.c', 'hg_graph_int(b->g, FIRST_ROW)', 'hg_graph_int(b->g, FIRST_ROW - 1)'],
  ['what comes later is seen', 'llama', 'cache', att, 'hg_value *seen = hg_op_compare(g, "LessOrEqual", hg_op_join(part, name, "seen"), c->column, c->row);',
    'hg_value *seen = hg_op_compare(g, "GreaterOrEqual", hg_op_join(part, name, "seen"), c->column, hg_graph_int(g, 0));', portable],
  ['padding is seen', 'llama', 'padding', att, 'hg_op_cast(g, "keys", mask, HG_ONNX_BOOL)',
    'hg_op_cast(g, "keys", hg_op_binary(g, "Max", "all_keys", mask, hg_graph_int(g, 1)), HG_ONNX_BOOL)'],
  ['the soft cap is forgotten', 'gemma2', 'independent', att, 'if (a->soft_cap > 0) hg_node_float(g, n, "softcap", (float)a->soft_cap);', ''],
  ['weights of experts are not normalized', 'mixtral', 'independent', 'src/convert/arch/mixtral.c', '.normalized = true', '.normalized = false'],
  ['an untied head takes the table of words', 'llama', 'independent', dec, 'bool tied = d->tied || !hg_block_has(b, own);', 'bool tied = true;'],
  ['a norm is skipped', 'qwen3', 'independent', dec, 'k = hg_decoder_qk_norm(d, b, "k_norm", k, d->kv_heads);', ''],
  ['the exact gelu for the approximate one', 'gemma', 'independent', 'src/convert/arch/gemma.c', 'd->act = named ?', 'd->act = true ? HG_ACT_GELU : named ?'],
  // encoders
  ['query and key are swapped', 'bert', 'independent', enc,
    '.query = "attention.self.query",\n                                          .key = "attention.self.key",', '.query = "attention.self.key", .key = "attention.self.query",'],
  ['padding is seen', 'bert', 'padding', enc, '.mask = e->mask, .bias = e->bias}', '.bias = e->bias}'],
  ['types of tokens are not looked at', 'bert', 'independent', enc, 'hg_block_embed(b, "token_type_embeddings", e->kinds, e->types, size)',
    'hg_block_row(b, "token_type_embeddings.weight", 0, e->types, size)'],
  ['another eps', 'bert', 'independent', enc, 'e->eps = hg_hfconfig_f64(c, "layer_norm_eps", 1e-12, 0, 1);', '(void)hg_hfconfig_f64(c, "layer_norm_eps", 1e-12, 0, 1); e->eps = 1e-5;'],
  ['a residual is dropped', 'distilbert', 'independent', enc, 'x = hg_block_add_norm(b, n->mixed_norm, y, x, e->width, e->eps, NULL);', 'x = hg_block_norm(b, n->mixed_norm, y, e->width, e->eps);'],
  ['places begin one too early', 'roberta', 'independent', enc, 'count = hg_op_add(b->g, "ids", count, first);', '(void)first;'],
  ['relu for gelu', 'bert', 'independent', enc, 'y = hg_op_act(b->g, n->act, y, e->act);\n    y = hg_block_linear(b, n->down', 'y = hg_op_act(b->g, n->act, y, HG_ACT_RELU);\n    y = hg_block_linear(b, n->down'],
  ['before and after are swapped', 'mpnet', 'independent', 'src/convert/arch/mpnet.c', '(apart < 0 ? EACH : 0)', '(apart > 0 ? EACH : 0)'],
  ['far buckets are wrong', 'mpnet', 'independent', 'src/convert/arch/mpnet.c', '#define FAR   128', '#define FAR   256'],
  ['distances are turned', 'deberta-v2', 'independent', enc, 'of_k = far_part(e, b, "of_key", f, k, key_table, f->turned);', 'of_k = far_part(e, b, "of_key", f, k, key_table, f->apart);'],
  ['gate and input are swapped', 'modernbert', 'independent', 'src/convert/arch/modernbert.c', 'hg_op_mul(b->g, "mlp.gated", hg_op_act(b->g, "mlp.act", up, e->act), gate)',
    'hg_op_mul(b->g, "mlp.gated", hg_op_act(b->g, "mlp.act", gate, e->act), up)'],
  ['all layers turn alike', 'modernbert', 'independent', 'src/convert/arch/modernbert.c', '&m->turn[local], e->heads', '&m->turn[0], e->heads'],
  ['a window is one too wide', 'modernbert', 'independent', 'src/convert/arch/modernbert.c', 'hg_graph_int(g, m->window)', 'hg_graph_int(g, m->window + 1)'],
  // encoder-decoders
  ['places are not added', 'whisper', 'independent', whisper, 'x = hg_op_add(g, "add_positions", x, places);', '(void)places;'],
  ['a sample of silence counts once', 'whisper', 'drift', silence, 'hg_graph_real_of(g, log((double)every))', 'hg_graph_real_of(g, 0)', form('f32-short')],
  ['a sample of silence counts too much', 'whisper', 'drift', silence, 'log((double)every)', 'log(2.0 * (double)every)', form('f32-short')],
  ['the sound ends too early', 'whisper', 'drift', silence, 'list_of(b, positions - REACH - MARGIN)', 'list_of(b, positions + 8)', form('f32-short')],
  ['the decoder forgets how far it is', 'whisper', 'cache', whisper, 'hg_block_positions(b, "embed_positions", m->s.begin, m->s.end, m->target, m->s.width)',
    'hg_block_positions(b, "embed_positions", hg_graph_ints(b->g, &(const int64_t){0}, 1), hg_op_shape(b->g, "own_length", m->s.ids, 1, 2), m->target, m->s.width)'],
  ['the first layer gives no activation', 'whisper', 'independent', whisper, 'hg_block_conv3(b, "conv2", hg_op_act(g, "conv1.act", x, m->encoder.act), width, width, 2)', 'hg_block_conv3(b, "conv2", x, width, width, 2)'],
  ['the last norm is skipped', 'whisper', 'independent', whisper, 'hg_value *h = hg_block_stream_norm(b, "layer_norm", &s, width, EPS, true);', 'hg_value *h = hg_op_add(g, "layer_norm", s.x, s.y);'],
  ['the approximate gelu for the exact one', 'whisper', 'independent', whisper, '.act = hg_block_act(c, "activation_function", "gelu")', '.act = (hg_block_act(c, "activation_function", "gelu"), HG_ACT_GELU_NEW)'],
  ['another eps', 'whisper', 'independent', whisper, '#define EPS 1e-5', '#define EPS 1e-6'],
  ['keys and values of the cache are swapped', 'whisper', 'cache', seq, '.k = c->cross_k, .v = c->cross_v', '.k = c->cross_v, .v = c->cross_k'],
  ['the decoder sees what comes later', 'whisper', 'cache', seq, 'a.causal = true;', ''],
  ['scores are scaled', 't5', 'independent', 'src/convert/arch/t5.c', 'm->s.scale = 1;', ''],
  ['far buckets are wrong', 't5', 'independent', 'src/convert/arch/t5.c', 'uint32_t exact = count / 2;', 'uint32_t exact = count / 4;'],
  ['padding is seen', 'bart', 'padding', seq, 'a.mask = s->mask;', ''],
  // forms
  ['the other half of a byte first', 'llama', 'weights', codes, 'two | two >> 4', 'two << 4 | two >> 8', form('int4')],
  ['the middle is one off', 'bert', 'weights', codes, 'nearest(w[i] * inverse) + middle;', 'nearest(w[i] * inverse) + middle + 1;', form('int4')],
  ['scales are half of what they are', 'llama', 'weights', codes, 'scale = most / 127;', 'scale = most / 254;', form('int8')],
  ['scales of 8 bits have the wrong sign', 'whisper', 'weights', codes, 'float scale = largest(w, n) / (float)-middle;\n    float inverse = scale != 0 ? 1 / scale : 0;',
    'float scale = largest(w, n) / (float)middle;\n    float inverse = scale != 0 ? -1 / scale : 0;', form('int8-blocks')],
  ['scales are one step too small', 'qwen2', 'weights', codes, 'scale = most / 127;', 'scale = most / 128;', form('int8')],
  ['bytes are turned by halves only', 'gpt2', 'weights', codes, 's < 3;', 's < 2;', form('int8')],
  ['a part of packed rows is another one', 'phi3', 'weights', 'src/convert/quant/quant.c', '{w->tensor, w->file, w->out, w->in, w->first, w->turned}', '{w->tensor, w->file, w->out, w->in, 0, w->turned}', form('int4')],
  ['the scale of what is multiplied is forgotten', 'bert', 'batch', 'src/convert/quant/quant.c', 'scale = hg_op_mul(g, part, scales, scale);', '(void)scale; scale = scales;', [...form('int8'), ...portable]],
  ['the bias of blocks is forgotten', 'whisper', 'drift', 'src/convert/quant/quant.c', '"MatMulNBits", name, in, bias ? 6 : 3, 1)', '"MatMulNBits", name, in, 3, 1)', form('int8-blocks')],
  ['small halves are cut off', 'bert', 'weights', codes, 'uint32_t h = m < bits_of(0x1p-14f) ? small : normal - (112u << 10);', 'uint32_t h = m < bits_of(0x1p-6f) ? 0 : normal - (112u << 10); (void)small;', form('f16')],
];

// Scores of a random model never come near the soft cap that a trained one needs: these weights make them large.
const strong = { gemma2: /q_proj/ };
const stronger = ({ dtype, shape, data }) => {
  const made = Buffer.alloc(data.length);
  for (let i = 0; i < data.length; i += 4) made.writeFloatLE(100 * data.readFloatLE(i), i);
  return { dtype, shape, data: made };
};

// ---- mutated programs ----

const commands = new Map(JSON.parse(readFileSync(join(build, 'compile_commands.json'), 'utf8')).map(({ file, command }) => [file, command]));
const linked = execFileSync('ninja', ['-C', build, '-t', 'commands', 'hangar-runner-convert'], { encoding: 'utf8', maxBuffer: 1 << 26 }).trim().split('\n').at(-1);

// The folder of runners with `source` (a text for `file`) in the one that converts.
async function mutant(name, file, source) {
  const dir = join(own.home, name), object = join(dir, 'changed.o'), changed = join(dir, basename(file));
  mkdirSync(dir);
  writeFileSync(changed, source);
  const words = commands.get(join(top, file)).split(/\s+/).map((word, i, all) =>
    word === join(top, file) ? changed : all[i - 1] === '-o' ? object : word === '-Werror' ? '-w' : word === '-O2' ? '-O1' : word);
  await run(words[0], words.slice(1), { cwd: build });
  const link = linked.replace(/ -o hangar-runner-convert /, ` -o ${join(dir, 'hangar-runner-convert')} ${object} `);
  assert.notEqual(link, linked);
  await run('sh', ['-c', link], { cwd: build });
  symlinkSync(join(runners, 'hangar-runner-onnx'), join(dir, 'hangar-runner-onnx'));
  rmSync(object);
  return dir;
}

// { status, stderr, card } of `hangar convert`.
async function convert(dir, model, options, home = 'home') {
  const env = { ...own.env, HANGAR_HOME: join(dir, home), HANGAR_RUNNERS: dir };
  const got = await run(program, ['convert', `test/${model}`, ...options, '--json'], { env, timeout: 120000 }).then(
    ({ stdout, stderr }) => ({ status: 0, stdout, stderr }), ({ code, stdout, stderr }) => ({ status: code, stdout, stderr }));
  return { ...got, doc: JSON.parse(got.stdout.trim().split('\n').at(-1)) };
}

const artifacts = (dir) => (existsSync(join(dir, 'home/artifacts')) ? readdirSync(join(dir, 'home/artifacts'), { recursive: true }) : []);

for (const model of new Set(mutations.map(([, name]) => name))) {
  const from = join(own.home, 'from', model);
  mkdirSync(from, { recursive: true });
  for (const file of ['config.json', 'generation_config.json']) {
    if (existsSync(join(fixtures, model, file))) copyFileSync(join(fixtures, model, file), join(from, file));
  }
  const weights = readWeights(join(fixtures, model, 'model.safetensors'));
  for (const [name, tensor] of weights.tensors) if (strong[model]?.test(name)) weights.tensors.set(name, stronger(tensor));
  writeWeights(join(from, 'model.safetensors'), weights);
  const got = own.hangar(['add', from, '--as', `test/${model}`]);
  assert.equal(got.status, 0, got.stderr);
}

test('without an error all of these convert', { concurrency: 2 }, async (t) => {
  const dir = await mutant('control', dec, readFileSync(join(top, dec), 'utf8'));
  const kinds = new Map(mutations.map(([, model, , , , , options = []]) => [[model, ...options].join(' '), { model, options }]));
  await Promise.all([...kinds].map(([name, { model, options }], i) => t.test(name, async () => {
    const { status, doc, stderr } = await convert(dir, model, options, `home-${i}`);
    assert.equal(status, 0, `${JSON.stringify(doc).slice(0, 1500)} ${stderr}`);
    assert.equal(doc.proof.ok, true);
  })));
});

// A graph that is sound, but of another model: the same weights with other angles.
test('validate refuses a graph that is not the model', async () => {
  const change = (name, theta) => {
    const from = join(own.home, 'from', name), config = JSON.parse(readFileSync(join(fixtures, 'llama/config.json'), 'utf8'));
    mkdirSync(from, { recursive: true });
    config.rope_parameters.rope_theta = theta;
    writeFileSync(join(from, 'config.json'), JSON.stringify(config));
    copyFileSync(join(fixtures, 'llama/model.safetensors'), join(from, 'model.safetensors'));
    for (const args of [['add', from, '--as', `test/${name}`], ['convert', `test/${name}`]]) own.result(args);
    const home = join(own.env.HANGAR_HOME, 'artifacts', `models--test--${name}`);
    return join(home, readdirSync(home)[0], 'onnx/model.onnx');
  };
  const mine = change('mine', 10000), other = change('other', 9000);
  assert.equal(own.hangar(['validate', 'test/mine']).status, 0);
  copyFileSync(other, mine);
  const got = own.hangar(['validate', 'test/mine', '--json']), doc = own.last(got);
  assert.equal(got.status, 6, got.stdout);
  assert.match(JSON.stringify(doc), /checks failed, first independent |"name":"independent","ok":false/);
});

// A weight that is no number: told by what comes out where weights stay as they lie, by name where they are written anew.
test('a weight that is no number is refused', () => {
  const name = 'encoder.layer.0.output.dense.weight';
  for (const [what, bits] of [['NaN', 0x7fc00000], ['infinity', 0x7f800000]]) {
    const from = join(own.home, 'from', `no-number-${what}`), weights = readWeights(join(fixtures, 'bert/model.safetensors'));
    mkdirSync(from, { recursive: true });
    copyFileSync(join(fixtures, 'bert/config.json'), join(from, 'config.json'));
    const tensor = weights.tensors.get(name), data = Buffer.from(tensor.data);
    data.writeUInt32LE(bits, 40);
    weights.tensors.set(name, { ...tensor, data });
    writeWeights(join(from, 'model.safetensors'), weights);
    own.result(['add', from, '--as', `test/${what}`]);
    const got = own.hangar(['convert', `test/${what}`, '--json']), doc = own.last(got);
    assert.equal(got.status, 6, got.stdout);
    const { proof } = doc.proof ? doc : JSON.parse(got.stdout.trim().split('\n').find((line) => line.includes('"proof"')));
    const finite = proof.checks.find((check) => check.name === 'finite');
    assert.equal(finite.ok, false);
    assert.ok(finite.value > 0);
    for (const kind of ['f32-own', 'f16', 'int8', 'int8-blocks', 'int4']) {
      const formed = own.hangar(['convert', `test/${what}`, '--form', kind]);
      assert.equal(formed.status, 6, formed.stderr);
      assert.match(formed.stderr, /encoder\.layer\.0\.output\.dense\.weight/, kind);
    }
  }
});

test('planted errors are refused', { concurrency: 2 }, async (t) => {
  await Promise.all(mutations.map(([what, model, check, file, from, to, options = []], i) => t.test(`${model}${options.length ? ` ${options[1]}` : ''}: ${what}`, async () => {
    const source = readFileSync(join(top, file), 'utf8');
    assert.equal(source.split(from).length, 2, `${file} has this text not once: ${from}`);
    const dir = await mutant(`mutant-${i}`, file, source.replace(from, () => to));
    try {
      const { status, doc, stderr } = await convert(dir, model, options);
      const failed = (doc.proof?.checks ?? doc.error?.report?.checks ?? []).filter(({ ok }) => !ok).map(({ name }) => name);
      assert.equal(status, 6, `exit ${status}: ${JSON.stringify(doc).slice(0, 1500)} ${stderr}`);
      assert.match(doc.error?.message ?? stderr, new RegExp(`checks failed, first ${check} `), JSON.stringify(failed));
      assert.deepEqual(artifacts(dir).filter((path) => path.includes('/')), [], 'something is left');
    } finally {
      rmSync(dir, { recursive: true });
    }
  })));
});
