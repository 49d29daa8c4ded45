/** @file The cases of conformance: every primitive, on odd and ordinary shapes, and fusions that once went wrong. */
import { gradients } from '../../src/autodiff/vjp.js';
import type { DType } from '../../src/base/dtype.js';
import { ops as o } from '../../src/graph/builder.js';
import type { Node } from '../../src/graph/node.js';
import { isScalarOp, scalarOps, scalarRow } from '../../src/kernel/scalar-ops.js';
import { type Feed, feed, numbers } from './harness.js';

export interface Case {
  readonly name: string;
  /** Primitives that the case stands for. */
  readonly covers: readonly string[];
  build(): { outputs: Node[]; feeds: Feed[] };
  readonly tolerance?: number;
}

type Pair = [number, number];
const pairs = (a: Pair, b: Pair): [Pair, Pair] => [a, b];
const one = (
  name: string,
  covers: string | string[],
  build: (f: (dtype: DType, shape: number[], data?: number[]) => Node) => Node | Node[],
  tolerance?: number,
): Case => ({
  name,
  covers: typeof covers === 'string' ? [covers] : covers,
  ...(tolerance ? { tolerance } : {}),
  build: () => {
    const feeds: Feed[] = [];
    const out = build((dtype, shape, data) => {
      const f = feed(dtype, shape, data);
      feeds.push(f);
      return f.node;
    });
    return { outputs: Array.isArray(out) ? out : [out], feeds };
  },
});

const integers = (count: number, extent: number, seed: number) => numbers(count, seed).map((x) => Math.floor(((x + 1) / 2) * extent));

export const cases: Case[] = [];
for (const name of Object.keys(scalarOps)) {
  if (!isScalarOp(name)) continue;
  const row = scalarRow(name);
  const dtypes: DType[] = row.domain === 'float' ? ['f32'] : row.domain === 'int' ? ['i32', 'u32'] : ['f32', 'i32', 'u8'];
  for (const dtype of dtypes) {
    // Positive where the function wants it.
    const positive = ['log', 'sqrt', 'rsqrt', 'pow', 'log1p'].includes(name);
    const arg = (f: (d: DType, s: number[], data?: number[]) => Node, shape: number[]) => {
      const n = shape.reduce((a, b) => a * b, 1);
      if (name === 'shl' || name === 'shr' || (name === 'pow' && dtype !== 'f32')) return f(dtype, shape, integers(n, 5, n));
      return positive && dtype === 'f32'
        ? f(
            dtype,
            shape,
            numbers(n, n + 3).map((x) => Math.abs(x) * 3 + 0.01),
          )
        : f(dtype, shape);
    };
    cases.push(
      one(
        `${name} ${dtype}`,
        name,
        (f) => {
          if (row.arity === 1) return o[name as 'neg'](arg(f, [3, 37]));
          if (row.arity === 2) return o[name as 'add'](arg(f, [3, 37]), arg(f, [37]));
          return o.select(f('bool', [3, 37]), arg(f, [3, 37]), arg(f, [3, 1]));
        },
        3e-5,
      ),
    );
  }
}
for (const from of ['f32', 'i32', 'u32', 'i8', 'u8', 'bool', 'f16', 'bf16'] as const)
  for (const to of ['f32', 'i32', 'u32', 'i8', 'u8', 'bool', 'f16', 'bf16'] as const)
    if (from !== to && !(from === 'f32' && to === 'u32'))
      cases.push(one(`cast ${from} → ${to}`, 'cast', (f) => o.cast(f(from, [5, 13]), to)));

