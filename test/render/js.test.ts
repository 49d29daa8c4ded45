import fc from 'fast-check';
import { expect, it } from 'vitest';
import { cast, constant, load, op, splat, variable } from '../../src/kernel/kernel.js';
import { compileJs, renderJs } from '../../src/render/js.js';
import { buffer, elementwise, makeKernel } from '../kernel/kernels.js';

const item = variable('item');

it('renders readable source', () => {
  const k = elementwise('relu', ['bf16'], 'f32', 100, 32, (x) => op('max', 'f32', cast('f32', x), constant('f32', 0)));
  expect(renderJs(k)).toMatchInlineSnapshot(`
    "const x0 = b[0];
    const y = b[1];
    for (let item = lo; item < hi; item++) {
      for (let i = 0, i$end = Math.min(32, (100 - (item * 32))); i < i$end; i += 1) {
        y[((item * 32) + i)] = Math.max($.fromBf16(x0[((item * 32) + i)]), 0);
      }
    }
    "
  `);
});

it('shares the function of kernels that are one', () => {
  const make = (label: string, by: number) => elementwise(label, ['i32'], 'i32', 10, 10, (x) => op('add', 'i32', x, constant('i32', by)));
  const first = compileJs(make('first', 41));
  expect(first.cached).toBe(false);
  expect(compileJs(make('second', 41))).toEqual({ run: first.run, cached: true });
  expect(compileJs(make('third', 42)).run).not.toBe(first.run);
});

it('runs only the items it is asked for', () => {
  const k = makeKernel('set', [buffer('y', 'i32', 'write')], 10, [{ kind: 'store', buffer: 'y', index: item, value: cast('i32', item) }]);
  const y = new Int32Array(10).fill(-1);
  compileJs(k).run([y], 3, 5);
  expect([...y]).toEqual([-1, -1, -1, 3, 4, -1, -1, -1, -1, -1]);
});

it('bears names that JavaScript reserves', () => {
  const names = ['new', 'in', 'class', 'lo', 'b', 'Math', 'await'];
  const k = makeKernel('names', [buffer('function', 'f32', 'readwrite')], 2, [
    ...names.map((name, i) => ({ kind: 'let' as const, name, value: op('exp', 'f32', constant('f32', i)) })),
    {
      kind: 'store',
      buffer: 'function',
      index: item,
      value: names.map((n) => variable(n, 'f32')).reduce((a, c) => op('add', 'f32', a, c)),
    },
  ]);
  const y = new Float32Array(2);
  compileJs(k).run([y], 0, 2);
  expect(y[1]).toBeCloseTo(
    names.reduce((s, _, i) => s + Math.exp(i), 0),
    3,
  );
});

it('overflows where f32 does', () => {
  const k = elementwise('log(exp)', ['f32'], 'f32', 1, 1, (x) => op('log', 'f32', op('exp', 'f32', x)));
  const y = new Float32Array(1);
  compileJs(k).run([Float32Array.of(100), y], 0, 1);
  expect(y[0]).toBe(Number.POSITIVE_INFINITY);
});

it('casts through narrow types', () => {
  const k = elementwise('narrow', ['i32'], 'i32', 4, 4, (x) => op('add', 'i32', cast('i32', cast('i8', x)), cast('i32', cast('u8', x))));
  const y = new Int32Array(4);
  compileJs(k).run([Int32Array.of(200, -1, 127, 256), y], 0, 1);
  expect([...y]).toEqual([-56 + 200, -1 + 255, 254, 0]);
});

it('raises integers to powers as repeated products do', () => {
  const k = elementwise('pow', ['i32', 'i32'], 'i32', 1, 1, (a, b) => op('pow', 'i32', a, b));
  const { run } = compileJs(k);
  fc.assert(
    fc.property(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.integer({ min: 0, max: 40 }), (a, b) => {
      const y = new Int32Array(1);
      run([Int32Array.of(a), Int32Array.of(b), y], 0, 1);
      return BigInt(y[0]) === BigInt.asIntN(32, BigInt(a) ** BigInt(b));
    }),
    { seed: 1 },
  );
});

it('refuses vectors', () => {
  const x = load('y', 'f32', item);
  const k = makeKernel('vector', [buffer('y', 'f32', 'readwrite')], 1, [{ kind: 'store', buffer: 'y', index: item, value: splat(x, 4) }]);
  expect(() => renderJs(k)).toThrow(/4 lanes/);
});
