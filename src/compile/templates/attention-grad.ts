/**
 * @file attention backward (FlashAttention, Dao et al. 2022): for each block of queries the scores of a block of keys are made again, their
 * gradients follow while both are in cache. An item owns a key head of a sequence, so that the gradients of keys and values are summed
 * where they lie, in a fixed order; where that leaves threads idle, items share the queries and a second kernel sums.
 */
import type { BufferParam, Expr, Kernel, Stmt } from '../../kernel/kernel.js';
import { constant, iadd, imul, index, load, loop, op, splat, variable } from '../../kernel/kernel.js';
import type { TargetInfo } from '../../kernel/target.js';
import {
  type AttentionShape,
  allVisible,
  clearSurplus,
  isVisible,
  keyBase,
  keyBlock,
  keyBlocks,
  local,
  placeBlock,
  plainRows,
  productOfKeys,
  queryBlock,
  type Rows,
  readIntervals,
  rowBase,
  storeColumns,
  sumOverKeys,
  sumOverRows,
  turnRows,
  widenedKeys,
  widenedRows,
  zeros,
} from './attention-block.js';
import { kernelOf, named, unravel } from './contract-dims.js';
import { ceilDiv } from './contract-plan.js';

export interface AttentionBackward {
  readonly shape: AttentionShape;
  readonly q: Rows;
  readonly k: Rows;
  readonly v: Rows;
  readonly out: Rows;
  readonly dy: Rows;
  /** Buffers of i32 [batch, queries]. */
  readonly first: string;
  readonly end: string;
  /** Of f32 [batch, queries, heads]. */
  readonly lse: string;
  /** The gradients of q, k and v, one after the other. */
  readonly grad: string;
  readonly buffers: readonly BufferParam[];
  readonly label: string;
}

/** Kernels in order, and the buffer between them. */
export interface BackwardKernels {
  readonly kernels: readonly Kernel[];
  readonly partial: { readonly name: string; readonly size: number } | null;
}

/** In how many parts the queries are cut, so that the threads have equal shares. */
function partsFor(s: AttentionShape, blocks: number, { threads }: TargetInfo): number {
  const heads = s.batch * s.groups;
  for (let parts = 1; parts < blocks; parts++) if ((heads * parts) % threads === 0 || heads * parts >= 4 * threads) return parts;
  return Math.min(blocks, threads);
}

