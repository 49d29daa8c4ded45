import { describe } from 'vitest';
import { NativeDevice } from '../../src/device/native/native.js';
import { deviceConformance } from './conformance.js';

describe('native device', () => {
  const device = new NativeDevice();
  deviceConformance(() => device);
});
