/**
 * @file What the attention templates share: a block of queries of the heads that read one key/value head, whose lanes are
 * queries, so that maxima, sums and rescalings need no step across lanes; keys and values are read where they lie, an element
 * in all lanes. Names starting with `a_` are the templates'.
 */
import { type DType, dtypes } from '../../base/dtype.js';
import type { Expr, Stmt } from '../../kernel/kernel.js';
import { cast, constant, fma, iadd, idiv, imul, index, load, loop, op, splat, variable } from '../../kernel/kernel.js';
import type { TargetInfo } from '../../kernel/target.js';
import { named } from './contract-dims.js';
import { ceilDiv } from './contract-plan.js';
import { type Piece, tileCycles, tileFits } from './tile.js';
import { turnedBuffer } from './turn.js';

export interface AttentionShape {
  readonly batch: number;
  readonly queries: number;
  readonly heads: number;
  readonly keys: number;
  /** Heads of keys and values. */
  readonly groups: number;
  readonly dim: number;
  readonly valueDim: number;
  readonly scale: number;
}

/** Where rows [batch, position, head, …] lie, their elements side by side. */
export interface Rows {
  readonly buffer: string;
  readonly dtype: DType;
  readonly offset: Expr;
  readonly strides: readonly [batch: number, position: number, head: number];
}

/** Rows [batch, positions, heads, dim] one after the other from an offset on. */
export const plainRows = (buffer: string, dtype: DType, positions: number, heads: number, dim: number, offset = 0): Rows => ({
  buffer,
  dtype,
  offset: index(offset),
  strides: [positions * heads * dim, heads * dim, dim],
});

/** Below every score: subtracting it from a score is never ∞ − ∞. */
export const lowestScore = -3.4028234663852886e38;

/** Keys of one pass over scores: those of a block's rows then fill a third of the first-level cache. */
export const keyBlock = 64;

/** How queries are grouped: `heads` × `queries` rows, head by head, in vectors; `stride` is their lanes. */
export interface QueryBlock {
  readonly heads: number;
  readonly queries: number;
  /** Blocks of heads within those of one key head, and of queries. */
  readonly headBlocks: number;
  readonly queryBlocks: number;
  readonly rows: number;
  readonly vectors: number;
  readonly stride: number;
  /** Rows of the register tile of the scores: keys. */
  readonly keys: number;
}

const f32 = (value: number): Expr => constant('f32', value);
export const zeros = (lanes: number): Expr => splat(f32(0), lanes);

/** Most rows of a register tile of so many vectors; 8 hide the latency, and leave few keys over. */
export function tallestTile(vectors: number, target: TargetInfo, most = 8): number {
  for (let rows = most; rows > 1; rows--) if (tileFits(rows, vectors, target)) return rows;
  return 1;
}

/** The block with the least work for a query: full vectors, full tiles, and few keys beyond the diagonal of a causal mask. */
export function queryBlock(s: AttentionShape, target: TargetInfo): QueryBlock {
  const { lanes } = target;
  const shared = s.heads / s.groups;
  let best: { block: QueryBlock; cost: number } | null = null;
  for (let heads = 1; heads <= shared; heads++) {
    if (shared % heads !== 0) continue;
    for (let n = 1; n <= 4; n++) {
      const queries = Math.max(1, Math.min(s.queries, n * lanes));
      const rows = heads * queries;
      const vectors = ceilDiv(rows, lanes);
      if (vectors > 4 && (heads > 1 || queries > lanes)) continue;
      const keys = tallestTile(vectors, target);
      const queryBlocks = ceilDiv(s.queries, queries);
      const headBlocks = shared / heads;
      const visible = s.queries > 1 ? s.queries + queries : 2;
      const cost = (queryBlocks * headBlocks * visible * tileCycles(keys, vectors)) / keys;
      if (!best || cost < best.cost * 0.999)
        best = { block: { heads, queries, headBlocks, queryBlocks, rows, vectors, stride: vectors * lanes, keys }, cost };
    }
  }
  // At least one candidate is weighed: one head with one vector of queries.
  return (best as { block: QueryBlock }).block;
}

