// TensorFlow.js and jax-js, beside Tenon. Node runs this with -e in the folder that has them, since that is where it then looks for
// packages; for a page it is bundled there. The argument is JSON: { library, task, batch, threads, wasmFiles }. Answers JSON:
// { do: 'hello' }, { do: 'prepare', m, k, n } before the steps of a product, { do: 'run', steps }.

const isNode = typeof process === 'object' && process.versions?.node !== undefined;
const setting = JSON.parse(isNode ? process.argv[1] : decodeURIComponent(new URL(import.meta.url).search.slice(1)));
const { batch } = setting;

/** As in bench/product.ts: operands that every contender has, and the places at which results are compared. */
const operand = (seed, size) =>
  Float32Array.from({ length: size }, (_, i) => ((Math.imul(i + seed * 7919, 2654435761) >>> 8) & 0xffff) / 65536 - 0.5);
const samplesOf = (values) => Array.from({ length: 16 }, (_, i) => values[Math.floor(((values.length - 1) * i) / 15)]);

async function tfjsOn(backend) {
  const tf = await import('@tensorflow/tfjs');
  const wasm = backend === 'wasm' ? await import('@tensorflow/tfjs-backend-wasm') : null;
  if (setting.wasmFiles) wasm?.setWasmPaths(setting.wasmFiles);
  // Only where memory can be shared: in Node it has one thread. It takes no more than half of the cores that it is told of.
  if (setting.threads && !isNode) {
    Object.defineProperty(navigator, 'hardwareConcurrency', { value: 2 * setting.threads });
    wasm?.setThreadsCount(setting.threads);
  }
  if (!(await tf.setBackend(backend))) throw new Error(`the ${backend} backend does not start`);
  await tf.ready();
  const threads = wasm ? `, ${wasm.getThreadsCount()} ${wasm.getThreadsCount() === 1 ? 'thread' : 'threads'}` : '';
  return { tf, version: tf.version.tfjs, configuration: `${backend} backend${threads}` };
}

async function tfjsMatmul() {
  const { tf, ...about } = await tfjsOn('wasm');
  let operands = [];
  const prepare = async ({ m, k, n }) => {
    for (const x of operands) x.dispose();
    operands = [tf.tensor2d(operand(1, m * k), [m, k]), tf.tensor2d(operand(2, k * n), [k, n])];
    const product = tf.matMul(...operands);
    const values = await product.data();
    product.dispose();
    return { samples: samplesOf(values) };
  };
  // The call returns when the product is there.
  const run = async (steps) => {
    for (let i = 0; i < steps; i++) tf.matMul(...operands).dispose();
  };
  return { ...about, prepare, run };
}

/** The pure JavaScript backend: the WASM one has no gradient of a convolution, and Node's addon does not load. */
async function tfjsCnn() {
  const { tf, ...about } = await tfjsOn('cpu');
  const { layers } = tf;
  const model = tf.sequential({
    layers: [
      layers.conv2d({ filters: 32, kernelSize: 3, activation: 'relu', inputShape: [32, 32, 3] }),
      layers.maxPooling2d({ poolSize: 2 }),
      layers.conv2d({ filters: 64, kernelSize: 3, activation: 'relu' }),
      layers.maxPooling2d({ poolSize: 2 }),
      layers.flatten(),
      layers.dense({ units: 128, activation: 'relu' }),
      layers.dense({ units: 10, activation: 'softmax' }),
    ],
  });
  model.compile({ optimizer: 'adam', loss: 'sparseCategoricalCrossentropy' });
  const x = tf.randomUniform([batch, 32, 32, 3]);
  const y = tf.floor(tf.randomUniform([batch, 1], 0, 10));
  const run = async (steps) => {
    for (let i = 0; i < steps; i++) await model.trainOnBatch(x, y);
  };
  return { ...about, run };
}

async function startJax() {
  const jax = await import('@jax-js/jax');
  await jax.init('wasm');
  jax.defaultDevice('wasm');
  // It shares memory and starts workers wherever there are web workers, which Node has none of.
  const threads = isNode || !globalThis.crossOriginIsolated ? 1 : navigator.hardwareConcurrency;
  const configuration = `wasm backend, ${threads} ${threads === 1 ? 'thread' : 'threads'}`;
  return { jax, about: { version: '', configuration } };
}

async function jaxMatmul() {
  const { jax, about } = await startJax();
  const { numpy: np, jit } = jax;
  const product = jit((a, b) => np.matmul(a, b));
  let operands = [];
  const prepare = async ({ m, k, n }) => {
    for (const x of operands) x.dispose();
    operands = [np.array(operand(1, m * k)).reshape([m, k]), np.array(operand(2, k * n)).reshape([k, n])];
    return { samples: samplesOf(await product(...operands.map((x) => x.ref)).data()) };
  };
  const run = async (steps) => {
    for (let i = 0; i < steps; i++) {
      const c = product(...operands.map((x) => x.ref));
      await c.blockUntilReady();
      c.dispose();
    }
  };
  return { ...about, prepare, run };
}

/** Weights or data that are small and differ. */
const randomOf = (np) => (shape) =>
  np.array(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => (Math.random() - 0.5) * 0.1)).reshape(shape);

/** Steps of SGD: jax-js has no optimizers, and Adam would only take longer. `loss(parameters, x, y)`; x and y stay. */
function sgd({ jit, valueAndGrad, tree }, loss, parameters, x, y) {
  const step = jit((p, x, y) => {
    const [value, gradient] = valueAndGrad(loss)(tree.ref(p), x, y);
    return [value, tree.map((a, b) => a.sub(b.mul(0.01)), p, gradient)];
  });
  let current = parameters;
  return async (steps) => {
    let last = Number.NaN;
    for (let i = 0; i < steps; i++) {
      const [value, next] = step(current, x.ref, y.ref);
      current = next;
      last = await value.jsAsync();
      await tree.leaves(current)[0].ref.data();
    }
    return last;
  };
}

