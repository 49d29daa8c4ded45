/** @file Runs of the command where something is missing, full, damaged or shared; what was saved stays. */
import { spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModel } from '../../src/index.js';
import { type CommandOptions, type Ended, tenon } from './command.js';
import { tinyModel } from './moments.js';

const isRoot = process.getuid?.() === 0;
let root: string;
let good: string;
let run: (args: readonly string[], options?: CommandOptions) => Promise<Ended>;
const sizes = ['--limit', '40', '--batch-size', '8'];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenon-runs-'));
  await writeFile(join(root, 'tiny.json'), JSON.stringify(tinyModel));
  run = (args, options = {}) =>
    tenon(args, { cwd: root, ...options, env: { TENON_CACHE_DIR: join(root, 'cache'), TENON_NUM_THREADS: '1', ...options.env } });
  good = join(root, 'good');
  const { code, stderr } = await run(['train', ...sizes, '--model', 'tiny.json', '--epochs', '2', '--out', good]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** Exit code and the one line on stderr. */
async function refused(args: readonly string[], options?: CommandOptions): Promise<string> {
  const { code, stderr } = await run(args, options);
  expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  return `${code} ${stderr.trimEnd()}`;
}
const train = (...more: string[]): string[] => ['train', ...sizes, '--model', 'tiny.json', '--epochs', '2', ...more];

describe('a run', () => {
  it('whose loss is no number stops before the update and keeps its checkpoint and settings', async () => {
    const args = train('--out', 'nan', '--optimizer', 'sgd', '--learning-rate', '3e38');
    const message = await refused(args);
    expect(message).toMatch(
      /^1 tenon: fit Sequential "tiny": the loss is (NaN|Infinity) at step \d+ \(epoch 1, batch \d+\)\. .*Lower the learning rate/,
    );
    // Nothing was kept, so nothing is left.
    await expect(readdir(join(root, 'nan'))).rejects.toThrow();
    // One that has a checkpoint goes on from it, and fails where it failed before.
    await cp(good, join(root, 'late'), { recursive: true });
    const settings = JSON.parse(await readFile(join(good, 'run.json'), 'utf8'));
    expect(await readdir(join(root, 'late'))).toContain('run.json');
    expect((await run(['train', '--resume', 'late', '--epochs', '3'])).code).toBe(0);
    expect(JSON.parse(await readFile(join(root, 'late', 'run.json'), 'utf8'))).toEqual({ ...settings, epochs: 3 });
  });
  it('that cannot have its folder says so and leaves nothing', async () => {
    expect(await refused(train('--out', 'tiny.json'))).toMatch(/^2 tenon: --out: the folder tiny\.json can't be made \(EEXIST/);
    expect(await refused(train('--out', 'tiny.json/x'))).toMatch(/^2 tenon: --out: the folder tiny\.json\/x can't be made \(ENOTDIR/);
    if (process.platform === 'linux')
      expect(await refused(train('--out', '/proc/nope'))).toMatch(/^2 tenon: --out: the folder \/proc\/nope can't be made \(ENOENT/);
    expect(await refused(train('--out', good))).toContain('holds a run already. Go on with --resume');
    expect(await refused(train('--out', 'wide', '--batch-size', '64'))).toContain(
      '--batch-size: 64 is larger than the 40 training pictures. Expected at most 40',
    );
    await expect(readdir(join(root, 'wide'))).rejects.toThrow();
  });
  it.skipIf(isRoot)('in a folder that may not be written to', async () => {
    await mkdir(join(root, 'closed'), { mode: 0o555 });
    expect(await refused(train('--out', 'closed/run'))).toMatch(/^2 tenon: --out: the folder closed\/run can't be made \(EACCES/);
  });
  it('without room for its files keeps those that it has', async () => {
    // 16 kB a file: the model's fit, the kernels' objects are there already.
    const full = await run(['train', ...sizes, '--model', 'mlp', '--epochs', '2', '--out', 'full'], {
      shell: 'ulimit -f 400; exec "$@"',
      env: { TENON_DEVICE: 'reference' },
    });
    expect(full.code).toBe(1);
    expect(full.stderr).toMatch(
      /^tenon: write full\/checkpoints\/checkpoint-000000005\.tenon: there is no room left \(EFBIG\)\. Nothing was changed/,
    );
    await expect(readdir(join(root, 'full'))).rejects.toThrow();
  });
  it.skipIf(!isRoot || process.platform !== 'linux')(
    'on a full disk: the last checkpoint stays whole, and the run goes on when there is room',
    async (context) => {
      const disk = join(root, 'disk');
      await mkdir(disk);
      const mount = (size: string): boolean => spawnSync('mount', ['-t', 'tmpfs', '-o', `${size},mode=700`, 'tmpfs', disk]).status === 0;
      if (!mount('size=48k')) return context.skip();
      try {
        const message = await refused([...train('--out', 'disk/run'), '--epochs', '6']);
        expect(message).toMatch(/^1 tenon: write disk\/run\/.*there is no room left \(ENOSPC\)/);
        const folder = join(disk, 'run', 'checkpoints');
        const { file } = JSON.parse(await readFile(join(folder, 'latest.json'), 'utf8'));
        await loadModel(join(folder, file));
        expect((await readdir(folder)).filter((n) => n.endsWith('.tmp'))).toEqual([]);
        spawnSync('mount', ['-o', 'remount,size=1m', disk]);
        expect(await run(['train', '--resume', 'disk/run'])).toMatchObject({ code: 0, stderr: '' });
      } finally {
        spawnSync('umount', [disk]);
      }
    },
  );
  it('with damaged files names the file and what to do', async () => {
    const copy = async (name: string): Promise<string> => {
      await cp(good, join(root, name), { recursive: true });
      return join(root, name, 'checkpoints', 'checkpoint-000000010.tenon');
    };
    const cut = await copy('cut');
    await writeFile(cut, (await readFile(cut)).subarray(0, 5000));
    const fromCut = await run(['train', '--resume', 'cut']);
    expect(fromCut.code).toBe(0);
    expect(fromCut.stderr).toMatch(
      /^tenon: fit [^\n]*: cut\/checkpoints\/checkpoint-000000010\.tenon: [^\n]*truncated[^\n]* Going on from cut\/checkpoints\/checkpoint-000000005\.tenon instead; nothing was deleted\.\n$/,
    );
    await rm(await copy('gone'));
    const fromGone = await run(['train', '--resume', 'gone']);
    expect(fromGone.code).toBe(0);
    expect(fromGone.stderr).toMatch(/checkpoint-000000010\.tenon: it is missing\. .*Going on from \S*checkpoint-000000005\.tenon instead/);
    const whole = await readFile(join(good, 'model.tenon'));
    for (const name of ['cut', 'gone']) expect((await readFile(join(root, name, 'model.tenon'))).equals(whole)).toBe(true);
    const none = await copy('none');
    for (const path of [none, none.replace('010', '005')]) await writeFile(path, 'x');
    expect(await refused(['train', '--resume', 'none'])).toMatch(
      /^1 tenon: .*no checkpoint in none\/checkpoints can be gone on from.*checkpoint-000000010\.tenon: .*checkpoint-000000005\.tenon: .*new run/,
    );
    await copy('settings');
    await writeFile(join(root, 'settings', 'run.json'), '{"dataset":');
    expect(await refused(['train', '--resume', 'settings'])).toContain('run.json is damaged. Expected the settings that tenon train wrote');
    await writeFile(join(root, 'notes.json'), '{"className":"Sequential","config":null}');
    expect(await refused(train('--out', 'x', '--model', 'notes.json'))).toMatch(/^2 tenon: .*the config of Sequential is malformed/);
  });
  it('begun twice at once with a cold cache gives the same twice', async () => {
    const env = { TENON_CACHE_DIR: join(root, 'cold') };
    const both = await Promise.all(['one', 'two'].map((out) => run(train('--out', out), { env })));
    for (const { code, stderr } of both) expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const files = await Promise.all(['one', 'two', 'good'].map((out) => readFile(join(root, out, 'model.tenon'))));
    expect(files[0].equals(files[1])).toBe(true);
    expect(files[0].equals(files[2])).toBe(true);
    expect((await readdir(join(root, 'cold', 'objects'))).filter((n) => n.startsWith('t_'))).toEqual([]);
  });
});

describe('a data set’s files', () => {
  it('that are cut or damaged are refused by name', async () => {
    const folder = join(root, 'cifar', 'cifar-10-batches-bin');
    await mkdir(folder, { recursive: true });
    for (const name of ['data_batch_1', 'data_batch_2', 'data_batch_3', 'data_batch_4', 'data_batch_5', 'test_batch'])
      await writeFile(join(folder, `${name}.bin`), new Uint8Array(name === 'data_batch_3' ? 3073 * 7 : 3073 * 10000));
    await writeFile(join(folder, 'batches.meta.txt'), 'airplane\n');
    const args = ['train', '--dataset', 'cifar10', '--data-dir', 'cifar', '--out', 'c'];
    expect(await refused(args)).toMatch(/^1 tenon: .*data_batch_3\.bin.*Expected .*received/);
    await writeFile(join(folder, 'data_batch_3.bin'), new Uint8Array(3073 * 10000).fill(77));
    expect(await refused(args)).toMatch(/^1 tenon: .*data_batch_3\.bin.*77/);
    await mkdir(join(root, 'mnist'));
    for (const name of ['train-images-idx3-ubyte', 'train-labels-idx1-ubyte', 't10k-images-idx3-ubyte', 't10k-labels-idx1-ubyte'])
      await writeFile(join(root, 'mnist', `${name}.gz`), Uint8Array.of(0x1f, 0x8b, 8, 0, 1, 2, 3));
    expect(await refused(['train', '--dataset', 'mnist', '--data-dir', 'mnist', '--out', 'm'])).toMatch(/^1 tenon: .*ubyte/);
    for (const out of ['c', 'm']) await expect(readdir(join(root, out))).rejects.toThrow();
  });
});
