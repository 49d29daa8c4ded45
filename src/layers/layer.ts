/**
 * @file Layer: weights and a function of tensors. `apply` builds on first use, checks inputs, carries masks and names
 * errors; on symbolic tensors it records the functional graph. `call` is plain tensor code, so that it can be traced.
 */
import { type DType, requireDType } from '../base/dtype.js';
import { ConfigError, ShapeError } from '../base/errors.js';
import { type Shape, sameShape, showShape } from '../base/shape.js';
import { isTensor, isVariable, type Tensor, type TensorLike, toTensor, Variable } from '../tensor/index.js';
import { type Constraint, type ConstraintLike, getConstraint } from './constraints.js';
import { inferOutputs, type OutputSpecs } from './infer.js';
import { getInitializer, type InitializerLike } from './initializers.js';
import { naming } from './names.js';
import { checkOptions, partialShape } from './options.js';
import { type Config, type Configurable, classNameOf, type Serialized, serialize, serializeValue } from './registry.js';
import { getRegularizer, type Regularizer, type RegularizerLike } from './regularizers.js';
import { isSymbolic, type PartialShape, type Producer, SymbolicTensor } from './symbolic.js';

export type { PartialShape } from './symbolic.js';

/** What every layer accepts. */
export interface LayerOptions {
  /** Default: the class name in snake case, numbered: "conv2d", "conv2d_1". */
  name?: string;
  /** Default true. */
  trainable?: boolean;
  /** Of the weights; default f32. */
  dtype?: DType;
  /** For the first layer of a Sequential: the shape of one sample. */
  inputShape?: PartialShape;
  /** The same with the batch axis. */
  batchInputShape?: PartialShape;
  batchSize?: number;
  /** A penalty of the output. */
  activityRegularizer?: RegularizerLike;
}
const layerOptionNames: Readonly<Record<keyof LayerOptions, true>> = {
  name: true,
  trainable: true,
  dtype: true,
  inputShape: true,
  batchInputShape: true,
  batchSize: true,
  activityRegularizer: true,
};

/** Arguments of a call besides its inputs. */
export interface CallOptions {
  /** Default: that of the calling layer, else false. */
  training?: boolean;
  /** true where a time step counts: one for the only input, or one an input. Default: the masks that the inputs carry. */
  mask?: Tensor | null | readonly (Tensor | null)[];
  /** Attention layers: true where a query may look at a key; [batch, queries, keys] or with an axis of heads. */
  attentionMask?: TensorLike;
  /** Attention layers: no query looks at later keys. */
  useCausalMask?: boolean;
  /** Attention layers: returns [output, scores]. */
  returnAttentionScores?: boolean;
}
/** What `call` is told. */
export interface CallContext extends Omit<CallOptions, 'mask'> {
  readonly training: boolean;
  /** The mask of the first input. */
  readonly mask?: Tensor | null;
  /** One an input. */
  readonly masks?: readonly (Tensor | null)[];
}

/** What a built layer insists on. */
export interface InputSpec {
  rank?: number;
  minRank?: number;
  /** Extents by axis, negative ones counting from the end. */
  axes?: Readonly<Record<number, number>>;
}

export interface WeightSpec {
  name: string;
  shape: Shape;
  /** Default: the layer's. */
  dtype?: DType;
  /** Default glorotUniform. */
  initializer?: InitializerLike;
  regularizer?: RegularizerLike;
  constraint?: ConstraintLike;
  /** Default true. */
  trainable?: boolean;
}
interface WeightRules {
  readonly regularizer: Regularizer | null;
  readonly constraint: Constraint | null;
}
const rules = new WeakMap<Variable, WeightRules>();
/** The penalty and the constraint that a weight was made with. */
export const weightRules = (variable: Variable): WeightRules => rules.get(variable) ?? { regularizer: null, constraint: null };
/** Moves the weights to where their constraints want them: after an optimizer's update, eagerly or in a trace. */
export function applyConstraints(variables: readonly Variable[]): void {
  for (const v of variables) {
    const { constraint } = weightRules(v);
    if (constraint) v.assign(constraint.call(v.read()));
  }
}

