// SPDX-License-Identifier: Apache-2.0
// The table of figures, its page and the dashboard say the same.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const read = (...parts) => fs.readFileSync(path.join(root, ...parts), 'utf8');

/** The lines of metrics.def. */
function parseTable(text) {
  const rows = [...text.matchAll(/HG_METRIC\((\w+),\s*(\w+),\s*"([^"]*)",\s*"([^"]*)",\s*"([^"]*)"\)/g)].map(
    ([, id, kind, name, labels, help]) => ({ id, kind, name, labels: labels ? labels.split(',') : [], help }));
  assert.equal(rows.length, [...text.matchAll(/^HG_METRIC\(/gm)].length, 'every line can be read');
  return rows;
}

/** What is wrong with the names of a table. */
function wrongNames(rows) {
  const wrong = [];
  const seen = new Set();
  for (const { name, kind, labels, help } of rows) {
    if (seen.has(name)) wrong.push(`${name} is there twice`);
    seen.add(name);
    if (!/^hangar_[a-z_]+[a-z]$/.test(name)) wrong.push(`${name} is not a name`);
    if ((kind === 'COUNTER') !== name.endsWith('_total')) wrong.push(`${name} ends as another kind`);
    if (kind === 'SECONDS' && !name.endsWith('_seconds')) wrong.push(`${name} does not tell its unit`);
    if (labels.length > 6 || labels.some((l) => !/^[a-z_]+$/.test(l) || l === 'le')) wrong.push(`${name}: ${labels}`);
    if (!/^[A-Z0-9].*\.$/.test(help)) wrong.push(`${name}: the help is no sentence`);
  }
  return wrong;
}

/** The rows of the page's tables as they follow from the table. */
function pageRows(rows) {
  const kinds = { COUNTER: 'counter', GAUGE: 'gauge', SECONDS: 'histogram, s', RATE: 'histogram, 1/s' };
  return rows.map(({ name, kind, labels, help }) =>
    `| \`${name}\` | ${kinds[kind]} | ${labels.map((l) => `\`${l}\``).join(' ')} | ${help} |`);
}

/** Figures and labels that a dashboard's expressions name but the table has not. */
function unknownIn(dashboard, rows) {
  const names = new Map();
  for (const row of rows) {
    const labels = new Set([...row.labels, 'instance', 'job']);
    if (row.kind === 'COUNTER' || row.kind === 'GAUGE') names.set(row.name, labels);
    else for (const end of ['_bucket', '_sum', '_count']) names.set(row.name + end, new Set([...labels, 'le']));
  }
  const unknown = [];
  for (const panel of dashboard.panels) {
    for (const { expr, legendFormat = '' } of panel.targets ?? []) {
      const used = [...expr.matchAll(/hangar_\w+/g)].map((m) => m[0]);
      if (used.length === 0) unknown.push(`${panel.title}: no figure`);
      unknown.push(...used.filter((name) => !names.has(name)));
      for (const [, name, inside] of expr.matchAll(/(hangar_\w+)\{([^}]*)\}/g))
        for (const [, label] of inside.matchAll(/(\w+)\s*(?:=~|!~|!=|=)"/g))
          if (!names.get(name)?.has(label)) unknown.push(`${name}{${label}}`);
      for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g))
        if (!used.some((name) => names.get(name)?.has(label))) unknown.push(`${panel.title}: legend {{${label}}}`);
    }
  }
  return unknown;
}

const table = parseTable(read('src/manager/metrics.def'));

test('every figure is named as its kind is', () => {
  assert.ok(table.length > 40);
  assert.deepEqual(wrongNames(table), []);
  assert.deepEqual(
    wrongNames([{ name: 'hangar_things', kind: 'COUNTER', labels: ['le'], help: 'x' }]),
    ['hangar_things ends as another kind', 'hangar_things: le', 'hangar_things: the help is no sentence'],
    'a planted mistake is found');
});

test('the page has a row for every figure and no other', () => {
  const rows = read('docs/formats/metrics.md').split('\n').filter((line) => line.startsWith('| `hangar_'));
  assert.deepEqual(rows, pageRows(table));
});

test('the dashboard asks for figures that there are', () => {
  const dashboard = JSON.parse(read('packaging/grafana/hangar.json'));
  assert.deepEqual(unknownIn(dashboard, table), []);
  const planted = { panels: [{ title: 't', targets: [{ expr: 'rate(hangar_nothing_total{a="b"}[1m])' }] }] };
  assert.deepEqual(unknownIn(planted, table), ['hangar_nothing_total', 'hangar_nothing_total{a}']);
  const text = JSON.stringify(dashboard);
  // What is given out for people to see is seen: all but the build's version.
  const unseen = table.filter(({ name }) => !text.includes(name)).map(({ name }) => name);
  assert.deepEqual(unseen, ['hangar_build_info']);
  assert.equal(new Set(dashboard.panels.map((p) => p.id)).size, dashboard.panels.length, 'panel ids are unique');
});
