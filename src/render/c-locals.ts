/** @file Where a kernel's local arrays live: small ones on the stack, large ones in per-thread scratch memory. */
import { dtypes } from '../base/dtype.js';
import type { Kernel, Stmt } from '../kernel/kernel.js';

/** Local arrays up to this many bytes live on the stack, as long as all of them stay below `stackTotal`. */
const stackLocal = 16 * 1024;
const stackTotal = 64 * 1024;
const align = (bytes: number): number => Math.ceil(bytes / 64) * 64;

/** An argsort keeps two words of 8 bytes an element. */
export const sortBytes = (length: number): number => 2 * 8 * length;

/** Bytes of each local array and sort, in the order in which the renderer meets them. */
function* localBytes(body: readonly Stmt[]): Generator<number> {
  for (const s of body) {
    if (s.kind === 'local') yield s.size * dtypes[s.type].bytes;
    else if (s.kind === 'argsort') yield sortBytes(s.length);
    else if (s.kind === 'for') yield* localBytes(s.body);
    else if (s.kind === 'if') {
      yield* localBytes(s.then);
      if (s.otherwise) yield* localBytes(s.otherwise);
    }
  }
}

/** Where each local goes: an offset in `scratch`, or null for the stack. */
export function placeLocals(kernel: Kernel): { places: (number | null)[]; bytes: number } {
  let stack = 0;
  let bytes = 0;
  const places = [...localBytes(kernel.body)].map((size) => {
    if (size <= stackLocal && stack + align(size) <= stackTotal) {
      stack += align(size);
      return null;
    }
    const at = bytes;
    bytes += align(size);
    return at;
  });
  return { places, bytes };
}

/** Bytes of per-thread memory, 64-byte aligned, that a call's `scratch` must point to. */
export function cScratchBytes(kernel: Kernel): number {
  return placeLocals(kernel).bytes;
}