const masks = new WeakMap<Tensor, Tensor>();
/** The mask that a layer's output carries, or null. */
export const maskOf = (x: Tensor): Tensor | null => masks.get(x) ?? null;
/** The same tensor carrying `mask`. */
export function withMask(x: Tensor, mask: Tensor | null): Tensor {
  if (mask) masks.set(x, mask);
  else masks.delete(x);
  return x;
}

/** The layers whose `apply` is running, outermost first. */
const running: { readonly layer: Layer; readonly training: boolean }[] = [];

type Eager = TensorLike | readonly TensorLike[];
type Symbolic = SymbolicTensor | readonly SymbolicTensor[];

export abstract class Layer<O extends LayerOptions = LayerOptions> implements Configurable {
  /** The name in configs and errors; a subclass that doesn't declare one goes by its JavaScript name. */
  static className = 'Layer';
  /**
   * What a class adds to the options of its base; others are refused. A subclass that declares none of its own takes any.
   * @example
   * import { Layer, type LayerOptions, Tensor, tensor } from 'tenon';
   * class Scale extends Layer<LayerOptions & { factor: number }> {
   *   static override optionNames = ['factor'];
   *   override call(x: Tensor): Tensor {
   *     return x.mul(this.options.factor);
   *   }
   * }
   * console.log(await new Scale({ factor: 3 }).apply(tensor([1, 2])).array()); // → [ 3, 6 ]
   */
  static optionNames: readonly string[] = Object.keys(layerOptionNames);
  readonly name: string;
  /** The options with their defaults; what `getConfig` saves. */
  readonly options: O;
  readonly dtype: DType;
  built = false;
  /** The shapes it was built with (batch unknown), or null. */
  buildShape: PartialShape | readonly PartialShape[] | null = null;
  /** What `apply` checks once the layer is built. */
  inputSpec: InputSpec | null = null;
  /** Whether the output keeps the input's mask. */
  supportsMasking = false;
  readonly activityRegularizer: Regularizer | null;
  #trainable: boolean;
  readonly #own: Variable[] = [];
  #callLosses: Tensor[] = [];
  readonly #standingLosses: (() => Tensor)[] = [];

  constructor(options?: O) {
    this.options = options ?? ({} as O);
    this.name = this.options.name ?? naming.next(this.className);
    checkOptions(this);
    this.dtype = requireDType(this.options.dtype ?? 'f32', this.label);
    this.#trainable = this.options.trainable ?? true;
    this.activityRegularizer = getRegularizer(this.options.activityRegularizer);
  }

  get className(): string {
    return classNameOf(this.constructor);
  }
  /** `Dense "dense_1"`: how errors name it. */
  get label(): string {
    return `${this.className} "${this.name}"`;
  }
  /** The batch shape of the first layer's input, when the options give it. */
  get givenInputShape(): PartialShape | null {
    const { batchInputShape, inputShape, batchSize } = this.options;
    if (batchInputShape) return partialShape(this, 'batchInputShape', batchInputShape);
    return inputShape === undefined || inputShape === null ? null : [batchSize ?? null, ...partialShape(this, 'inputShape', inputShape)];
  }

  // ---- for subclasses

  /** Makes the weights. Overrides end with `super.build(inputShape)`. */
  build(inputShape: PartialShape | readonly PartialShape[]): void {
    this.buildShape ??= inputShape;
    this.built = true;
  }
  /** The function itself: pure tensor code, but for Variables assigned. */
  abstract call(inputs: Tensor | Tensor[], context: CallContext): Tensor | Tensor[];
  /** The output's mask. Default: the input's when `supportsMasking`, else none. */
  computeMask(_inputs: Tensor | Tensor[], mask: Tensor | null, _masks: readonly (Tensor | null)[]): Tensor | null {
    return this.supportsMasking ? mask : null;
  }
  /** What this layer adds to the names of weights made inside; models add nothing. */
  get scopeName(): string {
    return this.name;
  }

