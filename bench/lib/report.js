// SPDX-License-Identifier: Apache-2.0
// What the measurements print.
'use strict';
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

// A number with about three digits; whole ones as they are.
function number(x) {
  if (Number.isInteger(x)) return String(x);
  return Math.abs(x) < 10 ? x.toFixed(2) : Math.abs(x) < 100 ? x.toFixed(1) : x.toFixed(0);
}

// Rows of the same members as lines with columns; texts to the left, numbers to the right.
function table(rows) {
  const columns = Object.keys(rows[0]);
  const text = rows.map((row) => columns.map((c) => (typeof row[c] === 'number' ? number(row[c]) : String(row[c] ?? '-'))));
  const widths = columns.map((c, i) => Math.max(c.length, ...text.map((row) => row[i].length)));
  const left = columns.map((c) => rows.every((row) => typeof row[c] !== 'number'));
  const line = (cells) => cells.map((cell, i) => (left[i] ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ').trimEnd();
  return [line(columns), ...text.map(line)].join('\n');
}

// What else the machine does: a number well under that of its cores means that times are its own.
const load = () => `load ${fs.readFileSync('/proc/loadavg', 'utf8').split(' ').slice(0, 3).join(' ')} on ${os.availableParallelism()} cores`;

// Says whether a Python package is here to be measured against.
function missing(name) {
  const { status } = spawnSync('python3', ['-c', `import ${name}`], { stdio: 'ignore' });
  if (status !== 0) console.log(`${name}: not installed`);
  return status !== 0;
}

module.exports = { table, median, load, missing };
