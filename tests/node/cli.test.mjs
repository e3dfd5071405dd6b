// SPDX-License-Identifier: Apache-2.0
// The command line as a process: its outputs, exit codes and signals, and what it does on a terminal (played by script(1)).
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';

const program = process.env.HANGAR;
const top = process.env.HANGAR_TOP;
const home = mkdtempSync(join(tmpdir(), 'hangar-cli-'));
const env = {
  PATH: process.env.PATH, HOME: home, HANGAR_HOME: join(home, 'hangar'), HF_HOME: join(home, 'hf'), LC_ALL: 'C.UTF-8',
  HF_ENDPOINT: 'http://127.0.0.1:9',
};
const hangar = (args, options = {}) =>
  spawnSync(program, args, { encoding: 'utf8', input: '', ...options, env: { ...env, ...options.env } });
test.after(() => rmSync(home, { recursive: true, force: true }));

const ended = (child) => new Promise((resolve) => child.on('exit', (code, signal) => resolve({ code, signal })));
const until = async (what, seconds = 10) => {
  for (let i = 0; i < seconds * 50; i++) {
    const got = what();
    if (got) return got;
    await new Promise((r) => setTimeout(r, 20));
  }
  throw new Error(`waited too long${what.text ? `: ${what.text()}` : ''}`);
};

// Runs a command on a terminal of that size, pressing each key when its text (or what it asks for) has come. What comes back is
// everything that reached the terminal.
async function terminal(args, { columns = 80, rows = 24, keys = [], more = {} } = {}) {
  const line = `stty cols ${columns} rows ${rows}; exec ${[program, ...args].map((w) => `'${w}'`).join(' ')}`;
  const child = spawn('script', ['-qefc', line, '/dev/null'], { env: { ...env, TERM: 'xterm-256color', SHELL: '/bin/sh', ...more } });
  let text = '';
  child.stdout.on('data', (d) => (text += d));
  const end = ended(child);
  try {
    for (const [when, key] of keys) {
      const come = () => (typeof when === 'string' ? text.includes(when) : when(text));
      await until(Object.assign(come, { text: () => JSON.stringify(text) }));
      child.stdin.write(key);
    }
    const { code } = await end;
    return { code, text };
  } finally {
    child.kill('SIGKILL'); // the terminal goes, and what runs on it
  }
}
const plain = (text) => text.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, '').replaceAll('\r', '');

test('the pages are on stdout and end with 0', () => {
  for (const args of [[], ['help'], ['--help'], ['-h'], ['help', 'pull'], ['pull', '--help'], ['run', 'x', '-h'], ['--version'], ['help', 'help']]) {
    const got = hangar(args);
    assert.equal(got.status, 0, args.join(' '));
    assert.equal(got.stderr, '');
    assert.ok(got.stdout.length > 5);
  }
  assert.equal(hangar([]).stdout, hangar(['help']).stdout);
});

test('every verb that the overview lists has a page, examples and its options', () => {
  const verbs = [...hangar([]).stdout.matchAll(/^ {2}([a-z]+) {2,}\S/gm)].map((m) => m[1]);
  assert.ok(verbs.length >= 16);
  for (const verb of verbs) {
    const page = hangar([verb, '--help']).stdout;
    assert.match(page, new RegExp(`^hangar ${verb}: `));
    assert.match(page, /\nUsage: hangar /);
    assert.match(page, /\nExamples:\n {2}\S/);
    assert.match(page, /--help/);
  }
});

test('no page is wider than it was asked to be, words aside', () => {
  for (const columns of [40, 60, 80, 100]) {
    for (const args of [[], ['run', '--help'], ['convert', '--help'], ['hardware'], ['config', 'show']]) {
      const page = hangar(args, { env: { COLUMNS: String(columns) } }).stdout;
      const commands = new Set([...page.matchAll(/^ {2}(\S.*)\n {6}/gm)].map((m) => `  ${m[1]}`)); // examples stay whole
      for (const line of page.split('\n')) {
        if (commands.has(line) || !line.trim().includes(' ')) continue;
        assert.ok([...line].length <= columns || /\S{25,}$/.test(line), `${columns}: ${line}`);
      }
    }
  }
});