const conv = (stride: number[], padding: [number, number][], inputDilation: number[], kernelDilation: number[]) => ({
  stride,
  padding,
  inputDilation,
  kernelDilation,
});
const pool = (size: number[], stride: number[], padding: [number, number][]) => ({ axes: [1, 2], size, stride, padding });
cases.push(
  one('input, constant, add', ['input', 'constant'], (f) => o.add(f('f32', [4]), o.full([4], 2.5, 'f32'))),
  one('iota', 'iota', () => [o.iota([3, 5], 1, 'i32'), o.iota([3, 5], 0, 'f32')]),
  one('reshape', 'reshape', (f) => o.reshape(f('f32', [4, 6, 5]), [8, 15])),
  one('reshape of a transpose', 'reshape', (f) => o.reshape(o.transpose(f('f32', [4, 6, 5]), [2, 0, 1]), [10, 12])),
  one('transpose', 'transpose', (f) => o.transpose(f('f32', [4, 6, 5]), [2, 0, 1])),
  one('broadcast', 'broadcast', (f) => o.broadcast(f('f32', [6, 1]), [4, 6, 5])),
  one('slice with strides', 'slice', (f) => o.slice(f('f32', [9, 11]), [1, 2], [8, 11], [2, 3])),
  one('pad', 'pad', (f) =>
    o.pad(
      f('f32', [3, 4]),
      [
        [1, 2, 0],
        [0, 3, 0],
      ],
      7,
    ),
  ),
  one('pad interior and negative', 'pad', (f) =>
    o.pad(
      f('f32', [5, 4]),
      [
        [-1, 2, 1],
        [2, -1, 2],
      ],
      -1,
    ),
  ),
  one('concat', 'concat', (f) => o.concat([f('f32', [3, 2]), f('f32', [3, 5]), f('f32', [3, 1])], 1)),
  one('flip', 'flip', (f) => o.flip(f('f32', [3, 5, 2]), [0, 1])),
  one('sum of everything', 'sum', (f) => o.sum(f('f32', [300, 400]), [0, 1]), 2e-4),
  one('sum over rows', 'sum', (f) => o.sum(f('f32', [70, 130]), [0]), 1e-4),
  one('sum over columns', 'sum', (f) => o.sum(f('f32', [70, 130]), [1]), 1e-4),
  one('sum over the middle', 'sum', (f) => o.sum(f('f32', [7, 9, 10]), [1])),
  one('sum over outer axes of a large tensor', 'sum', (f) => o.sum(f('f32', [40, 30, 30, 10]), [0, 1, 2]), 1e-3),
  one('sum of bool and u8', 'sum', (f) => [o.sum(f('bool', [50, 3]), [0]), o.sum(f('u8', [50, 3]), [0, 1])]),
  one('sum with epilogue', 'sum', (f) =>
    o.exp(o.neg(o.mul(o.sum(o.mul(f('f32', [20, 30]), f('f32', [20, 30])), [1]), o.full([20], 1 / 30, 'f32')))),
  ),
  one('reduceMax', 'reduceMax', (f) => [o.reduceMax(f('f32', [6, 50]), [1]), o.reduceMax(f('i32', [6, 50]), [0])]),
  one('reduceMin', 'reduceMin', (f) => [o.reduceMin(f('f32', [6, 50]), [1]), o.reduceMin(f('u8', [6, 50]), [0, 1])]),
  one('prod', 'prod', (f) => o.prod(f('f32', [5, 9]), [1])),
  one('argmax and argmin', ['argmax', 'argmin'], (f) => [o.argmax(f('f32', [6, 50]), 1), o.argmin(f('f32', [6, 50]), 0)]),
  one('argmax with NaN and ties', 'argmax', (f) => [
    o.argmax(f('f32', [2, 4], [1, 3, 3, 2, 5, Number.NaN, 9, Number.NaN]), 1),
    o.argmin(f('f32', [2, 4], [1, 0, 0, 2, 5, Number.NaN, 9, Number.NaN]), 1),
  ]),
  one('dot', 'dot', (f) => o.dot(f('f32', [33, 40]), f('f32', [40, 50]), { batch: [[], []], contract: [[1], [0]] })),
  one('dot transposed', 'dot', (f) => o.dot(f('f32', [40, 33]), f('f32', [50, 40]), { batch: [[], []], contract: [[0], [1]] })),
  one('dot with batches', 'dot', (f) =>
    o.dot(f('f32', [3, 4, 17, 20]), f('f32', [3, 4, 21, 20]), {
      batch: pairs([0, 1], [0, 1]),
      contract: [[3], [3]],
    }),
  ),
  one('dot of heads through a view', 'dot', (f) => {
    const heads = (x: Node) => o.transpose(o.reshape(x, [2, 9, 4, 8]), [0, 2, 1, 3]);
    const qkv = f('f32', [2, 9, 96]);
    const part = (i: number) => heads(o.slice(qkv, [0, 0, 32 * i], [2, 9, 32 * i + 32]));
    return o.dot(part(0), part(1), {
      batch: pairs([0, 1], [0, 1]),
      contract: [[3], [3]],
    });
  }),
  one('dot matrix × vector', 'dot', (f) => o.dot(f('f32', [33, 40]), f('f32', [40]), { batch: [[], []], contract: [[1], [0]] })),
  one('dot outer', 'dot', (f) => o.dot(f('f32', [33]), f('f32', [40]), { batch: [[], []], contract: [[], []] })),
  one('dot inner', 'dot', (f) => o.dot(f('f32', [333]), f('f32', [333]), { batch: [[], []], contract: [[0], [0]] })),
  one('dot of integers', 'dot', (f) => o.dot(f('i32', [7, 9]), f('i32', [9, 5]), { batch: [[], []], contract: [[1], [0]] })),
  one('dot, bias, relu', 'dot', (f) =>
    o.max(
      o.add(o.dot(f('f32', [33, 40]), f('f32', [40, 50]), { batch: [[], []], contract: [[1], [0]] }), f('f32', [50])),
      o.full([], 0, 'f32'),
    ),
  ),
  one('conv', 'conv', (f) =>
    o.conv(f('f32', [2, 10, 9, 1, 3]), f('f32', [3, 3, 1, 3, 8]), conv([1, 1], pairs([0, 0], [0, 0]), [1, 1], [1, 1])),
  ),
  one('conv stride, padding, dilation', 'conv', (f) =>
    o.conv(f('f32', [2, 13, 12, 1, 5]), f('f32', [3, 2, 1, 5, 17]), conv([2, 3], pairs([1, 2], [0, 1]), [1, 1], [2, 1])),
  ),
  one('conv groups', 'conv', (f) =>
    o.conv(f('f32', [2, 8, 8, 3, 4]), f('f32', [3, 3, 3, 4, 6]), conv([1, 1], pairs([1, 1], [1, 1]), [1, 1], [1, 1])),
  ),
  one('conv depthwise', 'conv', (f) =>
    o.conv(f('f32', [2, 8, 8, 20, 1]), f('f32', [3, 3, 20, 1, 1]), conv([1, 1], pairs([1, 1], [1, 1]), [1, 1], [1, 1])),
  ),
  one('conv transposed', 'conv', (f) =>
    o.conv(f('f32', [2, 5, 5, 1, 4]), f('f32', [3, 3, 1, 4, 6]), conv([1, 1], pairs([2, 1], [2, 1]), [2, 2], [1, 1])),
  ),
  one('conv transposed by 2 and 3, taps that meet nothing', 'conv', (f) => {
    const by = (dilation: number[], kernel: number[], padding: [number, number][]) =>
      o.conv(f('f32', [2, 6, 5, 1, 4]), f('f32', [...kernel, 1, 4, 12]), conv([1, 1], padding, dilation, [1, 1]));
    return [
      by([2, 3], [5, 4], pairs([4, 3], [2, 5])),
      by([2, 2], [1, 1], pairs([0, 1], [0, 0])),
      by([3, 1], [2, 3], pairs([1, -1], [1, 1])),
      by([2, 2], [3, 3], pairs([-1, 2], [2, -2])),
    ];
  }),
  one('conv depthwise, stride and dilation, and its filter gradient as one', 'conv', (f) => [
    o.conv(f('f32', [2, 13, 12, 24, 1]), f('f32', [3, 3, 24, 1, 1]), conv([2, 1], pairs([1, 1], [2, 2]), [1, 1], [1, 2])),
    o.conv(
      o.transpose(f('f32', [2, 10, 11, 19, 1]), [4, 1, 2, 3, 0]),
      o.transpose(f('f32', [2, 4, 9, 19, 1]), [1, 2, 3, 0, 4]),
      conv([1, 1], pairs([0, 0], [0, 0]), [1, 1], [2, 1]),
    ),
  ]),
  one('conv 1d', 'conv', (f) => o.conv(f('f32', [2, 30, 1, 4]), f('f32', [5, 1, 4, 6]), conv([2], [[2, 2]], [1], [1]))),
  one('conv 3d', 'conv', (f) =>
    o.conv(
      f('f32', [2, 4, 5, 6, 1, 2]),
      f('f32', [2, 2, 2, 1, 2, 3]),
      conv(
        [1, 1, 1],
        [
          [0, 0],
          [0, 0],
          [0, 0],
        ],
        [1, 1, 1],
        [1, 1, 1],
      ),
    ),
  ),
  one('conv negative padding', 'conv', (f) =>
    o.conv(f('f32', [2, 8, 8, 1, 4]), f('f32', [3, 3, 1, 4, 6]), conv([1, 1], pairs([-1, 0], [0, -2]), [1, 1], [1, 1])),
  ),
  one('windowMax and its position', ['windowMax', 'windowArgmax'], (f) => {
    const x = f('f32', [2, 9, 8, 5]);
    return [o.windowMax(x, pool([2, 2], [2, 2], pairs([0, 0], [0, 0]))), o.windowArgmax(x, pool([2, 2], [2, 2], pairs([0, 0], [0, 0])))];
  }),
  one('windowMax overlapping, padded', ['windowMax', 'windowArgmax'], (f) => {
    const x = f('f32', [2, 9, 8, 5]);
    return [o.windowMax(x, pool([3, 3], [2, 1], pairs([1, 1], [1, 1]))), o.windowArgmax(x, pool([3, 3], [2, 1], pairs([1, 1], [1, 1])))];
  }),
  one('windowMax large', ['windowMax', 'windowArgmax'], (f) => {
    const x = f('f32', [2, 14, 13, 3]);
    return [o.windowMax(x, pool([5, 5], [3, 2], pairs([2, 2], [1, 2]))), o.windowArgmax(x, pool([5, 5], [3, 2], pairs([2, 2], [1, 2])))];
  }),
  one('windowSum', 'windowSum', (f) => [
    o.windowSum(f('f32', [2, 9, 8, 5]), pool([3, 2], [2, 2], pairs([1, 1], [0, 0]))),
    o.windowSum(f('f32', [2, 9, 8, 5]), pool([5, 5], [1, 1], pairs([2, 2], [2, 2]))),
  ]),
  one('windowGather, windowScatter', ['windowGather', 'windowScatter'], (f) => {
    const arg = pool([3, 3], [2, 2], pairs([1, 1], [1, 1]));
    const x = f('f32', [2, 9, 8, 5]);
    const at = o.windowArgmax(x, arg);
    return [o.windowGather(f('f32', [2, 9, 8, 5]), at, arg), o.windowScatter(f('f32', [2, 5, 4, 5]), at, arg, [2, 9, 8, 5])];
  }),
  one('windowArgmax of nothing but -infinity, padded', ['windowArgmax', 'windowGather'], (f) =>
    [3, 5].flatMap((extent) => {
      const arg = pool([extent, extent], [2, 1], pairs([2, 1], [1, 2]));
      const x = o.mul(f('f32', [2, 9, 8, 5]), o.full([2, 9, 8, 5], Number.NEGATIVE_INFINITY, 'f32'));
      const low = o.min(x, o.neg(x));
      const at = o.windowArgmax(low, arg);
      return [at, o.windowGather(f('f32', [2, 9, 8, 5]), at, arg)];
    }),
  ),
  one('windowSpread', 'windowSpread', (f) =>
    o.windowSpread(f('f32', [2, 5, 4, 5]), pool([3, 3], [2, 2], pairs([1, 1], [1, 1])), [2, 9, 8, 5]),
  ),
  one('take', 'take', (f) => [
    o.take(f('f32', [11, 6]), f('i32', [3, 4], integers(12, 11, 5)), 0),
    o.take(f('f32', [4, 11, 2]), f('i32', [3], [-5, 4, 99]), 1),
    o.take(f('f32', [4, 3]), f('i32', [], [2]), 0),
  ]),
  one('takeAdd', 'takeAdd', (f) => [
    o.takeAdd(f('f32', [3, 4, 6]), f('i32', [3, 4], integers(12, 5, 5)), 0, 5),
    o.takeAdd(f('f32', [4, 3, 2]), f('i32', [3], [1, 1, 0]), 1, 4),
    o.takeAdd(f('f32', [9]), f('i32', [9], integers(9, 3, 2)), 0, 3),
  ]),
  one('takeAlong and its adjoint', ['takeAlong', 'takeAlongAdd'], (f) => {
    const at = f('i32', [3, 5], integers(15, 7, 9));
    return [o.takeAlong(f('f32', [3, 7]), at, 1), o.takeAlongAdd(f('f32', [3, 5]), at, 1, 7)];
  }),
  one(
    'large values written over what is read for the last time',
    [],
    (f) => {
      const dot = (a: Node, b: Node): Node => o.dot(a, b, { batch: [[], []], contract: [[1], [0]] });
      const x = f('f32', [160, 40]);
      const [w, v] = [f('f32', [40, 128]), f('f32', [40, 128])];
      const [y, z] = [dot(x, w), dot(x, v)];
      // A softmax's passes over a row, two values of one kernel that take each other's operands, a sum of products.
      const rows = (n: Node): Node => o.reshape(n, [160, 1]);
      const e = o.exp(o.sub(y, rows(o.reduceMax(y, [1]))));
      const soft = o.div(e, rows(o.sum(e, [1])));
      const [p, q] = [o.add(dot(soft, f('f32', [128, 128])), z), o.mul(z, o.full([], 0.3, 'f32'))];
      const total = o.add(o.add(o.add(dot(p, f('f32', [128, 40])), dot(q, f('f32', [128, 40]))), x), dot(o.neg(p), f('f32', [128, 40])));
      return [dot(o.tanh(o.mul(total, o.full([], 1 / 40, 'f32'))), f('f32', [40, 3])), o.sum(o.mul(p, q), [0])];
    },
    1e-4,
  ),
  one('barrier', 'barrier', (f) => {
    const x = f('f32', [64, 40]);
    const w = f('f32', [40, 40]);
    const layer = (h: Node, by: Node): Node => o.tanh(o.dot(h, by, { batch: [[], []], contract: [[1], [0]] }));
    const y = layer(o.mul(x, x), w);
    const loss = o.sum(y, [1]);
    // The same again, of values that wait for the loss: of an operand, of what is made of it, of a view, of an input.
    const again = layer(o.barrier(o.mul(x, x), [loss]), o.barrier(w, [loss]));
    const flat = o.barrier(o.reshape(y, [40, 64]), [o.exp(loss)]);
    const soft = o.exp(o.sub(o.barrier(y, [loss]), o.reshape(o.reduceMax(y, [1]), [64, 1])));
    return [
      loss,
      again,
      o.sum(flat, [0]),
      o.dot(flat, o.transpose(flat, [1, 0]), { batch: [[], []], contract: [[1], [0]] }),
      o.div(soft, o.reshape(o.sum(soft, [1]), [64, 1])),
      o.barrier(o.neg(x), [o.barrier(loss, [again])]),
    ];
  }),
  one('putRows', 'putRows', (f) => {
    const x = f('f32', [11, 6]);
    const at = f('i32', [5], [3, -1, 10, 3, 11]);
    const put = o.putRows(x, o.mul(f('f32', [5, 6]), o.full([], 2, 'f32')), at);
    // The old value after it, the new one twice, rows of rows, and a tensor that nobody else wants.
    return [
      put,
      o.sum(x, [0]),
      o.exp(o.neg(put)),
      o.putRows(o.reshape(put, [22, 3]), f('f32', [2, 3]), f('i32', [2], [21, 0])),
      o.putRows(o.full([4, 2, 300], 1, 'f32'), f('f32', [2, 2, 300]), f('i32', [2], [2, 2])),
      o.putRows(f('u8', [9]), f('u8', [3]), f('i32', [3], [8, 8, -9])),
      o.putRows(x, o.take(x, at, 0), f('i32', [5], [0, 1, 2, 3, 4])),
    ];
  }),
  one('dynamicSlice and dynamicUpdateSlice', ['dynamicSlice', 'dynamicUpdateSlice'], (f) => {
    const at = [f('i32', [], [2]), f('i32', [], [9])];
    return [o.dynamicSlice(f('f32', [6, 7]), at, [3, 4]), o.dynamicUpdateSlice(f('f32', [6, 7]), f('f32', [2, 3]), at)];
  }),
  one('cumsum', 'cumsum', (f) => [
    o.cumsum(f('f32', [5, 7, 3]), 1),
    o.cumsum(f('f32', [5, 7]), 1, { reverse: true }),
    o.cumsum(f('i32', [5, 7]), 0, { exclusive: true }),
    o.cumsum(f('f32', [9]), 0, { exclusive: true, reverse: true }),
  ]),
  one('cumprod, cummax', ['cumprod', 'cummax'], (f) => [
    o.cumprod(f('f32', [5, 7]), 1),
    o.cumprod(f('f32', [5, 7]), 0, { exclusive: true }),
    o.cummax(f('f32', [5, 7]), 1),
    o.cummax(f('f32', [5, 7]), 0, { reverse: true }),
  ]),
  one('argsort', 'argsort', (f) => [
    o.argsort(f('f32', [5, 70]), 1),
    o.argsort(f('i32', [40, 3], integers(120, 6, 4)), 0, true),
    o.argsort(f('f32', [6], [3, Number.NaN, 1, Number.NaN, -1, 3]), 0),
    o.argsort(f('f32', [6], [3, Number.NaN, 1, Number.NaN, -1, 3]), 0, true),
  ]),
  one('argsort of a computed key', 'argsort', (f) => o.argsort(o.mul(f('f32', [5, 70]), f('f32', [70])), 1)),
  one('randomBits', 'randomBits', (f) => o.randomBits(f('u32', [2], [123456789, 987654321]), f('u32', [], [7]), [3, 37], 5)),
  one('stopGradient', ['stopGradient', 'customGradient', 'buffer', 'variable'], (f) => o.stopGradient(f('f32', [3]))),
);

