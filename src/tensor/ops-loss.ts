/**
 * @file linearCrossEntropy: the last layer of a language model and its loss as one, a few rows at a time, so that the scores of all rows for
 * all words are never in memory together. Its gradient goes by the same rows: with the scores that the loss was made of while they are there.
 */
import { isFloat } from '../base/dtype.js';
import { ConfigError, ShapeError } from '../base/errors.js';
import { checkOptionNames } from '../base/option-names.js';
import { showShape, size } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import { type Node, topological } from '../graph/node.js';
import { floatNode, indexNode, toNode } from './operand.js';
import { fromNode, type Tensor, type TensorLike } from './tensor.js';

export interface LinearCrossEntropyOptions {
  /** Rows whose scores are in memory together. Default: as many as make 24 MiB of scores, 128 at least. */
  chunkRows?: number;
  /** Labels of this number have no loss (default −100). */
  ignoreIndex?: number;
  /** Share of each label spread over all classes (default 0). */
  labelSmoothing?: number;
}

const chunkBytes = 24 * 2 ** 20;
/** Fewer rows would leave the products waiting for the matrix. */
const leastRows = 128;

/** Rows [from, to) of all. */
interface Span {
  readonly from: number;
  readonly to: number;
}

/** Spans of at most `most` rows, of nearly equal length. */
function spansOf(rows: number, most: number): Span[] {
  const count = Math.ceil(rows / most);
  const each = Math.min(most, Math.ceil(rows / count / 16) * 16);
  return Array.from({ length: Math.ceil(rows / each) }, (_, i) => ({ from: i * each, to: Math.min(rows, (i + 1) * each) }));
}

/** A span's rows; a matrix's are copied, so that the products of all spans are one kernel. */
function rowsOf(x: Node, { from, to }: Span): Node {
  const rows = to - from;
  if (rows === x.shape[0]) return x;
  const at = ops.iota([rows], 0, 'i32');
  return x.shape.length === 1 ? ops.slice(x, [from], [to]) : ops.take(x, ops.add(at, ops.constant(from, at)), 0);
}

const column = (x: Node, like: Node): Node => ops.broadcast(ops.reshape(x, [x.shape[0], 1]), like.shape);

interface Settings {
  readonly ignoreIndex: number;
  readonly smoothing: number;
}

/** The matrix in the dtype of the rows: that of the products. */
const inDTypeOf = (hidden: Node, weight: Node): Node => ops.cast(weight, hidden.dtype);

/** Scores of some rows [rows, classes] in f32, the logarithm of the sum of their exponentials, and which rows count. */
function scores(hidden: Node, weight: Node, labels: Node, { ignoreIndex }: Settings): { z: Node; logSum: Node; counts: Node } {
  const z = ops.cast(ops.dot(hidden, inDTypeOf(hidden, weight), { batch: [[], []], contract: [[1], [1]] }), 'f32');
  const most = ops.reduceMax(z, [1]);
  const logSum = ops.add(ops.log(ops.sum(ops.exp(ops.sub(z, column(most, z))), [1])), most);
  const [zero, classes] = [ops.constant(0, labels), ops.constant(weight.shape[0], labels)];
  const isClass = ops.and(ops.le(zero, labels), ops.lt(labels, classes));
  return { z, logSum, counts: ops.and(isClass, ops.ne(labels, ops.constant(ignoreIndex, labels))) };
}

function lossOf(hidden: Node, weight: Node, labels: Node, settings: Settings): Node {
  const { z, logSum, counts } = scores(hidden, weight, labels, settings);
  const { smoothing } = settings;
  const [rows, classes] = z.shape;
  const own = ops.reshape(ops.takeAlong(z, ops.reshape(labels, [rows, 1]), 1), [rows]);
  let expected = ops.mul(own, ops.constant(1 - smoothing, own));
  if (smoothing > 0) expected = ops.add(expected, ops.mul(ops.sum(z, [1]), ops.constant(smoothing / classes, own)));
  return ops.select(counts, ops.sub(logSum, expected), ops.constant(0, own));
}

/** The gradient of the scores, in the dtype of the rows: (softmax − label)·dy. */
function scoreGradient(dy: Node, hidden: Node, weight: Node, labels: Node, settings: Settings): Node {
  const { z, logSum, counts } = scores(hidden, weight, labels, settings);
  const { smoothing } = settings;
  const isLabel = ops.eq(ops.iota(z.shape, 1, 'i32'), column(labels, z));
  const low = smoothing / z.shape[1];
  const expected = ops.select(isLabel, ops.constant(1 - smoothing + low, z), ops.constant(low, z));
  const gradient = ops.mul(ops.sub(ops.exp(ops.sub(z, column(logSum, z))), expected), column(dy, z));
  return ops.cast(ops.select(column(counts, z), gradient, ops.constant(0, z)), hidden.dtype);
}

