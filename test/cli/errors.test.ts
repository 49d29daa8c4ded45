import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { deviceNames, optimizerNames } from '../../src/cli/options.js';
import { listDevices, optimizers } from '../../src/index.js';
import { readTenon, writeTenon } from '../../src/io/tenon-file.js';
import { writeZip } from '../../src/io/zip.js';
import { ensureBuilt, tenon, tenons } from './built.js';

let folder: string;
const at = (...parts: string[]): string => join(folder, ...parts);
beforeAll(async () => {
  await ensureBuilt();
  folder = mkdtempSync(join(tmpdir(), 'tenon-cli-errors-'));
  const made = await tenon(['train', '--model', 'mlp', '--limit', '64', '--epochs', '1', '--out', 'run'], folder);
  expect(made.stderr).toBe('');
  const model = readFileSync(at('run', 'model.tenon'));
  writeFileSync(at('truncated.tenon'), model.subarray(0, 5000));
  const damaged = Buffer.from(model);
  damaged[damaged.length >> 1] ^= 1;
  writeFileSync(at('damaged.tenon'), damaged);
  writeFileSync(
    at('unknown.json'),
    JSON.stringify({
      className: 'Sequential',
      config: { name: 'm', trainable: true, input: null, layers: [{ className: 'Wobble', config: {} }] },
    }),
  );
  writeFileSync(at('broken.json'), '{');
  writeFileSync(at('text.png'), 'no picture');
  writeFileSync(at('cut.png'), Buffer.from('\x89PNG\r\n\x1a\n\0\0\0\rIHDR', 'latin1'));
  for (const name of ['empty.tenon', 'empty.json']) writeFileSync(at(name), '');
  const headless = Buffer.from(model);
  headless[0] ^= 1;
  writeFileSync(at('headless.tenon'), headless);
  writeFileSync(at('notes.md'), '# tenon.json\n');
  writeFileSync(at('other.zip'), writeZip([{ name: 'a.txt', bytes: [Buffer.from('a')] }]));
  writeFileSync(at('weights.tenon'), writeTenon({ json: {}, tensors: { weights: readTenon(model).tensors.weights } }));
  writeFileSync(at('package.json'), JSON.stringify({ name: 'a', text: 'x'.repeat(5000) }));
  mkdirSync(at('empty'));
  mkdirSync(at('not-a-run'));
  writeFileSync(at('not-a-run', 'run.json'), '{}');
  mkdirSync(at('half'));
  writeFileSync(at('half', 'train-images-idx3-ubyte.gz'), 'x');
}, 240_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('the optimizers that --help lists are those of the library', () =>
  expect([...optimizerNames].sort()).toEqual(Object.keys(optimizers).sort()));

test('the devices that --help lists are those of the library', () =>
  expect(deviceNames).toEqual(expect.arrayContaining(listDevices().map((d) => d.name))));

test.each([
  [[]],
  [['--help']],
  [['train', '--help']],
  [['evaluate', '--help']],
  [['predict', '--help']],
  [['summary', '--help']],
  [['devices', '--help']],
])('help: tenon %j', async (args) => {
  const { code, stdout, stderr } = await tenon(args, folder);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  expect(stdout).toContain(`Usage: tenon ${args[0] && args[0] !== '--help' ? args[0] : '[options]'}`);
});

test('--version', async () => {
  const { code, stdout } = await tenon(['--version'], folder);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

// What the caller got wrong: one line on stderr, exit code 2, nothing left behind.
describe('exit code 2', () => {
  const cases: readonly [args: string[], message: RegExp, env?: Record<string, string>][] = [
    [['trian'], /unknown command 'trian'/],
    [['train', '--epoch', '3'], /unknown option '--epoch'.*--epochs/],
    [['train', 'extra'], /too many arguments/],
    [['train', '--epochs', '0'], /--epochs.*whole number/],
    [['train', '--epochs', '1.5'], /--epochs.*whole number/],
    [['train', '--batch-size', 'many'], /--batch-size.*whole number/],
    [['train', '--learning-rate', '-1'], /--learning-rate.*number > 0/],
    [['train', '--learning-rate', ''], /--learning-rate.*number > 0/],
    [['train', '--seed', '-3'], /--seed.*whole number/],
    [['train', '--limit', '0'], /--limit.*whole number/],
    [['train', '--optimizer', 'adem'], /--optimizer.*adam/],
    [['train', '--dataset', 'imagenet'], /--dataset.*shapes, cifar10, mnist, fashion-mnist/],
    [['train', '--device', 'gpu'], /--device: there is no device "gpu"\. Expected native,? .*or reference\./],
    [['train'], /TENON_DEVICE.*"gpu"/, { TENON_DEVICE: 'gpu' }],
    [['train'], /TENON_NUM_THREADS.*"none"/, { TENON_NUM_THREADS: 'none', TENON_DEVICE: 'native' }],
    [['train', '--model', 'vgg'], /no file vgg.*cnn, mlp/],
    [['train', '--model', 'empty'], /empty is a folder/],
    [['train', '--model', 'broken.json', '--limit', '10'], /broken\.json is no JSON/],
    [['train', '--model', 'unknown.json', '--limit', '10'], /"Wobble" is not known/],
    [['train', '--dataset', 'mnist', '--data-dir', 'nowhere'], /--data-dir: there is no folder nowhere/],
    [['train', '--dataset', 'mnist', '--data-dir', 'empty'], /mnist: MNIST is not there.*train-images-idx3-ubyte\.gz/],
    [['train', '--dataset', 'cifar10', '--data-dir', 'empty'], /cifar10: CIFAR-10 is not there.*cifar-10-binary\.tar\.gz/],
    [['train', '--limit', '10', '--batch-size', '11'], /--batch-size: 11 is larger than the 10 training pictures.*at most 10/],
    [['train', '--out', 'truncated.tenon/run'], /--out: the folder truncated\.tenon\/run can't be made/],
    [['train', '--out', 'run'], /run holds a run already.*--resume run/],
    [['train', '--json', 'nowhere/x.json'], /--json: there is no folder nowhere/],
    [['train', '--json', 'empty'], /--json: empty is a folder/],
    [['train', '--limit', '7'], /--batch-size: 32 is larger than the 7 training pictures.*larger --limit/],
    [['train', '--resume', 'empty'], /empty holds no run/],
    [['train', '--resume'], /no run in runs\//],
    [['train', '--resume', 'run', '--seed', '9'], /--seed can't change.*Expected 0, received 9/],
    [['train', '--resume', 'run', '--model', 'cnn'], /--model can't change.*mlp/],
    [['train', '--resume', 'run', '--out', 'elsewhere'], /stays in its folder/],
    [['evaluate'], /missing required argument 'model'/],
    [['evaluate', 'nowhere.tenon'], /no file nowhere\.tenon/],
    [['evaluate', 'empty'], /empty is a folder/],
    [['predict', 'run/model.tenon'], /missing required argument 'image'/],
    [['predict', 'run/model.tenon', 'nowhere.png'], /no file nowhere\.png/],
    [['predict', 'run/model.tenon', 'text.png', '--top', '0'], /--top.*whole number/],
    [['summary', 'nowhere.tenon'], /no file nowhere\.tenon/],
    // Another kind of file.
    [['evaluate', 'notes.md'], /notes\.md is no \.tenon file/],
    [['predict', 'other.zip', 'text.png'], /other\.zip is no \.tenon file/],
    [['train', '--model', 'notes.md', '--limit', '10'], /notes\.md is no \.tenon file/],
    [['inspect', 'weights.tenon'], /weights\.tenon holds no model config/],
    [['summary', 'broken.json'], /broken\.json is no JSON/],
    [['summary', 'package.json'], /package\.json describes no model\. Expected \{ className, config \}, received \{"name":.{60,100}\n$/],
    [['predict', 'run/model.tenon', 'text.png'], /text\.png: this is no picture/],
  ];
  const plain = cases.filter(([, , env]) => env === undefined);
  let before: string[];
  let ended: Awaited<ReturnType<typeof tenons>>;
  beforeAll(async () => {
    before = readdirSync(folder);
    ended = await tenons(
      plain.map(([args]) => args),
      folder,
    );
  });
  const judge = ({ code, stderr }: (typeof ended)[number], message: RegExp): void => {
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^tenon: [^\n]+\n$/);
    expect(code).toBe(2);
    expect(readdirSync(folder)).toEqual(before);
  };
  test.each(plain.map(([args, message], i) => [args, message, i] as const))('tenon %j', (_, message, i) => judge(ended[i], message));
  test.each(cases.filter(([, , env]) => env))('tenon %j', async (args, message, env) => judge(await tenon(args, folder, env), message));
  test('a process of its own for a command line, an option and a file', async () => {
    for (const args of [['trian'], ['train', '--resume', 'run', '--seed', '9'], ['predict', 'other.zip', 'text.png']]) {
      const found = cases.find(([words]) => words.join() === args.join());
      judge(await tenon(args, folder), found?.[1] ?? /^$/);
    }
  });

  test('a model that is no model is found out before the data set is looked at', async () => {
    const { code, stderr } = await tenon(['train', '--model', 'broken.json', '--dataset', 'mnist', '--data-dir', 'empty'], folder);
    expect(stderr).toMatch(/broken\.json is no JSON/);
    expect(code).toBe(2);
  });

  // Root may write everywhere.
  test.skipIf(process.getuid?.() === 0)('an output folder that may not be written to', async () => {
    mkdirSync(at('locked'));
    chmodSync(at('locked'), 0o500);
    const { code, stderr } = await tenon(['train', '--limit', '10', '--out', 'locked'], folder);
    chmodSync(at('locked'), 0o700);
    expect(stderr).toMatch(/^tenon: --out: [^\n]*locked[^\n]*\n$/);
    expect(code).toBe(2);
  });
});

// What is wrong with a file's content or the machine: one line, exit code 1.
describe('exit code 1', () => {
  const cases: readonly [args: string[], message: RegExp][] = [
    [['summary', 'truncated.tenon'], /truncated\.tenon.*truncated/],
    [['evaluate', 'damaged.tenon', '--limit', '10'], /damaged\.tenon/],
    [['evaluate', 'empty.tenon'], /empty\.tenon: the file is empty/],
    [['summary', 'empty.json'], /empty\.json: the file is empty/],
    [['train', '--model', 'truncated.tenon', '--limit', '10'], /truncated\.tenon.*truncated/],
    [['inspect', 'headless.tenon'], /headless\.tenon/],
    [['predict', 'run/model.tenon', 'cut.png'], /cut\.png: this is no picture that can be read/],
    [['predict', 'run/model.tenon', 'empty.tenon'], /empty\.tenon: the file is empty/],
    [['train', '--resume', 'not-a-run'], /run\.json is damaged/],
    [['train', '--dataset', 'mnist', '--data-dir', 'half'], /half holds a part of the data set.*train-labels/],
  ];
  test.each(cases)('tenon %j', async (args, message) => {
    const { code, stderr } = await tenon(args, folder);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^tenon: [^\n]+\n$/);
    expect(code).toBe(1);
    expect(existsSync(at('runs'))).toBe(false);
  });

  test('a loss that is not finite: at which step, and what to do', async () => {
    const { code, stderr } = await tenon(
      ['train', '--model', 'mlp', '--limit', '64', '--epochs', '4', '--optimizer', 'sgd', '--learning-rate', '1e30', '--out', 'nan'],
      folder,
    );
    expect(stderr).toMatch(/^tenon: [^\n]*the loss is (NaN|Infinity) at step \d+ [^\n]*Lower the learning rate[^\n]*\n$/);
    expect(code).toBe(1);
  });

  // The limit is on the size of files: the first checkpoint passes it.
  test.skipIf(process.platform === 'win32')('no room for the first checkpoint: what is lost is said', async () => {
    const { root } = await import('./built.js');
    const script = `ulimit -f 2000; exec "${process.execPath}" "${join(root, 'dist/cli/main.js')}" train --model mlp --limit 64 --epochs 2 --out lost`;
    const { status, stderr } = spawnSync('sh', ['-c', script], { cwd: folder, encoding: 'utf8' });
    expect(stderr).toMatch(
      /^tenon: [^\n]*no room left[^\n]*What was trained is lost \([12] whole epochs?\)[^\n]*the run lost was removed\.\n$/,
    );
    expect(status).toBe(1);
    expect(existsSync(at('lost'))).toBe(false);
  });

  test('a damaged checkpoint is named', async () => {
    const files = readdirSync(at('run', 'checkpoints')).filter((f) => f.endsWith('.tenon'));
    const newest = at('run', 'checkpoints', files.sort().at(-1) ?? '');
    const good = readFileSync(newest);
    writeFileSync(newest, good.subarray(0, 100));
    const { code, stderr } = await tenon(['train', '--resume', 'run', '--epochs', '2'], folder);
    writeFileSync(newest, good);
    expect(stderr).toMatch(/^tenon: [^\n]*checkpoint-\d+\.tenon[^\n]*\n$/);
    expect(code).toBe(1);
  });
});

test('a reader that leaves early is no failure', async () => {
  const { execFile } = await import('node:child_process');
  const { root } = await import('./built.js');
  const script = `"${process.execPath}" "${join(root, 'dist/cli/main.js')}" summary run/model.tenon | head -n 1`;
  const text = await new Promise<string>((resolve, reject) =>
    execFile('sh', ['-c', script], { cwd: folder }, (error, stdout, stderr) => (error ? reject(error) : resolve(stdout + stderr))),
  );
  expect(text).toBe('Model: "mlp"\n');
});
