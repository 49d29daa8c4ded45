/**
 * @file Sweeps over floats by their bits: each function of the C prelude, as a vectorized loop, against libm in double
 * precision, all in native code and two threads.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { TargetInfo } from '../../src/kernel/target.js';
import { cFlags, cPrelude } from '../../src/render/c.js';

const run = promisify(execFile);

/** The functions, their meaning in double precision, and the error that c-math.ts states (without fused multiply-add where that differs). */
export const stated = {
  exp: { want: 'exp(x)', ulp: 1.01, plain: 1.01 },
  expm1: { want: 'expm1(x)', ulp: 2, plain: 2 },
  log: { want: 'log(x)', ulp: 1, plain: 1 },
  log1p: { want: 'log1p(x)', ulp: 2, plain: 2 },
  rsqrt: { want: '1 / sqrt(x)', ulp: 1.5, plain: 1.5 },
  tanh: { want: 'tanh(x)', ulp: 2.5, plain: 2.5 },
  sigmoid: { want: '1 / (1 + exp(-x))', ulp: 2.5, plain: 2.5 },
  erf: { want: 'erf(x)', ulp: 2, plain: 2.5 },
  sin: { want: 'sin(x)', ulp: 0.6, plain: 0.6 },
  cos: { want: 'cos(x)', ulp: 0.6, plain: 0.6 },
} as const;
export type Swept = keyof typeof stated;

export interface Found {
  readonly name: Swept;
  /** Largest error in units in the last place, and where. */
  readonly ulp: number;
  readonly at: number;
  /** Floats where one of result and truth is NaN, or zeros differ in sign; and the first of them. */
  readonly wrong: number;
  readonly wrongAt: number;
  readonly checked: number;
}

const headers = ['math', 'pthread', 'stdint', 'stdio', 'stdlib'].map((name) => `#include <${name}.h>`).join('\n');
const driver = String.raw`
enum { block = 4096 };
typedef void Loop(const float *, float *);
typedef double Want(double);
struct job { Loop *loop; Want *want; int first; uint64_t stride; double limit; double worst; float at, wrong_at; uint64_t wrong, checked; };
static void check(struct job *j, float x, float y) {
  double want = j->want(x);
  float rounded = (float)want;
  j->checked++;
  if (t_bits(rounded) == t_bits(y) || (want != want && y != y)) return;
  if (want != want || y != y || (want == 0 && y == 0)) { if (!j->wrong++) j->wrong_at = x; return; }
  // Infinity counts as the power of two after the largest float.
  double a = want > 0x1p128 ? 0x1p128 : want < -0x1p128 ? -0x1p128 : want, b = isinf(y) ? copysign(0x1p128, y) : y;
  int e = fabs(a) < 0x1p-126 ? -126 : fabs(a) >= 0x1p127 ? 127 : ilogb(a);
  double error = fabs(a - b) / ldexp(1, e - 23);
  if (error > j->worst) { j->worst = error; j->at = x; }
}
static void *sweep(void *arg) {
  struct job *j = arg;
  static _Thread_local float x[block], y[block];
  for (uint64_t start = j->first * block * j->stride; start < (uint64_t)1 << 32; start += 2 * block * j->stride) {
    for (int i = 0; i < block; i++) x[i] = t_float((int)(uint32_t)(start + i * j->stride));
    j->loop(x, y);
    for (int i = 0; i < block && start + i * j->stride < (uint64_t)1 << 32; i++)
      if (!(fabs(x[i]) >= j->limit) || isinf(x[i])) check(j, x[i], y[i]);
  }
  return NULL;
}
int main(int argc, char **argv) {
  uint64_t stride = strtoull(argv[1], 0, 10);
  for (int f = 0; loops[f]; f++) {
    struct job jobs[2];
    pthread_t other;
    for (int t = 0; t < 2; t++) jobs[t] = (struct job){loops[f], wants[f], t, stride, limits[f], 0, 0, 0, 0, 0};
    pthread_create(&other, 0, sweep, &jobs[1]);
    sweep(&jobs[0]);
    pthread_join(other, 0);
    // What ends a range, wherever the stride falls.
    float ends[] = {0, -0.0f, INFINITY, -INFINITY, NAN, -NAN, 0x1p-149f, -0x1p-149f, 88.72284f, -87.4f, -103.9f, 1, -1}, y[block], x[block] = {0};
    for (int i = 0; i < 13; i++) x[i] = ends[i];
    loops[f](x, y);
    for (int i = 0; i < 13; i++) check(&jobs[0], x[i], y[i]);
    struct job *worst = &jobs[jobs[1].worst > jobs[0].worst];
    printf("%.4f %.9g %lu %.9g %lu\n", worst->worst, worst->at, jobs[0].wrong + jobs[1].wrong, jobs[!jobs[0].wrong].wrong_at, jobs[0].checked + jobs[1].checked);
  }
}
`;

/** Checks every stride-th float, and the ends of ranges. */
export async function sweep(names: readonly Swept[], target: TargetInfo, cc: string, stride: number): Promise<Found[]> {
  const folder = mkdtempSync(join(tmpdir(), 'tenon-sweep-'));
  try {
    const [loops, main, program] = ['loops.c', 'main.c', 'program'].map((file) => join(folder, file));
    const prelude = cPrelude(target);
    writeFileSync(
      loops,
      prelude +
        names
          .map(
            (n) => `void loop_${n}(const float *restrict x, float *restrict y) {
#pragma omp simd
  for (long i = 0; i < 4096; i++) y[i] = t_${n}(x[i]);
}`,
          )
          .join('\n'),
    );
    const limit = (n: Swept) => (n !== 'sin' && n !== 'cos' ? 'INFINITY' : target.hasFma ? '0x1p50' : '0x1p20');
    const list = (text: (n: Swept) => string) => `{${names.map(text).join(', ')}`;
    writeFileSync(
      main,
      `${headers}
${prelude}
${names.map((n) => `void loop_${n}(const float *, float *);\nstatic double want_${n}(double x) { return ${stated[n].want}; }`).join('\n')}
static void (*const loops[])(const float *, float *) = ${list((n) => `loop_${n}`)}, 0};
static double (*const wants[])(double) = ${list((n) => `want_${n}`)}};
static const double limits[] = ${list(limit)}};
${driver}`,
    );
    const object = `${loops}.o`;
    await run(cc, [...cFlags(target), '-c', '-o', object, loops]);
    await run(cc, ['-O2', '-w', '-o', program, main, object, '-lm', '-lpthread']);
    const lines = (await run(program, [String(stride)])).stdout.trim().split('\n');
    return lines.map((line, i) => {
      const [ulp, at, wrong, wrongAt, checked] = line.split(' ').map(Number);
      return { name: names[i], ulp, at, wrong, wrongAt, checked };
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}
