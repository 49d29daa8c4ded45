/**
 * @file Conformance of a processor that this machine is not: Programs of many cases become one static executable, which an
 * emulator runs on one file of memory. Kernels, calls and arguments are those that the native device would use.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { allocate, type TypedArray } from '../../src/base/dtype.js';
import { size } from '../../src/base/shape.js';
import { compileGraph } from '../../src/compile/compile.js';
import { isOp, type Node } from '../../src/graph/node.js';
import type { Kernel } from '../../src/kernel/kernel.js';
import { kernelIdentity } from '../../src/kernel/print.js';
import type { Program } from '../../src/kernel/program.js';
import type { TargetInfo } from '../../src/kernel/target.js';
import { cFlags, cPrelude, cScratchBytes, renderC } from '../../src/render/c.js';
import type { Feed } from './harness.js';

const run = promisify(execFile);

export interface Graph {
  readonly outputs: readonly Node[];
  readonly feeds: readonly Feed[];
}

/** Command lines (program, then arguments) for C → object, objects → executable, and the executable's run. */
export interface Toolchain {
  readonly compile: readonly string[];
  readonly link: readonly string[];
  readonly run: readonly string[];
}

/** The programs among these that are not on the PATH. */
export const missingPrograms = (names: readonly string[]): string[] =>
  names.filter((name) => {
    try {
      execFileSync(name, ['--version'], { stdio: 'ignore' });
      return false;
    } catch {
      return true;
    }
  });

/** Translation units of at most this many kernels, two compiled at once. */
const unitKernels = 60;

const main = `
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv) {
  FILE *file = fopen(argv[1], "r+b");
  char *memory = aligned_alloc(64, memory_bytes), *arena = aligned_alloc(64, arena_bytes), *scratch = aligned_alloc(64, scratch_bytes);
  if (!file || !memory || !arena || !scratch || fread(memory, 1, memory_bytes, file) != memory_bytes) return 1;
  const struct arg *a = args;
  for (const struct call *c = calls; c->run; c++) {
    void *b[256];
    // NaN everywhere: a value used before it is written shows.
    if (c->begins) memset(arena, 0xff, arena_bytes);
    for (long i = 0; i < c->args; i++, a++) b[i] = (a->temporary ? arena : memory) + a->at;
    // In two parts, as by two threads.
    c->run(b, 0, c->extent / 2, scratch);
    c->run(b, c->extent / 2, c->extent, scratch);
  }
  rewind(file);
  return fwrite(memory, 1, memory_bytes, file) != memory_bytes || fclose(file) != 0;
}
`;

/** The memory of all Programs, laid out one after another. */
class Image {
  readonly parts: { at: number; data: ArrayBufferView }[] = [];
  bytes = 0;

  add(data: ArrayBufferView): number {
    const at = this.bytes;
    this.parts.push({ at, data });
    this.bytes += Math.ceil((data.byteLength + 1) / 64) * 64;
    return at;
  }

  toBytes(): Uint8Array {
    const all = new Uint8Array(this.bytes);
    for (const { at, data } of this.parts) all.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    return all;
  }
}

/** Kernels by identity, each with the number in its symbol `k<number>`. */
class Kernels {
  readonly list: Kernel[] = [];
  readonly #numbers = new Map<string, number>();

  number(kernel: Kernel): number {
    const identity = kernelIdentity(kernel);
    const known = this.#numbers.get(identity);
    if (known !== undefined) return known;
    this.#numbers.set(identity, this.list.length);
    return this.list.push(kernel) - 1;
  }

  /** C text of translation units. */
  units(target: TargetInfo): string[] {
    const texts = this.list.map((k, i) => renderC(k, `k${i}`));
    const prelude = cPrelude(target);
    return Array.from(
      { length: Math.ceil(texts.length / unitKernels) },
      (_, u) => `${prelude}\n${texts.slice(u * unitKernels, (u + 1) * unitKernels).join('\n')}`,
    );
  }
}