/** `n` in as few pieces as `largest` allows, of sizes that differ by one at most. */
export function evenPieces(n: number, largest: number): Piece[] {
  const count = ceilDiv(n, largest);
  const size = ceilDiv(n, count);
  const smaller = count * size - n;
  const pieces = [
    { size, count: count - smaller },
    { size: size - 1, count: smaller },
  ];
  return pieces.filter((p) => p.count > 0 && p.size > 0);
}

// ---- the register tile

export interface RegisterTile {
  readonly rows: number;
  /** Lanes of each vector of a row. */
  readonly widths: readonly number[];
  initial(row: number, vector: number): Expr;
  /** The loops over the steps. */
  steps(body: Stmt[]): Stmt[];
  /** A step's vectors, and its element of each row. */
  vector(vector: number): Expr;
  element(row: number): Expr;
  done(row: number, vector: number, sum: Expr): Stmt[];
}

/** sum[row][vector] = initial + Σ over steps of element[row] · vector. */
export function registerTile(t: RegisterTile): Stmt[] {
  const rows = Array.from({ length: t.rows }, (_, i) => i);
  const sum = (i: number, v: number): Expr => variable(`a_s${i}_${v}`, 'f32', t.widths[v]);
  const each = (of: (i: number, v: number) => Stmt[]): Stmt[] => rows.flatMap((i) => t.widths.flatMap((_, v) => of(i, v)));
  const step: Stmt[] = t.widths.map((_, v): Stmt => ({ kind: 'let', name: `a_y${v}`, value: t.vector(v) }));
  for (const i of rows) {
    step.push({ kind: 'let', name: `a_x${i}`, value: t.element(i) });
    for (const [v, width] of t.widths.entries()) {
      const value = fma(splat(variable(`a_x${i}`, 'f32'), width), variable(`a_y${v}`, 'f32', width), sum(i, v));
      step.push({ kind: 'assign', name: `a_s${i}_${v}`, value });
    }
  }
  return [
    ...each((i, v) => [{ kind: 'mut', name: `a_s${i}_${v}`, value: t.initial(i, v) }]),
    ...t.steps(step),
    ...each((i, v) => t.done(i, v, sum(i, v))),
  ];
}

// ---- a block of queries

/** The block's place: its batch, key head, first head and first query, and how many of its queries are another block's. */
export interface BlockPlace {
  readonly batch: Expr;
  readonly group: Expr;
  readonly head: Expr;
  readonly query: Expr;
  readonly skip: Expr;
}

/** Where block number `query` of the queries and number `head` of the heads begins: the last one moves back into bounds. */
export function placeBlock(
  s: AttentionShape,
  b: QueryBlock,
  at: { readonly batch: Expr; readonly group: Expr; readonly head: Expr; readonly query: Expr },
  out: Stmt[],
): BlockPlace {
  const head = named('a_h', iadd(imul(at.group, s.heads / s.groups), imul(at.head, b.heads)), out);
  const nominal = named('a_t0', imul(at.query, b.queries), out);
  if (s.queries % b.queries === 0) return { ...at, head, query: nominal, skip: index(0) };
  const query = named('a_t', op('min', 'index', nominal, index(s.queries - b.queries)), out);
  return { ...at, head, query, skip: named('a_skip', op('sub', 'index', nominal, query), out) };
}

/** Where row 0 of a block lies in `rows`; the next head is strides[2] on, the next query strides[1]. */
export const rowBase = (rows: Rows, p: BlockPlace): Expr =>
  iadd(iadd(iadd(rows.offset, imul(p.batch, rows.strides[0])), imul(p.query, rows.strides[1])), imul(p.head, rows.strides[2]));
/** Where key 0 of the block's group lies in `rows`. */
export const keyBase = (rows: Rows, p: BlockPlace): Expr =>
  iadd(iadd(rows.offset, imul(p.batch, rows.strides[0])), imul(p.group, rows.strides[2]));

/** `of` for each head of the block, row by row of it. */
export const eachHead = (b: QueryBlock, of: (head: Expr) => Stmt[]): Stmt[] =>
  b.heads === 1 ? [{ kind: 'if', cond: constant('bool', 1), then: of(index(0)) }] : [loop('a_hh', 0, b.heads, of(variable('a_hh')))];

