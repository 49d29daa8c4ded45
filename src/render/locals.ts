/** @file Where a kernel's local arrays live: small ones on the stack, large ones in per-thread scratch memory. */
import { dtypes } from '../base/dtype.js';
import type { Kernel, Stmt } from '../kernel/kernel.js';

/** Local arrays up to this many bytes live on the stack, as long as all of them stay below `stackTotal`. */
const stackLocal = 16 * 1024;
const stackTotal = 64 * 1024;
const align = (bytes: number): number => Math.ceil(bytes / 64) * 64;

/** An argsort keeps two words of 8 bytes an element. */
const sortBytes = (length: number): number => 2 * 8 * length;

/** Every local array and sort, with its bytes. */
function* localBytes(body: readonly Stmt[]): Generator<[Stmt, number]> {
  for (const s of body) {
    if (s.kind === 'local') yield [s, s.size * dtypes[s.type].bytes];
    else if (s.kind === 'argsort') yield [s, sortBytes(s.length)];
    else if (s.kind === 'for') yield* localBytes(s.body);
    else if (s.kind === 'if') {
      yield* localBytes(s.then);
      if (s.otherwise) yield* localBytes(s.otherwise);
    }
  }
}

/** Where each local goes: an offset in `scratch`, or null for the stack, which holds small ones where the target has one. */
export function placeLocals(kernel: Kernel, hasStack: boolean): { places: ReadonlyMap<Stmt, number | null>; bytes: number } {
  let stack = 0;
  let bytes = 0;
  const places = new Map<Stmt, number | null>();
  for (const [s, size] of localBytes(kernel.body)) {
    // Both branches of a choice may hold one statement.
    if (places.has(s)) continue;
    if (hasStack && size <= stackLocal && stack + align(size) <= stackTotal) {
      stack += align(size);
      places.set(s, null);
    } else {
      places.set(s, bytes);
      bytes += align(size);
    }
  }
  return { places, bytes };
}
