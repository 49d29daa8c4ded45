/**
 * @file NEON under an emulator (qemu-user), by GCC and by clang, on the cases of conformance; and AVX-512, which few machines
 * have, as far as compiling. `npm test` takes a sample, `npm run test:long` everything.
 */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { TypedArray } from '../../src/base/dtype.js';
import { nodeModules } from '../../src/base/node-modules.js';
import { loadKoffi } from '../../src/device/native/binding.js';
import { nativeTarget } from '../../src/device/native/cpu.js';
import { interpret } from '../../src/graph/interpret.js';
import type { Node } from '../../src/graph/node.js';
import { cFlags } from '../../src/render/c.js';
import { cases } from './cases.js';
import { compileAll, type Graph, missingPrograms, renderGraphs, runElsewhere, type Toolchain, withFolder } from './cross.js';
import { expectClose } from './harness.js';
import { randomGraph } from './random-graph.js';

const isLong = Number(process.env.TENON_TEST_RUNS ?? 0) >= 1000;
const modules = nodeModules();
if (modules === null) throw new Error('these tests need Node');
const neon = nativeTarget(modules, loadKoffi(modules), 'neon', 2);
const avx512 = nativeTarget(modules, loadKoffi(modules), 'avx512', 2);

const link = ['aarch64-linux-gnu-gcc', '-static'];
const qemu = ['qemu-aarch64'];
const toolchains: Record<string, Toolchain> = {
  gcc: { compile: ['aarch64-linux-gnu-gcc'], link, run: qemu },
  clang: { compile: ['clang', '--target=aarch64-linux-gnu'], link, run: qemu },
};

interface Check extends Graph {
  readonly name: string;
  readonly tolerance: number;
}

/** The sample moves on by one case for each compiler. */
function checks(offset: number): Check[] {
  const chosen = cases.filter((_, i) => isLong || i % 10 === offset);
  const graphs = fc.sample(fc.tuple(fc.array(fc.nat(1000), { minLength: 40, maxLength: 80 }), fc.integer({ min: 1, max: 14 })), {
    numRuns: isLong ? 100 : 4,
    seed: 12 + offset,
  });
  return [
    ...chosen.map((c) => ({ ...c.build(), name: c.name, tolerance: c.tolerance ?? 2e-5 })),
    ...graphs.map(([choices, steps], i) => ({ ...randomGraph(choices, steps), name: `random graph ${i}`, tolerance: 3e-4 })),
  ];
}

Object.entries(toolchains).forEach(([name, tools], offset) => {
  const missing = missingPrograms([tools.compile[0], link[0], qemu[0]]);
  if (missing.length > 0) console.warn(`conformance: NEON by ${name} is skipped: ${missing.join(', ')} not on the PATH`);
  describe.skipIf(missing.length > 0)(`NEON, ${name}`, () => {
    const list = checks(offset);
    let results: TypedArray[][];
    beforeAll(async () => {
      results = await runElsewhere(list, neon, tools);
    }, 1_200_000);
    it.each(list.map((c, i) => [c.name, c, i] as const))('%s', (_, { outputs, feeds, tolerance }, i) => {
      const inputs = new Map(feeds.map((f) => [(f.node as Node<'input'>).arg.index, f.data] as const));
      const wanted = interpret(outputs, { inputs });
      outputs.forEach((o, k) => {
        expectClose(results[i][k], wanted[k], o.dtype, tolerance, `output ${k}`);
      });
    });
  });
});

describe.skipIf(process.arch !== 'x64').each(['gcc', 'clang'])('AVX-512, %s', (compiler) => {
  it.skipIf(missingPrograms([compiler]).length > 0)(
    'compiles, products in fused multiply-adds of whole registers',
    async () => {
      const chosen = cases.filter((c, i) => isLong || i % 20 === 3 || c.name === 'dot');
      const product = cases.filter((c) => c.name === 'dot').map((c) => c.build());
      await withFolder(async (folder) => {
        const texts = [
          ...renderGraphs(product, avx512),
          ...renderGraphs(
            chosen.map((c) => c.build()),
            avx512,
          ),
        ];
        const [first] = await compileAll([compiler, ...cFlags(avx512), '-S'], texts, folder, 's');
        expect(readFileSync(first, 'utf8').match(/vfmadd\d+ps.*%zmm/g)?.length).toBeGreaterThan(8);
      });
    },
    600_000,
  );
});