// Attention: intervals of keys of every kind, in shapes that fill no vector, some, or several blocks.
type Interval = (t: number, b: number) => readonly [first: number, end: number];
interface Attended {
  readonly batch: number;
  readonly queries: number;
  readonly heads: number;
  readonly keys: number;
  readonly groups: number;
  readonly dim: number;
  readonly valueDim?: number;
  readonly dtype?: DType;
  /** Of keys and values, where they are of another. */
  readonly cache?: DType;
}
const causal: Interval = (t) => [0, t + 1];
/** Documents of 5, 9, 13 … queries in a row; the last ones see nothing. */
const packed: Interval = (t, b) => {
  let [start, length] = [0, 5 + b];
  while (t >= start + length) [start, length] = [start + length, length + 4];
  return t % 11 === 10 ? [t, t] : [start, t + 1];
};
const attended = (name: string, a: Attended, see: Interval): Case => {
  const { batch, queries, heads, keys, groups, dim, valueDim = dim, dtype = 'f32', cache = dtype } = a;
  // The gradient is made of the result as it was rounded.
  const tolerance = dtype === 'f32' ? undefined : 1e-3;
  const build = (f: (dtype: DType, shape: number[], data?: number[]) => Node): Node[] => {
    const all = Array.from({ length: batch * queries }, (_, i) => see(i % queries, Math.floor(i / queries)));
    const [first, end] = [0, 1].map((side) =>
      f(
        'i32',
        [batch, queries],
        all.map((x) => x[side]),
      ),
    );
    const q = f(
      dtype,
      [batch, queries, heads, dim],
      numbers(batch * queries * heads * dim, queries + dim).map((x) => 3 * x),
    );
    const [k, v] = [f(cache, [batch, keys, groups, dim]), f(cache, [batch, keys, groups, valueDim])];
    const scale = 1 / Math.sqrt(dim);
    const out = o.attention(q, k, v, first, end, scale);
    const lse = o.attentionLse(q, k, first, end, scale);
    const grad = o.attentionGrad([q, k, v, first, end], out, lse, f(dtype, [...out.shape]), scale);
    // Without a log-sum-exp, few queries take a form of their own.
    return [out, lse, grad, o.attention(q, k, v, first, end, 2 * scale)];
  };
  return one(`attention, ${name}`, ['attention', 'attentionLse', 'attentionGrad'], build, tolerance);
};
cases.push(
  attended('one query, one key', { batch: 1, queries: 1, heads: 1, keys: 1, groups: 1, dim: 1 }, causal),
  attended('no keys', { batch: 2, queries: 3, heads: 2, keys: 0, groups: 1, dim: 16 }, causal),
  attended('no queries', { batch: 2, queries: 0, heads: 2, keys: 3, groups: 1, dim: 16 }, causal),
  attended('causal, grouped', { batch: 2, queries: 33, heads: 6, keys: 33, groups: 2, dim: 64 }, causal),
  attended('causal, many keys', { batch: 1, queries: 150, heads: 2, keys: 150, groups: 2, dim: 16 }, causal),
  attended('a window', { batch: 2, queries: 65, heads: 2, keys: 65, groups: 1, dim: 20 }, (t) => [t - 6, t + 1]),
  attended('packed, some see nothing', { batch: 2, queries: 65, heads: 3, keys: 65, groups: 1, dim: 8, valueDim: 24 }, packed),
  attended('across, bounds beyond the keys', { batch: 2, queries: 7, heads: 4, keys: 90, groups: 2, dim: 32 }, (t, b) => [-3 * b, 20 * t]),
  attended('decoding', { batch: 5, queries: 1, heads: 6, keys: 200, groups: 2, dim: 32 }, (_, b) => [b, 1 + 49 * b]),
  attended('decoding, odd sizes', { batch: 3, queries: 2, heads: 5, keys: 70, groups: 5, dim: 7, valueDim: 9 }, (t, b) => [0, 30 * b + t]),
  attended('few queries of many heads', { batch: 2, queries: 3, heads: 8, keys: 150, groups: 2, dim: 64, valueDim: 16 }, (t, b) => [
    60 * b + t,
    147 + t,
  ]),
  attended('bf16, decoding', { batch: 3, queries: 1, heads: 3, keys: 100, groups: 1, dim: 32, dtype: 'bf16' }, (_, b) => [
    7 * b,
    40 + 30 * b,
  ]),
  attended('f32 and a cache of bf16', { batch: 2, queries: 1, heads: 3, keys: 90, groups: 1, dim: 32, cache: 'bf16' }, (_, b) => [
    b,
    50 + 40 * b,
  ]),
  attended('bf16', { batch: 2, queries: 40, heads: 3, keys: 40, groups: 1, dim: 32, dtype: 'bf16' }, packed),
  attended('f16, decoding', { batch: 2, queries: 1, heads: 4, keys: 130, groups: 1, dim: 64, dtype: 'f16' }, (_, b) => [0, 60 + 70 * b]),
  one('attention of views: parts of one projection, keys out of order, computed intervals', [], (f) => {
    const qkv = f('f32', [2, 19, 5 * 8]);
    const part = (from: number, heads: number) => o.reshape(o.slice(qkv, [0, 0, 8 * from], [2, 19, 8 * (from + heads)]), [2, 19, heads, 8]);
    const turned = o.transpose(f('f32', [2, 1, 8, 19]), [0, 3, 1, 2]);
    const end = o.add(o.iota([2, 19], 1, 'i32'), o.full([2, 19], 1, 'i32'));
    const out = o.attention(part(0, 3), turned, part(4, 1), o.full([2, 19], 0, 'i32'), end, 0.4);
    return withGradients(out, f('f32', [2, 19, 3, 8]), [qkv]);
  }),
);

