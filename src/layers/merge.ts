/** @file Layers of several inputs: sums, products, extremes, concatenation, dot products. Masks merge as in Keras. */
import { ConfigError, quote, ShapeError } from '../base/errors.js';
import { normalizeAxis, showShape } from '../base/shape.js';
import { concatenate, einsum, onesLike, type Tensor } from '../tensor/index.js';
import { Layer, type LayerOptions, type PartialShape } from './layer.js';
import { withDefaults } from './options.js';

/** The shapes of a list of inputs. Throws ConfigError for a single tensor. */
function shapesOf(
  layer: Layer,
  inputShape: PartialShape | readonly PartialShape[],
  least: number,
  most = Number.POSITIVE_INFINITY,
): readonly PartialShape[] {
  const isList = Array.isArray(inputShape[0]);
  const count = isList ? inputShape.length : 1;
  if (!isList || count < least || count > most) {
    const wanted = least === most ? `a list of ${least}` : `a list of at least ${least}`;
    throw new ConfigError(
      `${layer.label}: it was given ${isList ? `${count} inputs` : 'one tensor'}. Expected ${wanted} tensors. Call apply([a, b]).`,
    );
  }
  return inputShape as readonly PartialShape[];
}

abstract class Merge extends Layer {
  override supportsMasking = true;
  protected get most(): number {
    return Number.POSITIVE_INFINITY;
  }
  override build(inputShape: readonly PartialShape[]): void {
    const shapes = shapesOf(this, inputShape, this.most === 2 ? 2 : 1, this.most);
    const fits = (a: number | null | undefined, b: number | null | undefined): boolean =>
      a === b || a === null || b === null || a === undefined || b === undefined || a === 1 || b === 1;
    for (const other of shapes.slice(1))
      for (let i = 1; i < Math.min(shapes[0].length, other.length); i++)
        if (!fits(shapes[0].at(-i), other.at(-i)))
          throw new ShapeError(
            `${this.label}: inputs ${shapes.map(showShape).join(' and ')} do not fit. Expected equal extents, or 1, on each axis. Use concatenate() to join features.`,
          );
    super.build(inputShape);
  }
  protected abstract merge(xs: Tensor[]): Tensor;
  override call(inputs: Tensor[]): Tensor {
    const rank = Math.max(...inputs.map((x) => x.rank));
    // Keras gives lower ranks new axes after the batch.
    return this.merge(inputs.map((x) => x.reshape([x.shape[0], ...new Array<number>(rank - x.rank).fill(1), ...x.shape.slice(1)])));
  }
  override computeMask(_inputs: Tensor | Tensor[], _mask: Tensor | null, masks: readonly (Tensor | null)[]): Tensor | null {
    return masks.reduce<Tensor | null>((all, m) => (all && m ? all.logicalOr(m) : null), masks[0]);
  }
}
/** a + b + … */
export class Add extends Merge {
  static override className = 'Add';
  protected merge(xs: Tensor[]): Tensor {
    return xs.reduce((a, b) => a.add(b));
  }
}
/** a − b. */
export class Subtract extends Merge {
  static override className = 'Subtract';
  protected override get most(): number {
    return 2;
  }
  protected merge([a, b]: Tensor[]): Tensor {
    return a.sub(b);
  }
}
/** a · b · …, elementwise. */
export class Multiply extends Merge {
  static override className = 'Multiply';
  protected merge(xs: Tensor[]): Tensor {
    return xs.reduce((a, b) => a.mul(b));
  }
}
/** (a + b + …) / count. */
export class Average extends Merge {
  static override className = 'Average';
  protected merge(xs: Tensor[]): Tensor {
    return xs.reduce((a, b) => a.add(b)).mul(1 / xs.length);
  }
}
/** The larger, elementwise. */
export class Maximum extends Merge {
  static override className = 'Maximum';
  protected merge(xs: Tensor[]): Tensor {
    return xs.reduce((a, b) => a.maximum(b));
  }
}
/** The smaller, elementwise. */
export class Minimum extends Merge {
  static override className = 'Minimum';
  protected merge(xs: Tensor[]): Tensor {
    return xs.reduce((a, b) => a.minimum(b));
  }
}

