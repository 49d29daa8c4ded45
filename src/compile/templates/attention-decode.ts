/**
 * @file attention for few queries, as when decoding against a cache: keys and values stream by once for all heads that share them. A block of
 * keys is turned, so that lanes are keys for the scores, and elements for the values; forward's other form would leave most lanes empty.
 */
import type { Expr, Kernel, Stmt } from '../../kernel/kernel.js';
import { cast, constant, iadd, imul, index, load, loop, op, splat, variable } from '../../kernel/kernel.js';
import type { TargetInfo } from '../../kernel/target.js';
import type { AttentionForward } from './attention.js';
import {
  evenPieces,
  keyBase,
  keyBlock,
  keyBlocks,
  local,
  lowestScore,
  nextBlock,
  placeBlock,
  plainRows,
  type QueryBlock,
  queryBlock,
  readIntervals,
  registerTile,
  rowBase,
  widenedKeys,
  zeros,
} from './attention-block.js';
import { extentOf, kernelOf, named, unravel } from './contract-dims.js';
import { tileCycles, tileFits } from './tile.js';

/** The rows of an item, where this form is quicker than the other: all queries of some of the heads that share keys. */
export function decodingBlock(a: AttentionForward, target: TargetInfo): QueryBlock | null {
  const { shape: s } = a;
  const { lanes } = target;
  const shared = s.heads / s.groups;
  if (a.lse !== null || lanes < 4 || s.dim % lanes > 0 || s.valueDim % lanes > 0 || s.keys < lanes) return null;
  let heads = shared;
  while (heads > 1 && (shared % heads > 0 || heads * s.queries > 8)) heads--;
  const rows = heads * s.queries;
  if (rows > 8 || !tileFits(rows, 1, target)) return null;
  // Cycles for a key: products at the rate of full vectors, and its share of turning the block.
  const cycles = ((s.dim + s.valueDim) * rows * 0.55 + 3 * s.dim) / lanes + 1.2 * rows;
  const other = queryBlock(s, target);
  const otherCycles = ((s.dim + s.valueDim) * tileCycles(other.keys, other.vectors)) / other.keys + other.vectors * 12;
  if (cycles / rows > otherCycles / other.rows) return null;
  return { heads, queries: s.queries, headBlocks: shared / heads, queryBlocks: 1, rows, vectors: 1, stride: rows, keys: 1 };
}

