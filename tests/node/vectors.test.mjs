// SPDX-License-Identifier: Apache-2.0
// ctest: long
// Every architecture that hangar converts, against what its own implementation gives: each checkpoint of tests/fixtures/arch goes through
// `hangar add` and `hangar convert --out`, and onnxruntime-node runs all cases of its reference.json, in every way that the kind of
// model has (tests/support/vectors.mjs). So do the same weights in three files (opset 21) and in the portable style (opset 21; the tests of
// decoders, encoders and variants have it at 17).
// Weights rounded to 16 bits are measured by the independent reference of the report card, which reads them itself. So is what
// hangar keeps for itself. The table at the end holds the greatest differences.
import test from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Llama } from '../support/llama.mjs';
import { ownHangar, program } from '../support/models.mjs';
import { LIMIT, apart, configuration, follow, followFolder, fromItself, fromOther, fromReference, independent, kindOf, open, reference } from '../support/vectors.mjs';
import { halves, readWeights, reform, round, writeWeights } from '../support/weights.mjs';

const fixtures = join(process.env.HANGAR_TOP, 'tests/fixtures/arch');
const fixture = (name) => join(fixtures, name);
const names = readdirSync(fixtures).sort();
const own = ownHangar('vectors'), rows = new Map();
test.after(own.remove);

// Two at once: a conversion proves its result in children, which takes longer than making it.
const waiting = [];
let free = 2;
async function hangar(...args) {
  if (free > 0) free--;
  else await new Promise((go) => waiting.push(go));
  const got = await new Promise((done) => execFile(program, args, { env: own.env, maxBuffer: 1 << 26 },
    (error, out, err) => done({ code: error ? error.code ?? error.signal : 0, out, err })));
  if (waiting.length) waiting.shift()();
  else free++;
  return got;
}
async function must(...args) {
  const { code, out, err } = await hangar(...args);
  assert.equal(code, 0, `hangar ${args.join(' ')}: ${code}: ${err.trim().split('\n').at(-1)}`);
  return out;
}
const folder = (...names) => join(own.home, ...names);

async function add(name, form, prepare = (to) => reform(fixture(name), to, form)) {
  const from = folder('from', name, form);
  prepare(from);
  await must('add', from, '--as', `test/${name}-${form}`);
  return `test/${name}-${form}`;
}

// The opsets that a graph names, by domain: field 8 of the model is { 1: domain, 2: version }.
function opsets(file) {
  const bytes = readFileSync(file);
  const walk = (from, to) => {
    const fields = [];
    const varint = () => {
      let value = 0, scale = 1, byte;
      do {
        byte = bytes[from++];
        value += (byte & 127) * scale;
        scale *= 128;
      } while (byte & 128);
      return value;
    };
    while (from < to) {
      const tag = varint(), number = Math.floor(tag / 8);
      if (tag % 8 === 0) fields.push([number, varint()]);
      else {
        assert.equal(tag % 8, 2, 'a field of a kind that models do not have');
        const length = varint();
        fields.push([number, [from, from + length]]);
        from += length;
      }
    }
    assert.equal(from, to);
    return fields;
  };
  return Object.fromEntries(walk(0, bytes.length).filter(([number]) => number === 8).map(([, range]) => {
    const one = Object.fromEntries(walk(...range));
    return [one[1] ? bytes.toString('utf8', ...one[1]) : '', one[2]];
  }));
}

async function convert(ref, name, form, opset, ...more) {
  const out = folder('out', name, form);
  const { proof } = JSON.parse((await must('convert', ref, '--out', out, '--json', ...(opset ? ['--opset', String(opset)] : []), ...more)).trim().split('\n').at(-1));
  const graphs = readdirSync(join(out, 'onnx')).filter((file) => file.endsWith('.onnx'));
  for (const file of graphs) {
    const { '': version, ...others } = opsets(join(out, 'onnx', file));
    assert.equal(version, opset ?? 17, `opset of ${file}`);
    if (more.includes('portable')) assert.deepEqual(Object.keys(others), [], `domains of ${file}`);
  }
  return { out, proof };
}

