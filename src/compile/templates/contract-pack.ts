/**
 * @file Packing: a large operand is copied once into the order in which register tiles read it (tile after tile, step
 * after step, a tile's elements side by side), so that no stride of the original costs cache sets or pages later.
 * GotoBLAS's idea (Goto and van de Geijn, 2008), with both copies whole.
 */
import type { DType } from '../../base/dtype.js';
import type { Expr, Kernel, Stmt } from '../../kernel/kernel.js';
import { iadd, idiv, imul, index, loop, op, variable } from '../../kernel/kernel.js';
import { Ix } from '../symbolic.js';
import {
  type Axis,
  address,
  type Contraction,
  copyType,
  extentOf,
  isLine,
  kernelOf,
  named,
  type Operand,
  ravel,
  unravel,
} from './contract-dims.js';
import { ceilDiv, type VectorPlan } from './contract-plan.js';
import { elementAt, floatsAt } from './operand.js';

/** An address of which nothing is known. */
const opaque = (e: Expr): Ix => Ix.opaque(e, 'at', 2 ** 40, []);

/** Steps of one item: neighbours in memory where the operand lies along the reduction, so that lines are read whole. */
const CHUNK = 64;

interface Packed {
  readonly axis: Axis;
  readonly outer: readonly Axis[];
  /** Tiles in order: `count` of `width` elements. */
  readonly pieces: readonly { readonly width: number; readonly count: number }[];
  /** Elements along the axis, the last tile's surplus included. */
  readonly length: number;
}

function packed(p: VectorPlan, side: 'a' | 'b'): Packed {
  if (side === 'a')
    return {
      axis: p.tiled,
      outer: p.outerRows,
      pieces: p.tile.rows.map((q) => ({ width: q.size, count: q.count })),
      length: p.tiled.extent,
    };
  return {
    axis: p.vector,
    outer: p.outerCols,
    pieces: p.tile.cols.map((q) => ({ width: q.size * p.width, count: q.count })),
    length: ceilDiv(p.vector.extent, p.width) * p.width,
  };
}

/** Elements of the copy. */
export function packedSize(p: VectorPlan, side: 'a' | 'b'): number {
  const { outer, length } = packed(p, side);
  return extentOf(p.batch) * extentOf(outer) * extentOf(p.reduce) * length;
}

/** Where the copy of one batch and outer index begins; a tile that begins at element n follows n · steps later. */
export function packedBase(p: VectorPlan, side: 'a' | 'b', batch: readonly Expr[], outer: readonly Expr[]): Expr {
  const q = packed(p, side);
  return imul(ravel([...p.batch, ...q.outer], [...batch, ...outer]), extentOf(p.reduce) * q.length);
}

/** Lines of an operand that lie along the steps of a reduction: the address of an element of line j at step k. */
export interface Lines {
  readonly c: Contraction;
  readonly operand: Operand;
  /** Where line 0's first step is; `base` as an expression, for operands in buffers. */
  readonly at: Ix;
  readonly base: Expr;
  readonly stride: number;
}

/**
 * Copies width × count elements, whose lines lie along the steps, so that they lie across them: squares of `lanes` in registers
 * where floats are copied, line after line else. `most` ≥ count.
 */
export function turned(
  from: Lines,
  to: { readonly buffer: string; readonly type: DType; readonly base: Expr; readonly stride: number },
  width: number,
  count: Expr,
  most: number,
  lanes: number,
): Stmt[] {
  const { c, operand, stride } = from;
  const j = variable('c_j');
  const k = variable('c_k');
  /** Elements of a step. */
  const size = operand.pair === undefined ? 1 : 2;
  const address = (line: Ix, step: Ix): Ix => from.at.add(line.scale(stride)).add(step.scale(size));
  const { body, value } = elementAt(operand, address(Ix.variable('c_j', width), Ix.variable('c_k', most)), to.type);
  const one: Stmt[] = [...body, { kind: 'store', buffer: to.buffer, index: iadd(to.base, iadd(imul(k, to.stride), j)), value }];
  const lines = (first: number, last: number, start: Expr | number): Stmt[] =>
    first === last ? [] : [loop('c_j', first, last, [loop('c_k', start, count, one)])];
  if ((to.type !== 'f32' && size === 1) || lanes < 4) return lines(0, width, 0);
  const whole = Math.floor(width / lanes) * lanes;
  const squares = imul(idiv(count, lanes), lanes);
  const isPlain = !operand.element && operand.dtype === (size === 1 ? 'f32' : 'bf16') && stride % size === 0;
  const squareType = size === 1 ? 'f32' : 'bf16';
  const square = (source: string, base: Expr, step: number): Stmt => ({
    kind: 'transpose',
    size: lanes,
    from: source,
    base,
    stride: step,
    out: to.buffer,
    outBase: iadd(to.base, iadd(imul(k, to.stride), j)),
    outStride: to.stride,
  });
  const squareAt = (): Stmt[] => {
    if (isPlain) return [square(operand.buffer, iadd(from.base, iadd(imul(j, stride), imul(k, size))), stride)];
    // Widened or decoded into a square of its own first; lines and steps by whole squares, so that their addresses say so.
    const within = Ix.variable('c_r', lanes);
    const line = Ix.variable('c_jq', Math.max(1, whole / lanes))
      .scale(lanes)
      .add(within);
    const step = Ix.variable('c_kq', Math.max(1, ceilDiv(most, lanes))).scale(lanes);
    const fill = Array.from({ length: size }, (_, half): Stmt[] => {
      const { body, value } = floatsAt(c, operand, address(line, step).add(half * lanes), lanes);
      return [...body, { kind: 'store', buffer: 'c_square', index: iadd(imul(variable('c_r'), lanes * size), half * lanes), value }];
    }).flat();
    return [{ kind: 'let', name: 'c_jq', value: idiv(j, lanes) }, loop('c_r', 0, lanes, fill), square('c_square', index(0), lanes * size)];
  };
  const inside: Stmt[] = isPlain ? [] : [{ kind: 'let', name: 'c_kq', value: idiv(k, lanes) }];
  return [
    ...(whole > 0
      ? [
          ...(isPlain ? [] : [{ kind: 'local', name: 'c_square', type: squareType, size: size * lanes * lanes } as const]),
          loop('c_k', 0, squares, [...inside, loop('c_j', 0, whole, squareAt(), { step: lanes })], { step: lanes }),
        ]
      : []),
    ...(squares.kind === 'const' && count.kind === 'const' && squares.value === count.value ? [] : lines(0, whole, squares)),
    ...lines(whole, width, 0),
  ];
}

