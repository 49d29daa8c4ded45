/**
 * @file Host: the little that the engine asks of its surroundings, so that everything else builds for Node and browsers
 * alike. Node's side is found at run time (no `node:` import that a browser's bundler would trip over).
 */
import { type NodeModules, nodeModules } from './node-modules.js';

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

/** Processor time this process may use, in cores: a container's quota. */
function quota(fs: NodeModules['fs']): number {
  try {
    const [limit, period] = fs.readFileSync('/sys/fs/cgroup/cpu.max', 'utf8').trim().split(' ');
    return limit === 'max' ? Number.POSITIVE_INFINITY : Math.max(1, Math.floor(Number(limit) / Number(period)));
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** Physical cores: of two hardware threads on one core, one counts. */
function physicalCores(fs: NodeModules['fs']): number {
  try {
    const folder = '/sys/devices/system/cpu';
    const siblings = fs
      .readdirSync(folder)
      .filter((name) => /^cpu\d+$/.test(name))
      .map((name) => fs.readFileSync(`${folder}/${name}/topology/thread_siblings_list`, 'utf8').trim());
    return siblings.length > 0 ? new Set(siblings).size : Number.POSITIVE_INFINITY;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** The Host of a Node process, or null elsewhere. */
function nodeHost(): Host | null {
  const modules = nodeModules();
  if (!modules) return null;
  const { fs, os, path } = modules;
  const environment = (name: string): string | undefined => process.env[name] || undefined;
  let threads = 0;
  return {
    name: 'node',
    environment,
    get threads() {
      threads ||= Math.max(1, Math.min(os.availableParallelism(), physicalCores(fs), quota(fs)));
      return threads;
    },
    cacheDirectory: () =>
      environment('TENON_CACHE_DIR') ?? path.join(environment('XDG_CACHE_HOME') ?? path.join(os.homedir(), '.cache'), 'tenon'),
    temporaryDirectory: () => os.tmpdir(),
  };
}

/** Where this runs. */
export const host: Host = nodeHost() ?? browserHost;
