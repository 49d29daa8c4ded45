import { describe, expect, it } from 'vitest';
import * as layers from '../../src/layers/index.js';
import { Layer } from '../../src/layers/layer.js';
import { deserialize, serialize } from '../../src/layers/registry.js';
import { input, type SymbolicTensor } from '../../src/layers/symbolic.js';
import { type Functional, model } from '../../src/model/functional.js';
import { Model } from '../../src/model/model.js';
import { sequential } from '../../src/model/sequential.js';
import { setRandomSeed, type Tensor, tensor } from '../../src/tensor/index.js';
import '../train/support.js';

const dense = (units: number, name?: string): ReturnType<typeof layers.dense> => layers.dense({ units, kernelInitializer: 'ones', name });

describe('a functional model', () => {
  it('has branches, shared layers and nested models', async () => {
    const x = input({ shape: [2] });
    const shared = dense(2, 'shared');
    const block = sequential({ name: 'block', layers: [dense(2, 'inner'), layers.reLU()] });
    const a = shared.apply<SymbolicTensor>(x);
    const b = shared.apply<SymbolicTensor>(a);
    const out = layers.add().apply<SymbolicTensor>([a, b, block.apply<SymbolicTensor>(x)]);
    const m = model({ inputs: x, outputs: out, name: 'm' });
    // a = 3, b = 6, block = 3.
    expect(await (await m.predict([[1, 2]])).array()).toEqual([[12, 12]]);
    expect(m.weights.map((w) => w.name)).toEqual(['shared/kernel', 'shared/bias', 'inner/kernel', 'inner/bias']);
    expect(m.layers.map((l) => l.name)).toEqual(['shared', 'block', expect.stringMatching(/^add/)]);
    expect(await (m.apply(tensor([[1, 2]])) as Tensor).array()).toEqual([[12, 12]]);
    expect(m.computeOutputShape([null, 2])).toEqual([null, 2]);
  });
  it('takes and gives lists and objects', async () => {
    const [x, z] = [input({ shape: [1] }), input({ shape: [1] })];
    const sum = layers.add().apply<SymbolicTensor>([x, z]);
    const list = model({ inputs: [x, z], outputs: [sum, x] });
    const [s, same] = await list.predict([
      [[1], [2]],
      [[10], [20]],
    ]);
    expect(await s.array()).toEqual([[11], [22]]);
    expect(await same.array()).toEqual([[1], [2]]);
    const named = model({ inputs: { left: x, right: z }, outputs: { sum } });
    const result = await named.predict({ right: [[5]], left: [[1]] });
    expect(await result.sum.array()).toEqual([[6]]);
    const one: Tensor = await model({ inputs: [x, z], outputs: sum }).predict(
      [Float32Array.of(1), Float32Array.of(2)].map((data) => ({ data, shape: [1, 1], dtype: 'f32' as const })),
    );
    expect(await one.array()).toEqual([[3]]);
  });
  it('comes back from its config, with shared and nested layers', async () => {
    setRandomSeed(3);
    const x = input({ shape: [4, 4, 1], name: 'picture' });
    const conv = layers.conv2d({ filters: 2, kernelSize: 3, padding: 'same', activation: 'relu' });
    const inner = model({ inputs: x, outputs: conv.apply<SymbolicTensor>(x), name: 'inner' });
    const y = input({ shape: [4, 4, 1], name: 'y' });
    const h = layers
      .concatenate()
      .apply<SymbolicTensor>([inner.apply<SymbolicTensor>(y), inner.apply<SymbolicTensor>(layers.reLU().apply<SymbolicTensor>(y))]);
    const m = model({
      inputs: { y },
      outputs: { p: layers.dense({ units: 3, activation: 'softmax' }).apply<SymbolicTensor>(layers.flatten().apply<SymbolicTensor>(h)) },
    });
    const again = deserialize(JSON.parse(JSON.stringify(serialize(m)))) as Functional<Record<string, Tensor>>;
    again.setWeights(m.getWeights());
    const data = { data: Float32Array.from({ length: 32 }, (_, i) => Math.sin(i)), shape: [2, 4, 4, 1], dtype: 'f32' as const };
    expect(again.weights.map((w) => w.name)).toEqual(m.weights.map((w) => w.name));
    expect(await (await again.predict({ y: data })).p.array()).toEqual(await (await m.predict({ y: data })).p.array());
    const copy = m.clone({ weights: true, name: 'copy' });
    expect(copy.name).toBe('copy');
    copy.weights[0].assign(copy.weights[0].read().mul(2));
    expect(await copy.weights[0].array()).not.toEqual(await m.weights[0].array());
  });
  it('says what is wrong with its graph', () => {
    const [x, z] = [input({ shape: [1], name: 'x' }), input({ shape: [1], name: 'z' })];
    const sum = layers.add().apply<SymbolicTensor>([x, z]);
    expect(() => model({ inputs: x, outputs: sum, name: 'm' })).toThrow(
      'Functional "m": the outputs depend on input "z" [?, 1], which is not among the inputs. Expected x. Add it to inputs.',
    );
    expect(() => model({ inputs: sum, outputs: sum })).toThrow('is no input');
    expect(() => model({ inputs: x, outputs: [] })).toThrow('outputs must be tensors');
    const two = dense(1, 'same').apply<SymbolicTensor>(dense(1, 'same').apply<SymbolicTensor>(x));
    expect(() => model({ inputs: x, outputs: two, name: 'm' })).toThrow(
      'Functional "m": two layers are named "same". Expected unique names.',
    );
    const deep = model({ inputs: x, outputs: dense(2).apply<SymbolicTensor>(x), name: 'm' });
    expect(() => deep.apply(tensor([[1, 2, 3]]))).toThrow(/Functional "m": .*input "x" has shape \[\?, 3\]. Expected \[\?, 1\]/);
    expect(() => deep.getLayer('nope')).toThrow(/there is no layer "nope". Expected dense/);
    expect(deep.getLayer(0)).toBe(deep.layers[0]);
  });
});

