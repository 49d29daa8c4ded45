/**
 * @file attention forward: for a block of queries, one pass over the keys that some of them see, block by block, with a
 * running maximum and sum (Milakov and Gimelshein 2018; FlashAttention, Dao et al. 2022). Nothing of queries × keys reaches memory.
 */
import type { DType } from '../../base/dtype.js';
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
  lowestScore,
  placeBlock,
  plainRows,
  productOfKeys,
  queryBlock,
  type Rows,
  readIntervals,
  rowBase,
  storeColumns,
  sumOverKeys,
  turnRows,
  widenedKeys,
  widenedRows,
  zeros,
} from './attention-block.js';
import { attentionDecoding, decodingBlock } from './attention-decode.js';
import { extentOf, kernelOf, named, unravel } from './contract-dims.js';

export interface AttentionForward {
  readonly shape: AttentionShape;
  readonly q: Rows;
  readonly k: Rows;
  readonly v: Rows;
  /** Buffers of i32 [batch, queries]. */
  readonly first: string;
  readonly end: string;
  /** What is wanted: the result, its log-sum-exp [batch, queries, heads], or both. */
  readonly out: string | null;
  readonly outType: DType;
  readonly lse: string | null;
  readonly buffers: readonly BufferParam[];
  readonly label: string;
}

