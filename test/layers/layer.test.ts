/** @file Layer itself: names, building, weights, freezing, shapes by tracing, the functional graph, masks, losses, saving. */
import { describe, expect, it } from 'vitest';
import { deserializeLayer } from '../../src/layers/all.js';
import * as layers from '../../src/layers/index.js';
import { applyConstraints, input, Layer, maskOf, registerClass, registerFunction, serializeLayer } from '../../src/layers/index.js';
import { toSnakeCase } from '../../src/layers/names.js';
import { jit, ones, setRandomSeed, type Tensor, tensor, zeros } from '../../src/tensor/index.js';

class Residual extends Layer {
  static override className = 'Residual';
  readonly inner = layers.dense({ units: 3, name: 'inner' });
  readonly rest = [layers.layerNormalization({ name: 'norm' })];
  override call(x: Tensor): Tensor {
    return this.rest[0].apply(this.inner.apply(x).add(x));
  }
}

describe('names', () => {
  it('are Keras’s snake case, numbered', () => {
    expect(['MaxPooling2D', 'PReLU', 'Conv2DTranspose', 'BatchNormalization', 'ReLU', 'MultiHeadAttention'].map(toSnakeCase)).toEqual([
      'max_pooling2d',
      'p_re_lu',
      'conv2d_transpose',
      'batch_normalization',
      're_lu',
      'multi_head_attention',
    ]);
    const [a, b] = [layers.conv2d({ filters: 1, kernelSize: 1 }), layers.conv2d({ filters: 1, kernelSize: 1 })];
    expect(b.name).toMatch(/^conv2d_\d+$/);
    expect(a.name).not.toBe(b.name);
  });
  it('of weights are paths through the layers that make them', () => {
    const layer = new Residual({ name: 'block' });
    layer.apply(zeros([2, 3]));
    expect(layer.weights.map((w) => w.name)).toEqual(['block/inner/kernel', 'block/inner/bias', 'block/norm/gamma', 'block/norm/beta']);
  });
});

describe('building', () => {
  it('happens at first use, with the batch left open', () => {
    const layer = layers.dense({ units: 3, kernelInitializer: 'ones' });
    expect(layer.built).toBe(false);
    layer.apply(ones([5, 2]));
    expect(layer.built).toBe(true);
    expect(layer.buildShape).toEqual([null, 2]);
  });
  it('can be asked for', () => {
    const layer = layers.conv2d({ filters: 2, kernelSize: 3 });
    layer.build([null, 8, 8, 3]);
    expect(layer.built).toBe(true);
    expect(layer.countParams()).toBe(3 * 3 * 3 * 2 + 2);
  });
  it('inside a traced function makes the same weights as outside', async () => {
    setRandomSeed(5);
    const eager = layers.dense({ units: 3 });
    eager.apply(ones([1, 2]));
    setRandomSeed(5);
    const traced = layers.dense({ units: 3 });
    const y = jit((x: Tensor) => traced.apply(x))(ones([1, 2]));
    expect(await y.array()).toEqual(await eager.apply(ones([1, 2])).array());
    expect(await traced.weights[0].array()).toEqual(await eager.weights[0].array());
  });
});

describe('weights', () => {
  it('are found in properties and lists, none twice', () => {
    const shared = layers.dense({ units: 3 });
    class Twice extends Layer {
      readonly parts = { a: shared, b: [shared] };
      override call(x: Tensor): Tensor {
        return this.parts.a.apply(this.parts.b[0].apply(x));
      }
    }
    const layer = new Twice();
    layer.apply(zeros([1, 3]));
    expect(layer.weights).toHaveLength(2);
    expect(layer.sublayers()).toEqual([shared]);
  });
  it('freeze with their layer and all inside it', () => {
    const layer = new Residual();
    layer.apply(zeros([1, 3]));
    expect(layer.trainableWeights).toHaveLength(4);
    layer.inner.trainable = false;
    expect(layer.trainableWeights.map((w) => w.name.split('/').at(-1))).toEqual(['gamma', 'beta']);
    layer.trainable = false;
    expect(layer.trainableWeights).toEqual([]);
    expect(layer.nonTrainableWeights).toHaveLength(4);
    layer.trainable = true;
    expect(layer.inner.trainable).toBe(true);
  });
  it('are set all or none', async () => {
    const layer = layers.dense({ units: 2, name: 'd', kernelInitializer: 'zeros' });
    layer.build([null, 2]);
    expect(() => layer.setWeights([ones([2, 2])])).toThrow('Dense "d": setWeights was given 1 arrays. Expected 2.');
    expect(() => layer.setWeights([ones([2, 2]), ones([3])])).toThrow('Expected [2], received [3]');
    expect(await layer.weights[0].array()).toEqual([
      [0, 0],
      [0, 0],
    ]);
    layer.setWeights([
      [
        [1, 2],
        [3, 4],
      ],
      [5, 6],
    ]);
    expect(await layer.apply(tensor([[1, 1]])).array()).toEqual([[9, 12]]);
  });
  it('obey their constraints when asked', async () => {
    const layer = layers.dense({ units: 1, kernelConstraint: 'nonNeg', useBias: false });
    layer.build([null, 2]);
    layer.setWeights([[[-1], [2]]]);
    applyConstraints(layer.weights);
    expect(await layer.weights[0].array()).toEqual([[0], [2]]);
  });
});

