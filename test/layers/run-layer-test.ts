/**
 * @file The one test of a layer: shapes (symbolic and real), dtype, weights, config and weights round trips, gradients
 * against finite differences, the mask. Every layer goes through it with several configs.
 */
import { expect } from 'vitest';
import { deserializeLayer } from '../../src/layers/all.js';
import { input, type Layer, maskOf, type PartialShape, serializeLayer } from '../../src/layers/index.js';
import { type DType, random, type Tensor, tensor, valueAndGrad } from '../../src/tensor/index.js';

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

function samples(t: LayerTest, seed: number): Tensor[] {
  return shapesOf(t.input).map((s, i) =>
    t.dtype && t.dtype !== 'f32'
      ? random.randint([BATCH, ...s], 0, t.below ?? 256, { seed: seed + i, dtype: t.dtype })
      : random.uniform([BATCH, ...s], -1, 1, { seed: seed + i }),
  );
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
      w.dtype === 'i32' ? w.read() : random.uniform(w.shape, w.name.endsWith('variance') ? 0.5 : -0.8, 1, { seed: 100 + i }),
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
  const probe = random.uniform(call(layer, xs).shape, -1, 1, { seed: 50 });
  const weights = layer.trainableWeights;
  const before = layer.weights.map((w) => w.read());
  const value = async (inputs: readonly Tensor[]): Promise<number> => call(layer, inputs).mul(probe).sum().item();
  const close = (numeric: number, exact: number, what: string): void => {
    expect(
      Math.abs(numeric - exact) / Math.max(1, Math.abs(exact)),
      `${what}: ${numeric} by differences, ${exact} by the gradient`,
    ).toBeLessThan(0.02);
  };
  const [, inputGradients] = valueAndGrad(
    (...inputs: Tensor[]) => call(layer, inputs).mul(probe).sum(),
    xs.map((_, i) => i),
  )(...xs);
  for (const [i, x] of xs.entries()) {
    const d = random.uniform(x.shape, -1, 1, { seed: 60 + i });
    const moved = (s: number): Tensor[] => xs.map((other, j) => (j === i ? other.add(d.mul(s)) : other));
    const numeric = ((await value(moved(h))) - (await value(moved(-h)))) / (2 * h);
    close(numeric, await inputGradients[i].mul(d).sum().item(), `input ${i}`);
  }
  layer.setWeights(before);
  const { gradients } = valueAndGrad(() => call(layer, xs).mul(probe).sum(), weights);
  for (const [i, w] of weights.entries()) {
    const d = random.uniform(w.shape, -1, 1, { seed: 80 + i });
    const at = w.read();
    const results: number[] = [];
    for (const s of [h, -h]) {
      w.assign(at.add(d.mul(s)));
      results.push(await value(xs));
    }
    w.assign(at);
    close((results[0] - results[1]) / (2 * h), await gradients[i].mul(d).sum().item(), w.name);
  }
}
