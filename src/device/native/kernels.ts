/**
 * @file From kernels to addresses of machine code: known in this process, else cached on disk, else compiled, several
 * translation units at once. A kernel's key is the hash of its source, the prelude, the compiler, its flags and the processor.
 */
import { DeviceError } from '../../base/errors.js';
import type { NodeModules } from '../../base/node-modules.js';
import type { Kernel } from '../../kernel/kernel.js';
import { kernelIdentity } from '../../kernel/print.js';
import type { TargetInfo } from '../../kernel/target.js';
import { cFlags, cPrelude, renderC } from '../../render/c.js';
import type { PlanTable } from '../device.js';
import { bindRuntime, loadKoffi, type Runtime } from './binding.js';
import { ObjectCache } from './cache.js';
import { type Compiler, compileObject, compileObjectSync } from './compiler.js';
import { runtimeSource } from './runtime.js';

interface Source {
  readonly identity: string;
  readonly key: string;
  readonly text: string;
}

/** A translation unit on its way to an object. */
interface Unit {
  readonly sources: Source[];
  length: number;
}

export interface LoadedKernels {
  /** One a kernel given. */
  readonly addresses: number[];
  /** Kernels, counted once by identity, that needed no compiler. */
  readonly cached: number;
}

const placeholder = 'tenon_kernel';
const symbolOf = (key: string): string => `k_${key}`;

export class KernelStore {
  readonly runtime: Runtime;
  readonly #modules: NodeModules;
  readonly #compiler: Compiler;
  readonly #cache: ObjectCache;
  readonly #target: TargetInfo;
  readonly #flags: string[];
  readonly #prelude: string;
  readonly #context: string;
  /** By kernel identity. */
  readonly #addresses = new Map<string, number>();
  readonly #compiling = new Map<string, Promise<void>>();
  /** Objects whose contents were checked, and their handles. */
  readonly #checked = new Set<string>();
  readonly #handles = new Map<string, number>();

  constructor(modules: NodeModules, compiler: Compiler, target: TargetInfo) {
    this.#modules = modules;
    this.#compiler = compiler;
    this.#target = target;
    this.#cache = new ObjectCache(modules);
    this.#flags = cFlags(target);
    this.#prelude = cPrelude(target);
    const machine = `${process.platform} ${process.arch} ${compiler.path} ${compiler.version}`;
    this.#context = this.#cache.hash(machine, this.#flags.join(' '), this.#prelude, String(target.lanes));
    this.runtime = this.#loadRuntime(machine);
    this.runtime.setThreads(target.threads);
  }

  /** Tuned plans of this machine, its caches, compiler and thread count, by contraction. */
  get tunedPlans(): PlanTable {
    return this.#cache.table(`tuned_${this.#cache.hash(this.#context, JSON.stringify(this.#target))}.json`);
  }

  #loadRuntime(machine: string): Runtime {
    const koffi = loadKoffi(this.#modules);
    const key = this.#cache.hash(machine, runtimeSource);
    const build = (): string => {
      const temporary = this.#cache.temporary('.so');
      compileObjectSync(this.#modules, this.#compiler, ['-std=gnu11', '-O2', '-fPIC', '-pthread'], runtimeSource, temporary);
      return this.#cache.add(temporary, [key]);
    };
    const path = this.#cache.find(key, this.#checked) ?? build();
    return bindRuntime(koffi, path);
  }

  /** The C text of a kernel, for people. */
  source(kernel: Kernel): string {
    return renderC(kernel, placeholder);
  }

  async load(kernels: readonly Kernel[]): Promise<LoadedKernels> {
    const { missing, total } = this.#lookUp(kernels);
    const units = this.#units(missing.filter((s) => !this.#compiling.has(s.identity)));
    for (const unit of units) {
      const temporary = this.#cache.temporary('.so');
      const work = compileObject(this.#modules, this.#compiler, this.#flags, this.#text(unit), temporary)
        .then(
          () => this.#install(unit, temporary),
          (error) => {
            this.#cache.discard(temporary);
            throw error;
          },
        )
        .finally(() => {
          for (const s of unit.sources) this.#compiling.delete(s.identity);
        });
      for (const s of unit.sources) this.#compiling.set(s.identity, work);
    }
    await Promise.all(new Set(missing.map((s) => this.#compiling.get(s.identity))));
    return this.#result(kernels, total - missing.length);
  }

  loadSync(kernels: readonly Kernel[]): LoadedKernels {
    const { missing, total } = this.#lookUp(kernels);
    if (missing.length > 0) {
      const temporary = this.#cache.temporary('.so');
      const unit = { sources: missing, length: 0 };
      try {
        compileObjectSync(this.#modules, this.#compiler, this.#flags, this.#text(unit), temporary);
      } catch (error) {
        this.#cache.discard(temporary);
        throw error;
      }
      this.#install(unit, temporary);
    }
    return this.#result(kernels, total - missing.length);
  }

  #result(kernels: readonly Kernel[], cached: number): LoadedKernels {
    this.#cache.tidyLater();
    return { addresses: kernels.map((k) => this.#addresses.get(kernelIdentity(k)) ?? 0), cached };
  }

  /** Finds what memory and disk hold; gives the rest. */
  #lookUp(kernels: readonly Kernel[]): { missing: Source[]; total: number } {
    const distinct = new Map(kernels.map((k) => [kernelIdentity(k), k]));
    const missing: Source[] = [];
    for (const [identity, kernel] of distinct) {
      if (this.#addresses.has(identity)) continue;
      const text = this.source(kernel);
      const key = this.#cache.hash(this.#context, text);
      const source = { identity, key, text: text.replace(placeholder, symbolOf(key)) };
      const path = this.#cache.find(key, this.#checked);
      if (path === null || !this.#resolve(path, source)) missing.push(source);
    }
    return { missing, total: distinct.size };
  }

  /** Address of a kernel in an object; false when the object does not hold it. */
  #resolve(path: string, source: Source): boolean {
    try {
      let handle = this.#handles.get(path);
      if (handle === undefined) {
        handle = this.runtime.open(path);
        this.#handles.set(path, handle);
      }
      const address = this.runtime.symbol(handle, symbolOf(source.key));
      if (address !== 0) this.#addresses.set(source.identity, address);
      return address !== 0;
    } catch {
      this.#cache.discard(path);
      this.#checked.delete(path);
      return false;
    }
  }

  /** Spreads sources over as many units as compile at once, longest first, each to the shortest unit. */
  #units(sources: readonly Source[]): Unit[] {
    const units: Unit[] = Array.from({ length: Math.min(this.#target.threads, sources.length) }, () => ({ sources: [], length: 0 }));
    for (const s of [...sources].sort((a, b) => b.text.length - a.text.length || (a.key < b.key ? -1 : 1))) {
      const unit = units.reduce((a, b) => (b.length < a.length ? b : a));
      unit.sources.push(s);
      unit.length += s.text.length;
    }
    return units;
  }

  #text(unit: Unit): string {
    // Kernels that differ only in what C doesn't say are one text.
    const texts = new Map(unit.sources.map((s) => [s.key, s.text]));
    return `${this.#prelude}\n${[...texts.values()].join('\n')}`;
  }

  #install(unit: Unit, temporary: string): void {
    const path = this.#cache.add(
      temporary,
      unit.sources.map((s) => s.key),
    );
    this.#checked.add(path);
    for (const s of unit.sources)
      if (!this.#resolve(path, s))
        throw new DeviceError(`native: the compiler's object ${path} does not load. Expected the kernel ${s.key} in it.`);
  }
}
