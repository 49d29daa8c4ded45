/** @file --device: the library's device, with errors in the command line's words. */
import { ConfigError } from '../base/errors.js';
import { listDevices, setDevice } from '../device/registry.js';
import { UsageError } from './failure.js';

/** Computes on `name` from now on. Throws UsageError for one that isn't there or doesn't work here. */
export function useDevice(option: string, name: string): void {
  const devices = listDevices();
  if (!devices.some((d) => d.name === name)) {
    const names = new Intl.ListFormat('en', { type: 'disjunction' }).format(devices.map((d) => d.name));
    throw new UsageError(`${option}: there is no device "${name}". Expected ${names}. See tenon devices.`);
  }
  try {
    setDevice(name);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new UsageError(`${option}: ${error.message.replace(/^setDevice: /, '')}`);
  }
}