// Fusion: graphs in which values meet, split and come back.
cases.push(
  one('softmax', [], (f) => {
    const x = f('f32', [7, 33]);
    const shifted = o.sub(x, o.reshape(o.reduceMax(x, [1]), [7, 1]));
    const e = o.exp(shifted);
    return o.div(e, o.reshape(o.sum(e, [1]), [7, 1]));
  }),
  one('a value used in two shapes', [], (f) => {
    const y = o.tanh(f('f32', [6, 8]));
    return [o.sum(y, [0]), o.mul(y, y), o.transpose(y, [1, 0])];
  }),
  one('two outputs of one loop', [], (f) => {
    const [g, m, w] = [f('f32', [5, 9]), f('f32', [5, 9]), f('f32', [5, 9])];
    const m2 = o.add(o.mul(m, o.full([], 0.9, 'f32')), o.mul(g, o.full([], 0.1, 'f32')));
    return [m2, o.sub(w, o.div(m2, o.add(o.sqrt(o.mul(g, g)), o.full([], 1e-3, 'f32'))))];
  }),
  one('an output that is an input, twice', [], (f) => {
    const x = f('f32', [4]);
    return [x, x, o.neg(x)];
  }),
  one('an empty output that is an input, twice', [], (f) => {
    const x = f('f32', [3, 0]);
    return [x, x, o.neg(x)];
  }),
  one('constants only', [], () => o.add(o.full([3], 2, 'f32'), o.iota([3], 0, 'f32'))),
  one('empty tensors', [], (f) => [
    o.sum(f('f32', [0, 3]), [0]),
    o.mul(f('f32', [0, 3]), f('f32', [3])),
    o.concat([f('f32', [0, 3]), f('f32', [2, 3])], 0),
  ]),
  one('layer norm', [], (f) => {
    const x = f('f32', [6, 40]);
    const keep = (y: Node) => o.reshape(y, [6, 1]);
    const mean = keep(o.mul(o.sum(x, [1]), o.full([6], 1 / 40, 'f32')));
    const centred = o.sub(x, mean);
    const variance = keep(o.mul(o.sum(o.mul(centred, centred), [1]), o.full([6], 1 / 40, 'f32')));
    return o.add(o.mul(o.mul(centred, o.rsqrt(o.add(variance, o.full([], 1e-5, 'f32')))), f('f32', [40])), f('f32', [40]));
  }),
);

