/**
 * @file Products of a few rows with a large matrix, which are limited by memory: `npx vite-node bench/kernels/decode.ts [lanes] [compiler] [filter] [rows]`.
 * y[M, N] = x[M, K]·W[N, K]ᵀ with W in f32, bf16, f16, q8_0 and NF4, about as many rows as a model of 135 M weights has. Minima of several
 * runs, one and two threads, beside the rate at which the same memory is read.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DType } from '../../src/base/dtype.js';
import { compileGraph } from '../../src/compile/compile.js';
import { ops as o } from '../../src/graph/builder.js';
import { makeNode, type Node } from '../../src/graph/node.js';
import { cFlags, cPrelude, cScratchBytes, renderC } from '../../src/render/c.js';
import { targetOf } from './target.js';

const lanes = Number(process.argv[2] ?? 16);
const cc = process.argv[3] ?? 'gcc';
const filter = process.argv[4] ?? '';
const target = targetOf(lanes, 2);
const N = Number(process.argv[5] ?? 233600);
const K = 576;

let serial = 0;
const input = (dtype: DType, shape: number[]): Node => makeNode('input', [], { index: serial, name: `x${serial++}` }, dtype, shape);

const weights: Record<string, () => { w: Node; bytes: number; x?: DType }> = {
  f32: () => ({ w: input('f32', [N, K]), bytes: 4 }),
  bf16: () => ({ w: o.cast(input('bf16', [N, K]), 'f32'), bytes: 2 }),
  'bf16 × bf16': () => ({ w: input('bf16', [N, K]), bytes: 2, x: 'bf16' }),
  f16: () => ({ w: o.cast(input('f16', [N, K]), 'f32'), bytes: 2 }),
  q8_0: () => {
    const scale = o.broadcast(o.reshape(input('f32', [N, K / 32]), [N, K / 32, 1]), [N, K / 32, 32]);
    return { w: o.reshape(o.mul(o.cast(input('i8', [N, K / 32, 32]), 'f32'), scale), [N, K]), bytes: 36 / 32 };
  },
  nf4: () => {
    const shape = [N, K / 64, 2, 32];
    const shift = o.mul(o.iota(shape, 2, 'u8'), o.full(shape, 4, 'u8'));
    const nibble = o.and(o.shr(o.broadcast(input('u8', [N, K / 64, 1, 32]), shape), shift), o.full(shape, 15, 'u8'));
    const scale = o.broadcast(o.reshape(input('f32', [N, K / 64]), [N, K / 64, 1, 1]), shape);
    return { w: o.reshape(o.mul(o.take(input('f32', [16]), o.cast(nibble, 'i32'), 0), scale), [N, K]), bytes: 36 / 64 };
  },
};

const driver = `
#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>
#include <time.h>
static double now(){struct timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return t.tv_sec*1e3+t.tv_nsec*1e-6;}
static unsigned char*pool;static long at;
static void*al(long n){void*p=pool+at;at+=(n+4095)/4096*4096;return p;}
typedef void(*Run)(void**,long,long,void*);
static struct{Run run;void**b;long items;int threads;}job;
static void*part(void*p){long i=(long)p,lo=job.items*i/job.threads,hi=job.items*(i+1)/job.threads;void*scratch=aligned_alloc(64,1<<20);job.run(job.b,lo,hi,scratch);free(scratch);return 0;}
static double timed(void){double t=now();pthread_t q[2];for(long i=1;i<job.threads;i++)pthread_create(q+i,0,part,(void*)i);part(0);for(int i=1;i<job.threads;i++)pthread_join(q[i],0);return now()-t;}
static volatile float sink;
static void readAll(void**b,long lo,long hi,void*scratch){(void)scratch;t_f32x${lanes} s[4]={};const float*p=b[0];for(long i=lo;i<hi;i++)for(int k=0;k<4;k++)s[k]+=*(const t_f32x${lanes}m*)(p+(i*4+k)*${lanes});sink=s[0][0]+s[1][0]+s[2][0]+s[3][0];}
`;
let source = cPrelude(target) + driver;
let main = `enum{REPS=${N > 1e5 ? 8 : 500}};int main(){long all=${N}L*${K}*4;pool=aligned_alloc(1<<21,all+(64<<20));for(long i=0;i<(all+(64<<20))/4;i++)((unsigned*)pool)[i]=0x2c002c00u+(unsigned)(i%97)*0x10001u;\n`;
main += `for(int t=1;t<=2;t++){void*b[]={pool};job.run=readAll;job.b=b;job.items=all/4/${4 * lanes};job.threads=t;double best=1e9;for(int r=0;r<8;r++){double x=timed();if(x<best)best=x;}printf("memory, %d threads: %.1f GB/s\\n",t,all/best/1e6);}\n`;
let n = 0;
for (const [name, make] of Object.entries(weights))
  for (const M of [1, 8]) {
    if (!`${name} M ${M}`.includes(filter)) continue;
    const { w, bytes, x = 'f32' } = make();
    const y = o.cast(o.dot(input(x, [M, K]), w, { batch: [[], []], contract: [[1], [1]] }), 'f32');
    const { program } = compileGraph({ outputs: [y], writes: [] }, target);
    if (program.calls.length !== 1) throw new Error(`${name}: ${program.calls.length} kernels`);
    const [{ kernel, buffers }] = program.calls;
    if (cScratchBytes(kernel) > 1 << 20) throw new Error(`${name}: too large a scratch`);
    source += renderC(kernel, `k${n}`);
    main += `{at=0;void*b[]={${buffers.map((b) => `al(${program.buffers[b].size * 4}L)`).join(',')}};double one=0;for(int t=1;t<=2;t++){job.run=k${n};job.b=b;job.items=${kernel.grid.extent};job.threads=t;double best=1e9;for(int r=0;r<REPS;r++){double x=timed();if(x<best)best=x;}`;
    main += `printf("%-12s M %d, %d threads: %7.2f ms, %6.1f rows of 576/us, %5.1f GB/s\\n","${name}",${M},t,best,${M}.0*${N}/best/1e3,${bytes * N * K}/best/1e6);}(void)one;}\n`;
    n++;
  }
source += `${main}return 0;}\n`;
const folder = mkdtempSync(join(tmpdir(), 'tenon-bench-'));
writeFileSync(join(folder, 'bench.c'), source);
execFileSync(cc, [...cFlags(target), '-o', join(folder, 'bench'), join(folder, 'bench.c'), '-lm', '-lpthread'], { stdio: 'inherit' });
console.log(`${folder}/bench`);
process.stdout.write(execFileSync(join(folder, 'bench')));
