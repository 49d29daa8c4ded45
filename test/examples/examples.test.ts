import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureBuilt, runScript } from '../cli/built.js';

// Each example, small, on the built-in data: it must end with its result, and the result must be better than chance (0.1).
let folder: string;
beforeAll(async () => {
  await ensureBuilt();
  folder = mkdtempSync(join(tmpdir(), 'tenon-examples-'));
}, 240_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const small = ['--dataset', 'shapes', '--epochs', '3', '--limit', '1600', '--seed', '1'];

test.each([
  ['cifar10', /^test loss \d\.\d{4}, test accuracy (0\.\d{4})$/],
  ['functional', /^test accuracy (0\.\d{4}), features 1600×128$/],
  ['subclassing', /^test accuracy (0\.\d{4}), 315786 parameters$/],
  ['custom-loop', /^test accuracy (0\.\d{4})$/],
])('%s', async (name, lastLine) => {
  const { code, stderr, lastLine: last } = await runScript(`dist-tools/examples/${name}.js`, small, folder);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  expect(last).toMatch(lastLine);
  expect(Number(lastLine.exec(last)?.[1])).toBeGreaterThan(0.25);
  if (name === 'cifar10') expect(statSync(join(folder, 'cifar10.tenon')).size).toBeGreaterThan(315_722 * 4);
});