async function jaxCnn() {
  const { jax, about } = await startJax();
  const { numpy: np, lax, nn } = jax;
  const random = randomOf(np);
  const parameters = { c1: random([32, 3, 3, 3]), c2: random([64, 32, 3, 3]), d1: random([2304, 128]), d2: random([128, 10]) };
  const pool = (x, size, channels) => {
    const half = Math.floor(size / 2);
    const even = size % 2 ? x.slice([], [], [0, half * 2], [0, half * 2]) : x;
    return np.max(even.reshape([batch, channels, half, 2, half, 2]), [3, 5]);
  };
  const loss = (p, x, y) => {
    const first = pool(nn.relu(lax.conv(x, p.c1, [1, 1], 'VALID')), 30, 32);
    const second = pool(nn.relu(lax.conv(first, p.c2, [1, 1], 'VALID')), 13, 64);
    const hidden = nn.relu(np.dot(second.reshape([batch, 2304]), p.d1));
    return np.mean(nn.logSoftmax(np.dot(hidden, p.d2)).mul(y)).mul(-10);
  };
  const labels = Float32Array.from({ length: batch * 10 }, (_, i) => (i % 10 === Math.floor(i / 10) % 10 ? 1 : 0));
  const run = sgd(jax, loss, parameters, random([batch, 3, 32, 32]), np.array(labels).reshape([batch, 10]));
  return { ...about, configuration: `${about.configuration}, SGD`, run };
}

/** The character GPT of bench/models.ts. An array is used up by what it goes into: `.ref` where it's needed again. */
async function jaxGpt() {
  const { jax, about } = await startJax();
  const { numpy: np, nn, tree } = jax;
  const [depth, heads, width, context, vocabulary] = [4, 4, 128, 64, 65];
  const random = randomOf(np);
  const dense = (from, to) => ({ w: random([from, to]), b: np.zeros([to]) });
  const norm = () => ({ scale: np.ones([width]), offset: np.zeros([width]) });
  const parameters = {
    tokens: random([vocabulary, width]),
    positions: random([context, width]),
    blocks: Array.from({ length: depth }, () => ({
      norm1: norm(),
      qkv: dense(width, 3 * width),
      project: dense(width, width),
      norm2: norm(),
      up: dense(width, 4 * width),
      down: dense(4 * width, width),
    })),
    norm: norm(),
    head: random([width, vocabulary]),
  };
  const linear = (x, { w, b }) => np.matmul(x, w).add(b);
  const layerNorm = (x, { scale, offset }) => nn.standardize(x, -1, { epsilon: 1e-5 }).mul(scale).add(offset);
  const rows = batch * context;
  // Later positions; dotProductAttention goes through einsum, which wants a newer JavaScript than Node 20's.
  const later = np.triu(np.ones([context, context]), 1).mul(-1e9);
  const attention = (x, block) => {
    const parts = np.split(linear(layerNorm(x, block.norm1), block.qkv), 3, -1);
    const [q, k, v] = parts.map((part) => np.transpose(part.reshape([batch, context, heads, width / heads]), [0, 2, 1, 3]));
    const scores = np.matmul(q, np.transpose(k, [0, 1, 3, 2])).mul((width / heads) ** -0.5);
    const attended = np.matmul(nn.softmax(scores.add(later.ref), -1), v);
    return linear(np.transpose(attended, [0, 2, 1, 3]).reshape([rows, width]), block.project);
  };
  const loss = (p, ids, labels) => {
    let x = np.take(p.tokens, ids, 0).add(p.positions).reshape([rows, width]);
    for (const block of p.blocks) {
      x = x.ref.add(attention(x, block));
      x = x.ref.add(linear(nn.gelu(linear(layerNorm(x, block.norm2), block.up), { approximate: false }), block.down));
    }
    const logits = np.matmul(layerNorm(x, p.norm), p.head);
    return np.mean(nn.logSoftmax(logits, -1).mul(nn.oneHot(labels, vocabulary))).mul(-vocabulary);
  };
  const idsOf = (shape) => {
    const size = shape.reduce((a, b) => a * b, 1);
    return np.array(Int32Array.from({ length: size }, () => Math.floor(Math.random() * vocabulary))).reshape(shape);
  };
  const run = sgd(jax, loss, parameters, idsOf([batch, context]), idsOf([rows]));
  const count = tree.leaves(parameters).reduce((n, x) => n + x.size, 0);
  return { ...about, configuration: `${about.configuration}, SGD`, parameters: count, run };
}

const tasks = { tfjs: { matmul: tfjsMatmul, cnn: tfjsCnn }, 'jax-js': { matmul: jaxMatmul, cnn: jaxCnn, gpt: jaxGpt } };
let library;

async function answer(request) {
  // Made at the first request, so that a library that doesn't start answers with an error.
  library ??= tasks[setting.library][setting.task]();
  const { prepare, run, ...about } = await library;
  switch (request.do) {
    case 'hello':
      return about;
    case 'prepare':
      return prepare(request);
    case 'run': {
      const start = performance.now();
      const loss = await run(request.steps);
      return { seconds: (performance.now() - start) / 1000, loss };
    }
    default:
      throw new Error(`unknown request ${JSON.stringify(request)}`);
  }
}
export const answerRequest = (request) => answer(request).catch((error) => ({ error: String(error?.message ?? error) }));

if (isNode) {
  const { createInterface } = await import('node:readline');
  for await (const line of createInterface({ input: process.stdin })) console.log(JSON.stringify(await answerRequest(JSON.parse(line))));
}
