// SPDX-License-Identifier: Apache-2.0
// Chat templates: the interpreter against Python's Jinja (recorded: tests/fixtures/jinja/python.json and expected.json were
// written by Jinja2 3.1 in the environment that transformers makes), against @huggingface/jinja (run here), and against
// templates that mean harm.
import test from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const fixtures = join(process.env.HANGAR_TOP, 'tests/fixtures/jinja');
const { Template } = createRequire(join(process.env.HANGAR_TOP, 'tests/package.json'))('@huggingface/jinja');
const read = (name) => JSON.parse(readFileSync(join(fixtures, name), 'utf8'));
const conversations = Object.entries(read('conversations.json'));
const python = read('python.json');
const templates = readdirSync(join(fixtures, 'templates')).sort()
  .map((file) => [file.replace(/\.jinja$/, ''), readFileSync(join(fixtures, 'templates', file), 'utf8')]);

// Answers to many requests (objects, or lines) from one process.
function ask(requests) {
  const input = requests.map((r) => (typeof r === 'string' ? r : JSON.stringify(r)) + '\n').join('');
  const got = spawnSync(join(process.env.HANGAR_BUILD, 'tests/tool_render'), { input, encoding: 'utf8', maxBuffer: 1 << 28 });
  assert.equal(got.status, 0, got.stderr);
  const answers = got.stdout.trimEnd().split('\n').map((line) => JSON.parse(line));
  assert.equal(answers.length, requests.length);
  return answers;
}
const pairs = templates.flatMap(([name, template]) =>
  conversations.map(([about, context]) => ({ name, about, template, context, now: python.now })));
const ours = ask(pairs.map(({ template, context, now }) => ({ template, context, now })));

test('expressions and statements give what Python gives, or fail where it fails', () => {
  for (const { name, context, cases } of python.groups) {
    assert.ok(cases.length >= 120, name);
    /* The context is kept as text: JavaScript would make 100 of 100.0. */
    const got = ask(cases.map(([template]) => `{"template":${JSON.stringify(template)},"context":${context},"now":${python.now}}`));
    cases.forEach(([template, text], i) => assert.equal(got[i].text ?? null, text, `${template}: ${got[i].error}`));
  }
});

test('every template gives Python\'s text for every conversation, or refuses the same ones', () => {
  const expected = read('expected.json');
  assert.ok(templates.length >= 40 && conversations.length >= 12);
  pairs.forEach(({ name, about }, i) => {
    const text = ours[i].text;
    const digest = text === undefined ? null : createHash('sha256').update(text).digest('hex').slice(0, 16);
    assert.equal(digest, expected[name][about], `${name}, ${about}: ${JSON.stringify(ours[i]).slice(0, 400)}`);
  });
});

// strftime_now of @huggingface/jinja takes the clock and the zone of the process.
process.env.TZ = 'UTC';
const Real = Date;
class Fixed extends Real {
  constructor() { super(python.now * 1000); }
}

// Where @huggingface/jinja and Python part, Python is right for us. Each: which pairs, and why.
const known = [
  { why: 'lists are joined to text with "+", and printed as JSON; Python refuses, and prints its own notation', pairs: ['*/parts'] },
  { why: 'none is printed as nothing; Python prints None', pairs: ['*/none-content'] },
  { why: 'messages[0] of an empty list has no members and says nothing; Python refuses', pairs: ['*/no-messages'] },
  { why: 'a member that is missing cannot be joined with "~", capitalized or tested with "in"; in Python it can',
    pairs: ['chatml-default-system/no-role', 'command-r-tools/no-role', 'documents-rag/no-role', 'dolly-capitalized/no-role',
      'filters-mix/no-role', 'internlm-concat/no-role', 'set-block-macro/no-role', 'stablelm-generation/no-role'] },
  { why: 'the tests of selectattr want literals', pairs: ['filters-mix'] },
  { why: 'raw is unknown', pairs: ['raw-and-comments'] },
  { why: 'x.items is the member "items"; in Python it is the method of the dict', pairs: ['command-r-tools'] },
  { why: 'what was written in a turn is lost at break', pairs: ['loop-controls/multi'] },
  { why: 'the length of a text is counted in UTF-16 units', pairs: ['set-block-macro/scripts'] },
  { why: 'lstrip(characters) strips white space', pairs: ['smollm3/blanks'] },
  { why: 'the filter string knows no dicts', pairs: ['smollm3/tools', 'smollm3/tools-system', 'smollm3/tool-calls', 'smollm3/two-calls'] },
];