/** Every kernel of the graphs, as C translation units. */
export function renderGraphs(graphs: readonly Graph[], target: TargetInfo): string[] {
  const kernels = new Kernels();
  for (const g of graphs) for (const c of compileGraph({ outputs: g.outputs, writes: [] }, target).program.calls) kernels.number(c.kernel);
  return kernels.units(target);
}

/** Compiles each text with the command, two at once; gives the paths of the results. */
export async function compileAll(command: readonly string[], texts: readonly string[], folder: string, ending = 'o'): Promise<string[]> {
  const paths = texts.map((_, i) => join(folder, `unit${i}`));
  let next = 0;
  const worker = async () => {
    for (let i = next++; i < texts.length; i = next++) {
      writeFileSync(`${paths[i]}.c`, texts[i]);
      await run(command[0], [...command.slice(1), '-o', `${paths[i]}.${ending}`, `${paths[i]}.c`]);
    }
  };
  await Promise.all([worker(), worker()]);
  return paths.map((p) => `${p}.${ending}`);
}

export async function withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'tenon-cross-'));
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The outputs of every graph, computed by the toolchain's executable. */
export function runElsewhere(graphs: readonly Graph[], target: TargetInfo, tools: Toolchain): Promise<TypedArray[][]> {
  const image = new Image();
  const kernels = new Kernels();
  const calls: string[] = [];
  const args: string[] = [];
  let arena = 64;
  const results = graphs.map(({ outputs, feeds }) => {
    const { program, slots } = compileGraph({ outputs, writes: [] }, target);
    arena = Math.max(arena, program.arenaBytes);
    const written = outputs.map((o) => {
      const array = allocate(o.dtype, size(o.shape));
      new Uint8Array(array.buffer).fill(0xff);
      return { array, at: image.add(array) };
    });
    const externals = slots.map((s) => {
      if (s.kind === 'output') return written[s.index].at;
      if (s.kind === 'buffer') return image.add(s.node.arg.data);
      const f = s.kind === 'input' && feeds.find((x) => isOp(x.node, 'input') && x.node.arg.index === s.index);
      if (!f) throw new Error(`slot ${s.kind} has no feed`);
      return image.add(f.data);
    });
    const places = program.buffers.map(({ place }: Program['buffers'][number]) =>
      place.kind === 'arena' ? `{1, ${place.offset}}` : `{0, ${place.kind === 'external' ? externals[place.slot] : image.add(place.data)}}`,
    );
    program.calls.forEach((c, i) => {
      calls.push(`{k${kernels.number(c.kernel)}, ${c.kernel.grid.extent}, ${c.buffers.length}, ${Number(i === 0)}}`);
      args.push(...c.buffers.map((b) => places[b]));
    });
    return written;
  });
  const tables = `
struct call { void (*run)(void **, long, long, void *); long extent, args, begins; };
struct arg { long temporary, at; };
${kernels.list.map((_, i) => `void k${i}(void **, long, long, void *);`).join('\n')}
static const struct call calls[] = {${calls.join(', ')}, {0}};
static const struct arg args[] = {${args.join(', ')}, {0}};
static const unsigned long memory_bytes = ${image.bytes}, arena_bytes = ${Math.ceil(arena / 64) * 64};
static const unsigned long scratch_bytes = ${64 + Math.ceil(Math.max(...kernels.list.map(cScratchBytes)) / 64) * 64};
`;
  return withFolder(async (folder) => {
    const objects = await compileAll([...tools.compile, ...cFlags(target), '-c'], kernels.units(target), folder);
    const [executable, data, source] = ['program', 'memory', 'main.c'].map((name) => join(folder, name));
    writeFileSync(source, tables + main);
    await run(tools.link[0], [...tools.link.slice(1), '-O1', '-o', executable, source, ...objects, '-lm']);
    writeFileSync(data, image.toBytes());
    await run(tools.run[0] ?? executable, [...tools.run.slice(1), ...(tools.run.length > 0 ? [executable] : []), data]);
    const after = readFileSync(data);
    return results.map((written) =>
      written.map(({ array, at }) => {
        new Uint8Array(array.buffer).set(after.subarray(at, at + array.byteLength));
        return array;
      }),
    );
  });
}
