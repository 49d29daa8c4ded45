/**
 * @file Random data that a model takes: inputs of its shapes and dtypes, ids that its embeddings have, and labels that its losses
 * take. For measuring steps, not for learning.
 */
import { allocate, type DType, isFloat } from '../base/dtype.js';
import { ConfigError } from '../base/errors.js';
import { showShape, size } from '../base/shape.js';
import type { ArrayColumn } from '../data/column.js';
import { CounterRandom } from '../data/random.js';
import type { Layer, PartialShape } from '../layers/layer.js';
import type { SymbolicCall, SymbolicTensor } from '../layers/symbolic.js';
import { getLoss, type LossLike } from '../losses/index.js';
import type { AnyModel } from '../model/model.js';
import type { TensorSpec } from '../tensor/index.js';
import { areClassNumbers } from './labels.js';

/** Shapes and dtypes to use instead of the model's own. */
export interface RandomInputOptions {
  /** Of one example, one shape an input: for models that were never built and for unknown extents. */
  readonly shapes?: readonly (readonly number[])[];
  /** Default: the model's; f32 where it has none. */
  readonly dtype?: DType;
}

interface InputForm {
  readonly spec: TensorSpec;
  /** Whole numbers below this, instead of the dtype's own range. */
  readonly ids: number | null;
}

/**
 * A column of random values for each input, `n` rows each. Throws ConfigError when the model doesn't say its shapes and `shapes`
 * doesn't either.
 */
export function randomInputs(model: AnyModel, n: number, who: string, options: RandomInputOptions = {}): ArrayColumn[] {
  return inputForms(model, n, who, options).map(({ spec, ids }, i) => {
    const random = new CounterRandom(0, 1, i);
    const { dtype } = spec;
    const value = (): number => {
      if (ids !== null) return random.below(ids);
      if (isFloat(dtype)) return random.uniform(0, 1);
      return dtype === 'u8' ? random.below(256) : random.below(2);
    };
    return filled(spec, value);
  });
}

function inputForms(model: AnyModel, n: number, who: string, options: RandomInputOptions): InputForm[] {
  const own = givenInputs(model);
  const shapes = own?.map((t) => t.shape) ?? builtShapes(model);
  const count = shapes?.length ?? options.shapes?.length ?? 0;
  if (options.shapes && options.shapes.length !== count)
    throw new ConfigError(
      `${who}: ${options.shapes.length} input shapes. Expected ${count}: one an input, received ${options.shapes.map(showShape).join(', ')}.`,
    );
  if (count === 0)
    throw new ConfigError(
      `${who}: the model doesn't say what it takes. Expected the shape of one example. Give inputs.shapes (--input-shape of tenon inspect), such as [28, 28, 1], or an inputShape to its first layer.`,
    );
  return Array.from({ length: count }, (_, i) => {
    const sample = options.shapes?.[i] ?? shapes?.[i].slice(1) ?? [];
    const known = sample.filter((d): d is number => d !== null);
    if (known.length !== sample.length)
      throw new ConfigError(
        `${who}: an input has the shape ${showShape(sample)} (? is unknown). Expected known extents. Give the shape of one example.`,
      );
    const dtype = options.dtype ?? own?.[i].dtype ?? 'f32';
    return {
      spec: { shape: [n, ...known], dtype: dtype === 'f16' || dtype === 'bf16' ? 'f32' : dtype },
      ids: idsOf(model, own?.[i], dtype),
    };
  });
}

/** The symbolic inputs of a functional or sequential model. */
function givenInputs(model: AnyModel): readonly SymbolicTensor[] | null {
  const given = model as { readonly inputs?: readonly SymbolicTensor[]; readonly input?: SymbolicTensor | null };
  return given.inputs ?? (given.input ? [given.input] : null);
}
function builtShapes(model: AnyModel): readonly PartialShape[] | null {
  const shape = model.buildShape;
  if (!shape) return null;
  return (Array.isArray(shape[0]) ? shape : [shape]) as readonly PartialShape[];
}

/** How many ids an input may hold: the rows of the embedding behind it, the smallest of all where that isn't known. */
function idsOf(model: AnyModel, input: SymbolicTensor | undefined, dtype: DType): number | null {
  const rows = (l: Layer): number[] =>
    l.className === 'Embedding' && 'inputDim' in l.options ? [Number(l.options.inputDim)] : l.sublayers().flatMap(rows);
  const { calls } = model as { readonly calls?: readonly SymbolicCall[] };
  const readers = calls ? calls.filter((c) => input && c.inputs.includes(input)).map((c) => c.layer) : model.layers.slice(0, 1);
  const direct = readers.flatMap((l) => (l.className === 'Embedding' ? rows(l) : []));
  const all = direct.length > 0 ? direct : isFloat(dtype) || dtype === 'u8' || dtype === 'bool' ? [] : rows(model);
  return all.length > 0 ? Math.min(...all) : null;
}

/** Losses whose targets are a distribution over the last axis, and those that take yes or no. */
const distributions = new Set(['categoricalCrossentropy', 'categoricalFocalCrossentropy', 'categoricalHinge', 'klDivergence']);
const decisions = new Set(['binaryCrossentropy', 'binaryFocalCrossentropy', 'dice', 'tversky', 'hinge', 'squaredHinge']);

/** A column of labels for each output, as its loss takes them; where it says nothing, numbers in [0, 1) of the output's shape. */
export function randomLabels(model: AnyModel, losses: readonly (LossLike | null)[], n: number): ArrayColumn[] {
  return model.outputSpecs().map((output, i) => {
    const random = new CounterRandom(1, 1, i);
    const shape = [n, ...output.shape.slice(1).map((d) => d ?? 1)];
    const classes = shape[shape.length - 1];
    const id = losses[i];
    const name = id === null || id === undefined ? '' : getLoss(id).name;
    const lead = shape.slice(0, -1);
    if (name === 'sparseCategoricalCrossentropy') {
      const width = areClassNumbers(lead, output.shape) ? lead : [...lead, 1];
      return filled({ shape: width, dtype: 'i32' }, () => random.below(Math.max(1, classes)));
    }
    if (distributions.has(name)) {
      const column = filled({ shape, dtype: 'f32' }, () => 0);
      for (let row = 0; row < size(lead); row++) column.data[row * classes + random.below(classes)] = 1;
      return column;
    }
    return filled({ shape, dtype: 'f32' }, decisions.has(name) ? () => random.below(2) : () => random.uniform(0, 1));
  });
}

function filled({ shape, dtype }: TensorSpec, value: () => number): ArrayColumn {
  const data = allocate(dtype, size(shape));
  for (let i = 0; i < data.length; i++) data[i] = value();
  return { data, shape: [...shape], dtype };
}
