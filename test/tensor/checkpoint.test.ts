/** @file checkpoint: the values and gradients of the plain function, and far fewer bytes between its passes. */
import { describe, expect, it } from 'vitest';
import { compileGraph } from '../../src/compile/compile.js';
import { ReferenceDevice } from '../../src/device/reference/reference.js';
import { setDevice } from '../../src/device/registry.js';
import type { Program } from '../../src/kernel/program.js';
import { verifyProgram } from '../../src/kernel/verify.js';
import {
  checkpoint,
  compileStep,
  gelu,
  grad,
  matmul,
  RandomState,
  random,
  rmsNormalization,
  type Tensor,
  tensor,
  traceFunction,
  Variable,
  valueAndGrad,
} from '../../src/tensor/index.js';
import { devices } from '../conformance/harness.js';

type Block = (x: Tensor) => Tensor;
type Wrap = (block: Block) => Block;
const plain: Wrap = (block) => block;

const close = (got: ArrayLike<number>, want: ArrayLike<number>, what: string): void => {
  expect(got.length, what).toBe(want.length);
  for (let i = 0; i < want.length; i++)
    expect(Math.abs(got[i] - want[i]), `${what} ${i}: ${got[i]} against ${want[i]}`).toBeLessThan(1e-5 * Math.max(1, Math.abs(want[i])));
};

/** Blocks of two products with a norm before and a residual around them. */
function blocks(depth: number, width: number): { weights: Variable[]; block: (i: number) => Block } {
  const weights = Array.from({ length: 2 * depth }, (_, i) => {
    const shape = i % 2 ? [2 * width, width] : [width, 2 * width];
    return new Variable(random.normal(shape, 0, 0.3, { seed: i + 1 }), { name: `w${i}` });
  });
  const block =
    (i: number): Block =>
    (x) =>
      x.add(matmul(gelu(matmul(rmsNormalization(x), weights[2 * i])), weights[2 * i + 1]));
  return { weights, block };
}
const stack = (x: Tensor, depth: number, block: (i: number) => Block, wrap: Wrap): Tensor => {
  let h = x;
  for (let i = 0; i < depth; i++) h = wrap(block(i))(h);
  return h;
};

const all = await devices();
describe.each(all.map((d) => ({ name: d.name })))('on $name', ({ name }) => {
  it('has the value and the gradients of the function: Variables, arguments and what it closes over', async () => {
    setDevice(name);
    const { weights, block } = blocks(3, 8);
    const scale = random.normal([8], 1, 0.1, { seed: 50 });
    const run = async (wrap: Wrap) => {
      const step = await compileStep(
        ([x, s]) => {
          const closed = s.mul(2);
          const scaled =
            (i: number): Block =>
            (h) =>
              block(i)(h).mul(closed);
          const loss = (h: Tensor, t: Tensor) =>
            stack(h, 3, (i) => (y) => scaled(i)(y.add(t)), wrap)
              .square()
              .mean();
          const { value, gradients } = valueAndGrad(() => stack(x, 3, scaled, wrap).square().mean(), weights);
          return { outputs: [value, ...gradients, ...grad(loss, [0, 1])(x, s)] };
        },
        [
          { shape: [5, 8], dtype: 'f32' },
          { shape: [8], dtype: 'f32' },
        ],
      );
      return step.run([random.normal([5, 8], 0, 1, { seed: 60 }), scale]);
    };
    const [want, got] = [await run(plain), await run(checkpoint)];
    for (const [i, w] of want.entries()) close(got[i], w, `output ${i}`);
    expect(want[2].some((v) => Math.abs(v) > 1e-4)).toBe(true);
  });

  it('repeats the mask of a dropout inside', async () => {
    setDevice(name);
    const { weights, block } = blocks(2, 8);
    const run = async (wrap: Wrap) => {
      const seed = new RandomState(7);
      const dropping =
        (i: number): Block =>
        (x) =>
          random.dropout(gelu(random.dropout(block(i)(x), 0.5, { seed })), 0.25, { seed });
      const step = await compileStep(
        ([x]) => {
          const { value, gradients } = valueAndGrad(() => stack(x, 2, dropping, wrap).square().mean(), weights);
          return { outputs: [value, ...gradients] };
        },
        [{ shape: [6, 8], dtype: 'f32' }],
      );
      const x = random.normal([6, 8], 0, 1, { seed: 61 });
      return [await step.run([x]), await step.run([x])];
    };
    const [want, got] = [await run(plain), await run(checkpoint)];
    for (const turn of [0, 1]) for (const [i, w] of want[turn].entries()) close(got[turn][i], w, `run ${turn}, output ${i}`);
    expect(Math.abs(want[0][0][0] - want[1][0][0])).toBeGreaterThan(1e-6);
  });

  it('nests', async () => {
    setDevice(name);
    const { weights, block } = blocks(4, 8);
    const nested: Block = checkpoint((x: Tensor) => {
      const first = checkpoint(block(1))(checkpoint(block(0))(x));
      return checkpoint((y: Tensor) => checkpoint(block(3))(block(2)(y)).tanh())(first);
    });
    const flat: Block = (x) => block(3)(block(2)(block(1)(block(0)(x)))).tanh();
    const run = async (f: Block) => {
      const step = await compileStep(
        ([x]) => {
          const { value, gradients } = valueAndGrad(() => f(x).square().mean(), weights);
          return { outputs: [value, ...gradients] };
        },
        [{ shape: [5, 8], dtype: 'f32' }],
      );
      return step.run([random.normal([5, 8], 0, 1, { seed: 62 })]);
    };
    const [want, got] = [await run(flat), await run(nested)];
    for (const [i, w] of want.entries()) close(got[i], w, `output ${i}`);
  });
});

