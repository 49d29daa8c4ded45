/**
 * @file The training steps that are timed, in Tenon: the tutorial's CNN, the character GPT, the MLP, ResNet-20, the text CNN:
 * forward, loss, gradients and update as one compiled step over ready batches. peers/pytorch_models.py is the same in PyTorch.
 */
import {
  compileStep,
  dotProductAttention,
  gelu,
  input,
  type Layer,
  layerNorm,
  layers,
  type Model,
  matmul,
  model,
  type Optimizer,
  ones,
  optimizers,
  random,
  reshape,
  type Sequential,
  type Step,
  type StepInput,
  type SymbolicTensor,
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

export type WorkloadName = 'cnn' | 'gpt' | 'mlp' | 'resnet20' | 'textcnn';

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

export const defaultBatch: Readonly<Record<WorkloadName, number>> = { cnn: 32, gpt: 12, mlp: 128, resnet20: 64, textcnn: 64 };

/** What differs between them. */
interface Definition {
  readonly weights: readonly Variable[];
  readonly optimizer: Optimizer;
  /** `vocabulary`: of inputs that are ids. */
  readonly x:
    | { readonly shape: number[]; readonly dtype: 'u8' | 'f32' }
    | { readonly shape: number[]; readonly dtype: 'i32'; readonly vocabulary: number };
  /** Shape of the labels, and how many classes. */
  readonly y: { readonly shape: number[]; readonly classes: number };
  readonly batches: number;
  readonly flops: number;
  logits(x: Tensor): Tensor;
}

/** Builds and compiles a step, its weights drawn from a fixed seed. */
export async function buildWorkload(name: WorkloadName, batch = defaultBatch[name]): Promise<Workload> {
  setRandomSeed(1);
  const d = definitions[name](batch);
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
  const randomX = (): StepInput => {
    switch (d.x.dtype) {
      case 'u8':
        return Uint8Array.from({ length: size }, () => next() & 255);
      case 'f32':
        return Float32Array.from({ length: size }, () => (next() & 0xffff) / 65536);
      case 'i32': {
        const { vocabulary } = d.x;
        return Int32Array.from({ length: size }, () => next() % vocabulary);
      }
    }
  };
  const batches = Array.from({ length: d.batches }, () => [randomX(), Int32Array.from({ length: rows }, () => next() % d.y.classes)]);
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
  (network: Model) =>
  (x: Tensor): Tensor =>
    network.apply<Tensor>(x, { training: true });

function defineCnn(batch: number): Definition {
  const network = tutorialCnn({ softmax: false });
  const products = [30 * 30 * 32 * 27, 13 * 13 * 64 * 288, 2304 * 128, 128 * 10];
  return {
    weights: network.trainableWeights,
    optimizer: optimizers.adam({ learningRate: 1e-3 }),
    x: { shape: [batch, 32, 32, 3], dtype: 'u8' },
    y: { shape: [batch], classes: 10 },
    batches: 100,
    flops: trainingFlops(products, batch),
    logits: forwardOf(network),
  };
}

function defineMlp(batch: number): Definition {
  const network = sequential({
    layers: [
      layers.dense({ units: 512, activation: 'relu', inputShape: [784] }),
      layers.dense({ units: 512, activation: 'relu' }),
      layers.dense({ units: 10 }),
    ],
  });
  return {
    weights: network.trainableWeights,
    optimizer: optimizers.adam({ learningRate: 1e-3 }),
    x: { shape: [batch, 784], dtype: 'f32' },
    y: { shape: [batch], classes: 10 },
    batches: 50,
    flops: trainingFlops([784 * 512, 512 * 512, 512 * 10], batch),
    logits: forwardOf(network),
  };
}

/** Three products a layer: forward, by the input, by the weights; the input of the first needs no gradient. */
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
    x: { shape: [batch, context], dtype: 'i32', vocabulary },
    y: { shape: [batch, context], classes: vocabulary },
    batches: 50,
    flops: 3 * 2 * perToken * batch * context,
    logits,
  };
}

/**
 * ResNet-20 for CIFAR (He et al. 2016): stages of 16, 32, 64 channels with three basic blocks each, batch normalization after
 * every convolution. A stage begins with stride 2 and a 1×1 projection as its shortcut. All padding is 1 on every side.
 */