test('mistakes end with 2, one line and a next step', () => {
  const cases = [
    [['pul'], /^hangar: there is no 'pul'; did you mean pull\?/],
    [['--json', 'ls'], /^hangar: '--json' stands where a verb is expected/],
    [['pull'], /^hangar: ORG\/NAME\[@REV\] is missing; hangar help pull explains it\n$/],
    [['pull', 'a/b', '--inclde', 'x'], /did you mean --include\?/],
    [['run', 'a/b', 'x', '--temperature', '9'], /must be from 0 to 5, not 9/],
    [['verify', 'a/b', '--all'], /REF and --all exclude each other; hangar help verify/],
    [['help', 'pul'], /did you mean pull/],
    [['mirror', '.', '--json'], /there is no option --json/],
  ];
  for (const [args, words] of cases) {
    const got = hangar(args);
    assert.equal(got.status, 2, args.join(' '));
    assert.equal(got.stdout, '');
    assert.match(got.stderr, words);
    assert.equal(got.stderr.trim().split('\n').length, 1);
  }
});

test('hostile arguments cannot draw on the terminal', () => {
  const got = hangar(['pull', '--\x1b[2J\nroot:']);
  assert.equal(got.status, 2);
  assert.equal(got.stderr, "hangar: there is no option --\\x1b[2J\\x0aroot:; hangar help pull explains it\n");
});

test('with --json the output ends with one document, also for a failure', () => {
  const usage = hangar(['ls', '--json', '--zz']);
  assert.equal(usage.status, 2);
  assert.equal(usage.stderr, '');
  assert.equal(JSON.parse(usage.stdout).error.code, 'USAGE');

  const missing = hangar(['show', 'no/such', '--json']);
  assert.equal(missing.status, 3);
  assert.equal(JSON.parse(missing.stdout).error.code, 'NOT_FOUND');

  const exists = hangar(['show', 'no/such', '--exists', '--json']);
  assert.equal(exists.status, 3);
  const document = JSON.parse(exists.stdout);
  assert.equal(document.exists, false);
  assert.equal(document.error.code, 'NOT_FOUND');

  const pull = hangar(['pull', 'no/such', '--json'], { env: { HF_HUB_OFFLINE: '1' } });
  assert.equal(pull.status, 5);
  const lines = pull.stdout.trim().split('\n').map((line) => JSON.parse(line));
  assert.equal(lines.at(-1).event, 'result');
  assert.equal(lines.at(-1).error.code, 'OFFLINE');

  const bad = join(home, 'bad.yaml');
  writeFileSync(bad, 'models:\n  colour: red\n');
  const check = hangar(['config', 'check', bad, '--json']);
  assert.equal(check.status, 6);
  const report = JSON.parse(check.stdout);
  assert.equal(report.error.code, 'INVALID');
  assert.equal(report.problems.length, 1);
});

test('the results are the same bytes for a program and for a pipe', () => {
  const got = hangar(['version', '--json']);
  assert.deepEqual(JSON.parse(got.stdout), { version: hangar(['--version']).stdout.trim().split(' ')[1] });
});

test('marks are ASCII where the locale is not UTF-8', () => {
  const model = join(home, 'm');
  mkdirSync(model, { recursive: true });
  writeFileSync(join(model, 'config.json'), '{}');
  const got = hangar(['add', model, '--as', 'me/ascii'], { env: { LC_ALL: 'C' } });
  assert.equal(got.status, 0, got.stderr);
  assert.match(got.stdout, /^ok me\/ascii added\n/);
  assert.doesNotMatch(got.stdout + got.stderr, /[^\x00-\x7f]/);
  assert.match(hangar(['add', model, '--as', 'me/utf8']).stdout, /^✓ me\/utf8 added\n/);
});

test('a reader that leaves early is no error', () => {
  const got = spawnSync('/bin/sh', ['-c', `"${program}" help run | head -n 1; exit 0`], { env, encoding: 'utf8' });
  assert.equal(got.stderr, '');
  const gone = spawnSync('/bin/bash', ['-c', `"${program}" run --help | true; echo "\${PIPESTATUS[0]}"`], { env, encoding: 'utf8' });
  assert.equal(gone.stderr, '');
  assert.equal(gone.stdout, '0\n');
});