/** Fills what the vectors have beyond the block's rows, so that nothing uninitialised is computed with. */
export function clearSurplus(b: QueryBlock, buffer: string, lines: number, value: Expr = f32(0)): Stmt[] {
  if (b.rows === b.stride) return [];
  const at = iadd(imul(variable('a_i'), b.stride), variable('a_j'));
  return [loop('a_i', 0, lines, [loop('a_j', b.rows, b.stride, [{ kind: 'store', buffer, index: at, value }])])];
}

/**
 * Reads the block's intervals: a_from and a_to hold each row's keys (none for rows of another block), a_lo ≤ key < a_hi are all that some
 * row sees, a_some ≤ key < a_all those that every row sees.
 */
export function readIntervals(s: AttentionShape, b: QueryBlock, p: BlockPlace, first: string, end: string): Stmt[] {
  const i = variable('a_i');
  const at = variable('a_at');
  const given = (buffer: string): Expr => cast('index', load(buffer, 'i32', at));
  const store = (buffer: string, value: Expr): Stmt => ({
    kind: 'store',
    buffer,
    index: iadd(imul(variable('a_hh'), b.queries), i),
    value: cast('i32', value),
  });
  const sees = variable('a_sees', 'bool');
  const keep = (name: string, by: 'min' | 'max', e: Expr): Stmt => ({
    kind: 'assign',
    name,
    value: op(by, 'index', variable(name), e),
  });
  const isOwn = p.skip.kind === 'const' ? [] : [op('le', 'bool', p.skip, i)];
  return [
    { kind: 'mut', name: 'a_lo', value: index(s.keys) },
    { kind: 'mut', name: 'a_hi', value: index(0) },
    { kind: 'mut', name: 'a_some', value: index(0) },
    { kind: 'mut', name: 'a_all', value: index(s.keys) },
    ...clearSurplus(b, 'a_from', 1, constant('i32', 0)),
    ...clearSurplus(b, 'a_to', 1, constant('i32', 0)),
    loop('a_i', 0, b.queries, [
      { kind: 'let', name: 'a_at', value: iadd(iadd(imul(p.batch, s.queries), p.query), i) },
      { kind: 'let', name: 'a_f', value: op('max', 'index', given(first), index(0)) },
      { kind: 'let', name: 'a_e', value: op('min', 'index', given(end), index(s.keys)) },
      {
        kind: 'let',
        name: 'a_sees',
        value: isOwn.reduce((a, c) => op('and', 'bool', a, c), op('lt', 'bool', variable('a_f'), variable('a_e'))),
      },
      { kind: 'let', name: 'a_f0', value: op('select', 'index', sees, variable('a_f'), index(0)) },
      { kind: 'let', name: 'a_e0', value: op('select', 'index', sees, variable('a_e'), index(0)) },
      keep('a_lo', 'min', op('select', 'index', sees, variable('a_f'), index(s.keys))),
      keep('a_hi', 'max', variable('a_e0')),
      keep('a_some', 'max', variable('a_f0')),
      keep('a_all', 'min', variable('a_e0')),
      loop('a_hh', 0, b.heads, [store('a_from', variable('a_f0')), store('a_to', variable('a_e0'))]),
    ]),
  ];
}

export const local = (name: string, size: number, type: DType = 'f32'): Stmt => ({ kind: 'local', name, type, size: Math.max(1, size) });

/** Rows of a block, as f32 with their elements side by side: where they lie, or in a copy of those of 16 bits. */
export interface BlockRows {
  readonly buffer: string;
  readonly base: Expr;
  readonly head: number;
  readonly query: number;
}

