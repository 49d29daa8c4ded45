import { describe } from 'vitest';
import { WasmDevice } from '../../src/device/wasm/wasm.js';
import { deviceConformance } from './conformance.js';

describe.each([
  ['two threads', { threads: 2 }],
  ['the calling thread', { isShared: false }],
  ['plain SIMD', { threads: 1, isFused: false }],
])('wasm device, %s', (_, options) => {
  const device = new WasmDevice(options);
  deviceConformance(() => device);
});
