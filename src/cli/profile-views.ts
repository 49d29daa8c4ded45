/** @file A profile for other programs: the picture (SVG) and the Chrome trace. Pure functions; the command writes the files. */
import type { KernelProfile, StepProfile } from '../train/index.js';
import { percent } from './output.js';

/** 12,345,678 of B → `12.3 MB`. */
export function short(x: number, unit = ''): string {
  const prefixes = ['', 'k', 'M', 'G', 'T', 'P'];
  let [value, i] = [x, 0];
  for (; value >= 999.5 && i < prefixes.length - 1; i++) value /= 1000;
  return `${i === 0 ? Math.round(value) : value.toPrecision(3)} ${prefixes[i]}${unit}`.trimEnd();
}

export const gigaflops = (k: KernelProfile): number => (k.ms > 0 ? k.flops / k.ms / 1e6 : 0);
export const gigabytes = (k: KernelProfile): number => (k.ms > 0 ? k.bytes / k.ms / 1e6 : 0);

/** Calls that do the same work: one row of the table. */
export interface KernelRow {
  /** One call of them, with the mean of their times. */
  readonly kernel: KernelProfile;
  /** Number of the first call in the Program. */
  readonly first: number;
  readonly calls: number;
  /** Of all of them. */
  readonly ms: number;
}

/** Calls of equal label, size and work together, the dearest first. */
export function rowsOf(kernels: readonly KernelProfile[]): KernelRow[] {
  const groups = new Map<string, { first: number; calls: KernelProfile[] }>();
  for (const [first, kernel] of kernels.entries()) {
    const key = `${kernel.label}|${kernel.items}|${kernel.flops}|${kernel.bytes}`;
    const group = groups.get(key) ?? { first, calls: [] };
    group.calls.push(kernel);
    groups.set(key, group);
  }
  return [...groups.values()]
    .map(({ first, calls }): KernelRow => {
      const ms = calls.reduce((n, k) => n + k.ms, 0);
      const mean = ms / calls.length;
      // The limit's own time is the same for every call.
      const shareOfLimit = mean > 0 ? (calls[0].shareOfLimit * calls[0].ms) / mean : 0;
      return {
        kernel: { ...calls[0], ms: mean, shareOfStep: calls[0].ms > 0 ? (calls[0].shareOfStep * mean) / calls[0].ms : 0, shareOfLimit },
        first,
        calls: calls.length,
        ms,
      };
    })
    .sort((a, b) => b.ms - a.ms);
}

/** `cnn: training step, batch 32, native, 2 threads`. */
export const titleOf = (p: Pick<StepProfile, 'model' | 'phase' | 'batchSize' | 'device' | 'threads'>): string =>
  `${p.model}: ${p.phase === 'train' ? 'training step' : 'forward pass'}, batch ${p.batchSize}, ${p.device}, ${p.threads} ${p.threads === 1 ? 'thread' : 'threads'}`;

// ---- Chrome trace

/** What chrome://tracing and Perfetto open: one complete event a call, one after another from 0, in µs. */
export function chromeTrace(p: StepProfile): object {
  const ids = { pid: 1, tid: 1 };
  let at = 0;
  const events = p.kernels.map((k, call) => {
    const ts = at;
    const dur = k.ms * 1000;
    at += dur;
    return {
      name: k.label,
      cat: 'kernel',
      ph: 'X',
      ts,
      dur,
      ...ids,
      args: {
        call,
        items: k.items,
        flops: k.flops,
        bytes: k.bytes,
        gflops: gigaflops(k),
        gbytes: gigabytes(k),
        shareOfStep: k.shareOfStep,
        shareOfLimit: k.shareOfLimit,
        reads: k.reads,
        writes: k.writes,
      },
    };
  });
  return {
    displayTimeUnit: 'ms',
    traceEvents: [
      { name: 'process_name', ph: 'M', ...ids, args: { name: titleOf(p) } },
      { name: 'thread_name', ph: 'M', ...ids, args: { name: 'kernels' } },
      ...events,
    ],
    otherData: { ...p.limits, steps: p.steps, ms: p.ms, outsideMs: p.outsideMs, ordinaryMs: p.ordinaryMs },
  };
}

// ---- SVG

/** Text for XML; characters that XML has no place for are left out. */
export const escapeXml = (text: string): string =>
  text
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd]/g, '')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');

/** Far from the limit orange, at it blue: told apart by any eyes. */
function colour(share: number): string {
  const [from, to] = [
    [230, 97, 1],
    [33, 102, 172],
  ];
  const t = Math.min(1, Math.max(0, share));
  // Through a light middle, so that both ends stand out.
  const mix = (a: number, b: number, u: number): number => Math.round(a + (b - a) * u);
  const channel = (i: number): number => (t < 0.5 ? mix(from[i], 240, 2 * t) : mix(240, to[i], 2 * t - 1));
  return `rgb(${channel(0)},${channel(1)},${channel(2)})`;
}

const width = 1200;
const margin = 20;
const inner = width - 2 * margin;
/** Kernels that the lower part shows. */
const most = 30;

