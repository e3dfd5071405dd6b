// SPDX-License-Identifier: Apache-2.0
// The library as an embedder meets it: headers that stand alone, exactly the symbols they name, an install that works.
import test from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const top = process.env.HANGAR_TOP;
const build = process.env.HANGAR_BUILD;
const scratch = mkdtempSync(join(tmpdir(), 'hangar-library-'));
test.after(() => rmSync(scratch, { recursive: true, force: true }));

const run = (command, args, options = {}) => {
  const got = spawnSync(command, args, { encoding: 'utf8', ...options });
  assert.equal(got.status, 0, `${command} ${args.join(' ')}\n${got.stdout}${got.stderr}${got.error ?? ''}`);
  return got.stdout;
};
const headers = readdirSync(join(top, 'include/hangar')).filter((name) => name.endsWith('.h'));

for (const header of headers) {
  test(`hangar/${header} compiles alone, as strict C17 and as C++`, () => {
    const c = join(scratch, 'alone.c');
    const cpp = join(scratch, 'alone.cc');
    writeFileSync(c, `#include <hangar/${header}>\nint alone;\n`);
    writeFileSync(cpp, `#include <hangar/${header}>\nint alone;\n`);
    const flags = ['-Wall', '-Wextra', '-Werror', '-pedantic', '-fsyntax-only', '-I', join(top, 'include')];
    run('cc', ['-std=c17', ...flags, c]);
    run('c++', ['-std=c++17', ...flags, cpp]);
  });
}

test('the shared library exports what the headers declare, no more and no less', () => {
  const declared = new Set();
  for (const header of headers) {
    const text = readFileSync(join(top, 'include/hangar', header), 'utf8');
    for (const [, name] of text.matchAll(/HANGAR_API[^;{]*?\b(hangar_\w+)\s*\(/g)) declared.add(name);
  }
  assert.ok(declared.size > 20);
  const library = join(build, 'libhangar.so');
  const exported = run('nm', ['-D', '--defined-only', existsSync(library) ? library : join(build, 'lib/libhangar.so')])
    .split('\n')
    .filter((line) => !/ A /.test(line)) // the name of the version itself
    .map((line) => line.split(' ')[2]?.replace(/@.*/, '')).filter(Boolean);
  assert.deepEqual(exported.filter((name) => name.startsWith('hangar_')).sort(), [...declared].sort());
  assert.deepEqual(exported.filter((name) => !name.startsWith('hangar_')), []);
});

test('an installed hangar serves a program that finds it by pkg-config, shared and static', () => {
  const prefix = join(scratch, 'prefix');
  run('cmake', ['--install', build, '--prefix', prefix]);
  const source = join(scratch, 'embed.c');
  writeFileSync(source, `#include <hangar/hangar.h>
#include <stdio.h>
int main(void)
{
    hangar *h = NULL;
    hangar_err err = {0};
    hangar_options options = HANGAR_OPTIONS_INIT;
    options.home = "${scratch}/home";
    options.cache = "${scratch}/cache";
    if (hangar_open(&options, &h, &err) != HANGAR_OK) {
        puts(err.msg);
        return 1;
    }
    char *json = NULL;
    hangar_code code = hangar_model_list(h, &json, &err);
    printf("%s %s\\n", hangar_version(), code == HANGAR_OK && json ? "listed" : err.msg);
    hangar_free(json);
    hangar_close(h);
    return 0;
}
`);
  const env = { ...process.env, PKG_CONFIG_PATH: join(prefix, 'lib/pkgconfig') };
  const flags = (more) => run('pkg-config', [...more, '--cflags', '--libs', 'hangar'], { env }).trim().split(/\s+/);
  run('cc', ['-std=c17', '-Wall', '-Wextra', '-Werror', source, '-o', join(scratch, 'shared'), ...flags([])]);
  const runtime = { ...process.env, LD_LIBRARY_PATH: join(prefix, 'lib') };
  const said = run(join(scratch, 'shared'), [], { env: runtime });
  assert.match(said, /^\d+\.\d+\.\d+ listed\n$/);
  const archive = flags(['--static']).map((flag) => (flag === '-lhangar' ? '-l:libhangar.a' : flag));
  run('cc', ['-std=c17', source, '-o', join(scratch, 'static'), ...archive,
    `-Wl,-rpath,${join(prefix, 'lib/hangar')}`]);
  assert.equal(run(join(scratch, 'static'), []), said);
  const version = run(join(prefix, 'bin/hangar'), ['--version']);
  assert.match(version, /hangar \d+\.\d+\.\d+/);
});
