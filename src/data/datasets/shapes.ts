/**
 * @file The built-in data set: 32×32 RGB pictures of ten kinds of drawn objects on textured backgrounds, made from a seed.
 * Colour, size, place, rotation, aspect, specks, an occluder and noise vary, so that a linear model fails and a small CNN learns it.
 * Each picture depends on (seed, split, index) alone: a larger set begins with the smaller one.
 */
import { ConfigError } from '../../base/errors.js';
import type { ArrayColumn } from '../column.js';
import { CounterRandom, streams } from '../random.js';
import { type Outline, outlines } from './shapes-outline.js';
import type { ImageClassification } from './types.js';

const side = 32;
const pixels = side * side;
const forms: readonly Outline[] = Object.values(outlines);

/** circle, square, triangle, star, ring, cross, crescent, heart, arrow, letter. */
export const shapesClassNames: readonly string[] = Object.keys(outlines);

export interface ShapesOptions {
  /** Any integer; default 0. */
  seed?: number;
  /** Training pictures; default 20,000. */
  train?: number;
  /** Test pictures; default 4,000. */
  test?: number;
}

type Colour = readonly [number, number, number];

const anyColour = (r: CounterRandom): Colour => [r.uniform(0, 255), r.uniform(0, 255), r.uniform(0, 255)];
const near = (r: CounterRandom, c: Colour, reach: number): Colour => [
  c[0] + r.uniform(-reach, reach),
  c[1] + r.uniform(-reach, reach),
  c[2] + r.uniform(-reach, reach),
];
const distance = (a: Colour, b: Colour): number => Math.abs(a[0] - b[0]) + Math.abs(a[1] - b[1]) + Math.abs(a[2] - b[2]);

/** A colour at least `apart` (sum of channel differences) from both others; the farthest of 24 tries when none is. */
function contrasting(r: CounterRandom, a: Colour, b: Colour, apart: number): Colour {
  let best = anyColour(r);
  let bestDistance = -1;
  for (let i = 0; i < 24; i++) {
    const c = anyColour(r);
    const d = Math.min(distance(c, a), distance(c, b));
    if (d >= apart) return c;
    if (d > bestDistance) {
      best = c;
      bestDistance = d;
    }
  }
  return best;
}

/** A direction within reach of upright, reach = tan(angle / 2). */
function tilt(r: CounterRandom, reach: number): readonly [number, number] {
  const t = r.uniform(-reach, reach);
  return [(1 - t * t) / (1 + t * t), (2 * t) / (1 + t * t)];
}

/** A random direction [cos, sin] by the rational parametrization of an eighth of the circle either side, then a quarter turn. */
function direction(r: CounterRandom): readonly [number, number] {
  const t = r.uniform(-0.41421356237309503, 0.41421356237309503);
  const c = (1 - t * t) / (1 + t * t);
  const s = (2 * t) / (1 + t * t);
  switch (r.below(4)) {
    case 0:
      return [c, s];
    case 1:
      return [-s, c];
    case 2:
      return [-c, -s];
    default:
      return [s, -c];
  }
}

/** A triangle wave of period 1, steepened so that stripes have edges. */
const steep = (p: number): number => Math.min(1, Math.max(0, 0.5 + 3 * (Math.abs(p - Math.floor(p) - 0.5) - 0.25)));