describe('the functional graph', () => {
  it('records calls with the shapes of a first network', () => {
    const x = input({ shape: [32, 32, 3], name: 'pictures' });
    let y = layers.conv2d({ filters: 8, kernelSize: 3, activation: 'relu' }).apply(x);
    expect(y.shape).toEqual([null, 30, 30, 8]);
    y = layers.maxPooling2d().apply(y);
    y = layers.flatten().apply(y);
    expect(y.shape).toEqual([null, 1800]);
    y = layers.dense({ units: 10, activation: 'softmax' }).apply(layers.dropout(0.5).apply(y));
    expect(y.shape).toEqual([null, 10]);
    let depth = 0;
    for (let at = y; at.producer; at = at.producer.inputs[0]) depth++;
    expect(depth).toBe(5);
  });
  it('keeps unknown extents open', () => {
    const x = input({ shape: [null, null, 3] });
    const conv = layers.conv2d({ filters: 4, kernelSize: 3 });
    expect(conv.apply(x).shape).toEqual([null, null, null, 4]);
    expect(layers.globalAveragePooling2d().apply(conv.apply(x)).shape).toEqual([null, 4]);
    expect(layers.flatten().computeOutputShape([null, null, 3])).toEqual([null, null]);
  });
  it('knows a fixed batch', () => {
    expect(layers.dense({ units: 2 }).apply(input({ shape: [3], batchSize: 8 })).shape).toEqual([8, 2]);
  });
  it('lists the results of a layer with several', () => {
    class Both extends Layer {
      override call(x: Tensor): Tensor[] {
        return [x.mul(2), x.sum(-1)];
      }
    }
    const both = new Both({ name: 'both' }).apply<layers.SymbolicTensor[]>(input({ shape: [3] }));
    expect(both.map((s) => [s.name, s.shape])).toEqual([
      ['both/0', [null, 3]],
      ['both/1', [null]],
    ]);
    expect(both[1].producer?.call).toBe(both[0].producer?.call);
  });
  it('uses a computeOutputShape of one’s own', () => {
    class Odd extends Layer {
      override computeOutputShape(): layers.PartialShape {
        return [null, 7];
      }
      override call(x: Tensor): Tensor {
        return x;
      }
    }
    expect(new Odd().apply(input({ shape: [3] })).shape).toEqual([null, 7]);
  });
  it('does not train, draw or write while it looks at shapes', async () => {
    const norm = layers.batchNormalization();
    norm.apply(input({ shape: [3] }), { training: true });
    expect(await norm.movingMean.array()).toEqual([0, 0, 0]);
  });
});

describe('training', () => {
  it('is handed down to inner layers', () => {
    const seen: boolean[] = [];
    const spy = layers.lambda((x, { training }) => {
      seen.push(training);
      return x;
    });
    class Outer extends Layer {
      readonly spy = spy;
      override call(x: Tensor): Tensor {
        return this.spy.apply(x);
      }
    }
    const outer = new Outer();
    outer.apply(zeros([1]));
    outer.apply(zeros([1]), { training: true });
    expect(seen).toEqual([false, true]);
  });
  it('moves batch statistics, unless the layer is frozen', async () => {
    const norm = layers.batchNormalization({ momentum: 0.5 });
    const x = tensor([[1], [3]]);
    const y = norm.apply(x, { training: true });
    expect((await y.data())[0]).toBeCloseTo(-1, 2);
    expect(await norm.movingMean.array()).toEqual([1]);
    expect(await norm.movingVariance.array()).toEqual([1]);
    norm.trainable = false;
    expect((await norm.apply(x, { training: true }).data())[0]).toBeCloseTo(0, 3);
    expect(await norm.movingMean.array()).toEqual([1]);
  });
  it('moves them inside a compiled function too', async () => {
    const norm = layers.batchNormalization({ momentum: 0.5 });
    norm.build([null, 1]);
    const step = jit((x: Tensor) => norm.apply(x, { training: true }));
    await step(tensor([[1], [3]])).data();
    await step(tensor([[1], [3]])).data();
    expect(await norm.movingMean.array()).toEqual([1.5]);
  });
});

