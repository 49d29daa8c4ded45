/** @file Which indices cannot be negative: their division by a positive constant is the machine's. */
import type { Expr } from '../kernel/kernel.js';
import { kinds } from './kinds.js';

export class NaturalIndices {
  readonly #names = new Set<string>();

  /** Says whether the index variable `name` is known to be ≥ 0. */
  set(name: string, isNatural: boolean): void {
    if (isNatural) this.#names.add(name);
    else this.#names.delete(name);
  }

  has(e: Expr): boolean {
    if (e.type !== 'index') return false;
    if (e.kind === 'const') return e.value >= 0;
    if (e.kind === 'var') return this.#names.has(e.name);
    if (e.kind === 'cast') return kinds[e.x.type] === 'u' || kinds[e.x.type] === 'b';
    if (e.kind !== 'op') return false;
    const args = e.op === 'select' ? e.args.slice(1) : e.args;
    if (e.op === 'max') return args.some((a) => this.has(a));
    if (e.op === 'mod') return args[1].kind === 'const' && args[1].value > 0;
    return ['add', 'mul', 'idiv', 'min', 'select'].includes(e.op) && args.every((a) => this.has(a));
  }
}
