/**
 * @file Rates of the attention templates alone, one core: `npx vite-node bench/kernels/attention.ts [lanes] [compiler] [filter]`.
 * Minima over many repetitions, beside the multiply-add peak measured in the same run. Only visible pairs of query and key count.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DType } from '../../src/base/dtype.js';
import { attentionForward } from '../../src/compile/templates/attention.js';
import { type AttentionShape, plainRows } from '../../src/compile/templates/attention-block.js';
import { attentionBackward } from '../../src/compile/templates/attention-grad.js';
import type { BufferParam, Kernel } from '../../src/kernel/kernel.js';
import { verifyKernel } from '../../src/kernel/verify.js';
import { cFlags, cPrelude, cScratchBytes, renderC } from '../../src/render/c.js';
import { driver, targetOf } from './driver.js';

const lanes = Number(process.argv[2] ?? 8);
const cc = process.argv[3] ?? 'gcc';
const filter = process.argv[4] ?? '';
const target = targetOf(lanes, Number(process.argv[5] ?? 2));

interface Entry {
  readonly name: string;
  readonly shape: AttentionShape;
  readonly dtype: DType;
  readonly isBackward: boolean;
  /** The interval of query `t`, in C. */
  readonly see: readonly [first: string, end: string];
}
const shapeOf = (batch: number, queries: number, heads: number, keys: number, groups: number, dim: number): AttentionShape => ({
  batch,
  queries,
  heads,
  keys,
  groups,
  dim,
  valueDim: dim,
  scale: 1 / Math.sqrt(dim),
});
const both = (name: string, shape: AttentionShape, see: Entry['see'], dtype: DType = 'f32'): Entry[] =>
  [false, true].map((isBackward) => ({ name: `${name}${isBackward ? ' backward' : ''}`, shape, dtype, isBackward, see }));
const causal = ['0', 't+1'] as const;
const entries: Entry[] = [
  ...both('4×256, 9/3 heads of 64', shapeOf(4, 256, 9, 256, 3, 64), causal),
  ...both('4×256, 9/3 of 64, bf16', shapeOf(4, 256, 9, 256, 3, 64), causal, 'bf16'),
  ...both('4×256, 9/3 of 64, all', shapeOf(4, 256, 9, 256, 3, 64), ['0', '256']),
  ...both('12×64, 4 heads of 32', shapeOf(12, 64, 4, 64, 4, 32), causal),
  ...both('2×512, 8 heads of 128', shapeOf(2, 512, 8, 512, 8, 128), causal),
  ...both('1×1024, 12 heads of 64', shapeOf(1, 1024, 12, 1024, 12, 64), causal),
  ...both('packed documents of 100', shapeOf(2, 1024, 9, 1024, 3, 64), ['t/100*100', 't+1']),
  ...both('2×65, 4/2 heads of 20', shapeOf(2, 65, 4, 65, 2, 20), causal),
  ...[1, 8].flatMap((slots) =>
    (['f32', 'bf16', 'f16'] as const).map((dtype) => ({
      name: `decoding, ${slots}×512, 9/3, ${dtype}`,
      shape: shapeOf(slots, 1, 9, 512, 3, 64),
      dtype,
      isBackward: false,
      see: ['0', '512'] as const,
    })),
  ),
].filter((e) => e.name.includes(filter));

