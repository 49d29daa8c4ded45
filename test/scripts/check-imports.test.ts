import { describe, expect, test } from 'vitest';
import { checkExamples, checkImports, importTable } from '../../scripts/check-imports.js';

/** The faults of one file with the given text. */
const faults = (path: string, text: string): string[] =>
  checkImports([{ path: `src/${path}`, text }]).map((v) => `${v.line}: ${v.message}`);

describe('check-imports', () => {
  test.each([
    ['graph/simplify.ts', "import { sin } from '../kernel/scalar-ops.js';"],
    ['graph/primitives/dot.ts', "import { a } from '../node.js';\nexport * from './args.js';"],
    ['device/native/pool.ts', "import koffi from 'koffi';\nimport { x } from '../queue.js';\nimport { cpus } from 'node:os';"],
    ['device/registry.ts', "import { NativeDevice } from '#native';"],
    ['train/fit.ts', "import type { Model } from '../model/model.js';"],
    ['base/host-node.ts', "import { readFileSync } from 'node:fs';"],
    ['io/x-node.ts', "import { a } from './y-node.js';"],
    ['data/a.ts', "import type { A } from './b-node.js';\nconst b = await import('#node/data/b-node.js');"],
    ['train/a.ts', "const b = (): Promise<typeof import('#node/io/b-node.js')> => import('#node/io/b-node.js');"],
    ['cli/commands/train.ts', "import { Command } from 'commander';\nimport * as tenon from '../../index.js';"],
    ['index.ts', "export { tensor } from './tensor/tensor.js';"],
  ])('%s may: %s', (path, text) => expect(faults(path, text)).toEqual([]));

  test.each([
    ['base/dtype.ts', "import { a } from '../kernel/kernel.js';", '1: base may not import kernel/kernel. It may import: nothing.'],
    ['graph/a.ts', "\nimport { k } from '../kernel/kernel.js';", '2: graph may not import kernel/kernel.'],
    ['compile/a.ts', "import type { R } from '../render/c.js';", '1: compile may not import render/c.'],
    ['compile/a.ts', "export { R } from '../device/device.js';", '1: compile may not import device/device.'],
    ['compile/a.ts', "type D = import('../device/device.js').Device;", '1: compile may not import device/device.'],
    ['render/a.ts', "const x = await import('../graph/node.js');", '1: render may not import graph/node.'],
    ['device/native/a.ts', "import { a } from '../reference/a.js';", '1: device/native may not import device/reference/a.'],
    ['device/queue.ts', "import { a } from './native/a.js';", '1: device may not import device/native/a.'],
    ['tensor/a.ts', "import { a } from '../device/native/a.js';", '1: tensor may not import device/native/a.'],
    ['layers/core.ts', "import { n } from '../graph/node.js';", '1: layers may not import graph/node.'],
    ['train/fit.ts', "import { Model } from '../model/model.js';", '1: train may not import model/model.'],
    ['train/fit.ts', "import { type A, b } from '../model/model.js';", '1: train may not import model/model.'],
    ['llm/a.ts', "import { a } from '../search/a.js';", '1: llm may not import search/a.'],
    ['data/a.ts', "import { a } from './b-node.js';", '1: data/a is built for the browser'],
    ['data/a.ts', "const b = await import('./b-node.js');", "Use await import('#node/data/b-node.js')"],
    ['data/a.ts', "import { a } from '#node/data/b-node.js';", '1: data/a is built for the browser'],
    ['data/a.ts', "const b = await import('#node/train/b-node.js');", '1: data may not import train/b-node.'],
    ['data/a.ts', "const b = await import('#node/io/zip.js');", '1: io/zip does not end in -node'],
    ['data/a.ts', "import { a } from '#native';", '1: data may not import device/native/native.'],
    ['data/a.ts', "import { a } from '#tenon/io/zip.js';", '1: "#tenon/io/zip.js" leaves src/.'],
    ['device/registry.ts', "import { a } from './native/native.js';", "Import '#native'."],
    ['io/a.ts', "import { a } from 'node:fs';", '1: io/a may not import node:fs'],
    ['base/host.ts', "import { a } from 'node:fs';", '1: base/host may not import node:fs'],
    ['cli/main.ts', "import koffi from 'koffi';", '1: cli/main may not import koffi'],
    ['base/a.ts', "import _ from 'lodash/fp';", '1: the package lodash may not be imported in src/'],
    ['base/a.ts', "import { x } from '../../test/x.js';", '1: "../../test/x.js" leaves src/.'],
    ['utils/a.ts', '', '1: utils/a is in no row of the import table'],
  ])('%s may not: %s', (path, text, message) => {
    const found = faults(path, text);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(message);
  });

  test('text that looks like an import is none', () => {
    expect(faults('base/a.ts', "// import x from '../kernel/kernel.js'\nconst s = `import x from '../kernel/kernel.js'`;")).toEqual([]);
  });

  test('the table has no way back up: rows only import rows above them', () => {
    const order = Object.keys(importTable);
    const upward = order.flatMap((row, i) =>
      importTable[row]
        .filter((rule) => !rule.startsWith('type '))
        .map((rule) => rule.replace(/\/\*?$/, ''))
        .filter((target) => order.indexOf(target.split('/')[0]) > i && target !== 'device/registry')
        .map((target) => `${row} → ${target}`),
    );
    // Model.fit is a method; the command line is built on the whole library.
    expect(upward).toEqual(['model → train', 'cli → index']);
  });

  test('examples import only the package', () => {
    const found = checkExamples([{ path: 'examples/a.ts', text: "import { x } from 'tenon';\nimport { y } from '../src/index.js';" }]);
    expect(found).toEqual([{ path: 'examples/a.ts', line: 2, message: expect.stringContaining('may not import ../src/index.js') }]);
  });
});
