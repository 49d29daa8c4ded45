/**
 * @file The package as bundlers take it apart: what a program doesn't name is left out, and what it needs without naming it stays:
 * the tensor's methods, and every layer where models are loaded.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build as esbuild } from 'esbuild';
import { build as vite } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as layers from '../../src/layers/index.js';
import { sequential } from '../../src/model/sequential.js';
import { ensureBuilt, root } from '../cli/built.js';

let folder: string;
beforeAll(async () => {
  await ensureBuilt();
  folder = mkdtempSync(join(tmpdir(), 'tenon-package-'));
}, 240_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const bundlers = {
  async esbuild(source: string, to: string): Promise<void> {
    const stdin = { contents: source, resolveDir: root };
    await esbuild({ stdin, bundle: true, format: 'esm', target: 'es2022', conditions: ['browser'], outfile: to, logLevel: 'error' });
  },
  async vite(source: string, to: string): Promise<void> {
    const entry = `${to}.entry.js`;
    writeFileSync(entry, source);
    await vite({
      root: folder,
      configFile: false,
      logLevel: 'error',
      resolve: { alias: { 'tenon/layers': join(root, 'dist/layers/index.js'), tenon: join(root, 'dist/index.js') } },
      build: {
        target: 'es2022',
        minify: false,
        emptyOutDir: false,
        outDir: folder,
        lib: { entry, formats: ['es'], fileName: () => to.slice(folder.length + 1) },
        rollupOptions: { output: { inlineDynamicImports: true } },
      },
    });
  },
};

describe.each(Object.entries(bundlers))('%s', (name, bundle) => {
  /** What the bundle prints, as JSON. Node runs it; it is still the browser's bundle. */
  const outputOf = async (source: string, id: string, args: readonly string[] = []): Promise<unknown> => {
    const file = join(folder, `${name}-${id}.mjs`);
    // Rollup puts inlined modules behind the program: it may not wait for them at its top level.
    const [, imports, program] = /^((?:\s*import [^\n]*\n)*)(.*)$/s.exec(source) ?? ['', '', source];
    await bundle(`${imports}\nconst main = async () => {\n${program}\n};\nsetTimeout(() => void main(), 0);`, file);
    return JSON.parse(execFileSync(process.execPath, [file, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }));
  };

  it('keeps the methods of tensors', async () => {
    const source = `import { tensor } from 'tenon';
      console.log(JSON.stringify(await tensor([[1, 2], [3, 4]]).mul(2).matmul(tensor([[1], [1]])).array()));`;
    expect(await outputOf(source, 'methods')).toEqual([[6], [14]]);
  }, 120_000);

  it('keeps every layer where models are loaded', async () => {
    const model = sequential([
      layers.conv1d({ filters: 2, kernelSize: 2, inputShape: [4, 3] }),
      layers.layerNormalization(),
      layers.globalAveragePooling1d(),
    ]);
    const file = join(folder, `${name}.tenon`);
    await model.save(file);
    const source = `import { loadModel } from 'tenon';
      const { readFileSync } = process.getBuiltinModule('node:fs');
      const model = await loadModel(readFileSync(process.argv[2]));
      console.log(JSON.stringify(model.layers.map((l) => l.className)));`;
    expect(await outputOf(source, 'load', [file])).toEqual(['Conv1D', 'LayerNormalization', 'GlobalAveragePooling1D']);
  }, 120_000);

  it('clones and saves models of the layers that are there, and says what files need', async () => {
    const source = `import { listDevices, sequential } from 'tenon';
      import * as layers from 'tenon/layers';
      const model = sequential([layers.dense({ units: 2, inputShape: [3] })]);
      const errors = await Promise.all([model.save('a.tenon'), model.fit([[1, 2, 3]], [0], { checkpoint: { folder: 'a' } })].map((p) => p.catch((e) => e.message)));
      const [native] = listDevices();
      console.log(JSON.stringify([model.clone().countParams(), (await model.toBytes()).length > 100, errors[0], native]));`;
    expect(await outputOf(source, 'save')).toEqual([
      8,
      true,
      'file: there are no files in a browser. Expected Node.js. Use the forms for bytes: model.toBytes(), model.weightsToBytes(), loadModel(bytes), model.loadWeights(bytes).',
      { name: 'native', usable: false, reason: expect.stringContaining('a build for browsers') },
    ]);
  }, 120_000);
});
