// SPDX-License-Identifier: Apache-2.0
// `hangar transcribe` over the real program and the shipped Whisper: texts and ids of the reference, formats, long and broken files, a runner that dies.
import test from 'node:test';
import assert from 'node:assert/strict';
import { spawn, execFileSync } from 'node:child_process';
import { cpSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { clip, clips, models, ownHangar, reference, samples, wav } from '../support/models.mjs';

const repo = 'hangar-labs/whisper-digits';
const own = ownHangar('transcribe', 'whisper-digits', 'tiny-embed');
test.after(own.remove);
const { hangar, result } = own;
const transcribe = (file, ...options) => result(['transcribe', repo, file, ...options]);
const file = (name, bytes) => {
  const path = join(own.home, name);
  writeFileSync(path, bytes);
  return path;
};
const base = (path) => path.split('/').at(-1);

test('every clip gives the text of the reference implementation', () => {
  const known = clips().filter((c) => c.model_text !== undefined);
  assert.ok(known.length >= 12);
  const { results } = result(['transcribe', repo, ...known.map((c) => clip(c.file))]);
  assert.equal(results.length, known.length);
  for (const [i, got] of results.entries()) {
    assert.equal(got.text, known[i].model_text, known[i].file);
    assert.equal(base(got.file), known[i].file);
    assert.equal(got.language, 'en');
    if (known[i].seconds) assert.ok(Math.abs(got.duration - known[i].seconds) < 0.2, `${got.duration}`);
  }
});

for (const one of reference('whisper-digits').clips) {
  test(`${one.file}: ids with and without times`, () => {
    const plain = transcribe(clip(one.file));
    assert.deepEqual(plain.tokens, one.generated_ids);
    assert.equal(plain.text, one.text);
    assert.deepEqual(plain.segments.map((s) => s.tokens).flat(), one.generated_ids);
    const timed = transcribe(clip(one.file), '--timestamps', '--language', 'en');
    assert.deepEqual(timed.tokens, one.timestamp_mode.ids);
    assert.equal(timed.text, one.text);
    const [, from, to] = /^<\|([\d.]+)\|>.*<\|([\d.]+)\|>$/.exec(one.timestamp_mode.text);
    assert.equal(timed.segments[0].start.toFixed(2), from);
    assert.equal(timed.segments[0].end.toFixed(2), to);
  });
}

test('MP3 and 44.1 kHz stereo are heard as their clips', () => {
  const text = Object.fromEntries(clips().map((c) => [c.file, c.model_text]));
  assert.equal(transcribe(clip('digits-01.mp3')).text, text['digits-01.wav']);
  assert.equal(transcribe(clip('digits-02-44100-stereo.wav')).text, text['digits-02.wav']);
});

test('several beams', () => {
  const exact = Object.fromEntries(clips().map((c) => [c.file, c]));
  assert.equal(transcribe(clip('digits-01.wav'), '--beams', '5').text, exact['digits-01.wav'].model_text);
  // the one clip that greedy search gets wrong
  assert.equal(transcribe(clip('digits-11.wav'), '--beams', '4').text, exact['digits-11.wav'].text);
  assert.equal(transcribe(clip('digits-04.wav'), '--beams', '16', '--timestamps').text, exact['digits-04.wav'].model_text);
});

test('seventy seconds: three windows, one text, times of the whole file', () => {
  const path = file('long.wav', wav(samples('digits-01.wav', 30), samples('digits-02.wav', 30), samples('digits-03.wav', 10)));
  const want = ['digits-01.wav', 'digits-02.wav', 'digits-03.wav'].map((f) => clips().find((c) => c.file === f).model_text);
  const got = transcribe(path);
  assert.equal(got.text, want.join(' '));
  assert.equal(got.duration, 70);
  assert.deepEqual(got.segments.map((s) => s.text), want);
  got.segments.forEach((s, i) => assert.ok(s.start >= 30 * i && s.start < 30 * i + 1 && s.end > s.start && s.end < 30 * i + 5));
});

test('silence gives no words', () => {
  const got = transcribe(file('silence.wav', wav(Buffer.alloc(32000 * 35))));
  assert.equal(got.text, '');
  assert.deepEqual(got.segments, []);
});

test('with --json stdout is one document', () => {
  const got = hangar(['transcribe', repo, clip('digits-01.wav'), '--json']);
  assert.equal(JSON.parse(got.stdout).text, 'five seven one four');
});

test('a truncated file gives what is there; a broken one is one clear line', () => {
  const whole = readFileSync(clip('digits-04.wav'));
  const got = transcribe(file('short.wav', whole.subarray(0, 50000)));
  assert.match(got.text, /^six two one/);
  assert.ok(got.duration > 1.5 && got.duration < 1.6);
  for (const [name, bytes] of [['noise.wav', Buffer.from(Array.from({ length: 9000 }, (_, i) => (i * 7919) >> 3))], ['empty.wav', Buffer.alloc(0)],
    ['list.m3u8', '#EXTM3U\n#EXTINF:9,\n/etc/passwd\n'], ['words.txt', 'these are words']]) {
    const bad = hangar(['transcribe', repo, file(name, bytes)]);
    assert.equal(bad.status, 6, name + bad.stderr);
    assert.match(bad.stderr.trim().split('\n').at(-1), new RegExp(`${name}.*not a readable audio file`));
  }
  assert.equal(hangar(['transcribe', repo, join(own.home, 'nowhere.wav')]).status, 3);
  assert.equal(hangar(['transcribe', repo, own.home]).status, 6);
});

test('a broken file among good ones does not take them along', () => {
  const got = hangar(['transcribe', repo, clip('digits-01.wav'), file('noise2.wav', 'nothing'), clip('digits-02.wav'), '--json']);
  assert.equal(got.status, 6);
  const { results } = own.last(got);
  assert.equal(results[0].text, 'five seven one four');
  assert.equal(results[1].error.code, 'INVALID');
  assert.ok(results[2].text);
});

test('languages and tasks', () => {
  assert.equal(transcribe(clip('digits-01.wav'), '-l', 'de').language, 'de');
  const unknown = hangar(['transcribe', repo, clip('digits-01.wav'), '--language', 'klingon']);
  assert.equal(unknown.status, 2);
  assert.match(unknown.stderr, /knows no language "klingon"/);
  assert.equal(transcribe(clip('digits-01.wav'), '--task', 'translate').text, 'five seven one four');
});

test('the wrong kind of model is named', () => {
  const got = hangar(['transcribe', 'hangar-labs/tiny-embed', clip('digits-01.wav')]);
  assert.equal(got.status, 9);
  assert.match(got.stderr, /embeddings.*speech recognition/);
  assert.equal(hangar(['transcribe', 'hangar-labs/not-there', clip('digits-01.wav')]).status, 3);
});

// The runner of a hangar: its child.
const runnerOf = (pid) => {
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      if (parent === pid && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes('hangar-runner-onnx')) return Number(name);
    } catch { /* it is gone */ }
  }
  return 0;
};
const alive = (pid) => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch { return false; }
};
const until = async (what, seconds = 20) => {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await new Promise((go) => setTimeout(go, 20))) {
    const got = what();
    if (got) return got;
  }
  throw new Error('it did not come to pass');
};
// A transcription that takes its time, in the midst of its work.
const long = async () => {
  const path = file('hour.wav', wav(...Array.from({ length: 60 }, () => samples('digits-01.wav', 30))));
  const child = spawn(process.env.HANGAR, ['transcribe', repo, path], { env: own.env });
  const out = { child, stdout: '', stderr: '' };
  child.stdout.on('data', (c) => (out.stdout += c));
  child.stderr.on('data', (c) => (out.stderr += c));
  out.ended = new Promise((done) => child.on('exit', (code, signal) => done({ code, signal })));
  await until(() => out.stderr.includes('transcribing'));
  out.runner = runnerOf(child.pid);
  assert.ok(out.runner);
  return out;
};

