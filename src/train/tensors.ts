/** @file Variables as named host tensors and back: what files and checkpoints hold. */
import { encode } from '../base/dtype.js';
import { FormatError } from '../base/errors.js';
import { sameShape, showShape } from '../base/shape.js';
import type { TensorData, TensorMap } from '../io/safetensors.js';
import { type Variable, wrap } from '../tensor/index.js';

/** A name each, in their order; those that are taken get "#1", "#2" … appended. */
export function namesOf(variables: readonly Variable[]): string[] {
  const used = new Map<string, number>();
  return variables.map((v) => {
    const n = used.get(v.name) ?? 0;
    used.set(v.name, n + 1);
    return n === 0 ? v.name : `${v.name}#${n}`;
  });
}

/** The values now, in storage form. Taken at once: what happens afterwards doesn't show. */
export async function snapshot(variables: readonly Variable[]): Promise<TensorMap> {
  const names = namesOf(variables);
  const values = await Promise.all(variables.map((v) => v.read()).map((t) => t.data()));
  return new Map(
    variables.map((v, i): [string, TensorData] => {
      const data = values[i];
      if (v.dtype !== 'f16' && v.dtype !== 'bf16') return [names[i], { dtype: v.dtype, shape: v.shape, data: data.slice() }];
      const dtype = v.dtype;
      return [names[i], { dtype, shape: v.shape, data: Uint16Array.from(data, (x) => encode(dtype, x)) }];
    }),
  );
}

/** What of `tensors` doesn't fit `variables`, one line each: missing, extra, misshaped. */
export function misfits(tensors: TensorMap, variables: readonly Variable[]): string[] {
  const names = namesOf(variables);
  const lines: string[] = [];
  variables.forEach((v, i) => {
    const t = tensors.get(names[i]);
    if (!t) lines.push(`missing ${names[i]} ${showShape(v.shape)}`);
    else if (!sameShape(t.shape, v.shape)) lines.push(`${names[i]} has shape ${showShape(t.shape)}, expected ${showShape(v.shape)}`);
  });
  const known = new Set(names);
  for (const [name, t] of tensors) if (!known.has(name)) lines.push(`extra ${name} ${showShape(t.shape)}`);
  return lines;
}

/** Throws FormatError that lists what doesn't fit. */
export function requireFit(tensors: TensorMap, variables: readonly Variable[], who: string): void {
  const lines = misfits(tensors, variables);
  if (lines.length > 0)
    throw new FormatError(
      `${who}: ${lines.length} of its tensors do not fit. Expected those of this model. ${lines.slice(0, 12).join('; ')}${lines.length > 12 ? '; …' : ''}.`,
    );
}

/** Overwrites the Variables, or none of them: throws FormatError that lists what doesn't fit. */
export function restore(tensors: TensorMap, variables: readonly Variable[], who: string): void {
  requireFit(tensors, variables, who);
  const names = namesOf(variables);
  variables.forEach((v, i) => {
    const t = tensors.get(names[i]);
    if (t) v.assign(wrap(t.data.slice(), v.shape, t.dtype));
  });
}