test('every template gives the text of @huggingface/jinja', () => {
  const used = new Set();
  let same = 0;
  pairs.forEach(({ name, about, template, context }, i) => {
    let theirs;
    try {
      globalThis.Date = Fixed;
      theirs = new Template(template).render(context);
    } catch { /* refused */ } finally {
      globalThis.Date = Real;
    }
    if (theirs === ours[i].text) return same++;
    const why = known.findIndex((k) => k.pairs.some((p) => p === name || p === `*/${about}` || p === `${name}/${about}`));
    assert.ok(why >= 0, `${name}, ${about}:\n ours ${JSON.stringify(ours[i])}\n theirs ${JSON.stringify(theirs)}`);
    used.add(why);
  });
  assert.equal(used.size, known.length, 'a deviation that is listed is no longer one');
  assert.ok(same >= pairs.length * 0.85, `${same} of ${pairs.length}`);
});

// [template, code that it must end in]. Each is refused in one line, in well under a second.
const hostile = [
  ["{{ ''.__class__ }}{{ ''.__class__.__mro__ }}", 'UNSUPPORTED'],
  ["{{ ''['__class__']['__base__'] }}", 'UNSUPPORTED'],
  ["{{ messages.__class__.__base__.__subclasses__() }}", 'UNSUPPORTED'],
  ["{{ [].__class__.__init__.__globals__ }}", 'UNSUPPORTED'],
  ["{{ range.__globals__['os'] }}", 'UNSUPPORTED'],
  ["{{ namespace.__init__.__globals__.os }}", 'UNSUPPORTED'],
  ["{{ raise_exception.__globals__.x }}", 'UNSUPPORTED'],
  ["{{ self.__init__ }}", 'INVALID'],
  ["{{ ''|attr('__class__') }}", 'UNSUPPORTED'],
  ["{{ [messages]|map(attribute='__class__.__mro__')|list }}", 'UNSUPPORTED'],
  ["{{ cycler.__init__.__globals__ }}", 'UNSUPPORTED'],
  ["{{ ''.upper.__self__.x }}", 'UNSUPPORTED'],
  ["{% include '/etc/passwd' %}", 'UNSUPPORTED'],
  ["{% import 'os' as os %}", 'UNSUPPORTED'],
  ["{% from 'x' import y %}", 'UNSUPPORTED'],
  ["{% extends 'base' %}", 'UNSUPPORTED'],
  ["{% block a %}{% endblock %}", 'UNSUPPORTED'],
  ["{% do messages.append(1) %}", 'UNSUPPORTED'],
  ["{{ messages.append(1) }}", 'UNSUPPORTED'],
  ["{{ messages.clear() }}", 'UNSUPPORTED'],
  ["{{ {'a': 1}.update({'b': 2}) }}", 'UNSUPPORTED'],
  ["{{ '{0.__class__}'.format(1) }}", 'UNSUPPORTED'],
  ["{{ '{0}'.format_map({}) }}", 'UNSUPPORTED'],
  ["{{ '%99999999999s' % 'x' }}", 'UNSUPPORTED'],
  ["{{ '%s'|format('x') }}", 'UNSUPPORTED'],
  ["{{ cycler('a', 'b') }}", 'UNSUPPORTED'],
  ["{{ joiner(',') }}", 'UNSUPPORTED'],
  ["{{ lipsum(100000) }}", 'UNSUPPORTED'],
  ["{{ open('/etc/passwd') }}", 'INVALID'],
  ["{{ range(10**9)|list }}", 'LIMIT'],
  ["{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}", 'LIMIT'],
  ["{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", 'LIMIT'],
  ["{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}", 'LIMIT'],
  ["{% macro f() %}{% for i in range(99) %}{{ f() }}{% endfor %}{% endmacro %}{{ f() }}", 'LIMIT'],
  ["{{ 'x' * 2147483648 }}", 'LIMIT'],
  ["{{ [0] * 9223372036854775807 }}", 'LIMIT'],
  ["{{ ('x' * 10000000) * 10000000 }}", 'LIMIT'],
  ["{{ 'x'|indent(9999999999) }}", 'LIMIT'],
  ["{{ 'x'.center(9999999999) }}", 'LIMIT'],
  ["{{ 2 ** 99999999 }}", 'LIMIT'],
  ["{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", 'LIMIT'],
  ["{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}", 'LIMIT'],
  ["{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s|replace('x', 'xx') %}{% endfor %}", 'LIMIT'],
  ["{% set ns = namespace(l=[0]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}", 'LIMIT'],
  ["{% set ns = namespace(l=[0]) %}{% for i in range(50) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l == ns.l ~ '' }}{{ ns.l|tojson }}", 'LIMIT'],
  ["{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}", 'LIMIT'],
  ["{% set x = 'y' * 10000000 %}{% for i in range(9) %}{{ x }}{% endfor %}", 'LIMIT'],
  ["{{ [[1, 2], [3]]|tojson(indent=50000000) }}", 'LIMIT'],
  ["{{ messages|batch(99999999, 0)|list }}", 'LIMIT'],
  ["{{ messages|slice(99999999, 0)|list }}", 'LIMIT'],
  ['{{ ' + '('.repeat(5000) + ')'.repeat(5000) + ' }}', 'LIMIT'],
  ['{{ ' + '['.repeat(5000) + ' }}', 'LIMIT'],
  ['{{ ' + 'not '.repeat(5000) + '1 }}', 'LIMIT'],
  ['{{ ' + '-'.repeat(5000) + '1 }}', 'LIMIT'],
  ['{{ x' + '.y'.repeat(5000) + ' }}', 'LIMIT'],
  ['{{ x' + '|e'.repeat(5000) + ' }}', 'LIMIT'],
  ['{% if 1 %}'.repeat(5000), 'LIMIT'],
  ['{{ 1' + ' if 1 else 1'.repeat(5000) + ' }}', 'LIMIT'],
  ['x'.repeat((1 << 20) + 1), 'LIMIT'],
  ['{{ ' + 'a'.repeat(99999), 'INVALID'],
  ['{# ' + 'a'.repeat(99999), 'INVALID'],
  ["{{ 'a\\ud800' }}", 'INVALID'],
];

