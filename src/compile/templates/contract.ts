/**
 * @file contract: the template of every matrix product and convolution. It weighs the forms (vectors along a column
 * dim, the same with the operands exchanged, vectors along the reduction) by the cost model and writes the cheapest.
 */
import type { DType } from '../../base/dtype.js';
import type { Kernel } from '../../kernel/kernel.js';
import type { TargetInfo } from '../../kernel/target.js';
import { accumulatorType, axes, type Contraction, copyType, extentOf } from './contract-dims.js';
import { type DotPlan, emitDot, planDot } from './contract-dot.js';
import { emitPack, packedSize } from './contract-pack.js';
import { planText, planVector, type VectorPlan } from './contract-plan.js';
import { emitThin, planThin, type ThinPlan } from './contract-thin.js';
import { emitOrderedSum, emitVector, packA, packB } from './contract-vector.js';

export { accumulatorType, type ContractDim, type Contraction, type Element, type Operand } from './contract-dims.js';

/** Kernels to run in order, and buffers that only they use. Their parameters are named as in `buffers` and `temporaries`. */
export interface ContractKernels {
  readonly kernels: readonly Kernel[];
  readonly temporaries: readonly { readonly name: string; readonly dtype: DType; readonly size: number }[];
}

/** The same product with A and B exchanged: outᵀ = Bᵀ·Aᵀ. */
function exchanged(c: Contraction): Contraction {
  const flip = (dims: Contraction['rows']) => dims.map((d) => ({ extent: d.extent, a: d.b, b: d.a, out: d.out }));
  return {
    ...c,
    batch: flip(c.batch),
    rows: flip(c.cols),
    cols: flip(c.rows),
    reduce: flip(c.reduce),
    a: c.b,
    b: c.a,
    epilogue: (acc, batch, rows, cols) => c.epilogue(acc, batch, cols, rows),
  };
}

/** The same with a batch dim, along which both operands are contiguous, as the vector's: one lane a member of the batch. */
function alongBatch(c: Contraction, at: number): Contraction {
  const rest = <T>(list: readonly T[]) => list.filter((_, i) => i !== at);
  return {
    ...c,
    batch: rest(c.batch),
    cols: [...c.cols, c.batch[at]],
    epilogue: (acc, batch, rows, cols) =>
      c.epilogue(acc, [...batch.slice(0, at), cols[cols.length - 1], ...batch.slice(at)], rows, cols.slice(0, -1)),
  };
}

/** The same as a product of pairs of steps, where the processor multiplies these at once. */
function paired(c: Contraction, target: TargetInfo): Contraction | null {
  if (!target.hasBf16Dot || c.a.dtype !== 'bf16' || c.b.dtype !== 'bf16') return null;
  const at = c.reduce.findLastIndex((d) => d.extent > 1);
  const d = c.reduce[at];
  if (!d || d.extent % 2 !== 0) return null;
  return {
    ...c,
    reduce: c.reduce.map((x, i) => (i === at ? { ...x, extent: x.extent / 2, a: 2 * x.a, b: 2 * x.b } : x)),
    a: { ...c.a, pair: d.a },
    b: { ...c.b, pair: d.b },
  };
}

/** Cycles that the epilogue takes, as far as the form decides: stores along the vector dim or across it. */
function epilogueCycles(c: Contraction, vectorOut: number, target: TargetInfo): number {
  const results = extentOf(c.batch) * extentOf(c.rows) * extentOf(c.cols);
  // Across it every store goes to a line of its own; at multiples of a KiB those push each other out of the cache.
  return results * (vectorOut === 1 ? 2 / target.lanes : (vectorOut % 256 === 0 ? 12 : 2.5) * Math.max(1, c.buffers.length - 2));
}

/** A way to compute a contraction. */
interface Candidate {
  readonly form: string;
  readonly plan: VectorPlan | DotPlan | ThinPlan;
  readonly cycles: number;
}

/** Register tiles to measure besides the one that the model takes: of so many vectors. */
const tileWidths = [1, 2, 3, 4, 5, 7];

