import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FormatError } from '../../src/base/errors.js';
import { readSafetensors, writeSafetensors } from '../../src/io/safetensors.js';
import * as layers from '../../src/layers/index.js';
import { registerClass } from '../../src/layers/registry.js';
import { input, type SymbolicTensor } from '../../src/layers/symbolic.js';
import { model } from '../../src/model/functional.js';
import { loadModel } from '../../src/model/load.js';
import { Model } from '../../src/model/model.js';
import { Sequential, sequential } from '../../src/model/sequential.js';
import { optimizers } from '../../src/optimizers/index.js';
import { setRandomSeed, type Tensor } from '../../src/tensor/index.js';
import { points } from '../train/support.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenon-save-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const { x, y } = points(24);
const quiet = { verbose: 0, shuffle: false } as const;
function make(): Sequential {
  setRandomSeed(1);
  const m = sequential({
    name: 'net',
    layers: [
      layers.dense({ name: 'a', units: 3, activation: 'relu', kernelInitializer: 'heNormal', inputShape: [2] }),
      layers.batchNormalization({ name: 'n' }),
      layers.dense({ name: 'b', units: 2, activation: 'softmax' }),
    ],
  });
  m.compile({ optimizer: optimizers.adam({ learningRate: 0.05 }), loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
  return m;
}

describe('save and loadModel', () => {
  it('bring back the whole model: training goes on as if nothing had happened', async () => {
    const m = make();
    await m.fit(x, y, { ...quiet, epochs: 2 });
    const path = join(root, 'm.tenon');
    await m.save(path);
    const loaded = await loadModel(path);
    expect(loaded).toBeInstanceOf(Sequential);
    expect(loaded.name).toBe('net');
    const [h, g] = [await m.fit(x, y, { ...quiet, epochs: 2 }), await loaded.fit(x, y, { ...quiet, epochs: 2 })];
    expect(g.history).toEqual(h.history);
    for (const [i, w] of m.weights.entries()) expect(await loaded.weights[i].array()).toEqual(await w.array());
    expect(loaded.optimizer.learningRate).toBeCloseTo(0.05, 7);
    // Without the optimizer's state it begins anew.
    await m.save(path, { optimizer: false });
    expect(await (await loadModel(path)).optimizer.iterations.array()).toBe(0);
    expect((await loadModel(path, { compile: false })).compiled).toBeNull();
  });
  it('know models made of models and of own classes', async () => {
    class Twice extends Model {
      static override className = 'Twice';
      readonly dense = layers.dense({ units: 2, name: 'd' });
      override call(t: Tensor | Tensor[]): Tensor {
        return this.dense.apply<Tensor>(t as Tensor).mul(2);
      }
    }
    const t = input({ shape: [2] });
    const m = model({ inputs: t, outputs: new Twice({ name: 'twice' }).apply<SymbolicTensor>(t) });
    const path = join(root, 'own.tenon');
    await m.save(path);
    await expect(loadModel(path)).rejects.toThrow(/the class "Twice" is not known.*registerClass\('Twice'/);
    const loaded = await loadModel(path, { customObjects: { Twice } });
    expect(await (await loaded.predict(x)).array()).toEqual(await (await m.predict(x)).array());
    const alone = new Twice({ name: 'alone' });
    await alone.predict(x);
    await alone.save(path);
    expect(await (await loadModel(path)).weights[0].array()).toEqual(await alone.weights[0].array());
  });
  it('say of a class that is not registered which calls make it known, and both do', async () => {
    class Double extends layers.Layer {
      override call(t: Tensor): Tensor {
        return t.mul(2);
      }
    }
    const m = sequential({ name: 'net', layers: [new Double({ inputShape: [2] })] });
    const path = join(root, 'double.tenon');
    await m.save(path);
    await expect(loadModel(path)).rejects.toThrow(
      "the class \"Double\" is not known. Expected one of Tenon's or a registered one. Call registerClass('Double', …) before loading, or loadModel(path, { customObjects: { Double: … } }).",
    );
    expect((await loadModel(path, { customObjects: { Double } })).layers[0]).toBeInstanceOf(Double);
    registerClass('Double', Double);
    expect((await loadModel(path)).layers[0]).toBeInstanceOf(Double);
  });
  it('refuse to save a class that a file could not name', async () => {
    const holding = (layer: layers.Layer): Promise<void> => sequential({ layers: [layer] }).save(join(root, 'none.tenon'));
    class Impostor extends layers.Dense {
      static override className = 'Dense';
    }
    await expect(holding(new Impostor({ units: 1, inputShape: [2] }))).rejects.toThrow(
      /a class of your own goes by "Dense", which is a class of Tenon. Expected a name of its own. Write static className = 'MyLayer'/,
    );
    const nameless = (() => class extends layers.Dense {})();
    await expect(holding(new nameless({ units: 1, inputShape: [2] }))).rejects.toThrow('the class has no name');
  });
  it('leave out compile options that have no name', async () => {
    const m = make();
    m.compile({ optimizer: 'sgd', loss: (a: Tensor, b: Tensor) => b.sub(a).square() });
    const path = join(root, 'nameless.tenon');
    await m.save(path);
    expect((await loadModel(path)).compiled).toBeNull();
  });
  it('keep lists of losses and metrics by output', async () => {
    const t = input({ shape: [2] });
    const m = model({
      inputs: t,
      outputs: { a: layers.dense({ units: 1 }).apply<SymbolicTensor>(t), b: layers.dense({ units: 1 }).apply<SymbolicTensor>(t) },
    });
    m.compile({ optimizer: 'rmsprop', loss: { a: 'mse', b: 'mae' }, lossWeights: { a: 2 }, metrics: { b: ['mse'] } });
    const labels = { a: Float32Array.from(y), b: Float32Array.from(y) };
    const expected = await m.evaluate(x, labels, { verbose: 0 });
    const path = join(root, 'outputs.tenon');
    await m.save(path);
    expect(await (await loadModel(path)).evaluate(x, labels, { verbose: 0 })).toEqual(expected);
  });
  it('refuse what cannot be, with a reason', async () => {
    await expect(sequential({ name: 'net', layers: [layers.dense({ units: 1 })] }).save(join(root, 'u.tenon'))).rejects.toThrow(
      'save Sequential "net": it has no weights yet',
    );
    await expect(loadModel(join(root, 'none.tenon'))).rejects.toThrow('there is no such file');
    const path = join(root, 'cut.tenon');
    await make().save(path);
    const bytes = await readFile(path);
    await writeFile(path, bytes.subarray(0, bytes.length - 40));
    await expect(loadModel(path)).rejects.toThrow(/cut\.tenon/);
    if (process.platform === 'linux')
      await expect(make().save('/proc/b.tenon')).rejects.toThrow(/write \/proc\/b\.tenon: .*folder \/proc.*(ENOENT|may not be written)/);
    await expect(make().save(join(root, 'no', 'such', 'm.tenon'))).rejects.toThrow('there is no folder');
  });
  it('registerClass shows the right call when the name is missing', () => {
    class Res {
      getConfig() {
        return {};
      }
    }
    const wrong = registerClass as unknown as (a: unknown, b?: unknown) => void;
    expect(() => wrong(Res)).toThrow(
      "registerClass: the class Res is in the place of the name. Expected a name, then a class. Call registerClass('Res', Res).",
    );
    expect(() => wrong(Res, 'Res')).toThrow("Call registerClass('Res', Res).");
    expect(() => wrong('Res')).toThrow("no name and class. Expected a name, then a class. Call registerClass('MyBlock', MyBlock).");
  });
});

describe('toBytes, weightsToBytes and loading from bytes', () => {
  it('are the files, without files', async () => {
    const m = make();
    await m.fit(x, y, { ...quiet, epochs: 1 });
    await m.save(join(root, 'b.tenon'));
    const bytes = await m.toBytes();
    expect(Buffer.compare(bytes, await readFile(join(root, 'b.tenon')))).toBe(0);
    const small = await m.toBytes({ optimizer: false });
    expect(small.length).toBeLessThan(bytes.length);
    // In the middle of a larger buffer, as parts of a message come: tensors must not need an alignment.
    const shifted = new Uint8Array(bytes.length + 3).subarray(3);
    shifted.set(bytes);
    for (const source of [bytes, bytes.buffer, shifted]) {
      const loaded = await loadModel(source);
      for (const [i, w] of m.weights.entries()) expect(await loaded.weights[i].array()).toEqual(await w.array());
      expect(await loaded.optimizer.iterations.array()).toBe(await m.optimizer.iterations.array());
    }
    expect(await (await loadModel(small)).optimizer.iterations.array()).toBe(0);
    await m.saveWeights(join(root, 'b.safetensors'));
    const weights = await m.weightsToBytes();
    expect(Buffer.compare(weights, await readFile(join(root, 'b.safetensors')))).toBe(0);
    for (const source of [weights, bytes.buffer]) {
      const other = make();
      await other.loadWeights(source);
      for (const [i, w] of m.weights.entries()) expect(await other.weights[i].array()).toEqual(await w.array());
    }
  });
  it('say who was given what', async () => {
    const bytes = await make().toBytes();
    await expect(loadModel(bytes.subarray(0, 100))).rejects.toThrow(FormatError);
    await expect(loadModel(new Uint8Array(0))).rejects.toThrow('loadModel: the file is empty');
    await expect(loadModel(7 as never)).rejects.toThrow('loadModel: expected a path or bytes, received 7. Give a Uint8Array.');
    await expect(make().loadWeights(new Uint8Array(4))).rejects.toThrow('loadWeights Sequential "net": ');
    await expect(sequential([layers.dense({ units: 1 })]).weightsToBytes()).rejects.toThrow('weightsToBytes Sequential');
  });
});

describe('saveWeights and loadWeights', () => {
  it('are safetensors named layer/weight', async () => {
    const m = make();
    const path = join(root, 'w.safetensors');
    await m.saveWeights(path);
    const { tensors } = readSafetensors(await readFile(path));
    expect([...tensors.keys()].sort()).toEqual(
      ['a/bias', 'a/kernel', 'b/bias', 'b/kernel', 'n/beta', 'n/gamma', 'n/moving_mean', 'n/moving_variance'].sort(),
    );
    const other = make();
    other.setWeights(other.getWeights().map((w) => w.mul(0)));
    await other.loadWeights(path);
    for (const [i, w] of m.weights.entries()) expect(await other.weights[i].array()).toEqual(await w.array());
    await m.save(join(root, 'w.tenon'));
    await other.loadWeights(join(root, 'w.tenon'));
  });
  it('list what is missing, extra and misshaped, and change nothing', async () => {
    const m = make();
    const path = join(root, 'bad.safetensors');
    await m.saveWeights(path);
    const { tensors } = readSafetensors(await readFile(path));
    tensors.delete('n/gamma');
    tensors.set('c/kernel', { dtype: 'f32', shape: [1], data: new Float32Array(1) });
    tensors.set('a/bias', { dtype: 'f32', shape: [4], data: new Float32Array(4) });
    await writeFile(path, writeSafetensors(tensors));
    const before = await m.weights[0].array();
    await expect(m.loadWeights(path)).rejects.toThrow(
      /bad\.safetensors: weights for Sequential "net": 3 of its tensors do not fit\. Expected those of this model\. a\/bias has shape \[4\], expected \[3\]; missing n\/gamma \[3\]; extra c\/kernel \[1\]\./,
    );
    expect(await m.weights[0].array()).toEqual(before);
    await expect(sequential({ layers: [layers.dense({ units: 1 })] }).loadWeights(path)).rejects.toThrow('it has no weights yet');
  });
});
