/** @file Variables: versions, eager and traced assignment, steps that write in place. */
import { describe, expect, it } from 'vitest';
import * as tn from '../../src/tensor/index.js';

describe('Variable', () => {
  it('reads the value of the moment', async () => {
    const w = tn.variable([1, 2], { name: 'w' });
    const before = w.read().mul(2);
    w.assign([10, 20]);
    const after = w.read();
    w.assignAdd([1, 1]);
    expect(await before.array()).toEqual([2, 4]);
    expect(await after.array()).toEqual([10, 20]);
    expect(await w.array()).toEqual([11, 21]);
    expect(w.version).toBe(2);
    w.set(new Float32Array([5, 6]));
    expect(await w.array()).toEqual([5, 6]);
    expect(() => w.assign([1])).toThrow(/assign "w"/);
  });
  it('computes pending writes together', async () => {
    const a = tn.variable(1);
    const b = tn.variable(2);
    const shared = a.read().add(b);
    a.assign(shared.mul(2));
    b.assign(shared.mul(3));
    expect(await shared.item()).toBe(3);
    expect(a.pendingNode).toBeNull();
    expect(await b.read().item()).toBe(9);
    expect(await a.read().item()).toBe(6);
  });
  it('casts to its dtype', async () => {
    const v = tn.variable([1, 2], { dtype: 'i32' });
    expect(v.trainable).toBe(false);
    v.assign([1.7, -2.7]);
    expect(await v.array()).toEqual([1, -2]);
  });
});

describe('compileStep', () => {
  it('writes in place and keeps old values for those who hold them', async () => {
    const w = tn.variable([1, 2]);
    const held = w.read().mul(10);
    const heldRead = w.read();
    const step = await tn.compileStep(
      ([x]) => {
        const loss = w.read().mul(x).sum();
        w.assign(w.read().sub(x));
        return { outputs: [loss, w.read()] };
      },
      [{ shape: [2], dtype: 'f32' }],
    );
    const [loss, after] = await step.run([new Float32Array([1, 1])]);
    expect([...loss]).toEqual([3]);
    expect([...after]).toEqual([0, 1]);
    expect(await held.array()).toEqual([10, 20]);
    expect(await heldRead.array()).toEqual([1, 2]);
    expect(await w.array()).toEqual([0, 1]);
    const two = await Promise.all([step.run([new Float32Array([1, 0])]), step.run([tn.tensor([0, 1])])]);
    expect(two.map(([l]) => l[0])).toEqual([0, 1]);
    expect(await w.array()).toEqual([-1, 0]);
    w.assign([7, 8]);
    expect([...(await step.run([new Float32Array([0, 0])]))[1]]).toEqual([7, 8]);
    expect(step.written).toEqual([w]);
    expect(step.compileSeconds).toBeGreaterThanOrEqual(0);
  });
  it('keeps a realized read that was taken between runs', async () => {
    const w = tn.variable([1]);
    const step = await tn.compileStep(() => ({ outputs: [w.assignAdd([1]).read()] }), []);
    const kept: tn.Tensor[] = [];
    for (let i = 0; i < 4; i++) {
      kept.push(w.read());
      await step.run();
    }
    expect(await Promise.all(kept.map((t) => t.item()))).toEqual([1, 2, 3, 4]);
    const data = await w.data();
    await step.run();
    expect([...data]).toEqual([5]);
  });
  it('takes a gradient and learns', async () => {
    const w = tn.variable([0, 0]);
    const step = await tn.compileStep(
      ([x, y]) => {
        const { value, gradients } = tn.valueAndGrad(() => x.matmul(w).sub(y).square().mean(), [w]);
        w.assignSub(gradients[0].mul(0.1));
        return { outputs: [value] };
      },
      [
        { shape: [4, 2], dtype: 'f32' },
        { shape: [4], dtype: 'f32' },
      ],
    );
    const x = new Float32Array([1, 0, 0, 1, 1, 1, 1, -1]);
    const y = new Float32Array([2, -1, 1, 3]);
    let loss = 1;
    for (let i = 0; i < 100; i++) [[loss]] = await step.run([x, y]);
    expect(loss).toBeLessThan(1e-4);
    const [a, b] = await w.data();
    expect(a).toBeCloseTo(2, 2);
    expect(b).toBeCloseTo(-1, 2);
  });
  it('computes what it closes over once', async () => {
    const c = tn.tensor([1, 2]).mul(3).add(1);
    const step = await tn.compileStep(([x]) => ({ outputs: [x.add(c)] }), [{ shape: [2], dtype: 'f32' }]);
    expect(step.capturedBuffers).toBe(1);
    expect([...(await step.run([new Float32Array([0, 1])]))[0]]).toEqual([4, 8]);
    expect(c.isRealized).toBe(true);
  });
  it('checks inputs', async () => {
    const step = await tn.compileStep(([x]) => ({ outputs: [x] }), [{ shape: [2], dtype: 'f32' }], { name: 'train' });
    expect(() => step.run([new Float32Array(3)])).toThrow(/train: input 0/);
    expect(() => step.run([new Int32Array(2)])).toThrow(/Float32Array/);
    expect(() => step.run([])).toThrow(/0 inputs/);
  });
});