// How well a text and an image fit follows from their embeddings: exp(logit_scale) text . image (+ logit_bias). The reference does not
// have it; models for other tools do.
function pair({ cases }, { tensors }) {
  const scale = Math.exp(tensors.get('logit_scale').data.readFloatLE(0)), bias = tensors.get('logit_bias')?.data.readFloatLE(0) ?? 0;
  for (const { outputs } of cases) {
    assert.deepEqual(outputs.text_embeds.shape[0], 1);
    assert.deepEqual(outputs.image_embeds.shape[0], 1);
    const dot = outputs.text_embeds.data.reduce((sum, v, i) => sum + v * outputs.image_embeds.data[i], 0);
    for (const name of ['logits_per_text', 'logits_per_image']) outputs[name] = { shape: [1, 1], data: [scale * dot + bias] };
  }
}

// One architecture at work: what is wrong is collected, so that the table is whole.
class Arch {
  constructor(name) {
    Object.assign(this, { name, wrong: [], row: {}, config: configuration(fixture(name)), reference: reference(fixture(name)) });
    if (/^(CLIP|Siglip)Model$/.test(this.reference.class)) pair(this.reference, readWeights(join(fixture(name), 'model.safetensors')));
    rows.set(name, this.row);
  }

  async column(column, body) {
    try {
      await body();
    } catch (error) {
      this.row[column] = 'failed';
      this.wrong.push(`${column}: ${error.message.split('\n')[0]}`);
    }
  }

  note(column, { value, text }, where) {
    if (typeof this.row[column] !== 'number' || value > this.row[column]) this.row[column] = value;
    if (!(value <= LIMIT)) this.wrong.push(`${where}: ${text}`);
  }

  // A folder against the reference, against itself, and its greedy ids.
  async measure(column, { out }, where) {
    const run = await followFolder(out, this.reference, this.config);
    this.note(column, fromReference(run), where);
    const self = fromItself(run);
    if (self) this.note(column, self, `${where} against itself`);
    if (kindOf(this.reference) === 'decoder') this.greedy(run.greedy, where);
    rmSync(out, { recursive: true });
  }

  greedy(greedy, where) {
    assert.ok(greedy, 'no greedy case');
    const at = greedy.ids.findIndex((id, i) => id !== greedy.want[i]);
    if (at < 0 && greedy.ids.length === greedy.want.length) this.row.greedy ??= 'equal';
    else {
      this.row.greedy = 'failed';
      this.wrong.push(`${where}, greedy: [${greedy.ids}] instead of [${greedy.want}]`);
    }
  }

  async halved(form) {
    const { out, proof } = await convert(await add(this.name, form), this.name, form);
    const run = await followFolder(out, this.reference, this.config);
    rmSync(out, { recursive: true });
    this.note(form, { value: independent(proof).value, text: `${form} is not what was rounded` }, form);
    const self = fromItself(run), far = fromReference(run);
    if (self) this.note(form, self, `${form} against itself`);
    assert.ok(far.value > 0 && far.value < 2, `rounding did this to the values: ${far.text}`);
  }

  async validated(ref) {
    const { proof: report } = JSON.parse((await must('convert', ref, '--json')).trim().split('\n').at(-1));
    assert.ok(report.checks.find(({ name }) => name === 'reference')?.ok, `no check "reference" in ${report.checks.map(({ name }) => name)}`);
    this.row.independent = independent(report).value;
  }
}