/** The kernel that writes the copy of A or B to `buffer`. */
export function emitPack(p: VectorPlan, side: 'a' | 'b', buffer: string): Kernel {
  const { c, reduce } = p;
  const { axis, outer, pieces, length } = packed(p, side);
  const operand = c[side];
  const type = copyType(c);
  const steps = extentOf(reduce);
  const last = reduce[reduce.length - 1];
  const above = reduce.slice(0, -1);
  const chunks = ceilDiv(last.extent, CHUNK);
  const extents = [...p.batch, ...outer, ...above].map((x) => x.extent);
  const body: Stmt[] = [];
  const at = unravel(variable('c_item'), [...extents, chunks]).map((e, i) => named(`c_i${i}`, e, body));
  const batchAt = at.slice(0, p.batch.length);
  const outerAt = at.slice(p.batch.length, p.batch.length + outer.length);
  const aboveAt = at.slice(p.batch.length + outer.length, -1);
  const first = named('c_k0', imul(at[at.length - 1], CHUNK), body);
  const count =
    last.extent % CHUNK === 0
      ? index(CHUNK)
      : named('c_kn', op('min', 'index', index(CHUNK), op('sub', 'index', index(last.extent), first)), body);
  const from = named(
    'c_from',
    address([...p.batch, ...outer, ...above, last], [...batchAt, ...outerAt, ...aboveAt, first], side, index(operand.offset)),
    body,
  );
  const step = named('c_step', ravel([...above, last], [...aboveAt, first]), body);
  const base = named('c_base', packedBase(p, side, batchAt, outerAt), body);

  const k = variable('c_k');
  const j = variable('c_j');
  const t = variable('c_t');
  /** Loops over tiles; `inside` gets the tile's width and its start in memory and in the copy. */
  const tiles = (inside: (width: number, source: Expr, target: Expr) => Stmt[]): Stmt[] => {
    let done = 0;
    return pieces.map(({ width, count: n }) => {
      const out: Stmt[] = [];
      const nominal = named('c_n', iadd(imul(t, width), done), out);
      // As the tiles themselves: the last one moves back into bounds.
      const whole = Math.min(width, axis.extent);
      const start = done + n * width > axis.extent ? op('min', 'index', nominal, index(axis.extent - whole)) : nominal;
      const source = named('c_s', imul(start, axis[side]), out);
      const target = named('c_d', iadd(base, imul(nominal, steps)), out);
      done += n * width;
      return loop('c_t', 0, n, [...out, ...inside(whole, source, target)]);
    });
  };
  const rowOf = (width: number) => (side === 'b' ? ceilDiv(width, p.width) * p.width : width);
  const copy = (width: number, source: Expr, target: Expr): Stmt => ({
    kind: 'store',
    buffer,
    index: iadd(target, iadd(imul(iadd(step, k), rowOf(width)), j)),
    value: elementAt(operand, opaque(iadd(from, iadd(source, iadd(imul(k, last[side]), imul(j, axis[side]))))), type).value,
  });
  if (axis[side] !== 1 && isLine(operand, last[side]))
    body.push(
      ...tiles((width, source, target) =>
        turned(
          { c, operand, at: opaque(iadd(from, source)), base: iadd(from, source), stride: axis[side] },
          { buffer, type, base: iadd(target, imul(step, rowOf(width))), stride: rowOf(width) },
          width,
          count,
          CHUNK,
          p.width,
        ),
      ),
    );
  else
    body.push(
      loop(
        'c_k',
        0,
        count,
        tiles((width, source, target) => [loop('c_j', 0, width, [copy(width, source, target)], { mode: 'simd' })]),
      ),
    );
  const elements = extentOf(p.batch) * extentOf(outer) * steps * length;
  return kernelOf(
    `${c.label} pack`,
    [...c.buffers, { name: buffer, dtype: type, access: 'write' }],
    extents.reduce((n, e) => n * e, 1) * chunks,
    body,
    elements,
    8 * elements,
  );
}
