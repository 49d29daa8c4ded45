/**
 * @file Node's built-in modules through process.getBuiltinModule (Node ≥ 20.16): found at run time, so that a browser's
 * bundler meets no `node:` import.
 */

const load = () => ({
  childProcess: process.getBuiltinModule('node:child_process'),
  crypto: process.getBuiltinModule('node:crypto'),
  fs: process.getBuiltinModule('node:fs'),
  module: process.getBuiltinModule('node:module'),
  os: process.getBuiltinModule('node:os'),
  path: process.getBuiltinModule('node:path'),
  v8: process.getBuiltinModule('node:v8'),
  workerThreads: process.getBuiltinModule('node:worker_threads'),
});

/** The built-in modules that the engine uses. */
export type NodeModules = ReturnType<typeof load>;

/** Node's modules, or null elsewhere. */
export function nodeModules(): NodeModules | null {
  return typeof process === 'undefined' || typeof process.getBuiltinModule !== 'function' ? null : load();
}
