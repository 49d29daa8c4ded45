import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError, ShapeError } from '../../src/base/errors.js';
import { toCategorical } from '../../src/data/categorical.js';
import { jit, oneHot, type Tensor, tensor } from '../../src/tensor/index.js';

describe('toCategorical', () => {
  it('turns labels [n] and [n, 1] of any kind into rows', () => {
    const rows = { data: Float32Array.of(0, 0, 1, 1, 0, 0), shape: [2, 3], dtype: 'f32' };
    expect(toCategorical([2, 0])).toEqual(rows);
    expect(toCategorical([[2], [0]])).toEqual(rows);
    expect(toCategorical(Uint8Array.of(2, 0), 3)).toEqual(rows);
    expect(toCategorical({ data: Int32Array.of(2, 0), shape: [2, 1], dtype: 'i32' })).toEqual(rows);
    expect(toCategorical([1], 4).shape).toEqual([1, 4]);
  });
  it('reads tensors, computed or not', () => {
    const rows = { data: Float32Array.of(0, 0, 1, 1, 0, 0), shape: [2, 3], dtype: 'f32' };
    expect(toCategorical(tensor([2, 0], 'i32'))).toEqual(rows);
    expect(toCategorical(tensor([[1], [0]], 'u8').mul(2))).toEqual(rows);
    expect(toCategorical(tensor([2, 0], 'f16'))).toEqual(rows);
    expect(() => toCategorical(tensor([[0, 1]]))).toThrow(ShapeError);
  });
  it('names oneHot where a tensor has no values', async () => {
    let said: unknown;
    const f = jit((t: Tensor) => {
      try {
        toCategorical(t);
      } catch (error) {
        said = error;
      }
      return oneHot(t, 3);
    });
    expect(await f(tensor([1], 'i32')).array()).toEqual([[0, 1, 0]]);
    expect(said).toBeInstanceOf(ConfigError);
    expect(String(said)).toContain('Use oneHot(t, numClasses), or `await t.data()`');
  });
  it('has one 1 a row, where the label says', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(9), { minLength: 1 }), (labels) => {
        const { data, shape } = toCategorical(labels, 10);
        expect(shape).toEqual([labels.length, 10]);
        expect(Array.from(data).filter((x) => x === 1).length).toBe(labels.length);
        for (const [i, label] of labels.entries()) expect(data[i * 10 + label]).toBe(1);
      }),
      { seed: 1 },
    );
  });
  it('names the label that is no class', () => {
    expect(() => toCategorical([0, 3], 3)).toThrow(
      new ConfigError('toCategorical: label 1 is 3. Expected an integer from 0 to 2. Number the classes from 0, or raise numClasses.'),
    );
    expect(() => toCategorical([0.5])).toThrow('label 0 is 0.5');
    expect(() => toCategorical([-1], 2)).toThrow('label 0 is -1');
    expect(() => toCategorical([0], 0)).toThrow('numClasses');
    expect(() => toCategorical([[0, 1]])).toThrow(ShapeError);
  });
});
