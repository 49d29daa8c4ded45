/** @file Elementwise operations with NumPy's names and rules: arithmetic, comparison, logic, bits, powers, trigonometry. */
import { type DType, isFloat, isInteger, requireDType } from '../base/dtype.js';
import { DTypeError } from '../base/errors.js';
import { ops } from '../graph/builder.js';
import type { Node } from '../graph/node.js';
import type { BinaryOp, UnaryOp } from '../kernel/scalar-ops.js';
import { atLeastFloat, atLeastInt, floatNode, numberNode, promoted, rootNode, toNode, toTensor } from './operand.js';
import { fromNode, type Tensor, type TensorLike } from './tensor.js';

const like = (x: Node, value: number): Node => ops.constant(value, x);
const onFloat =
  (f: (x: Node) => Node) =>
  (x: TensorLike): Tensor =>
    fromNode(f(floatNode(x)));
const unaryFloat = (op: UnaryOp) => onFloat((x) => ops[op](x));
/** Of integers the identity (rounding functions). */
const rounding =
  (f: (x: Node) => Node) =>
  (x: TensorLike): Tensor => {
    const n = toNode(x);
    return fromNode(isFloat(n.dtype) ? f(n) : n);
  };
const binary =
  (op: BinaryOp, least?: (d: DType) => DType) =>
  (a: TensorLike, b: TensorLike): Tensor => {
    const [x, y] = promoted([a, b], least);
    return fromNode(ops[op](x, y));
  };
const binaryNode =
  (f: (a: Node, b: Node) => Node, least?: (d: DType) => DType) =>
  (a: TensorLike, b: TensorLike): Tensor => {
    const [x, y] = promoted([a, b], least);
    return fromNode(f(x, y));
  };

// ---- arithmetic

/** a + b. On bool: logical or, as in NumPy. Like all of these, u32 with a signed type is computed in i32 and wraps: there is no i64. */
export const add = binaryNode((a, b) => (a.dtype === 'bool' ? ops.or(a, b) : ops.add(a, b)));
/** a − b; bool counts as i32. */
export const subtract = binary('sub', atLeastInt);
/** a · b. On bool: logical and. */
export const multiply = binaryNode((a, b) => (a.dtype === 'bool' ? ops.and(a, b) : ops.mul(a, b)));
/** True quotient: integers give f32. */
export const divide = binary('div', atLeastFloat);
/** ⌊a / b⌋; an integer by 0 is 0. */
export const floorDivide = binary('idiv', atLeastInt);
/** Remainder with the sign of the divisor (NumPy, Python); an integer by 0 is 0. */
export const mod = binary('mod', atLeastInt);
/** aᵇ; whole powers 2, 3, ±1, ½ of a number are products and roots. */
export function power(a: TensorLike, b: TensorLike): Tensor {
  if (typeof b === 'number') {
    const n = Number.isInteger(b) && b >= 0 ? numberNode(a) : floatNode(a);
    if (b === 1) return fromNode(n);
    if (b === 2) return fromNode(ops.mul(n, n));
    if (b === 3) return fromNode(ops.mul(ops.mul(n, n), n));
    if (b === 0.5) return fromNode(ops.sqrt(n));
    if (b === -0.5) return fromNode(ops.rsqrt(n));
    if (b === -1) return fromNode(ops.div(like(n, 1), n));
  }
  const [x, y] = promoted([a, b], atLeastInt);
  return fromNode(ops.pow(x, y));
}
/** Larger of the two; NaN when one is. */
export const maximum = binary('max');
export const minimum = binary('min');
export const negative = (x: TensorLike): Tensor => fromNode(ops.neg(numberNode(x)));
export const abs = (x: TensorLike): Tensor => {
  const n = toNode(x);
  return fromNode(n.dtype === 'bool' || n.dtype === 'u8' || n.dtype === 'u32' ? n : ops.abs(n));
};
/** −1, 0 or 1. */
export const sign = (x: TensorLike): Tensor => fromNode(ops.sign(numberNode(x)));
export const square = (x: TensorLike): Tensor => {
  const n = toNode(x);
  return fromNode(n.dtype === 'bool' ? n : ops.mul(n, n));
};
export const reciprocal = onFloat((x) => ops.div(like(x, 1), x));
/** (a − b)². */
export const squaredDifference = binaryNode((a, b) => {
  const d = ops.sub(a, b);
  return ops.mul(d, d);
}, atLeastInt);
/** x limited to [low, high]; either may be null. */
export function clip(x: TensorLike, low: TensorLike | null, high: TensorLike | null): Tensor {
  let t = toTensor(x);
  if (low !== null) t = maximum(t, low);
  if (high !== null) t = minimum(t, high);
  return t;
}
/** a where a is a number, `value` where it is NaN, and the largest finite numbers for infinities. */
export const nanToNum = (x: TensorLike, options: { nan?: number; posinf?: number; neginf?: number } = {}): Tensor => {
  const n = toNode(x);
  if (!isFloat(n.dtype)) return fromNode(n);
  const top = n.dtype === 'f16' ? 65504 : 3.4028234663852886e38;
  const finite = ops.min(ops.max(n, like(n, options.neginf ?? -top)), like(n, options.posinf ?? top));
  return fromNode(ops.select(ops.ne(n, n), like(n, options.nan ?? 0), finite));
};

