/**
 * @file Host: the little that the engine asks of its surroundings, so that everything else builds for Node and browsers
 * alike. Node's side is found at run time (no `node:` import that a browser's bundler would trip over).
 */
import { nodeHost } from './host-node.js';

export interface Host {
  readonly name: 'node' | 'browser';
  /** An environment variable; undefined when unset or empty, always in a browser. */
  environment(name: string): string | undefined;
  /** Threads that may run at once. */
  readonly threads: number;
  /** Folder for data that can be made again; null where there are no files. Not created. */
  cacheDirectory(): string | null;
  /** Folder for scratch files; null where there are no files. */
  temporaryDirectory(): string | null;
}

const browserHost: Host = {
  name: 'browser',
  environment: () => undefined,
  get threads() {
    return typeof navigator === 'undefined' ? 1 : (navigator.hardwareConcurrency ?? 1);
  },
  cacheDirectory: () => null,
  temporaryDirectory: () => null,
};

/** Where this runs. */
export const host: Host = nodeHost() ?? browserHost;