/** The step as one strip, a bar a kernel in the order in which they run; below, the dearest kernels by name. */
export function profileSvg(p: StepProfile): string {
  const out: string[] = [];
  const n = (x: number): string => String(Math.round(x * 100) / 100);
  const rect = (x: number, y: number, w: number, h: number, fill: string, title: string): string =>
    `<rect x="${n(x)}" y="${n(y)}" width="${n(w)}" height="${h}" fill="${fill}" stroke="#fff" stroke-width="${w > 3 ? 0.5 : 0}">${title === '' ? '' : `<title>${escapeXml(title)}</title>`}</rect>`;
  const text = (x: number, y: number, content: string, extra = ''): string =>
    `<text x="${n(x)}" y="${n(y)}"${extra}>${escapeXml(content)}</text>`;
  const end = ' text-anchor="end"';
  /** As much of a text as fits; empty when that's next to nothing. */
  const clip = (content: string, w: number): string => {
    const room = Math.floor((w - 8) / 6.6);
    return content.length <= room ? content : room < 4 ? '' : `${content.slice(0, room - 1)}…`;
  };
  const perMs = p.ms > 0 ? inner / p.ms : 0;

  out.push(text(margin, 30, titleOf(p), ' font-size="16" font-weight="bold"'));
  out.push(
    text(
      margin,
      50,
      `${p.ms.toFixed(3)} ms: ${p.kernels.length} kernels ${p.kernelMs.toFixed(3)} ms, outside of them ${p.outsideMs.toFixed(3)} ms; an ordinary step ${p.ordinaryMs.toFixed(3)} ms; medians of ${p.steps} steps`,
    ),
  );
  let x = margin;
  const strip = 70;
  p.kernels.forEach((k, i) => {
    const w = k.ms * perMs;
    out.push(rect(x, strip, w, 60, colour(k.shareOfLimit), `${i}: ${detail(k)}`));
    const label = clip(k.label, w);
    if (label !== '') out.push(text(x + 4, strip + 34, label, ' pointer-events="none"'));
    x += w;
  });
  out.push(rect(x, strip, Math.max(0, width - margin - x), 60, '#d9d9d9', `outside of kernels: ${p.outsideMs.toFixed(4)} ms`));
  const tick = niceStep(p.ms / 8);
  for (let i = 0; tick > 0 && i * tick <= p.ms * (1 + 1e-9); i++) {
    const at = margin + i * tick * perMs;
    out.push(`<line x1="${n(at)}" y1="${strip + 60}" x2="${n(at)}" y2="${strip + 66}" stroke="#555"/>`);
    out.push(text(at, strip + 80, `${Number((i * tick).toPrecision(6))} ms`, ' text-anchor="middle" fill="#555"'));
  }

  let y = strip + 110;
  out.push(text(margin, y + 12, 'share of the limit'));
  for (let i = 0; i <= 10; i++) out.push(rect(margin + 140 + 40 * i, y, 40, 16, colour(i / 10), ''));
  out.push(text(margin + 145, y + 12, '0 %'), text(margin + 140 + 435, y + 12, '100 %', `${end} fill="#fff"`));
  out.push(
    text(
      margin + 600,
      y + 12,
      `the limits: ${(p.limits.flopsPerSecond / 1e9).toFixed(1)} GFLOP/s (product 1024³), ${(p.limits.bytesPerSecond / 1e9).toFixed(1)} GB/s (copy)`,
      ' fill="#555"',
    ),
  );
  y += 40;
  const rows = rowsOf(p.kernels);
  const longest = Math.max(rows[0]?.ms ?? 0, 1e-9);
  const names = 340;
  for (const { kernel, calls, ms } of rows.slice(0, most)) {
    out.push(text(margin, y + 13, clip(`${kernel.label}${calls > 1 ? ` ×${calls}` : ''}`, names)));
    const w = (ms / longest) * (inner - names - 260);
    out.push(
      rect(margin + names, y, w, 18, colour(kernel.shareOfLimit), `${calls > 1 ? `${calls} calls, a call: ` : ''}${detail(kernel)}`),
    );
    out.push(
      text(
        width - margin,
        y + 13,
        `${ms.toFixed(3)} ms  ${percent(p.ms > 0 ? ms / p.ms : 0).padStart(6)}  of limit ${percent(kernel.shareOfLimit).padStart(6)}`,
        end,
      ),
    );
    y += 22;
  }
  const rest = rows.slice(most);
  if (rest.length > 0) {
    out.push(text(margin, y + 13, `and ${rest.length} more, ${rest.reduce((s, r) => s + r.ms, 0).toFixed(3)} ms`, ' fill="#555"'));
    y += 22;
  }
  const height = y + margin;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="monospace" font-size="11" xml:space="preserve">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...out,
    '</svg>',
    '',
  ].join('\n');
}

const detail = (k: KernelProfile): string =>
  `${k.label}\n${k.ms.toFixed(4)} ms, ${percent(k.shareOfStep)} of the step\n${short(k.flops, 'FLOP')}, ${gigaflops(k).toFixed(1)} GFLOP/s\n${short(k.bytes, 'B')}, ${gigabytes(k).toFixed(1)} GB/s\n${percent(k.shareOfLimit)} of the limit\n${k.items} items`;

/** 1, 2 or 5 times a power of ten, at least `least`. */
function niceStep(least: number): number {
  if (!(least > 0)) return 0;
  const power = 10 ** Math.floor(Math.log10(least));
  return power * ([1, 2, 5].find((f) => f * power >= least) ?? 10);
}
