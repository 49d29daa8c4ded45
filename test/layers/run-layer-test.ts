/**
 * @file The one test of a layer: shapes (symbolic and real), dtype, weights, config and weights round trips, gradients
 * against finite differences, the mask. Every layer goes through it with several configs.
 */
import { expect } from 'vitest';
import { size } from '../../src/base/shape.js';
import { deserializeLayer } from '../../src/layers/all.js';
import { input, type Layer, maskOf, type PartialShape, serializeLayer } from '../../src/layers/index.js';
import { type DType, realize, type Tensor, tensor, valueAndGrad } from '../../src/tensor/index.js';
import { uniform } from '../graph/support.js';

type Shapes = readonly number[] | readonly (readonly number[])[];
export interface LayerTest {
  /** Of one sample; a list for several inputs. */
  input: Shapes;
  /** Of one sample. */
  output: readonly number[];
  /** Of the input; integers are drawn from [0, below). */
  dtype?: DType;
  below?: number;
  outputDType?: DType;
  /** Name (without the layer's) → shape, in order. */
  weights?: Readonly<Record<string, readonly number[]>>;
  /** Names of those that don't train. */
  frozen?: readonly string[];
  training?: boolean;
  /** Whether the layer is differentiable; default true for floats. */
  gradient?: boolean;
  /** What becomes of a mask of [batch, the first axis]; not tried when left out. */
  mask?: 'kept' | 'dropped';
}

const BATCH = 2;
const isList = (s: Shapes): s is readonly (readonly number[])[] => Array.isArray(s[0]);
const shapesOf = (s: Shapes): readonly (readonly number[])[] => (isList(s) ? s : [s as readonly number[]]);

/**
 * Data from outside, no formulas: a device with a compiler has the same few kernels for all that is computed from them, whatever they hold.
 * In [low, high).
 */
const data = (shape: readonly number[], low: number, high: number, seed: number): Float32Array =>
  Float32Array.from(uniform(size(shape), 7919 * seed, low, high));
function samples(t: LayerTest, seed: number): Tensor[] {
  return shapesOf(t.input).map((s, i) => {
    const shape = [BATCH, ...s];
    if (!t.dtype || t.dtype === 'f32') return tensor(data(shape, -1, 1, seed + i), { shape });
    return tensor(data(shape, 0, t.below ?? 256, seed + i).map(Math.floor), { shape, dtype: t.dtype });
  });
}

