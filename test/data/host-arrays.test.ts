/** @file Typed arrays that hold no dtype of their own, given as data to columns, data sets and models. */
import { describe, expect, it } from 'vitest';
import { toColumn } from '../../src/data/column.js';
import { Dataset } from '../../src/data/dataset.js';
import { setDevice } from '../../src/device/registry.js';
import { dense } from '../../src/layers/index.js';
import { sequential } from '../../src/model/sequential.js';

setDevice('reference');

describe('arrays that hold no dtype', () => {
  it('are converted as tensor() converts them', () => {
    expect(toColumn(new Float64Array([0.1, 2]), 't')).toEqual({ data: new Float32Array([0.1, 2]), shape: [2], dtype: 'f32' });
    expect(toColumn(new Int16Array([-3]), 't')).toEqual({ data: new Int32Array([-3]), shape: [1], dtype: 'i32' });
    expect(toColumn(new BigInt64Array([-3n]), 't')).toEqual({ data: new Int32Array([-3]), shape: [1], dtype: 'i32' });
    expect(toColumn(new Uint8ClampedArray([300, 7]).subarray(1), 't')).toEqual({ data: new Uint8Array([7]), shape: [1], dtype: 'u8' });
    const column = { data: new Float64Array([1, 2, 3, 4]), shape: [2, 2], dtype: 'f32' } as const;
    expect(toColumn({ ...column, shape: [2, 2] }, 't')).toEqual({ data: new Float32Array([1, 2, 3, 4]), shape: [2, 2], dtype: 'f32' });
    expect(() => toColumn({ data: new Float64Array(2), shape: [2], dtype: 'i32' }, 't')).toThrow(/dtype i32 is held in a Int32Array/);
    expect(() => toColumn(new Uint16Array(2), 't')).toThrow(/cannot tell the dtype of a Uint16Array/);
  });
  it('are rows of a data set and data of a model', async () => {
    const set = Dataset.fromArrays(new Float64Array([1, 2, 3]), new Float64Array([4, 5, 6]));
    const rows = [];
    for await (const e of set) rows.push(e);
    expect(rows).toHaveLength(3);
    const model = sequential({ layers: [dense({ units: 1, inputShape: [1] })] });
    model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    const x = { data: new Float64Array([1, 2, 3, 4]), shape: [4, 1], dtype: 'f32' } as const;
    const y = new Float64Array([2, 4, 6, 8]);
    const history = await model.fit({ ...x, shape: [4, 1] }, y, { epochs: 3, verbose: 0, sampleWeight: new Float64Array([1, 1, 1, 1]) });
    expect(history.history.loss[2]).toBeLessThan(history.history.loss[0]);
  });
});
