/**
 * @file How LoRA (Hu et al. 2021) changes each kind of layer: the shapes of A and B, the two halves of B(A(x)), and their product as a
 * change of the layer's weight. Shapes, layouts and names are PEFT's, so that files hold A and B as they are.
 */
import type { Shape } from '../base/shape.js';
import { Conv1D, Conv2D, Conv3D, Dense, EinsumDense, Embedding, KernelLayer, type Layer, Linear, likeInput } from '../layers/index.js';
import { conv, einsum, type Tensor, type Variable } from '../tensor/index.js';
import { Quantized } from './quantized.js';

export interface LoraKind {
  /** What LoRA's 'all-linear' means; convolutions and tables must be named. */
  readonly isLinear: boolean;
  /** A table that is looked up in: its adapter has no dropout. */
  readonly isTable: boolean;
  /** PEFT's fan_in_fan_out: the weight is [in, out]. */
  readonly isTransposed: boolean;
  /** Of A and B in files, after the layer's own path. */
  readonly names: readonly [a: string, b: string];
  shapes(rank: number): { readonly a: Shape; readonly b: Shape };
  /** A(x): [..., rank]. */
  down(x: Tensor, a: Variable): Tensor;
  /** B(h): the layer's output. */
  up(h: Tensor, b: Variable): Tensor;
  /** B·A in the layout of `weight`. */
  product(a: Tensor, b: Tensor): Tensor;
  /** What the product can be added to; null where it is packed. */
  readonly weight: Variable | null;
}

const linearNames = ['lora_A/weight', 'lora_B/weight'] as const;
/** A [rank, in], B [out, rank]. */
const matrix = (inputs: number, outputs: number): Pick<LoraKind, 'isLinear' | 'isTable' | 'names' | 'shapes' | 'down' | 'up'> => ({
  isLinear: true,
  isTable: false,
  names: linearNames,
  shapes: (rank) => ({ a: [rank, inputs], b: [outputs, rank] }),
  down: (x, a) => x.matmul(likeInput(a, x).transpose()),
  up: (h, b) => h.matmul(likeInput(b, h).transpose()),
});
const product = (a: Tensor, b: Tensor): Tensor => b.matmul(a);
const transposed = (a: Tensor, b: Tensor): Tensor => b.matmul(a).transpose();

/** The letters of an equation whose kernel maps some axes of the input to new ones, or null. */
function parseEinsum(equation: string): { dots: string; x: string; w: string; y: string; inner: string; outer: string } | null {
  const match = /^(\.\.\.)?([a-zA-Z]+),([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)$/.exec(equation.replaceAll(' ', ''));
  if (!match) return null;
  const [, dots = '', x, w, , y] = match;
  const inner = [...w].filter((c) => !y.includes(c));
  const outer = [...w].filter((c) => y.includes(c));
  if (inner.some((c) => !x.includes(c)) || outer.some((c) => x.includes(c))) return null;
  return { dots, x, w, y, inner: inner.join(''), outer: outer.join('') };
}

function einsumKind(layer: EinsumDense): LoraKind | null {
  const letters = parseEinsum(layer.options.equation);
  if (!letters) return null;
  const { dots, x, w, y, inner, outer } = letters;
  const { kernel } = layer;
  const extents = (part: string): number[] => [...part].map((c) => kernel.shape[w.indexOf(c)]);
  const size = (part: string): number => extents(part).reduce((n, d) => n * d, 1);
  const r = [...'rstuvRSTUV'].find((c) => !x.includes(c) && !w.includes(c) && !y.includes(c)) ?? 'Z';
  const kept = [...x].filter((c) => !inner.includes(c)).join('');
  const asA = (a: Tensor): Tensor => a.reshape([-1, ...extents(inner)]);
  const asB = (b: Tensor): Tensor => b.reshape([...extents(outer), -1]);
  return {
    ...matrix(size(inner), size(outer)),
    isTransposed: false,
    down: (input, a) => einsum(`${dots}${x},${r}${inner}->${dots}${kept}${r}`, input, asA(likeInput(a, input))),
    up: (h, b) => einsum(`${dots}${kept}${r},${outer}${r}->${dots}${y}`, h, asB(likeInput(b, h))),
    product: (a, b) => einsum(`${r}${inner},${outer}${r}->${w}`, asA(a), asB(b)),
    weight: kernel,
  };
}

/** A: the layer's own window with `rank` filters; B: 1×1. Files hold [filters, channels, ...window]. */
function convKind(layer: Conv1D | Conv2D | Conv3D): LoraKind | null {
  if ((layer.options.groups ?? 1) > 1) return null;
  const { kernel, kernelSize } = layer;
  const [channels, filters] = kernel.shape.slice(-2);
  const axes = kernelSize.map((_, i) => i + 2);
  const asKernel = (a: Tensor): Tensor => a.transpose([...axes, 1, 0]);
  const asMatrix = (b: Tensor): Tensor => b.reshape([filters, -1]).transpose();
  return {
    isLinear: false,
    isTable: false,
    isTransposed: false,
    names: linearNames,
    shapes: (rank) => ({ a: [rank, channels, ...kernelSize], b: [filters, rank, ...kernelSize.map(() => 1)] }),
    down: (x, a) => conv(x, asKernel(likeInput(a, x)), layer.window),
    up: (h, b) => h.matmul(asMatrix(likeInput(b, h))),
    product: (a, b) => asKernel(a).matmul(asMatrix(b)),
    weight: kernel,
  };
}

/** A: a table of `rank` features, held [rank, rows]; B [features, rank]. */
function embeddingKind(layer: Embedding): LoraKind {
  const [rows, features] = layer.embeddings.shape;
  return {
    isLinear: false,
    isTable: true,
    isTransposed: false,
    names: ['lora_embedding_A', 'lora_embedding_B'],
    shapes: (rank) => ({ a: [rank, rows], b: [features, rank] }),
    down: (ids, a) => a.read().transpose().take(ids.cast('i32'), 0),
    up: (h, b) => h.matmul(b.read().transpose()),
    product: transposed,
    weight: layer.embeddings,
  };
}

/** How LoRA goes around a built layer; null for one that it can't go around. */
export function loraKind(layer: Layer): LoraKind | null {
  // A subclass with a function of its own.
  if (layer instanceof KernelLayer && layer.call !== KernelLayer.prototype.call) return null;
  if (layer instanceof Linear) {
    const [outputs, inputs] = layer.kernel.shape;
    return { ...matrix(inputs, outputs), isTransposed: false, product, weight: layer.kernel };
  }
  if (layer instanceof Dense) {
    const [inputs, outputs] = layer.kernel.shape;
    return { ...matrix(inputs, outputs), isTransposed: true, product: transposed, weight: layer.kernel };
  }
  if (layer instanceof Quantized) return { ...matrix(layer.inputs, layer.units), isTransposed: layer.isTransposed, product, weight: null };
  if (layer instanceof EinsumDense) return einsumKind(layer);
  if (layer instanceof Conv1D || layer instanceof Conv2D || layer instanceof Conv3D) return convKind(layer);
  if (layer instanceof Embedding) return embeddingKind(layer);
  return null;
}

/** Layers that end in an activation: what is added goes before it. */
export interface Projection extends Layer {
  readonly activation: (x: Tensor) => Tensor;
  preactivation(x: Tensor): Tensor;
}
export const isProjection = (layer: Layer): layer is Projection => layer instanceof KernelLayer || layer instanceof Quantized;
