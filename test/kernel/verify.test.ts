import { describe, expect, it } from 'vitest';
import { cast, constant, type Expr, index, load, loop, op, type Stmt, splat, variable } from '../../src/kernel/kernel.js';
import type { Program } from '../../src/kernel/program.js';
import { verifyKernel, verifyProgram } from '../../src/kernel/verify.js';
import { buffer, cases, makeKernel, programOf } from './kernels.js';

const kernel = (...body: Stmt[]) =>
  makeKernel('k', [buffer('x', 'f32'), buffer('y', 'f32', 'write'), buffer('n', 'i32', 'readwrite')], 4, body);
const i = variable('item');
const x = load('x', 'f32', i);
const store = (value: Expr, to = 'y', at: Expr = i): Stmt => ({ kind: 'store', buffer: to, index: at, value });
const put = (name: string, value: Expr, kind: 'let' | 'mut' | 'assign' = 'let'): Stmt => ({ kind, name, value });

describe('verifyKernel', () => {
  it.each(cases().map((c) => [c.name, c.kernel] as const))('accepts %s', (_, k) => {
    expect(() => verifyKernel(k)).not.toThrow();
  });

  it('accepts names used again beside each other, and vectors', () => {
    const body = [put('a', x), store(variable('a', 'f32'))];
    expect(() => verifyKernel(kernel(loop('j', 0, 2, body), loop('j', 0, 2, body)))).not.toThrow();
    expect(() =>
      verifyKernel(kernel(put('v', splat(x, 8)), store(op('mul', 'f32', variable('v', 'f32', 8), load('x', 'f32', i, 8))))),
    ).not.toThrow();
  });

  const wrong: [string, Stmt[], RegExp][] = [
    ['an unknown name', [store(variable('a', 'f32'))], /"a" is not defined/],
    ['a name after its block', [loop('j', 0, 2, [put('a', x)]), store(variable('a', 'f32'))], /"a" is not defined/],
    ['a shadowed name', [put('a', x), loop('j', 0, 2, [put('a', x)])], /"a" is defined twice/],
    ['a name that hides a buffer', [put('x', x)], /"x" is defined twice/],
    ['a name that is none', [put('a b', x)], /no identifier/],
    ['another type', [put('a', x), store(variable('a', 'i32'))], /"a" is f32×1, used as i32×1/],
    ['other lanes', [put('a', splat(x, 4)), store(variable('a', 'f32'))], /"a" is f32×4, used as f32×1/],
    ['assignment to a let', [put('a', x), put('a', x, 'assign')], /no mut/],
    ['assignment of another type', [put('a', x, 'mut'), put('a', constant('i32', 1), 'assign')], /is assigned/],
    ['a store to a read-only buffer', [store(x, 'x')], /read-only/],
    ['a load from a write-only buffer', [store(load('y', 'f32', i))], /write-only/],
    ['an unknown buffer', [store(load('z', 'f32', i))], /unknown array "z"/],
    ['a load of another type', [store(load('x', 'i32', i))], /load of i32 from "x" of f32/],
    ['a stored index', [store(i, 'n')], /index is stored/],
    ['an index that is a number', [store(x, 'y', load('n', 'i32', i))], /is i32 of 1 lanes, not an index/],
    ['operands of two types', [store(op('add', 'f32', x, cast('i32', x)))], /unlike types/],
    ['operands of two widths', [store(op('add', 'f32', x, splat(x, 4)))], /unlike lanes/],
    ['a missing operand', [store(op('add', 'f32', x))], /add of 1 arguments/],
    ['a comparison that is a number', [store(op('lt', 'f32', x, x))], /has type f32/],
    ['a condition that is a number', [store(op('select', 'f32', x, x, x))], /no bool/],
    ['sin of an index', [put('a', op('sin', 'index', i))], /sin on an index/],
    ['an if on a number', [{ kind: 'if', cond: x, then: [] }], /condition .* is no bool/],
    ['a reduction without a mut', [loop('j', 0, 2, [], { mode: 'simd', reduce: [{ name: 's', op: 'add' }] })], /reduces "s"/],
    ['an unrolled loop without bounds', [loop('j', 0, i, [], { mode: 'unrolled' })], /not constant/],
    ['a loop that stands still', [loop('j', 0, 2, [], { step: 0 })], /step 0/],
    ['an empty local', [{ kind: 'local', name: 'l', type: 'f32', size: 0 }], /size 0/],
    [
      'a sort into floats',
      [
        {
          kind: 'argsort',
          name: 'k',
          key: load('x', 'f32', variable('k')),
          length: 4,
          descending: false,
          out: 'y',
          outBase: index(0),
          outStride: 1,
        },
      ],
      /not i32/,
    ],
    ['a splat that converts', [store({ kind: 'splat', type: 'i32', x, lanes: 4 })], /splat/],
  ];
  it.each(wrong)('refuses %s', (_, body, message) => {
    expect(() => verifyKernel(kernel(...body))).toThrow(message);
  });
});

describe('verifyProgram', () => {
  const c = cases()[0];
  const good = programOf(c.kernel, c.data);
  it.each<[string, Partial<Program>, RegExp]>([
    ['a missing external slot', { externals: 2 }, /external slot 2 of 2/],
    ['a place outside the arena', { buffers: [{ dtype: 'f32', size: 4, place: { kind: 'arena', offset: 0 } }] }, /arena of 0/],
    [
      'too little constant data',
      { buffers: [{ dtype: 'f32', size: 4, place: { kind: 'constant', data: new Float32Array(3) } }] },
      /needs 16 bytes/,
    ],
    ['a missing argument', { calls: [{ kernel: c.kernel, buffers: [0, 1] }] }, /takes 3 buffers, is given 2/],
    ['an argument of another type', { buffers: good.buffers.map((b) => ({ ...b, dtype: 'i32' })) }, /takes f32 as "x0", is given i32/],
    ['an argument that is nowhere', { calls: [{ kernel: c.kernel, buffers: [0, 1, 9] }] }, /is given nothing/],
    [
      'a constant that is written',
      { buffers: [...good.buffers.slice(0, 2), { dtype: 'f32', size: 1, place: { kind: 'constant', data: new Float32Array(1) } }] },
      /writes to a constant/,
    ],
  ])('refuses %s', (_, change, message) => {
    expect(() => verifyProgram(good)).not.toThrow();
    expect(() => verifyProgram({ ...good, ...change })).toThrow(message);
  });
});
