/** @file Variables that steps write: running means of what is reported, and how far training has come. */
import { equal, fromHost, isFinite as isFiniteTensor, logicalAnd, type Tensor, Variable, where } from '../tensor/index.js';

const scalar = (name: string, dtype: 'f32' | 'i32'): Variable =>
  new Variable(fromHost(dtype === 'f32' ? new Float32Array(1) : new Int32Array(1), [], dtype), { name, dtype, trainable: false });
const clear = (v: Variable): Variable => v.set(v.dtype === 'f32' ? new Float32Array(1) : new Int32Array(1));

/** Named means, weighted by number of examples. */
export class Means {
  readonly #entries = new Map<string, { sum: Variable; weight: Variable }>();

  get names(): string[] {
    return [...this.#entries.keys()];
  }
  get variables(): Variable[] {
    return [...this.#entries.values()].flatMap((e) => [e.sum, e.weight]);
  }
  /** Traced: adds `sum` over `weight` examples, when `ok`. */
  add(name: string, sum: Tensor, weight: Tensor, ok: Tensor | null): void {
    const entry = this.entry(name);
    const add = (v: Variable, x: Tensor): void => {
      const next = v.read().add(x.cast('f32'));
      v.assign(ok ? where(ok, next, v.read()) : next);
    };
    add(entry.sum, sum.reshape([]));
    add(entry.weight, weight.reshape([]));
  }
  /** Traced or eager: the mean so far; 0 before the first. */
  result(name: string): Tensor {
    const { sum, weight } = this.entry(name);
    return sum.read().div(weight.read().maximum(1e-12));
  }
  entry(name: string): { sum: Variable; weight: Variable } {
    let entry = this.#entries.get(name);
    if (!entry) {
      entry = { sum: scalar(`means/${name}/sum`, 'f32'), weight: scalar(`means/${name}/weight`, 'f32') };
      this.#entries.set(name, entry);
    }
    return entry;
  }
  reset(): void {
    for (const v of this.variables) clear(v);
  }
}

/** Steps done, and whether one had a loss that is no number: from there on nothing changes any more. */
export class Progress {
  readonly steps: Variable = scalar('progress/steps', 'i32');
  readonly failed: Variable = scalar('progress/failed', 'i32');
  /** The loss of the last step; of the failed one after a failure. */
  readonly lastLoss: Variable = scalar('progress/last_loss', 'f32');

  /** Traced: whether this step may change anything. */
  allow(loss: Tensor): Tensor {
    const open = equal(this.failed.read(), 0);
    const ok = logicalAnd(open, isFiniteTensor(loss.reshape([])));
    this.lastLoss.assign(where(open, loss.reshape([]).cast('f32'), this.lastLoss.read()));
    this.steps.assign(this.steps.read().add(ok.cast('i32')));
    this.failed.assign(where(ok, this.failed.read(), 1));
    return ok;
  }
  /** Forgets a failure and counts on from `step`. */
  begin(step: number): void {
    clear(this.failed);
    this.steps.set(Int32Array.of(step));
  }
  get variables(): Variable[] {
    return [this.steps, this.failed, this.lastLoss];
  }
}

/** Traced: runs `work`; where `ok` (made by `work`) is false at run time, `variables` keep their values. */
export function guarded(variables: readonly Variable[], work: () => Tensor): Tensor {
  const before = variables.map((v) => v.read());
  const ok = work();
  variables.forEach((v, i) => {
    const after = v.read();
    if (after.node !== before[i].node) v.assign(where(ok, after, before[i]));
  });
  return ok;
}
