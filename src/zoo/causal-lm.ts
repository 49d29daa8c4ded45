/**
 * @file CausalLM: what language models share: the table of tokens, blocks of layers, the last norm and the output matrix; how tokens of a
 * call stand to one another (`Sequence`), key/value caches among it. Weights are named as in Hugging Face's files, '/' for '.'.
 */
import type { DType } from '../base/dtype.js';
import { ConfigError, ShapeError } from '../base/errors.js';
import { showShape } from '../base/shape.js';
import { type Embedding, Layer, type Linear } from '../layers/index.js';
import { fileNameOf } from '../layers/names.js';
import { Model } from '../model/model.js';
import {
  arange,
  attention,
  checkpoint,
  fromHost,
  putRows,
  type Tensor,
  type TensorSpec,
  traceFunction,
  type Variable,
  where,
} from '../tensor/index.js';

/**
 * Keys and values of one block for `slots` sequences of up to `capacity` tokens: Variables [heads · slots · capacity, d], head by head, so that
 * what a query reads lies in one piece.
 */
export interface BlockCache {
  readonly keys: Variable;
  readonly values: Variable;
}

/** How the tokens of a call stand to one another. */
export interface Sequence {
  /** i32 [batch, steps]: place in the token's own document, for positions. */
  readonly positions: Tensor;
  /** i32 [batch, steps]: the first key that a token sees, and one past the last. */
  readonly first: Tensor;
  readonly end: Tensor;
  /** Where keys and values are kept, for tokens that come in several calls. */
  readonly cache?: {
    readonly blocks: readonly BlockCache[];
    /** Tokens a slot. */
    readonly capacity: number;
    /** i32 [batch · steps]: the row of the cache that each token's keys and values are written to; −1: none. */
    readonly rows: Tensor;
    /** Whether the batch's rows are the slots, in order; else `first` and `end` count through all slots, and the batch is 1. */
    readonly isBySlot: boolean;
  };
}

/** What every config.json of a causal language model tells, in its names. */
export interface LanguageModelConfig {
  readonly modelType: string;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly maxPositions: number;
  readonly tieEmbeddings: boolean;
  readonly initializerRange: number;
}

export interface LanguageModelOptions {
  /** What is computed in: activations and products (sums in f32). Default f32. */
  dtype?: 'f32' | 'bf16';
  /** What weights of two axes are kept in. Default f32. */
  weightDtype?: Extract<DType, 'f32' | 'bf16' | 'f16'>;
  name?: string;
}

/** A layer of one input and one output. */
export const through = (layer: Layer, x: Tensor): Tensor => layer.apply(x);

/** One block: [batch, steps, hidden] → the same. */
export abstract class Block extends Layer {
  abstract forward(x: Tensor, sequence: Sequence, index: number): Tensor;
  /** Blocks are called by `forward`. */
  override call(): Tensor {
    throw new ConfigError(`${this.label}: it takes a sequence besides its input. Expected forward(x, sequence, index).`);
  }
}

/**
 * Attention of a block over its own keys, or over the cache that they are written to first.
 * q [batch, steps, heads, d], k and v [batch, steps, kvHeads, d] → [batch, steps, heads · d].
 */
export function attend(q: Tensor, k: Tensor, v: Tensor, sequence: Sequence, index: number, window: number | null): Tensor {
  const [b, t, h, d] = q.shape;
  const [, , g] = k.shape;
  const { end, cache } = sequence;
  const first = window === null ? sequence.first : sequence.first.maximum(end.sub(window));
  if (!cache) return attention(q, k, v, { first, end }).reshape([b, t, h * d]);
  const { capacity, rows, isBySlot } = cache;
  const { keys, values } = cache.blocks[index];
  const total = keys.shape[0] / g;
  const ofHeads = arange(0, g * total, total, 'i32').expandDims(1);
  const places = where(rows.less(0), -1, rows.add(ofHeads)).reshape([-1]);
  const kept = (variable: Variable, x: Tensor): Tensor => {
    const rowsOfHeads = x
      .reshape([b * t, g, d])
      .transpose([1, 0, 2])
      .reshape([g * b * t, d]);
    const all = putRows(variable.read(), rowsOfHeads.cast(variable.dtype), places);
    variable.assign(all);
    const slots = isBySlot ? b : 1;
    return all
      .reshape([g, slots, isBySlot ? capacity : total, d])
      .transpose([1, 2, 0, 3])
      .cast(q.dtype);
  };
  return attention(q, kept(keys, k), kept(values, v), { first, end }).reshape([b, t, h * d]);
}