describe('losses', () => {
  it('of weights and activities are collected at each call', async () => {
    const layer = layers.dense({
      units: 1,
      kernelInitializer: 'ones',
      kernelRegularizer: { className: 'L2', config: { l2: 0.5 } },
      activityRegularizer: 'l1',
    });
    layer.apply(tensor([[1, 2]]));
    layer.apply(tensor([[1, 2]]));
    const values = await Promise.all(layer.losses.map((l) => l.item()));
    expect(values[0]).toBeCloseTo(0.03);
    expect(values[1]).toBeCloseTo(1);
    expect(values).toHaveLength(2);
    layer.trainable = false;
    expect(layer.regularizationLosses()).toEqual([]);
  });
  it('come from addLoss, of inner layers too', async () => {
    class Costly extends Layer {
      readonly inner = layers.activityRegularization({ l1: 1 });
      override call(x: Tensor): Tensor {
        this.addLoss(x.sum().mul(10));
        return this.inner.apply(x);
      }
    }
    const layer = new Costly();
    layer.addLoss(() => tensor(7));
    layer.apply(tensor([1, 2]));
    expect(await Promise.all(layer.collectedLosses().map((l) => l.item()))).toEqual([30, 7, 3]);
  });
});

describe('embedding', () => {
  it('gives NaN for ids that its table does not have', async () => {
    const table = layers.embedding({ inputDim: 3, outputDim: 2, embeddingsInitializer: 'ones' });
    const nan = [Number.NaN, Number.NaN];
    expect(await table.apply(tensor([0, 3, -1, -4], 'i32')).array()).toEqual([[1, 1], nan, [1, 1], nan]);
    expect(await table.apply(tensor([2, 3])).array()).toEqual([[1, 1], nan]);
  });
});

describe('masks', () => {
  it('travel from embedding through layers that keep them to the pooling that uses them', async () => {
    const ids = tensor([[1, 2, 0, 0]], 'i32');
    const table = layers.embedding({ inputDim: 3, outputDim: 1, maskZero: true });
    const embedded = table.apply(ids);
    table.setWeights([[[100], [1], [3]]]);
    const kept = layers.dropout(0.5).apply(table.apply(ids));
    expect(await maskOf(kept)?.array()).toEqual([[true, true, false, false]]);
    expect(await layers.globalAveragePooling1d().apply(kept).array()).toEqual([[2]]);
    expect(maskOf(layers.flatten().apply(embedded))).toBeNull();
  });
  it('are made by masking', async () => {
    const y = layers.masking({ maskValue: 9 }).apply(
      tensor([
        [
          [9, 9],
          [9, 1],
        ],
      ]),
    );
    expect(await maskOf(y)?.array()).toEqual([[false, true]]);
    expect(await y.array()).toEqual([
      [
        [0, 0],
        [9, 1],
      ],
    ]);
  });
  it('merge by or, and concatenate', async () => {
    const x = ones([1, 2, 1]);
    const masks = [tensor([[true, false]]), tensor([[false, false]])];
    expect(await maskOf(layers.add().apply([x, x.mul(2)], { mask: masks }))?.array()).toEqual([[true, false]]);
    expect(maskOf(layers.add().apply([x, x.mul(2)], { mask: [masks[0], null] }))).toBeNull();
    expect(await maskOf(layers.concatenate({ axis: 1 }).apply([x, x], { mask: [masks[0], null] }))?.array()).toEqual([
      [true, false, true, true],
    ]);
  });
  it('leave masked steps out of batch statistics', async () => {
    const norm = layers.batchNormalization({ momentum: 0 });
    norm.apply(tensor([[[1], [3], [100]]]), { training: true, mask: tensor([[true, true, false]]) });
    expect(await norm.movingMean.array()).toEqual([2]);
    expect(await norm.movingVariance.array()).toEqual([1]);
  });
});

describe('saving', () => {
  it('needs a registered class', () => {
    class Own extends Layer<layers.LayerOptions & { factor: number }> {
      static override className = 'OwnLayer';
      override call(x: Tensor): Tensor {
        return x.mul(this.options.factor);
      }
    }
    const saved = serializeLayer(new Own({ factor: 3, name: 'own' }));
    expect(saved).toEqual({ className: 'OwnLayer', config: { factor: 3, name: 'own', trainable: true } });
    expect(() => deserializeLayer(saved)).toThrow(
      "the class \"OwnLayer\" is not known. Expected one of Tenon's or a registered one. Call registerClass('OwnLayer', …)",
    );
    registerClass('OwnLayer', Own);
    expect(deserializeLayer(saved)).toBeInstanceOf(Own);
    expect(() => registerClass('Dense', Own)).toThrow('registerClass: "Dense" is a class of Tenon.');
    expect(() => deserializeLayer({ className: 'L2', config: {} })).toThrow('is not a layer');
  });
  it('needs names for functions', async () => {
    const twice = (x: Tensor): Tensor => x.mul(2);
    expect(() => serializeLayer(layers.lambda(twice))).toThrow("Call registerFunction('twice', …)");
    expect(() => serializeLayer(layers.dense({ units: 1, activation: twice }))).toThrow('the function "twice" can\'t be saved');
    registerFunction('twice', twice);
    const copy = deserializeLayer(serializeLayer(layers.lambda(twice)));
    expect(await copy.apply(tensor([3])).array()).toEqual([6]);
  });
});