/** Declares (outside of loops) and makes (for a block) the rows of `rows` as f32. */
export function widenedRows(
  rows: Rows,
  b: QueryBlock,
  dim: number,
  name: string,
): { locals: Stmt[]; make(p: BlockPlace): { body: Stmt[]; rows: BlockRows } } {
  if (rows.dtype === 'f32')
    return {
      locals: [],
      make(p) {
        const body: Stmt[] = [];
        const base = named(`${name}0`, rowBase(rows, p), body);
        return { body, rows: { buffer: rows.buffer, base, head: rows.strides[2], query: rows.strides[1] } };
      },
    };
  const to: BlockRows = { buffer: name, base: index(0), head: b.queries * dim, query: dim };
  return {
    locals: [local(name, b.rows * dim)],
    make(p) {
      const base = variable(`${name}0`);
      const [hh, i, d] = [variable('a_hh'), variable('a_i'), variable('a_d')];
      const from = iadd(iadd(iadd(base, imul(hh, rows.strides[2])), imul(i, rows.strides[1])), d);
      const at = iadd(imul(iadd(imul(hh, b.queries), i), dim), d);
      const one: Stmt = { kind: 'store', buffer: name, index: at, value: load(rows.buffer, rows.dtype, from) };
      const lines = loop('a_hh', 0, b.heads, [loop('a_i', 0, b.queries, [loop('a_d', 0, dim, [one], { mode: 'simd' })])]);
      return { body: [{ kind: 'let', name: `${name}0`, value: rowBase(rows, p) }, lines], rows: to };
    },
  };
}

/** Copies a block's rows into columns: buffer[d · stride + row]. */
export const turnRows = (rows: BlockRows, b: QueryBlock, dim: number, buffer: string, lanes: number): Stmt[] =>
  eachHead(b, (head) =>
    turnedBuffer(
      { buffer: rows.buffer, dtype: 'f32', base: iadd(rows.base, imul(head, rows.head)), stride: rows.query },
      { buffer, type: 'f32', base: imul(head, b.queries), stride: b.stride },
      b.queries,
      index(dim),
      lanes,
    ),
  );

/** Stores columns as the block's own rows, through a local of f32 (`staged`, queries × dim) where they are of 16 bits. */
export function storeColumns(buffer: string, to: Rows, b: QueryBlock, p: BlockPlace, dim: number, lanes: number, staged: string): Stmt[] {
  const isDirect = to.dtype === 'f32';
  const count = p.skip.kind === 'const' ? index(b.queries) : op('sub', 'index', index(b.queries), p.skip);
  return eachHead(b, (head) => {
    const base = iadd(rowBase(to, p), iadd(imul(head, to.strides[2]), imul(p.skip, to.strides[1])));
    const out: Stmt[] = [
      { kind: 'let', name: 'a_to0', value: base },
      { kind: 'let', name: 'a_n', value: count },
    ];
    const place = isDirect
      ? { buffer: to.buffer, type: 'f32' as const, base: variable('a_to0'), stride: to.strides[1] }
      : { buffer: staged, type: 'f32' as const, base: index(0), stride: dim };
    const from = { buffer, dtype: 'f32' as const, base: iadd(imul(head, b.queries), p.skip), stride: b.stride };
    out.push(...turnedBuffer(from, place, dim, count.kind === 'const' ? count : variable('a_n'), lanes));
    if (isDirect) return out;
    const [i, d] = [variable('a_i'), variable('a_d')];
    const value = load(staged, 'f32', iadd(imul(i, dim), d));
    const one: Stmt = {
      kind: 'store',
      buffer: to.buffer,
      index: iadd(iadd(variable('a_to0'), imul(i, to.strides[1])), d),
      value: cast(to.dtype, value),
    };
    return [...out, loop('a_i', 0, variable('a_n'), [loop('a_d', 0, dim, [one], { mode: 'simd' })])];
  });
}

// ---- keys and values

/** Rows of a block of keys as f32: row j at base + j · stride. */
export interface Lines {
  readonly buffer: string;
  readonly base: Expr;
  readonly stride: number;
}

/** The cache lines of `count` elements of the next block's row, whose place in this block is `at`: the memory isn't seen ahead through a block's work. */
export const nextBlock = (rows: Rows, at: Expr, count: number): Stmt[] => {
  const perLine = 64 / dtypes[rows.dtype].bytes;
  return Array.from({ length: Math.ceil(count / perLine) }, (_, i) => ({
    kind: 'prefetch',
    buffer: rows.buffer,
    index: iadd(at, keyBlock * rows.strides[1] + i * perLine),
  }));
};

