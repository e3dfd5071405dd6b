// SPDX-License-Identifier: Apache-2.0
// What `hangar convert --out` writes, run by @huggingface/transformers from the folder and nothing else: every architecture of
// tests/fixtures/arch gives the reference's numbers, decoders generate the reference's tokens, and the shipped chat model
// talks. Whisper with sound and sentence embeddings are in export.test.mjs.
import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { models, ownHangar } from '../support/models.mjs';
import { LIMIT, apart, configuration, kindOf, reference } from '../support/vectors.mjs';

const top = process.env.HANGAR_TOP;
const fixtures = join(top, 'tests/fixtures/arch');
const own = ownHangar('transformers');
test.after(own.remove);

const library = await import(pathToFileURL(createRequire(join(top, 'tests/')).resolve('@huggingface/transformers')));
const { Tensor } = library;
Object.assign(library.env, { allowRemoteModels: false, localModelPath: join(own.home, 'out') });
const load = (kind, name) => library[kind].from_pretrained(name, { dtype: 'fp32', session_options: { intraOpNumThreads: 1, interOpNumThreads: 1 } });

function convert(name, from) {
  for (const args of [['add', from, '--as', `test/${name}`], ['convert', `test/${name}`, '--out', join(own.home, 'out', name)]]) {
    const { status, stderr } = own.hangar(args);
    assert.equal(status, 0, `hangar ${args[0]} ${name}: ${status}: ${stderr.trim()}`);
  }
}

// The library's class for a class of the original implementation.
const kinds = [
  [/ForCausalLM$|LMHeadModel$/, 'AutoModelForCausalLM'],
  [/^Whisper/, 'AutoModelForSpeechSeq2Seq'],
  [/ForConditionalGeneration$|MTModel$/, 'AutoModelForSeq2SeqLM'],
  [/ForMaskedLM$/, 'AutoModelForMaskedLM'],
  [/ForSequenceClassification$/, 'AutoModelForSequenceClassification'],
  [/ForImageClassification$/, 'AutoModelForImageClassification'],
  [/ForCTC$/, 'AutoModelForCTC'],
  [/Model$/, 'AutoModel'],
];
const classOf = (name) => kinds.find(([pattern]) => pattern.test(name))[1];

const longs = ({ data, shape }) => new Tensor('int64', BigInt64Array.from(data, BigInt), shape);
const ones = ({ data, shape }) => longs({ data: data.map(() => 1), shape });
const tensors = (inputs) => Object.fromEntries(Object.entries(inputs).map(([name, value]) =>
  [name, /_(values|features)$/.test(name) ? new Tensor('float32', Float32Array.from(value.data), value.shape) : longs(value)]));

// One case in one call. Position numbers are left to the library.
async function forward(model, { inputs, outputs }) {
  const { position_ids: counted, ...given } = tensors(inputs);
  if (inputs.input_ids) given.attention_mask ??= ones(inputs.input_ids);
  const got = await model(given);
  for (const [name, want] of Object.entries(outputs)) {
    if (name === 'last_hidden_state' && outputs.logits) continue; // the encoder's, kept inside
    const have = got[name === 'logits_where_mask' ? 'logits' : name];
    assert.ok(have, `no ${name} in ${Object.keys(got)}`);
    assert.deepEqual([...have.dims], want.shape, name);
    const tokens = inputs.attention_mask && want.shape.length === 3 && !inputs.decoder_input_ids;
    const { value, at } = apart(have.data, want.data, tokens ? inputs.attention_mask.data : null);
    assert.ok(value <= LIMIT, `${name}: ${value.toExponential(1)} apart at ${at}`);
  }
}

const listed = (tensor) => [...tensor.data].map(Number);
const generate = (model, given, count) => model.generate({ ...given, do_sample: false, min_new_tokens: count, max_new_tokens: count });