/** Ways that may be worth a measurement: the model's choice, then by its cycles the others. */
function candidates(c: Contraction, dot: DotPlan, thin: ThinPlan | null, target: TargetInfo): Candidate[] {
  let best: Candidate = { form: 'dot', plan: dot, cycles: dot.cycles };
  const all = [best];
  if (thin) {
    all.push({ form: 'thin', plan: thin, cycles: thin.cycles });
    if (thin.cycles < best.cycles) best = all[1];
  }
  /** `margin`: the share of the best so far that a form must come below: the given orientation wins ties. */
  const weigh = (form: string, of: Contraction, v: number, beyond: number, margin: number): void => {
    const ways = (only?: number): Candidate[] =>
      planVector(of, v, target, only).map((plan) => ({ form: `${form}${v}`, plan, cycles: plan.cycles + beyond }));
    const plans = ways();
    all.push(...plans);
    if (target.choosePlan) for (const width of tileWidths) all.push(...ways(width).slice(0, 3));
    if (plans.length > 0 && plans[0].cycles < best.cycles * margin) best = plans[0];
  };
  const pairs = paired(c, target);
  for (const [name, form] of [
    ['given ', c],
    ['exchanged ', exchanged(c)],
    ...(pairs
      ? ([
          ['pairs ', pairs],
          ['pairs exchanged ', exchanged(pairs)],
        ] as const)
      : []),
  ] as const) {
    const cols = axes(form.cols);
    for (let v = cols.length - 1; v >= 0; v--) {
      const last = cols[v].parts[cols[v].parts.length - 1];
      weigh(name, form, v, epilogueCycles(form, form.cols[last.position].out, target), 0.98);
    }
  }
  for (const [at, d] of c.batch.entries()) {
    if (c.b.element || d.a !== 1 || d.b !== 1 || d.extent < target.lanes) continue;
    const form = alongBatch(c, at);
    weigh(`along ${at} `, form, axes(form.cols).length - 1, 0, 1);
  }
  return [best, ...all.filter((x) => x !== best && x.cycles < best.cycles * 1.6).sort((x, y) => x.cycles - y.cycles)];
}

/** A contraction's name for what was measured of it: its dims, operands and epilogue. */
const contractionText = (c: Contraction): string =>
  [
    c.label,
    ...[c.batch, c.rows, c.cols, c.reduce].map((dims) => dims.map((d) => [d.extent, d.a, d.b, d.out].join(','))),
    ...c.buffers.map((b) => `${b.access} ${b.dtype}`),
  ].join(' ');

/**
 * Kernels for a contraction on `target`. Deterministic for a target; no shape is refused. A reduction that leaves too
 * few items for the threads is summed in parts (a temporary [parts, batch, rows, cols]) and finished in order.
 */
export function contract(c: Contraction, target: TargetInfo): ContractKernels {
  if (extentOf(c.batch) * extentOf(c.rows) * extentOf(c.cols) === 0) return { kernels: [], temporaries: [] };
  const dot = planDot(c, target);
  const turned = planDot(exchanged(c), target);
  const bestDot = turned.cycles < dot.cycles ? turned : dot;
  const [straight, crossed] = [planThin(c, target), planThin(exchanged(c), target)];
  const thin = straight && crossed ? (crossed.cycles < straight.cycles ? crossed : straight) : (straight ?? crossed);
  const settled = [straight, crossed].find((p) => p?.isSettled);
  if (settled) return emit(c, settled);
  const ways = candidates(c, bestDot, thin, target);
  if (!target.choosePlan) return emit(c, ways[0].plan);
  const name = contractionText(c);
  const distinct = new Map<string, Candidate>();
  for (const w of ways) {
    const text = 'split' in w.plan ? `${w.form} ${planText(w.plan)}` : w.form;
    if (!distinct.has(text)) distinct.set(text, w);
  }
  const texts = [...distinct.keys()];
  const chosen = distinct.get(texts[target.choosePlan(name, texts)]);
  const { kernels, temporaries } = emit(c, (chosen ?? ways[0]).plan);
  return { kernels: kernels.map((k) => ({ ...k, contraction: name })), temporaries };
}

function emit(c: Contraction, best: Candidate['plan']): ContractKernels {
  if ('line' in best) return { kernels: [emitThin(best)], temporaries: [] };
  if (!('split' in best)) return { kernels: [emitDot(best)], temporaries: [] };
  const kernels: Kernel[] = [];
  const temporaries: { name: string; dtype: DType; size: number }[] = [];
  const temporary = (name: string, size: number, dtype = copyType(best.c)): string => {
    temporaries.push({ name, dtype, size });
    return name;
  };
  if (best.packA) kernels.push(emitPack(best, 'a', temporary(packA, packedSize(best, 'a'))));
  if (best.packB === 'once') kernels.push(emitPack(best, 'b', temporary(packB, packedSize(best, 'b'))));
  if (best.split === 1) return { kernels: [...kernels, emitVector(best, null)], temporaries };
  const partial = temporary('c_partial', best.split * extentOf(c.batch) * extentOf(c.rows) * extentOf(c.cols), accumulatorType(c));
  return { kernels: [...kernels, emitVector(best, partial), emitOrderedSum(best, partial)], temporaries };
}