export function attentionForward(a: AttentionForward, target: TargetInfo): Kernel {
  const { shape: s } = a;
  const few = decodingBlock(a, target);
  if (few && a.out !== null) return attentionDecoding(a, a.out, few, target);
  const out = a.out === null ? null : plainRows(a.out, a.outType, s.queries, s.heads, s.valueDim);
  const { lanes } = target;
  const b = queryBlock(s, target);
  const vectors = Array.from({ length: b.vectors }, (_, v) => v);
  const body: Stmt[] = [];
  const extents = [s.batch, s.groups, b.headBlocks, b.queryBlocks];
  const [batch, group, head, query] = unravel(variable('c_item'), extents).map((e, i) => named(`a_i${i}`, e, body));
  const place = placeBlock(s, b, { batch, group, head, query }, body);
  const q = widenedRows(a.q, b, s.dim, 'a_q');
  const k = widenedKeys(a.k, s.dim, 'a_k');
  const v = widenedKeys(a.v, s.valueDim, 'a_v');

  body.push(
    local('a_from', b.stride, 'i32'),
    local('a_to', b.stride, 'i32'),
    ...readIntervals(s, b, place, a.first, a.end),
    local('a_qt', s.dim * b.stride),
    local('a_p', keyBlock * b.stride),
    local('a_max', b.stride),
    local('a_sum', b.stride),
    ...q.locals,
    ...k.locals,
    ...(out ? [...v.locals, local('a_fade', b.stride), local('a_ot', s.valueDim * b.stride)] : []),
  );
  const rows = q.make(place);
  body.push(...rows.body, ...turnRows(rows.rows, b, s.dim, 'a_qt', lanes), ...clearSurplus(b, 'a_qt', s.dim));

  // ---- all vectors of a local of `lines` lines
  const line = variable('a_j');
  const each = (lines: number, of: (at: Expr) => Stmt): Stmt =>
    loop(
      'a_j',
      0,
      lines,
      vectors.map((i) => of(iadd(imul(line, b.stride), i * lanes))),
    );
  const store = (buffer: string, at: Expr, value: Expr): Stmt => ({ kind: 'store', buffer, index: at, value });
  const scaled = (buffer: string, at: Expr, by: Expr): Stmt => store(buffer, at, op('mul', 'f32', load(buffer, 'f32', at, lanes), by));
  body.push(
    each(s.dim, (at) => scaled('a_qt', at, splat(constant('f32', s.scale), lanes))),
    ...vectors.flatMap((i) => [
      store('a_max', index(i * lanes), splat(constant('f32', lowestScore), lanes)),
      store('a_sum', index(i * lanes), zeros(lanes)),
    ]),
    ...(out ? [each(s.valueDim, (at) => store('a_ot', at, zeros(lanes)))] : []),
  );

  // ---- a block of keys
  const kBase = named('a_kb', keyBase(a.k, place), body);
  const vBase = out ? named('a_vb', keyBase(a.v, place), body) : index(0);
  const keys = k.make(kBase);
  const values = v.make(vBase);
  const at = (i: number): Expr => iadd(imul(line, b.stride), i * lanes);
  const top = (i: number): Expr => variable(`a_m${i}`, 'f32', lanes);
  const raise = (i: number, score: Expr): Stmt => ({
    kind: 'assign',
    name: `a_m${i}`,
    value: op('select', 'f32', op('lt', 'bool', top(i), score), score, top(i)),
  });
  const highest = loop(
    'a_j',
    0,
    variable('a_n'),
    vectors.map((i) => raise(i, load('a_p', 'f32', at(i), lanes))),
  );
  const hidden = splat(constant('f32', Number.NEGATIVE_INFINITY), lanes);
  const masked = loop(
    'a_j',
    0,
    variable('a_n'),
    vectors.flatMap((i): Stmt[] => [
      { kind: 'let', name: `a_z${i}`, value: op('select', 'f32', isVisible(i, lanes), load('a_p', 'f32', at(i), lanes), hidden) },
      store('a_p', at(i), variable(`a_z${i}`, 'f32', lanes)),
      raise(i, variable(`a_z${i}`, 'f32', lanes)),
    ]),
  );
  const less = (x: Expr, i: number): Expr => op('exp', 'f32', op('sub', 'f32', x, top(i)));
  body.push(
    keyBlocks([
      ...keys.body,
      ...productOfKeys(keys.lines, b, s.dim, 'a_qt', 'a_p', lanes),
      ...vectors.map((i): Stmt => ({ kind: 'mut', name: `a_m${i}`, value: load('a_max', 'f32', index(i * lanes), lanes) })),
      { kind: 'if', cond: allVisible(), then: [highest], otherwise: [masked] },
      ...vectors.flatMap((i): Stmt[] => [
        { kind: 'let', name: `a_f${i}`, value: less(load('a_max', 'f32', index(i * lanes), lanes), i) },
        store('a_max', index(i * lanes), top(i)),
        ...(out ? [store('a_fade', index(i * lanes), variable(`a_f${i}`, 'f32', lanes))] : []),
        {
          kind: 'mut',
          name: `a_l${i}`,
          value: op('mul', 'f32', load('a_sum', 'f32', index(i * lanes), lanes), variable(`a_f${i}`, 'f32', lanes)),
        },
      ]),
      loop(
        'a_j',
        0,
        variable('a_n'),
        vectors.flatMap((i): Stmt[] => [
          { kind: 'let', name: `a_w${i}`, value: less(load('a_p', 'f32', at(i), lanes), i) },
          ...(out ? [store('a_p', at(i), variable(`a_w${i}`, 'f32', lanes))] : []),
          {
            kind: 'assign',
            name: `a_l${i}`,
            value: op('add', 'f32', variable(`a_l${i}`, 'f32', lanes), variable(`a_w${i}`, 'f32', lanes)),
          },
        ]),
      ),
      ...vectors.map((i) => store('a_sum', index(i * lanes), variable(`a_l${i}`, 'f32', lanes))),
      ...(out
        ? [
            ...values.body,
            ...sumOverKeys(values.lines, b, s.valueDim, 'a_p', 'a_ot', target, (i) => load('a_fade', 'f32', index(i * lanes), lanes)),
          ]
        : []),
    ]),
  );

  // ---- results
  const sum = (i: number): Expr => load('a_sum', 'f32', index(i * lanes), lanes);
  if (out) {
    const isEmpty = (i: number): Expr => op('eq', 'bool', sum(i), zeros(lanes));
    body.push(
      ...vectors.map(
        (i): Stmt => ({
          kind: 'let',
          name: `a_r${i}`,
          value: op('select', 'f32', isEmpty(i), zeros(lanes), op('div', 'f32', splat(constant('f32', 1), lanes), sum(i))),
        }),
      ),
      loop(
        'a_j',
        0,
        s.valueDim,
        vectors.map((i) => scaled('a_ot', at(i), variable(`a_r${i}`, 'f32', lanes))),
      ),
      ...(out.dtype === 'f32' ? [] : [local('a_o', b.queries * s.valueDim)]),
      ...storeColumns('a_ot', out, b, place, s.valueDim, lanes, 'a_o'),
    );
  }
  if (a.lse) {
    const lse = plainRows(a.lse, 'f32', s.queries, s.heads, 1);
    const [hh, i] = [variable('a_hh'), variable('a_i')];
    const row = iadd(imul(hh, b.queries), i);
    const to = iadd(iadd(rowBase(lse, place), hh), imul(i, s.heads));
    const value = op('add', 'f32', load('a_max', 'f32', row), op('log', 'f32', load('a_sum', 'f32', row)));
    body.push(loop('a_hh', 0, b.heads, [loop('a_i', place.skip, b.queries, [store(a.lse, to, value)])]));
  }
  const scores = s.batch * s.heads * s.queries * s.keys * (s.queries > 1 ? 0.5 : 1);
  const flops = scores * (2 * s.dim + (out ? 2 * s.valueDim : 0) + 20);
  const bytes = 4 * s.batch * (s.queries * s.heads + s.keys * s.groups) * (s.dim + s.valueDim);
  return kernelOf(a.label, a.buffers, extentOf(extents.map((extent) => ({ extent }))), body, flops, bytes);
}
