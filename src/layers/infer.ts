/** @file What a layer's outputs look like: its `call` traced on stand-ins of two sizes, nothing computed. */
import type { DType } from '../base/dtype.js';
import { ShapeError, TenonError } from '../base/errors.js';
import { showShape } from '../base/shape.js';
import { type Tensor, traceFunction, zeros } from '../tensor/index.js';
import { state } from '../tensor/state.js';
import type { PartialShape } from './symbolic.js';

export interface OutputSpecs {
  readonly specs: readonly { shape: PartialShape; dtype: DType }[];
  readonly returnsList: boolean;
}
type Spec = { readonly shape: PartialShape; readonly dtype: DType };
/** Extents for the unknown: the batch, and other axes (with room for windows and halvings). */
const standIns = [
  { batch: 2, other: 64 },
  { batch: 3, other: 96 },
] as const;

/** Shapes and dtypes of `call`'s results; extents that follow an unknown one are null. */
export function inferOutputs(inputs: readonly Spec[], call: (tensors: Tensor[]) => Tensor | Tensor[]): OutputSpecs {
  let returnsList = false;
  const attempt = (size: (typeof standIns)[number]): Spec[] => {
    const specs = inputs.map((s) => ({ shape: s.shape.map((d, axis) => d ?? (axis === 0 ? size.batch : size.other)), dtype: s.dtype }));
    const run = (tensors: Tensor[]): Tensor[] => {
      const out = call(tensors);
      returnsList = Array.isArray(out);
      return Array.isArray(out) ? out : [out];
    };
    let outputs: Tensor[] = [];
    const keep = (tensors: Tensor[]): Tensor[] => (outputs = run(tensors));
    // Inside a trace a second one can't be opened: lazy zeros, which are never computed, do the same.
    if (state.trace) keep(specs.map((s) => zeros(s.shape, s.dtype)));
    else traceFunction(keep, specs);
    return outputs.map((t) => ({ shape: t.shape, dtype: t.dtype }));
  };
  const isKnown = inputs.every((s) => s.shape.every((d) => d !== null));
  let first: Spec[];
  try {
    first = attempt(standIns[0]);
  } catch (error) {
    if (!isKnown && error instanceof TenonError) hideStandIns(error, () => attempt(standIns[1]));
    throw error;
  }
  if (isKnown) return { specs: first, returnsList };
  const second = attempt(standIns[1]);
  const specs = first.map((a, i) => {
    const b = second[i];
    if (a.shape.length !== b.shape.length)
      throw new ShapeError(
        `the number of output axes depends on an unknown extent of ${inputs.map((s) => showShape(s.shape)).join(', ')}.`,
      );
    return { shape: a.shape.map((d, axis) => (d === b.shape[axis] ? d : null)), dtype: a.dtype };
  });
  return { specs, returnsList };
}

/** Whole numbers that stand alone: extents, not the digits of a name. */
const wholeNumbers = /(?<![\w.])(\d+)(?![\w.]*\w)/;

/** Writes ? for the numbers of the error's text that come out otherwise with other stand-ins: nobody gave those. */
function hideStandIns(error: TenonError, again: () => unknown): void {
  let other: unknown;
  try {
    again();
  } catch (e) {
    other = e;
  }
  if (!(other instanceof TenonError)) return;
  const a = error.message.split(wholeNumbers);
  const b = other.message.split(wholeNumbers);
  // Odd places hold numbers. Other words mean another mistake.
  if (a.length !== b.length || a.some((part, i) => i % 2 === 0 && part !== b[i])) return;
  error.message = a.map((part, i) => (part === b[i] ? part : '?')).join('');
  // An uncaught error is printed by its stack, which quotes the text it was made with.
  const calls = error.stack?.indexOf('\n    at ') ?? -1;
  if (error.stack && calls >= 0) error.stack = `${error.name}: ${error.message}${error.stack.slice(calls)}`;
}
