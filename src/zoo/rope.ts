/** @file Frequencies of rotary positions: Llama's, and how Llama 3 and others stretch them for longer contexts. */
import { z } from 'zod';
import { FormatError } from '../base/errors.js';
import { count, optional, positive } from './config.js';

export const ropeScaling = z.object({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: positive.optional(),
  factor: positive.optional(),
  low_freq_factor: optional(positive, 1),
  high_freq_factor: optional(positive, 4),
  original_max_position_embeddings: optional(count, 8192),
});
export type RopeScaling = z.output<typeof ropeScaling>;

/**
 * Angle a position of each pair of features: theta^(−2i/d), i < d/2, stretched as `scaling` says (transformers'
 * modeling_rope_utils). Throws FormatError for a kind of scaling that isn't known.
 */
export function ropeFrequencies(d: number, theta: number, scaling: RopeScaling | null, who: string): Float32Array {
  const base = Float32Array.from({ length: d / 2 }, (_, i) => theta ** ((-2 * i) / d));
  const kind = scaling?.rope_type ?? scaling?.type ?? 'default';
  if (!scaling || kind === 'default') return base;
  const { factor } = scaling;
  if (factor === undefined || (kind !== 'linear' && kind !== 'llama3'))
    throw new FormatError(
      `${who}: rope_scaling of type "${kind}"${factor === undefined ? ' without a factor' : ''}. Expected default, linear or llama3 with a factor.`,
    );
  if (kind === 'linear') return base.map((f) => f / factor);
  const { low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: original } = scaling;
  return base.map((f) => {
    const wavelength = (2 * Math.PI) / f;
    if (wavelength < original / high) return f;
    if (wavelength > original / low) return f / factor;
    const smooth = (original / wavelength - low) / (high - low);
    return ((1 - smooth) * f) / factor + smooth * f;
  });
}
