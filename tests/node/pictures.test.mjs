// SPDX-License-Identifier: Apache-2.0
// ctest: long
// `hangar classify --image` and `hangar embed --image`: ViT, CLIP and SigLIP on pictures made here, held to the same graphs in onnxruntime-node
// on pixels that this file makes by the definition of PIL's resampling; texts held to @huggingface/transformers; and files that are no pictures.
import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { ownHangar } from '../support/models.mjs';
import { addRepo, far, wordTokenizer } from '../support/repos.mjs';

// The checksum of a PNG's chunk (ISO 3309); node:zlib has it from Node 20 on.
function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc >>> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

const require = createRequire(join(process.env.HANGAR_TOP, 'tests', 'package.json'));
const ort = require('onnxruntime-node'), sharp = require('sharp');
const own = ownHangar('pictures', 'tiny-embed');
test.after(own.remove);

// ---- pictures ----

const put = (name, bytes) => {
  writeFileSync(join(own.home, name), bytes);
  return join(own.home, name);
};
// Smooth colours with a few edges: width x height x 3.
function scene(width, height) {
  const rgb = Buffer.alloc(width * height * 3);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const at = (y * width + x) * 3, edge = x > width / 3 && y > height / 2 ? 60 : 0;
      rgb[at] = 128 + 100 * Math.sin(x / 17) - edge;
      rgb[at + 1] = 128 + 90 * Math.cos(y / 11) + edge;
      rgb[at + 2] = (x * 3 + y * 2) % 200;
    }
  return { data: rgb, width, height };
}
const image = ({ data, width, height }) => sharp(data, { raw: { width, height, channels: 3 } });
const main = scene(150, 100), tall = scene(37, 91);
const raw = async (bytes) => {
  const { data, info } = await sharp(bytes).removeAlpha().toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height };
};
const kinds = {
  'rgb.png': await image(main).png().toBuffer(), 'palette.png': await image(main).png({ palette: true, colours: 32 }).toBuffer(),
  'alpha.png': await image(main).ensureAlpha(0.5).png().toBuffer(), 'grey.png': await image(main).greyscale().png().toBuffer(),
  'best.jpg': await image(main).jpeg({ quality: 100, chromaSubsampling: '4:4:4' }).toBuffer(), 'usual.jpg': await image(main).jpeg({ quality: 90 }).toBuffer(),
  'progressive.jpg': await image(main).jpeg({ quality: 90, progressive: true }).toBuffer(), 'grey.jpg': await image(main).greyscale().jpeg({ quality: 95 }).toBuffer(),
  'lossless.webp': await image(main).webp({ lossless: true }).toBuffer(), 'usual.webp': await image(main).webp({ quality: 90 }).toBuffer(),
  'tall.png': await image(tall).png().toBuffer(), 'one.png': await image(scene(1, 1)).png().toBuffer(), 'line.png': await image(scene(300, 1)).png().toBuffer(),
};

// ---- the definition ----

