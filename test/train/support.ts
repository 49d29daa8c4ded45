/** @file Small data and models for the tests of training. */
import { setDevice } from '../../src/device/registry.js';

// The plain device compiles at once.
setDevice('reference');

/** Two classes of points, apart along a line. */
export function points(n: number, seed = 1): { x: { data: Float32Array; shape: number[]; dtype: 'f32' }; y: Int32Array } {
  let s = seed;
  const next = (): number => {
    s = (s * 1103515245 + 12345) % 2147483648;
    return s / 2147483648;
  };
  const data = new Float32Array(n * 2);
  const y = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    y[i] = next() < 0.5 ? 0 : 1;
    data[2 * i] = next() + (y[i] ? 0.7 : 0);
    data[2 * i + 1] = next() - (y[i] ? 0.7 : 0);
  }
  return { x: { data, shape: [n, 2], dtype: 'f32' }, y };
}
