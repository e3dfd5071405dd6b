// SPDX-License-Identifier: Apache-2.0
// ctest: long
// Every form of models of all kinds, in both styles: `hangar convert --form` passes its own report card, prints how far answers drift, and
// writes a folder that onnxruntime-node and @huggingface/transformers take, by the file names that the latter expects.
import test from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { ownHangar, program } from '../support/models.mjs';
import { reference } from '../support/vectors.mjs';

const top = process.env.HANGAR_TOP, fixtures = join(top, 'tests/fixtures/arch');
const own = ownHangar('forms');
test.after(own.remove);
const run = promisify(execFile);
const resolve = createRequire(join(top, 'tests/')).resolve;
const ort = await import(pathToFileURL(resolve('onnxruntime-node')));
const library = await import(pathToFileURL(resolve('@huggingface/transformers')));
Object.assign(library.env, { allowRemoteModels: false, localModelPath: join(own.home, 'out') });

// GPT-2's matrices are turned, Phi-3's and ModernBERT's are packed, T5 and Whisper have two graphs. CLIP's random towers are too small to
// be held to their angles in 8 and 4 bits: those are refused, in one line.
const names = ['bert', 'roberta', 'llama', 'gpt2', 'phi3', 'modernbert', 't5', 'whisper', 'clip', 'wav2vec2', 'gemma'];
const short = { 'f32-short': ['fp32', ''], 'int8-short': ['int8', '_int8'] }; // Whisper's alone
const forms = { 'f32-own': ['fp32', ''], f16: ['fp16', '_fp16'], int8: ['int8', '_int8'], 'int8-blocks': ['q8', '_quantized'], int4: ['q4', '_q4'] };
const formsOf = (name) => (name === 'whisper' ? { ...forms, ...short } : forms);
const refused = new Set(['clip int8-blocks', 'clip int4']);
const table = [];

for (const name of names) {
  const from = join(own.home, 'from', name);
  mkdirSync(from, { recursive: true });
  for (const file of ['config.json', 'generation_config.json', 'model.safetensors']) {
    if (existsSync(join(fixtures, name, file))) copyFileSync(join(fixtures, name, file), join(from, file));
  }
  own.result(['add', from, '--as', `test/${name}`]);
}

const where = (name, form, style) => join(own.home, 'out', `${name}-${form}-${style}`);

async function convert(name, form, style) {
  const out = where(name, form, style);
  const got = await run(program, ['convert', `test/${name}`, '--form', form, '--style', style, '--out', out, '--json'], { env: own.env }).then(
    ({ stdout, stderr }) => ({ status: 0, stdout, stderr }), ({ code, stdout, stderr }) => ({ status: code, stdout, stderr }));
  return { ...got, out, doc: own.last(got) };
}

test('every form passes its report card', { concurrency: 2 }, async (t) => {
  const all = names.flatMap((name) => Object.keys(formsOf(name)).flatMap((form) => ['fused', 'portable'].map((style) => [name, form, style])));
  await Promise.all(all.map(([name, form, style]) => t.test(`${name} ${form} ${style}`, async () => {
    const { status, doc, out, stderr } = await convert(name, form, style);
    const checks = doc.proof?.checks ?? [], drift = checks.find((check) => check.name === 'drift');
    table.push({ model: name, form, style, drift: drift?.value?.toExponential(1), limit: drift?.limit, exit: status });
    if (refused.has(`${name} ${form}`)) {
      assert.ok(status === 0 || /first drift/.test(doc.error?.message ?? stderr), stderr);
      return;
    }
    assert.equal(status, 0, JSON.stringify(doc).slice(0, 1500));
    assert.deepEqual(checks.filter(({ ok }) => !ok), []);
    if (form !== 'f32-short') assert.equal(checks.find((check) => check.name === 'weights').ok, true);
    const graphs = readdirSync(join(out, 'onnx')).filter((file) => file.endsWith('.onnx'));
    assert.ok(graphs.length > 0);
    for (const file of graphs) {
      assert.ok(file.endsWith(`${formsOf(name)[form][1]}.onnx`), file);
      const session = await ort.InferenceSession.create(join(out, 'onnx', file), { intraOpNumThreads: 1, interOpNumThreads: 1 });
      for (const port of [...session.inputMetadata, ...session.outputMetadata]) {
        if (!/^(past_key_values|present)\./.test(port.name)) assert.notEqual(port.type, 'float16', `${file}: ${port.name}`);
      }
      await session.release();
    }
    if (!['bert', 'llama', 't5', 'whisper'].includes(name) || style === 'portable') rmSync(out, { recursive: true });
  })));
  const order = Object.keys(formsOf('whisper'));
  console.table(table.sort((a, b) => order.indexOf(a.form) - order.indexOf(b.form)));
});

// ---- in @huggingface/transformers ----

const { Tensor } = library;
const longs = ({ data, shape }) => new Tensor('int64', BigInt64Array.from(data, BigInt), shape);
const kinds = { bert: 'AutoModel', llama: 'AutoModelForCausalLM', t5: 'AutoModelForSeq2SeqLM', whisper: 'AutoModelForSpeechSeq2Seq' };
const most = { 'f32-own': 1e-5, f16: 0.02, int8: 0.1, 'int8-blocks': 0.05, int4: 0.35, 'f32-short': 0.01, 'int8-short': 0.1 };

// Without what lies at padded tokens.
function relative(have, want, mask) {
  let square = 0, all = 0;
  want.forEach((value, i) => {
    if (mask && !mask[Math.floor(i / (want.length / mask.length))]) return;
    square += (value - have[i]) ** 2;
    all += value ** 2;
  });
  return Math.sqrt(square / all);
}

test('@huggingface/transformers runs them by their names', async (t) => {
  for (const [name, kind] of Object.entries(kinds)) {
    for (const [form, [dtype]] of Object.entries(formsOf(name))) {
      await t.test(`${name} ${form}`, async () => {
        const folder = where(name, form, 'fused');
        const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
        assert.equal(config['transformers.js_config'].dtype, dtype);
        const model = await library[kind].from_pretrained(`${name}-${form}-fused`, { session_options: { intraOpNumThreads: 1, interOpNumThreads: 1 } });
        const { inputs, outputs } = reference(join(fixtures, name)).cases[0];
        const given = Object.fromEntries(Object.entries(inputs).filter(([key]) => key !== 'position_ids').map(([key, value]) =>
          [key, /_features$/.test(key) ? new Tensor('float32', Float32Array.from(value.data.flat(9)), value.shape) : longs({ ...value, data: value.data.flat(9) })]));
        if (given.input_ids) given.attention_mask ??= new Tensor('int64', new BigInt64Array(given.input_ids.data.length).fill(1n), given.input_ids.dims);
        const got = await model(given), output = outputs.logits ? 'logits' : 'last_hidden_state';
        assert.equal(got[output].type, 'float32');
        const far = relative(got[output].data, outputs[output].data.flat(9), name === 'bert' ? inputs.attention_mask?.data.flat(9) : null);
        assert.ok(far <= 1.5 * most[form], `${far}`);
        if (name === 'llama') {
          const ids = await model.generate({ ...given, max_new_tokens: 4, do_sample: false });
          assert.equal(ids.dims[1], given.input_ids.dims[1] + 4);
        }
        await model.dispose();
      });
    }
  }
});
