import { describe } from 'vitest';
import { ReferenceDevice } from '../../src/device/reference/reference.js';
import { deviceConformance } from './conformance.js';

describe('reference device', () => {
  const device = new ReferenceDevice();
  deviceConformance(() => device);
});