// Tokens through the library's own cache are those that one call over all of them would choose next.
async function continues(model, { inputs }, config) {
  const given = tensors({ input_ids: inputs.input_ids, attention_mask: inputs.attention_mask });
  const made = await generate(model, given, 6), rows = made.dims[0], width = made.dims[1];
  const { logits } = await model({ ...given, decoder_input_ids: made });
  const ids = listed(made), words = logits.dims[2];
  assert.equal(width, 7);
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i + 1 < width - 1; i++) { // the last may be a forced end
      const last = logits.data.slice((r * width + i) * words, (r * width + i + 1) * words);
      last[config.eos_token_id] = -Infinity;
      for (const id of (config.bad_words_ids ?? []).flat()) last[id] = -Infinity;
      assert.equal(ids[r * width + i + 1], last.indexOf(Math.max(...last)), `row ${r}, token ${i + 1}`);
    }
  }
}

// An architecture that this version of the library has no class for.
const strangers = ['mixtral'];

// The library takes every model whose configuration says multi_query for one that keeps keys and values in one tensor, as GPT BigCode does.
// Falcon keeps two; told nothing of it, the library finds them by the graph.
function without(name, key) {
  const file = join(own.home, 'out', name, 'config.json'), config = JSON.parse(readFileSync(file, 'utf8'));
  delete config[key];
  rmSync(file);
  writeFileSync(file, JSON.stringify(config));
}

for (const name of readdirSync(fixtures).sort()) {
  test(`${name} in transformers.js`, async () => {
    const folder = join(fixtures, name), all = reference(folder), config = configuration(folder);
    convert(name, folder);
    if (strangers.includes(name)) {
      await assert.rejects(load(classOf(all.class), name), /Unsupported model type/);
      return;
    }
    if (name === 'falcon') without(name, 'multi_query');
    const model = await load(classOf(all.class), name);
    for (const one of all.cases) {
      if (!one.outputs.greedy_ids) {
        await forward(model, one);
        continue;
      }
      const given = { input_ids: longs(one.inputs.input_ids), attention_mask: ones(one.inputs.input_ids) };
      const { data: want } = one.outputs.greedy_ids;
      assert.deepEqual(listed(await generate(model, given, want.length - one.inputs.input_ids.data.length)), want);
    }
    if (kindOf(all) === 'seq2seq' && all.cases[0].inputs.input_ids) await continues(model, all.cases[0], config);
    await model.dispose();
  });
}

for (const [name, repo] of [['tiny-chat', 'tiny-chat'], ['tiny-chat in two files', 'tiny-chat@sharded']]) {
  test(`${name}: template, tokens and answers are the reference's`, async () => {
    const folder = join(models, 'hangar-labs', repo), as = repo.replace('@', '-');
    convert(as, folder);
    const tokenizer = await library.AutoTokenizer.from_pretrained(as), model = await load('AutoModelForCausalLM', as);
    const { prompts } = JSON.parse(readFileSync(join(models, 'hangar-labs/tiny-chat/reference.json'), 'utf8'));
    for (const one of prompts) {
      const given = tokenizer.apply_chat_template(one.messages, { add_generation_prompt: true, return_dict: true });
      assert.deepEqual(listed(given.input_ids), one.input_ids);
      const made = await model.generate({ ...given, do_sample: false, max_new_tokens: one.generated_ids.length });
      assert.deepEqual(listed(made).slice(one.input_ids.length), one.generated_ids);
      const text = tokenizer.decode(one.generated_ids, { skip_special_tokens: true });
      assert.equal(text, one.text);
    }
    const { logits } = await model(tokenizer.apply_chat_template(prompts[0].messages, { add_generation_prompt: true, return_dict: true }));
    const words = logits.dims[2];
    assert.ok(apart(logits.data.slice(-words).slice(0, 16), prompts[0].last_logits_0_16).value < 5e-4);
    assert.ok(apart(logits.data.slice(0, 8), prompts[0].first_logits_0_8).value < 5e-4);
    await model.dispose();
  });
}
