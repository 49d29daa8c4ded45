/**
 * @file Metric: a number about many batches, gathered in accumulator Variables, so that a compiled step updates it and
 * nothing crosses to the host until the result is asked for. Mean and Sum are here, the families beside.
 */
import { ShapeError } from '../base/errors.js';
import { showShape } from '../base/shape.js';
import { asFloat, type Config } from '../losses/loss.js';
import { type Shape, type Tensor, type TensorLike, tensor, type Variable, variable, where, zeros } from '../tensor/index.js';

/** The extents of an output; null where unknown (the batch). */
export type PartialShape = readonly (number | null)[];

export abstract class Metric {
  readonly name: string;
  readonly #variables: Variable[] = [];
  #isBuilt = false;

  constructor(name: string) {
    this.name = name;
  }

  /** The accumulators, in order of creation. */
  get variables(): readonly Variable[] {
    return this.#variables;
  }
  get isBuilt(): boolean {
    return this.#isBuilt;
  }
  /** The name of the class in configs, as in `metrics`. */
  abstract get className(): string;

  /** Makes the accumulators for outputs of that shape [batch, …]; once. `update` does it when nobody did. */
  build(outputShape: PartialShape): void {
    if (this.#isBuilt) return;
    this.#isBuilt = true;
    this.create(outputShape);
  }
  /** Makes the accumulators that depend on the output's shape. */
  protected create(_outputShape: PartialShape): void {}
  /** A new accumulator of zeros. */
  protected accumulator(name: string, shape: Shape = [], dtype: 'f32' | 'i32' = 'f32'): Variable {
    const v = variable(zeros(shape, dtype), { name: `${this.name}/${name}`, trainable: false });
    this.#variables.push(v);
    return v;
  }

  /** Takes a batch in: labels, outputs [batch, …], weights [batch] or of the values' shape. Traceable: it assigns Variables. */
  update(yTrue: TensorLike, yPred: TensorLike, sampleWeight?: TensorLike): void {
    const [t, p] = [tensor(yTrue), tensor(yPred)];
    this.build(p.shape);
    this.gather(t, p, sampleWeight === undefined ? undefined : asFloat(tensor(sampleWeight)));
  }
  protected abstract gather(yTrue: Tensor, yPred: Tensor, sampleWeight?: Tensor): void;
  /** The metric of everything since the last reset, traced or eager. */
  abstract result(): Tensor;
  /** Forgets everything. */
  reset(): void {
    for (const v of this.#variables) v.assign(zeros(v.shape, v.dtype));
  }
  getConfig(): Config {
    return { name: this.name };
  }
}

/** a / b, 0 where b is 0. */
export function safeDivide(a: Tensor, b: Tensor): Tensor {
  const isZero = b.equal(0);
  return where(isZero, 0, a.div(where(isZero, 1, b)));
}

/**
 * Weights as the values' shape: [batch], [batch, 1] or a prefix of the values' axes is spread over the rest.
 * Throws ShapeError when they don't fit.
 */
export function spreadWeight(who: string, weight: Tensor, values: Tensor): Tensor {
  let w = weight;
  if (w.rank === values.rank + 1 && w.shape[w.rank - 1] === 1) w = w.squeeze(-1);
  while (w.rank < values.rank) w = w.expandDims(-1);
  if (w.rank > values.rank || w.shape.some((d, i) => d !== 1 && d !== values.shape[i]))
    throw new ShapeError(
      `${who}: sample weights ${showShape(weight.shape)} do not fit values ${showShape(values.shape)}. Expected ${showShape(values.shape.slice(0, 1))} or ${showShape(values.shape)}, received ${showShape(weight.shape)}.`,
    );
  return w.broadcastTo(values.shape);
}

/** What streaming means share: a weighted total and the weights' sum. */
export abstract class Averaging extends Metric {
  protected readonly total: Variable = this.accumulator('total');
  protected readonly count: Variable = this.accumulator('count');

  /** Adds values of any shape. */
  protected add(values: Tensor, sampleWeight?: Tensor): void {
    const v = asFloat(values);
    if (sampleWeight === undefined) {
      this.total.assignAdd(v.sum());
      this.count.assignAdd(v.size);
      return;
    }
    const w = spreadWeight(this.name, sampleWeight, v);
    this.total.assignAdd(v.mul(w).sum());
    this.count.assignAdd(w.sum());
  }
  result(): Tensor {
    return safeDivide(this.total.read(), this.count.read());
  }
}

/** The mean of given values: the tracker of a loss. `update(values, weight)`. */
export class Mean extends Averaging {
  constructor(options: { name?: string } = {}) {
    super(options.name ?? 'mean');
  }
  get className(): string {
    return 'mean';
  }
  /** Adds values of any shape, each counting `weight` times. */
  override update(values: TensorLike, weight?: TensorLike): void {
    this.add(tensor(values), weight === undefined ? undefined : asFloat(tensor(weight)));
  }
  protected override gather(): void {}
}

/** The sum of given values. `update(values, weight)`. */
export class Sum extends Metric {
  readonly #total = this.accumulator('total');
  constructor(options: { name?: string } = {}) {
    super(options.name ?? 'sum');
  }
  get className(): string {
    return 'sum';
  }
  override update(values: TensorLike, weight?: TensorLike): void {
    const v = asFloat(tensor(values));
    this.#total.assignAdd((weight === undefined ? v : v.mul(spreadWeight(this.name, asFloat(tensor(weight)), v))).sum());
  }
  protected override gather(): void {}
  result(): Tensor {
    return this.#total.read();
  }
}

/** The mean of a function of labels and outputs, which gives [batch, …]. */
export class MeanOf extends Averaging {
  readonly #id: string;
  readonly #fn: (yTrue: Tensor, yPred: Tensor) => Tensor;
  readonly #config: Config;
  readonly #finish: ((mean: Tensor) => Tensor) | null;

  constructor(
    id: string,
    fn: (yTrue: Tensor, yPred: Tensor) => Tensor,
    options: { name?: string; config?: Config; finish?: (mean: Tensor) => Tensor } = {},
  ) {
    super(options.name ?? id);
    this.#id = id;
    this.#fn = fn;
    this.#config = options.config ?? {};
    this.#finish = options.finish ?? null;
  }
  get className(): string {
    return this.#id;
  }
  protected override gather(yTrue: Tensor, yPred: Tensor, sampleWeight?: Tensor): void {
    this.add(this.#fn(yTrue, yPred), sampleWeight);
  }
  override result(): Tensor {
    const mean = super.result();
    return this.#finish ? this.#finish(mean) : mean;
  }
  override getConfig(): Config {
    return { name: this.name, ...this.#config };
  }
}