/** As `widenedRows`, for a_n keys from a_key on. */
export function widenedKeys(rows: Rows, dim: number, name: string): { locals: Stmt[]; make(base: Expr): { body: Stmt[]; lines: Lines } } {
  const at = (base: Expr): Expr => iadd(base, imul(variable('a_key'), rows.strides[1]));
  if (rows.dtype === 'f32')
    return {
      locals: [],
      make(base) {
        const body: Stmt[] = [];
        const first = named(`${name}0`, at(base), body);
        return { body, lines: { buffer: rows.buffer, base: first, stride: rows.strides[1] } };
      },
    };
  return {
    locals: [local(name, keyBlock * dim)],
    make(base) {
      const [j, d] = [variable('a_j'), variable('a_d')];
      const from = iadd(iadd(variable(`${name}0`), imul(j, rows.strides[1])), d);
      const one: Stmt = { kind: 'store', buffer: name, index: iadd(imul(j, dim), d), value: load(rows.buffer, rows.dtype, from) };
      return {
        body: [
          { kind: 'let', name: `${name}0`, value: at(base) },
          loop('a_j', 0, variable('a_n'), [
            ...nextBlock(rows, iadd(variable(`${name}0`), imul(j, rows.strides[1])), dim),
            loop('a_d', 0, dim, [one], { mode: 'simd' }),
          ]),
        ],
        lines: { buffer: name, base: index(0), stride: dim },
      };
    },
  };
}

/** Tiles of `size` keys from 0 to a_n, and single ones for what is left; `of` gets the size and the first key, variable a_t1. */
export function keyTiles(size: number, of: (size: number) => Stmt[]): Stmt[] {
  const n = variable('a_n');
  if (size === 1) return [loop('a_t1', 0, n, of(1))];
  const whole = imul(idiv(n, size), size);
  return [loop('a_t1', 0, whole, of(size), { step: size }), loop('a_t1', whole, n, of(1))];
}

/** out[key][row] = Σ over d of line[key][d] · columns[d][row], for a_n keys: scores of a block. */
export function productOfKeys(lines: Lines, b: QueryBlock, dim: number, columns: string, out: string, lanes: number): Stmt[] {
  const [t, d] = [variable('a_t1'), variable('a_d')];
  const at = (v: number): Expr => iadd(imul(d, b.stride), v * lanes);
  return keyTiles(b.keys, (size) => [
    { kind: 'let', name: 'a_line', value: iadd(lines.base, imul(t, lines.stride)) },
    ...registerTile({
      rows: size,
      widths: Array.from({ length: b.vectors }, () => lanes),
      initial: () => zeros(lanes),
      steps: (body) => [loop('a_d', 0, dim, body)],
      vector: (v) => load(columns, 'f32', at(v), lanes),
      element: (i) => load(lines.buffer, 'f32', iadd(variable('a_line'), iadd(d, i * lines.stride))),
      done: (i, v, sum) => [{ kind: 'store', buffer: out, index: iadd(imul(t, b.stride), i * b.stride + v * lanes), value: sum }],
    }),
  ]);
}

/** sums[d][row] = sums · (factor of the row's vector) + Σ over keys of line[key][d] · weights[key][row]. */
export function sumOverKeys(
  lines: Lines,
  b: QueryBlock,
  dim: number,
  weights: string,
  sums: string,
  target: TargetInfo,
  factor?: (vector: number) => Expr,
): Stmt[] {
  const { lanes } = target;
  const [d, j] = [variable('a_d'), variable('a_j')];
  let done = 0;
  return evenPieces(dim, tallestTile(b.vectors, target, 9)).map(({ size, count }) => {
    const from = done;
    done += size * count;
    const place = (i: number, v: number): Expr => iadd(imul(d, b.stride), i * b.stride + v * lanes);
    const tile = registerTile({
      rows: size,
      widths: Array.from({ length: b.vectors }, () => lanes),
      initial(i, v) {
        const old = load(sums, 'f32', place(i, v), lanes);
        return factor ? op('mul', 'f32', old, factor(v)) : old;
      },
      steps: (body) => [loop('a_j', 0, variable('a_n'), body)],
      vector: (v) => load(weights, 'f32', iadd(imul(j, b.stride), v * lanes), lanes),
      element: (i) => load(lines.buffer, 'f32', iadd(iadd(iadd(lines.base, d), imul(j, lines.stride)), i)),
      done: (i, v, sum) => [{ kind: 'store', buffer: sums, index: place(i, v), value: sum }],
    });
    return loop('a_d', from, done, tile, { step: size });
  });
}

