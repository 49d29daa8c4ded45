/**
 * @file The ten outlines of the shapes data set as implicit functions: f(u, v) > 0 inside, roughly the distance to the edge in
 * units of the radius. Only + − × ÷, comparisons and Math.sqrt, so every engine computes the same bytes.
 */

/** u points right, v down; the object fills about the unit disc. */
export type Outline = (u: number, v: number) => number;

const length = (u: number, v: number): number => Math.sqrt(u * u + v * v);
const box = (u: number, v: number, halfWidth: number, halfHeight: number): number =>
  Math.min(halfWidth - Math.abs(u), halfHeight - Math.abs(v));

// Sine and cosine of 18° and 54°, written out: no trigonometry at run time.
const sin18 = 0.30901699437494745;
const cos18 = 0.9510565162951535;
const sin54 = 0.8090169943749475;
const cos54 = 0.5877852522924732;

function star(u: number, v: number): number {
  // A point lies in a pentagram when it is outside at most one of its five lines: the second largest distance counts.
  // The star is symmetric in u, so two of the normals serve for four lines.
  const a = Math.abs(u);
  const d1 = v;
  const d2 = sin18 * v + cos18 * a;
  const d3 = sin18 * v - cos18 * a;
  const d4 = cos54 * a - sin54 * v;
  const d5 = -cos54 * a - sin54 * v;
  // a ≥ 0 makes d2 ≥ d3 and d4 ≥ d5, so the two largest are among d1 and the larger or both of a pair.
  const largest = Math.max(d1, d2, d4);
  const second = largest === d2 ? Math.max(d1, d3, d4) : largest === d4 ? Math.max(d1, d2, d5) : Math.max(d2, d4);
  return 0.36 - second;
}

const triangle: Outline = (u, v) => Math.min(0.5 - v, 0.5 * v + 0.5 - 0.8660254037844386 * Math.abs(u));

function heart(u: number, v: number): number {
  // A square on its corner with a half disc on each of its two upper sides.
  const p = (u + v - 0.12) * Math.SQRT1_2;
  const q = (v - u - 0.12) * Math.SQRT1_2;
  const square = box(p, q, 0.5, 0.5);
  return Math.max(square, 0.5 - length(p, q + 0.5), 0.5 - length(p + 0.5, q));
}

/** In label order; the names are the class names. */
export const outlines = {
  circle: (u, v) => 0.9 - length(u, v),
  square: (u, v) => box(u, v, 0.78, 0.78),
  triangle,
  star,
  ring: (u, v) => 0.23 - Math.abs(length(u, v) - 0.72),
  cross: (u, v) => Math.max(box(u, v, 0.28, 0.98), box(u, v, 0.98, 0.28)),
  crescent: (u, v) => Math.min(0.98 - length(u, v), length(u - 0.48, v) - 0.76),
  heart,
  arrow: (u, v) => Math.max(box(u, v - 0.3, 0.2, 0.65), Math.min(0.05 - v, 0.72 * (v + 1) - 0.7 * Math.abs(u))),
  letter: (u, v) =>
    Math.max(box(u + 0.5, v, 0.2, 0.95), box(u, v - 0.76, 0.7, 0.19), box(u, v + 0.76, 0.7, 0.19), box(u + 0.1, v, 0.5, 0.17)),
} as const satisfies Record<string, Outline>;
