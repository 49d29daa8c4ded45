/**
 * @file Attention with several heads, weights laid out as Keras's: query/kernel [in, heads, keyDim], attention_output/kernel
 * [heads, valueDim, out]. Grouped-query attention shares key and value heads (Ainslie et al. 2023).
 */
import { ConfigError, ShapeError } from '../base/errors.js';
import { showShape } from '../base/shape.js';
import {
  arange,
  attention,
  dotProductAttention,
  einsum,
  full,
  ones,
  RandomState,
  softmax,
  type Tensor,
  toTensor,
  tril,
  type Variable,
  where,
  zeros,
} from '../tensor/index.js';
import * as random from '../tensor/random.js';
import type { ConstraintLike } from './constraints.js';
import type { InitializerLike } from './initializers.js';
import { type CallContext, Layer, type LayerOptions, type PartialShape } from './layer.js';
import { inRange, knownExtent, wholeNumber, withDefaults } from './options.js';
import type { RegularizerLike } from './regularizers.js';

interface AttentionOptions extends LayerOptions {
  /** Of the attention weights, in training. */
  dropout?: number;
  /** Of the dropout: a stream of its own instead of the global one. */
  seed?: number | null;
  useBias?: boolean;
  kernelInitializer?: InitializerLike;
  biasInitializer?: InitializerLike;
  kernelRegularizer?: RegularizerLike;
  biasRegularizer?: RegularizerLike;
  kernelConstraint?: ConstraintLike;
  biasConstraint?: ConstraintLike;
}
export interface MultiHeadAttentionOptions extends AttentionOptions {
  numHeads: number;
  /** Size of each head for query and key. */
  keyDim: number;
  /** Size of each head for value; default keyDim. */
  valueDim?: number | null;
  /** Features of the result; default: the query's. */
  outputShape?: number | null;
}
export interface GroupQueryAttentionOptions extends AttentionOptions {
  headDim: number;
  numQueryHeads: number;
  /** Divides numQueryHeads. */
  numKeyValueHeads: number;
}
const defaults = { dropout: 0, useBias: true, kernelInitializer: 'glorotUniform', biasInitializer: 'zeros' };

/** A learned map with its bias. */
interface Projection {
  readonly kernel: Variable;
  readonly bias: Variable | null;
}
interface Heads {
  readonly query: number;
  readonly keyValue: number;
  readonly keyDim: number;
  readonly valueDim: number;
}

abstract class Attention<O extends AttentionOptions> extends Layer<O & { dropout: number; useBias: boolean }> {
  override supportsMasking = true;
  query!: Projection;
  key!: Projection;
  value!: Projection;
  attentionOutput!: Projection;

  /** Undefined: the global state. A property that checkpoints find. */
  readonly random: RandomState | undefined;

  constructor(options: O & { dropout: number; useBias: boolean }) {
    super(options);
    inRange(this, 'dropout', options.dropout, 0, 1, true);
    this.random = options.seed === undefined || options.seed === null ? undefined : new RandomState(options.seed, this.name);
  }
  protected abstract get heads(): Heads;
  protected abstract get outputDim(): number | null;

