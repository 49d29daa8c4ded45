/**
 * @file Rates of the contraction template alone, one core: `npx vite-node bench/kernels/contract.ts [lanes] [compiler] [filter]`.
 * Minima over many repetitions, beside the multiply-add peak measured in the same run.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DType } from '../../src/base/dtype.js';
import { type ContractDim, type Contraction, contract } from '../../src/compile/templates/contract.js';
import { type Expr, iadd, imul, index } from '../../src/kernel/kernel.js';
import { cFlags, cPrelude, cScratchBytes, renderC } from '../../src/render/c.js';
import { targetOf } from './target.js';

const lanes = Number(process.argv[2] ?? 8);
const cc = process.argv[3] ?? 'gcc';
const filter = process.argv[4] ?? '';
const threads = Number(process.argv[5] ?? 2);
const target = targetOf(lanes, threads);

type Dims = { extent: number; a?: number; b?: number }[];
interface Entry {
  name: string;
  c: Contraction;
  sizes: Record<string, number>;
}

function entry(name: string, batch: Dims, rows: Dims, cols: Dims, reduce: Dims, dtype: DType = 'f32'): Entry {
  const all = [...batch, ...rows, ...cols];
  const strides: number[] = [];
  let out = 1;
  for (let i = all.length - 1; i >= 0; i--) {
    strides[i] = out;
    out *= all[i].extent;
  }
  const full = (dims: Dims, from: number | null): ContractDim[] =>
    dims.map((d, i) => ({ extent: d.extent, a: d.a ?? 0, b: d.b ?? 0, out: from === null ? 0 : strides[from + i] }));
  const span = (of: 'a' | 'b') => 1 + [...all, ...reduce].reduce((n, d) => n + (d.extent - 1) * (d[of] ?? 0), 0);
  return {
    name,
    sizes: { a: span('a'), b: span('b'), out },
    c: {
      batch: full(batch, 0),
      rows: full(rows, batch.length),
      cols: full(cols, batch.length + rows.length),
      reduce: full(reduce, null),
      a: { buffer: 'a', offset: 0, dtype },
      b: { buffer: 'b', offset: 0, dtype },
      epilogue: (acc, x, y, z) => [
        {
          kind: 'store',
          buffer: 'out',
          index: [...x, ...y, ...z].reduce<Expr>((s, e, i) => iadd(s, imul(e, strides[i])), index(0)),
          value: acc,
        },
      ],
      buffers: [
        { name: 'a', dtype, access: 'read' },
        { name: 'b', dtype, access: 'read' },
        { name: 'out', dtype: 'f32', access: 'write' },
      ],
      label: name,
    },
  };
}
const matmul = (M: number, N: number, K: number, ta = false, tb = false, dtype: DType = 'f32') =>
  entry(
    `${M}×${K}×${N}${ta ? ' Aᵀ' : ''}${tb ? ' Bᵀ' : ''}${dtype === 'f32' ? '' : ` ${dtype}`}`,
    [],
    [{ extent: M, a: ta ? 1 : K }],
    [{ extent: N, b: tb ? K : 1 }],
    [{ extent: K, a: ta ? M : 1, b: tb ? 1 : N }],
    dtype,
  );
/** A layer of a Llama of SmolLM2-135M's shape on 1,024 tokens: x·Wᵀ, dy·W, dyᵀ·x. */
const layer = (K: number, N: number, dtype: DType) => [
  matmul(1024, N, K, false, true, dtype),
  matmul(1024, K, N, false, false, dtype),
  matmul(N, K, 1024, true, false, dtype),
];
const conv = (name: string, n: number, h: number, w: number, c: number, k: number, o: number) =>
  entry(
    name,
    [],
    [
      { extent: n, a: h * w * c },
      { extent: h - k + 1, a: w * c },
      { extent: w - k + 1, a: c },
    ],
    [{ extent: o, b: 1 }],
    [
      { extent: k, a: w * c, b: k * c * o },
      { extent: k, a: c, b: c * o },
      { extent: c, a: 1, b: o },
    ],
  );
const filterGradient = (name: string, n: number, h: number, w: number, c: number, k: number, o: number) =>
  entry(
    name,
    [],
    [
      { extent: k, a: w * c },
      { extent: k, a: c },
      { extent: c, a: 1 },
    ],
    [{ extent: o, b: 1 }],
    [
      { extent: n, a: h * w * c, b: (h - k + 1) * (w - k + 1) * o },
      { extent: h - k + 1, a: w * c, b: (w - k + 1) * o },
      { extent: w - k + 1, a: c, b: o },
    ],
  );
const heads = (B: number, M: number, N: number, K: number, tb: boolean) =>
  entry(
    `${B} × ${M}×${K}×${N}${tb ? ' Bᵀ' : ''}`,
    [{ extent: B, a: M * K, b: N * K }],
    [{ extent: M, a: K }],
    [{ extent: N, b: tb ? K : 1 }],
    [{ extent: K, a: 1, b: tb ? 1 : N }],
  );

