import { expect, test } from 'vitest';
import { ConfigError } from '../../src/base/errors.js';
import { ops } from '../../src/graph/builder.js';
import { interpret, interpretValues } from '../../src/graph/interpret.js';
import { input, tensor } from './support.js';

test('results come in storage form', () => {
  const [f, h, b, u] = interpret([
    ops.exp(tensor([0])),
    ops.cast(tensor([1]), 'f16'),
    ops.lt(tensor([1]), tensor([2])),
    tensor([255], [1], 'u8'),
  ]);
  expect([f, h, b, u]).toEqual([Float32Array.of(1), Uint16Array.of(0x3c00), Uint8Array.of(1), Uint8Array.of(255)]);
});

test('every node rounds to its dtype, unless asked to be precise', () => {
  const third = ops.div(input(0, [1]), input(1, [1]));
  const feeds = {
    inputs: new Map([
      [0, Float64Array.of(1)],
      [1, Float64Array.of(3)],
    ]),
  };
  expect(interpretValues([third], feeds)[0].data[0]).toBe(Math.fround(1 / 3));
  expect(interpretValues([third], feeds, { precise: true })[0].data[0]).toBe(1 / 3);
});

test('f16 input arrives as bits', () => {
  expect(interpretValues([input(0, [1], 'f16')], { inputs: new Map([[0, Uint16Array.of(0xc000)]]) })[0].data[0]).toBe(-2);
});

test('Variables are asked for', () => {
  const variable = { id: 3, name: 'w', shape: [2], dtype: 'f32', version: 0 } as const;
  const y = ops.mul(ops.variable(variable), ops.variable(variable));
  expect(interpret([y], { variables: (v) => (v.id === 3 ? Float32Array.of(2, 3) : new Float32Array(0)) })).toEqual([Float32Array.of(4, 9)]);
});

test('leaves that are not fed are named', () => {
  expect(() => interpret([input(4, [2])])).toThrow(ConfigError);
  expect(() => interpret([input(4, [2])])).toThrow(/input 4 "x4" is not fed. Expected 2 elements for f32\[2\], received none/);
  expect(() => interpret([input(0, [2])], { inputs: new Map([[0, new Float32Array(3)]]) })).toThrow(/received 3/);
});

test('a chain of 20,000 nodes needs no stack', () => {
  let x = input(0, []);
  for (let i = 0; i < 20_000; i++) x = ops.add(x, input(1, []));
  expect(
    interpret([x], {
      inputs: new Map([
        [0, Float32Array.of(0)],
        [1, Float32Array.of(1)],
      ]),
    }),
  ).toEqual([Float32Array.of(20_000)]);
});