/** Fills `canvas` (f64 [32·32·3]) with a gradient, stripes, a checkerboard or blotches between two colours. */
function paintBackground(canvas: Float64Array, r: CounterRandom, from: Colour, to: Colour): void {
  const style = r.below(4);
  const [c, s] = direction(r);
  const period = r.uniform(4, 11);
  const offset = 64 * period + r.uniform(0, period);
  const lattice = new Float64Array(36);
  if (style === 3) for (let i = 0; i < 36; i++) lattice[i] = r.uniform(0, 1);
  for (let y = 0, at = 0; y < side; y++)
    for (let x = 0; x < side; x++, at += 3) {
      const along = (x - 15.5) * c + (y - 15.5) * s;
      let t: number;
      if (style === 0) t = 0.5 + along / 45;
      else if (style === 3) {
        const fx = (x * 5) / 32;
        const fy = (y * 5) / 32;
        const ix = Math.floor(fx);
        const iy = Math.floor(fy);
        const i = iy * 6 + ix;
        const top = lattice[i] + (lattice[i + 1] - lattice[i]) * (fx - ix);
        const bottom = lattice[i + 6] + (lattice[i + 7] - lattice[i + 6]) * (fx - ix);
        t = top + (bottom - top) * (fy - iy);
      } else {
        t = steep((along + offset) / period);
        if (style === 2) {
          const across = steep(((y - 15.5) * c - (x - 15.5) * s + offset) / period);
          t = t + across - 2 * t * across;
        }
      }
      canvas[at] = from[0] + (to[0] - from[0]) * t;
      canvas[at + 1] = from[1] + (to[1] - from[1]) * t;
      canvas[at + 2] = from[2] + (to[2] - from[2]) * t;
    }
}

const disc: Outline = (u, v) => 1 - Math.sqrt(u * u + v * v);
const bar: Outline = (u, v) => Math.min(1 - Math.abs(u), 1 - Math.abs(v));

interface Placement {
  readonly x: number;
  readonly y: number;
  /** Pixels from the centre to the unit circle, along the object's own two axes. */
  readonly radiusU: number;
  readonly radiusV: number;
  readonly turn: readonly [number, number];
}

/** Blends `outline` over the canvas with edges one pixel soft; the colour runs from `from` to `to` along the object's own v axis. */
function paintOutline(canvas: Float64Array, outline: Outline, p: Placement, from: Colour, to: Colour): void {
  // Every object fits in 1.2 units of its centre, a unit square's corner in √2.
  const reach = Math.max(p.radiusU, p.radiusV) * (outline === bar ? 1.4143 : 1.2) + 1;
  const [c, s] = p.turn;
  const scale = Math.min(p.radiusU, p.radiusV);
  for (let y = Math.max(0, Math.floor(p.y - reach)); y <= Math.min(side - 1, Math.ceil(p.y + reach)); y++)
    for (let x = Math.max(0, Math.floor(p.x - reach)); x <= Math.min(side - 1, Math.ceil(p.x + reach)); x++) {
      const dx = x - p.x;
      const dy = y - p.y;
      if (dx * dx + dy * dy > reach * reach) continue;
      const v = (dy * c - dx * s) / p.radiusV;
      const cover = outline((dx * c + dy * s) / p.radiusU, v) * scale + 0.5;
      if (cover <= 0) continue;
      const a = Math.min(cover, 1);
      const t = 0.5 + 0.5 * Math.min(1, Math.max(-1, v));
      const at = (y * side + x) * 3;
      canvas[at] += (from[0] + (to[0] - from[0]) * t - canvas[at]) * a;
      canvas[at + 1] += (from[1] + (to[1] - from[1]) * t - canvas[at + 1]) * a;
      canvas[at + 2] += (from[2] + (to[2] - from[2]) * t - canvas[at + 2]) * a;
    }
}

function paintPicture(canvas: Float64Array, r: CounterRandom, label: number): void {
  const from = anyColour(r);
  const to = near(r, from, 60);
  paintBackground(canvas, r, from, to);
  const ink = contrasting(r, from, to, 190);

  for (let n = r.below(3); n > 0; n--) {
    const colour = r.below(2) ? near(r, ink, 60) : anyColour(r);
    const long = r.below(2) ? r.uniform(3, 7) : r.uniform(1, 2.2);
    const place = { x: r.uniform(1, 31), y: r.uniform(1, 31), radiusU: long, radiusV: r.uniform(0.8, 1.9), turn: direction(r) };
    paintOutline(canvas, r.below(2) ? disc : bar, place, colour, colour);
  }

  const radius = r.uniform(8.5, 13);
  const aspect = r.uniform(0.8, 1.25);
  const room = Math.max(1, 15.5 - radius) * 0.65;
  const place = {
    x: 15.5 + r.uniform(-room, room),
    y: 15.5 + r.uniform(-room, room),
    radiusU: radius,
    radiusV: radius * aspect,
    turn: tilt(r, 0.16),
  };
  paintOutline(canvas, forms[label], place, ink, near(r, ink, 45));

  if (r.below(4) === 0) {
    // A bar across the object or a disc on its edge hides a part.
    const colour = r.below(2) ? near(r, from, 40) : anyColour(r);
    const [c, s] = direction(r);
    const off = radius * r.uniform(0.1, 0.9);
    const isBar = r.below(2) === 1;
    paintOutline(
      canvas,
      isBar ? bar : disc,
      {
        x: place.x + c * off,
        y: place.y + s * off,
        radiusU: isBar ? r.uniform(0.7, 1.7) : r.uniform(2, 4),
        radiusV: isBar ? 40 : r.uniform(2, 4),
        turn: [c, s],
      },
      colour,
      colour,
    );
  }
}