const filters = {
  1: [3, (x) => (x === 0 ? 1 : Math.abs(x) < 3 ? (3 * Math.sin(Math.PI * x) * Math.sin((Math.PI * x) / 3)) / (Math.PI * x) ** 2 : 0)],
  2: [1, (x) => Math.max(0, 1 - Math.abs(x))],
  3: [2, (x) => ((x = Math.abs(x)) < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? -0.5 * (((x - 5) * x + 8) * x - 4) : 0)],
};
// One axis: at(i) gives the old samples, the new ones come as bytes.
function along(old, count, resample, at) {
  const [support, filter] = filters[resample], scale = old / count, wide = Math.max(scale, 1);
  return Array.from({ length: count }, (_, i) => {
    const center = (i + 0.5) * scale, from = Math.max(Math.floor(center - support * wide + 0.5), 0), to = Math.min(Math.floor(center + support * wide + 0.5), old);
    let sum = 0, total = 0;
    for (let k = from; k < to; k++) {
      const w = filter((k - center + 0.5) / wide);
      sum += w * at(k);
      total += w;
    }
    return Math.min(255, Math.max(0, Math.round(sum / total)));
  });
}
function resize(p, width, height, resample) {
  const rows = Array.from({ length: p.height }, (_, y) => [0, 1, 2].map((c) => along(p.width, width, resample, (x) => p.data[(y * p.width + x) * 3 + c])));
  const data = Buffer.alloc(width * height * 3);
  for (let x = 0; x < width; x++)
    for (let c = 0; c < 3; c++) along(p.height, height, resample, (y) => rows[y][c][x]).forEach((v, y) => (data[(y * width + x) * 3 + c] = v));
  return { data, width, height };
}
function pixels(p, { mean, std, scale = 1 / 255, side = 32 }) {
  const top = p.height >= side ? Math.floor((p.height - side) / 2) : -Math.ceil((side - p.height) / 2);
  const left = p.width >= side ? Math.floor((p.width - side) / 2) : -Math.ceil((side - p.width) / 2);
  const out = new Float32Array(3 * side * side);
  for (let c = 0; c < 3; c++)
    for (let y = 0; y < side; y++)
      for (let x = 0; x < side; x++) {
        const sy = y + top, sx = x + left, inside = sy >= 0 && sx >= 0 && sy < p.height && sx < p.width;
        out[(c * side + y) * side + x] = ((inside ? p.data[(sy * p.width + sx) * 3 + c] : 0) * scale - mean[c]) / std[c];
      }
  return new ort.Tensor('float32', out, [1, 3, side, side]);
}
const half = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };
const clipped = { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] };
const byShort = (p, side, resample) => {
  const small = Math.min(p.width, p.height), large = Math.floor((side * Math.max(p.width, p.height)) / small);
  return p.width <= p.height ? resize(p, side, large, resample) : resize(p, large, side, resample);
};

// ---- models ----

const special = { pad: [0, '<pad>'], unk: [1, '<unk>'], cls: [2, '<start>'], sep: [95, '<end>'] };
const words = { 'tokenizer.json': wordTokenizer(special, 95), 'tokenizer_config.json': { tokenizer_class: 'PreTrainedTokenizerFast', pad_token: '<pad>' } };
const labels = ['cat', 'dog', 'the old sea', 'sun'];
const vitFile = { image_processor_type: 'ViTImageProcessor', size: { height: 32, width: 32 }, resample: 2, image_mean: half.mean, image_std: half.std };
const vit = addRepo(own, 'vit', 'vit', { 'preprocessor_config.json': vitFile }, { id2label: { 0: 'cat', 1: 'dog', 2: 'bird' } });
const clip = addRepo(own, 'clip', 'clip', { ...words, 'preprocessor_config.json': { feature_extractor_type: 'CLIPFeatureExtractor', size: 40, crop_size: 32 } });
const siglip = addRepo(own, 'siglip', 'siglip', { ...words, 'preprocessor_config.json': { image_processor_type: 'SiglipImageProcessor', size: { height: 32, width: 32 } } });
const sessions = {};
async function graph(ref, file, inputs) {
  const out = join(own.home, 'out', ref);
  if (!sessions[`${ref} ${file}`]) {
    if (!Object.keys(sessions).some((key) => key.startsWith(`${ref} `))) own.result(['convert', ref, '--out', out]);
    sessions[`${ref} ${file}`] = await ort.InferenceSession.create(join(out, 'onnx', `${file}.onnx`), { intraOpNumThreads: 1 });
  }
  return sessions[`${ref} ${file}`].run(inputs);
}
const softmax = (x) => x.map((v) => Math.exp(v - Math.max(...x))).map((e, _, all) => e / all.reduce((a, b) => a + b));
const sigmoid = (x) => x.map((v) => 1 / (1 + Math.exp(-v)));
function same(got, names, scores, limit) {
  const want = new Map(names.map((name, i) => [name, scores[i]]));
  assert.equal(got.length, names.length);
  got.forEach((l, i) => {
    assert.ok(Math.abs(l.score - want.get(l.label)) < limit, `${l.label}: ${l.score}, wanted ${want.get(l.label)}`);
    assert.ok(i === 0 || got[i - 1].score >= l.score, 'the likeliest first');
  });
}
const fails = (args, status, pattern) => {
  const got = own.hangar(args);
  assert.equal(got.status, status, `${args}: ${got.stdout}${got.stderr}`);
  const lines = got.stderr.trim().split('\n');
  assert.match(lines.at(-1), pattern);
};

