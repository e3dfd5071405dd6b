// SPDX-License-Identifier: Apache-2.0
// tools/check-docs is shown to see what it is for: a violation is planted in a small tree, and it must be named there.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test, { after } from 'node:test';
import { fileURLToPath } from 'node:url';

const top = process.env.HANGAR_TOP ?? fileURLToPath(new URL('../..', import.meta.url));
const here = fs.mkdtempSync(path.join(process.env.TMPDIR ?? '/tmp', 'checks-docs-'));
after(() => fs.rmSync(here, { recursive: true, force: true }));

const page = (options) => `# hangar pull\n\n\`\`\`sh\nhangar pull org/name\n\`\`\`\n\n## Options\n\n| option | meaning |\n|---|---|\n${options}\n\n## Next\n`;
const good = {
    'src/verbs/verbs.def': 'HG_VERB(pull)\n',
    'src/verbs/pull.c': 'static const hg_param params[] = {\n    {.name = "ref",\n     .positional = true},\n    {.name = "dry-run", .type = HG_FLAG},\n    {0}};\nconst hg_verb hg_verb_pull = {.name = "pull"};\n',
    'src/settings/settings.def': 'HG_SETTING("models.download.retries", INT, retries, "5", "0..100", "", "tries")\n',
    'include/hangar/errors.def': 'HANGAR_ERROR(OK, "ok", 200, 0)\nHANGAR_ERROR(NOT_FOUND, "not found", 404, 3)\n',
    'docs/verbs/pull.md': page('| `--dry-run` | only look |\n| `--json` | for programs |'),
    'docs/formats/errors.md': '# Errors\n\n| name | exit code |\n|---|---|\n| `OK` | 0 |\n| `NOT_FOUND` | 3 |\n',
    'docs/formats/config.md': '| key | default |\n|---|---|\n| `models.download.retries` | 5 |\n',
    'docs/map.md': '# The house\n\n| room | floor |\n|---|---|\n| settings | 1 |\n| verbs | 5 |\n\n[how](howto/x.md#one-step)\n',
    'docs/howto/x.md': '# X\n\n## One step\n\n```sh\nmake test T=x\ntools/new verb x\n```\n',
    'src/settings/settings.c': '',
    'README.md': '# hangar\n\n`make demo` and `hangar pull org/name`, then [the map](docs/map.md).\n',
    'Makefile': 'demo: build ## show\nbuild:\ntest:\n',
    'tools/new': '',
};
let count = 0;
function check(changes = {}) {
    const dir = path.join(here, String(count++));
    for (const [name, text] of Object.entries({ ...good, ...changes })) {
        if (text === null) continue;
        fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
        fs.writeFileSync(path.join(dir, name), text);
    }
    const ran = spawnSync(path.join(top, 'tools/check-docs'), [dir], { encoding: 'utf8' });
    assert.equal(ran.stderr, '');
    return { status: ran.status, said: ran.stdout };
}
function fails(changes, words) {
    const { status, said } = check(changes);
    assert.equal(status, 1, said);
    assert.equal(said.trim().split('\n').length, 1, said);
    assert.match(said, words);
}

test('a tree in order passes', () => {
    assert.deepEqual(check(), { status: 0, said: '' });
});

test('verbs and their pages', () => {
    fails({ 'docs/verbs/pull.md': null, 'docs/verbs/.keep': '' }, /the verb pull has no page/);
    fails({ 'docs/verbs/push.md': '# push\n' }, /there is no verb push/);
    fails({ 'docs/verbs/pull.md': page('| `--json` | x |') }, /--dry-run of hangar pull is not in the table/);
    fails({ 'docs/verbs/pull.md': page('| `--dry-run` | x |\n| `--force` | x |') }, /hangar pull has no option --force/);
    fails({ 'src/verbs/pull.c': good['src/verbs/pull.c'].replace('{0}', '{.name = "new", .type = HG_FLAG},\n    {0}') }, /--new of hangar pull is not/);
});

test('errors, settings, rooms', () => {
    fails({ 'docs/formats/errors.md': '| `OK` | 0 |\n' }, /error NOT_FOUND has no row/);
    fails({ 'docs/formats/errors.md': '| `OK` | 0 |\n| `NOT_FOUND` | 4 |\n' }, /NOT_FOUND does not say 3/);
    fails({ 'docs/formats/errors.md': '| `OK` | 0 |\n| `NOT_FOUND` | 3 |\n| `WORSE` | 9 |\n' }, /no error WORSE/);
    fails({ 'docs/formats/config.md': '# Settings\n' }, /setting models.download.retries has no row/);
    fails({ 'docs/formats/config.md': '| `models.download.retries` | 5 |\n| `models.colour` | red |\n' }, /no setting models.colour/);
    fails({ 'src/attic/a.c': '' }, /the room attic has no row/);
});

test('commands and links', () => {
    fails({ 'README.md': 'Type `hangar fetch x`.\n' }, /no verb fetch/);
    fails({ 'README.md': '```sh\nHF_ENDPOINT=x hangar pull a/b && hangar fly\n```\n' }, /no verb fly/);
    fails({ 'README.md': '`make coffee`\n' }, /no target coffee/);
    fails({ 'docs/howto/x.md': '# X\n\n## One step\n\n```sh\ntools/gone\n```\n' }, /no tools\/gone/);
    fails({ 'docs/howto/x.md': '# X\n\n## One step\n\nJust words.\n' }, /does not end with a command/);
    fails({ 'README.md': '[a](docs/none.md)\n' }, /leads nowhere/);
    fails({ 'README.md': '[a](docs/map.md#attic)\n' }, /no heading for #attic/);
});

test('the project itself passes', () => {
    const ran = spawnSync(path.join(top, 'tools/check-docs'), { encoding: 'utf8' });
    assert.equal(ran.stdout + ran.stderr, '');
});