  #project(name: string, kernel: readonly number[], bias: readonly number[]): Projection {
    const o = this.options;
    return {
      kernel: this.addWeight({
        name: `${name}/kernel`,
        shape: kernel,
        initializer: o.kernelInitializer,
        regularizer: o.kernelRegularizer,
        constraint: o.kernelConstraint,
      }),
      bias: o.useBias
        ? this.addWeight({
            name: `${name}/bias`,
            shape: bias,
            initializer: o.biasInitializer,
            regularizer: o.biasRegularizer,
            constraint: o.biasConstraint,
          })
        : null,
    };
  }
  override build(inputShape: PartialShape | readonly PartialShape[]): void {
    const list = (Array.isArray(inputShape[0]) ? inputShape : [inputShape]) as readonly PartialShape[];
    if (list.length < 1 || list.length > 3)
      throw new ConfigError(
        `${this.label}: ${list.length} inputs. Expected [query, value] or [query, value, key], or one tensor for self-attention.`,
      );
    const [q, v = q, k = v] = list;
    for (const shape of list)
      if (shape.length !== 3)
        throw new ShapeError(`${this.label}: input ${showShape(shape)} has ${shape.length} axes. Expected 3: [batch, steps, features].`);
    const { query, keyValue, keyDim, valueDim } = this.heads;
    const features = knownExtent(this, q, -1);
    const out = this.outputDim ?? features;
    this.query = this.#project('query', [features, query, keyDim], [query, keyDim]);
    this.key = this.#project('key', [knownExtent(this, k, -1), keyValue, keyDim], [keyValue, keyDim]);
    this.value = this.#project('value', [knownExtent(this, v, -1), keyValue, valueDim], [keyValue, valueDim]);
    this.attentionOutput = this.#project('attention_output', [query, valueDim, out], [out]);
    this.inputSpec = { rank: 3, axes: { [-1]: features } };
    super.build(inputShape);
  }

  override call(inputs: Tensor | Tensor[], context: CallContext): Tensor | Tensor[] {
    const [query, value = query, key = value] = Array.isArray(inputs) ? inputs : [inputs];
    const { heads } = this;
    const split = (x: Tensor, { kernel, bias }: Projection): Tensor => {
      const y = einsum('bsf,fhd->bshd', x, kernel);
      return bias ? y.add(bias) : y;
    };
    const shared = heads.query / heads.keyValue;
    const spread = (x: Tensor): Tensor => (shared === 1 ? x : x.repeat(shared, 2));
    const q = split(query, this.query);
    const [ownK, ownV] = [split(key, this.key), split(value, this.value)];
    const mask = this.#mask(query, value, key, context);
    const { dropout } = this.options;
    const isDropping = context.training && dropout > 0;
    const join = (x: Tensor): Tensor => {
      const y = einsum('bshd,hdf->bsf', x, this.attentionOutput.kernel);
      return this.attentionOutput.bias ? y.add(this.attentionOutput.bias) : y;
    };
    const isCausal = context.useCausalMask === true;
    if (!isDropping && !context.returnAttentionScores && !mask) {
      const [batch, steps] = q.shape;
      const first = zeros([batch, steps], 'i32');
      const end = isCausal ? arange(1, steps + 1, 1, 'i32').broadcastTo([batch, steps]) : full([batch, steps], ownK.shape[1], 'i32');
      return join(attention(q, ownK, ownV, { first, end }));
    }
    const [k, v] = [spread(ownK), spread(ownV)];
    if (!isDropping && !context.returnAttentionScores) return join(dotProductAttention(q, k, v, { ...(mask ? { mask } : {}), isCausal }));
    // The scores themselves are wanted (or thinned out): the same in steps.
    let scores = einsum('bqhd,bkhd->bhqk', q.mul(1 / Math.sqrt(heads.keyDim)), k);
    const hide = (allowed: Tensor): void => {
      scores = where(allowed, scores, -1e30);
    };
    if (mask) hide(mask);
    if (isCausal) hide(tril(ones([query.shape[1], key.shape[1]])).cast('bool'));
    const weights = softmax(scores);
    const used = isDropping ? random.dropout(weights, dropout, { seed: this.random }) : weights;
    const out = join(einsum('bhqk,bkhd->bqhd', used, v));
    return context.returnAttentionScores ? [out, weights] : out;
  }
  /** What the masks of the inputs and the given one allow together: [batch, 1 or heads, queries, keys], or null. */
  #mask(query: Tensor, value: Tensor, key: Tensor, context: CallContext): Tensor | null {
    let allowed: Tensor | null = null;
    const both = (m: Tensor): void => {
      allowed = allowed ? allowed.logicalAnd(m) : m;
    };
    const [qMask, given, kMask] = context.masks ?? [];
    // Self-attention on one tensor has one mask for all three.
    const vMask = value === query ? (given ?? qMask) : given;
    const rows = (m: Tensor): Tensor => m.cast('bool').expandDims(1).expandDims(-1);
    const columns = (m: Tensor): Tensor => m.cast('bool').expandDims(1).expandDims(1);
    if (qMask) both(rows(qMask));
    if (vMask) both(columns(vMask));
    if (kMask && key !== value) both(columns(kMask));
    if (context.attentionMask !== undefined) {
      const m = toTensor(context.attentionMask).cast('bool');
      const fits = [query.shape[1], key.shape[1]];
      if (m.rank < 2 || m.rank > 4 || m.shape.slice(-2).some((d, i) => d !== fits[i] && d !== 1))
        throw new ShapeError(
          `${this.label}: attentionMask ${showShape(m.shape)}. Expected [batch, ${fits[0]}, ${fits[1]}] or [batch, heads, ${fits[0]}, ${fits[1]}].`,
        );
      both(m.rank === 3 ? m.expandDims(1) : m);
    }
    return allowed;
  }
  override computeMask(_inputs: Tensor | Tensor[], mask: Tensor | null): Tensor | null {
    return mask;
  }
}

/** softmax(QKᵀ/√keyDim)V in `numHeads` heads (Vaswani et al. 2017): one tensor, [query, value] or [query, value, key]. */
export class MultiHeadAttention extends Attention<MultiHeadAttentionOptions> {
  static override className = 'MultiHeadAttention';
  constructor(options: MultiHeadAttentionOptions) {
    super(withDefaults(options, defaults));
    wholeNumber(this, 'numHeads', options.numHeads);
    wholeNumber(this, 'keyDim', options.keyDim);
    if (options.valueDim !== undefined && options.valueDim !== null) wholeNumber(this, 'valueDim', options.valueDim);
  }
  protected get heads(): Heads {
    const { numHeads, keyDim, valueDim } = this.options;
    return { query: numHeads, keyValue: numHeads, keyDim, valueDim: valueDim ?? keyDim };
  }
  protected get outputDim(): number | null {
    return this.options.outputShape ?? null;
  }
}

/** Attention whose query heads share fewer key and value heads. */
export class GroupQueryAttention extends Attention<GroupQueryAttentionOptions> {
  static override className = 'GroupQueryAttention';
  constructor(options: GroupQueryAttentionOptions) {
    super(withDefaults(options, defaults));
    wholeNumber(this, 'headDim', options.headDim);
    wholeNumber(this, 'numQueryHeads', options.numQueryHeads);
    wholeNumber(this, 'numKeyValueHeads', options.numKeyValueHeads);
    if (options.numQueryHeads % options.numKeyValueHeads)
      throw new ConfigError(
        `${this.label}: ${options.numQueryHeads} query heads share ${options.numKeyValueHeads} key and value heads. Expected a divisor of ${options.numQueryHeads}.`,
      );
  }
  protected get heads(): Heads {
    const { numQueryHeads, numKeyValueHeads, headDim } = this.options;
    return { query: numQueryHeads, keyValue: numKeyValueHeads, keyDim: headDim, valueDim: headDim };
  }
  protected get outputDim(): number | null {
    return null;
  }
}
