/** @file Kernels → one WebAssembly module: equal kernels are one function, helpers are written where something calls them. */
import type { Kernel } from '../kernel/kernel.js';
import { kernelIdentity } from '../kernel/print.js';
import { renderWasm } from './wasm.js';
import { type MemoryImport, WasmModule } from './wasm-assembler.js';
import { WasmHelpers } from './wasm-helpers.js';

export interface RenderedModule {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The exported function of each kernel. */
  readonly exports: readonly string[];
}

/** @param isFused whether the engine has relaxed SIMD's multiply-add. */
export function renderWasmModule(kernels: readonly Kernel[], memory: MemoryImport, isFused: boolean): RenderedModule {
  const module = new WasmModule();
  const math = new WasmHelpers(module, isFused);
  // Printing a kernel to compare it takes as long as rendering it: only those that look alike are.
  const looks = kernels.map((k) => [k.grid.extent, k.flops, k.bytes, k.buffers.length, k.body.length].join());
  const alike = new Map<string, number>();
  for (const look of looks) alike.set(look, (alike.get(look) ?? 0) + 1);
  const names = new Map<string, string>();
  const exports = kernels.map((kernel, i) => {
    const identity = alike.get(looks[i]) === 1 ? looks[i] : kernelIdentity(kernel);
    let name = names.get(identity);
    if (name === undefined) {
      name = `k${names.size}`;
      names.set(identity, name);
      module.add(name, renderWasm(kernel, math));
    }
    return name;
  });
  return { bytes: module.bytes(memory), exports };
}

/** A module with a vector instruction, or with one of relaxed SIMD: an engine that accepts it has it. */
export function probeModule(what: 'simd' | 'relaxed'): Uint8Array<ArrayBuffer> {
  // () → v128: i32.const 0, i32x4.splat; three of them, and f32x4.relaxed_madd.
  const splat = [0x41, 0, 0xfd, 0x11];
  const code = [0, ...(what === 'simd' ? splat : [...splat, ...splat, ...splat, 0xfd, 0x85, 0x02]), 0x0b];
  const head = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7b, 3, 2, 1, 0];
  return Uint8Array.from([...head, 10, code.length + 2, 1, code.length, ...code]);
}