  /** A weight named `<layer>/<name>`. */
  addWeight(spec: WeightSpec): Variable {
    const dtype = requireDType(spec.dtype ?? this.dtype, `${this.label}: weight "${spec.name}"`);
    const initial = getInitializer(spec.initializer ?? 'glorotUniform').call(spec.shape, dtype);
    if (!sameShape(initial.shape, spec.shape))
      throw new ShapeError(
        `${this.label}: the initializer of "${spec.name}" made shape ${showShape(initial.shape)}. Expected ${showShape(spec.shape)}.`,
      );
    const variable = new Variable(initial, { name: naming.path(this.scopeName, spec.name), trainable: spec.trainable ?? true, dtype });
    rules.set(variable, { regularizer: getRegularizer(spec.regularizer), constraint: getConstraint(spec.constraint) });
    this.#own.push(variable);
    return variable;
  }
  /** Adds to the loss: a tensor inside `call` (for this call), or a function outside of it (for every step). */
  addLoss(loss: Tensor | (() => Tensor)): void {
    const isInCall = running.some((r) => r.layer === this);
    if (typeof loss === 'function' && !isInCall) this.#standingLosses.push(loss);
    else this.#callLosses.push(typeof loss === 'function' ? loss() : loss);
  }

  // ---- weights

  /** Layers found in this one's properties, arrays and plain objects of them included. */
  sublayers(): Layer[] {
    const found: Layer[] = [];
    const seen = new Set<unknown>([this]);
    const walk = (x: unknown): void => {
      if (typeof x !== 'object' || x === null || seen.has(x)) return;
      seen.add(x);
      if (x instanceof Layer) found.push(x);
      // Lists of numbers may be long.
      else if (Array.isArray(x) && typeof x[0] !== 'number') x.forEach(walk);
      else if (Object.getPrototypeOf(x) === Object.prototype) Object.values(x).forEach(walk);
    };
    Object.values(this).forEach(walk);
    return found;
  }
  #ownWeights(): Variable[] {
    return [...this.#own, ...Object.values(this).filter(isVariable)];
  }
  /** Own weights, then those of sublayers; no Variable twice. */
  get weights(): Variable[] {
    return [...new Set([...this.#ownWeights(), ...this.sublayers().flatMap((l) => l.weights)])];
  }
  get trainableWeights(): Variable[] {
    if (!this.#trainable) return [];
    return [...new Set([...this.#ownWeights().filter((v) => v.trainable), ...this.sublayers().flatMap((l) => l.trainableWeights)])];
  }
  get nonTrainableWeights(): Variable[] {
    const trainable = new Set(this.trainableWeights);
    return this.weights.filter((v) => !trainable.has(v));
  }
  get trainable(): boolean {
    return this.#trainable;
  }
  /** Also sets it on all sublayers, as in Keras. */
  set trainable(value: boolean) {
    this.#trainable = value;
    for (const l of this.sublayers()) l.trainable = value;
  }
  getWeights(): Tensor[] {
    return this.weights.map((v) => v.read());
  }
  /** Overwrites all weights, in the order of `weights`. Throws ShapeError before changing any. */
  setWeights(values: readonly TensorLike[]): void {
    const { weights } = this;
    if (values.length !== weights.length)
      throw new ShapeError(
        `${this.label}: setWeights was given ${values.length} arrays. Expected ${weights.length}${this.built ? '' : ' (the layer is not built yet: apply it first)'}.`,
      );
    const tensors = values.map((v) => toTensor(v));
    weights.forEach((w, i) => {
      if (!sameShape(w.shape, tensors[i].shape))
        throw new ShapeError(
          `${this.label}: setWeights of "${w.name}" has the wrong shape. Expected ${showShape(w.shape)}, received ${showShape(tensors[i].shape)}. The order is ${weights.map((v) => v.name).join(', ')}.`,
        );
    });
    weights.forEach((w, i) => void w.assign(tensors[i]));
  }
  /** Number of elements of all weights. Throws ConfigError before the layer is built. */
  countParams(): number {
    if (!this.built && this.weights.length === 0)
      throw new ConfigError(`${this.label}: it has no weights yet. Expected a built layer. Call build(inputShape) or apply it first.`);
    return this.weights.reduce((n, v) => n + v.size, 0);
  }

  // ---- losses

  /** The penalties of the weights with regularizers, now. */
  regularizationLosses(): Tensor[] {
    return this.trainableWeights.flatMap((v) => weightRules(v).regularizer?.call(v.read()) ?? []);
  }
  /** What addLoss and activity regularizers gave during the last call, sublayers included. */
  collectedLosses(): Tensor[] {
    return [...this.#callLosses, ...this.#standingLosses.map((f) => f()), ...this.sublayers().flatMap((l) => l.collectedLosses())];
  }
  /** All of both. */
  get losses(): Tensor[] {
    return [...this.collectedLosses(), ...this.regularizationLosses()];
  }
  /** Forgets the losses of past calls; the outermost `apply` does it by itself. */
  clearLosses(): void {
    this.#callLosses = [];
    for (const l of this.sublayers()) l.clearLosses();
  }

  // ---- configuration

  /** Everything needed to make the layer again: JSON. */
  getConfig(): Config {
    const entries = Object.entries(this.options).map(([k, v]) => [k, serializeValue(v, this.label)] as const);
    return { ...Object.fromEntries(entries.filter(([, v]) => v !== undefined)), name: this.name, trainable: this.#trainable };
  }
  toString(): string {
    return `${this.className}(name=${this.name}, built=${this.built})`;
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  // ---- application

  /** Builds when that hasn't happened yet; the extent of the batch doesn't count. */
  ensureBuilt(shapes: readonly PartialShape[], takesList: boolean): void {
    if (this.built) return;
    const open = shapes.map((s) => (s.length > 0 ? [null, ...s.slice(1)] : s));
    const shape = takesList ? open : open[0];
    naming.within(this.scopeName, () => this.build(shape));
    this.buildShape ??= shape;
    this.built = true;
  }

  /** The output's shape for an input's: null where it depends on an unknown extent. Found by tracing `call`. */
  computeOutputShape(inputShape: PartialShape | readonly PartialShape[]): PartialShape | readonly PartialShape[] {
    const takesList = Array.isArray(inputShape[0]);
    const shapes = (takesList ? inputShape : [inputShape]) as readonly PartialShape[];
    const found = this.#infer(
      shapes.map((shape) => ({ shape, dtype: 'f32' as const })),
      takesList,
      {},
    );
    const out = found.specs.map((s) => s.shape);
    return found.returnsList ? out : out[0];
  }

  /**
   * Applies the layer: to tensors (or arrays) for values, to symbolic tensors for a functional model. A list of tensors
   * stands for several inputs. Layers with several outputs return a list: name it, `apply<Tensor[]>(…)`.
   */
  apply<R extends SymbolicTensor | SymbolicTensor[] = SymbolicTensor>(x: Symbolic, options?: CallOptions): R;
  apply<R extends Tensor | Tensor[] = Tensor>(x: Eager, options?: CallOptions): R;
  apply(x: Symbolic | Eager, options: CallOptions = {}): unknown {
    const takesList = Array.isArray(x) && x.some((v) => isTensor(v) || isVariable(v) || isSymbolic(v) || ArrayBuffer.isView(v));
    const list = (takesList ? x : [x]) as readonly (SymbolicTensor | TensorLike)[];
    return this.#named(() => {
      if (!list.some(isSymbolic)) {
        const tensors = list.map((v) => toTensor(v as TensorLike));
        return this.#applyTensors(tensors, takesList, options);
      }
      const symbols = list.filter(isSymbolic);
      if (symbols.length !== list.length)
        throw new ConfigError(
          `${this.label}: symbolic and real tensors in one call. Expected one kind. Make the real one an input() of the model, or a layer's weight.`,
        );
      return this.#applySymbolic(symbols, takesList, options);
    });
  }

  #applyTensors(tensors: Tensor[], takesList: boolean, options: CallOptions): Tensor | Tensor[] {
    const training = options.training ?? running.at(-1)?.training ?? false;
    this.ensureBuilt(
      tensors.map((t) => t.shape),
      takesList,
    );
    this.#check(tensors.map((t) => t.shape));
    if (running.length === 0) this.clearLosses();
    const inMasks = this.#masksFor(tensors, options.mask);
    running.push({ layer: this, training });
    try {
      const inputs = takesList ? tensors : tensors[0];
      const context = { ...options, training, mask: inMasks[0], masks: inMasks };
      const out = naming.within(this.scopeName, () => this.call(inputs, context));
      for (const t of Array.isArray(out) ? out : [out]) {
        if (this.activityRegularizer) this.addLoss(this.activityRegularizer.call(t));
      }
      if (inMasks.some((m) => m !== null) || this.computeMask !== Layer.prototype.computeMask) {
        const mask = this.computeMask(inputs, inMasks[0], inMasks);
        const first = Array.isArray(out) ? out[0] : out;
        // A layer that hands its input on must not mark the caller's tensor.
        if (mask && !tensors.includes(first)) withMask(first, mask);
      }
      return out;
    } finally {
      running.pop();
    }
  }
  #masksFor(tensors: readonly Tensor[], given: CallOptions['mask']): (Tensor | null)[] {
    if (given === undefined) return tensors.map(maskOf);
    if (given === null || isTensor(given)) return tensors.map((_, i) => (i === 0 ? given : null));
    return tensors.map((_, i) => given[i] ?? null);
  }

  #applySymbolic(inputs: readonly SymbolicTensor[], takesList: boolean, options: CallOptions): SymbolicTensor | SymbolicTensor[] {
    const { specs, returnsList } = this.#infer(inputs, takesList, options);
    const outputs: SymbolicTensor[] = [];
    const call = { layer: this, inputs, takesList, outputs, returnsList, options };
    specs.forEach((spec, outputIndex) => {
      const producer: Producer = { layer: this, inputs, outputIndex, call };
      outputs.push(new SymbolicTensor(spec.shape, spec.dtype, returnsList ? `${this.name}/${outputIndex}` : this.name, producer));
    });
    return returnsList ? outputs : outputs[0];
  }
  #infer(inputs: readonly { shape: PartialShape; dtype: DType }[], takesList: boolean, options: CallOptions): OutputSpecs {
    this.ensureBuilt(
      inputs.map((s) => s.shape),
      takesList,
    );
    this.#check(inputs.map((s) => s.shape));
    if (this.computeOutputShape !== Layer.prototype.computeOutputShape) {
      const shapes = inputs.map((s) => s.shape);
      const out = this.computeOutputShape(takesList ? shapes : shapes[0]);
      const returnsList = Array.isArray(out[0]);
      const list = (returnsList ? out : [out]) as readonly PartialShape[];
      return { specs: list.map((shape) => ({ shape, dtype: this.dtype })), returnsList };
    }
    const outer = running.splice(0, running.length);
    try {
      return inferOutputs(inputs, (tensors) => this.#applyTensors(tensors, takesList, { ...options, training: false }));
    } finally {
      this.clearLosses();
      running.push(...outer);
    }
  }

  #check(shapes: readonly PartialShape[]): void {
    const spec = this.inputSpec;
    const [shape] = shapes;
    if (!spec || !shape) return;
    if (spec.rank !== undefined && shape.length !== spec.rank)
      throw new ShapeError(`${this.label}: input ${showShape(shape)} has ${shape.length} axes. Expected ${spec.rank}, the batch included.`);
    if (spec.minRank !== undefined && shape.length < spec.minRank)
      throw new ShapeError(
        `${this.label}: input ${showShape(shape)} has ${shape.length} axes. Expected at least ${spec.minRank}, the batch included.`,
      );
    for (const [axis, extent] of Object.entries(spec.axes ?? {})) {
      const got = shape.at(Number(axis));
      if (got !== extent && got !== null)
        throw new ShapeError(
          `${this.label}: axis ${axis} of input ${showShape(shape)} is ${got}. Expected ${extent}, which the layer was built for. Make another layer for other data.`,
        );
    }
  }

  /** Runs `f`; its errors say which layer and, inside others, where in the model. */
  #named<T>(f: () => T): T {
    return naming.errorsOf(this.label, this.name, f);
  }
}

/** A layer (or model) as JSON: `{ className, config }`. */
export const serializeLayer = (layer: Layer): Serialized => serialize(layer);
