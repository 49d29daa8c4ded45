import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/base/errors.js';
import * as layers from '../../src/layers/index.js';
import { Constant } from '../../src/layers/initializers.js';
import { Layer } from '../../src/layers/layer.js';
import { input, type SymbolicTensor } from '../../src/layers/symbolic.js';
import { model } from '../../src/model/functional.js';
import { layersOf, replaceLayers } from '../../src/model/layer-tree.js';
import { Model } from '../../src/model/model.js';
import { sequential } from '../../src/model/sequential.js';
import { type Tensor, tensor } from '../../src/tensor/index.js';
import '../train/support.js';

const dense = (name: string, value: number): layers.Dense =>
  new layers.Dense({ name, units: 1, useBias: false, kernelInitializer: new Constant({ value }), inputShape: [1] });
const one = tensor([[1]]);

describe('replaceLayers', () => {
  it('reaches properties, arrays, objects and nested models, wherever a layer is held', async () => {
    const [a, b, c] = [dense('a', 2), dense('b', 3), dense('c', 5)];
    class Net extends Model {
      readonly direct = a;
      readonly list = [b, a] as const;
      readonly named = { deep: { c } };
      readonly inner = sequential({ name: 'inner', layers: [dense('s', 7)] });
      override call(x: Tensor): Tensor {
        return this.inner.apply(this.named.deep.c.apply(this.list[1].apply(this.list[0].apply(this.direct.apply(x)))));
      }
    }
    const net = new Net();
    expect(await net.apply(one).data()).toEqual(Float32Array.of(2 * 3 * 2 * 5 * 7));
    const { revision } = net;
    replaceLayers(
      net,
      new Map<Layer, Layer>([
        [a, dense('a', 11)],
        [c, dense('c', 13)],
        [net.inner.layers[0], dense('s', 17)],
      ]),
    );
    expect(net.direct).toBe(net.list[1]);
    expect(await net.apply(one).data()).toEqual(Float32Array.of(11 * 3 * 11 * 13 * 17));
    expect(net.revision).toBeGreaterThan(revision);
    expect(net.inner.chain[0].producer?.layer).toBe(net.inner.layers[0]);
    expect(layersOf(net).map((l) => l.name)).toEqual([net.name, 'a', 'b', 'c', 'inner', 's']);
  });
  it('lets a new layer hold the old one', async () => {
    class Twice extends Layer {
      readonly inner: Layer;
      constructor(inner: Layer) {
        super({ name: inner.name });
        this.inner = inner;
      }
      override call(x: Tensor): Tensor {
        return this.inner.apply<Tensor>(x).mul(2);
      }
    }
    const a = dense('a', 3);
    const net = sequential({ layers: [a] });
    replaceLayers(net, new Map([[a, new Twice(a)]]));
    expect(await net.apply(one).data()).toEqual(Float32Array.of(6));
    expect(await (await net.predict([[1]])).data()).toEqual(Float32Array.of(6));
    expect(net.weights).toEqual(a.weights);
  });
  it("changes a functional model's calls and leaves other models of the same calls", async () => {
    const x = input({ shape: [1] });
    const a = dense('a', 3);
    const y = a.apply<SymbolicTensor>(a.apply<SymbolicTensor>(x));
    const [m, other] = [model({ inputs: x, outputs: y }), model({ inputs: x, outputs: y })];
    expect(await (await m.predict([[1]])).data()).toEqual(Float32Array.of(9));
    replaceLayers(m, new Map([[a, dense('a', 4)]]));
    expect(await (await m.predict([[1]])).data()).toEqual(Float32Array.of(16));
    expect(await (await other.predict([[1]])).data()).toEqual(Float32Array.of(9));
    expect(m.getConfig()).toMatchObject({
      calls: [
        { layer: 'a', inputs: [{ input: 0 }] },
        { layer: 'a', inputs: [{ call: 0, output: 0 }] },
      ],
    });
    expect(m.summary({ print: null })).toMatch(/a\[0\]\[0\]/);
  });
  it('refuses layers that are not there', () => {
    const net = sequential({ layers: [dense('a', 1)] });
    expect(() => replaceLayers(net, new Map([[dense('z', 1), dense('y', 1)]]))).toThrow(ConfigError);
    expect(() => replaceLayers(net, new Map([[dense('z', 1), dense('y', 1)]]))).toThrow('the layer "z" is not in it');
  });
});
