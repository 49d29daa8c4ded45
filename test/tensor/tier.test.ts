/** @file The eager tier and moves between devices, with an asynchronous device beside the plain one. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Device, Executable } from '../../src/device/device.js';
import { ReferenceDevice } from '../../src/device/reference/reference.js';
import type { Program } from '../../src/kernel/program.js';

const { devices } = vi.hoisted(() => ({ devices: { plain: null as unknown, current: null as unknown } }));
vi.mock('../../src/device/registry.js', () => ({ currentDevice: () => devices.current, plainDevice: () => devices.plain }));

/** Like the plain device, but every step takes turns of the event loop and nothing is synchronous. */
class SlowDevice implements Device {
  readonly name = 'slow';
  compiles = 0;
  runs = 0;
  readonly #inner = new ReferenceDevice();
  readonly target = this.#inner.target;
  #tail: Promise<unknown> = Promise.resolve();
  #queue<T>(work: () => T | Promise<T>): Promise<T> {
    const result = this.#tail.then(() => new Promise((r) => setImmediate(r))).then(work);
    this.#tail = result.catch(() => undefined);
    return result;
  }
  allocate: Device['allocate'] = (...a) => this.#inner.allocate(...a);
  wrap: Device['wrap'] = (...a) => this.#inner.wrap(...a);
  async compile(program: Program): Promise<Executable> {
    this.compiles++;
    await new Promise((r) => setTimeout(r, 5));
    return this.#inner.compile(program);
  }
  run: Device['run'] = (e, x, results) => {
    this.runs++;
    return this.#queue(() => this.#inner.run(e, x, results));
  };
  read: Device['read'] = (b) => this.#queue(() => this.#inner.read(b));
  write: Device['write'] = (b, data) => void this.#queue(() => this.#inner.write(b, data));
  idle = (): Promise<void> => this.#queue(() => undefined);
}

const plain = new ReferenceDevice();
const slow = new SlowDevice();
devices.plain = plain;
devices.current = slow;
const tn = await import('../../src/tensor/index.js');

afterEach(() => {
  devices.current = slow;
});

describe('eager tier', () => {
  it('runs small work on the plain device and large work on the current one', async () => {
    const before = slow.compiles;
    expect(await tn.tensor([1, 2]).add(1).array()).toEqual([2, 3]);
    expect(tn.tensor([1, 2]).add(1).arraySync()).toEqual([2, 3]);
    expect(slow.compiles).toBe(before);
    const big = tn.zeros([600_000]).add(tn.tensor([1]));
    expect((await big.data())[599_999]).toBe(1);
    expect(slow.compiles).toBe(before + 1);
    // Large results go on as arguments of small work.
    expect(await big.get('5:7').array()).toEqual([1, 1]);
    expect(() =>
      tn
        .zeros([600_000])
        .add(tn.tensor([2]))
        .dataSync(),
    ).toThrow(/await t.data/);
  });
  it('promotes small work that is run again and again', async () => {
    const before = [slow.compiles, slow.runs];
    const x = tn.tensor(new Float32Array(50_000));
    for (let i = 0; i < 300; i++) await x.mul(3).add(1).realize();
    await new Promise((r) => setTimeout(r, 20));
    const runs = slow.runs;
    await x.mul(3).add(1).data();
    expect(slow.compiles).toBe(before[0] + 1);
    expect(slow.runs).toBe(runs + 1);
  });
});

describe('an asynchronous device', () => {
  const increment = (w: InstanceType<typeof tn.Variable>) => tn.compileStep(() => ({ outputs: [w.assignAdd([1, 1]).read()] }), []);

  it('keeps old values for those who read them while runs are queued', async () => {
    const w = tn.variable([0, 10]);
    const step = await increment(w);
    const kept = [];
    const runs = [];
    await step.run();
    for (let i = 0; i < 5; i++) {
      kept.push(w.read());
      runs.push(step.run());
    }
    const derived = kept[2].mul(2);
    expect((await Promise.all(runs)).map(([a]) => a[0])).toEqual([2, 3, 4, 5, 6]);
    expect(await Promise.all(kept.map(async (t) => (await t.data())[0]))).toEqual([1, 2, 3, 4, 5]);
    expect(await derived.array()).toEqual([6, 26]);
    expect(await w.array()).toEqual([6, 16]);
  });
  it('moves Variables when the device changes', async () => {
    const w = tn.variable([0, 0]);
    const there = await increment(w);
    await there.run();
    devices.current = plain;
    const here = await increment(w);
    await here.run();
    await there.run();
    await here.run();
    expect(await w.array()).toEqual([4, 4]);
  });
  it('queues jit calls behind what they wait for', async () => {
    const n = tn.variable(0);
    const f = tn.jit((x: InstanceType<typeof tn.Tensor>) => {
      n.assignAdd(1);
      return x.add(n.read());
    });
    const a = f(tn.tensor(10).mul(2));
    const b = f(a);
    const c = f(b);
    expect(await Promise.all([a, b, c].map((t) => t.item()))).toEqual([21, 23, 26]);
    const d = f(c);
    const e = f(d);
    expect(await e.item()).toBe(35);
    expect((await n.data())[0]).toBe(5);
    expect(() => f(e).dataSync()).toThrow(/await t.data/);
  });
  it('runs steps in the order of the calls while the first still waits', async () => {
    const w = tn.variable([0, 0]);
    const step = await increment(w);
    w.assign(tn.zeros([2]).add([5, 6]));
    const results = await Promise.all([step.run(), step.run(), step.run()]);
    expect(results.map(([a]) => a[0])).toEqual([6, 7, 8]);
  });
  it('reports a failing run where the result is awaited', async () => {
    const f = tn.jit((x: InstanceType<typeof tn.Tensor>) => x.add(1));
    const x = await tn.tensor([1]).mul(1.5).realize();
    await f(x).data();
    const run = slow.run;
    slow.run = () => Promise.reject(new Error('lost'));
    try {
      await expect(f(x).data()).rejects.toThrow('lost');
    } finally {
      slow.run = run;
    }
  });
});