/** Gradients of Σ dy·loss: of the rows span by span, of the matrix added up in f32. */
function gradientsOf(dy: Node, hidden: Node, weight: Node, labels: Node, spans: readonly Span[], settings: Settings): [Node, Node] {
  const ofRows: Node[] = [];
  let ofWeight: Node | null = null;
  for (const span of spans) {
    const rows = rowsOf(hidden, span);
    const g = scoreGradient(rowsOf(dy, span), rows, weight, rowsOf(labels, span), settings);
    ofRows.push(ops.dot(g, inDTypeOf(hidden, weight), { batch: [[], []], contract: [[1], [0]] }));
    const more = ops.cast(ops.dot(g, rows, { batch: [[], []], contract: [[0], [0]] }), 'f32');
    ofWeight = ofWeight ? ops.add(ofWeight, more) : more;
  }
  return [ops.concat(ofRows, 0), ofWeight ? ops.cast(ofWeight, weight.dtype) : ops.constant(0, weight)];
}

/**
 * Cross-entropy of softmax(hidden·weightᵀ) with class numbers, a row: hidden […, features], weight [classes, features], labels […] of
 * integers → […] in f32; 0 where the label is `ignoreIndex` or no class. The products are those of hidden's dtype, f32 or one of 16 bits,
 * the softmax is computed in f32. The scores exist for `chunkRows` rows at a time, in the gradient too. Throws ShapeError, ConfigError.
 * @example
 * const loss = linearCrossEntropy([[1, 0], [0, 1]], [[5, 0], [0, 5]], [0, -100]);
 * console.log(Array.from(await loss.data(), (x) => x.toFixed(4))); // → [ '0.0067', '0.0000' ]
 */
export function linearCrossEntropy(
  hidden: TensorLike,
  weight: TensorLike,
  labels: TensorLike,
  options: LinearCrossEntropyOptions = {},
): Tensor {
  checkOptionNames(options, { chunkRows: true, ignoreIndex: true, labelSmoothing: true }, 'linearCrossEntropy');
  const { ignoreIndex = -100, labelSmoothing: smoothing = 0 } = options;
  if (!(smoothing >= 0 && smoothing <= 1))
    throw new ConfigError(`linearCrossEntropy: labelSmoothing is out of range. Expected a number in [0, 1], received ${smoothing}.`);
  const [h, w] = [floatNode(hidden), floatNode(weight)];
  const i = isFloat(toNode(labels).dtype) ? ops.cast(toNode(labels), 'i32') : indexNode(labels, 'linearCrossEntropy');
  const lead = h.shape.slice(0, -1);
  const features = h.shape[h.shape.length - 1];
  if (h.shape.length === 0 || w.shape.length !== 2 || w.shape[1] !== features || w.shape[0] === 0)
    throw new ShapeError(
      `linearCrossEntropy: hidden ${showShape(h.shape)} and weight ${showShape(w.shape)} do not fit. Expected […, features] and [classes, features].`,
    );
  if (i.shape.length !== lead.length || i.shape.some((d, k) => d !== lead[k]))
    throw new ShapeError(`linearCrossEntropy: labels ${showShape(i.shape)} do not fit. Expected ${showShape(lead)}, one a row of hidden.`);
  const { chunkRows = Math.max(leastRows, Math.floor(chunkBytes / (4 * w.shape[0]))) } = options;
  if (!Number.isInteger(chunkRows) || chunkRows < 1)
    throw new ConfigError(`linearCrossEntropy: chunkRows is no number of rows. Expected a whole number ≥ 1, received ${chunkRows}.`);

  const rows = size(lead);
  if (rows === 0) return fromNode(ops.full(lead, 0, 'f32'));
  const settings = { ignoreIndex, smoothing };
  const spans = spansOf(rows, chunkRows);
  const args = [ops.reshape(h, [rows, features]), w, ops.reshape(i, [rows])];
  const value = ops.concat(
    spans.map((s) => lossOf(rowsOf(args[0], s), w, rowsOf(args[2], s), settings)),
    0,
  );
  const loss = ops.customGradient(value, args, (dy, given, made) => {
    const g = dy as Node;
    const [x, matrix, own] = given as readonly Node[];
    // Where a row's gradient takes the losses of other rows, all of them come first: the scores are made again.
    const isLate = topological([g]).includes(made as Node);
    return [...gradientsOf(g, isLate ? ops.barrier(x, [g]) : x, matrix, own, spans, settings), null];
  });
  return fromNode(ops.reshape(loss, lead));
}