/** Runs all checks on a layer that is not built yet. */
export async function runLayerTest(layer: Layer, t: LayerTest): Promise<void> {
  const list = isList(t.input);
  const shapes = shapesOf(t.input);
  const options = { training: t.training ?? false };
  const call = (l: Layer, xs: readonly Tensor[]): Tensor => l.apply(list ? [...xs] : xs[0], options);

  // Symbolic: the batch stays open.
  const symbols = shapes.map((shape) => input({ shape, dtype: t.dtype ?? 'f32' }));
  const symbol = layer.apply(list ? symbols : symbols[0]);
  expect(symbol.shape, 'symbolic output shape').toEqual([null, ...t.output]);
  expect(symbol.dtype, 'symbolic output dtype').toBe(t.outputDType ?? 'f32');
  expect(symbol.producer?.layer).toBe(layer);
  expect(layer.built, 'built').toBe(true);
  const open: PartialShape[] = shapes.map((s) => [null, ...s]);
  if ((t.dtype ?? 'f32') === 'f32') expect(layer.computeOutputShape(list ? open : open[0])).toEqual([null, ...t.output]);

  // Weights.
  const names = layer.weights.map((w) => w.name);
  expect(Object.fromEntries(layer.weights.map((w) => [w.name, w.shape])), 'weights').toEqual(
    Object.fromEntries(Object.entries(t.weights ?? {}).map(([name, shape]) => [`${layer.name}/${name}`, shape])),
  );
  expect(names, 'order of weights').toEqual(Object.keys(t.weights ?? {}).map((n) => `${layer.name}/${n}`));
  expect(layer.nonTrainableWeights.map((w) => w.name)).toEqual((t.frozen ?? []).map((n) => `${layer.name}/${n}`));
  // Values that aren't all 0 or 1, so that each weight matters; positive where they are variances.
  layer.setWeights(
    layer.weights.map((w, i) =>
      w.dtype === 'i32' ? w.read() : tensor(data(w.shape, w.name.endsWith('variance') ? 0.5 : -0.8, 1, 100 + i), { shape: w.shape }),
    ),
  );
  const kept = await Promise.all(layer.getWeights().map((w) => w.array()));
  expect(layer.countParams()).toBe(layer.weights.reduce((n, w) => n + w.size, 0));

  // Real tensors.
  const xs = samples(t, 1);
  const y = call(layer, xs);
  expect(y.shape, 'output shape').toEqual([BATCH, ...t.output]);
  expect(y.dtype, 'output dtype').toBe(t.outputDType ?? 'f32');
  const values = await y.data();
  expect(values.every(Number.isFinite), 'finite').toBe(true);

  // The config is JSON, and its copy with the same weights computes the same.
  const saved = JSON.parse(JSON.stringify(serializeLayer(layer)));
  const copy = deserializeLayer(saved);
  expect(JSON.parse(JSON.stringify(serializeLayer(copy))), 'config of the copy').toEqual(saved);
  copy.ensureBuilt(
    xs.map((x) => x.shape),
    list,
  );
  copy.setWeights(kept.map((w, i) => tensor(w, layer.weights[i].dtype)));
  expect(copy.weights.map((w) => w.name)).toEqual(names);
  if (!options.training) expect(await call(copy, xs).data()).toEqual(values);

  if (t.gradient ?? (t.dtype ?? 'f32') === 'f32') await checkGradients(layer, xs, call);
  if (t.mask) {
    const mask = tensor([new Array(shapes[0][0]).fill(true), [true, ...new Array(shapes[0][0] - 1).fill(false)]]);
    const out: Tensor = layer.apply(list ? [...xs] : xs[0], { ...options, mask: list ? xs.map(() => mask) : mask });
    const carried = maskOf(out);
    if (t.mask === 'kept') expect(await carried?.array()).toEqual(await mask.array());
    else expect(carried).toBeNull();
  }
}

/** Derivatives along one random direction of each input and each trainable weight, against central differences. */
async function checkGradients(layer: Layer, xs: readonly Tensor[], call: (l: Layer, xs: readonly Tensor[]) => Tensor): Promise<void> {
  const h = 2e-3;
  const { shape } = call(layer, xs);
  const probe = tensor(data(shape, -1, 1, 50), { shape });
  const weights = layer.trainableWeights;
  const before = await Promise.all(layer.getWeights().map(async (w) => tensor(await w.data(), { shape: w.shape })));
  const loss = (inputs: readonly Tensor[]): Tensor => call(layer, inputs).mul(probe).sum();
  const [, ofInputs] = valueAndGrad(
    (...inputs: Tensor[]) => loss(inputs),
    xs.map((_, i) => i),
  )(...xs);
  layer.setWeights(before);
  const { gradients: ofWeights } = valueAndGrad(() => loss(xs), weights);
  await realize([...ofInputs, ...ofWeights]);

  /** `point`, and how to look at the layer with other data in its place. */
  const compare = async (point: Tensor, gradient: Tensor, seed: number, what: string, at: (moved: Tensor) => Promise<number>) => {
    const direction = data(point.shape, -1, 1, seed);
    const [values, slope] = [await point.data(), await gradient.data()];
    const moved = (s: number): Tensor =>
      tensor(
        Float32Array.from(values, (v, i) => v + s * direction[i]),
        { shape: point.shape },
      );
    const numeric = ((await at(moved(h))) - (await at(moved(-h)))) / (2 * h);
    const exact = direction.reduce((sum, d, i) => sum + d * slope[i], 0);
    const error = Math.abs(numeric - exact) / Math.max(1, Math.abs(exact));
    expect(error, `${what}: ${numeric} by differences, ${exact} by the gradient`).toBeLessThan(0.02);
  };
  for (const [i, x] of xs.entries())
    await compare(x, ofInputs[i], 60 + i, `input ${i}`, (moved) => {
      layer.setWeights(before);
      return loss(xs.map((other, j) => (j === i ? moved : other))).item();
    });
  for (const [i, w] of weights.entries()) {
    layer.setWeights(before);
    await compare(w.read(), ofWeights[i], 80 + i, w.name, (moved) => {
      layer.setWeights(before);
      w.assign(moved);
      return loss(xs).item();
    });
  }
}
