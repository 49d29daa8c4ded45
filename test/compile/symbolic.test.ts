/** @file Symbolic indices mean what the arithmetic they stand for means. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Ix } from '../../src/compile/symbolic.js';
import { flatten, unflatten } from '../../src/compile/views.js';
import type { Expr } from '../../src/kernel/kernel.js';

function evaluate(e: Expr, at: Record<string, number>): number {
  if (e.kind === 'const') return e.value;
  if (e.kind === 'var') return at[e.name];
  if (e.kind !== 'op') throw new Error(e.kind);
  const [a, b] = e.args.map((x) => evaluate(x, at));
  switch (e.op) {
    case 'add':
      return a + b;
    case 'mul':
      return a * b;
    case 'idiv':
      return Math.floor(a / b);
    case 'mod':
      return a - b * Math.floor(a / b);
    default:
      throw new Error(e.op);
  }
}

describe('Ix', () => {
  it('computes quotients and remainders of linear combinations', () => {
    const step = fc.oneof(
      fc.record({ op: fc.constantFrom('scale', 'add'), by: fc.integer({ min: -6, max: 12 }) }),
      fc.record({ op: fc.constantFrom('div', 'mod'), by: fc.integer({ min: 1, max: 12 }) }),
    );
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 2, maxLength: 3 }),
        fc.integer({ min: 0, max: 10000 }),
        (steps, extents, pick) => {
          const at: Record<string, number> = {};
          let rest = pick;
          let ix = Ix.constant(0);
          let wanted = 0;
          extents.forEach((extent, i) => {
            at[`v${i}`] = rest % extent;
            rest = Math.floor(rest / extent);
            const factor = [1, 12, 6][i];
            ix = ix.add(Ix.variable(`v${i}`, extent).scale(factor));
            wanted += at[`v${i}`] * factor;
          });
          for (const s of steps) {
            if (s.op === 'scale') [ix, wanted] = [ix.scale(s.by), wanted * s.by];
            else if (s.op === 'add') [ix, wanted] = [ix.add(s.by), wanted + s.by];
            else if (s.op === 'div') [ix, wanted] = [ix.div(s.by), Math.floor(wanted / s.by)];
            else [ix, wanted] = [ix.mod(s.by), wanted - s.by * Math.floor(wanted / s.by)];
            expect(wanted).toBeGreaterThanOrEqual(ix.min);
            expect(wanted).toBeLessThanOrEqual(ix.max);
          }
          expect(evaluate(ix.toExpr(), at) + 0).toBe(wanted + 0);
        },
      ),
      { numRuns: 2000, seed: 7 },
    );
  });

  it('undoes a reshape exactly', () => {
    const shape = [4, 6, 5];
    const idx = shape.map((d, i) => Ix.variable(`v${i}`, d));
    const back = unflatten(flatten(unflatten(flatten(idx, shape), [8, 15]), [8, 15]), shape);
    expect(back.map((b) => b.key)).toEqual(idx.map((b) => b.key));
    const flat = Ix.variable('f', 6 * 6 * 8 * 3);
    expect(flatten(unflatten(flat, [6, 6, 8, 3]), [6, 6, 8, 3]).key).toBe(flat.key);
  });
});
