/** @file Penalties on weights and activities: l1, l2, both, and orthogonality, with Keras's defaults. */
import { ConfigError, ShapeError } from '../base/errors.js';
import { showShape } from '../base/shape.js';
import { eye, type Tensor } from '../tensor/index.js';
import { type Config, type Configurable, deserialize, findClass, isSerialized, registerBuiltins, type Serialized } from './registry.js';

/** A scalar penalty of a weight. */
export abstract class Regularizer implements Configurable {
  static className = 'Regularizer';
  abstract call(x: Tensor): Tensor;
  abstract getConfig(): Config;
}
export type RegularizerLike = string | Regularizer | Serialized | ((x: Tensor) => Tensor) | null;

/** l1·Σ|x| + l2·Σx². */
export class L1L2 extends Regularizer {
  static override className = 'L1L2';
  readonly l1: number;
  readonly l2: number;
  constructor(options: { l1?: number; l2?: number } = {}) {
    super();
    this.l1 = options.l1 ?? 0;
    this.l2 = options.l2 ?? 0;
    if (!(this.l1 >= 0 && this.l2 >= 0)) throw new ConfigError(`regularizer: l1 ${this.l1}, l2 ${this.l2}. Expected numbers ≥ 0.`);
  }
  call(x: Tensor): Tensor {
    const one = this.l1 > 0 ? x.abs().sum().mul(this.l1) : null;
    const two = this.l2 > 0 ? x.square().sum().mul(this.l2) : null;
    return one && two ? one.add(two) : (one ?? two ?? x.sum().mul(0));
  }
  getConfig(): Config {
    return { l1: this.l1, l2: this.l2 };
  }
}
export class L1 extends L1L2 {
  static override className = 'L1';
  constructor(options: { l1?: number } | number = {}) {
    super({ l1: typeof options === 'number' ? options : (options.l1 ?? 0.01) });
  }
  override getConfig(): Config {
    return { l1: this.l1 };
  }
}
export class L2 extends L1L2 {
  static override className = 'L2';
  constructor(options: { l2?: number } | number = {}) {
    super({ l2: typeof options === 'number' ? options : (options.l2 ?? 0.01) });
  }
  override getConfig(): Config {
    return { l2: this.l2 };
  }
}
/** Pushes the rows (or columns) of a matrix towards orthogonality: factor · mean |cosine| of the pairs. */
export class OrthogonalRegularizer extends Regularizer {
  static override className = 'OrthogonalRegularizer';
  readonly factor: number;
  readonly mode: 'rows' | 'columns';
  constructor(options: { factor?: number; mode?: 'rows' | 'columns' } = {}) {
    super();
    this.factor = options.factor ?? 0.01;
    this.mode = options.mode ?? 'rows';
    if (this.mode !== 'rows' && this.mode !== 'columns')
      throw new ConfigError(`OrthogonalRegularizer: mode "${String(this.mode)}". Expected rows or columns.`);
  }
  call(x: Tensor): Tensor {
    if (x.rank !== 2)
      throw new ShapeError(`OrthogonalRegularizer: weight ${showShape(x.shape)}. Expected a matrix. Use l2 for other weights.`);
    const rows = (this.mode === 'rows' ? x : x.transpose()).l2Normalize(1);
    const n = rows.shape[0];
    const products = rows.matmul(rows.transpose()).mul(eye(n).neg().add(1));
    const pairs = (n * (n - 1)) / 2;
    return products
      .abs()
      .sum()
      .mul((0.5 * this.factor) / Math.max(1, pairs));
  }
  getConfig(): Config {
    return { factor: this.factor, mode: this.mode };
  }
}
class FunctionRegularizer extends Regularizer {
  readonly fn: (x: Tensor) => Tensor;
  constructor(fn: (x: Tensor) => Tensor) {
    super();
    this.fn = fn;
  }
  call(x: Tensor): Tensor {
    return this.fn(x);
  }
  getConfig(): Config {
    throw new ConfigError(
      "regularizer: a function can't be saved. Expected a name or a Regularizer. Write a class and call registerClass.",
    );
  }
}
registerBuiltins([L1, L2, L1L2, OrthogonalRegularizer]);

/** The regularizer that `id` names or is; null for none. Keras's strings: 'l1' and 'l2' are 0.01, 'l1l2' both. */
export function getRegularizer(id: RegularizerLike | undefined): Regularizer | null {
  if (id === undefined || id === null) return null;
  if (id instanceof Regularizer) return id;
  if (typeof id === 'function') return new FunctionRegularizer(id);
  if (isSerialized(id)) {
    const made = deserialize(id, 'regularizer');
    if (made instanceof Regularizer) return made;
  } else if (id.replaceAll('_', '').toLowerCase() === 'l1l2') return new L1L2({ l1: 0.01, l2: 0.01 });
  else {
    const cls = findClass(id === 'orthogonal' ? 'OrthogonalRegularizer' : id);
    if (cls && cls.prototype instanceof Regularizer) return new (cls as unknown as new () => Regularizer)();
  }
  throw new ConfigError(
    `regularizer: "${isSerialized(id) ? id.className : id}" is not known. Expected l1, l2, l1l2, orthogonal or a Regularizer.`,
  );
}
export const regularizers = {
  l1: (options?: { l1?: number } | number): Regularizer => new L1(options),
  l2: (options?: { l2?: number } | number): Regularizer => new L2(options),
  /** Without arguments both are 0.01, as in Keras. */
  l1l2: (options?: { l1?: number; l2?: number }): Regularizer => new L1L2(options ?? { l1: 0.01, l2: 0.01 }),
  orthogonal: (options?: { factor?: number; mode?: 'rows' | 'columns' }): Regularizer => new OrthogonalRegularizer(options),
};
