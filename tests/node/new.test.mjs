// SPDX-License-Identifier: Apache-2.0
// tools/new, on a copy: its files compile under the project's warnings, and their test fails until they are filled in.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const top = process.env.HANGAR_TOP ?? fileURLToPath(new URL('../..', import.meta.url));
const copy = fs.mkdtempSync(path.join(process.env.TMPDIR ?? '/tmp', 'new-'));
process.on('exit', () => fs.rmSync(copy, { recursive: true, force: true }));
for (const name of ['src', 'include', 'runners', 'cmake', 'tools'])
    fs.cpSync(path.join(top, name), path.join(copy, name), { recursive: true });

const run = (program, args, options = {}) => {
    const ran = spawnSync(program, args, { encoding: 'utf8', cwd: copy, ...options });
    return { status: ran.status, said: ran.stdout + ran.stderr };
};
const make = (kind, name) => run(path.join(top, 'tools/new'), [kind, name, copy]);
const flags = ['-std=c17', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-Wshadow', '-Wstrict-prototypes', '-Isrc', '-Iinclude'];
const compiles = (file) => run('cc', [...flags, `-I${path.dirname(file)}`, '-fsyntax-only', file]);

for (const [kind, name, table] of [
    ['verb', 'zz_try', 'src/verbs/verbs.def'],
    ['engine', 'zz_try', 'src/engine/engines.def'],
    ['arch', 'zz_try', 'src/convert/archs.def'],
    ['provider', 'zz_try', 'src/provider/providers.def'],
]) {
    test(`new ${kind}`, { skip: !fs.existsSync(path.join(copy, table)) && `there is no ${table}` }, async (t) => {
        const made = make(kind, name);
        assert.equal(made.status, 0, made.said);
        const files = made.said.split('\n').filter((f) => /^\S+\.(c|h|md)$/.test(f));
        const unit = files.find((f) => f.startsWith('tests/unit/'));
        assert.ok(unit && files.some((f) => f.startsWith('docs/')), made.said);
        assert.match(fs.readFileSync(path.join(copy, table), 'utf8'), new RegExp(`\\(${name}\\b`));
        for (const file of files.filter((f) => f.endsWith('.c')))
            await t.test(`${file} compiles`, () => assert.deepEqual(compiles(file), { status: 0, said: '' }));
        await t.test('it keeps to the floors', () => {
            assert.deepEqual(run(path.join(top, 'tools/check-layers'), [copy]), { status: 0, said: '' });
        });
        await t.test('its test fails and names what is to be filled in', () => {
            const built = run('cc', [unit, '-o', 'unit-test', '-lcmocka']);
            assert.equal(built.status, 0, built.said);
            const { status, said } = run('./unit-test', [], { env: { ...process.env, HANGAR_TOP: copy } });
            assert.notEqual(status, 0);
            assert.match(said, /:\d+ is to be filled in/);
        });
        await t.test('it is not made twice', () => assert.equal(make(kind, name).status, 1));
    });
}

test('a wrong call is told the right one', () => {
    assert.match(run(path.join(top, 'tools/new'), ['room', 'x']).said, /^usage: make new KIND=/);
    assert.match(make('verb', 'No-Name').said, /is no name/);
    assert.equal(make('verb', '../x').status, 2);
});