// Lossless files give the same bytes; of JPEG and WebP the decoders differ by a few levels.
for (const [name, bytes] of Object.entries(kinds)) {
  test(`${name}: the pixels that PIL's resampling makes`, async () => {
    const file = put(name, bytes), lossy = /usual|progressive|\.jpg/.test(name);
    const shown = await raw(bytes), got = own.result(['classify', vit, '--image', file, '--top', '0']);
    const { logits } = await graph(vit, 'model', { pixel_values: pixels(resize(shown, 32, 32, 2), half) });
    assert.deepEqual([got.task, got.function, got.results[0].file], ['image-classification', 'softmax', file]);
    const names = Array.from({ length: logits.dims[1] }, (_, i) => ['cat', 'dog', 'bird'][i] ?? `LABEL_${i}`);
    same(got.results[0].labels, names, softmax(Array.from(logits.data)), lossy ? 3e-3 : 1e-4);
    const by = (await graph(clip, 'vision_model', { pixel_values: pixels(byShort(shown, 40, 3), clipped) })).image_embeds;
    if (!/line/.test(name)) assert.ok(far(own.result(['embed', clip, '--image', file]).embeddings[0], by.data) < (lossy ? 2e-2 : 1e-3), 'CLIP');
  });
}

test('upright, as Exif says', async () => {
  const { data, width, height } = tall;
  const turned = { // where the pixel (x, y) of what is seen lies in what is stored
    2: [width, height, (x, y) => [width - 1 - x, y]], 3: [width, height, (x, y) => [width - 1 - x, height - 1 - y]], 4: [width, height, (x, y) => [x, height - 1 - y]],
    5: [height, width, (x, y) => [y, x]], 6: [height, width, (x, y) => [y, height - 1 - x]], 7: [height, width, (x, y) => [width - 1 - y, height - 1 - x]], 8: [height, width, (x, y) => [width - 1 - y, x]],
  };
  for (const [orientation, [w, h, from]] of Object.entries(turned)) {
    const seen = { data: Buffer.alloc(w * h * 3), width: w, height: h };
    const bytes = await image(tall).jpeg({ quality: 100, chromaSubsampling: '4:4:4' }).withMetadata({ orientation: Number(orientation) }).toBuffer();
    for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) { const [sx, sy] = from(x, y); data.copy(seen.data, (y * w + x) * 3, (sy * width + sx) * 3, (sy * width + sx) * 3 + 3); }
    const want = (await graph(clip, 'vision_model', { pixel_values: pixels(byShort(seen, 40, 3), clipped) })).image_embeds.data;
    const flat = (await graph(clip, 'vision_model', { pixel_values: pixels(byShort(tall, 40, 3), clipped) })).image_embeds.data;
    assert.ok(far(flat, want) > 4e-2, 'a turn that can be seen');
    assert.ok(far(own.result(['embed', clip, '--image', put(`turned-${orientation}.jpg`, bytes)]).embeddings[0], want) < 2e-2, orientation);
  }
});

test('settings of preprocessor_config.json', async () => {
  const file = put('rgb.png', kinds['rgb.png']);
  const check = async (name, changes, values) => {
    const ref = addRepo(own, name, 'vit', { 'preprocessor_config.json': { ...vitFile, ...changes } });
    const { logits } = await graph(vit, 'model', { pixel_values: values });
    const got = own.result(['classify', ref, '--image', file, '--top', '0']).results[0].labels;
    const want = softmax(Array.from(logits.data)).sort((a, b) => b - a);
    assert.ok(far(got.map((l) => l.score), want) < 1e-4, name);
  };
  await check('lanczos', { resample: 1 }, pixels(resize(main, 32, 32, 1), half));
  await check('bicubic', { resample: 3, image_mean: [0.1, 0.2, 0.3] }, pixels(resize(main, 32, 32, 3), { ...half, mean: [0.1, 0.2, 0.3] }));
  await check('number', { size: 32, do_normalize: false }, pixels(resize(main, 32, 32, 2), { mean: [0, 0, 0], std: [1, 1, 1] }));
  await check('scale', { rescale_factor: 1 / 127.5, image_mean: 1, image_std: 1 }, pixels(resize(main, 32, 32, 2), { mean: [1, 1, 1], std: [1, 1, 1], scale: 1 / 127.5 }));
  await check('crop', { do_resize: false, do_center_crop: true, crop_size: { height: 32, width: 32 } }, pixels(main, half));
  await check('small', { size: { height: 20, width: 25 }, do_center_crop: true, crop_size: 32 }, pixels(resize(main, 25, 20, 2), half));
  await check('longest', { size: { shortest_edge: 60, longest_edge: 50 }, do_center_crop: true, crop_size: 32 }, pixels(resize(main, 50, Math.floor((50 * 60) / 90), 2), half));
});