export interface ConcatenateOptions extends LayerOptions {
  /** Default −1. */
  axis?: number;
}
/** The inputs one after the other along `axis`. */
export class Concatenate extends Layer<ConcatenateOptions & { axis: number }> {
  static override className = 'Concatenate';
  override supportsMasking = true;
  constructor(options?: ConcatenateOptions) {
    super(withDefaults(options, { axis: -1 }));
  }
  override build(inputShape: readonly PartialShape[]): void {
    const shapes = shapesOf(this, inputShape, 1);
    const [first] = shapes;
    const axis = normalizeAxis(this.options.axis, first.length, this.label);
    for (const s of shapes)
      if (s.length !== first.length || s.some((d, i) => i !== axis && d !== first[i] && d !== null && first[i] !== null))
        throw new ShapeError(
          `${this.label}: inputs ${shapes.map(showShape).join(' and ')} do not fit. Expected equal extents on every axis but ${this.options.axis}.`,
        );
    super.build(inputShape);
  }
  override call(inputs: Tensor[]): Tensor {
    return concatenate(inputs, this.options.axis);
  }
  override computeMask(inputs: Tensor[], _mask: Tensor | null, masks: readonly (Tensor | null)[]): Tensor | null {
    if (masks.every((m) => m === null)) return null;
    const axis = normalizeAxis(this.options.axis, inputs[0].rank, this.label);
    const wide = inputs.map((x, i) => {
      const m = masks[i];
      if (!m) return onesLike(x, 'bool');
      return m
        .cast('bool')
        .reshape([...m.shape, ...new Array<number>(x.rank - m.rank).fill(1)])
        .broadcastTo(x.shape);
    });
    return concatenate(wide, axis).all(-1);
  }
}

export interface DotOptions extends LayerOptions {
  /** One axis for both inputs or one each; the batch is 0. */
  axes: number | readonly [number, number];
  /** Cosine similarity: both inputs scaled to norm 1. */
  normalize?: boolean;
}
/** Sums of products over one axis of two inputs, a sample at a time. */
export class Dot extends Layer<DotOptions & { normalize: boolean }> {
  static override className = 'Dot';
  constructor(options: DotOptions) {
    super(withDefaults(options, { normalize: false }));
    const axes = [options.axes].flat();
    if (axes.length < 1 || axes.length > 2 || axes.some((a) => !Number.isInteger(a) || a === 0))
      throw new ConfigError(
        `${this.label}: axes is ${options.axes === undefined ? 'missing' : quote(options.axes)}. Expected one or two whole numbers, not the batch (0).`,
      );
  }
  #axes(shapes: readonly PartialShape[]): [number, number] {
    const [first, second = first] = [this.options.axes].flat();
    return [normalizeAxis(first, shapes[0].length, this.label), normalizeAxis(second, shapes[1].length, this.label)];
  }
  override build(inputShape: readonly PartialShape[]): void {
    const shapes = shapesOf(this, inputShape, 2, 2);
    const [i, j] = this.#axes(shapes);
    const [a, b] = [shapes[0][i], shapes[1][j]];
    if (a !== b && a !== null && b !== null)
      throw new ShapeError(
        `${this.label}: inputs ${shapes.map(showShape).join(' and ')} differ on axes ${i} and ${j}. Expected equal extents.`,
      );
    super.build(inputShape);
  }
  override call([x, y]: Tensor[]): Tensor {
    const [i, j] = this.#axes([x.shape, y.shape]);
    const [a, b] = this.options.normalize ? [x.l2Normalize(i), y.l2Normalize(j)] : [x, y];
    // Letters: a for the batch, z for the summed axis.
    const name = (rank: number, at: number, first: string): string[] =>
      Array.from({ length: rank }, (_, k) => (k === 0 ? 'a' : k === at ? 'z' : String.fromCharCode(first.charCodeAt(0) + k)));
    const left = name(a.rank, i, 'b');
    const right = name(b.rank, j, 'm');
    const rest = [...left, ...right].filter((c) => c !== 'a' && c !== 'z');
    const out = einsum(`${left.join('')},${right.join('')}->a${rest.join('')}`, a, b);
    return out.rank === 1 ? out.expandDims(1) : out;
  }
}
