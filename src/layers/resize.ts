/** @file Resizing of pictures [n, h, w, c] with half-pixel centres, without anti-aliasing, as Keras's default. */
import { fromHost, type Tensor } from '../tensor/index.js';

export type Interpolation = 'nearest' | 'bilinear';

/** One axis from extent d to `out`. */
function resizeAxis(x: Tensor, axis: number, out: number, interpolation: Interpolation): Tensor {
  const d = x.shape[axis];
  if (d === out) return x;
  const at = Float64Array.from({ length: out }, (_, i) => ((i + 0.5) * d) / out - 0.5);
  const inside = (v: number): number => Math.min(d - 1, Math.max(0, v));
  const pick = (f: (v: number) => number): Tensor =>
    x.take(
      Int32Array.from(at, (v) => inside(f(v))),
      axis,
    );
  // Nearest takes the pixel under the centre: floor((i + ½) · d / out).
  if (interpolation === 'nearest') return pick((v) => Math.floor(v + 0.5));
  const share = fromHost(
    Float32Array.from(at, (v) => v - Math.floor(v)),
    x.shape.map((_, i) => (i === axis ? out : 1)),
  );
  const low = pick((v) => Math.floor(v));
  const high = pick((v) => Math.floor(v) + 1);
  return low.add(high.sub(low).mul(share));
}

/** x [n, h, w, c] → [n, height, width, c]; bilinear gives floats. */
export function resizeImages(x: Tensor, height: number, width: number, interpolation: Interpolation): Tensor {
  const floats = interpolation === 'bilinear' && x.dtype !== 'f32' ? x.cast('f32') : x;
  return resizeAxis(resizeAxis(floats, 1, height, interpolation), 2, width, interpolation);
}

/** The largest window of that aspect ratio in the middle, resized: Keras's smart resize. */
export function centerResize(x: Tensor, height: number, width: number, interpolation: Interpolation): Tensor {
  const [n, h, w, c] = x.shape;
  const rows = Math.max(1, Math.min(h, Math.floor((w * height) / width)));
  const columns = Math.max(1, Math.min(w, Math.floor((h * width) / height)));
  const window = x.slice([0, Math.floor((h - rows) / 2), Math.floor((w - columns) / 2), 0], [n, rows, columns, c]);
  return resizeImages(window, height, width, interpolation);
}
