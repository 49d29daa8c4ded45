/** @file summary: Keras's table of a model's layers: name, type, output shape, number of weights, what it is connected to. */
import { dtypes } from '../base/dtype.js';
import type { Layer, PartialShape } from '../layers/layer.js';
import type { SymbolicTensor } from '../layers/symbolic.js';
import type { Variable } from '../tensor/index.js';
import type { AnyModel } from './model.js';

export interface SummaryOptions {
  /** Is given every line; default console.log. Null: nothing is printed, the text is returned. */
  print?: ((line: string) => void) | null;
  /** Width at most, in characters. Default 100. */
  lineLength?: number;
  /** Whether the layers inside nested models are shown. */
  expandNested?: boolean;
}

interface Row {
  readonly cells: readonly string[];
}

const shapeText = (shape: PartialShape): string => `(${shape.map((d) => d ?? 'None').join(', ')}${shape.length === 1 ? ',' : ''})`;
const count = (variables: readonly Variable[]): number => variables.reduce((n, v) => n + v.size, 0);
const thousands = (n: number): string => String(n).replace(/\B(?=(\d{3})+$)/g, ',');
const bytesOf = (variables: readonly Variable[]): string => {
  const bytes = variables.reduce((n, v) => n + v.size * dtypes[v.dtype].bytes, 0);
  const unit = ['B', 'KB', 'MB', 'GB', 'TB'];
  let [value, i] = [bytes, 0];
  for (; value >= 1024 && i < unit.length - 1; i++) value /= 1024;
  return `${value.toFixed(2)} ${unit[i]}`;
};

interface HasCalls {
  readonly inputs: readonly SymbolicTensor[];
  readonly calls: readonly { layer: Layer; inputs: readonly SymbolicTensor[]; outputs: readonly SymbolicTensor[] }[];
}
const hasCalls = (m: object): m is HasCalls => 'calls' in m && 'inputs' in m;
const hasChain = (m: object): m is { chain: readonly SymbolicTensor[] } => 'chain' in m;

function rowsOf(model: AnyModel | Layer, expandNested: boolean, indent: string): { rows: Row[]; connected: boolean } {
  const rows: Row[] = [];
  const params = (l: Layer): string => (l.built ? thousands(count(l.weights)) : '0 (unbuilt)');
  const nested = (l: Layer): void => {
    if (expandNested && l.sublayers().length > 0) rows.push(...rowsOf(l, true, `${indent}  └ `).rows);
  };
  if (hasCalls(model)) {
    const of = (t: SymbolicTensor): string =>
      t.producer ? `${t.producer.layer.name}[${callNumber(model, t)}][${t.producer.outputIndex}]` : `${t.name}[0][0]`;
    for (const t of model.inputs) rows.push({ cells: [`${indent}${t.name} (InputLayer)`, shapeText(t.shape), '0', '-'] });
    const shown = new Set<Layer>();
    for (const c of model.calls) {
      if (shown.has(c.layer)) continue;
      shown.add(c.layer);
      const all = model.calls.filter((o) => o.layer === c.layer);
      const shape = c.outputs.map((t) => shapeText(t.shape)).join(', ');
      rows.push({
        cells: [
          `${indent}${c.layer.name} (${c.layer.className})`,
          c.outputs.length > 1 ? `[${shape}]` : shape,
          params(c.layer),
          all.flatMap((o) => o.inputs.map(of)).join(', '),
        ],
      });
      nested(c.layer);
    }
    return { rows, connected: true };
  }
  const chain = hasChain(model) ? model.chain : [];
  const layers = 'layers' in model ? model.layers : model.sublayers();
  layers.forEach((l, i) => {
    const t = chain[i];
    rows.push({ cells: [`${indent}${l.name} (${l.className})`, t ? shapeText(t.shape) : '?', params(l), ''] });
    nested(l);
  });
  return { rows, connected: false };
}
const callNumber = (model: HasCalls, t: SymbolicTensor): number =>
  Math.max(
    0,
    model.calls.filter((c) => c.layer.name === t.producer?.layer.name).findIndex((c) => c.outputs.includes(t)),
  );

const tableWidth = (widths: readonly number[]): number => widths.reduce((n, w) => n + w + 3, 1);

/** The table as text; `print` is given its lines. */
export function summarize(model: AnyModel, options: SummaryOptions = {}): string {
  const { rows, connected } = rowsOf(model, options.expandNested ?? false, '');
  const titles = ['Layer (type)', 'Output Shape', 'Param #', ...(connected ? ['Connected to'] : [])];
  const cells = rows.map((r) => r.cells.slice(0, titles.length));
  const widths = titles.map((t, i) => Math.max(t.length, ...cells.map((c) => c[i].length)));
  // The widest column gives way until the table fits.
  const lineLength = options.lineLength ?? 100;
  for (let total = tableWidth(widths); total > lineLength; total--) {
    const widest = widths.indexOf(Math.max(...widths));
    if (widths[widest] <= 10) break;
    widths[widest]--;
  }
  const line = (left: string, middle: string, right: string, fill: string): string =>
    left + widths.map((w) => fill.repeat(w + 2)).join(middle) + right;
  const wrapped = (c: readonly string[]): string[] => {
    const pieces = c.map((text, i) => wrap(text, widths[i]));
    const height = Math.max(...pieces.map((p) => p.length));
    return Array.from(
      { length: height },
      (_, k) => `│ ${pieces.map((p, i) => (i === 2 ? (p[k] ?? '').padStart(widths[i]) : (p[k] ?? '').padEnd(widths[i]))).join(' │ ')} │`,
    );
  };
  const { weights, trainableWeights, nonTrainableWeights } = model;
  const lines = [
    `Model: "${model.name}"`,
    line('┌', '┬', '┐', '─'),
    ...wrapped(titles),
    line('├', '┼', '┤', '─'),
    ...cells.flatMap(wrapped),
    line('└', '┴', '┘', '─'),
    ` Total params: ${thousands(count(weights))} (${bytesOf(weights)})`,
    ` Trainable params: ${thousands(count(trainableWeights))} (${bytesOf(trainableWeights)})`,
    ` Non-trainable params: ${thousands(count(nonTrainableWeights))} (${bytesOf(nonTrainableWeights)})`,
  ];
  const print = options.print === undefined ? (l: string): void => console.log(l) : options.print;
  if (print) for (const l of lines) print(l);
  return lines.join('\n');
}

function wrap(text: string, width: number): string[] {
  const out: string[] = [];
  let rest = text;
  while (rest.length > width) {
    const space = rest.lastIndexOf(' ', width);
    const cut = space > 0 ? space : width;
    out.push(rest.slice(0, cut));
    rest = rest.slice(cut).trimStart();
  }
  return [...out, rest];
}