// Rows and boxes: what one kernel does for many rows one after another, and kernels cut where an index passes a border.
const keepLast = (y: Node, x: Node): Node => o.reshape(y, [...x.shape.slice(0, -1), 1]);
const lastAxis = (x: Node): number[] => [x.shape.length - 1];
const rowSoftmax = (x: Node): Node => {
  const e = o.exp(o.sub(x, keepLast(o.reduceMax(x, lastAxis(x)), x)));
  return o.div(e, keepLast(o.sum(e, lastAxis(x)), x));
};
const rowNorm = (x: Node, scale: Node): Node => {
  const share = o.full([], 1 / (x.shape.at(-1) ?? 1), 'f32');
  const centred = o.sub(x, keepLast(o.mul(o.sum(x, lastAxis(x)), share), x));
  const variance = keepLast(o.mul(o.sum(o.mul(centred, centred), lastAxis(x)), share), x);
  return o.mul(o.mul(centred, o.rsqrt(o.add(variance, o.full([], 1e-5, 'f32')))), scale);
};
const withGradients = (y: Node, seed: Node, to: Node[]): Node[] => [y, ...gradients(y, seed, to)];
cases.push(
  one('rows: softmax and its gradient, masked, of a transposed product', [], (f) => {
    const [q, k, w] = [f('f32', [3, 17, 2, 8]), f('f32', [3, 17, 2, 8]), f('f32', [3, 2, 17, 17])];
    const heads = (x: Node) => o.transpose(x, [0, 2, 1, 3]);
    const product = o.dot(heads(q), heads(k), {
      contract: [[3], [3]],
      batch: [
        [0, 1],
        [0, 1],
      ],
    });
    const mask = o.le(o.iota([3, 2, 17, 17], 3, 'i32'), o.iota([3, 2, 17, 17], 2, 'i32'));
    const y = rowSoftmax(o.select(mask, product, o.full([3, 2, 17, 17], Number.NEGATIVE_INFINITY, 'f32')));
    return withGradients(y, w, [q, k]);
  }),
  one('rows: two normalizations with a residual, and their gradients', [], (f) => {
    const [x, scale, offset, w] = [f('f32', [5, 9, 40]), f('f32', [40]), f('f32', [40]), f('f32', [5, 9, 40])];
    const once = o.add(x, rowNorm(x, scale));
    return withGradients(o.add(rowNorm(o.tanh(once), scale), offset), w, [x, scale, offset]);
  }),
  one('rows: extremes with NaN, infinities and negative zeros', [], (f) => {
    const [nan, inf] = [Number.NaN, Number.POSITIVE_INFINITY];
    const row = (special: number[]): number[] => [...numbers(19 - special.length, special.length), ...special];
    const x = f(
      'f32',
      [16, 19],
      [[], [nan], [-inf], [inf], [-nan, inf], [inf, -inf], [-0, 0], [nan, -inf]].flatMap((s) => [...row(s), ...row(s).reverse()]),
    );
    const none = f('f32', [16, 5], new Array<number>(80).fill(-inf));
    const spread = (y: Node, of: Node) => o.add(of, keepLast(y, of));
    return [
      o.reduceMax(x, [1]),
      o.reduceMin(x, [1]),
      spread(o.reduceMax(x, [1]), x),
      spread(o.reduceMin(x, [1]), x),
      o.reduceMax(none, [1]),
    ];
  }),
  one('columns: a batch normalization with relu and its gradient', [], (f) => {
    const [x, scale, w] = [f('f32', [6, 5, 5, 8]), f('f32', [8]), f('f32', [6, 5, 5, 8])];
    const spread = (y: Node) => o.broadcast(o.reshape(y, [1, 1, 1, 8]), x.shape);
    const share = o.full([], 1 / 150, 'f32');
    const centred = o.sub(x, spread(o.mul(o.sum(x, [0, 1, 2]), share)));
    const variance = o.mul(o.sum(o.mul(centred, centred), [0, 1, 2]), share);
    const y = o.mul(centred, spread(o.mul(o.rsqrt(o.add(variance, o.full([], 1e-3, 'f32'))), scale)));
    return withGradients(o.select(o.le(y, o.full([], 0, 'f32')), o.full(y.shape, 0, 'f32'), y), w, [x, scale]);
  }),
  one('boxes: padding of several axes, inside and out, of computed values', [], (f) => {
    const [x, y] = [f('f32', [19, 6, 7, 3]), f('f32', [19, 6, 7, 3])];
    const inner = o.tanh(o.add(x, y));
    const dims = (...d: [number, number, number][]) => d;
    return [
      o.pad(inner, dims([0, 0, 0], [1, 1, 0], [2, 1, 0], [0, 0, 0]), 0),
      o.pad(inner, dims([0, 0, 0], [1, 0, 0], [0, 2, 0], [1, 1, 0]), -1),
      o.pad(inner, dims([0, 0, 0], [-1, 1, 0], [1, -2, 0], [0, 0, 0]), 0),
      o.pad(x, dims([0, 0, 0], [1, 1, 1], [0, 1, 2], [0, 0, 0]), 2),
    ];
  }),
  one('boxes: concatenations of parts, of shifted parts and of heads', [], (f) => {
    const [x, y, z] = [f('f32', [4, 5, 3, 8]), f('f32', [4, 5, 3, 8]), f('f32', [4, 3, 5, 8])];
    const flat = (a: Node) => o.reshape(a, [20, 24]);
    const cut = (a: Node, from: number, to: number) => o.slice(a, [0, from], [20, to]);
    return [
      o.concat([flat(x), o.mul(flat(y), flat(y)), flat(o.transpose(z, [0, 2, 1, 3]))], 1),
      o.add(o.concat([cut(flat(x), 3, 24), cut(flat(y), 0, 3)], 1), flat(y)),
      o.slice(o.concat([flat(x), flat(y)], 1), [0, 5], [20, 41]),
    ];
  }),
);

