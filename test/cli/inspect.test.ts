/** `tenon inspect`: the kernels of a step, and profiles as a table, JSON, SVG and Chrome trace. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chromeTrace, escapeXml, profileSvg, rowsOf, short } from '../../src/cli/profile-views.js';
import { nativeUnusable } from '../../src/device/native/native.js';
import { setDevice } from '../../src/device/registry.js';
import * as layers from '../../src/layers/index.js';
import { model as functional, type Model, sequential } from '../../src/model/index.js';
import { setRandomSeed } from '../../src/tensor/index.js';
import { inspectStep, type KernelProfile, profileStep, type StepDescription, type StepProfile } from '../../src/train/index.js';
import { randomInputs, randomLabels } from '../../src/train/profile-data.js';
import { ensureBuilt, tenon } from './built.js';

const hasNative = nativeUnusable() === null;
let folder: string;
const at = (...parts: string[]): string => join(folder, ...parts);
const small = (): Model =>
  sequential({
    name: 'tiny',
    layers: [layers.dense({ units: 8, activation: 'relu', inputShape: [6] }), layers.dense({ units: 3, activation: 'softmax' })],
  });

beforeAll(async () => {
  await ensureBuilt();
  folder = mkdtempSync(join(tmpdir(), 'tenon-inspect-'));
  const compiled = small().compile({ optimizer: 'sgd', loss: 'categoricalCrossentropy' });
  await compiled.save(at('tiny.tenon'));
  const config = { className: 'Sequential', config: small().getConfig() };
  writeFileSync(at('tiny.json'), JSON.stringify(config));
  const open = { className: 'Sequential', config: sequential([layers.dense({ units: 2 })]).getConfig() };
  writeFileSync(at('open.json'), JSON.stringify(open));
  mkdirSync(at('empty'));
}, 240_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Throws for text that is no well-formed XML document of elements, attributes and text. */
function parseXml(text: string): { name: string; attributes: Record<string, string> }[] {
  const elements: { name: string; attributes: Record<string, string> }[] = [];
  const open: string[] = [];
  const body = text.replace(/^<\?xml version="1\.0" encoding="UTF-8"\?>\n/, '');
  const token = /<(\/?)([a-z]+)((?:\s+[\w:-]+="[^"<&]*(?:&(?:amp|lt|gt|quot);[^"<&]*)*")*)\s*(\/?)>|((?:[^<&>]|&(?:amp|lt|gt|quot);)+)/y;
  while (token.lastIndex < body.length) {
    const from = token.lastIndex;
    const found = token.exec(body);
    if (!found) throw new Error(`not well formed at ${body.slice(from, from + 80)}`);
    const [, closes, name, attributes, isEmpty, content] = found;
    if (content !== undefined) {
      if (open.length === 0 && content.trim() !== '') throw new Error('text outside of the root');
    } else if (closes) {
      if (open.pop() !== name) throw new Error(`</${name}> closes nothing`);
    } else {
      if (open.length === 0 && elements.length > 0) throw new Error('two roots');
      elements.push({ name, attributes: Object.fromEntries([...attributes.matchAll(/([\w:-]+)="([^"]*)"/g)].map((m) => [m[1], m[2]])) });
      if (!isEmpty) open.push(name);
    }
  }
  if (open.length > 0) throw new Error(`<${open.join('><')}> left open`);
  return elements;
}

describe('the kernels of a step', () => {
  test('a training step: every kernel with its buffers, on any device', async () => {
    const { code, stdout, stderr } = await tenon(
      ['inspect', 'tiny.tenon', '--device', 'reference', '--batch-size', '4', '--json', 'tiny-step.json'],
      folder,
    );
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^tiny: training step, batch 4, reference, 1 thread\n\d+ kernels, /);
    const d: StepDescription & { version: string } = JSON.parse(readFileSync(at('tiny-step.json'), 'utf8'));
    expect(d).toMatchObject({ model: 'tiny', phase: 'train', batchSize: 4, device: 'reference', threads: 1, gradientAccumulationSteps: 1 });
    expect(d.version).toMatch(/^\d+\.\d+\.\d+$/);
    d.kernels.forEach((k, i) => {
      expect(stdout).toMatch(new RegExp(`\\n *${i}  ${k.label.replaceAll('+', '\\+')} `));
      expect(k.writes.length).toBeGreaterThan(0);
      expect(k.bytes).toBeGreaterThan(0);
    });
    // The products of the step: forward 2, backward 2 (weights) and 1 (the input of the second layer).
    expect(d.kernels.filter((k) => /\bdot\b/.test(k.label))).toHaveLength(5);
    expect(d.kernels.flatMap((k) => k.writes).some((text) => text === 'dense/kernel f32[48]')).toBe(true);
  });

  test('a model that is not compiled: its forward pass, and that is said', async () => {
    const { code, stdout } = await tenon(['inspect', 'tiny.json', '--device', 'reference'], folder);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^tiny: forward pass, batch 32/);
    expect(stdout).toMatch(/tiny\.json is not compiled .*forward pass\.\n$/);
  });

  test('--phase predict of a compiled model, and --input-shape of one that is open', async () => {
    const forward = await tenon(['inspect', 'mlp', '--device', 'reference', '--phase', 'predict', '--input-shape', '8,8,1'], folder);
    expect(forward.stdout).toMatch(/^mlp: forward pass/);
    expect(forward.stdout).toContain('input 0 u8[2048]');
    const open = await tenon(['inspect', 'open.json', '--device', 'reference', '--input-shape', '5'], folder);
    expect(open.code).toBe(0);
    expect(open.stdout).toContain('input 0 f32[160]');
  });
});

describe.skipIf(!hasNative)('--profile', () => {
  test('table, JSON, SVG and trace of one run agree', async () => {
    const args = ['inspect', 'mlp', '--profile', '--steps', '3', '--batch-size', '8', '--input-shape', '8x8x1'];
    const files = ['--json', 'p.json', '--svg', 'p.svg', '--trace', 'p.trace.json'];
    const { code, stdout, stderr } = await tenon([...args, ...files], folder, { TENON_NUM_THREADS: '1', TENON_DEVICE: 'native' });
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const p: StepProfile = JSON.parse(readFileSync(at('p.json'), 'utf8'));
    expect(p).toMatchObject({ model: 'mlp', phase: 'train', batchSize: 8, device: 'native', threads: 1, steps: 3 });
    expect(p.limits.flopsPerSecond).toBeGreaterThan(1e7);
    expect(p.limits.bytesPerSecond).toBeGreaterThan(1e7);
    for (const k of p.kernels) {
      expect(k.ms).toBeGreaterThanOrEqual(0);
      expect(k.shareOfStep).toBeCloseTo(k.ms / p.ms, 9);
      const seconds = k.ms / 1000;
      if (seconds > 0)
        expect(k.shareOfLimit).toBeCloseTo(
          Math.max(k.flops / seconds / p.limits.flopsPerSecond, k.bytes / seconds / p.limits.bytesPerSecond),
          6,
        );
    }
    expect(p.kernels.reduce((n, k) => n + k.ms, 0)).toBeCloseTo(p.kernelMs, 9);
    expect(p.kernelMs + p.outsideMs).toBeCloseTo(p.ms, 9);
    expect(p.ordinaryMs).toBeGreaterThan(0);

    const lines = stdout.split('\n');
    const [head, tail] = [lines.findIndex((l) => l.startsWith('kernel ')), lines.findIndex((l) => l.startsWith('all kernels'))];
    const rows = lines.slice(head + 2, tail - 1).map((l) => l.split(/ {2,}/));
    expect(new Set(rows.map((r) => r[0]))).toEqual(new Set(p.kernels.map((k) => k.label)));
    expect(rows.reduce((n, r) => n + Number(r[2]), 0)).toBe(p.kernels.length);
    const times = rows.map((r) => Number(r[3]));
    expect(times).toEqual([...times].sort((a, b) => b - a));
    expect(lines[tail]).toContain(p.kernelMs.toFixed(4));
    expect(lines[tail + 1]).toContain(p.outsideMs.toFixed(4));

    const trace = JSON.parse(readFileSync(at('p.trace.json'), 'utf8'));
    const events = trace.traceEvents.filter((e: { ph: string }) => e.ph === 'X');
    expect(events.map((e: { name: string }) => e.name)).toEqual(p.kernels.map((k) => k.label));
    let end = 0;
    events.forEach((e: { ts: number; dur: number; args: Record<string, unknown> }, i: number) => {
      expect(e.ts).toBeCloseTo(end, 6);
      expect(e.dur).toBeCloseTo(1000 * p.kernels[i].ms, 9);
      expect(e.args).toMatchObject({ call: i, flops: p.kernels[i].flops, bytes: p.kernels[i].bytes });
      end = e.ts + e.dur;
    });

    const elements = parseXml(readFileSync(at('p.svg'), 'utf8'));
    expect(elements[0]).toMatchObject({ name: 'svg', attributes: { xmlns: 'http://www.w3.org/2000/svg' } });
    expect(elements.filter((e) => e.name === 'title').length).toBeGreaterThan(p.kernels.length);
    // Files are written beside and renamed.
    expect(readdirSync(folder).filter((f) => f.endsWith('.tmp'))).toEqual([]);
  });

  test('of a model that is not compiled: the forward pass', async () => {
    const { code, stdout } = await tenon(['inspect', 'tiny.json', '--profile', '--steps', '1', '--device', 'native'], folder);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^tiny: forward pass/);
    expect(stdout).toMatch(/is not compiled/);
  });

  test('a profile leaves weights, optimizer and statistics as they were', async () => {
    setDevice('native');
    setRandomSeed(3);
    const model = small().compile({ optimizer: 'adam', loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
    const x = Float32Array.from({ length: 24 }, (_, i) => Math.sin(i));
    const column = { data: x, shape: [4, 6], dtype: 'f32' as const };
    const y = Int32Array.of(0, 1, 2, 1);
    await model.trainOnBatch(column, y);
    const state = async (): Promise<number[][]> =>
      Promise.all([...model.weights, ...model.optimizer.variables].map(async (v) => [...(await v.data())]));
    const before = await state();
    const profile = await profileStep(model, { batchSize: 4, steps: 2, warmUp: 1 });
    expect(profile.kernels.length).toBeGreaterThan(5);
    expect(await state()).toEqual(before);
    await model.trainOnBatch(column, y);
    expect(await state()).not.toEqual(before);
  });

  test('a model of two inputs and two outputs', async () => {
    setDevice('native');
    const ids = layers.input({ shape: [5], dtype: 'i32' });
    const numbers = layers.input({ shape: [4] });
    const embedded = layers.globalAveragePooling1d().apply(layers.embedding({ inputDim: 7, outputDim: 4 }).apply(ids));
    const joined = layers.add().apply([embedded, numbers]);
    const model = functional({
      inputs: [ids, numbers],
      outputs: [
        layers.dense({ units: 3, activation: 'softmax', name: 'kind' }).apply(joined),
        layers.dense({ units: 1, name: 'size' }).apply(joined),
      ],
    }).compile({ optimizer: 'sgd', loss: ['categoricalCrossentropy', 'meanSquaredError'] });
    const d = await inspectStep(model, { batchSize: 6 });
    expect(d.kernels.flatMap((k) => k.reads)).toContain('input 0 i32[30]');
    const parts: string[] = [];
    const p = await profileStep(model, { batchSize: 6, steps: 1, onProgress: (what) => void parts.push(what) });
    expect(parts).toContain('limits');
    expect(p.kernels.length).toBe(d.kernels.length);
  });
});

describe('random data', () => {
  const who = 'test';
  test('ids stay in their embedding; bytes where they are asked for', () => {
    const ids = layers.input({ shape: [50], dtype: 'i32' });
    const numbers = layers.input({ shape: [4] });
    const embedded = layers.globalAveragePooling1d().apply(layers.embedding({ inputDim: 7, outputDim: 4 }).apply(ids));
    const [a, b] = randomInputs(functional({ inputs: [ids, numbers], outputs: layers.add().apply([embedded, numbers]) }), 6, who);
    expect([a.dtype, a.shape, b.dtype, b.shape]).toEqual(['i32', [6, 50], 'f32', [6, 4]]);
    expect(new Set(a.data)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6]));
    expect(b.data.every((v) => v >= 0 && v < 1)).toBe(true);
    // Ids in floats, as a Sequential takes them.
    const table = sequential([layers.embedding({ inputDim: 3, outputDim: 2, inputShape: [20] })]);
    expect(new Set(randomInputs(table, 4, who)[0].data)).toEqual(new Set([0, 1, 2]));
    expect(Math.max(...randomInputs(small(), 40, who, { dtype: 'u8' })[0].data)).toBeGreaterThan(1);
  });
  test('labels are what each loss takes', () => {
    const model = small();
    model.prepare([{ shape: [9, 6], dtype: 'f32' }], who);
    const of = (loss: string) => randomLabels(model, [loss], 9)[0];
    expect(of('sparseCategoricalCrossentropy')).toMatchObject({ dtype: 'i32', shape: [9] });
    expect(of('sparseCategoricalCrossentropy').data.every((v) => v >= 0 && v < 3)).toBe(true);
    const rows = of('categoricalCrossentropy');
    expect(rows.shape).toEqual([9, 3]);
    for (let i = 0; i < 9; i++) expect([...rows.data.slice(3 * i, 3 * i + 3)].sort()).toEqual([0, 0, 1]);
    expect(new Set(of('binaryCrossentropy').data)).toEqual(new Set([0, 1]));
    expect(of('mse').data.every((v) => v >= 0 && v < 1)).toBe(true);
  });
  test.each(['sparseCategoricalCrossentropy', 'categoricalCrossentropy', 'binaryCrossentropy', 'mse', 'klDivergence', 'hinge', 'poisson'])(
    'a step with %s',
    async (loss) => {
      setDevice('reference');
      const d = await inspectStep(small().compile({ loss, metrics: ['accuracy'] }), { batchSize: 3 });
      expect(d).toMatchObject({ phase: 'train', batchSize: 3 });
      expect(d.kernels.filter((k) => /\bdot\b/.test(k.label))).toHaveLength(5);
    },
  );
  test('what cannot be known is asked for', async () => {
    setDevice('reference');
    const open = sequential([layers.dense({ units: 2 })]);
    await expect(inspectStep(open)).rejects.toThrow(/doesn't say what it takes/);
    await expect(inspectStep(open, { inputs: { shapes: [[5]] }, phase: 'train' })).rejects.toThrow(/not compiled/);
    const anySize = sequential([layers.conv2d({ filters: 2, kernelSize: 3, inputShape: [null, null, 1] })]);
    await expect(inspectStep(anySize)).rejects.toThrow(/shape \[\?, \?, 1\].*Expected known extents/);
    await expect(profileStep(small(), { steps: 0 })).rejects.toThrow(/steps is 0/);
    await expect(profileStep(small(), { steps: 1 })).rejects.toThrow(/the device reference has no profile/);
  });
});

describe('exit code 2', () => {
  const cases: readonly [args: string[], message: RegExp][] = [
    [['inspect'], /missing required argument 'model'/],
    [['inspect', 'vgg'], /no file vgg.*cnn, mlp/],
    [['inspect', 'empty'], /empty is a folder/],
    [['inspect', 'mlp', '--svg', 'x.svg'], /--svg.*Add --profile/],
    [['inspect', 'mlp', '--trace', 'x.json'], /--trace.*Add --profile/],
    [['inspect', 'mlp', '--steps', '3'], /--steps.*Add --profile/],
    [['inspect', 'mlp', '--profile', '--svg', 'nowhere/x.svg'], /--svg: there is no folder nowhere/],
    [['inspect', 'mlp', '--profile', '--trace', 'empty'], /--trace: empty is a folder/],
    [['inspect', 'mlp', '--profile', '--steps', '0'], /--steps.*whole number/],
    [['inspect', 'mlp', '--profile', '--device', 'reference'], /--profile: the device reference cannot time.*native/],
    [['inspect', 'mlp', '--phase', 'test'], /--phase.*train, predict/],
    [['inspect', 'mlp', '--batch-size', '0'], /--batch-size.*whole number/],
    [['inspect', 'mlp', '--input-shape', '28'], /--input-shape: mlp takes pictures/],
    [['inspect', 'mlp', '--input-shape', '28,a'], /--input-shape.*28,28,1/],
    [['inspect', 'tiny.json', '--phase', 'train', '--device', 'reference'], /tiny\.json is not compiled.*--phase predict/],
    [['inspect', 'open.json', '--device', 'reference'], /doesn't say what it takes.*--input-shape/],
    [['inspect', 'tiny.tenon', '--input-shape', '5', '--device', 'reference'], /shape \[\?, 5\].*Expected \[\?, 6\]/],
  ];
  test.each(cases)('tenon %j', async (args, message) => {
    const before = readdirSync(folder);
    const { code, stderr } = await tenon(args, folder);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^tenon: [^\n]+\n$/);
    expect(code).toBe(2);
    expect(readdirSync(folder)).toEqual(before);
  });
  test('--help', async () => {
    const { code, stdout } = await tenon(['inspect', '--help'], folder);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Usage: tenon inspect \[options\] <model>/);
    for (const option of ['--profile', '--svg', '--trace', '--json', '--steps', '--batch-size']) expect(stdout).toContain(option);
  });
});

describe('the views of a profile', () => {
  const kernel = (label: string, ms: number, more: Partial<KernelProfile> = {}): KernelProfile => ({
    label,
    items: 10,
    flops: 1000,
    bytes: 100,
    reads: [],
    writes: ['@0 f32[1]'],
    ms,
    shareOfStep: ms / 10,
    shareOfLimit: 0.5,
    ...more,
  });
  const profile = (kernels: readonly KernelProfile[]): StepProfile => ({
    model: 'a<b>&"c"\u0001',
    phase: 'train',
    batchSize: 2,
    device: 'native',
    threads: 2,
    gradientAccumulationSteps: 1,
    arenaBytes: 0,
    traceSeconds: 0,
    compileSeconds: 0,
    cachedKernels: 0,
    steps: 3,
    limits: { flopsPerSecond: 1e9, bytesPerSecond: 1e9 },
    kernels,
    ms: 10,
    kernelMs: kernels.reduce((n, k) => n + k.ms, 0),
    outsideMs: 1,
    ordinaryMs: 9,
  });

  test('calls of equal work are one row, the dearest first', () => {
    const rows = rowsOf([kernel('a', 1), kernel('b', 2.5), kernel('a', 3), kernel('a', 1, { flops: 7 })]);
    expect(rows.map((r) => [r.kernel.label, r.first, r.calls, r.ms, r.kernel.ms])).toEqual([
      ['a', 0, 2, 4, 2],
      ['b', 1, 1, 2.5, 2.5],
      ['a', 3, 1, 1, 1],
    ]);
    // Half of the limit in 1 ms is a quarter in a mean of 2.
    expect(rows[0].kernel.shareOfLimit).toBeCloseTo(0.25);
  });
  test('the picture is well formed whatever a model is called, and its bars are as wide as the times', () => {
    const elements = parseXml(profileSvg(profile([kernel('x<&>"', 6), kernel('y', 3)])));
    const bars = elements.filter((e) => e.name === 'rect' && e.attributes.y === '70').map((e) => Number(e.attributes.width));
    expect(bars).toHaveLength(3);
    expect(bars[0] / bars[1]).toBeCloseTo(2, 2);
    expect(bars[0] / bars[2]).toBeCloseTo(6, 2);
    expect(() => parseXml('<svg><rect></svg>')).toThrow();
    expect(escapeXml('<a & "b">\u0000')).toBe('&lt;a &amp; &quot;b&quot;&gt;');
  });
  test('nothing to show is no failure', () => {
    const empty = { ...profile([]), ms: 0, kernelMs: 0, outsideMs: 0 };
    expect(parseXml(profileSvg(empty)).length).toBeGreaterThan(3);
    expect(chromeTrace(empty)).toMatchObject({ traceEvents: [{ ph: 'M' }, { ph: 'M' }] });
  });
  test('short numbers', () => {
    expect([0, 12, 999, 1000, 12_345_678, 999_999].map((n) => short(n, 'B'))).toEqual([
      '0 B',
      '12 B',
      '999 B',
      '1.00 kB',
      '12.3 MB',
      '1.00 MB',
    ]);
    expect(short(1500)).toBe('1.50 k');
  });
});
