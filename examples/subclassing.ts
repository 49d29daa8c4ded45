/**
 * @file The same network as classes: a layer of your own with build and call, in a model of your own.
 * `npm run build && node dist-tools/examples/subclassing.js [--epochs 4] [--limit 20000]`
 */
import { type CallContext, Layer, layers, Model, type PartialShape, type Tensor, type Variable } from 'tenon';
import { epochs, loadPictures } from './options.js';

/** x · gain with one learned gain a channel. */
class ChannelGain extends Layer {
  static override className = 'ChannelGain';
  gain!: Variable;
  override build(inputShape: PartialShape): void {
    this.gain = this.addWeight({ name: 'gain', shape: [inputShape.at(-1) ?? 1], initializer: 'ones' });
    super.build(inputShape);
  }
  override call(x: Tensor): Tensor {
    return x.mul(this.gain.read());
  }
}

class Classifier extends Model {
  static override className = 'Classifier';
  rescale = layers.rescaling({ scale: 1 / 255 });
  features = [
    layers.conv2d({ filters: 32, kernelSize: 3, activation: 'relu' }),
    layers.maxPooling2d({ poolSize: 2 }),
    layers.conv2d({ filters: 64, kernelSize: 3, activation: 'relu' }),
    layers.maxPooling2d({ poolSize: 2 }),
    new ChannelGain(),
    layers.flatten(),
    layers.dense({ units: 128, activation: 'relu' }),
  ];
  dropout = layers.dropout({ rate: 0.2 });
  classes = layers.dense({ units: 10, activation: 'softmax' });

  override call(picture: Tensor, { training }: CallContext): Tensor {
    let x: Tensor = this.rescale.apply(picture);
    for (const layer of this.features) x = layer.apply(x);
    return this.classes.apply(this.dropout.apply(x, { training }));
  }
}

const { train, test } = await loadPictures('shapes');
const model = new Classifier();
model.compile({ optimizer: 'adam', loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
await model.fit(train.x, train.y, { epochs, validationData: [test.x, test.y] });
const { accuracy } = await model.evaluate(test.x, test.y, { verbose: 0 });
console.log(`test accuracy ${accuracy.toFixed(4)}, ${model.countParams()} parameters`);