describe('jit', () => {
  it('compiles once for each structure, shape and static value', async () => {
    let traces = 0;
    const f = tn.jit((args: { x: tn.Tensor; list: tn.Tensor[] }, k: number) => {
      traces++;
      return { y: args.x.mul(k), z: [args.list[0].add(args.x), 'text'] as const };
    });
    const call = (n: number, k: number) => f({ x: tn.ones([n]), list: [tn.ones([1])] }, k);
    const first = call(2, 3);
    expect(await first.y.array()).toEqual([3, 3]);
    expect(await first.z[0].array()).toEqual([2, 2]);
    expect(first.z[1]).toBe('text');
    call(2, 3);
    expect(traces).toBe(1);
    call(3, 3);
    expect(traces).toBe(2);
    expect(await call(2, 4).y.array()).toEqual([4, 4]);
    expect(traces).toBe(3);
  });
  it('chains without awaiting, and writes Variables in order', async () => {
    const n = tn.variable(0);
    const next = tn.jit((x: tn.Tensor) => {
      n.assignAdd(1);
      return x.mul(2).add(n.read());
    });
    let x = tn.tensor(1);
    for (let i = 0; i < 3; i++) x = next(x);
    expect(await x.item()).toBe(((1 * 2 + 1) * 2 + 2) * 2 + 3);
    expect(await n.read().item()).toBe(3);
    x = next(x);
    expect(await x.item()).toBe(42);
  });
  it('differentiates through', async () => {
    const f = tn.jit((x: tn.Tensor) => x.square());
    expect(
      await tn
        .grad((x) => f(x).sum())([3])
        .array(),
    ).toEqual([6]);
  });
  it('refuses values that leave a trace', async () => {
    let leaked: tn.Tensor | null = null;
    const f = tn.jit((x: tn.Tensor) => {
      leaked = x.add(1);
      return x;
    });
    await f(tn.tensor(1)).data();
    await expect(leaked!.data()).rejects.toThrow(/being traced/);
  });
});

describe('a first value that cannot be computed', () => {
  it('fails for whoever asks for it, and for nobody else', async () => {
    const impossible = tn.variable(tn.random.uniform([1e6, 1e6, 10]));
    const fine = tn.variable(tn.zeros([2]).add(1));
    expect(Array.from(await tn.tensor([1, 2, 3]).add(1).data())).toEqual([2, 3, 4]);
    expect(Array.from(await fine.data())).toEqual([1, 1]);
    await expect(impossible.data()).rejects.toThrow(/no memory/);
    await expect(impossible.data()).rejects.toThrow(/no memory/);
    expect(Array.from(await fine.read().mul(3).data())).toEqual([3, 3]);
    const step = await tn.compileStep(() => {
      fine.assignAdd(1);
      return { outputs: [fine.read()] };
    }, []);
    expect(Array.from((await step.run())[0])).toEqual([2, 2]);
  });
});
