// SPDX-License-Identifier: Apache-2.0
// The demo does the whole job, checks what comes out, and leaves nothing behind.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test, { after } from 'node:test';
import { fileURLToPath } from 'node:url';

const top = process.env.HANGAR_TOP ?? fileURLToPath(new URL('../..', import.meta.url));
const hangar = process.env.HANGAR ?? path.join(top, 'build/hangar');
const here = fs.mkdtempSync(path.join(process.env.TMPDIR ?? '/tmp', 'demo-'));
after(() => fs.rmSync(here, { recursive: true, force: true }));

// Runs the demo with a temporary folder and a home of its own; what is left in these and what still runs is told. (The engines have
// habits of their own: telemetry databases, logs.)
function demo(program) {
    const tmp = fs.mkdtempSync(path.join(here, 'tmp-')), home = fs.mkdtempSync(path.join(here, 'home-'));
    const ran = spawnSync(path.join(top, 'tools/demo'), [program], {
        encoding: 'utf8', timeout: 200_000, env: { ...process.env, HOME: home, TMPDIR: tmp, HF_TOKEN: 'of-no-use', HF_HUB_OFFLINE: '1', COLUMNS: '40' } });
    const running = fs.readdirSync('/proc').filter((pid) => {
        try {
            return /^\d+$/.test(pid) && fs.readFileSync(`/proc/${pid}/environ`, 'latin1').includes(tmp);
        } catch {
            return false;
        }
    });
    return { status: ran.status, out: ran.stdout, err: ran.stderr, left: [...fs.readdirSync(tmp), ...fs.readdirSync(home)], running };
}

test('every answer is right and nothing is left', () => {
    const { status, out, err, left, running } = demo(hangar);
    assert.equal(status, 0, out + err);
    for (const said of ['two one two four five six one zero', 'The capital of France is Paris.', 'all answers are right'])
        assert.ok(out.includes(`${said}`), said);
    for (const row of ['pull whisper-digits', 'verify it', 'transcribe a clip', 'answer a question', 'embed five sentences'])
        assert.match(out, new RegExp(`^${row} +[0-9.]+ s +\\S.* [kMG]B$`, 'm'));
    assert.deepEqual(left, []);
    assert.deepEqual(running, []);
});

test('a wrong answer is an error of one line', () => {
    for (const [verb, answer, words] of [['run', 'The capital of France is Rome.', /^demo: wrong answer: /], ['transcribe', 'two', /^demo: wrong answer: /],
        ['ls', 'hangar-labs/one', /^demo: hangar ls shows 1 models, not 4$/]]) {
        const wrong = path.join(here, `wrong-${verb}`);
        fs.writeFileSync(wrong, `#!/bin/sh\nif [ "$1" = ${verb} ]; then echo "${answer}"; else exec "${hangar}" "$@"; fi\n`, { mode: 0o755 });
        const { status, err, left, running } = demo(wrong);
        assert.equal(status, 1);
        assert.match(err.trim().split('\n').at(-1), words);
        assert.deepEqual(left, []);
        assert.deepEqual(running, []);
    }
});

test('a step that fails ends it', () => {
    const broken = path.join(here, 'broken');
    fs.writeFileSync(broken, `#!/bin/sh\nif [ "$1" = convert ]; then exit 6; else exec "${hangar}" "$@"; fi\n`, { mode: 0o755 });
    const { status, err, left, running } = demo(broken);
    assert.equal(status, 1);
    assert.match(err, /^demo: hangar convert ended with exit code 6$/m);
    assert.deepEqual([left, running], [[], []]);
});
