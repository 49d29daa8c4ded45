// The tutorial's CNN in TensorFlow.js and in jax-js, for `bench cnn --javascript FOLDER`. Run with -e in the folder that has them, since
// that is where Node then looks for packages. Answers JSON lines: { do: 'hello' } and { do: 'run', steps }.
import { createInterface } from 'node:readline';

const batch = Number(process.argv[2]);

/** The pure JavaScript backend: the WASM one has no gradient of a convolution, and Node's addon does not load. */
async function tfjs() {
  const tf = await import('@tensorflow/tfjs');
  await tf.setBackend('cpu');
  await tf.ready();
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
  return { version: tf.version.tfjs, configuration: 'cpu backend', run };
}

/** Its optimizer is SGD: jax-js has no Adam, which would only take longer. */
async function jax() {
  const { numpy: np, jit, valueAndGrad, lax, nn, init, tree, defaultDevice } = await import('@jax-js/jax');
  await init('wasm');
  defaultDevice('wasm');
  const random = (shape) =>
    np.array(Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => (Math.random() - 0.5) * 0.1)).reshape(shape);
  let parameters = { c1: random([32, 3, 3, 3]), c2: random([64, 32, 3, 3]), d1: random([2304, 128]), d2: random([128, 10]) };
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
  const step = jit((p, x, y) => {
    const [value, gradient] = valueAndGrad(loss)(tree.ref(p), x, y);
    return [value, tree.map((a, b) => a.sub(b.mul(0.01)), p, gradient)];
  });
  const x = random([batch, 3, 32, 32]);
  const labels = Float32Array.from({ length: batch * 10 }, (_, i) => (i % 10 === Math.floor(i / 10) % 10 ? 1 : 0));
  const y = np.array(labels).reshape([batch, 10]);
  const run = async (steps) => {
    for (let i = 0; i < steps; i++) {
      const [value, next] = step(parameters, x.ref, y.ref);
      parameters = next;
      await value.jsAsync();
      await parameters.c1.ref.data();
    }
  };
  return { version: '', configuration: 'wasm backend, SGD', run };
}

const libraries = { tfjs, 'jax-js': jax };
const library = await libraries[process.argv[1]]();
for await (const line of createInterface({ input: process.stdin })) {
  try {
    const request = JSON.parse(line);
    if (request.do === 'hello') console.log(JSON.stringify({ version: library.version, configuration: library.configuration }));
    else {
      const start = performance.now();
      await library.run(request.steps);
      console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000 }));
    }
  } catch (error) {
    console.log(JSON.stringify({ error: String(error?.message ?? error) }));
  }
}
