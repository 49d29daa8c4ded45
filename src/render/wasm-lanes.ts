/** @file Which loops the WebAssembly renderer runs four iterations of at once, and how indices differ between them. */
import { type Expr, type Kernel, mentions, type Stmt } from '../kernel/kernel.js';

/** How an op's value differs from lane to lane, from how its operands do. */
export function stepOfOp(e: Expr & { kind: 'op' }, stepOf: (x: Expr) => number | null): number | null {
  const steps = e.args.map(stepOf);
  if (steps.every((s) => s === 0)) return 0;
  const [x, y] = steps;
  if (e.type !== 'index' || steps.length !== 2 || x === null || y === null) return null;
  if (e.op === 'add') return x + y;
  if (e.op === 'sub') return x - y;
  if (e.op !== 'mul') return null;
  const [a, b] = e.args;
  return b.kind === 'const' ? x * b.value : a.kind === 'const' ? y * a.value : null;
}

/**
 * Whether the loop's body can be run for four iterations at once: its inner loops are then the same for all of them, and
 * it assigns to nothing outside but what the loop says it reduces.
 */
export function canWiden(loop: Stmt & { kind: 'for' }): boolean {
  const own = new Set([loop.name]);
  const reduced = new Set(loop.reduce?.map((r) => r.name));
  const check = (body: readonly Stmt[]): boolean =>
    body.every((s) => {
      switch (s.kind) {
        case 'for':
          return !mentions(s.from, own) && !mentions(s.to, own) && check(s.body);
        case 'let':
        case 'mut':
          own.add(s.name);
          return s.value.lanes === 1;
        case 'assign':
          return (own.has(s.name) || reduced.has(s.name)) && s.value.lanes === 1;
        case 'store':
          return s.value.lanes === 1;
        case 'if':
          return check(s.then) && check(s.otherwise ?? []);
        default:
          return false;
      }
    });
  return check(loop.body);
}

/** The largest end of a kernel's loops, as far as its constants tell. */
export function widestLoop(kernel: Kernel): number {
  const most = new Map([[kernel.grid.name, kernel.grid.extent - 1]]);
  /** No index is larger; 0 where that isn't known. */
  const bound = (e: Expr): number => {
    if (e.kind === 'const') return e.value;
    if (e.kind === 'var') return most.get(e.name) ?? 0;
    if (e.kind !== 'op') return 0;
    const [a, b] = e.args.map(bound);
    switch (e.op) {
      case 'add':
        return a + b;
      case 'mul':
        return a * b;
      case 'idiv':
        return b > 0 ? Math.floor(a / b) : 0;
      case 'mod':
        return Math.min(a, b - 1);
      case 'min':
        return Math.min(a, b);
      case 'max':
        return Math.max(a, b);
      case 'sub':
        return a;
      default:
        return 0;
    }
  };
  let widest = kernel.grid.extent;
  const walk = (body: readonly Stmt[]): void => {
    for (const s of body) {
      if (s.kind === 'let' && s.value.type === 'index') most.set(s.name, bound(s.value));
      else if (s.kind === 'for') {
        const end = bound(s.to);
        widest = Math.max(widest, end);
        most.set(s.name, end - 1);
        walk(s.body);
      } else if (s.kind === 'if') {
        walk(s.then);
        walk(s.otherwise ?? []);
      }
    }
  };
  walk(kernel.body);
  return widest;
}
