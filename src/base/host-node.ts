/** @file Node's Host, and Node's own modules through process.getBuiltinModule (Node ≥ 20.16), which a browser bundle survives. */
import type { Host } from './host.js';

/** The built-in modules that the engine uses. */
export interface NodeModules {
  readonly childProcess: typeof import('node:child_process');
  readonly crypto: typeof import('node:crypto');
  readonly fs: typeof import('node:fs');
  readonly module: typeof import('node:module');
  readonly os: typeof import('node:os');
  readonly path: typeof import('node:path');
}

/** Node's modules, or null elsewhere. */
export function nodeModules(): NodeModules | null {
  if (typeof process === 'undefined' || typeof process.getBuiltinModule !== 'function') return null;
  return {
    childProcess: process.getBuiltinModule('node:child_process'),
    crypto: process.getBuiltinModule('node:crypto'),
    fs: process.getBuiltinModule('node:fs'),
    module: process.getBuiltinModule('node:module'),
    os: process.getBuiltinModule('node:os'),
    path: process.getBuiltinModule('node:path'),
  };
}

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
export function nodeHost(): Host | null {
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
