/** @file The door to faces-node: what `verbose` asks for, nothing in a browser. */
import { host } from '../../base/host.js';
import type { Callback } from './callback.js';
import type { Verbose } from './progress-bar.js';

/** The callbacks that show a pass by themselves. */
export async function facesOf(verbose: Verbose, phase: 'train' | 'test' | 'predict'): Promise<readonly Callback[]> {
  if (verbose === 0 || host.name === 'browser') return [];
  return (await import('#node/train/callbacks/faces-node.js')).facesInTerminal(verbose, phase);
}
