/** @file Constraints: what a weight is moved to after each update. Norms are taken over `axis`, as in Keras. */
import { ConfigError } from '../base/errors.js';
import { sqrt, type Tensor } from '../tensor/index.js';
import { type Config, type Configurable, deserialize, findClass, isSerialized, registerBuiltins, type Serialized } from './registry.js';

export abstract class Constraint implements Configurable {
  static className = 'Constraint';
  abstract call(w: Tensor): Tensor;
  getConfig(): Config {
    return {};
  }
}
export type ConstraintLike = string | Constraint | Serialized | ((w: Tensor) => Tensor) | null;
type Axis = number | readonly number[];

const EPSILON = 1e-7;
const normOf = (w: Tensor, axis: Axis): Tensor => sqrt(w.square().sum(axis, true));

/** Norm at most maxValue. */
export class MaxNorm extends Constraint {
  static override className = 'MaxNorm';
  readonly maxValue: number;
  readonly axis: Axis;
  constructor(options: { maxValue?: number; axis?: Axis } = {}) {
    super();
    this.maxValue = options.maxValue ?? 2;
    this.axis = options.axis ?? 0;
  }
  call(w: Tensor): Tensor {
    const norm = normOf(w, this.axis);
    return w.mul(norm.clip(0, this.maxValue).div(norm.add(EPSILON)));
  }
  override getConfig(): Config {
    return { maxValue: this.maxValue, axis: typeof this.axis === 'number' ? this.axis : [...this.axis] };
  }
}
/** Norm in [minValue, maxValue], approached by `rate`. */
export class MinMaxNorm extends Constraint {
  static override className = 'MinMaxNorm';
  readonly minValue: number;
  readonly maxValue: number;
  readonly rate: number;
  readonly axis: Axis;
  constructor(options: { minValue?: number; maxValue?: number; rate?: number; axis?: Axis } = {}) {
    super();
    this.minValue = options.minValue ?? 0;
    this.maxValue = options.maxValue ?? 1;
    this.rate = options.rate ?? 1;
    this.axis = options.axis ?? 0;
  }
  call(w: Tensor): Tensor {
    const norm = normOf(w, this.axis);
    const wanted = norm
      .clip(this.minValue, this.maxValue)
      .mul(this.rate)
      .add(norm.mul(1 - this.rate));
    return w.mul(wanted.div(norm.add(EPSILON)));
  }
  override getConfig(): Config {
    return {
      minValue: this.minValue,
      maxValue: this.maxValue,
      rate: this.rate,
      axis: typeof this.axis === 'number' ? this.axis : [...this.axis],
    };
  }
}
/** No negative elements. */
export class NonNeg extends Constraint {
  static override className = 'NonNeg';
  call(w: Tensor): Tensor {
    return w.maximum(0);
  }
}
/** Norm 1. */
export class UnitNorm extends Constraint {
  static override className = 'UnitNorm';
  readonly axis: Axis;
  constructor(options: { axis?: Axis } = {}) {
    super();
    this.axis = options.axis ?? 0;
  }
  call(w: Tensor): Tensor {
    return w.div(normOf(w, this.axis).add(EPSILON));
  }
  override getConfig(): Config {
    return { axis: typeof this.axis === 'number' ? this.axis : [...this.axis] };
  }
}
class FunctionConstraint extends Constraint {
  readonly fn: (w: Tensor) => Tensor;
  constructor(fn: (w: Tensor) => Tensor) {
    super();
    this.fn = fn;
  }
  call(w: Tensor): Tensor {
    return this.fn(w);
  }
  override getConfig(): Config {
    throw new ConfigError("constraint: a function can't be saved. Expected a name or a Constraint. Write a class and call registerClass.");
  }
}
registerBuiltins([MaxNorm, MinMaxNorm, NonNeg, UnitNorm]);

/** The constraint that `id` names or is; null for none. */
export function getConstraint(id: ConstraintLike | undefined): Constraint | null {
  if (id === undefined || id === null) return null;
  if (id instanceof Constraint) return id;
  if (typeof id === 'function') return new FunctionConstraint(id);
  if (isSerialized(id)) {
    const made = deserialize(id, 'constraint');
    if (made instanceof Constraint) return made;
  } else {
    const cls = findClass(id === 'nonNegative' ? 'NonNeg' : id);
    if (cls && cls.prototype instanceof Constraint) return new (cls as unknown as new () => Constraint)();
  }
  throw new ConfigError(
    `constraint: "${isSerialized(id) ? id.className : id}" is not known. Expected maxNorm, minMaxNorm, nonNeg, unitNorm or a Constraint.`,
  );
}
export const constraints = {
  maxNorm: (options?: { maxValue?: number; axis?: Axis }): Constraint => new MaxNorm(options),
  minMaxNorm: (options?: { minValue?: number; maxValue?: number; rate?: number; axis?: Axis }): Constraint => new MinMaxNorm(options),
  nonNeg: (): Constraint => new NonNeg(),
  unitNorm: (options?: { axis?: Axis }): Constraint => new UnitNorm(options),
};
