/** @file The tutorial's program as a page's worker would have it: what check-bundle measures. Never run. */
import { type ArrayColumn, sequential } from 'tenon';
import * as layers from 'tenon/layers';

type Pictures = readonly [x: ArrayColumn, y: ArrayColumn];

export async function trainAndEvaluate(train: Pictures, test: Pictures): Promise<Record<string, number>> {
  const model = sequential([
    layers.conv2d({ filters: 32, kernelSize: 3, activation: 'relu', inputShape: [32, 32, 3] }),
    layers.maxPooling2d({ poolSize: 2 }),
    layers.conv2d({ filters: 64, kernelSize: 3, activation: 'relu' }),
    layers.maxPooling2d({ poolSize: 2 }),
    layers.flatten(),
    layers.dense({ units: 128, activation: 'relu' }),
    layers.dense({ units: 10, activation: 'softmax' }),
  ]);
  model.compile({ optimizer: 'adam', loss: 'categoricalCrossentropy', metrics: ['accuracy'] });
  await model.fit(...train, { epochs: 10, validationData: [...test] });
  return model.evaluate(...test);
}