/** Adds uniform noise to each channel of each pixel; storing rounds and clamps to bytes. */
function develop(canvas: Float64Array, r: CounterRandom, out: Uint8ClampedArray, offset: number): void {
  const amplitude = r.uniform(4, 28);
  // One xorshift32 per picture, seeded from its counter; a word holds the ten bits of each of a pixel's three channels.
  let state = r.word() | 1;
  const unit = amplitude / 512;
  for (let i = 0; i < pixels * 3; i += 3) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    out[offset + i] = canvas[i] + (state & 1023) * unit - amplitude;
    out[offset + i + 1] = canvas[i + 1] + ((state >>> 10) & 1023) * unit - amplitude;
    out[offset + i + 2] = canvas[i + 2] + ((state >>> 20) & 1023) * unit - amplitude;
  }
}

/** Every ten pictures in a row hold each class once, in a drawn order. */
function drawLabels(seed: number, n: number, split: number): Uint8Array {
  const y = new Uint8Array(n);
  const r = new CounterRandom(seed, streams.shapesLabels);
  const ten = new Uint8Array(10);
  for (let start = 0, block = 0; start < n; start += 10, block++) {
    r.seek(block * 2 + split);
    for (let i = 0; i < 10; i++) {
      const j = r.below(i + 1);
      ten[i] = ten[j];
      ten[j] = i;
    }
    y.set(ten.subarray(0, Math.min(10, n - start)), start);
  }
  return y;
}

function makeSplit(seed: number, n: number, test: boolean): { x: ArrayColumn; y: ArrayColumn } {
  const labels = drawLabels(seed, n, test ? 1 : 0);
  const data = new Uint8Array(n * pixels * 3);
  const bytes = new Uint8ClampedArray(data.buffer);
  const canvas = new Float64Array(pixels * 3);
  const r = new CounterRandom(seed, test ? streams.shapesTest : streams.shapesTrain);
  for (let i = 0; i < n; i++) {
    r.seek(i);
    paintPicture(canvas, r, labels[i]);
    develop(canvas, r, bytes, i * pixels * 3);
  }
  return { x: { data, shape: [n, side, side, 3], dtype: 'u8' }, y: { data: labels, shape: [n], dtype: 'u8' } };
}

/**
 * Makes the shapes data set: x u8 [n, 32, 32, 3], y u8 [n] in 0 … 9, classes balanced. Deterministic in the seed on every platform.
 * @throws ConfigError when an option is not a non-negative integer.
 */
export function generateShapes(options: ShapesOptions = {}): ImageClassification {
  const { seed = 0, train = 20_000, test = 4_000 } = options;
  if (!Number.isSafeInteger(seed)) throw new ConfigError(`shapes: seed must be an integer. Received ${seed}.`);
  for (const [name, n] of Object.entries({ train, test }))
    if (!Number.isInteger(n) || n < 0) throw new ConfigError(`shapes: ${name} must be a number of pictures, 0 or more. Received ${n}.`);
  return { train: makeSplit(seed, train, false), test: makeSplit(seed, test, true), classNames: [...shapesClassNames] };
}
