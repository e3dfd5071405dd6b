// SPDX-License-Identifier: Apache-2.0
// ONNX files written by hand, for graphs whose answers can be worked out without an engine: nodes, small constants, inputs, outputs.
export const TYPES = { F32: 1, I64: 7, BOOL: 9, F16: 10 };

const varint = (n) => {
  const out = [];
  let left = BigInt.asUintN(64, BigInt(n));
  do {
    const byte = Number(left & 127n);
    left >>= 7n;
    out.push(left ? byte | 128 : byte);
  } while (left);
  return Buffer.from(out);
};
const number = (field, n) => Buffer.concat([varint(field << 3), varint(n)]);
const bytes = (field, data) => Buffer.concat([varint((field << 3) | 2), varint(data.length), data]);
const text = (field, s) => bytes(field, Buffer.from(s));
const all = (...parts) => Buffer.concat(parts.flat());

// An input or output; a dimension is a number or a name.
const port = ([name, type, shape]) => {
  const dims = shape.map((d) => bytes(1, typeof d === 'number' ? number(1, d) : text(2, d)));
  return all(text(1, name), bytes(2, bytes(1, all(number(1, TYPES[type]), bytes(2, all(dims))))));
};
const attribute = ([name, value]) => (Array.isArray(value)
  ? all(text(1, name), value.map((n) => number(8, n)), number(20, 7))
  : all(text(1, name), number(3, value), number(20, 2)));
const node = ([op, inputs, outputs, attributes = {}]) => all(
  inputs.map((s) => text(1, s)), outputs.map((s) => text(2, s)), text(3, outputs[0]), text(4, op), Object.entries(attributes).map((a) => bytes(5, attribute(a))));
const constant = ([name, { type, shape, data }]) => {
  const raw = type === 'F32' ? Buffer.from(Float32Array.from(data).buffer) : Buffer.from(BigInt64Array.from(data, BigInt).buffer);
  return all(shape.map((n) => number(1, n)), number(2, TYPES[type]), text(8, name), bytes(9, raw));
};

// nodes: [op, [inputs], [outputs], {attributes}]; constants: {name: {type, shape, data}}; inputs and outputs: [name, type, shape].
export function model({ nodes, constants = {}, inputs, outputs, opset = 17 }) {
  const graph = all(nodes.map((n) => bytes(1, node(n))), text(2, 'tiny'), Object.entries(constants).map((c) => bytes(5, constant(c))),
    inputs.map((p) => bytes(11, port(p))), outputs.map((p) => bytes(12, port(p))));
  return all(number(1, 8), bytes(7, graph), bytes(8, all(text(1, ''), number(2, opset))));
}
