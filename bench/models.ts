/**
 * @file The training steps that are timed, in Tenon: the tutorial's CNN, the character GPT, the MLP: forward, loss, gradients
 * and update as one compiled step over ready batches. peers/pytorch_models.py is the same mathematics in PyTorch.
 */
import {
  compileStep,
  dotProductAttention,
  gelu,
  layerNorm,
  layers,
  type Model,
  matmul,
  type Optimizer,
  ones,
  optimizers,
  random,
  reshape,
  type Sequential,
  type Step,
  type StepInput,
  sequential,
  setRandomSeed,
  sparseCrossEntropyFromLogits,
  split,
  type Tensor,
  take,
  type Variable,
  valueAndGrad,
  variable,
  zeros,
} from 'tenon';

export type WorkloadName = 'cnn' | 'gpt' | 'mlp';

/** A step ready to run. */
export interface Workload {
  readonly name: WorkloadName;
  readonly batch: number;
  readonly step: Step;
  /** In the order in which peers list theirs. */
  readonly weights: readonly Variable[];
  /** Inputs [x, y] of steps one after another. */
  readonly batches: readonly (readonly StepInput[])[];
  /** Arithmetic of a step's products, forward and backward: what any implementation has to do. */
  readonly flops: number;
}

export const defaultBatch: Readonly<Record<WorkloadName, number>> = { cnn: 32, gpt: 12, mlp: 128 };

/** What differs between the three. */
interface Definition {
  readonly weights: readonly Variable[];
  readonly optimizer: Optimizer;
  readonly x: { readonly shape: number[]; readonly dtype: 'u8' | 'f32' | 'i32' };
  /** Shape of the labels, and how many classes. */
  readonly y: { readonly shape: number[]; readonly classes: number };
  readonly batches: number;
  readonly flops: number;
  logits(x: Tensor): Tensor;
}

/** Builds and compiles a step, its weights drawn from a fixed seed. */
export async function buildWorkload(name: WorkloadName, batch = defaultBatch[name]): Promise<Workload> {
  setRandomSeed(1);
  const d = { cnn: defineCnn, gpt: defineGpt, mlp: defineMlp }[name](batch);
  d.optimizer.build(d.weights);
  const rows = d.y.shape.reduce((a, b) => a * b, 1);
  const step = await compileStep(
    ([x, y]) => {
      const loss = (): Tensor => sparseCrossEntropyFromLogits(d.logits(x), reshape(y, [rows])).mean();
      const { value, gradients } = valueAndGrad(loss, d.weights);
      d.optimizer.apply(gradients, d.weights);
      return { outputs: [value] };
    },
    [d.x, { shape: d.y.shape, dtype: 'i32' }],
    { name: `bench ${name}` },
  );
  const next = numbers(7);
  const size = d.x.shape.reduce((a, b) => a * b, 1);
  const randomX: Readonly<Record<Definition['x']['dtype'], () => StepInput>> = {
    u8: () => Uint8Array.from({ length: size }, () => next() & 255),
    f32: () => Float32Array.from({ length: size }, () => (next() & 0xffff) / 65536),
    i32: () => Int32Array.from({ length: size }, () => next() % d.y.classes),
  };
  const batches = Array.from({ length: d.batches }, () => [
    randomX[d.x.dtype](),
    Int32Array.from({ length: rows }, () => next() % d.y.classes),
  ]);
  return { name, batch, step, weights: d.weights, batches, flops: d.flops };
}

/** Whole numbers ≥ 0, always the same (xorshift32, Marsaglia 2003). */
export function numbers(seed: number): () => number {
  let x = seed | 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 1;
  };
}

/** Runs steps with a few in flight, as fit does. Resolves to the last loss. */
export function stepper(workload: Workload): (steps: number) => Promise<number> {
  let at = 0;
  return async (steps) => {
    const running: Promise<readonly ArrayLike<number>[]>[] = [];
    let last: readonly ArrayLike<number>[] | undefined;
    for (let i = 0; i < steps; i++) {
      running.push(workload.step.run(workload.batches[at]));
      at = (at + 1) % workload.batches.length;
      if (running.length >= 3) last = await running.shift();
    }
    for (const run of running) last = await run;
    return last?.[0][0] ?? Number.NaN;
  };
}