// ---- exponentials and roots

export const exp = unaryFloat('exp');
/** eˣ − 1, accurate near 0. */
export const expm1 = unaryFloat('expm1');
/** 2ˣ, exact at whole numbers. */
export const exp2 = onFloat((x) => ops.pow(like(x, 2), x));
export const log = unaryFloat('log');
/** ln(1 + x), accurate near 0. */
export const log1p = unaryFloat('log1p');
export const log2 = onFloat((x) => ops.mul(ops.log(x), like(x, Math.LOG2E)));
export const log10 = onFloat((x) => ops.mul(ops.log(x), like(x, Math.LOG10E)));
/** ln(eᵃ + eᵇ) without overflow. */
export const logAddExp = binaryNode((a, b) => {
  const top = ops.max(a, b);
  const d = ops.sub(a, b);
  // Equal infinities would give NaN: their distance counts as 0.
  const distance = ops.select(ops.eq(a, b), like(d, 0), ops.neg(ops.abs(d)));
  return ops.add(top, ops.log1p(ops.exp(distance)));
}, atLeastFloat);
export const sqrt = unaryFloat('sqrt');
export const rsqrt = unaryFloat('rsqrt');
export const cbrt = onFloat((x) => ops.mul(ops.sign(x), ops.pow(ops.abs(x), like(x, 1 / 3))));
/** √(a² + b²) without overflow or underflow of the squares; its gradient at (0, 0) is 0. */
export const hypot = binaryNode((a, b) => {
  // The value does not depend on the scale, so no gradient goes through it.
  const top = ops.stopGradient(ops.max(ops.abs(a), ops.abs(b)));
  const one = like(top, 1);
  const isPlain = ops.and(ops.lt(like(top, 0), top), ops.lt(top, like(top, Number.POSITIVE_INFINITY)));
  const scale = ops.select(isPlain, top, one);
  const p = ops.div(a, scale);
  const q = ops.div(b, scale);
  return ops.mul(scale, rootNode(ops.add(ops.mul(p, p), ops.mul(q, q))));
}, atLeastFloat);
/** Gauss's error function. */
export const erf = unaryFloat('erf');
/** Press et al.'s fit: ln(erfc(z)·e^{z²}/t) as a polynomial in t = 1 / (1 + z/2), constant first. */
const erfcFit = [
  -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277,
];
/**
 * 1 − erf(x) with its tail: relative error about 1e-6 (Press et al., Numerical Recipes, 6.2: `erfcc`, 1.2e-7 before
 * rounding).
 */
export const erfc = onFloat((x) => {
  const plain = ops.sub(like(x, 1), ops.erf(x));
  const a = ops.abs(x);
  // Beyond 12 the result is 0 in f32, and ∞ − ∞ would follow.
  const z = ops.min(a, like(x, 12));
  const t = ops.div(like(x, 1), ops.add(like(x, 1), ops.mul(like(x, 0.5), z)));
  const fit = erfcFit.reduceRight<Node>((y, c) => ops.add(ops.mul(y, t), like(x, c)), like(x, 0));
  // z² of a z cut to 1/128 is exact; the exponential of the rounded z² would lose z² units in the last place.
  const cut = ops.mul(ops.round(ops.mul(z, like(x, 128))), like(x, 1 / 128));
  const rest = ops.mul(ops.sub(cut, z), ops.add(cut, z));
  const tail = ops.mul(ops.mul(ops.mul(t, ops.exp(fit)), ops.exp(rest)), ops.exp(ops.neg(ops.mul(cut, cut))));
  const value = ops.select(ops.lt(a, like(x, 0.5)), plain, ops.select(ops.lt(x, like(x, 0)), ops.sub(like(x, 2), tail), tail));
  // The gradient is erf's, exact; that of the fit is not.
  return ops.add(ops.stopGradient(value), ops.sub(plain, ops.stopGradient(plain)));
});