describe('a sequential model', () => {
  it('is built from data, grows and shrinks', async () => {
    const m = sequential({ layers: [dense(2)] });
    expect(m.built).toBe(false);
    expect(await (await m.predict([[1, 1, 1]])).array()).toEqual([[3, 3]]);
    m.add(dense(1));
    expect(await (await m.predict([[1, 1, 1]])).array()).toEqual([[6]]);
    m.pop();
    expect(await (await m.predict([[1, 1, 1]])).array()).toEqual([[3, 3]]);
    expect(() => m.add(m.layers[0])).toThrow('is in it already');
    expect(() => m.add(5 as never)).toThrow('add was given number');
    const given = sequential({ layers: [input({ shape: [2] }), dense(1)] });
    expect(given.built).toBe(true);
    expect(sequential([dense(1)]).layers).toHaveLength(1);
    expect(() => sequential().pop()).toThrow('pop from a model without layers');
    expect(() =>
      sequential({ layers: [layers.dense({ units: 2, inputShape: [3] }), layers.conv2d({ filters: 1, kernelSize: 3 })] }),
    ).toThrow(/Conv2D "conv2d.*": input \[\?, 2\] has 2 axes/);
  });
  it('freezes layers and models', async () => {
    const base = sequential({
      layers: [layers.dense({ units: 2, inputShape: [2], name: 'base' }), layers.batchNormalization({ name: 'norm' })],
    });
    const m = sequential({ layers: [base, layers.dense({ units: 1, name: 'head' })] });
    await m.predict([[1, 2]]);
    expect(m.trainableWeights).toHaveLength(6);
    base.trainable = false;
    expect(m.trainableWeights.map((w) => w.name)).toEqual(['head/kernel', 'head/bias']);
    expect(m.nonTrainableWeights).toHaveLength(6);
    m.compile({ optimizer: 'sgd', loss: 'mse' });
    const before = await base.weights[0].array();
    await m.fit(
      [
        [1, 2],
        [3, 4],
      ],
      [1, 2],
      { verbose: 0, epochs: 2 },
    );
    expect(await base.weights[0].array()).toEqual(before);
    m.trainable = false;
    await expect(m.fit([[1, 2]], [1], { verbose: 0 })).rejects.toThrow('it has no trainable weights');
  });
});

describe('a model by subclassing', () => {
  class Block extends Layer {
    readonly inner = layers.dense({ units: 4, activation: 'relu' });
    override call(x: Tensor): Tensor {
      return this.inner.apply<Tensor>(x).add(1);
    }
  }
  class Net extends Model {
    readonly blocks = [new Block(), new Block()];
    readonly head = layers.dense({ units: 2, activation: 'softmax' });
    readonly drop = layers.dropout({ rate: 0.5 });
    override call(x: Tensor): Tensor {
      return this.head.apply(this.drop.apply<Tensor>(this.blocks.reduce((h, b) => b.apply<Tensor>(h), x)));
    }
  }
  it('finds its layers, trains, and is used in other models', async () => {
    setRandomSeed(4);
    const net = new Net();
    net.compile({ optimizer: 'adam', loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
    const x = [
      [0, 1],
      [1, 0],
      [1, 1],
      [0, 0],
    ];
    const history = await net.fit(x, [0, 1, 1, 0], { epochs: 2, verbose: 0 });
    expect(history.epoch).toHaveLength(2);
    expect(net.weights).toHaveLength(6);
    expect(new Set(net.weights.map((w) => w.name)).size).toBe(6);
    expect((await net.predict(x)).shape).toEqual([4, 2]);
    const t = input({ shape: [2] });
    const outer = model({ inputs: t, outputs: net.apply<SymbolicTensor>(t) });
    expect(await (await outer.predict(x)).array()).toEqual(await (await net.predict(x)).array());
  });
});
