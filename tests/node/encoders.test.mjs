// SPDX-License-Identifier: Apache-2.0
// ctest: long
// Heads and settings of text encoders that no fixture has (tests/support/encoders.mjs), converted in both styles and run by onnxruntime-node:
// a text answers the same alone, beside longer ones, and padded (on either side where places do not count from the row's beginning); both styles answer the same. Against a forward pass of its own,
// in double precision: hangar's (`validate`), or tests/support/plainbert.mjs for what that does not know.
import test from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { batchOf, families, makeVariant } from '../support/encoders.mjs';
import { ownHangar, program } from '../support/models.mjs';
import { PlainBert } from '../support/plainbert.mjs';
import { LIMIT, independent, longs, open } from '../support/vectors.mjs';

const own = ownHangar('encoders'), fixtures = join(process.env.HANGAR_TOP, 'tests/fixtures/arch');
test.after(own.remove);

const hangar = (...args) => new Promise((done) => execFile(program, args, { env: own.env, maxBuffer: 1 << 26 },
  (error, out, err) => done({ code: error ? error.code ?? error.signal : 0, out, err })));
async function must(...args) {
  const { code, out, err } = await hangar(...args);
  assert.equal(code, 0, `hangar ${args.join(' ')}: ${code}: ${err.trim()}`);
  return out;
}

// What a graph says of each text of a batch, without what it says of padding: [{ name: numbers }]. `first`: once for each text, not for each token.
async function answers(session, inputs, left, first) {
  const feeds = Object.fromEntries(Object.entries(inputs).map(([name, { data, shape }]) => [name, longs(data, shape)]));
  const out = await session.run(feeds), [count, size] = inputs.input_ids.shape;
  return Array.from({ length: count }, (_, i) => {
    const kept = inputs.attention_mask.data.slice(i * size, (i + 1) * size).reduce((a, b) => a + b, 0), from = left ? size - kept : 0;
    return Object.fromEntries(session.outputNames.map((name) => {
      const { data, dims } = out[name], each = data.length / count, wide = each / size;
      assert.deepEqual(dims.slice(0, 2), first ? [count, dims[1]] : [count, size]);
      const row = data.subarray(i * each, (i + 1) * each);
      return [name, first ? row : row.subarray(from * wide, (from + kept) * wide)];
    }));
  });
}

function near(have, want, what) {
  assert.deepEqual(Object.keys(have), Object.keys(want));
  for (const [name, numbers] of Object.entries(want)) {
    assert.equal(have[name].length, numbers.length, `${what}: ${name}`);
    const far = numbers.reduce((worst, v, i) => Math.max(worst, Math.abs(v - have[name][i])), 0);
    assert.ok(far <= LIMIT, `${what}: ${name} is ${far} away`); // NaN is not near, either
  }
}

const rowOf = (inputs, i) => {
  const [, size] = inputs.input_ids.shape, kept = inputs.attention_mask.data.slice(i * size, (i + 1) * size);
  const take = ({ data }) => data.slice(i * size, (i + 1) * size).filter((_, j) => kept[j]);
  return Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, { data: take(value), shape: [1, kept.reduce((a, b) => a + b, 0)] }]));
};

for (const [family, { variants, counted }] of Object.entries(families)) {
  for (const [name, variant] of Object.entries(variants)) {
    test(`${family}: ${name}`, async () => {
      const from = join(own.home, 'from', family, name), ref = `test/${family}-${name}`, first = /sequence/.test(name);
      makeVariant(fixtures, family, name, from);
      await must('add', from, '--as', ref);
      const plain = variant.plain ? new PlainBert(from) : null;
      const alone = [];
      for (const style of ['fused', 'portable']) {
        const out = join(own.home, 'out', family, name, style);
        await must('convert', ref, '--out', out, '--style', style);
        const session = await open(out, 'model'), kinds = session.inputNames.includes('token_type_ids');
        for (const [lengths, left] of [[[10, 6], false], [variant.plain ? [24, 1] : [120, 1, 33], false], ...(first || (variant.counted ?? counted) ? [] : [[[7, 12, 3], true]])]) {
          const inputs = batchOf(lengths, { left, kinds, seed: lengths.length });
          const together = await answers(session, inputs, left, first);
          for (let i = 0; i < lengths.length; i++) {
            const row = rowOf(inputs, i), key = `${lengths}/${i}`, [self] = await answers(session, row, false, first);
            near(together[i], self, `${style}, ${lengths[i]} tokens among ${lengths}${left ? ', padded on the left' : ''}`);
            if (style === 'fused') alone.push([key, self]);
            else near(self, new Map(alone).get(key), `${lengths[i]} tokens in another style`);
            if (!plain) continue;
            const want = plain.run(row.input_ids.data, row.token_type_ids?.data);
            near(self, Object.fromEntries(Object.entries(want).map(([output, rows]) => [output, rows.flatMap((r) => [...r])])), `${style}, computed anew`);
          }
        }
        await session.release?.();
      }
      if (plain) return;
      const { proof } = JSON.parse((await must('convert', ref, '--json')).trim().split('\n').at(-1));
      independent(proof);
    });
  }
}