const entries = [
  conv('conv1', 32, 32, 32, 3, 3, 32),
  conv('conv2', 32, 15, 15, 32, 3, 64),
  conv('conv2 dx', 32, 17, 17, 64, 3, 32),
  filterGradient('conv2 dw', 32, 15, 15, 32, 3, 64),
  filterGradient('conv1 dw', 32, 32, 32, 3, 3, 32),
  matmul(768, 384, 128),
  matmul(768, 128, 128),
  matmul(768, 512, 128),
  matmul(768, 128, 512),
  matmul(768, 128, 512, false, true),
  matmul(768, 512, 128, false, true),
  matmul(128, 512, 768, true),
  matmul(512, 128, 768, true),
  heads(48, 64, 64, 32, true),
  heads(48, 64, 32, 64, false),
  matmul(32, 128, 2304),
  matmul(2304, 128, 32, true),
  matmul(32, 2304, 128, false, true),
  matmul(32, 10, 128),
  matmul(256, 256, 256),
  matmul(512, 512, 512),
  matmul(1024, 1024, 1024),
  matmul(1024, 1024, 1024, false, true),
  matmul(1024, 1024, 1024, true),
  matmul(1024, 1024, 1024, true, true),
  matmul(77, 65, 33),
  matmul(1, 512, 512),
  matmul(1, 512, 512, false, true),
  matmul(64, 1, 512),
  ...(['f32', 'bf16'] as const).flatMap((dtype) => [
    ...layer(576, 576, dtype),
    ...layer(576, 192, dtype),
    ...layer(576, 1536, dtype),
    ...layer(1536, 576, dtype),
    ...layer(576, 49152, dtype),
  ]),
].filter((e) => e.name.includes(filter));

const driver = `
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static double now(){struct timespec t;clock_gettime(CLOCK_PROCESS_CPUTIME_ID,&t);return t.tv_sec*1e3+t.tv_nsec*1e-6;}
static float*al(long n){float*p=aligned_alloc(64,(n*4+4095)/4096*4096+4096);for(long i=0;i<n;i++)p[i]=((i*2654435761u)>>8&0xffff)/65536.f-0.5f;return p;}
static double peak(){float r=0;double best=1e9;t_f32x${lanes === 1 ? 2 : lanes} c[12],a=(t_f32x${lanes === 1 ? 2 : lanes}){}+1.0001f,b=a*1e-9f;for(int i=0;i<12;i++)c[i]=a+(float)i;long N=1000000;for(int q=0;q<20;q++){double t=now();for(long k=0;k<N;k++){
#pragma GCC unroll 12
for(int i=0;i<12;i++)c[i]=a*c[i]+b;}t=now()-t;if(t<best)best=t;for(int i=0;i<12;i++){r+=c[i][0];c[i]=a+(float)i;}}volatile float v=r;(void)v;return N*12.0*2*${lanes === 1 ? 2 : lanes}/best/1e6;}
`;
let source = cPrelude(target) + driver;
let main = 'int main(){double pk=peak();printf("peak %.1f GFLOP/s\\n",pk);void*scratch;\n';
for (const [n, e] of entries.entries()) {
  const { kernels, temporaries } = contract(e.c, target);
  const sizes: Record<string, number> = { ...e.sizes };
  for (const t of temporaries) sizes[t.name] = t.size;
  const flops = 2 * [...e.c.batch, ...e.c.rows, ...e.c.cols, ...e.c.reduce].reduce((x, d) => x * d.extent, 1);
  kernels.forEach((k, i) => {
    source += renderC(k, `k${n}_${i}`);
  });
  main += `{${Object.entries(sizes)
    .map(([name, size]) => `float*m_${name}=al(${size});`)
    .join('')}`;
  kernels.forEach((k, i) => {
    main += `void*b${i}[]={${k.buffers.map((b) => `m_${b.name}`).join(',')}};`;
  });
  main += `scratch=aligned_alloc(64,${Math.max(64, ...kernels.map(cScratchBytes))});double best=1e9,s=now();for(int r=0;r<5||(r<2000&&now()-s<400);r++){double t=now();`;
  kernels.forEach((k, i) => {
    main += `k${n}_${i}(b${i},0,${k.grid.extent},scratch);`;
  });
  main += `t=now()-t;if(t<best)best=t;}printf("%-24s %8.4f ms %7.1f GFLOP/s %3.0f %%  items ${kernels.map((k) => k.grid.extent).join('+')}\\n","${e.name}",best,${flops}/best/1e6,${flops}/best/1e4/pk);}\n`;
}
source += `${main}return 0;}\n`;
const folder = mkdtempSync(join(tmpdir(), 'tenon-bench-'));
writeFileSync(join(folder, 'bench.c'), source);
const t0 = performance.now();
execFileSync(cc, [...cFlags(target), '-o', join(folder, 'bench'), join(folder, 'bench.c'), '-lm'], { stdio: 'inherit' });
console.log(`${folder}: ${entries.length} contractions compiled by ${cc} in ${((performance.now() - t0) / 1000).toFixed(2)} s`);
if (lanes !== 16 || process.env.AVX512) process.stdout.write(execFileSync(join(folder, 'bench')));