// Load prologues: products of what is decoded where the product takes it, forward (x·Wᵀ) and backward (dy·W).
const bothWays = (x: Node, dy: Node, w: Node): Node[] => [
  o.dot(x, w, { batch: [[], []], contract: [[1], [1]] }),
  o.dot(dy, w, { batch: [[], []], contract: [[1], [0]] }),
];
/** Bytes of 32 and their scale. */
const q8 = (f: (dtype: DType, shape: number[], data?: number[]) => Node, N: number, K: number): Node => {
  const scale = o.broadcast(o.reshape(f('f32', [N, K / 32]), [N, K / 32, 1]), [N, K / 32, 32]);
  const small = integers(N * K, 17, 3).map((x) => x - 8);
  return o.reshape(o.mul(o.cast(f('i8', [N, K / 32, 32], small), 'f32'), scale), [N, K]);
};
/** Nibbles that name 16 numbers, the low ones of 32 bytes before the high ones, and a scale for 64. */
const nf4 = (f: (dtype: DType, shape: number[], data?: number[]) => Node, N: number, K: number): Node => {
  const count = (N * K) / 2;
  const table = f(
    'f32',
    [16],
    numbers(16, 5).sort((a, b) => a - b),
  );
  const bytes = f('u8', [N, K / 64, 1, 32], integers(count, 256, 9));
  const shape = [N, K / 64, 2, 32];
  const shift = o.mul(o.iota(shape, 2, 'u8'), o.full(shape, 4, 'u8'));
  const nibble = o.and(o.shr(o.broadcast(bytes, shape), shift), o.full(shape, 15, 'u8'));
  const scale = o.broadcast(o.reshape(f('f32', [N, K / 64]), [N, K / 64, 1, 1]), shape);
  return o.reshape(o.mul(o.take(table, o.cast(nibble, 'i32'), 0), scale), [N, K]);
};
/** The same with pairs of neighbours in a byte. */
const nf4Pairs = (f: (dtype: DType, shape: number[], data?: number[]) => Node, N: number, K: number): Node => {
  const bytes = f('u8', [N, K / 2], integers((N * K) / 2, 256, 11));
  const low = o.and(bytes, o.full([N, K / 2], 15, 'u8'));
  const high = o.shr(bytes, o.full([N, K / 2], 4, 'u8'));
  const pair = [low, high].map((x) => o.reshape(o.cast(x, 'i32'), [N, K / 2, 1]));
  const which = o.eq(o.iota([N, K / 2, 2], 2, 'i32'), o.full([N, K / 2, 2], 0, 'i32'));
  const nibble = o.select(which, o.broadcast(pair[0], [N, K / 2, 2]), o.broadcast(pair[1], [N, K / 2, 2]));
  const scale = o.broadcast(o.reshape(f('f32', [N, K / 64]), [N, K / 64, 1]), [N, K / 64, 64]);
  return o.mul(o.reshape(o.take(f('f32', [16]), nibble, 0), [N, K]), o.reshape(scale, [N, K]));
};
for (const [M, N, K] of [
  [1, 40, 64],
  [8, 33, 192],
  [70, 50, 128],
  [3, 7, 64],
]) {
  const name = `${M}×${K}×${N}`;
  cases.push(
    ...(['bf16', 'f16', 'i8', 'u8'] as const).map((dtype) =>
      one(
        `prologue: a cast of ${dtype}, ${name}`,
        [],
        (f) =>
          bothWays(f('f32', [M, K]), f('f32', [M, N]), o.mul(o.cast(f(dtype, [N, K]), 'f32'), o.full([], 1 / 8, 'f32'))).concat(
            bothWays(f('f32', [M, K - 3]), f('f32', [M, N]), o.cast(f(dtype, [N, K - 3]), 'f32')),
          ),
        dtype.endsWith('8') ? 2e-3 : 1e-4,
      ),
    ),
    one(`prologue: q8_0, ${name}`, [], (f) => bothWays(f('f32', [M, K]), f('f32', [M, N]), q8(f, N, K)), 2e-3),
    one(`prologue: NF4, ${name}`, [], (f) => bothWays(f('f32', [M, K]), f('f32', [M, N]), nf4(f, N, K)), 1e-4),
    one(`prologue: NF4 in pairs, ${name}`, [], (f) => bothWays(f('f32', [M, K]), f('f32', [M, N]), nf4Pairs(f, N, K)), 1e-4),
    one(
      `prologue: f32 as bf16 and f16, ${name}`,
      [],
      (f) =>
        (['bf16', 'f16'] as const).flatMap((dtype) => {
          const w = o.cast(f('f32', [N, K]), dtype);
          return bothWays(f(dtype, [M, K]), f(dtype, [M, N]), w).map((y) => o.cast(y, 'f32'));
        }),
      0.03,
    ),
  );
}
cases.push(
  one('prologue: several blocks and tiles', [], (f) => bothWays(f('f32', [66, 320]), f('f32', [66, 144]), q8(f, 144, 320)), 1e-3),
  one(
    'prologue: of a batch of matrices, of a window of one, of one that is read elsewhere too',
    [],
    (f) => {
      const heads = o.cast(f('bf16', [2, 3, 40, 32]), 'f32');
      const batch = pairs([0, 1], [0, 1]);
      const whole = q8(f, 40, 96);
      const part = o.slice(whole, [3, 32], [36, 96]);
      const shared = q8(f, 20, 64);
      return [
        o.dot(f('f32', [2, 3, 17, 32]), heads, { batch, contract: [[3], [3]] }),
        o.dot(f('f32', [2, 3, 17, 40]), heads, { batch, contract: [[3], [2]] }),
        o.dot(f('f32', [9, 64]), part, { batch: [[], []], contract: [[1], [1]] }),
        o.dot(f('f32', [9, 64]), shared, { batch: [[], []], contract: [[1], [1]] }),
        o.sum(shared, [0]),
        o.dot(shared, f('f32', [9, 64]), { batch: [[], []], contract: [[1], [1]] }),
      ];
    },
    2e-3,
  ),
  one(
    'prologue: a filter, and its depthwise kind',
    [],
    (f) => [
      o.conv(f('f32', [2, 10, 9, 1, 3]), o.cast(f('i8', [3, 3, 1, 3, 8]), 'f32'), conv([1, 1], pairs([0, 0], [0, 0]), [1, 1], [1, 1])),
      o.conv(f('f32', [2, 8, 8, 20, 1]), o.cast(f('f16', [3, 3, 20, 1, 1]), 'f32'), conv([1, 1], pairs([1, 1], [1, 1]), [1, 1], [1, 1])),
    ],
    2e-3,
  ),
);