// Ids of a text by the words alone.
const ids = (text) => [2, ...text.split(' ').map((w) => words['tokenizer.json'].model.vocab[w] ?? 1), 95];
const tensor = (list) => new ort.Tensor('int64', BigInt64Array.from(list, BigInt), [1, list.length]);

test('texts of CLIP and SigLIP', async () => {
  for (const text of ['the cat is red', 'sun', 'we go on and on']) {
    const list = ids(text), want = (await graph(clip, 'text_model', { input_ids: tensor(list), attention_mask: tensor(list.map(() => 1)) })).text_embeds.data;
    assert.ok(far(own.result(['embed', clip, text, 'dog']).embeddings[0], want) < 1e-4, text);
    const padded = [...list, ...Array(32 - list.length).fill(0)], other = (await graph(siglip, 'text_model', { input_ids: tensor(padded) })).pooler_output.data;
    assert.ok(far(own.result(['embed', siglip, text, 'dog']).embeddings[0], other) < 1e-4, text);
  }
  const long = own.result(['embed', clip, 'cat '.repeat(100)]);
  assert.deepEqual([long.tokens, long.truncated], [[32], [0]]);
});

test('any labels, by CLIP and SigLIP: the whole graph\'s scores', async () => {
  const file = put('rgb.png', kinds['rgb.png']), args = labels.flatMap((label) => ['--label', label]);
  for (const [ref, kind, template] of [[clip, softmax], [siglip, sigmoid], [clip, softmax, 'we see {} !']]) {
    const values = ref === clip ? pixels(byShort(main, 40, 3), clipped) : pixels(resize(main, 32, 32, 3), half), logits = [];
    for (const label of labels) {
      const list = ids((template ?? 'This is a photo of {}.').replace('{}', label)), all = ref === clip ? list : [...list, ...Array(32 - list.length).fill(0)];
      const got = await graph(ref, 'model', { input_ids: tensor(all), pixel_values: values, ...(ref === clip && { attention_mask: tensor(all.map(() => 1)) }) });
      logits.push(got.logits_per_image.data[0]);
    }
    const got = own.result(['classify', ref, '--image', file, ...args, ...(template ? ['--template', template] : [])]);
    assert.deepEqual([got.task, got.function], ['zero-shot-image-classification', ref === clip ? 'softmax' : 'sigmoid']);
    same(got.results[0].labels, labels, kind(logits), 1e-3);
  }
});

test('several pictures, as a document and as a page', () => {
  const a = put('rgb.png', kinds['rgb.png']), b = put('tall.png', kinds['tall.png']);
  const got = own.result(['classify', vit, '--image', a, '--image', b, '--top', '1']);
  assert.deepEqual(got.results.map((r) => [r.file, r.labels.length]), [[a, 1], [b, 1]]);
  assert.equal(own.hangar(['classify', vit, '--image', a, '--top', '2']).stdout.trim().split('\n').length, 3);
  const two = own.result(['embed', siglip, '--image', a, '--image', b]);
  assert.deepEqual([two.files, two.embeddings.length, two.dimensions], [[a, b], 2, two.embeddings[0].length]);
});

