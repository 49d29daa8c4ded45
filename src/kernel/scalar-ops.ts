/**
 * @file The table of elementwise operations. One row serves the graph (dtype rule), constant folding and the
 * interpreter (`js`), and differentiation (`grad`); each renderer adds one line. A row builds its gradient with `o`,
 * so it imports no graph. Adding an op: its name in the union, its row here, one line in each renderer's table.
 */

export type UnaryOp =
  | 'neg'
  | 'abs'
  | 'sign'
  | 'not'
  | 'bitNot'
  | 'exp'
  | 'expm1'
  | 'log'
  | 'log1p'
  | 'sqrt'
  | 'rsqrt'
  | 'sin'
  | 'cos'
  | 'tanh'
  | 'sigmoid'
  | 'erf'
  | 'floor'
  | 'ceil'
  | 'round';
export type BinaryOp =
  | 'add'
  | 'sub'
  | 'mul'
  | 'div'
  | 'idiv'
  | 'mod'
  | 'pow'
  | 'max'
  | 'min'
  | 'atan2'
  | 'and'
  | 'or'
  | 'xor'
  | 'shl'
  | 'shr'
  | 'lt'
  | 'le'
  | 'eq'
  | 'ne';
export type TernaryOp = 'select';
export type ScalarOp = UnaryOp | BinaryOp | TernaryOp;

/** What a gradient rule may use: every op of the table on values `N`, and a constant of the dtype and shape of `like`. */
export type ScalarBuilder<N> = Record<UnaryOp, (x: N) => N> &
  Record<BinaryOp, (a: N, b: N) => N> &
  Record<TernaryOp, (c: N, a: N, b: N) => N> & { constant(value: number, like: N): N };

/** Gradient of each argument (null: none) from `dy`, the arguments and the result `y`. */
// The rule is generic in N: the same row differentiates any graph that can build the ops.
export type ScalarGrad = <N>(o: ScalarBuilder<N>, dy: N, args: N[], y: N) => (N | null)[];

export interface ScalarRow {
  readonly arity: 1 | 2 | 3;
  /** Result: the dtype of the (last) argument, or bool. */
  readonly out: 'same' | 'bool';
  /** What it accepts: floats only, numbers (float or integer), integers (and bool), or anything. */
  readonly domain: 'float' | 'number' | 'int' | 'any';
  /** Plain meaning in double precision; the result is rounded or wrapped to the dtype when stored. */
  readonly js: (...x: number[]) => number;
  /** Meaning on integers where it differs (wrapping products, floor division). */
  readonly jsInt?: (...x: number[]) => number;
  readonly grad: ScalarGrad | null;
}

const unary = (
  domain: ScalarRow['domain'],
  js: (x: number) => number,
  grad: ScalarGrad | null,
  out: ScalarRow['out'] = 'same',
): ScalarRow => ({ arity: 1, out, domain, js, grad });
const binary = (
  domain: ScalarRow['domain'],
  js: (a: number, b: number) => number,
  grad: ScalarGrad | null,
  more: Partial<ScalarRow> = {},
): ScalarRow => ({ arity: 2, out: 'same', domain, js: js as ScalarRow['js'], grad, ...more });
const compare = (js: (a: number, b: number) => boolean): ScalarRow => binary('any', (a, b) => (js(a, b) ? 1 : 0), null, { out: 'bool' });

/** Half of the gradient to each of two equal arguments, as JAX does. */
const tied: (larger: 'max' | 'min') => ScalarGrad =
  (which) =>
  (o, dy, [a, b]) => {
    const half = o.mul(dy, o.constant(0.5, dy));
    const zero = o.constant(0, dy);
    const wins = (x: typeof a, y: typeof a) => (which === 'max' ? o.lt(y, x) : o.lt(x, y));
    const share = (x: typeof a, y: typeof a) => o.select(o.eq(x, y), half, o.select(wins(x, y), dy, zero));
    return [share(a, b), share(b, a)];
  };

/** Rounds half to even, as NumPy and IEEE do. */
export function roundHalfEven(x: number): number {
  const f = Math.floor(x);
  const d = x - f;
  return d < 0.5 ? f : d > 0.5 ? f + 1 : f % 2 === 0 ? f : f + 1;
}

/** erf by series and continued fraction, to double precision. */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = a;
    let sum = a;
    for (let n = 1; n < 80 && Math.abs(term) > 1e-18 * sum; n++) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let f = 0;
  for (let n = 60; n > 0; n--) f = n / 2 / (a + f);
  return Math.sign(x) * (1 - Math.exp(-a * a) / ((a + f) * Math.sqrt(Math.PI)));
}

