// SPDX-License-Identifier: Apache-2.0
// ctest: long
// Decoders in settings that no fixture has (tests/support/decoders.mjs), with random weights. Both styles of graphs must give the same
// logits for the same tokens, at once, step by step and in pieces, with and without padding: what one node of com.microsoft does is
// written out in the other. The report card of the model that hangar keeps holds it to the equations themselves.
import test from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { make, settings } from '../support/decoders.mjs';
import { ownHangar, program } from '../support/models.mjs';
import { LIMIT, followFolder, fromItself, fromReference, independent } from '../support/vectors.mjs';

const own = ownHangar('decoders');
test.after(own.remove);

const hangar = (...args) => new Promise((done) => execFile(program, args, { env: own.env, maxBuffer: 1 << 26 },
  (error, out, err) => done({ code: error ? error.code ?? error.signal : 0, out, err })));
async function must(...args) {
  const { code, out, err } = await hangar(...args);
  assert.equal(code, 0, `hangar ${args.join(' ')}: ${code}: ${err.trim().split('\n').at(-1)}`);
  return out;
}

// The reference that one run is for another: its logits at once.
function asReference(cases, { made }, config) {
  const atOnce = made.filter(({ what }) => what.endsWith('at once'));
  assert.equal(atOnce.length, cases.length);
  return {
    class: config.architectures[0],
    cases: cases.map(({ inputs }, i) => ({
      inputs, outputs: { [inputs.attention_mask ? 'logits_where_mask' : 'logits']: { shape: atOnce[i].shape, data: atOnce[i].data } },
    })),
  };
}

// A stand-in for outputs that are not known yet: shapes only.
const blank = (cases, { architectures: [name], vocab_size: words }) => ({
  class: name,
  cases: cases.map(({ inputs }) => {
    const [rows, length] = inputs.input_ids.shape;
    return {
      inputs,
      outputs: { [inputs.attention_mask ? 'logits_where_mask' : 'logits']: { shape: [rows, length, words], data: new Float32Array(rows * length * words) } },
    };
  }),
});

for (const [number, name] of Object.keys(settings).entries()) {
  test(name, async () => {
    const from = join(own.home, `from-${number}`), ref = `test/decoder-${number}`, { config, cases, once } = make(name, from);
    await must('add', from, '--as', ref);
    const out = (style) => join(own.home, `${style}-${number}`);
    for (const style of ['fused', 'portable']) await must('convert', ref, '--out', out(style), '--style', style);
    const plain = await followFolder(out('portable'), blank(cases, config), config);
    const fused = await followFolder(out('fused'), asReference(cases, plain, config), config);
    if (once) fused.made = fused.made.filter(({ what }) => what.endsWith('at once'));
    const far = fromReference(fused);
    assert.ok(far.value <= LIMIT, far.text);
    if (!once) {
      const self = fromItself(plain);
      assert.ok(self.value <= LIMIT, self.text);
    }
    const { proof: report } = JSON.parse((await must('convert', ref, '--json')).trim().split('\n').at(-1));
    independent(report);
  });
}