test('files that are no pictures, claim too much or end early are one line', async () => {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]), out = Buffer.alloc(body.length + 8);
    out.writeUInt32BE(data.length, 0);
    body.copy(out, 4);
    out.writeUInt32BE(crc32(body), body.length + 4);
    return out;
  };
  const claim = (width, height) => {
    const head = Buffer.alloc(13);
    head.writeUInt32BE(width, 0);
    head.writeUInt32BE(height, 4);
    head.set([8, 2, 0, 0, 0], 8);
    return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', head), chunk('IDAT', deflateSync(Buffer.alloc(100))), chunk('IEND', Buffer.alloc(0))]);
  };
  const jpeg = Buffer.from(kinds['usual.jpg']), frame = jpeg.findIndex((_, i) => jpeg[i] === 0xff && jpeg[i + 1] === 0xc0);
  const wide = Buffer.from(jpeg);
  wide.writeUInt16BE(65535, frame + 5);
  wide.writeUInt16BE(65535, frame + 7);
  const bad = {
    'words.png': ['these are words', 6, /not a picture that is read/], 'empty.png': ['', 6, /not a picture that is read/],
    'claim.png': [claim(65535, 65535), 6, /65535 x 65535 pixels, at most 100 million/], 'huge.png': [claim(0xffffffff, 0xffffffff), 6, /at most 100 million/],
    'nothing.png': [claim(0, 5), 6, /no pixels/], 'wide.jpg': [wide, 6, /65535 x 65535 pixels/], 'little.png': [claim(5000, 5000), 6, /damaged/],
  };
  for (const name of ['rgb.png', 'usual.jpg', 'progressive.jpg', 'lossless.webp', 'usual.webp'])
    for (const part of [0.1, 0.5, 0.95]) bad[`cut-${part}-${name}`] = [kinds[name].subarray(0, Math.floor(kinds[name].length * part)), 6, /ends early|damaged|not a picture/];
  for (const [name, [bytes, status, pattern]] of Object.entries(bad)) {
    const path = put(name, bytes);
    fails(['classify', vit, '--image', path], status, pattern);
    const got = own.hangar(['classify', vit, '--image', path]);
    assert.ok(got.stderr.includes(name), 'the file is named');
  }
  fails(['classify', vit, '--image', join(own.home, 'nowhere.png')], 3, /nowhere\.png/);
  fails(['classify', vit, '--image', own.home], 6, /./);
  const moving = await sharp(Buffer.concat([scene(20, 20).data, scene(20, 20).data]), { raw: { width: 20, height: 40, channels: 3, pageHeight: 20 } }).webp({ loop: 0 }).toBuffer();
  const got = own.hangar(['classify', vit, '--image', put('moving.webp', moving)]);
  assert.ok(got.status === 0 || /damaged/.test(got.stderr), got.stderr);
});

test('the wrong kind of model, and options that do not fit', () => {
  const file = put('rgb.png', kinds['rgb.png']);
  fails(['classify', 'hangar-labs/tiny-embed', '--image', file], 9, /embeddings, wanted one for image classification/);
  fails(['embed', vit, '--image', file], 9, /image classification, wanted one for texts and pictures/);
  fails(['classify', vit, 'a text'], 9, /image classification, wanted one for text classification/);
  fails(['classify', clip, '--image', file], 2, /has no labels of its own/);
  fails(['classify', vit, '--image', file, '--label', 'cat'], 9, /has labels of its own/);
  fails(['classify', vit, 'text', '--image', file], 2, /texts and pictures at the same time/);
  fails(['classify', vit, 'text', '--label', 'cat'], 2, /are for --image/);
  fails(['classify', clip, '--image', file, '--label', 'cat', '--template', 'none'], 2, /has no \{\}/);
  const odd = (name, changes, status, pattern) => fails(['classify', addRepo(own, name, 'vit', { 'preprocessor_config.json': changes && { ...vitFile, ...changes } }), '--image', file], status, pattern);
  odd('odd-none', null, 3, /has no preprocessor_config\.json/);
  odd('odd-class', { image_processor_type: 'BeitImageProcessor' }, 9, /image_processor_type "Beit/);
  odd('odd-way', { resample: 0 }, 9, /resample 0/);
  odd('odd-size', { size: { longest_edge: 5 } }, 9, /height is not from 1/);
  odd('odd-large', { size: 1e9 }, 9, /height is not from 1/);
  odd('odd-std', { image_std: [0, 1, 1] }, 6, /std must not be 0/);
});
