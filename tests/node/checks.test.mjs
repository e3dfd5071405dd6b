// SPDX-License-Identifier: Apache-2.0
// Each check of the sources is shown to see what it is for: a violation is planted in a copy, and it must fail there.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const top = process.env.HANGAR_TOP ?? fileURLToPath(new URL('../..', import.meta.url));
const here = fs.mkdtempSync(path.join(process.env.TMPDIR ?? '/tmp', 'checks-'));
process.on('exit', () => fs.rmSync(here, { recursive: true, force: true }));

const tool = (name, ...args) => {
    const ran = spawnSync(path.join(top, 'tools', name), args, { encoding: 'utf8' });
    return { status: ran.status, said: ran.stdout + ran.stderr };
};

let count = 0;
// A small tree of its own with the project's floors; `files` maps a path to its text.
function tree(files) {
    const dir = path.join(here, String(count++));
    for (const [name, text] of Object.entries({ 'src/base/err.h': '', 'src/base/err.c': '#include "err.h"\n', ...files })) {
        fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
        fs.writeFileSync(path.join(dir, name), text);
    }
    fs.mkdirSync(path.join(dir, 'cmake'), { recursive: true });
    fs.copyFileSync(path.join(top, 'cmake/rooms.cmake'), path.join(dir, 'cmake/rooms.cmake'));
    return dir;
}

test('check-layers', async (t) => {
    const good = {
        'include/hangar/hangar.h': '#include <stdint.h>\n',
        'src/store/store.h': '#include "base/err.h"\n#include <sys/stat.h>\n',
        'src/hub/hub.c': '#include "store/store.h"\n#include <curl/curl.h>\n/*\n#include "api/http.h"\n*/\n',
        'src/engine/wire.h': '',
        'src/engine/llama_ops.h': '',
        'src/verbs/pull.c': '#include "base/err.h"\n#include "hangar/hangar.h"\n',
        'runners/llama/main.c': '#include "engine/wire.h"\n#include "engine/llama_ops.h"\n#include <llama.h>\n',
        'examples/one.c': '#include <hangar/hangar.h>\n#include <stdio.h>\n',
    };
    await t.test('takes what is in order', () => {
        assert.deepEqual(tool('check-layers', tree(good)), { status: 0, said: '' });
    });
    const planted = [
        ['a higher floor', 'src/store/up.c', '#include "hub/hub.h"\n', 'hub is on floor 3, store on floor 2'],
        ['a neighbour', 'src/hub/side.c', '#include "engine/wire.h"\n', 'engine is on floor 3, hub on floor 3'],
        ['a way round by ..', 'src/store/up.c', '#include "../hub/hub.c"\n', 'hub is on floor 3'],
        ['a library of another room', 'src/store/db.c', '#include <sqlite3.h>\n', 'only db may include it'],
        ['curl outside base, hub and provider', 'src/manager/net.c', '# include <curl/curl.h>\n', 'only base and hub and provider'],
        ['a library that no room owns', 'src/base/ev.c', '#include <ev.h>\n', 'no room owns it'],
        ['the loop outside base', 'src/api/loop.c', '#include <uv.h>\n', 'only base may include it'],
        ['a verb that reaches into a room', 'src/verbs/rm.c', '#include "store/store.h"\n', 'a verb sees'],
        ['a runner that reaches into a room', 'runners/llama/x.c', '#include "store/store.h"\n', 'a runner sees'],
        ['an engine in another runner', 'runners/onnx/x.c', '#include <llama.h>\n', 'only runners/llama'],
        ['a public header that shows a room', 'include/hangar/x.h', '#include "base/err.h"\n', 'a public header sees'],
        ['an example that sees a room', 'examples/two.c', '#include "base/err.h"\n', 'an example sees'],
        ['a room without a floor', 'src/attic/x.c', '#include "base/err.h"\n', 'has no floor'],
    ];
    for (const [what, name, text, why] of planted) {
        await t.test(`sees ${what}`, () => {
            const { status, said } = tool('check-layers', tree({ ...good, [name]: text }));
            assert.equal(status, 1);
            assert.ok(said.startsWith(`${name}:1: includes `) && said.includes(why), said);
            assert.equal(said.trim().split('\n').length, 1, said);
        });
    }
});

const lines = (n, text) => Array(n).fill(text).join('\n');
const body = (name, inside) => `int ${name}(int a)\n{\n${inside}\n    return a;\n}\n`;

test('check-size', async (t) => {
    const ok = body('fine', lines(96, '    a++;'));
    const long = body('grown', lines(97, '    a++; // { "'));
    const branchy = body('maze', lines(25, '    if (a) a++;'));
    await t.test('takes what is in order', () => {
        const table = `static const int t[] = {\n${lines(300, '    1,')}\n};\n`;
        const cases = body('cases', `    switch (a) {\n${lines(60, '    case 1: a = 2;')}\n    }`);
        assert.deepEqual(tool('check-size', tree({ 'src/base/a.c': ok + table + cases })), { status: 0, said: '' });
    });
    await t.test('sees a long function, by file and line', () => {
        const { status, said } = tool('check-size', tree({ 'src/base/a.c': ok + '\n' + long }));
        assert.deepEqual([status, said], [1, 'src/base/a.c:102: grown is 101 lines (limit 100)\n']);
    });
    await t.test('sees branching', () => {
        const { status, said } = tool('check-size', tree({ 'src/base/a.c': branchy }));
        assert.deepEqual([status, said], [1, 'src/base/a.c:1: maze has a complexity of 26 (limit 25)\n']);
    });
    await t.test('counts one branch of #if, so that braces stay even', () => {
        const text = body('even', '#ifdef X\n    if (a) {\n#else\n    if (!a) {\n#endif\n    }') + long;
        assert.match(tool('check-size', tree({ 'src/base/a.c': text })).said, /^src\/base\/a\.c:11: grown is 101 lines/);
    });
    await t.test('sees a long file, scripts too', () => {
        const { status, said } = tool('check-size', tree({ 'tools/thing': lines(1202, 'true') }));
        assert.deepEqual([status, said], [1, 'tools/thing:1: the file is 1201 lines (limit 1200)\n']);
    });

    const list = (text) => ({ 'src/base/a.c': long, 'tools/size-exemptions': text });
    const git = (dir, ...args) => {
        const who = ['-c', 'user.name=test', '-c', 'user.email=test@localhost'];
        assert.equal(spawnSync('git', ['-C', dir, ...who, ...args]).status, 0);
    };
    await t.test('an exemption holds up to its number', () => {
        assert.equal(tool('check-size', tree(list('lines src/base/a.c grown 101\n'))).status, 0);
        const fitted = tree(list('lines src/base/a.c grown 101\n'));
        fs.writeFileSync(path.join(fitted, 'src/base/a.c'), body('grown', lines(98, '    a++;')));
        assert.match(tool('check-size', fitted).said, /grown is 102 lines/);
    });
    await t.test('an exemption that is no longer needed must go', () => {
        const { status, said } = tool('check-size', tree({ 'tools/size-exemptions': 'lines src/base/a.c gone 120\n' }));
        assert.equal(status, 1);
        assert.match(said, /no longer needed/);
    });
    await t.test('the list may only shrink', () => {
        const dir = tree(list(''));
        git(dir, 'init', '-q');
        git(dir, 'add', '.');
        git(dir, 'commit', '-qm', 'start');
        fs.writeFileSync(path.join(dir, 'tools/size-exemptions'), 'lines src/base/a.c grown 101\n');
        const { status, said } = tool('check-size', dir);
        assert.equal(status, 1);
        assert.match(said, /the list may only shrink/);
    });
});
