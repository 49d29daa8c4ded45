/** @file The worked example says what is missing; test/long runs it. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureBuilt, runScript } from '../cli/built.js';

let folder: string;
beforeAll(async () => {
  await ensureBuilt();
  folder = mkdtempSync(join(tmpdir(), 'tenon-large-model-'));
  mkdirSync(join(folder, 'multi30k'));
}, 240_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const run = (args: readonly string[]) => runScript('dist-tools/examples/large-model/main.js', args, folder, { TENON_DATA_DIR: '' });

test('without data, it says which files it wants and where', async () => {
  expect(await run([])).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^large-model: no data\. Expected the folder above multi30k/),
  });
  const { code, stderr } = await run(['--data-dir', folder]);
  expect(code).toBe(2);
  expect(stderr).toMatch(
    /^large-model: train\.en\.gz is not in .*multi30k\. Expected Multi30k's train\.en\.gz, train\.de\.gz, val\.en\.gz/,
  );
  expect(await run(['--data-dir', folder, '--limit', '3'])).toMatchObject({ code: 2, stderr: expect.stringContaining('--limit 3') });
});
