import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ConfigError } from '../../src/base/errors.js';
import * as noNode from '../../src/base/no-node.js';

const src = new URL('../../src/', import.meta.url).pathname;
const specifiers = new Set(
  readdirSync(src, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .flatMap((name) => [...readFileSync(join(src, name), 'utf8').matchAll(/import\('#node\/([^']+)\.js'\)/g)].map((m) => m[1])),
);

// What a module exports for its neighbours in Node alone.
const internal = new Set([
  'autotune',
  'facesInTerminal',
  'imageSize',
  'loadCifar',
  'loadMnist',
  'loadSharp',
  'sources',
  'readJson',
  'stopTokens',
  'openBaseModel',
  'LocalEngine',
  'locate',
]);

it.each([...specifiers])('has a stand-in for every function of %s', async (file) => {
  const module: object = await import(join(src, `${file}.ts`));
  expect(
    Object.keys(module)
      .filter((name) => !internal.has(name))
      .filter((name) => !(name in noNode)),
  ).toEqual([]);
});

it('refuses with the way out', async () => {
  expect(specifiers.size).toBeGreaterThan(4);
  await expect(noNode.readFileBytes()).rejects.toThrow(ConfigError);
  await expect(noNode.saveCheckpoint()).rejects.toThrow('checkpoint: there are no files in a browser. Expected Node.js. Leave it out');
});