test('an output that cannot be written is one', { skip: !existsSync('/dev/full') }, () => {
  const full = openSync('/dev/full', 'w');
  const got = hangar(['help'], { stdio: ['ignore', full, 'pipe'] });
  closeSync(full);
  assert.equal(got.status, 7);
  assert.equal(got.stderr, 'hangar: writing the output: No space left on device\n');
});

test('a server ends with 0 on SIGTERM and on SIGINT', async () => {
  const repositories = join(home, 'repos');
  mkdirSync(join(repositories, 'org/name'), { recursive: true });
  writeFileSync(join(repositories, 'org/name/config.json'), '{}');
  for (const signal of ['SIGTERM', 'SIGINT']) {
    const child = spawn(program, ['mirror', repositories], { env });
    let text = '', said = '';
    child.stdout.on('data', (d) => (text += d));
    child.stderr.on('data', (d) => (said += d));
    const end = ended(child);
    const url = (await until(() => /^(http:\/\/127\.0\.0\.1:\d+)\n/.exec(text)))[1];
    assert.equal((await fetch(`${url}/api/models/org/name/revision/main`)).status, 200);
    assert.equal(text, `${url}\n`);
    assert.match(said, new RegExp(`^HF_ENDPOINT=${url} hangar pull`));
    child.kill(signal);
    assert.deepEqual(await end, { code: 0, signal: null });
  }
});

