import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listDevices } from '../../src/index.js';
import { ensureBuilt, tenon } from './built.js';

let folder: string;
beforeAll(async () => {
  await ensureBuilt();
  folder = mkdtempSync(join(tmpdir(), 'tenon-cli-devices-'));
}, 240_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Row {
  readonly name: string;
  readonly usable: boolean;
  readonly reason: string | null;
  readonly isDefault: boolean;
  readonly threads: number | null;
  readonly lanes: number | null;
  readonly gflops: number | null;
  readonly productSize: number | null;
  readonly failure: string | null;
}
const rowsOf = (file: string): Row[] => (JSON.parse(readFileSync(join(folder, file), 'utf8')) as { devices: Row[] }).devices;
const noCompiler = { CC: '/nowhere/cc', PATH: '/nowhere' };

describe('tenon devices', () => {
  test('every device: threads, vectors and its rate, in the text and in --json', async () => {
    const { code, stdout, stderr } = await tenon(['devices', '--json', 'all.json'], folder, { TENON_NUM_THREADS: '1' });
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout.includes('\r')).toBe(false);
    expect(stdout).toMatch(/^native +(usable +1 thread, \d+-bit vectors.*, \d+\.\d+ GFLOP\/s in a product of 1024³|not usable +\S+)/);
    expect(stdout).toMatch(/\nreference +usable +1 thread, no vectors, \d+\.\d\d GFLOP\/s in a product of 128³/);
    expect(stdout).toMatch(/\nSaved all\.json\n$/);
    const rows = rowsOf('all.json');
    expect(rows.map((r) => r.name)).toEqual(listDevices().map((d) => d.name));
    expect(rows.filter((r) => r.isDefault)).toHaveLength(1);
    for (const row of rows) {
      expect(row.failure, row.name).toBe(null);
      if (row.usable) {
        expect(row.reason).toBe(null);
        expect(row.threads).toBeGreaterThanOrEqual(1);
        expect(row.lanes).toBeGreaterThanOrEqual(1);
        expect(row.gflops).toBeGreaterThan(0);
        expect(row.productSize).toBeGreaterThan(0);
      } else expect(row).toMatchObject({ reason: expect.stringMatching(/\S/), threads: null, lanes: null, gflops: null });
    }
  });

  test('--no-measure times nothing; without a compiler native says why and another one is the default', async () => {
    const { code, stdout } = await tenon(['devices', '--no-measure', '--json', 'quick.json'], folder, noCompiler);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^native +not usable +\S+/);
    expect(stdout).not.toContain('GFLOP');
    expect(stdout).toMatch(/\n(wasm|reference) .*used by default\n/);
    expect(rowsOf('quick.json').every((r) => r.gflops === null)).toBe(true);
    expect(rowsOf('quick.json')[0]).toMatchObject({ name: 'native', usable: false, isDefault: false });
  });

  test('the default is the one that TENON_DEVICE names', async () => {
    const { stdout } = await tenon(['devices', '--no-measure'], folder, { TENON_DEVICE: 'reference' });
    expect(stdout).toMatch(/\nreference .*used by default\n/);
  });

  test('a folder that is not there is found out before anything is measured', async () => {
    const { code, stderr } = await tenon(['devices', '--json', 'nowhere/x.json'], folder);
    expect(stderr).toMatch(/^tenon: --json: there is no folder nowhere[^\n]*\n$/);
    expect(code).toBe(2);
  });
});

// Whatever the registry holds must be good for every command that has --device.
describe.each(listDevices().filter((d) => d.usable))('--device $name', ({ name }) => {
  test('train, evaluate, predict, inspect', async () => {
    const run = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await tenon([...args, '--device', name], folder);
      expect(stderr).toBe('');
      expect(code).toBe(0);
      return stdout;
    };
    const out = `run-${name}`;
    const model = `${out}/model.tenon`;
    expect(await run('train', '--model', 'mlp', '--limit', '64', '--epochs', '1', '--out', out)).toContain(`\ndevice: ${name}, `);
    expect(await run('evaluate', model, '--limit', '32')).toMatch(/accuracy/i);
    const sharp = (await import('sharp')).default;
    await sharp({ create: { width: 32, height: 32, channels: 3, background: '#c02040' } })
      .png()
      .toFile(join(folder, 'red.png'));
    expect(await run('predict', model, 'red.png')).toContain('red.png');
    expect(await run('inspect', model)).toMatch(/\d+ kernels/);
  });
});