/** Vectors that cover `dim` elements, the widest first. */
function vectorsOf(dim: number, lanes: number): { readonly offset: number; readonly width: number }[] {
  const out: { offset: number; width: number }[] = [];
  let width = lanes;
  for (let offset = 0; offset < dim; offset += width) {
    while (width > dim - offset) width /= 2;
    out.push({ offset, width });
  }
  return out;
}

/** to[key][d] += Σ over rows of weights[key][row] · rows[row][d], for a_n keys. */
export function sumOverRows(rows: BlockRows, b: QueryBlock, dim: number, weights: string, to: Lines, target: TargetInfo): Stmt[] {
  const { lanes } = target;
  const [t, hh, i, c] = [variable('a_t1'), variable('a_hh'), variable('a_i'), variable('a_c')];
  const whole = Math.floor(dim / lanes);
  let most = 1;
  while (tileFits(b.keys, most + 1, target)) most++;
  const tile = (size: number, parts: { readonly offset: number; readonly width: number }[]): Stmt[] =>
    registerTile({
      rows: size,
      widths: parts.map((p) => p.width),
      initial: (k, v) => load(to.buffer, 'f32', iadd(iadd(variable('a_line'), c), k * to.stride + parts[v].offset), parts[v].width),
      steps: (body) => [
        loop('a_hh', 0, b.heads, [
          { kind: 'let', name: 'a_r', value: iadd(iadd(rows.base, imul(hh, rows.head)), c) },
          { kind: 'let', name: 'a_w', value: iadd(imul(t, b.stride), imul(hh, b.queries)) },
          loop('a_i', 0, b.queries, body),
        ]),
      ],
      vector: (v) => load(rows.buffer, 'f32', iadd(iadd(variable('a_r'), imul(i, rows.query)), parts[v].offset), parts[v].width),
      element: (k) => load(weights, 'f32', iadd(iadd(variable('a_w'), i), k * b.stride)),
      done: (k, v, sum) => [
        { kind: 'store', buffer: to.buffer, index: iadd(iadd(variable('a_line'), c), k * to.stride + parts[v].offset), value: sum },
      ],
    });
  return keyTiles(b.keys, (size) => {
    const out: Stmt[] = [{ kind: 'let', name: 'a_line', value: iadd(to.base, imul(t, to.stride)) }];
    let done = 0;
    for (const piece of whole > 0 ? evenPieces(whole, most) : []) {
      const from = done;
      done += piece.size * piece.count * lanes;
      const parts = Array.from({ length: piece.size }, (_, v) => ({ offset: v * lanes, width: lanes }));
      out.push(loop('a_c', from, done, tile(size, parts), { step: piece.size * lanes }));
    }
    const rest = vectorsOf(dim, lanes).slice(whole);
    if (rest.length > 0) out.push(loop('a_c', 0, 1, tile(size, rest)));
    return out;
  });
}

/** Whether key a_key + a_j is visible to the rows of vector `v`. */
export function isVisible(v: number, lanes: number): Expr {
  const key = splat(cast('i32', iadd(variable('a_key'), variable('a_j'))), lanes);
  const bound = (name: string): Expr => load(name, 'i32', index(v * lanes), lanes);
  return op('and', 'bool', op('le', 'bool', bound('a_from'), key), op('lt', 'bool', key, bound('a_to')));
}
/** Whether every row sees every key of the block. */
export const allVisible = (): Expr =>
  op(
    'and',
    'bool',
    op('le', 'bool', variable('a_some'), variable('a_key')),
    op('le', 'bool', iadd(variable('a_key'), variable('a_n')), variable('a_all')),
  );

/** The blocks of keys that some row sees: a_n keys from a_key on. */
export const keyBlocks = (body: readonly Stmt[]): Stmt =>
  loop(
    'a_key',
    variable('a_lo'),
    variable('a_hi'),
    [
      { kind: 'let', name: 'a_n', value: op('min', 'index', index(keyBlock), op('sub', 'index', variable('a_hi'), variable('a_key'))) },
      ...body,
    ],
    { step: keyBlock },
  );
