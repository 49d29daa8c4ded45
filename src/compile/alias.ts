/**
 * @file One name for one buffer. Where a result overwrites an operand in place, the kernel gets a single read-write
 * parameter: two parameters may be assumed not to overlap.
 */
import type { BufferParam, Expr, Kernel, Stmt } from '../kernel/kernel.js';

function renameInExpr(e: Expr, name: (b: string) => string): Expr {
  const go = (x: Expr) => renameInExpr(x, name);
  switch (e.kind) {
    case 'const':
    case 'var':
      return e;
    case 'load':
    case 'pairs':
      return { ...e, buffer: name(e.buffer), index: go(e.index) };
    case 'op':
      return { ...e, args: e.args.map(go) };
    case 'cast':
    case 'splat':
      return { ...e, x: go(e.x) };
    case 'lookup':
      return { ...e, buffer: name(e.buffer), x: go(e.x) };
    case 'pack2':
      return { ...e, low: go(e.low), high: go(e.high) };
    case 'fma':
    case 'dot2':
      return { ...e, a: go(e.a), b: go(e.b), c: go(e.c) };
    case 'random':
      return { ...e, counter: go(e.counter), step: go(e.step), key0: go(e.key0), key1: go(e.key1) };
    default:
      return e satisfies never;
  }
}

function renameInBody(body: readonly Stmt[], name: (b: string) => string): Stmt[] {
  const go = (e: Expr) => renameInExpr(e, name);
  return body.map((s): Stmt => {
    switch (s.kind) {
      case 'for':
        return { ...s, from: go(s.from), to: go(s.to), body: renameInBody(s.body, name) };
      case 'let':
      case 'mut':
      case 'assign':
        return { ...s, value: go(s.value) };
      case 'store':
        return { ...s, buffer: name(s.buffer), index: go(s.index), value: go(s.value) };
      case 'if':
        return {
          ...s,
          cond: go(s.cond),
          then: renameInBody(s.then, name),
          ...(s.otherwise ? { otherwise: renameInBody(s.otherwise, name) } : {}),
        };
      case 'prefetch':
        return { ...s, buffer: name(s.buffer), index: go(s.index) };
      case 'transpose':
        return { ...s, from: name(s.from), base: go(s.base), out: name(s.out), outBase: go(s.outBase) };
      case 'argsort':
        return { ...s, key: go(s.key), out: name(s.out), outBase: go(s.outBase) };
      case 'local':
        return s;
      default:
        return s satisfies never;
    }
  });
}

/** The call with every buffer named once; `places[i]` is where parameter i lives. */
export function aliasParams(kernel: Kernel, places: readonly number[]): { kernel: Kernel; places: number[] } {
  const first = new Map<number, number>();
  const names = new Map<string, string>();
  const params: BufferParam[] = [];
  const kept: number[] = [];
  for (const [i, p] of kernel.buffers.entries()) {
    const at = first.get(places[i]);
    if (at === undefined) {
      first.set(places[i], params.length);
      params.push(p);
      kept.push(places[i]);
    } else {
      names.set(p.name, params[at].name);
      if (params[at].access !== p.access) params[at] = { ...params[at], access: 'readwrite' };
    }
  }
  if (names.size === 0) return { kernel, places: [...places] };
  return { kernel: { ...kernel, buffers: params, body: renameInBody(kernel.body, (b) => names.get(b) ?? b) }, places: kept };
}
