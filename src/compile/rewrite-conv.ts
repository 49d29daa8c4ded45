/**
 * @file Convolutions in the one form that is lowered: no dilated input, no padding. The gradient of a strided convolution
 * dilates its input, and a kernel would multiply mostly zeros: it is split by phase instead, one small convolution for
 * each residue of the output's position, as a sub-pixel convolution is (Shi et al., 2016).
 */
import { ops } from '../graph/builder.js';
import { makeNode, type Node } from '../graph/node.js';

/** Along one spatial dim: the kernel taps that meet elements of x, not the zeros between, at outputs `residue` mod the dilation. */
interface Phase {
  readonly firstTap: number;
  readonly step: number;
  readonly taps: number;
  /** The element of x that the first tap meets at the phase's first output; negative in the padding. */
  readonly from: number;
  /** Outputs. */
  readonly count: number;
}

/** Whether a convolution has the form that is lowered. */
export const isPlainConv = ({ arg }: Node<'conv'>): boolean =>
  arg.padding.every(([low, high]) => low === 0 && high === 0) && arg.inputDilation.every((d) => d === 1);

/** The rewritten convolution; null when it has the form already. */
export function rewriteConv(n: Node<'conv'>): Node | null {
  if (isPlainConv(n)) return null;
  const { padding, inputDilation, stride, kernelDilation } = n.arg;
  const byPhase =
    inputDilation.some((d) => d > 1) && inputDilation.every((d, i) => d === 1 || (stride[i] === 1 && kernelDilation[i] === 1));
  if (byPhase) return splitByPhase(n);
  const [x, w] = n.inputs;
  const padded = ops.pad(x, [[0, 0, 0], ...padding.map(([l, h], i) => [l, h, inputDilation[i] - 1] as const), [0, 0, 0], [0, 0, 0]], 0);
  return ops.conv(padded, w, { stride, kernelDilation, padding: padding.map(() => [0, 0] as const), inputDilation: padding.map(() => 1) });
}

function splitByPhase(n: Node<'conv'>): Node {
  const { padding, inputDilation, stride, kernelDilation } = n.arg;
  const [x, w] = n.inputs;
  const spatial = inputDilation.length;
  const phases = inputDilation.map((d, i): Phase[] => {
    const low = padding[i][0];
    if (d === 1) return [{ firstTap: 0, step: 1, taps: w.shape[i], from: -low, count: n.shape[1 + i] }];
    return Array.from({ length: d }, (_, residue) => {
      const firstTap = (((low - residue) % d) + d) % d;
      return {
        firstTap,
        step: d,
        taps: Math.max(0, Math.ceil((w.shape[i] - firstTap) / d)),
        from: (residue + firstTap - low) / d,
        // As many for each phase: what is too much is cut off when they are put together.
        count: Math.ceil(n.shape[1 + i] / d),
      };
    });
  });
  const extent = (p: Phase, i: number) => (p.count - 1) * stride[i] + (p.taps - 1) * kernelDilation[i] + 1;
  const bounds = phases.map((list, i) => {
    const used = list.filter((p) => p.taps > 0);
    const low = Math.max(0, ...used.map((p) => -p.from));
    return { low, high: Math.max(0, ...used.map((p) => p.from + extent(p, i) - x.shape[1 + i])) };
  });
  const padded = ops.pad(x, [[0, 0, 0], ...bounds.map(({ low, high }) => [low, high, 0] as const), [0, 0, 0], [0, 0, 0]], 0);

  const one = (chosen: readonly Phase[]): Node => {
    if (chosen.some((p) => p.taps === 0)) {
      const shape = [x.shape[0], ...chosen.map((p) => p.count), ...n.shape.slice(1 + spatial)];
      return makeNode('constant', [], { value: 0 }, n.dtype, shape);
    }
    const start = chosen.map((p, i) => p.from + bounds[i].low);
    const piece = ops.slice(
      padded,
      [0, ...start, 0, 0],
      [x.shape[0], ...start.map((s, i) => s + extent(chosen[i], i)), ...x.shape.slice(1 + spatial)],
      padded.shape.map(() => 1),
    );
    const taps = ops.slice(
      w,
      [...chosen.map((p) => p.firstTap), 0, 0, 0],
      [...chosen.map((p) => p.firstTap + (p.taps - 1) * p.step + 1), ...w.shape.slice(spatial)],
      [...chosen.map((p) => p.step), 1, 1, 1],
    );
    const none = chosen.map(() => [0, 0] as const);
    return ops.conv(piece, taps, { stride, kernelDilation, padding: none, inputDilation: chosen.map(() => 1) });
  };
  /** All phases of dims from `d` on, side by side: outputs of one phase are `dilation` apart. */
  const joined = (chosen: readonly Phase[]): Node => {
    const d = chosen.length;
    if (d === spatial) return one(chosen);
    const pieces = phases[d].map((p) => joined([...chosen, p]));
    if (pieces.length === 1) return pieces[0];
    const { shape } = pieces[0];
    const apart = [...shape.slice(0, 2 + d), 1, ...shape.slice(2 + d)];
    const stacked = ops.concat(
      pieces.map((y) => ops.reshape(y, apart)),
      2 + d,
    );
    const whole = shape.map((e, i) => (i === 1 + d ? e * pieces.length : e));
    return ops.slice(
      ops.reshape(stacked, whole),
      whole.map(() => 0),
      whole.map((e, i) => (i === 1 + d ? n.shape[i] : e)),
      whole.map(() => 1),
    );
  };
  return joined([]);
}
