/**
 * @file The same network in the functional form, with what only that form can say: a branch, and a second output.
 * `npm run build && node dist-tools/examples/functional.js [--epochs 4] [--limit 20000]`
 */
import { input, layers, model } from 'tenon';
import { epochs, loadPictures } from './options.js';

const { train, test } = await loadPictures('shapes');

const picture = input({ shape: [32, 32, 3], name: 'picture' });
let x = layers.rescaling({ scale: 1 / 255 }).apply(picture);
x = layers.conv2d({ filters: 32, kernelSize: 3, activation: 'relu' }).apply(x);
x = layers.maxPooling2d({ poolSize: 2 }).apply(x);
// Two views of the same features, joined again.
const narrow = layers.conv2d({ filters: 32, kernelSize: 1, padding: 'same', activation: 'relu' }).apply(x);
const wide = layers.conv2d({ filters: 32, kernelSize: 3, padding: 'same', activation: 'relu' }).apply(x);
x = layers.concatenate().apply([narrow, wide]);
x = layers.maxPooling2d({ poolSize: 2 }).apply(x);
x = layers.flatten().apply(x);
const features = layers.dense({ units: 128, activation: 'relu', name: 'features' }).apply(x);
const classes = layers.dense({ units: 10, activation: 'softmax', name: 'classes' }).apply(features);

const classifier = model({ inputs: picture, outputs: classes, name: 'classifier' });
classifier.summary();
classifier.compile({ optimizer: 'adam', loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
await classifier.fit(train.x, train.y, { epochs, validationData: [test.x, test.y] });
const { accuracy } = await classifier.evaluate(test.x, test.y, { verbose: 0 });

// The trained layers in another model: what the network sees in a picture, for searching similar ones.
const describer = model({ inputs: picture, outputs: features });
const vectors = await describer.predict(test.x);
console.log(`test accuracy ${accuracy.toFixed(4)}, features ${vectors.shape.join('×')}`);
