/** @file Random tensors and files for the tests of io/. */
import fc from 'fast-check';
import { allocate, type DType, dtypes } from '../../src/base/dtype.js';
import { size } from '../../src/base/shape.js';
import type { TensorData, TensorMap } from '../../src/io/safetensors.js';

/** How many samples a property takes; `npm run test:long` raises it. */
export const runs = (quick: number): { numRuns: number; seed: number } => ({
  numRuns: Number(process.env.TENON_TEST_RUNS ?? quick),
  seed: 7,
});

export const dtypeNames = Object.keys(dtypes).filter((d): d is DType => Object.hasOwn(dtypes, d));

/** A tensor with random bit patterns (NaN payloads and subnormals among them). */
export const tensor: fc.Arbitrary<TensorData> = fc
  .tuple(fc.constantFrom(...dtypeNames), fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }), fc.infiniteStream(fc.nat(255)))
  .map(([dtype, shape, bytes]) => {
    const data = allocate(dtype, size(shape));
    const raw = new Uint8Array(data.buffer);
    for (let i = 0; i < raw.length; i++) raw[i] = dtype === 'bool' ? (bytes.next().value ?? 0) & 1 : (bytes.next().value ?? 0);
    return { dtype, shape, data };
  });

const name = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('__proto__', 'constructor', '1', '0', '', 'dense/kernel:0'));

export const tensorMap: fc.Arbitrary<TensorMap> = fc
  .uniqueArray(fc.tuple(name, tensor), { maxLength: 5, selector: ([key]) => key })
  .map((entries) => new Map(entries.filter(([key]) => key !== '__metadata__')));

/** A tensor map as plain values: equal exactly when every bit is. */
export function plain(map: TensorMap): unknown {
  const entries = [...map].map(([key, { dtype, shape, data }]) => {
    const bytes = [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)];
    return { key, dtype, shape: [...shape], bytes, array: data.constructor.name };
  });
  return entries.sort((a, b) => (a.key < b.key ? -1 : 1));
}
