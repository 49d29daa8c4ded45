/**
 * @file Which device computes: TENON_DEVICE, else the first of the table that can be used here, said once where that isn't native.
 * Devices are made at their first use. Bundles for browsers hold native/absent in place of native (package.json, imports).
 */
import { NativeDevice, nativeUnusable } from '#native';
import { ConfigError, DeviceError } from '../base/errors.js';
import { host } from '../base/host.js';
import { log } from '../base/log.js';
import type { Device } from './device.js';
import { ReferenceDevice, referenceUnusable } from './reference/reference.js';
import { WasmDevice, wasmUnusable } from './wasm/wasm.js';

interface Entry {
  /** null, or why the device cannot be used here. */
  unusable(): string | null;
  make(): Device;
}

/** In order of preference. */
const table = {
  native: { unusable: nativeUnusable, make: () => new NativeDevice() },
  wasm: { unusable: wasmUnusable, make: () => new WasmDevice() },
  reference: { unusable: referenceUnusable, make: () => new ReferenceDevice() },
} as const satisfies Record<string, Entry>;

export type DeviceName = keyof typeof table;

const names = Object.keys(table) as DeviceName[];
const made = new Map<DeviceName, Device>();
let current: Device | undefined;

function deviceNamed(name: string, who: string): Device {
  const known = names.find((n) => n === name);
  if (!known) throw new ConfigError(`${who}: unknown device. Expected one of ${names.join(', ')}, received "${name}".`);
  let device = made.get(known);
  if (!device) {
    const reason = table[known].unusable();
    if (reason !== null) throw new ConfigError(`${who}: the device "${known}" cannot be used here: ${reason}`);
    device = table[known].make();
    made.set(known, device);
  }
  return device;
}

/**
 * The device in use; chosen at the first call.
 * @throws ConfigError when TENON_DEVICE names no device or one that cannot be used here.
 */
export function currentDevice(): Device {
  if (current) return current;
  const wish = host.environment('TENON_DEVICE');
  if (wish !== undefined) {
    current = deviceNamed(wish, 'TENON_DEVICE');
    return current;
  }
  const reasons: string[] = [];
  for (const name of names) {
    const reason = table[name].unusable();
    if (reason !== null) {
      reasons.push(`${name} cannot be used: ${reason}`);
      continue;
    }
    try {
      current = deviceNamed(name, 'device');
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error;
      reasons.push(`${name} cannot be used: ${error.message}`);
      continue;
    }
    // In a browser there is no native device that anyone would miss.
    if (name === 'reference' || (reasons.length > 0 && host.name === 'node'))
      log.notice(`computing on ${name === 'reference' ? 'the slow reference device' : name}. ${reasons.join('; ')}`);
    return current;
  }
  throw new ConfigError(`device: none can be used. ${reasons.join('; ')}`);
}

/** The same, under the name that people know. */
export const getDevice = currentDevice;

let plain: Device | null | undefined;
/** The plain device, whichever is in use; null where a content security policy refuses code made from text. */
export function plainDevice(): Device | null {
  if (plain === undefined) plain = referenceUnusable() === null ? deviceNamed('reference', 'device') : null;
  return plain;
}

/**
 * Computes on `name` from now on. Tensors and Variables made before stay readable where they are.
 * @throws ConfigError for an unknown or unusable device.
 */
export function setDevice(name: DeviceName | (string & {})): void {
  current = deviceNamed(name, 'setDevice');
}

export interface DeviceStatus {
  readonly name: DeviceName;
  readonly usable: boolean;
  /** Why it is not usable; null when it is. */
  readonly reason: string | null;
}

/** Every device and whether it works here. */
export function listDevices(): DeviceStatus[] {
  return names.map((name) => {
    const reason = table[name].unusable();
    return { name, usable: reason === null, reason };
  });
}
