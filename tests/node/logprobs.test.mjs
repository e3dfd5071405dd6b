// SPDX-License-Identifier: Apache-2.0
// Likelihoods beside the text, by both engines; and the raw bytes of pieces without them, which others pass on unparsed.
import test from 'node:test';
import assert from 'node:assert/strict';
import { ownHangar, reference } from '../support/models.mjs';
import { generate, gguf, llama, onnx } from '../support/generating.mjs';
import { Runner } from '../support/wire.mjs';

const own = ownHangar('logprobs', 'tiny-chat');
test.after(() => { Runner.killAll(); own.remove(); });
const engines = { llama: () => llama(gguf()), onnx: () => onnx(own) };
const conversations = reference('tiny-chat').prompts.map((p) => p.messages);
const plus = [{ role: 'user', content: 'What is 7 plus 15?' }];
const told = (got) => got.pieces.flatMap((p) => p.logprobs);
const bytesOf = (t) => (t.bytes ? Buffer.from(t.bytes) : Buffer.from(t.token));

for (const [name, start] of Object.entries(engines)) {
  test(`${name}: each token is told with the piece that its text is in`, async () => {
    const runner = await start();
    for (const messages of conversations) {
      const plain = await generate(runner, { messages }), got = await generate(runner, { messages, logprobs: 3 });
      assert.equal(got.text, plain.text);
      assert.deepEqual(got.done.tokens, plain.done.tokens);
      for (const piece of got.pieces) assert.deepEqual(Object.keys(piece), ['text', 'logprobs']);
      for (const piece of got.pieces) assert.equal(piece.logprobs.map((t) => t.token).join(''), piece.text);
      for (const t of told(got)) {
        assert.equal(t.top.length, 3);
        // at temperature 0 the likeliest is chosen, and the list goes down
        assert.deepEqual([t.top[0].token, t.top[0].logprob], [t.token, t.logprob]);
        assert.ok(t.top[0].logprob >= t.top[1].logprob && t.top[1].logprob >= t.top[2].logprob);
        assert.ok(t.logprob <= 0);
        assert.ok(t.top.reduce((sum, x) => sum + Math.exp(x.logprob), 0) <= 1.0001);
      }
      // the end token has no text and is not told
      assert.equal(told(got).length, got.done.generated_tokens - (got.done.finish === 'stop' ? 1 : 0));
    }
    await runner.end();
  });

  test(`${name}: shares of all tokens are 1, whatever the sampler does`, async () => {
    const runner = await start();
    await generate(runner, { messages: plus, max_tokens: 1 }); // from here on the prompt comes from the cache: the same numbers
    const cold = await generate(runner, { messages: plus, logprobs: 20, max_tokens: 1 });
    const hot = await generate(runner, { messages: plus, logprobs: 20, max_tokens: 1, temperature: 3, seed: 1, repeat_penalty: 2 });
    assert.deepEqual(told(hot)[0].top, told(cold)[0].top, 'temperature and penalties change nothing');
    assert.equal(told(cold)[0].top.length, 20);
    const none = await generate(runner, { messages: plus, logprobs: 0, max_tokens: 1 });
    assert.deepEqual(told(none)[0].top, []);
    assert.equal(told(none)[0].logprob, told(cold)[0].logprob);
    await runner.end();
  });

  test(`${name}: half characters, stop strings, what was begun`, async () => {
    const runner = await start();
    // at such a temperature bytes come in any order
    for (let seed = 1; seed <= 6; seed++) {
      const call = { messages: plus, logprobs: 2, temperature: 5, top_k: 0, top_p: 1, min_p: 0, seed, max_tokens: 60 };
      const got = await generate(runner, call), list = told(got);
      const raw = Buffer.concat(list.map(bytesOf));
      assert.equal(raw.toString(), got.text, 'the bytes of the tokens are the text');
      for (const t of list.flatMap((x) => [x, ...x.top])) {
        assert.equal(bytesOf(t).toString(), t.token);
        assert.equal('bytes' in t, !Buffer.from(bytesOf(t).toString()).equals(bytesOf(t)), JSON.stringify(t));
      }
    }
    const cut = await generate(runner, { messages: plus, logprobs: 1, stop: ['5 is'] });
    assert.equal(cut.text, '7 plus 1');
    const words = told(cut).map((t) => t.token);
    assert.ok(words.join('').startsWith('7 plus 1') && words.slice(0, -1).join('').length < cut.text.length, `${words}`);
    const rest = await generate(runner, { messages: plus, logprobs: 1, begun: '7 plu' });
    assert.equal(rest.text, 's 15 is 22.');
    assert.ok(told(rest).map((t) => t.token).join('').endsWith(rest.text));
    await runner.end();
  });

  test(`${name}: a piece without likelihoods is {"text":"..."} and nothing else`, async () => {
    const runner = await start(), seen = [];
    const feed = runner.feed.bind(runner);
    let raw = Buffer.alloc(0);
    runner.feed = (chunk) => { raw = Buffer.concat([raw, chunk]); feed(chunk); };
    const calls = [{ messages: plus }, { messages: plus, logprobs: null, tools: null }, { messages: plus, stop: ['zzz'], max_tokens: 5 },
      { messages: plus, temperature: 5, top_k: 0, top_p: 1, min_p: 0, seed: 2 }, { messages: plus, begun: '7 plus' }];
    for (const call of calls) await generate(runner, call);
    for (let at = 0; at + 16 <= raw.length;) {
      const type = raw.readUInt16LE(at + 4), json = raw.readUInt32LE(at + 8), bin = raw.readUInt32LE(at + 12);
      if (type === 5) seen.push(raw.subarray(at + 16, at + 16 + json).toString());
      at += 16 + json + bin;
    }
    assert.ok(seen.length > 50, `${seen.length}`);
    // exactly what JSON.stringify writes: no space, no other member, no text escaped that need not be
    for (const text of seen) assert.equal(text.replace(/\\u[0-9A-F]{4}/g, (u) => u.toLowerCase()), JSON.stringify({ text: JSON.parse(text).text }));
    await runner.end();
  });

  test(`${name}: what cannot be`, async () => {
    const runner = await start();
    for (const logprobs of [-1, 21, 1.5, true, '3']) {
      const { fail } = await generate(runner, { messages: plus, logprobs });
      assert.equal(fail?.code, 'USAGE');
      assert.match(fail.message, /logprobs must be a whole number from 0 to 20/);
    }
    for (const member of ['presence_penalty', 'frequency_penalty'])
      for (const wrong of [2.1, -2.1, '1']) {
        const { fail } = await generate(runner, { messages: plus, [member]: wrong });
        assert.equal(fail?.code, 'USAGE');
        assert.match(fail.message, new RegExp(member));
      }
    await runner.end();
  });
}

test('both engines say the same', async () => {
  const pair = [await engines.llama(), await engines.onnx()];
  for (const messages of conversations) {
    const [a, b] = (await Promise.all(pair.map((runner) => generate(runner, { messages, logprobs: 2 })))).map(told);
    assert.deepEqual(a.map((t) => t.token), b.map((t) => t.token));
    // one has weights of 16 bits, the other of 32
    a.forEach((t, i) => assert.ok(Math.abs(t.logprob - b[i].logprob) < 0.05, `${t.token}: ${t.logprob} and ${b[i].logprob}`));
  }
  await Promise.all(pair.map((runner) => runner.end()));
});
