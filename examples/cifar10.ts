/**
 * @file The tutorial's program: a convolutional network for CIFAR-10, from raw data to a saved model.
 * `npm run build && node dist-tools/examples/cifar10.js [--data-dir DIR] [--epochs 10] [--dataset shapes]`
 */
import { layers, sequential } from 'tenon';
import { epochs, loadPictures } from './options.js';

// Load the data: bytes [50000, 32, 32, 3] and class numbers [50000].
const { train, test, classNames } = await loadPictures('cifar10');
console.log(`train ${train.x.shape}, test ${test.x.shape}, classes ${classNames.join(' ')}`);

// Build the network. The first layer brings bytes to [0, 1], so that the saved model takes plain pictures.
const model = sequential();
model.add(layers.rescaling({ scale: 1 / 255, inputShape: [32, 32, 3] }));
model.add(layers.conv2d({ filters: 32, kernelSize: 3, activation: 'relu' }));
model.add(layers.maxPooling2d({ poolSize: 2 }));
model.add(layers.conv2d({ filters: 64, kernelSize: 3, activation: 'relu' }));
model.add(layers.maxPooling2d({ poolSize: 2 }));
model.add(layers.flatten());
model.add(layers.dense({ units: 128, activation: 'relu' }));
model.add(layers.dense({ units: 10, activation: 'softmax' }));
model.summary();

// Compile and train it. Class numbers are fine as labels; one-hot rows (toCategorical) too.
model.compile({ optimizer: 'adam', loss: 'categoricalCrossentropy', metrics: ['accuracy'] });
await model.fit(train.x, train.y, { epochs, batchSize: 32, validationData: [test.x, test.y] });

// Evaluate and save it.
const { loss, accuracy } = await model.evaluate(test.x, test.y, { verbose: 0 });
await model.save('cifar10.tenon');
console.log(`test loss ${loss.toFixed(4)}, test accuracy ${accuracy.toFixed(4)}`);
