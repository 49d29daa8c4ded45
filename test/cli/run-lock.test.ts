import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { lockRun, requireNotLocked } from '../../src/cli/run-lock.js';
import { ensureBuilt, tenon } from './built.js';
import { signalled, small } from './support.js';

let folder: string;
const lock = (): string => join(folder, 'run.lock');
beforeAll(async () => {
  await ensureBuilt();
  folder = mkdtempSync(join(tmpdir(), 'tenon-lock-'));
}, 240_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('one process a run: the second is refused by folder and process', async () => {
  const held = await lockRun('--out', folder);
  await expect(lockRun('--resume', folder)).rejects.toThrow(`--resume: ${folder} is in use: process ${process.pid} trains there`);
  await expect(requireNotLocked('--out', folder)).rejects.toThrow('is in use');
  const second = await tenon(['train', ...small, '--out', folder], folder);
  expect(second).toMatchObject({ code: 2, stdout: '' });
  expect(second.stderr).toMatch(/^tenon: --out: [^\n]*process \d+ trains there[^\n]*\n$/);
  held.release();
  expect(readdirSync(folder)).toEqual([]);
  const next = await lockRun('--out', folder);
  // Released already: the lock of the next one stays.
  held.release();
  expect(existsSync(lock())).toBe(true);
  next.release();
});

test('a dead lock is taken over, by one of many', async () => {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  const dead = [
    JSON.stringify({ pid, host: hostname(), started: null }),
    // The number is used again, by this process.
    JSON.stringify({ pid: process.pid, host: hostname(), started: '1' }),
    // Killed between making and writing it.
    '',
  ];
  for (const text of process.platform === 'linux' ? dead : [dead[0], dead[2]]) {
    writeFileSync(lock(), text === '' ? '' : `${text}\n`);
    const taken = await Promise.allSettled([1, 2, 3].map(() => lockRun('--resume', folder)));
    const won = taken.filter((t) => t.status === 'fulfilled');
    expect(won).toHaveLength(1);
    expect(JSON.parse(readFileSync(lock(), 'utf8'))).toMatchObject({ pid: process.pid });
    won[0].value.release();
    expect(readdirSync(folder)).toEqual([]);
  }
  writeFileSync(lock(), `${JSON.stringify({ pid: 1, host: 'elsewhere', started: null })}\n`);
  await expect(lockRun('--resume', folder)).rejects.toThrow(/process 1 on elsewhere.*remove .*run\.lock/);
  rmSync(lock());
});

test('a run that was killed goes on, and leaves no lock', async () => {
  const run = join(folder, 'killed');
  const killed = await signalled(['train', ...small, '--epochs', '6', '--out', run], folder, /epoch 2/i, 'SIGKILL');
  expect(killed.signal).toBe('SIGKILL');
  expect(existsSync(join(run, 'run.lock'))).toBe(true);
  const resumed = await tenon(['train', '--resume', run], folder);
  expect(resumed.stderr).toBe('');
  expect(resumed.code).toBe(0);
  expect(readdirSync(run)).not.toContain('run.lock');
});