export function attentionDecoding(a: AttentionForward, out: string, b: QueryBlock, target: TargetInfo): Kernel {
  const { shape: s } = a;
  const { lanes } = target;
  const body: Stmt[] = [];
  const extents = [s.batch, s.groups, b.headBlocks];
  const [batch, group, head] = unravel(variable('c_item'), extents).map((e, i) => named(`a_i${i}`, e, body));
  const place = placeBlock(s, b, { batch, group, head, query: index(0) }, body);
  const k = widenedKeys(a.k, s.dim, 'a_k');
  const v = widenedKeys(a.v, s.valueDim, 'a_v');
  // bf16 is widened as it is loaded; f16 takes a dozen instructions, and is quicker in a loop of its own (16 GB/s, else 11).
  const copiesValues = a.v.dtype === 'f16';
  /** Floats of a row of weights: the block's keys begin after one vector, that lines moved back into bounds may be stored before them. */
  const width = keyBlock + 2 * lanes;
  const store = (buffer: string, at: Expr, value: Expr): Stmt => ({ kind: 'store', buffer, index: at, value });
  const [hh, i, j, d] = [variable('a_hh'), variable('a_i'), variable('a_j'), variable('a_d')];
  const f = (name: string, n = 1): Expr => variable(name, 'f32', n);

  body.push(
    local('a_from', b.rows, 'i32'),
    local('a_to', b.rows, 'i32'),
    ...readIntervals(s, b, place, a.first, a.end),
    local('a_q', b.rows * s.dim),
    local('a_kt', s.dim * keyBlock),
    local('a_w', b.rows * width),
    local('a_o', b.rows * s.valueDim),
    local('a_max', b.rows),
    local('a_sum', b.rows),
    local('a_fade', b.rows),
    local('a_lane', lanes),
    local('a_count', keyBlock, 'i32'),
    ...k.locals,
    ...(copiesValues ? v.locals : []),
  );

  // ---- queries, scaled, and what is summed
  const eachRow = (of: (row: Expr) => Stmt[]): Stmt =>
    loop('a_hh', 0, b.heads, [loop('a_i', 0, b.queries, of(iadd(imul(hh, b.queries), i)))]);
  const qBase = named('a_q0', rowBase(a.q, place), body);
  const qAt = iadd(iadd(qBase, imul(hh, a.q.strides[2])), iadd(imul(i, a.q.strides[1]), d));
  const scaled = op('mul', 'f32', load(a.q.buffer, a.q.dtype, qAt), constant('f32', s.scale));
  body.push(
    loop('a_j', 0, keyBlock, [store('a_count', j, cast('i32', j))], { mode: 'simd' }),
    eachRow((row) => [
      store('a_max', row, constant('f32', lowestScore)),
      store('a_sum', row, constant('f32', 0)),
      loop('a_d', 0, s.dim, [store('a_q', iadd(imul(row, s.dim), d), scaled)], { mode: 'simd' }),
      loop('a_d', 0, s.valueDim, [store('a_o', iadd(imul(row, s.valueDim), d), constant('f32', 0))], { mode: 'simd' }),
    ]),
  );

  // ---- a block of keys, turned: a_kt[d][key]. The last vector of a cache moves back into bounds; a copy has lines to spare.
  const keys = k.make(named('a_kb', keyBase(a.k, place), body));
  const vBase = named('a_vb', keyBase(a.v, place), body);
  const values = copiesValues
    ? v.make(vBase)
    : { body: [], lines: { buffer: a.v.buffer, base: iadd(vBase, imul(variable('a_key'), a.v.strides[1])), stride: a.v.strides[1] } };
  const back = (at: Expr): Expr =>
    a.k.dtype !== 'f32' ? at : op('min', 'index', at, op('sub', 'index', index(s.keys - lanes), variable('a_key')));
  const turn: Stmt = loop(
    'a_j',
    0,
    variable('a_n'),
    [
      { kind: 'let', name: 'a_line', value: iadd(keys.lines.base, imul(back(j), keys.lines.stride)) },
      loop(
        'a_d',
        0,
        s.dim,
        [
          {
            kind: 'transpose',
            size: lanes,
            from: keys.lines.buffer,
            base: iadd(variable('a_line'), d),
            stride: keys.lines.stride,
            out: 'a_kt',
            outBase: iadd(imul(d, keyBlock), j),
            outStride: keyBlock,
          },
          ...(a.k.dtype === 'f32'
            ? Array.from({ length: lanes }, (_, r) => nextBlock(a.k, iadd(iadd(variable('a_line'), d), r * a.k.strides[1]), lanes)).flat()
            : []),
        ],
        { step: lanes },
      ),
    ],
    { step: lanes },
  );

  // ---- scores
  let most = 1;
  while (tileFits(b.rows, most + 1, target) && most < keyBlock / lanes) most++;
  const step = 2 ** Math.floor(Math.log2(most));
  const widths = (n: number): number[] => Array.from({ length: n }, () => lanes);
  const column = (v: number): Expr => iadd(j, v * lanes);
  const scores: Stmt = loop(
    'a_j',
    0,
    variable('a_n'),
    [
      ...widths(step).map(
        (_, v): Stmt => ({
          kind: 'let',
          name: `a_at${v}`,
          value: op('select', 'index', op('lt', 'bool', column(v), variable('a_n')), back(column(v)), column(v)),
        }),
      ),
      ...registerTile({
        rows: b.rows,
        widths: widths(step),
        initial: () => zeros(lanes),
        steps: (inner) => [loop('a_d', 0, s.dim, inner)],
        vector: (v) => load('a_kt', 'f32', iadd(imul(d, keyBlock), column(v)), lanes),
        element: (r) => load('a_q', 'f32', iadd(d, r * s.dim)),
        done: (r, v, sum) => [store('a_w', iadd(variable(`a_at${v}`), r * width + lanes), sum)],
      }),
    ],
    { step: step * lanes },
  );

  // ---- weights, row by row
  const weight = iadd(imul(i, width), iadd(j, lanes));
  const key = op('add', 'i32', load('a_count', 'i32', j, lanes), splat(cast('i32', variable('a_key')), lanes));
  const bound = (name: string): Expr => splat(load(name, 'i32', i), lanes);
  const isSeen = op('and', 'bool', op('le', 'bool', bound('a_from'), key), op('lt', 'bool', key, bound('a_to')));
  const vectors = (inner: Stmt[]): Stmt => loop('a_j', 0, variable('a_n'), inner, { step: lanes });
  /** Across the lanes of a vector, into a mut. */
  const across = (vector: string, by: 'max' | 'add', into: string): Stmt[] => [
    store('a_lane', index(0), f(vector, lanes)),
    loop('a_d', 0, lanes, [{ kind: 'assign', name: into, value: op(by, 'f32', f(into), load('a_lane', 'f32', d)) }], {
      mode: 'simd',
      reduce: [{ name: into, op: by }],
    }),
  ];
  const weights: Stmt = loop('a_i', 0, b.rows, [
    { kind: 'mut', name: 'a_tops', value: splat(constant('f32', lowestScore), lanes) },
    vectors([
      {
        kind: 'let',
        name: 'a_s',
        value: op('select', 'f32', isSeen, load('a_w', 'f32', weight, lanes), splat(constant('f32', Number.NEGATIVE_INFINITY), lanes)),
      },
      store('a_w', weight, f('a_s', lanes)),
      {
        kind: 'assign',
        name: 'a_tops',
        value: op('select', 'f32', op('lt', 'bool', f('a_tops', lanes), f('a_s', lanes)), f('a_s', lanes), f('a_tops', lanes)),
      },
    ]),
    { kind: 'mut', name: 'a_top', value: load('a_max', 'f32', i) },
    ...across('a_tops', 'max', 'a_top'),
    { kind: 'let', name: 'a_f', value: op('exp', 'f32', op('sub', 'f32', load('a_max', 'f32', i), f('a_top'))) },
    store('a_fade', i, f('a_f')),
    store('a_max', i, f('a_top')),
    { kind: 'mut', name: 'a_sums', value: zeros(lanes) },
    vectors([
      { kind: 'let', name: 'a_e', value: op('exp', 'f32', op('sub', 'f32', load('a_w', 'f32', weight, lanes), splat(f('a_top'), lanes))) },
      store('a_w', weight, f('a_e', lanes)),
      { kind: 'assign', name: 'a_sums', value: op('add', 'f32', f('a_sums', lanes), f('a_e', lanes)) },
    ]),
    { kind: 'mut', name: 'a_all0', value: op('mul', 'f32', load('a_sum', 'f32', i), f('a_f')) },
    ...across('a_sums', 'add', 'a_all0'),
    store('a_sum', i, f('a_all0')),
  ]);

  // ---- values, as they lie
  let wide = 1;
  while (tileFits(b.rows, wide + 1, target)) wide++;
  let done = 0;
  const c = variable('a_c');
  const sums = evenPieces(s.valueDim / lanes, wide).map((piece): Stmt => {
    const from = done;
    done += piece.size * piece.count * lanes;
    const line = iadd(iadd(values.lines.base, imul(j, values.lines.stride)), c);
    const at = (r: number, v: number): Expr => iadd(c, r * s.valueDim + v * lanes);
    const tile = registerTile({
      rows: b.rows,
      widths: widths(piece.size),
      initial: (r, v) => op('mul', 'f32', load('a_o', 'f32', at(r, v), lanes), splat(load('a_fade', 'f32', index(r)), lanes)),
      steps: (inner) => [loop('a_j', 0, variable('a_n'), [...(copiesValues ? [] : nextBlock(a.v, line, piece.size * lanes)), ...inner])],
      vector: (n) => load(values.lines.buffer, copiesValues ? 'f32' : a.v.dtype, iadd(line, n * lanes), lanes),
      element: (r) => load('a_w', 'f32', iadd(j, r * width + lanes)),
      done: (r, v, sum) => [store('a_o', at(r, v), sum)],
    });
    return loop('a_c', from, done, tile, { step: piece.size * lanes });
  });
  body.push(keyBlocks([...keys.body, ...values.body, turn, scores, weights, ...sums]));

  const to = plainRows(out, a.outType, s.queries, s.heads, s.valueDim);
  const sum = load('a_sum', 'f32', iadd(imul(hh, b.queries), i));
  const isEmpty = op('eq', 'bool', sum, constant('f32', 0));
  const toAt = iadd(iadd(rowBase(to, place), imul(hh, to.strides[2])), iadd(imul(i, to.strides[1]), d));
  body.push(
    eachRow((row) => [
      { kind: 'let', name: 'a_r', value: op('select', 'f32', isEmpty, constant('f32', 0), op('div', 'f32', constant('f32', 1), sum)) },
      loop(
        'a_d',
        0,
        s.valueDim,
        [store(out, toAt, cast(a.outType, op('mul', 'f32', load('a_o', 'f32', iadd(imul(row, s.valueDim), d)), f('a_r'))))],
        { mode: 'simd' },
      ),
    ]),
  );
  const work = s.batch * s.heads * s.queries * s.keys * (2 * s.dim + 2 * s.valueDim + 30);
  const bytes = 4 * s.batch * s.keys * s.groups * (s.dim + s.valueDim);
  return kernelOf(a.label, a.buffers, extentOf(extents.map((extent) => ({ extent }))), body, work, bytes);
}