function defineResnet20(batch: number): Definition {
  const order: Layer[] = [];
  const products: number[] = [];
  const add = (layer: Layer, x: SymbolicTensor): SymbolicTensor => {
    order.push(layer);
    return layer.apply<SymbolicTensor>(x);
  };
  const convolution = (
    x: SymbolicTensor,
    from: number,
    filters: number,
    kernelSize: 1 | 3,
    strides: 1 | 2,
    out: number,
  ): SymbolicTensor => {
    products.push(out * out * filters * from * kernelSize * kernelSize);
    // Keras's 'same' pads an even extent at its end only when the stride is 2; PyTorch's padding=1 is what the paper's code does.
    const padded = kernelSize === 3 && strides === 2 ? layers.zeroPadding2d({ padding: 1 }).apply<SymbolicTensor>(x) : x;
    const padding = strides === 1 ? 'same' : 'valid';
    const y = add(layers.conv2d({ filters, kernelSize, strides, padding, useBias: false, kernelInitializer: 'heNormal' }), padded);
    return add(layers.batchNormalization({ momentum: 0.9, epsilon: 1e-5 }), y);
  };
  const relu = (x: SymbolicTensor): SymbolicTensor => layers.activation({ activation: 'relu' }).apply<SymbolicTensor>(x);
  const pictures = input({ shape: [32, 32, 3] });
  let x = relu(convolution(pictures, 3, 16, 3, 1, 32));
  let channels = 16;
  for (const [filters, extent] of [
    [16, 32],
    [32, 16],
    [64, 8],
  ] as const)
    for (let block = 0; block < 3; block++) {
      const strides = filters === channels ? 1 : 2;
      const inner = relu(convolution(x, channels, filters, 3, strides, extent));
      const y = convolution(inner, filters, filters, 3, 1, extent);
      const shortcut = strides === 1 ? x : convolution(x, channels, filters, 1, 2, extent);
      x = relu(layers.add().apply<SymbolicTensor>([y, shortcut]));
      channels = filters;
    }
  const pooled = layers.globalAveragePooling2d().apply<SymbolicTensor>(x);
  const classes = add(layers.dense({ units: 10 }), pooled);
  return {
    weights: order.flatMap((layer) => layer.trainableWeights),
    optimizer: optimizers.sgd({ learningRate: 0.01, momentum: 0.9 }),
    x: { shape: [batch, 32, 32, 3], dtype: 'f32' },
    y: { shape: [batch], classes: 10 },
    batches: 50,
    flops: trainingFlops([...products, 640], batch),
    logits: forwardOf(model({ inputs: pictures, outputs: classes })),
  };
}

/** The text CNN (Kim 2014): embedding, filters over 3, 4 and 5 words, the largest answer of each, two classes. Adam is dense. */
function defineTextCnn(batch: number): Definition {
  const [vocabulary, width, length, filters] = [20_000, 128, 50, 100];
  const windows = [3, 4, 5];
  const ids = input({ shape: [length], dtype: 'i32' });
  const embedding = layers.embedding({ inputDim: vocabulary, outputDim: width });
  const embedded = embedding.apply<SymbolicTensor>(ids);
  const convolutions = windows.map((kernelSize) => layers.conv1d({ filters, kernelSize, activation: 'relu' }));
  const pooled = convolutions.map((layer) => layers.globalMaxPooling1d().apply<SymbolicTensor>(layer.apply<SymbolicTensor>(embedded)));
  const dense = layers.dense({ units: 2 });
  const classes = dense.apply<SymbolicTensor>(layers.concatenate().apply<SymbolicTensor>(pooled));
  // The look-up is no product, and the convolutions' input needs a gradient.
  const products = [0, ...windows.map((w) => (length - w + 1) * w * width * filters), windows.length * filters * 2];
  return {
    weights: [embedding, ...convolutions, dense].flatMap((layer) => layer.trainableWeights),
    optimizer: optimizers.adam({ learningRate: 1e-3 }),
    x: { shape: [batch, length], dtype: 'i32', vocabulary },
    y: { shape: [batch], classes: 2 },
    batches: 50,
    flops: trainingFlops(products, batch),
    logits: forwardOf(model({ inputs: ids, outputs: classes })),
  };
}

const definitions: Readonly<Record<WorkloadName, (batch: number) => Definition>> = {
  cnn: defineCnn,
  gpt: defineGpt,
  mlp: defineMlp,
  resnet20: defineResnet20,
  textcnn: defineTextCnn,
};