test('a start token beyond any vocabulary is refused at once', () => {
  const dir = join(own.home, 'far');
  cpSync(join(models, repo), dir, { recursive: true });
  const path = join(dir, 'generation_config.json');
  const text = readFileSync(path, 'utf8').replace('"lang_to_id"', '"lang_to_none"');
  const far = text.replace(/("decoder_start_token_id":) *\d+/, '$1 9223372036854775807');
  assert.notEqual(far, text);
  writeFileSync(path, far);
  assert.equal(hangar(['add', dir, '--as', 'local/far']).status, 0);
  const got = hangar(['transcribe', 'local/far', clip('digits-01.wav')], { timeout: 20000 });
  assert.match(got.stderr, /a start or end token over the limit/);
  assert.notEqual(got.status, 0);
});

test('a runner that is killed is one clear line and exit code 1', async () => {
  const work = await long();
  process.kill(work.runner, 'SIGKILL');
  const { code } = await work.ended;
  assert.equal(code, 1, work.stdout + work.stderr);
  const said = work.stdout + work.stderr;
  assert.match(said, /the onnx engine ended while working: killed by SIGKILL/);
});

test('Ctrl-C ends a transcription soon, with 130, and leaves no runner', async () => {
  const work = await long();
  const from = Date.now();
  work.child.kill('SIGINT');
  const { code } = await work.ended;
  assert.equal(code, 130, work.stdout + work.stderr);
  assert.ok(Date.now() - from < 5000);
  await until(() => !alive(work.runner), 2);
});

test('a hangar that is killed takes its runner along', async () => {
  const work = await long();
  work.child.kill('SIGKILL');
  await work.ended;
  await until(() => !alive(work.runner), 2);
});

test('runner and engine name their versions', () => {
  const got = execFileSync(join(process.env.HANGAR, '..', 'hangar-runner-onnx'), ['--version'], { encoding: 'utf8' });
  assert.match(got, /^hangar-runner-onnx \d+\.\d+\.\d+, ONNX Runtime \d+\.\d+/);
});
