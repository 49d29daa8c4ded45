/** @file What the benches of single kernels share: a target by its lanes, and C that takes time, fills memory and finds the multiply-add peak. */
import type { TargetInfo } from '../../src/kernel/target.js';

export const targetOf = (lanes: number, threads: number): TargetInfo => ({
  lanes,
  registers: lanes === 16 ? 32 : 16,
  hasFma: true,
  elements: 'none',
  threads,
  l1: 32768,
  l2: 512 * 1024,
  maxBuffer: 2 ** 40,
});

export function driver(lanes: number): string {
  const n = lanes === 1 ? 2 : lanes;
  return `
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static double now(){struct timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return t.tv_sec*1e3+t.tv_nsec*1e-6;}
static float*al(long n){float*p=aligned_alloc(64,(n*4+4095)/4096*4096+4096);for(long i=0;i<n;i++)p[i]=((i*2654435761u)>>8&0xffff)/65536.f-0.5f;return p;}
/* Numbers of 16 bits between 2^-8 and 1, as bf16 and as f16. */
static void small(void*p,long n){for(long i=0;i<n;i++)((t_u16*)p)[i]=0x3800|((i*2654435761u)>>8&0x81ff);}
static double peak(){float r=0;double best=1e9;t_f32x${n} c[12],a=(t_f32x${n}){}+1.0001f,b=a*1e-9f;for(int i=0;i<12;i++)c[i]=a+(float)i;long N=1000000;for(int q=0;q<20;q++){double t=now();for(long k=0;k<N;k++){
#pragma GCC unroll 12
for(int i=0;i<12;i++)c[i]=a*c[i]+b;}t=now()-t;if(t<best)best=t;for(int i=0;i<12;i++){r+=c[i][0];c[i]=a+(float)i;}}volatile float v=r;(void)v;return N*12.0*2*${n}/best/1e6;}
`;
}