// ---- rounding

export const floor = rounding((x) => ops.floor(x));
export const ceil = rounding((x) => ops.ceil(x));
/** Towards 0. */
export const trunc = rounding((x) => ops.select(ops.lt(x, like(x, 0)), ops.ceil(x), ops.floor(x)));
/** Half to even; `decimals` as in NumPy. */
export function round(x: TensorLike, decimals = 0): Tensor {
  const n = toNode(x);
  if (!isFloat(n.dtype)) return fromNode(n);
  if (decimals === 0) return fromNode(ops.round(n));
  const factor = 10 ** Math.abs(decimals);
  const scale = like(n, factor);
  return fromNode(decimals > 0 ? ops.div(ops.round(ops.mul(n, scale)), scale) : ops.mul(ops.round(ops.div(n, scale)), scale));
}

// ---- trigonometry

export const sin = unaryFloat('sin');
export const cos = unaryFloat('cos');
export const tan = onFloat((x) => ops.div(ops.sin(x), ops.cos(x)));
/** The angle of the point (b, a), in (−π, π]. */
export const atan2 = binary('atan2', atLeastFloat);
export const atan = onFloat((x) => ops.atan2(x, like(x, 1)));
const cosOfSine = (x: Node): Node => ops.sqrt(ops.mul(ops.sub(like(x, 1), x), ops.add(like(x, 1), x)));
export const asin = onFloat((x) => ops.atan2(x, cosOfSine(x)));
export const acos = onFloat((x) => ops.atan2(cosOfSine(x), x));
/** −1 below 0, else 1. Not sign(x): its 0 would take the gradient of odd functions at 0. */
const side = (x: Node): Node => ops.select(ops.lt(x, like(x, 0)), like(x, -1), like(x, 1));
/**
 * `near` of a ≥ 0 below 10, beyond ½eᵃ, which sinh and cosh are there to the last digit. As ½e · e^(a − 1), since eᵃ
 * overflows before they do (the difference is exact).
 */
const halfExp = (a: Node, near: (a: Node) => Node): Node => {
  const isNear = ops.lt(a, like(a, 10));
  const far = ops.mul(like(a, Math.E / 2), ops.exp(ops.sub(a, like(a, 1))));
  return ops.select(isNear, near(ops.select(isNear, a, like(a, 0))), far);
};
export const sinh = onFloat((x) => {
  const s = side(x);
  const y = halfExp(ops.mul(x, s), (a) => {
    // By expm1, so that small x keep their digits.
    const e = ops.expm1(a);
    return ops.mul(like(a, 0.5), ops.add(e, ops.div(e, ops.add(e, like(a, 1)))));
  });
  return ops.mul(s, y);
});
export const cosh = onFloat((x) => halfExp(ops.mul(x, side(x)), (a) => ops.mul(like(a, 0.5), ops.add(ops.exp(a), ops.exp(ops.neg(a))))));
export const tanh = unaryFloat('tanh');
/** From where on asinh and acosh are ln 2x to the last digit; its square is finite. */
const farOut = (x: Node): Node => like(x, x.dtype === 'f16' ? 128 : 2048);
/** ln 2x for x beyond `farOut`, `near` of the others. */
const logTwice = (x: Node, near: (x: Node) => Node): Node => {
  const isFar = ops.le(farOut(x), x);
  const one = like(x, 1);
  const far = ops.add(ops.log(ops.select(isFar, x, one)), like(x, Math.LN2));
  return ops.select(isFar, far, near(ops.select(isFar, one, x)));
};
export const asinh = onFloat((x) => {
  const s = side(x);
  const y = logTwice(ops.mul(x, s), (a) => {
    const root = ops.sqrt(ops.add(ops.mul(a, a), like(x, 1)));
    return ops.log1p(ops.add(a, ops.div(ops.mul(a, a), ops.add(root, like(x, 1)))));
  });
  return ops.mul(s, y);
});
export const acosh = onFloat((x) =>
  logTwice(x, (a) => {
    const t = ops.sub(a, like(a, 1));
    return ops.log1p(ops.add(t, ops.sqrt(ops.mul(t, ops.add(a, like(a, 1))))));
  }),
);
export const atanh = onFloat((x) => ops.mul(like(x, 0.5), ops.sub(ops.log1p(x), ops.log1p(ops.neg(x)))));
export const deg2rad = onFloat((x) => ops.mul(x, like(x, Math.PI / 180)));
export const rad2deg = onFloat((x) => ops.mul(x, like(x, 180 / Math.PI)));