const bytesOf = (dtype: DType): number => (dtype === 'f32' || dtype === 'i32' ? 4 : 2);
let source = cPrelude(target) + driver(lanes);
let main = 'int main(){double pk=peak();printf("peak %.1f GFLOP/s\\n",pk);void*scratch;\n';
for (const [n, e] of entries.entries()) {
  const { shape: s, dtype } = e;
  const queries = s.batch * s.queries * s.heads;
  const keys = s.batch * s.keys * s.groups;
  const sizes = { q: queries * s.dim, k: keys * s.dim, v: keys * s.valueDim, out: queries * s.valueDim };
  const params: Record<string, { dtype: DType; size: number; access: BufferParam['access'] }> = {
    q: { dtype, size: sizes.q, access: 'read' },
    k: { dtype, size: sizes.k, access: 'read' },
    v: { dtype, size: sizes.v, access: 'read' },
    first: { dtype: 'i32', size: s.batch * s.queries, access: 'read' },
    end: { dtype: 'i32', size: s.batch * s.queries, access: 'read' },
    out: { dtype, size: sizes.out, access: e.isBackward ? 'read' : 'write' },
    lse: { dtype: 'f32', size: queries, access: e.isBackward ? 'read' : 'write' },
    dy: { dtype, size: sizes.out, access: 'read' },
    grad: { dtype: 'f32', size: sizes.q + sizes.k + sizes.v, access: 'write' },
  };
  const buffers = Object.entries(params).map(([name, p]): BufferParam => ({ name, dtype: p.dtype, access: p.access }));
  const operands = {
    shape: s,
    q: plainRows('q', dtype, s.queries, s.heads, s.dim),
    k: plainRows('k', dtype, s.keys, s.groups, s.dim),
    v: plainRows('v', dtype, s.keys, s.groups, s.valueDim),
    first: 'first',
    end: 'end',
    lse: 'lse',
    buffers,
    label: e.name,
  };
  const rows = (name: string) => plainRows(name, dtype, s.queries, s.heads, s.valueDim);
  let kernels: readonly Kernel[];
  if (e.isBackward) {
    const made = attentionBackward({ ...operands, out: rows('out'), dy: rows('dy'), grad: 'grad' }, target);
    kernels = made.kernels;
    if (made.partial) params[made.partial.name] = { dtype: 'f32', size: made.partial.size, access: 'readwrite' };
  } else kernels = [attentionForward({ ...operands, out: 'out', outType: dtype, ...(s.queries === 1 ? { lse: null } : {}) }, target)];
  kernels.forEach((k, i) => {
    verifyKernel(k);
    source += renderC(k, `k${n}_${i}`);
  });
  main += '{';
  for (const [name, p] of Object.entries(params)) main += `void*m_${name}=al(${Math.ceil((p.size * bytesOf(p.dtype)) / 4)});`;
  // Small numbers as any dtype has them, and a pair of query and key is only counted if it is visible.
  if (dtype !== 'f32') main += ['q', 'k', 'v', 'out', 'dy'].map((x) => `small(m_${x},${params[x].size});`).join('');
  main += `double pairs=0;for(long b=0;b<${s.batch};b++)for(long t=0;t<${s.queries};t++){int f=${e.see[0]},z=${e.see[1]};((int*)m_first)[b*${s.queries}+t]=f;((int*)m_end)[b*${s.queries}+t]=z;pairs+=z-f;}`;
  if (e.isBackward) main += `for(long i=0;i<${queries};i++)((float*)m_lse)[i]=5;`;
  kernels.forEach((k, i) => {
    main += `void*b${i}[]={${k.buffers.map((x) => `m_${x.name}`).join(',')}};`;
  });
  // Part by part, so that what interrupts one leaves the others alone.
  main += `scratch=aligned_alloc(64,${Math.max(64, ...kernels.map(cScratchBytes))});double part[${16 * kernels.length}],s=now(),best=0;for(int i=0;i<${16 * kernels.length};i++)part[i]=1e9;for(int r=0;r<5||(r<2000&&now()-s<400);r++){`;
  kernels.forEach((k, i) => {
    const parts = Math.min(16, k.grid.extent);
    main += `for(long c=0;c<${parts};c++){double t=now();k${n}_${i}(b${i},${k.grid.extent}*c/${parts},${k.grid.extent}*(c+1)/${parts},scratch);t=now()-t;if(t<part[${16 * i}+c])part[${16 * i}+c]=t;}`;
  });
  main += `}for(int i=0;i<${16 * kernels.length};i++)if(part[i]<1e9)best+=part[i];`;
  const work = s.heads * (e.isBackward ? 6 * s.dim + 4 * s.valueDim : 2 * s.dim + 2 * s.valueDim);
  const cache = bytesOf(dtype) * s.groups * (s.dim + s.valueDim);
  const rate = s.queries > 1 ? '' : `printf(" %5.1f GB/s",pairs*${cache}/best/1e6);`;
  main += `printf("%-32s %8.4f ms %7.1f GFLOP/s %3.0f %%  items ${kernels.map((k) => k.grid.extent).join('+')}","${e.name}",best,pairs*${work}/best/1e6,pairs*${work}/best/1e4/pk);${rate}printf("\\n");}\n`;
}
source += `${main}return 0;}\n`;
const folder = mkdtempSync(join(tmpdir(), 'tenon-bench-'));
writeFileSync(join(folder, 'bench.c'), source);
const t0 = performance.now();
execFileSync(cc, [...cFlags(target), '-o', join(folder, 'bench'), join(folder, 'bench.c'), '-lm'], { stdio: 'inherit' });
console.log(`${folder}: ${entries.length} kernels compiled by ${cc} in ${((performance.now() - t0) / 1000).toFixed(2)} s`);
if (lanes !== 16 || process.env.AVX512) process.stdout.write(execFileSync(join(folder, 'bench')));
