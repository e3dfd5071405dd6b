// SPDX-License-Identifier: Apache-2.0
// Answers that are gone on with: cut anywhere, by either engine, the whole text is that of an answer nobody disturbed.
import test from 'node:test';
import assert from 'node:assert/strict';
import { ownHangar, reference } from '../support/models.mjs';
import { generate, gguf, llama, onnx } from '../support/generating.mjs';
import { Runner } from '../support/wire.mjs';

const own = ownHangar('begun', 'tiny-chat');
test.after(() => { Runner.killAll(); own.remove(); });
const engines = { llama: () => llama(gguf()), onnx: () => onnx(own) };
const conversations = reference('tiny-chat').prompts.map((p) => p.messages);
const user = (content) => [{ role: 'user', content }];
const plus = user('What is 7 plus 15?'), spell = user('Spell umbrella');
// every place between two characters
const cuts = (text) => [...text].map((_, i) => [...text].slice(0, i + 1).join(''));

for (const [name, start] of Object.entries(engines)) {
  test(`${name}: an answer cut at every character goes on as if nothing had been`, async () => {
    const runner = await start();
    for (const messages of [...conversations, spell]) {
      const whole = await generate(runner, { messages });
      for (const begun of cuts(whole.text)) {
        const rest = await generate(runner, { messages, begun });
        assert.equal(begun + rest.text, whole.text, JSON.stringify(begun));
        assert.equal(rest.text, rest.done.text);
        assert.equal(rest.done.finish, 'stop');
        assert.equal(rest.done.prompt_tokens, whole.done.prompt_tokens);
      }
    }
    await runner.end();
  });

  test(`${name}: tokens that are not the tokenizer's own are found again`, async () => {
    const runner = await start();
    // Penalties make the model write what it was not taught: two tokens where any tokenizer would have one.
    const call = { messages: spell, repeat_penalty: 1.6, presence_penalty: 2, frequency_penalty: 2 };
    const whole = await generate(runner, call);
    const { done: { prompt_tokens: usual } } = await generate(runner, { prompt: whole.text, max_tokens: 1 });
    assert.ok(whole.done.tokens.length - 1 > usual, `${whole.done.tokens.length} tokens, ${usual} of the tokenizer`);
    for (const begun of cuts(whole.text)) {
      const rest = await generate(runner, { ...call, begun });
      assert.equal(begun + rest.text, whole.text, JSON.stringify(begun));
      assert.deepEqual(rest.done.tokens, whole.done.tokens.slice(rest.done.begun_tokens), `the tokens behind ${JSON.stringify(begun)}`);
    }
    await runner.end();
  });

  test(`${name}: what counts, and where it ends`, async () => {
    const runner = await start();
    const whole = await generate(runner, { messages: plus }), begun = '7 plus';
    // max_tokens counts new tokens, or from what was made before
    let rest = await generate(runner, { messages: plus, begun, max_tokens: 2 });
    assert.deepEqual([rest.done.generated_tokens, rest.done.finish], [2, 'length']);
    rest = await generate(runner, { messages: plus, begun, max_tokens: 5, begun_tokens: 3 });
    assert.deepEqual([rest.done.generated_tokens, rest.done.finish], [2, 'length']);
    for (const tokens of [5, 6, 1000]) {
      rest = await generate(runner, { messages: plus, begun, max_tokens: 5, begun_tokens: tokens });
      assert.deepEqual([rest.done.generated_tokens, rest.done.finish, rest.text], [0, 'length', '']);
    }
    // nothing begun is an answer from its beginning
    rest = await generate(runner, { messages: plus, begun: '' });
    assert.equal(rest.text, whole.text);
    assert.equal(rest.done.begun_tokens, undefined);
    // all of it: only the end is left
    rest = await generate(runner, { messages: plus, begun: whole.text });
    assert.deepEqual([rest.text, rest.done.finish, rest.done.generated_tokens], ['', 'stop', 1]);
    // a raw prompt goes on, too
    const raw = '<|im_start|>user\nWhat is 7 plus 15?<|im_end|>\n<|im_start|>assistant\n';
    rest = await generate(runner, { prompt: raw, begun });
    assert.equal(begun + rest.text, whole.text);
    // what was begun may look like a control token and is none
    rest = await generate(runner, { messages: plus, begun: '<|im_end|>' });
    assert.ok(rest.done.begun_tokens > 3, `${rest.done.begun_tokens}`);
    // at other temperatures it goes on from the tokenizer's tokens
    const hot = { messages: plus, begun, temperature: 0.01, seed: 3 };
    assert.equal(begun + (await generate(runner, hot)).text, whole.text);
    await runner.end();
  });

  test(`${name}: stop strings across the border`, async () => {
    const runner = await start();
    const whole = (await generate(runner, { messages: plus })).text;
    assert.equal(whole, '7 plus 15 is 22.');
    for (const [begun, stop, rest] of [
      ['7 plus 15 i', ['is'], ''], // its beginning is out: what follows is not
      ['7 plus 15 i', ['s 2'], ''], // wholly behind
      ['7 plus 15', ['5 is 2'], ''],
      ['7 plus 15', [' is 23', '22'], ' is '], // looked like it, was not
      ['7 plus 15', ['15'], ' is 22.'], // what is out already does not count
      ['7 plus', ['plus 1'], ''],
    ]) {
      const got = await generate(runner, { messages: plus, begun, stop });
      assert.deepEqual([got.text, got.done.finish], [rest, 'stop'], JSON.stringify([begun, stop]));
    }
    await runner.end();
  });

  test(`${name}: what cannot be`, async () => {
    const runner = await start();
    for (const [call, code, words] of [
      [{ begun: 7 }, 'USAGE', /begun must be text/],
      [{ begun: ['7'] }, 'USAGE', /begun must be text/],
      [{ begun: '7', begun_tokens: -1 }, 'USAGE', /begun_tokens/],
      [{ begun: '7', json_schema: '{"type":"object"}' }, name === 'llama' ? 'USAGE' : 'USAGE', /cannot be gone on with/],
      [{ begun: 'x '.repeat(600), context: 512 }, 'TOO_LONG', /tokens/],
      [{ begun: 'x'.repeat((4 << 20) + 1) }, 'LIMIT', /over the limit/],
    ]) {
      const { fail } = await generate(runner, { messages: plus, ...call });
      assert.equal(fail?.code, code, JSON.stringify(fail));
      assert.match(fail.message, words);
    }
    assert.equal((await generate(runner, { messages: plus })).text, '7 plus 15 is 22.');
    await runner.end();
  });
}

test('what one engine began the other goes on with', async () => {
  const pair = [await engines.llama(), await engines.onnx()];
  for (const [from, to] of [pair, [...pair].reverse()])
    for (const messages of [...conversations, spell]) {
      const whole = (await generate(from, { messages })).text;
      for (const begun of cuts(whole))
        assert.equal(begun + (await generate(to, { messages, begun })).text, whole, JSON.stringify(begun));
    }
  await Promise.all(pair.map((runner) => runner.end()));
});
