/** @file `tenon devices`: what can compute here. */
import { currentDevice, listDevices, setDevice } from '../../device/registry.js';
import { describeTarget, say, tableLines } from '../output.js';

/** Runs the command. Throws ConfigError when TENON_DEVICE or TENON_NUM_THREADS is wrong. */
export async function devices(): Promise<void> {
  const chosen = currentDevice().name;
  const rows = listDevices().map(({ name, usable, reason }) => {
    if (!usable) return [name, 'not usable', reason ?? ''];
    setDevice(name);
    const { target } = currentDevice();
    return [name, 'usable', `${describeTarget(target)}${target.hasFma ? ' with FMA' : ''}${name === chosen ? ', used by default' : ''}`];
  });
  for (const line of tableLines(rows.map(([name, state, rest]) => [`${name.padEnd(10)} ${state.padEnd(10)} ${rest}`]))) say(line);
  say();
  say('Choose one with --device or TENON_DEVICE; TENON_NUM_THREADS sets the number of threads.');
}