/** The tutorial's network; `softmax: false` ends it in logits. */
export function tutorialCnn(options: { softmax: boolean }): Sequential {
  return sequential({
    layers: [
      layers.rescaling({ scale: 1 / 255, inputShape: [32, 32, 3] }),
      layers.conv2d({ filters: 32, kernelSize: 3, activation: 'relu' }),
      layers.maxPooling2d({ poolSize: 2 }),
      layers.conv2d({ filters: 64, kernelSize: 3, activation: 'relu' }),
      layers.maxPooling2d({ poolSize: 2 }),
      layers.flatten(),
      layers.dense({ units: 128, activation: 'relu' }),
      layers.dense({ units: 10, activation: options.softmax ? 'softmax' : 'linear' }),
    ],
  });
}

/** A model's outputs in training, from one tensor to one tensor. */
export const forwardOf =
  (model: Model) =>
  (x: Tensor): Tensor =>
    model.apply<Tensor>(x, { training: true });

function defineCnn(batch: number): Definition {
  const model = tutorialCnn({ softmax: false });
  const products = [30 * 30 * 32 * 27, 13 * 13 * 64 * 288, 2304 * 128, 128 * 10];
  return {
    weights: model.trainableWeights,
    optimizer: optimizers.adam({ learningRate: 1e-3 }),
    x: { shape: [batch, 32, 32, 3], dtype: 'u8' },
    y: { shape: [batch], classes: 10 },
    batches: 100,
    flops: trainingFlops(products, batch),
    logits: forwardOf(model),
  };
}

function defineMlp(batch: number): Definition {
  const model = sequential({
    layers: [
      layers.dense({ units: 512, activation: 'relu', inputShape: [784] }),
      layers.dense({ units: 512, activation: 'relu' }),
      layers.dense({ units: 10 }),
    ],
  });
  return {
    weights: model.trainableWeights,
    optimizer: optimizers.adam({ learningRate: 1e-3 }),
    x: { shape: [batch, 784], dtype: 'f32' },
    y: { shape: [batch], classes: 10 },
    batches: 50,
    flops: trainingFlops([784 * 512, 512 * 512, 512 * 10], batch),
    logits: forwardOf(model),
  };
}

/** Three products a layer: forward, by the input, by the weights; the first layer's input needs no gradient. */
const trainingFlops = (products: readonly number[], batch: number): number =>
  2 * batch * (3 * products.reduce((a, b) => a + b, 0) - products[0]);

function defineGpt(batch: number): Definition {
  const [depth, heads, width, context, vocabulary] = [4, 4, 128, 64, 65];
  const weights: Variable[] = [];
  const add = (initial: Tensor): Variable => {
    const v = variable(initial, { name: `gpt/${weights.length}` });
    weights.push(v);
    return v;
  };
  const dense = (from: number, to: number) => ({ w: add(random.normal([from, to], 0, 0.02)), b: add(zeros([to])) });
  const norm = () => ({ scale: add(ones([width])), offset: add(zeros([width])), epsilon: 1e-5 });
  const tokens = add(random.normal([vocabulary, width], 0, 0.02));
  const positions = add(random.normal([context, width], 0, 0.02));
  const blocks = Array.from({ length: depth }, () => ({
    norm1: norm(),
    qkv: dense(width, 3 * width),
    project: dense(width, width),
    norm2: norm(),
    up: dense(width, 4 * width),
    down: dense(4 * width, width),
  }));
  const lastNorm = norm();
  const head = add(random.normal([width, vocabulary], 0, 0.02));
  const linear = (x: Tensor, { w, b }: { w: Variable; b: Variable }): Tensor => matmul(x, w).add(b);
  const logits = (ids: Tensor): Tensor => {
    // [b, t] → [b·t, c]: products on rows, attention on [b, t, h, c / h].
    const rows = batch * context;
    let x = reshape(take(tokens, ids, 0).add(positions), [rows, width]);
    for (const k of blocks) {
      const [q, key, v] = split(linear(layerNorm(x, -1, k.norm1), k.qkv), 3, -1).map((part) =>
        reshape(part, [batch, context, heads, width / heads]),
      );
      const attended = dotProductAttention(q, key, v, { isCausal: true });
      x = x.add(linear(reshape(attended, [rows, width]), k.project));
      x = x.add(linear(gelu(linear(layerNorm(x, -1, k.norm2), k.up)), k.down));
    }
    return matmul(layerNorm(x, -1, lastNorm), head);
  };
  const perToken = depth * (12 * width * width + 2 * context * width) + width * vocabulary;
  return {
    weights,
    optimizer: optimizers.adamW({ learningRate: 1e-3, weightDecay: 0.01, epsilon: 1e-8 }),
    x: { shape: [batch, context], dtype: 'i32' },
    y: { shape: [batch, context], classes: vocabulary },
    batches: 50,
    flops: 3 * 2 * perToken * batch * context,
    logits,
  };
}