export function attentionBackward(a: AttentionBackward, target: TargetInfo): BackwardKernels {
  const { shape: s } = a;
  const { lanes } = target;
  const b = queryBlock(s, target);
  const vectors = Array.from({ length: b.vectors }, (_, v) => v);
  const parts = Math.max(1, partsFor(s, b.queryBlocks, target));
  const sizes = {
    q: s.batch * s.queries * s.heads * s.dim,
    k: s.batch * s.keys * s.groups * s.dim,
    v: s.batch * s.keys * s.groups * s.valueDim,
  };
  const partial = parts > 1 ? { name: 'a_partial', size: parts * (sizes.k + sizes.v) } : null;
  const body: Stmt[] = [];
  const [part, batch, group] = unravel(variable('c_item'), [parts, s.batch, s.groups]).map((e, i) => named(`a_i${i}`, e, body));

  // ---- where gradients go
  const dq = plainRows(a.grad, 'f32', s.queries, s.heads, s.dim);
  const summed = (offset: number, dim: number): Rows => {
    const rows = plainRows(partial?.name ?? a.grad, 'f32', s.keys, s.groups, dim);
    return { ...rows, offset: partial ? iadd(imul(part, sizes.k + sizes.v), offset) : index(sizes.q + offset) };
  };
  const dk = summed(0, s.dim);
  const dv = summed(sizes.k, s.valueDim);
  const owner = { batch, group, head: index(0), query: index(0), skip: index(0) };
  const [kBase, vBase, dkBase, dvBase] = [a.k, a.v, dk, dv].map((rows, i) => named(`a_base${i}`, keyBase(rows, owner), body));
  const clear = (rows: Rows, base: Expr, dim: number): Stmt => {
    const at = iadd(iadd(base, imul(variable('a_j'), rows.strides[1])), variable('a_d'));
    const one: Stmt = { kind: 'store', buffer: rows.buffer, index: at, value: constant('f32', 0) };
    return loop('a_j', 0, s.keys, [loop('a_d', 0, dim, [one], { mode: 'simd' })]);
  };
  body.push(clear(dk, dkBase, s.dim), clear(dv, dvBase, s.valueDim));

  // ---- a block of queries
  const q = widenedRows(a.q, b, s.dim, 'a_q');
  const dy = widenedRows(a.dy, b, s.valueDim, 'a_dy');
  const k = widenedKeys(a.k, s.dim, 'a_k');
  const v = widenedKeys(a.v, s.valueDim, 'a_v');
  body.push(
    local('a_from', b.stride, 'i32'),
    local('a_to', b.stride, 'i32'),
    local('a_lse', b.stride),
    local('a_delta', b.stride),
    local('a_qt', s.dim * b.stride),
    local('a_dyt', s.valueDim * b.stride),
    local('a_dqt', s.dim * b.stride),
    local('a_p', keyBlock * b.stride),
    local('a_ds', keyBlock * b.stride),
    ...[q, dy, k, v].flatMap((x) => x.locals),
  );
  const block: Stmt[] = [];
  const place = placeBlock(s, b, { batch, group, head: variable('a_hb'), query: variable('a_qb') }, block);
  const rows = q.make(place);
  const seeds = dy.make(place);
  const line = variable('a_j');
  const at = (i: number): Expr => iadd(imul(line, b.stride), i * lanes);
  const store = (buffer: string, to: Expr, value: Expr): Stmt => ({ kind: 'store', buffer, index: to, value });
  const times = (x: Expr, y: Expr): Expr => op('mul', 'f32', x, y);
  const scale = splat(constant('f32', s.scale), lanes);
  block.push(
    ...readIntervals(s, b, place, a.first, a.end),
    ...rows.body,
    ...seeds.body,
    ...turnRows(rows.rows, b, s.dim, 'a_qt', lanes),
    ...turnRows(seeds.rows, b, s.valueDim, 'a_dyt', lanes),
    ...clearSurplus(b, 'a_qt', s.dim),
    ...clearSurplus(b, 'a_dyt', s.valueDim),
    ...clearSurplus(b, 'a_lse', 1),
    ...clearSurplus(b, 'a_delta', 1),
    loop(
      'a_j',
      0,
      s.dim,
      vectors.flatMap((i) => [store('a_qt', at(i), times(load('a_qt', 'f32', at(i), lanes), scale)), store('a_dqt', at(i), zeros(lanes))]),
    ),
  );

  // ---- each row's log-sum-exp, and Σ dy · out, by which its scores' gradients are less
  const [hh, i, d] = [variable('a_hh'), variable('a_i'), variable('a_d')];
  const lse = plainRows(a.lse, 'f32', s.queries, s.heads, 1);
  const outBase = named('a_out0', rowBase(a.out, place), block);
  const lseBase = named('a_lse0', rowBase(lse, place), block);
  const row = iadd(imul(hh, b.queries), i);
  const seedAt = iadd(iadd(seeds.rows.base, imul(hh, seeds.rows.head)), iadd(imul(i, seeds.rows.query), d));
  const outAt = iadd(iadd(outBase, imul(hh, a.out.strides[2])), iadd(imul(i, a.out.strides[1]), d));
  const product = times(load(seeds.rows.buffer, 'f32', seedAt), load(a.out.buffer, a.out.dtype, outAt));
  const delta = variable('a_sum', 'f32');
  block.push(
    loop('a_hh', 0, b.heads, [
      loop('a_i', 0, b.queries, [
        store('a_lse', row, load(a.lse, 'f32', iadd(iadd(lseBase, hh), imul(i, s.heads)))),
        { kind: 'mut', name: 'a_sum', value: constant('f32', 0) },
        loop('a_d', 0, s.valueDim, [{ kind: 'assign', name: 'a_sum', value: op('add', 'f32', delta, product) }], {
          mode: 'simd',
          reduce: [{ name: 'a_sum', op: 'add' }],
        }),
        store('a_delta', row, delta),
      ]),
    ]),
  );

  // ---- with a block of keys
  const keys = k.make(kBase);
  const values = v.make(vBase);
  const gradients = (isMasked: boolean): Stmt =>
    loop(
      'a_j',
      0,
      variable('a_n'),
      vectors.flatMap((n): Stmt[] => {
        const of = (name: string): Expr => load(name, 'f32', index(n * lanes), lanes);
        const e = op('exp', 'f32', op('sub', 'f32', load('a_p', 'f32', at(n), lanes), of('a_lse')));
        const weight = variable(`a_w${n}`, 'f32', lanes);
        const beyond = op('sub', 'f32', load('a_ds', 'f32', at(n), lanes), of('a_delta'));
        return [
          { kind: 'let', name: `a_w${n}`, value: isMasked ? op('select', 'f32', isVisible(n, lanes), e, zeros(lanes)) : e },
          store('a_p', at(n), weight),
          store('a_ds', at(n), times(times(weight, beyond), scale)),
        ];
      }),
    );
  const gradientLines = (to: Rows, base: Expr) => ({
    buffer: to.buffer,
    base: iadd(base, imul(variable('a_key'), to.strides[1])),
    stride: to.strides[1],
  });
  block.push(
    keyBlocks([
      ...keys.body,
      ...values.body,
      ...productOfKeys(keys.lines, b, s.dim, 'a_qt', 'a_p', lanes),
      ...productOfKeys(values.lines, b, s.valueDim, 'a_dyt', 'a_ds', lanes),
      { kind: 'if', cond: allVisible(), then: [gradients(false)], otherwise: [gradients(true)] },
      ...sumOverKeys(keys.lines, b, s.dim, 'a_ds', 'a_dqt', target),
      ...sumOverRows(rows.rows, b, s.dim, 'a_ds', gradientLines(dk, dkBase), target),
      ...sumOverRows(seeds.rows, b, s.valueDim, 'a_p', gradientLines(dv, dvBase), target),
    ]),
    ...storeColumns('a_dqt', dq, b, place, s.dim, lanes, ''),
  );
  body.push(loop('a_hb', 0, b.headBlocks, [loop('a_qb', part, b.queryBlocks, block, { step: parts })]));

  const scores = s.batch * s.heads * s.queries * s.keys * (s.queries > 1 ? 0.5 : 1);
  const flops = scores * (6 * s.dim + 4 * s.valueDim + 30);
  const bytes = 4 * (3 * sizes.q + 3 * (sizes.k + sizes.v));
  const own: BufferParam[] = partial ? [{ name: partial.name, dtype: 'f32', access: 'readwrite' }] : [];
  const buffers = a.buffers.map((x): BufferParam => (x.name === a.grad && !partial ? { ...x, access: 'readwrite' } : x));
  const kernels = [kernelOf(a.label, [...buffers, ...own], parts * s.batch * s.groups, body, flops, bytes)];
  if (partial) kernels.push(sumOfParts(a, partial.name, parts, sizes.q, sizes.k + sizes.v));
  return { kernels, partial };
}

/** grad[offset + i] = Σ over the parts, in order, of partial[part][i]. */
function sumOfParts(a: AttentionBackward, partial: string, parts: number, offset: number, size: number): Kernel {
  const chunk = 4096;
  const at = iadd(imul(variable('c_item'), chunk), variable('a_j'));
  let sum = load(partial, 'f32', at);
  for (let part = 1; part < parts; part++) sum = op('add', 'f32', sum, load(partial, 'f32', iadd(at, part * size)));
  const length = size % chunk === 0 ? index(chunk) : op('min', 'index', index(chunk), iadd(index(size), imul(variable('c_item'), -chunk)));
  const body: Stmt[] = [
    { kind: 'let', name: 'a_n', value: length },
    loop('a_j', 0, variable('a_n'), [{ kind: 'store', buffer: a.grad, index: iadd(at, offset), value: sum }], { mode: 'simd' }),
  ];
  const buffers: BufferParam[] = [...a.buffers, { name: partial, dtype: 'f32', access: 'read' }];
  return kernelOf(`${a.label} sum`, buffers, ceilDiv(size, chunk), body, size * parts, 4 * size * (parts + 1));
}
