/** @file What stands for the native device in a bundle for browsers (package.json, imports): it says why it is not there. */
import { DeviceError } from '../../base/errors.js';

const reason = 'needs Node.js 20.16 or newer, and this is a build for browsers';

export const nativeUnusable = (): string => reason;

export class NativeDevice {
  constructor() {
    throw new DeviceError(`native: cannot be used: ${reason}`);
  }
}