/** Token ids, positions and starts [batch, steps] → logits [batch, steps, vocabulary]. */
export abstract class CausalLM extends Model {
  static override className = 'CausalLM';
  abstract readonly config: LanguageModelConfig;
  /** The config.json it was made from. */
  abstract readonly source: Readonly<Record<string, unknown>>;
  abstract readonly embeddings: Embedding;
  abstract readonly blocks: readonly Block[];
  /** Null where the output matrix is the table of tokens. */
  abstract readonly lmHead: Linear | null;
  readonly computeDtype: 'f32' | 'bf16';
  /** Whether training computes the blocks' activations again in the backward pass instead of keeping them. */
  checkpointBlocks = false;

  constructor(options: LanguageModelOptions) {
    super(options.name === undefined ? {} : { name: options.name });
    this.computeDtype = options.dtype ?? 'f32';
  }

  /** The vectors of the tokens before the first block. */
  protected abstract embed(ids: Tensor, sequence: Sequence): Tensor;
  protected abstract normalize(x: Tensor): Tensor;
  /** The matrix [vocabulary, hidden] that makes logits of the last hidden states. */
  abstract get head(): Tensor;

  /** Hidden states after the last norm: ids i32 [batch, steps] → [batch, steps, hidden]. */
  hidden(ids: Tensor, sequence: Sequence): Tensor {
    let x = this.embed(ids, sequence).cast(this.computeDtype);
    this.blocks.forEach((block, i) => {
      const forward = (y: Tensor): Tensor => block.forward(y, sequence, i);
      x = this.checkpointBlocks ? checkpoint(forward)(x) : forward(x);
    });
    return this.normalize(x);
  }
  /** Logits, f32, of hidden states [..., hidden]. */
  logits(hidden: Tensor): Tensor {
    const { head } = this;
    return hidden.matmul((head.dtype === hidden.dtype ? head : head.cast(hidden.dtype)).transpose()).cast('f32');
  }

  override get task(): string {
    return 'CAUSAL_LM';
  }
  override get outputLayers(): readonly Layer[] {
    return [this.lmHead ?? this.embeddings];
  }
  override build(inputShape: readonly number[]): void {
    // Shapes come from the config: the weights are made by a call on stand-ins, whatever the data will be. Traced, so that nothing is computed:
    // who reads a file wants no initial values.
    traceFunction(([ids]) => [this.hidden(ids, causalSequence(ids))], [{ shape: [1, 2], dtype: 'i32' }]);
    this.buildShape ??= inputShape;
    this.built = true;
  }
  protected override checkInputs(inputs: readonly TensorSpec[], who: string): void {
    const [ids] = inputs;
    if (ids?.shape.length !== 2)
      throw new ShapeError(
        `${who}: input ${ids ? showShape(ids.shape) : 'missing'}. Expected token ids [batch, steps], then positions and starts.`,
      );
  }
  override call(inputs: Tensor | Tensor[]): Tensor {
    const [ids, positions, starts] = Array.isArray(inputs) ? inputs : [inputs];
    return this.logits(this.hidden(ids.cast('i32'), causalSequence(ids, positions, starts)));
  }
}

/** Tokens that see what came before them in their own document. Positions and starts default to those of one document a row. */
export function causalSequence(ids: Tensor, positions?: Tensor, starts?: Tensor): Sequence {
  if (ids.rank !== 2) throw new ShapeError(`language model: ids ${showShape(ids.shape)}. Expected [batch, steps].`);
  const [b, t] = ids.shape;
  const along = fromHost(
    Int32Array.from({ length: b * t }, (_, i) => i % t),
    [b, t],
    'i32',
  );
  return { positions: positions ?? along, first: starts ?? along.mul(0), end: along.add(1) };
}

/** The Variable's name in files. */
export const fileName = (v: Variable): string => fileNameOf(v.name);