it('works without a trace, and twice differentiated', async () => {
  const f: Block = (x) => x.mul(x).mul(x).sin();
  const x = tensor([0.3, -0.7, 1.1]);
  for (const of of [
    (g: Block) => grad((y) => g(y).sum())(x),
    (g: Block) =>
      grad((y) =>
        grad((z) => g(z).sum())(y)
          .square()
          .sum(),
      )(x),
  ])
    close(await of(checkpoint(f)).data(), await of(f).data(), 'gradient');
  expect(await checkpoint(f)(x).data()).toEqual(await f(x).data());
});

it('assigns once what the function assigns, and passes on what is no tensor', async () => {
  const count = new Variable(tensor(0), { trainable: false });
  const f = checkpoint((x: Tensor, power: number) => {
    count.assignAdd(1);
    return x.pow(power).exp();
  });
  const step = await compileStep(([x]) => ({ outputs: [grad((y) => f(y, 2).sum())(x)] }), [{ shape: [2], dtype: 'f32' }]);
  const [slope] = await step.run([Float32Array.of(1, 0.5)]);
  close(slope, [2 * Math.E, Math.exp(0.25)], 'gradient');
  expect(await count.data()).toEqual(Float32Array.of(1));
  // @ts-expect-error Two tensors.
  expect(() => checkpoint((x: Tensor) => [x, x])(tensor(1))).toThrow(/no tensor/);
  // Whole numbers have no gradient, and an argument is kept anyway.
  expect(await checkpoint((x: Tensor) => x.cast('i32'))(tensor([1.5])).data()).toEqual(Int32Array.of(1));
  expect(await grad((x) => checkpoint((y: Tensor) => y)(x).sum())(tensor([1, 2])).data()).toEqual(Float32Array.of(1, 1));
});

describe('the Program', () => {
  const { target } = new ReferenceDevice();
  const depth = 8;
  const width = 64;
  const rows = 256;
  const value = 4 * rows * width;

  function program(wrap: Wrap): Program {
    const { weights, block } = blocks(depth, width);
    const graph = traceFunction(
      ([x]) => {
        const { value: loss, gradients } = valueAndGrad(() => stack(x, depth, block, wrap).square().mean(), weights);
        for (const [i, w] of weights.entries()) w.assign(w.value.sub(gradients[i].mul(0.1)));
        return [loss];
      },
      [{ shape: [rows, width], dtype: 'f32' }],
    );
    const compiled = compileGraph(graph, target).program;
    verifyProgram(compiled);
    return compiled;
  }
  const products = ({ calls }: Program): number => calls.filter((c) => /\bdot\b/.test(c.kernel.label) && c.kernel.flops > 1e6).length;

  it('keeps the arguments of the blocks and what one block computes', () => {
    const [kept, again] = [program(plain), program(checkpoint)];
    // Plain: each block keeps its norm and the two wide values; with a checkpoint its argument.
    expect(kept.arenaBytes).toBeGreaterThan(depth * 4 * value);
    expect(again.arenaBytes).toBeLessThan((depth + 9) * value);
    // Forward 2 products a block, backward 4, and the first of the block once more.
    expect(products(kept)).toBe(6 * depth - 1);
    expect(products(again)).toBe(7 * depth - 1);
    expect(again.calls.map((c) => c.kernel.label)).not.toContain('copy');
  });
  it('keeps fewer arguments where checkpoints are nested', () => {
    const halves = (): Program => {
      const { weights, block } = blocks(depth, width);
      const half =
        (from: number): Block =>
        (x) =>
          stack(x, depth / 2, (i) => block(from + i), checkpoint);
      const graph = traceFunction(
        ([x]) => {
          const f = () =>
            checkpoint(half(depth / 2))(checkpoint(half(0))(x))
              .square()
              .mean();
          const { value: loss, gradients } = valueAndGrad(f, weights);
          for (const [i, w] of weights.entries()) w.assign(w.value.sub(gradients[i].mul(0.1)));
          return [loss];
        },
        [{ shape: [rows, width], dtype: 'f32' }],
      );
      return compileGraph(graph, target).program;
    };
    expect(halves().arenaBytes).toBeLessThan(program(checkpoint).arenaBytes);
  });
});