export const scalarOps = {
  neg: unary(
    'number',
    (x) => -x,
    (o, dy) => [o.neg(dy)],
  ),
  abs: unary('number', Math.abs, (o, dy, [x]) => [o.mul(dy, o.sign(x))]),
  sign: unary('number', Math.sign, (o, dy) => [o.constant(0, dy)]),
  not: unary('any', (x) => (x ? 0 : 1), null, 'bool'),
  bitNot: unary('int', (x) => ~x, null),
  exp: unary('float', Math.exp, (o, dy, _, y) => [o.mul(dy, y)]),
  expm1: unary('float', Math.expm1, (o, dy, _, y) => [o.mul(dy, o.add(y, o.constant(1, y)))]),
  log: unary('float', Math.log, (o, dy, [x]) => [o.div(dy, x)]),
  log1p: unary('float', Math.log1p, (o, dy, [x]) => [o.div(dy, o.add(x, o.constant(1, x)))]),
  sqrt: unary('float', Math.sqrt, (o, dy, _, y) => [o.div(o.mul(dy, o.constant(0.5, dy)), y)]),
  rsqrt: unary(
    'float',
    (x) => 1 / Math.sqrt(x),
    (o, dy, [x], y) => [o.div(o.mul(dy, o.mul(y, o.constant(-0.5, y))), x)],
  ),
  sin: unary('float', Math.sin, (o, dy, [x]) => [o.mul(dy, o.cos(x))]),
  cos: unary('float', Math.cos, (o, dy, [x]) => [o.neg(o.mul(dy, o.sin(x)))]),
  tanh: unary('float', Math.tanh, (o, dy, _, y) => [o.mul(dy, o.sub(o.constant(1, y), o.mul(y, y)))]),
  sigmoid: unary(
    'float',
    (x) => 1 / (1 + Math.exp(-x)),
    (o, dy, _, y) => [o.mul(dy, o.mul(y, o.sub(o.constant(1, y), y)))],
  ),
  erf: unary('float', erf, (o, dy, [x]) => [o.mul(dy, o.mul(o.constant(2 / Math.sqrt(Math.PI), x), o.exp(o.neg(o.mul(x, x)))))]),
  floor: unary('number', Math.floor, (o, dy) => [o.constant(0, dy)]),
  ceil: unary('number', Math.ceil, (o, dy) => [o.constant(0, dy)]),
  round: unary('number', roundHalfEven, (o, dy) => [o.constant(0, dy)]),

  add: binary(
    'any',
    (a, b) => a + b,
    (_, dy) => [dy, dy],
  ),
  sub: binary(
    'number',
    (a, b) => a - b,
    (o, dy) => [dy, o.neg(dy)],
  ),
  mul: binary(
    'any',
    (a, b) => a * b,
    (o, dy, [a, b]) => [o.mul(dy, b), o.mul(dy, a)],
    { jsInt: Math.imul as ScalarRow['js'] },
  ),
  div: binary(
    'float',
    (a, b) => a / b,
    (o, dy, [, b], y) => [o.div(dy, b), o.neg(o.div(o.mul(dy, y), b))],
  ),
  /** Floor division; by zero gives 0 on integers. */
  idiv: binary(
    'number',
    (a, b) => Math.floor(a / b),
    (o, dy) => [o.constant(0, dy), o.constant(0, dy)],
    { jsInt: (a, b) => (b === 0 ? 0 : Math.floor(a / b)) },
  ),
  /** NumPy's remainder: the sign of the divisor; by zero gives 0 on integers. */
  mod: binary(
    'number',
    (a, b) => a - b * Math.floor(a / b),
    (o, dy, [a, b]) => [dy, o.neg(o.mul(dy, o.idiv(a, b)))],
    { jsInt: (a, b) => (b === 0 ? 0 : a - b * Math.floor(a / b)) },
  ),
  pow: binary('number', Math.pow, (o, dy, [a, b], y) => {
    const zero = o.constant(0, a);
    const one = o.constant(1, a);
    // At a = 0 the plain rules give 0·∞: the limits are b·a^(b-1), and 0 for the exponent.
    const da = o.mul(dy, o.select(o.eq(b, zero), zero, o.mul(b, o.pow(a, o.sub(b, one)))));
    const safe = o.select(o.lt(zero, a), a, one);
    return [da, o.mul(dy, o.mul(y, o.log(safe)))];
  }),
  max: binary('any', Math.max, tied('max')),
  min: binary('any', Math.min, tied('min')),
  atan2: binary('float', Math.atan2, (o, dy, [a, b]) => {
    const r = o.div(dy, o.add(o.mul(a, a), o.mul(b, b)));
    return [o.mul(r, b), o.neg(o.mul(r, a))];
  }),
  /** Bitwise on integers, logical on bool. */
  and: binary('int', (a, b) => a & b, null),
  or: binary('int', (a, b) => a | b, null),
  xor: binary('int', (a, b) => a ^ b, null),
  shl: binary('int', (a, b) => a << b, null),
  /** Arithmetic on signed types, logical on unsigned ones. */
  shr: binary('int', (a, b) => (a < 0 ? a >> b : Math.floor(a / 2 ** b)), null),
  lt: compare((a, b) => a < b),
  le: compare((a, b) => a <= b),
  eq: compare((a, b) => a === b),
  ne: compare((a, b) => a !== b),

  /** select(c, a, b): a where c (bool) holds, else b. */
  select: {
    arity: 3,
    out: 'same',
    domain: 'any',
    js: (c: number, a: number, b: number) => (c ? a : b),
    grad: (o, dy, [c]) => {
      const zero = o.constant(0, dy);
      return [null, o.select(c, dy, zero), o.select(c, zero, dy)];
    },
  },
} satisfies Record<ScalarOp, ScalarRow>;

export const scalarRow = (op: ScalarOp): ScalarRow => scalarOps[op];
export const isScalarOp = (op: string): op is ScalarOp => Object.hasOwn(scalarOps, op);
