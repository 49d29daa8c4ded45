/**
 * @file Quantization of a model's weights as a transform of its tree: projections are exchanged for ones with packed weights (NF4, q8_0) or
 * with 16-bit ones, one layer at a time, so that beside the model no more than one layer's numbers are in memory.
 */
import { dtypes } from '../base/dtype.js';
import { ConfigError, quote } from '../base/errors.js';
import { checkOptionNames } from '../base/option-names.js';
import { convertFloats } from '../io/convert-floats.js';
import { quantizeNf4, quantizeScales } from '../io/nf4.js';
import { Q8_0_BLOCK, quantizeQ8_0 } from '../io/quantized-blocks.js';
import { Embedding, Layer } from '../layers/index.js';
import { deserialize, serialize } from '../layers/registry.js';
import type { Variable } from '../tensor/index.js';
import { layersOf, replaceLayers } from './layer-tree.js';
import { modulePath } from './lora.js';
import { isAdapted } from './lora-layer.js';
import type { AnyModel } from './model.js';
import { isPackable, type Packable, type PackedWeight, Quantized } from './quantized.js';
import { QuantizedTable } from './quantized-table.js';
import { requireBuilt } from './weights.js';

export interface QuantizeOptions {
  type: 'nf4' | 'q8_0' | 'bf16' | 'f16';
  /** Of NF4: its scales are quantized again, to 8 bits (0.37 bits a weight less). */
  doubleQuant?: boolean;
  /**
   * Of q8_0: the model's output matrix too, and the tables of embeddings, as llama.cpp's q8_0 files have them. Default false: both stay as they
   * are, which training wants.
   */
  output?: boolean;
  /** Ends of the paths of layers that stay as they are, besides embeddings, norms and the model's output matrix. */
  skip?: readonly string[];
  /**
   * Where a layer's weight comes from, row-major, instead of its Variable: from a file whose tensors are read one by one. Null: from the Variable.
   */
  read?: (weight: Variable) => Promise<Float32Array | null>;
}
/** What became of a model's projections. */
export interface QuantizeReport {
  /** Numbers that were packed. */
  readonly parameters: number;
  readonly quantized: readonly string[];
  /** Why each of the others was left as it is. */
  readonly left: readonly { readonly module: string; readonly reason: string }[];
  /** Of the quantized weights, before and after. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

const types = ['nf4', 'q8_0', 'bf16', 'f16'] as const;
const bytesOf = (list: readonly (Variable | null)[]): number => list.reduce((n, v) => n + (v ? v.size * dtypes[v.dtype].bytes : 0), 0);

/**
 * Quantizes the weights of a built model's Dense and Linear layers. What was f32 is released as soon as its layer is done.
 * Throws ConfigError for options that there aren't, and for weights that are no numbers (layers done before stay quantized).
 * @example
 * const net = sequential({ layers: [layers.dense({ units: 64, inputShape: [64] }), layers.dense({ units: 64 })] });
 * const { bytesBefore, bytesAfter } = await quantizeModel(net, { type: 'nf4' });
 * console.log(bytesBefore, bytesAfter); // → 32768 4608
 */
export async function quantizeModel(model: AnyModel, options: QuantizeOptions): Promise<QuantizeReport> {
  const who = `quantizeModel ${model.label}`;
  const known = { type: true, doubleQuant: true, output: true, skip: true, read: true } satisfies Record<keyof QuantizeOptions, true>;
  checkOptionNames(options, known, who);
  const { type, doubleQuant = false, output = false, skip = [] } = options;
  if (!types.includes(type)) throw new ConfigError(`${who}: type is ${quote(type)}. Expected one of ${types.join(', ')}.`);
  if (doubleQuant && type !== 'nf4') throw new ConfigError(`${who}: doubleQuant with ${type}. Expected it with nf4 alone.`);
  if (output && type !== 'q8_0') throw new ConfigError(`${who}: output with ${type}. Expected it with q8_0 alone.`);
  requireBuilt(model, 'quantizeModel');
  const report: Report = { quantized: [], left: [], parameters: 0, bytesBefore: 0, bytesAfter: 0 };
  const outputs = new Set(model.outputLayers.map((l) => (isAdapted(l) ? l.base : l)));
  for (const layer of layersOf(model)) {
    if (output && layer instanceof Embedding) await packTable(model, layer, options, report);
    if (!isPackable(layer)) continue;
    const module = modulePath(layer);
    const reason = outputs.has(layer) && !output ? "the model's output" : whyNot(layer, module, type, skip);
    if (reason) {
      report.left.push({ module, reason });
      continue;
    }
    report.parameters += layer.kernel.size;
    report.bytesBefore += bytesOf([layer.kernel]);
    const values = await given(layer.kernel, options, who);
    const next = type === 'nf4' || type === 'q8_0' ? await pack(layer, type, doubleQuant, values) : await shorten(layer, type, values);
    replaceLayers(model, new Map([[layer, next]]));
    report.bytesAfter +=
      next instanceof Quantized ? bytesOf([next.codes, next.scales, next.scaleScales, next.scaleOffset]) : bytesOf([next.kernel]);
    report.quantized.push(module);
  }
  return report;
}

interface Report extends QuantizeReport {
  quantized: string[];
  left: { module: string; reason: string }[];
  parameters: number;
  bytesBefore: number;
  bytesAfter: number;
}

/** What `read` gives for a weight, or null. Throws ConfigError for another length. */
async function given(weight: Variable, { read }: QuantizeOptions, who: string): Promise<Float32Array | null> {
  const values = (await read?.(weight)) ?? null;
  if (values && values.length !== weight.size)
    throw new ConfigError(`${who}: read gave ${values.length} numbers for "${weight.name}". Expected ${weight.size}.`);
  return values;
}

async function packTable(model: AnyModel, layer: Embedding, options: QuantizeOptions, report: Report): Promise<void> {
  const module = modulePath(layer);
  const { embeddings } = layer;
  const width = embeddings.shape[1];
  const skipped = isSkipped(module, options.skip);
  if (skipped || width % Q8_0_BLOCK !== 0 || layer.options.maskZero) {
    report.left.push({
      module,
      reason: skipped ? 'skipped' : `rows of ${width} are no multiple of ${Q8_0_BLOCK}, or a mask is made of them`,
    });
    return;
  }
  const who = `quantize "${embeddings.name}"`;
  const before = bytesOf([embeddings]);
  const values = (await given(embeddings, options, who)) ?? ((await embeddings.data()) as Float32Array);
  const next = new QuantizedTable({ layer });
  next.fill(quantizeQ8_0(values, who));
  replaceLayers(model, new Map([[layer, next]]));
  report.quantized.push(module);
  report.parameters += embeddings.size;
  report.bytesBefore += before;
  report.bytesAfter += bytesOf([next.codes, next.scales]);
}

/** Makes plain layers of the packed ones again, their weights the decoded numbers: layer after layer, adapters or not. */
export async function dequantizeModel(model: AnyModel): Promise<void> {
  for (const layer of layersOf(model)) if (layer instanceof Quantized) replaceLayers(model, new Map([[layer, await layer.restore()]]));
}

const isSkipped = (module: string, skip: readonly string[] = []): boolean =>
  skip.some((name) => module === name || module.endsWith(`.${name}`));

/** Why a layer isn't quantized, or null. */
function whyNot(layer: Packable, module: string, type: QuantizeOptions['type'], skip: readonly string[]): string | null {
  if (isSkipped(module, skip)) return 'skipped';
  const inputs = layer.kernel.size / layer.options.units;
  if (type === 'q8_0' && inputs % Q8_0_BLOCK !== 0) return `${inputs} inputs are no multiple of ${Q8_0_BLOCK}`;
  if (layer.kernel.dtype === type) return `${type} already`;
  return null;
}

async function pack(layer: Packable, type: 'nf4' | 'q8_0', doubleQuant: boolean, given: Float32Array | null): Promise<Quantized> {
  const { kernel } = layer;
  const values = given ?? ((await kernel.data()) as Float32Array);
  const next = new Quantized({ layer, type, doubleQuant });
  // [units, inputs], so that what is summed over lies together.
  const rows = next.isTransposed ? transposed(values, next.inputs, next.units) : values;
  const who = `quantize "${kernel.name}"`;
  const packed = (): PackedWeight => {
    if (type === 'q8_0') return { type, blocks: quantizeQ8_0(rows, who) };
    const blocks = quantizeNf4(rows, who);
    return { type, blocks, scales: doubleQuant ? quantizeScales(blocks.scales) : null };
  };
  next.fill(packed());
  return next;
}
function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = values[i * columns + j];
  return out;
}

/** The same layer with weights in 16 bits. */
async function shorten(layer: Packable, dtype: 'bf16' | 'f16', given: Float32Array | null): Promise<Packable> {
  const { className, config } = serialize(layer);
  const next = deserialize({ className, config: { ...config, dtype } }, `quantize "${layer.name}"`);
  if (!(next instanceof Layer && isPackable(next)) || !layer.buildShape)
    throw new ConfigError(`quantize "${layer.name}": its config gives another layer. Expected a Dense or a Linear.`);
  next.ensureBuilt([layer.buildShape as readonly (number | null)[]], false);
  for (const [i, v] of layer.weights.entries()) {
    const values = (v === layer.kernel ? given : null) ?? ((await v.data()) as Float32Array);
    const own = next.weights[i];
    own.name = v.name;
    own.trainable = v.trainable;
    own.fill(convertFloats(values, 'f32', dtype));
    v.release();
  }
  return next;
}