for (const name of names) {
  test(name, async () => {
    const arch = new Arch(name);
    const ref = await add(name, 'f32');
    await arch.column('f32', async () => arch.measure('f32', await convert(ref, name, 'f32'), 'f32'));
    if (arch.row.f32 === 'failed') assert.fail(arch.wrong[0]);
    const measured = (column, form, ...more) => arch.column(column, async () => arch.measure(column, await convert(ref, name, form, ...more), form));
    await Promise.all([
      measured('portable', 'portable-opset-21', 21, '--style', 'portable'),
      arch.column('sharded', async () => arch.measure('sharded', await convert(await add(name, 'sharded'), name, 'sharded', 21), 'sharded, opset 21')),
      arch.column('bf16', () => arch.halved('bf16')),
      arch.column('f16', () => arch.halved('f16')),
      arch.column('independent', () => arch.validated(ref)),
    ]);
    assert.ok(arch.wrong.length === 0, arch.wrong.join('\n'));
    arch.row.good = true;
  });
}

test('weights of several types in one file: matrices in BF16, vectors in F16, F32 and F64', async () => {
  for (const name of ['bert', 'llama', 'whisper']) {
    const cases = reference(fixture(name)), config = configuration(fixture(name)), runs = [];
    for (const back of [false, true]) {
      const form = back ? 'mixed-wide' : 'mixed';
      const ref = await add(name, form, (to) => {
        reform(fixture(name), to, 'bf16-wide'); // without its reference
        const { metadata, tensors } = readWeights(join(fixture(name), 'model.safetensors'));
        const all = [...tensors].map(([key, tensor], i) => {
          const type = tensor.shape.length > 1 ? 'BF16' : ['F16', 'F32', 'F64'][i % 3];
          return [key, ...round({ tensors: new Map([[key, tensor]]) }, type, back).tensors.values()];
        });
        writeWeights(join(to, 'model.safetensors'), { metadata, tensors: new Map(all) });
      });
      runs.push(await followFolder((await convert(ref, name, form)).out, cases, config));
    }
    const far = fromOther(...runs);
    assert.ok(far.value <= LIMIT, `${name}: ${far.text}`);
  }
});

// ---- the comparison itself ----

test('rounding to 16 bits: every number of 16 bits is its own, halves go to the even one', () => {
  for (const [type, top] of [['F16', 0x7c00], ['BF16', 0x7f80]]) {
    const { to, from } = halves[type];
    for (let u = 0; u < top; u++) {
      assert.equal(to(from(u)), u);
      assert.equal(to(-from(u)), u | 0x8000);
      if (u + 1 === top) continue;
      const half = (from(u) + from(u + 1)) / 2; // exact: neither type uses all bits of a float
      assert.equal(to(half), u % 2 ? u + 1 : u);
    }
  }
  assert.equal(halves.F16.to(65519.99), 0x7bff);
  assert.equal(halves.F16.to(65520), 0x7c00);
});

test('differences: the greatest one counts, masked rows do not, NaN is never near', () => {
  assert.deepEqual(apart([1, 2, 3, 4], [1, 2.5, 3, 4.25]), { value: 0.5, at: 1 });
  assert.deepEqual(apart([1, 2, 3, 4], [9, 9, 3, 4.25], [0, 1]), { value: 0.25, at: 3 });
  assert.equal(apart([1, NaN], [1, 2]).value, Infinity);
  assert.throws(() => apart([1, 2], [1]));
});

const lies = ['turns backwards', 'takes the wrong group', 'ignores the mask', 'forgets the scale', 'swaps gate and up', 'mixes up the past',
  'counts anew at each call', 'gives no number'];
test(`a decoder that is right passes, one with an error does not: ${lies.join(', ')}`, async () => {
  const weights = readWeights(join(fixture('llama'), 'model.safetensors'));
  const config = configuration(fixture('llama')), cases = reference(fixture('llama'));
  const run = (lie) => follow({ model: new Llama(weights, config, lie) }, cases, config);
  const good = await run();
  assert.ok(fromReference(good).value < LIMIT, fromReference(good).text);
  assert.ok(fromItself(good).value < LIMIT, fromItself(good).text);
  assert.deepEqual(good.greedy.ids, good.greedy.want);
  assert.equal(fromOther(good, good).value, 0);
  for (const lie of lies) {
    if (lie === 'gives no number') await assert.rejects(run(lie), /not finite/);
    else assert.ok(fromReference(await run(lie)).value > LIMIT, lie);
  }
  for (const lie of ['mixes up the past', 'counts anew at each call']) assert.ok(fromItself(await run(lie)).value > LIMIT, lie);
  assert.ok(fromOther(good, await run('swaps gate and up')).value > LIMIT);
  assert.ok(fromItself(await run('takes the wrong group')).value < LIMIT); // wrong, but always in the same way
});

