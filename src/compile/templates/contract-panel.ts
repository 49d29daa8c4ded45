/**
 * @file A panel: the part of B that an item's register tiles read, copied so that a step's vectors lie side by side. What
 * B's elements are computed from (widened, decoded) is read here, once for all rows of the item.
 */
import { constant, type Expr, iadd, imul, index, loop, type Stmt, variable } from '../../kernel/kernel.js';
import { Ix } from '../symbolic.js';
import { type Axis, copyType, isLine } from './contract-dims.js';
import { turned } from './contract-pack.js';
import { ceilDiv, type VectorPlan } from './contract-plan.js';
import { elementAt, vectorAt } from './operand.js';

/** Where a panel's part of B begins. */
export interface PanelSource {
  readonly batchAt: readonly Expr[];
  readonly outerColsAt: readonly Expr[];
  /** The block's index along each reduction axis that is cut into blocks. */
  readonly blockAt: readonly Expr[];
  /** Steps of the block along the axis that is cut. */
  readonly blockLength: Expr;
  /** The first column: a whole number of vectors, or anywhere. */
  readonly start: Expr;
  readonly vectorStart: Expr | null;
  /** The address of that column in the block's first step, for operands in buffers. */
  readonly base: Expr;
}

export interface PanelTarget {
  readonly panel: Expr;
  readonly stride: number;
  readonly width: number;
  /** Where each vector of a step lies. */
  readonly offsets: readonly number[];
}

/** Loops over a block's steps; `of` gets B's offset and the panel's row. */
type ReduceNest = (of: (b: Expr, row: Expr) => Stmt[], innermost?: 'serial' | 'lines') => Stmt[];

/** An index whose range is known. */
const within = (e: Expr, extent: number): Ix =>
  e.kind === 'const' ? Ix.constant(e.value) : Ix.opaque(e, e.kind === 'var' ? e.name : JSON.stringify(e), extent, []);
const along = (list: readonly Axis[], at: readonly Expr[]): Ix =>
  list.reduce((sum, axis, i) => sum.add(within(at[i], axis.extent).scale(axis.b)), Ix.constant(0));

export function copyPanel(p: VectorPlan, from: PanelSource, to: PanelTarget, reduceNest: ReduceNest): Stmt[] {
  const { c, reduce, block, vector } = p;
  const type = copyType(c);
  const last = reduce.at(-1);
  const stepsOf = (i: number): number => (i === block.at ? block.chunk : reduce[i].extent);
  const at = (row: Expr, offset: Expr | number = 0): Expr => iadd(to.panel, iadd(imul(row, to.stride), offset));

  /** The address of the panel's first column in a step, in an array that is nowhere in memory. */
  const formulaAt = (loops: number): Ix => {
    const start = from.vectorStart
      ? within(from.vectorStart, ceilDiv(vector.extent, p.width)).scale(p.width)
      : within(from.start, vector.extent);
    let flat = along(p.batch, from.batchAt).add(along(p.outerCols, from.outerColsAt)).add(c.b.offset).add(start.scale(vector.b));
    for (const [i, axis] of reduce.entries()) {
      if (i <= block.at)
        flat = flat.add(
          within(from.blockAt[i], i === block.at ? ceilDiv(axis.extent, block.chunk) : axis.extent).scale(
            axis.b * (i === block.at ? block.chunk : 1),
          ),
        );
      if (i >= block.at && i < loops) flat = flat.add(Ix.variable(`c_k${i}`, stepsOf(i)).scale(axis.b));
    }
    return flat;
  };

  // Where steps are neighbours in memory, line after line is read whole: columns would fetch each line many times.
  if (vector.b !== 1 && last && isLine(c.b, last.b))
    return reduceNest((b, row) => {
      const base = iadd(from.base, b);
      const address = c.b.element ? formulaAt(reduce.length - 1) : Ix.opaque(base, 'base', 2 ** 40, []);
      const isCut = reduce.length - 1 === block.at;
      return turned(
        { c, operand: c.b, at: address, base, stride: vector.b },
        { buffer: 'c_panel', type, base: at(row), stride: to.stride },
        to.width,
        isCut ? from.blockLength : index(reduce[reduce.length - 1].extent),
        stepsOf(reduce.length - 1),
        p.width,
      );
    }, 'lines');
  if ((c.b.element || c.b.pair !== undefined) && vector.b === 1 && p.width > 1)
    return reduceNest((_, row) =>
      to.offsets.flatMap((offset) => {
        const { body, value } = vectorAt(c, c.b, formulaAt(reduce.length).add(offset), p.width);
        return [
          { kind: 'if', cond: constant('bool', 1), then: [...body, { kind: 'store', buffer: 'c_panel', index: at(row, offset), value }] },
        ];
      }),
    );
  const j = variable('c_j');
  return reduceNest((b, row) => {
    const address = c.b.element
      ? formulaAt(reduce.length).add(Ix.variable('c_j', to.width).scale(vector.b))
      : Ix.opaque(iadd(iadd(from.base, b), imul(j, vector.b)), 'address', 2 ** 40, []);
    const { body, value } = elementAt(c.b, address, type);
    return [loop('c_j', 0, to.width, [...body, { kind: 'store', buffer: 'c_panel', index: at(row, j), value }], { mode: 'simd' })];
  });
}