// ---- comparison: bool

export const equal = binary('eq');
export const notEqual = binary('ne');
export const less = binary('lt');
export const lessEqual = binary('le');
export const greater = binaryNode((a, b) => ops.lt(b, a));
export const greaterEqual = binaryNode((a, b) => ops.le(b, a));
const floatTest =
  (test: (x: Node) => Node, onInteger: 0 | 1) =>
  (x: TensorLike): Tensor => {
    const n = toNode(x);
    return fromNode(isFloat(n.dtype) ? test(n) : ops.full(n.shape, onInteger, 'bool'));
  };
export const isNan = floatTest((x) => ops.ne(x, x), 0);
export const isInf = floatTest((x) => ops.eq(ops.abs(x), like(x, Number.POSITIVE_INFINITY)), 0);
// biome-ignore lint/suspicious/noShadowRestrictedNames: NumPy's name
export const isFinite = floatTest((x) => ops.lt(ops.abs(x), like(x, Number.POSITIVE_INFINITY)), 1);
/** |a − b| ≤ atol + rtol·|b|, elementwise. */
export function isClose(a: TensorLike, b: TensorLike, options: { rtol?: number; atol?: number } = {}): Tensor {
  const [x, y] = promoted([a, b], atLeastFloat);
  const bound = ops.add(like(y, options.atol ?? 1e-8), ops.mul(like(y, options.rtol ?? 1e-5), ops.abs(y)));
  return fromNode(ops.or(ops.eq(x, y), ops.le(ops.abs(ops.sub(x, y)), bound)));
}

// ---- logic: any dtype counts as x ≠ 0

const truth = (x: TensorLike): Node => ops.cast(toNode(x), 'bool');
export const logicalNot = (x: TensorLike): Tensor => fromNode(ops.not(truth(x)));
export const logicalAnd = (a: TensorLike, b: TensorLike): Tensor => fromNode(ops.and(truth(a), truth(b)));
export const logicalOr = (a: TensorLike, b: TensorLike): Tensor => fromNode(ops.or(truth(a), truth(b)));
export const logicalXor = (a: TensorLike, b: TensorLike): Tensor => fromNode(ops.xor(truth(a), truth(b)));
/** a where the condition holds, else b; all three broadcast. */
export function where(condition: TensorLike, a: TensorLike, b: TensorLike): Tensor {
  const [x, y] = promoted([a, b]);
  return fromNode(ops.select(truth(condition), x, y));
}

// ---- bits: integers and bool

const integers = (who: string, xs: TensorLike[]): Node[] => {
  const nodes = promoted(xs);
  for (const n of nodes)
    if (!isInteger(n.dtype) && n.dtype !== 'bool')
      throw new DTypeError(
        `${who}: bits of ${n.dtype} are not defined. Expected integers or bool, received ${n.dtype}. Use cast(x, 'i32').`,
      );
  return nodes;
};
const bits =
  (who: string, op: BinaryOp) =>
  (a: TensorLike, b: TensorLike): Tensor => {
    const [x, y] = integers(who, [a, b]);
    return fromNode(ops[op](x, y));
  };
export const bitwiseAnd = bits('bitwiseAnd', 'and');
export const bitwiseOr = bits('bitwiseOr', 'or');
export const bitwiseXor = bits('bitwiseXor', 'xor');
export const bitwiseNot = (x: TensorLike): Tensor => {
  const [n] = integers('bitwiseNot', [x]);
  return fromNode(n.dtype === 'bool' ? ops.not(n) : ops.bitNot(n));
};
export const leftShift = bits('leftShift', 'shl');
/** Arithmetic on signed integers, logical on unsigned ones. */
export const rightShift = bits('rightShift', 'shr');

// ---- conversion

/** To another dtype: float → integer truncates, number → bool is ≠ 0. Throws ConfigError for a dtype that there isn't. */
export const cast = (x: TensorLike, dtype: DType): Tensor => fromNode(ops.cast(toNode(x), requireDType(dtype, 'cast')));
/** Identity whose gradient is 0. */
export const stopGradient = (x: TensorLike): Tensor => fromNode(ops.stopGradient(toNode(x)));

export { divide as div, divide as trueDivide, multiply as mul, negative as neg, power as pow, subtract as sub };