test('an encoder with one weight a little off does not pass', async () => {
  const config = configuration(fixture('bert')), cases = reference(fixture('bert'));
  const ref = await add('bert', 'off', (to) => {
    reform(fixture('bert'), to, 'f32');
    const weights = readWeights(join(to, 'model.safetensors'));
    const { data } = weights.tensors.get('encoder.layer.1.attention.self.value.bias');
    data.writeFloatLE(data.readFloatLE(0) + 0.002, 0);
    writeWeights(join(to, 'model.safetensors'), weights);
  });
  const far = fromReference(await followFolder((await convert(ref, 'bert', 'off')).out, cases, config));
  assert.ok(far.value > LIMIT && far.value < 0.01, far.text);
});

test('an encoder-decoder that is called wrongly, or answers wrongly, does not pass', async () => {
  const name = 'whisper', config = configuration(fixture(name)), cases = reference(fixture(name));
  const { out } = await convert(await add(name, 'liar'), name, 'liar');
  const encoder = await open(out, 'encoder_model'), real = await open(out, 'decoder_model_merged');
  const answering = (change) => ({ inputMetadata: real.inputMetadata, outputNames: real.outputNames, run: async (feeds) => change(await real.run(feeds), feeds) });
  const run = (decoder) => follow({ encoder, decoder }, cases, config);
  const good = await run(answering((got) => got));
  assert.ok(fromReference(good).value < LIMIT && fromItself(good).value < LIMIT);
  const cached = (feeds) => feeds.use_cache_branch.data[0] !== 0 && feeds.use_cache_branch.data[0] !== false;
  for (const stem of ['present.0.decoder.key', 'present.1.decoder.value', 'present.1.encoder.key', 'present.0.encoder.value']) {
    const bent = await run(answering((got, feeds) => {
      if (!cached(feeds)) got[stem].data.set(got[stem].data.map((v) => v * 1.01));
      return got;
    }));
    assert.ok(fromReference(bent).value > LIMIT, stem);
    assert.ok(fromItself(bent).value > LIMIT, stem);
  }
  await assert.rejects(run(answering(({ 'present.0.decoder.key': past, ...rest }) => rest)));
  await assert.rejects(run({ ...answering((got) => got), inputMetadata: [...real.inputMetadata, { name: 'odd', type: 'int64', shape: [1] }] }), /odd/);
  await assert.rejects(run({ ...answering((got) => got), inputMetadata: real.inputMetadata.filter(({ name }) => !name.startsWith('past_key_values.1')) }), /layer/);
});

// ---- the table ----

test('all of them', (t) => {
  const columns = ['f32', 'bf16', 'f16', 'sharded', 'portable', 'independent', 'greedy'];
  const cell = (value) => (typeof value === 'number' ? (value ? value.toExponential(1) : '0') : value ?? '-');
  const table = [['name', ...columns], ...names.map((name) => [name, ...columns.map((column) => cell(rows.get(name)?.[column]))])];
  const widths = table[0].map((_, i) => Math.max(...table.map((line) => line[i].length)));
  const text = (line) => `| ${line.map((word, i) => (i ? word.padStart(widths[i]) : word.padEnd(widths[i]))).join(' | ')} |`;
  const good = names.filter((name) => rows.get(name)?.good).length;
  for (const line of table) t.diagnostic(text(line));
  t.diagnostic(`| ${good} of ${names.length} within ${LIMIT.toExponential()} |`);
  assert.ok(names.length >= 35);
  assert.equal(good, names.length, `${good} of ${names.length} within ${LIMIT.toExponential()}`);
});
