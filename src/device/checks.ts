/** @file What every device checks of what it is handed. */
import { DeviceError, InternalError } from '../base/errors.js';
import type { Program } from '../kernel/program.js';
import type { DeviceBuffer } from './device.js';

/** Throws DeviceError where `what` (the data of a buffer, a write to it) has not the buffer's length. */
export function checkLength(device: string, what: 'data' | 'write', expected: number, received: number): void {
  if (received !== expected)
    throw new DeviceError(`${device}: ${what} does not fit the buffer. Expected ${expected} elements, received ${received}.`);
}

/** Throws InternalError where the externals of a run are not those of its Program. */
export function checkExternals(device: string, program: Program, given: readonly DeviceBuffer[]): void {
  if (given.length !== program.externals)
    throw new InternalError(`${device} device: expected ${program.externals} external buffers, received ${given.length}.`);
  for (const { dtype, size, place } of program.buffers) {
    if (place.kind !== 'external') continue;
    const b = given[place.slot];
    if (b.size < size || b.dtype !== dtype)
      throw new InternalError(
        `${device} device: external ${place.slot} should hold ${size} of ${dtype}, received ${b.size} of ${b.dtype}.`,
      );
  }
}