test('templates that mean harm are refused in one line, at once', () => {
  assert.ok(hostile.length >= 40);
  const context = { messages: [{ role: 'user', content: 'x' }] };
  for (const [template, code] of hostile) {
    const begin = performance.now();
    const [got] = ask([{ template, context }]);
    const spent = performance.now() - begin;
    assert.equal(got.code, code, `${template.slice(0, 120)}: ${JSON.stringify(got).slice(0, 200)}`);
    assert.match(got.error, /^[^\n]{5,300}$/);
    assert.ok(spent < 3000, `${template.slice(0, 120)} took ${spent} ms`);
  }
});

test('a long sum and a long prompt are no harm', () => {
  const messages = Array.from({ length: 400 }, (_, i) => ({ role: i % 2 ? 'assistant' : 'user', content: 'word '.repeat(2000) + i }));
  const template = readFileSync(join(fixtures, 'templates/qwen3-think.jinja'), 'utf8');
  const [long, sum] = ask([{ template, context: { messages } }, { template: `{{ ${Array(20000).fill('1').join(' + ')} }}` }]);
  assert.ok(long.text?.length > 4000000, long.error);
  assert.equal(sum.text, '20000');
});

test('the template of a model, from its files', () => {
  const input = { messages: [{ role: 'user', content: 'Hi' }] };
  const list = [{ name: 'default', template: 'D{{ tools is none }}' }, { name: 'tool_use', template: 'T{{ tools|length }}' }];
  const show = '{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ add_generation_prompt }}';
  const [plain, kept, picked, tools, file, absent, none, unnamed, odd] = ask([
    { config: { chat_template: show, bos_token: '<s>', eos_token: { content: '</s>', lstrip: false } }, input },
    { config: { chat_template: show, bos_token: null }, input: { ...input, add_generation_prompt: false, bos_token: 'B' } },
    { config: { chat_template: list }, input },
    { config: { chat_template: list }, input: { ...input, tools: [{}] } },
    { config: { chat_template: 'no', bos_token: '!' }, file: 'file{{ bos_token }}', input },
    { config: {}, input },
    { config: { chat_template: show }, input: {} },
    { config: { chat_template: [{ name: 'rag', template: 'x' }] }, input },
    { config: { chat_template: 7 }, input },
  ]);
  assert.deepEqual([plain.text, kept.text, picked.text, tools.text, file.text],
    ['<s>Hi</s>True', 'BHiFalse', 'DTrue', 'T1', 'file!']);
  assert.deepEqual([absent.code, none.code, unnamed.code, odd.code], ['NOT_FOUND', 'INVALID', 'NOT_FOUND', 'INVALID']);
});
