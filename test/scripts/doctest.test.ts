import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { allBlocks, exampleBlocks, expectedLines, freeNames, markdownBlocks, runBlocks } from '../../scripts/doctest.js';

describe('finding blocks', () => {
  test('only the marked ones of a document, with their line', () => {
    const text = '# A\n```ts run\nconst a = 1;\n\nb();\n```\n```ts\nnot();\n```\n```sh\nls\n```\n';
    expect(markdownBlocks({ path: 'README.md', text })).toEqual([{ path: 'README.md', line: 3, code: 'const a = 1;\n\nb();' }]);
  });

  test('plain, fenced, unrun and same-line examples of doc comments', () => {
    const text = [
      '/**',
      ' * Adds.',
      ' * @example',
      ' * const a = add(1, 2);',
      ' *   indented();',
      ' * @throws never',
      ' */',
      'export const add = 1;',
      '/** @example one() */',
      '/**',
      ' * @example',
      ' * ```ts',
      ' * two();',
      ' * ```',
      ' * @example',
      ' * ```ts no-run',
      ' * three();',
      ' * ```',
      ' */',
      '/** Factories; defaults are theirs. @example four() */',
      'const s = 1; // @example no()',
    ].join('\n');
    expect(exampleBlocks({ path: 'src/a.ts', text })).toEqual([
      { path: 'src/a.ts', line: 3, code: 'const a = add(1, 2);\n  indented();' },
      { path: 'src/a.ts', line: 9, code: 'one()' },
      { path: 'src/a.ts', line: 13, code: 'two();' },
      { path: 'src/a.ts', line: 17, code: 'three();', isNotRun: true },
      { path: 'src/a.ts', line: 20, code: 'four()' },
    ]);
  });

  test('names that a block needs from outside', () => {
    const code =
      "import { readFile } from 'node:fs';\nconst { a, b: c } = f(x.y, { z: w });\nfor (const k of a) g(k);\nclass D extends E { m(p: T) { return p; } }";
    expect([...freeNames(code)].filter((n) => n !== 'b').sort()).toEqual(['E', 'T', 'f', 'g', 'w', 'x']);
  });

  test('expected lines', () => expect(expectedLines('log(1); // → 1\nx(); // why\nlog([2]); // → [ 2 ]')).toEqual(['1', '[ 2 ]']));
});

describe('running blocks', () => {
  let root: string;
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'tenon-doctest-'));
    for (const folder of ['dist/io', 'src/io', 'docs']) mkdirSync(join(root, folder), { recursive: true });
    // A package of two modules, built already.
    const files = {
      'package.json': JSON.stringify({
        name: 'tenon',
        type: 'module',
        exports: { '.': { types: './dist/index.d.ts', default: './dist/index.js' } },
        imports: { '#tenon/*': './dist/*' },
      }),
      'tsconfig.json': JSON.stringify({
        compilerOptions: {
          target: 'ES2022',
          module: 'NodeNext',
          moduleResolution: 'NodeNext',
          strict: true,
          lib: ['ES2022'],
          types: [],
          rootDir: 'src',
        },
      }),
      'dist/index.js': 'export const twice = (x) => 2 * x;\n',
      // Instead of the large lib.dom.
      'dist/index.d.ts':
        'declare global { const console: { log(x: unknown): void } }\nexport declare const twice: (x: number) => number;\n',
      'dist/io/a.js': 'export const half = (x) => x / 2;\n',
      'dist/io/a.d.ts': 'export declare const half: (x: number) => number;\n',
      'src/io/a.ts': '/**\n * @example\n * console.log(half(twice(3))); // → 3\n */\nexport const half = (x: number) => x / 2;\n',
      'README.md': '```ts run\nconsole.log(twice(2)); // → 4\n```\n',
      'docs/wrong.md': '```ts run\nconsole.log(twice(2)); // → 5\n```\n',
      'docs/types.md': "```ts run\ntwice('2');\n```\n",
      'src/io/b.ts':
        '/**\n * @example\n * ```ts no-run\n * half(null);\n * ```\n * @example\n * ```ts no-run\n * throw new Error(String(twice(1)));\n * ```\n */\nexport {};\n',
      'docs/throws.md': "```ts run\nthrow new Error('no luck');\n```\n",
    };
    for (const [path, text] of Object.entries(files)) writeFileSync(join(root, path), text);
    symlinkSync(join(process.cwd(), 'node_modules'), join(root, 'node_modules'));
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  test('right ones pass; wrong output, wrong types and throws are failures with their place', async () => {
    const blocks = allBlocks(root);
    expect(blocks.map((b) => `${b.path}:${b.line}`).sort()).toEqual([
      'README.md:2',
      'docs/throws.md:2',
      'docs/types.md:2',
      'docs/wrong.md:2',
      'src/io/a.ts:2',
      'src/io/b.ts:4',
      'src/io/b.ts:8',
    ]);
    const failures = await runBlocks(root, blocks);
    expect(Object.fromEntries(failures.map(({ block, message }) => [block.path, message]))).toEqual({
      'docs/wrong.md': expect.stringContaining('expected: 5'),
      'docs/types.md': expect.stringContaining("'string' is not assignable to parameter of type 'number'"),
      'docs/throws.md': expect.stringContaining('no luck'),
      'src/io/b.ts': expect.stringContaining("Cannot find name 'half'"),
    });
  });
});