// A Hub that lists one repository and never finishes its file.
async function slowHub(t) {
  const commit = 'a'.repeat(40), size = 100_000_000;
  const server = createServer((q, a) => {
    if (q.url.includes('/revision/') || /\/api\/models\/org\/slow(\?.*)?$/.test(q.url))
      return a.setHeader('content-type', 'application/json').end(JSON.stringify({ id: 'org/slow', sha: commit, siblings: [{ rfilename: 'big.bin' }] }));
    if (q.url.includes('/tree/'))
      return a.setHeader('content-type', 'application/json').end(JSON.stringify([{ type: 'file', path: 'big.bin', size, oid: 'b'.repeat(40), lfs: { oid: 'c'.repeat(64), size, pointerSize: 134 } }]));
    const range = /bytes=(\d+)-(\d+)?/.exec(q.headers.range ?? '');
    const from = range ? Number(range[1]) : 0, to = range?.[2] ? Number(range[2]) : size - 1;
    a.writeHead(range ? 206 : 200, {
      'content-length': to - from + 1, etag: `"${'c'.repeat(64)}"`, 'x-repo-commit': commit, 'accept-ranges': 'bytes',
      'x-linked-etag': `"${'c'.repeat(64)}"`, 'x-linked-size': size, ...(range && { 'content-range': `bytes ${from}-${to}/${size}` }),
    });
    if (q.method === 'HEAD') return a.end();
    a.write(Buffer.alloc(100_000));
  });
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  t.after(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}`;
}

test('the first Ctrl-C cancels a pull within a second, with 130', async (t) => {
  const endpoint = await slowHub(t);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    const child = spawn(program, ['pull', 'org/slow'], { env: { ...env, HF_ENDPOINT: endpoint } });
    let said = '';
    child.stderr.on('data', (d) => (said += d));
    const end = ended(child);
    await until(() => said.includes('downloading'));
    await new Promise((r) => setTimeout(r, 200));
    const before = Date.now();
    child.kill(signal);
    assert.deepEqual(await end, { code: 130, signal: null });
    assert.ok(Date.now() - before < 1000, `${Date.now() - before} ms`);
    assert.match(said, /\nhangar: .*cancelled; what came is kept, the same command goes on\n$/);
  }
});

test('on a terminal: colour, bars on stderr, and none of it with NO_COLOR or TERM=dumb', async (t) => {
  const endpoint = await slowHub(t);
  const bars = await terminal(['pull', 'org/slow'], { keys: [['big.bin', '\x03']], more: { HF_ENDPOINT: endpoint } });
  assert.equal(bars.code, 130);
  assert.match(bars.text, /━|─/);
  assert.match(bars.text, /\x1b\[/);
  assert.match(plain(bars.text), /hangar: .*cancelled/);
  assert.doesNotMatch(bars.text, /\x1b\[\?25l/); // the cursor is never hidden
  assert.equal(bars.text.lastIndexOf('\x1b[?7l') < bars.text.lastIndexOf('\x1b[?7h'), true); // wrapping is on again

  for (const more of [{ NO_COLOR: '1' }, { TERM: 'dumb' }]) {
    const calm = await terminal(['pull', 'org/slow'], { keys: [['downloading', '\x03']], more: { HF_ENDPOINT: endpoint, ...more } });
    assert.equal(calm.code, 130);
    assert.doesNotMatch(calm.text, /\x1b/);
  }
  assert.match((await terminal(['help'])).text, /\x1b\[1mModels\x1b\[0m/);
  assert.doesNotMatch(hangar(['help'], { env: { TERM: 'xterm-256color' } }).stdout, /\x1b/);
});

test('rm asks a person, and takes no answer for no', async () => {
  const model = join(home, 'm');
  mkdirSync(model, { recursive: true });
  writeFileSync(join(model, 'config.json'), '{}');
  assert.equal(hangar(['add', model, '--as', 'me/asked']).status, 0);
  const no = await terminal(['rm', 'me/asked'], { keys: [['[y/N]', '\n']] });
  assert.equal(no.code, 130);
  assert.match(plain(no.text), /remove me\/asked \(2 B\)\? \[y\/N\]/);
  assert.equal(hangar(['show', 'me/asked', '--exists']).status, 0);
  const stopped = await terminal(['rm', 'me/asked'], { keys: [['[y/N]', '\x03']] });
  assert.equal(stopped.code, 130);
  const yes = await terminal(['rm', 'me/asked'], { keys: [['[y/N]', 'y\n']] });
  assert.equal(yes.code, 0, yes.text);
  assert.match(plain(yes.text), /✓ me\/asked@?\S* removed/);
  assert.equal(hangar(['show', 'me/asked', '--exists']).status, 3);
});

test('a conversation remembers, can be stopped and cleared, and ends with /bye', async () => {
  const added = hangar(['add', join(top, 'models/hangar-labs/tiny-chat-gguf'), '--as', 'hangar-labs/tiny-chat-gguf']);
  assert.equal(added.status, 0, added.stderr);
  const ref = 'hangar-labs/tiny-chat-gguf:tiny-chat-Q8_0.gguf';
  const keys = [['>>> ', 'What is the capital of France?\n'], ['Paris.\r\n>>> ', '/clear\n'], ['begins anew', '/nonsense\n'], ['no such command', '/bye\n']];
  const got = await terminal(['run', ref, '--temperature', '0'], { keys });
  assert.equal(got.code, 0, got.text);
  assert.match(plain(got.text), /The capital of France is Paris\.\n/);

  // Ctrl-C stops an answer that never ends, and the session goes on.
  const endless = join(home, 'endless.gbnf');
  writeFileSync(endless, 'root ::= [a-z ] root\n');
  const stop = await terminal(['run', ref, '--grammar', endless, '-n', '400000'], {
    keys: [
      ['>>> ', 'Go\n'],
      [(text) => /Go\r\n.{3}/s.test(text), '\x03'],
      [(text) => text.split('>>> ').length > 2, '/bye\n'],
    ],
  });
  assert.equal(stop.code, 0, stop.text);
});

test('the whole of a piped input is the prompt', () => {
  const ref = 'hangar-labs/tiny-chat-gguf:tiny-chat-Q8_0.gguf';
  const got = hangar(['run', ref, '--temperature', '0'], { input: 'What is the capital of France?\n' });
  assert.equal(got.status, 0, got.stderr);
  assert.equal(got.stdout, 'The capital of France is Paris.\n');
  assert.equal(hangar(['run', ref], { input: '' }).status, 2);
  assert.equal(hangar(['run', ref], { input: Buffer.from([0xff, 0x0a]) }).status, 6);
});
