/** @file The cache of compiled objects and the choice of a device, each in a process of its own. */
import { execFile } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

const run = promisify(execFile);
const root = new URL('../..', import.meta.url).pathname;
let folder: string;
let program: string;
let cache: string;
let round = 0;

/** Runs a script with `registry`, `native`, `increment` at hand; gives what it printed as JSON, and its stderr. */
async function child(script: string, environment: Record<string, string> = {}): Promise<{ result: unknown; stderr: string }> {
  const env = { PATH: process.env.PATH, HOME: folder, TENON_CACHE_DIR: cache, ...environment };
  const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '-e', script, program], { env, timeout: 50_000 });
  return { result: stdout === '' ? null : JSON.parse(stdout), stderr };
}

const increment = `
  const { NativeDevice, increment, registry } = await import(process.argv[1]);
  const work = async (device, n = 100) => {
    const e = await device.compile(increment(n, 1e6));
    const y = device.allocate('i32', n);
    await device.run(e, [y]);
    return { cached: e.cachedKernels, value: (await device.read(y))[n - 1] };
  };
  const say = (x) => console.log(JSON.stringify(x));
`;
const once = `${increment} say(await work(new NativeDevice()));`;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tenon-test-'));
  // Beside the sources, so that koffi is found.
  program = join(root, 'node_modules', `.tenon-test-${process.pid}.mjs`);
  await build({
    stdin: {
      contents: `export { NativeDevice } from './src/device/native/native.ts';
        export * as registry from './src/device/registry.ts';
        export { increment } from './test/device/increment.ts';`,
      resolveDir: root,
      loader: 'ts',
    },
    bundle: true,
    format: 'esm',
    platform: 'node',
    external: ['koffi'],
    outfile: program,
  });
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  rmSync(program, { force: true });
});
beforeEach(() => {
  cache = join(folder, `cache-${round++}`);
});

const objects = () => join(cache, 'objects');
const kernelObject = (): string => {
  const key = readdirSync(objects()).filter((f) => f.startsWith('k_'));
  // The runtime's link and the kernel's: the kernel's object is the smaller one.
  const files = [...new Set(key.map((k) => join(objects(), k)))].sort((a, b) => statSync(a).size - statSync(b).size);
  return files[0];
};

describe('the cache of compiled objects', () => {
  it('serves the next process, from a folder that only its owner may enter', async () => {
    expect((await child(once)).result).toEqual({ cached: 0, value: 1 });
    expect(lstatSync(objects()).mode & 0o777).toBe(0o700);
    expect(readdirSync(objects()).filter((f) => f.startsWith('t_'))).toEqual([]);
    expect((await child(once)).result).toEqual({ cached: 1, value: 1 });
  });

  it.each([
    ['cut off', (file: string) => truncateSync(file, 100)],
    [
      'changed in one byte',
      (file: string) => {
        const bytes = readFileSync(file);
        bytes[bytes.length >> 1] ^= 1;
        writeFileSync(file, bytes);
      },
    ],
    ['empty', (file: string) => truncateSync(file, 0)],
    ['missing', (file: string) => rmSync(file)],
  ])('compiles again when an object is %s', async (_, damage) => {
    await child(once);
    for (const f of readdirSync(objects()).filter((f) => f.startsWith('o_'))) damage(join(objects(), f));
    expect((await child(once)).result).toEqual({ cached: 0, value: 1 });
    expect((await child(once)).result).toEqual({ cached: 1, value: 1 });
  });

  it('keeps objects for other processors apart', async () => {
    await child(once);
    expect(kernelObject()).toBeTruthy();
    if (process.arch === 'x64') expect((await child(once, { TENON_CPU: 'sse2' })).result).toEqual({ cached: 0, value: 1 });
  });

  it('takes its own folder back from others, and refuses what is no folder', async () => {
    await child(once);
    chmodSync(objects(), 0o777);
    await child(once);
    expect(lstatSync(objects()).mode & 0o777).toBe(0o700);
    rmSync(objects(), { recursive: true });
    symlinkSync(folder, objects());
    await expect(child(once)).rejects.toThrow(/not safe to load code from/);
  });

  it('says why a folder cannot be used', async () => {
    writeFileSync(join(folder, 'file'), '');
    await expect(child(once, { TENON_CACHE_DIR: join(folder, 'file') })).rejects.toThrow(/cache folder .* cannot be used/);
  });

  it('is shared by compilations at the same time', async () => {
    const script = `${increment}
      const device = new NativeDevice();
      const sizes = [11, 11, 12, 13, 12];
      say(await Promise.all(sizes.map((n) => work(device, n))));`;
    const [a, b] = await Promise.all([child(script), child(script)]);
    for (const { result } of [a, b]) expect((result as { value: number }[]).map((r) => r.value)).toEqual([1, 1, 1, 1, 1]);
  });
});

describe('a failing compiler', () => {
  /** Compiles the runtime, then fails with `message`. */
  const failing = (name: string, message: string): string => {
    const cc = join(folder, name);
    writeFileSync(
      cc,
      `#!/bin/sh\nif [ "$1" = --version ]; then echo bad 1.0; exit 0; fi\ncase "$*" in *-pthread*) exec cc "$@";; esac\necho '${message}' >&2; exit 1\n`,
    );
    chmodSync(cc, 0o755);
    return cc;
  };
  it('is quoted', async () => {
    const cc = failing('bad-cc', 'out of luck');
    await expect(child(once, { TENON_CC: cc })).rejects.toThrow(
      /DeviceError: native: .*bad-cc could not compile a kernel[\s\S]*out of luck[\s\S]*TENON_DEVICE=wasm/,
    );
    const sync = `${increment} try { new NativeDevice().compileSync(increment(5)); } catch (e) { say(e.message); }`;
    expect((await child(sync, { TENON_CC: cc })).result).toMatch(/out of luck/);
  });
  it('that found no room says where room is wanted', async () => {
    const cc = failing('full-cc', 'fatal error: error writing to x.s: No space left on device');
    await expect(child(once, { TENON_CC: cc })).rejects.toThrow(/no room left for compiled kernels[\s\S]*TENON_CACHE_DIR/);
  });
});

describe('the choice of a device', () => {
  const chosen = `${increment} const d = registry.currentDevice(); registry.currentDevice(); say([d.name, await work(d)]);`;

  it('is native where a compiler is found', async () => {
    expect(await child(chosen)).toEqual({ result: ['native', { cached: 0, value: 1 }], stderr: '' });
  });

  it.each([
    ['TENON_CC points nowhere', { TENON_CC: '/no/such/cc' }, /TENON_CC names no program: \/no\/such\/cc/],
    ['the PATH is empty', { PATH: '' }, /no C compiler \(cc, gcc, clang\) on the PATH/],
  ])('falls back to wasm when %s, and says so in one line', async (_, environment, reason) => {
    const { result, stderr } = await child(chosen, environment);
    expect(result).toEqual(['wasm', { cached: 0, value: 1 }]);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stderr).toMatch(reason);
    expect(stderr).toMatch(/install gcc|xcode-select/);
  });

  it('obeys TENON_DEVICE, and refuses what it cannot give', async () => {
    for (const name of ['wasm', 'reference'])
      expect(await child(chosen, { TENON_DEVICE: name })).toEqual({ result: [name, { cached: 0, value: 1 }], stderr: '' });
    await expect(child(chosen, { TENON_DEVICE: 'tpu' })).rejects.toThrow(
      /TENON_DEVICE: unknown device. Expected one of native, wasm, reference/,
    );
    await expect(child(chosen, { TENON_DEVICE: 'native', TENON_CC: '/no/cc' })).rejects.toThrow(/"native" cannot be used here: TENON_CC/);
    await expect(child(chosen, { TENON_NUM_THREADS: '0' })).rejects.toThrow(/TENON_NUM_THREADS: not a thread count/);
    await expect(child(chosen, { TENON_CPU: 'z80' })).rejects.toThrow(/TENON_CPU: unknown level/);
  });

  it('can be changed and listed', async () => {
    const script = `${increment}
      registry.setDevice('reference');
      let refused;
      try { registry.setDevice('abacus'); } catch (e) { refused = e.message; }
      say([registry.currentDevice().name, registry.getDevice().name, refused, registry.listDevices()]);`;
    const { result } = await child(script, { TENON_CC: '/no/cc' });
    expect(result).toEqual([
      'reference',
      'reference',
      expect.stringMatching(/unknown device/),
      [
        { name: 'native', usable: false, reason: expect.stringMatching(/TENON_CC names no program/) },
        { name: 'wasm', usable: true, reason: null },
        { name: 'reference', usable: true, reason: null },
      ],
    ]);
  });

  it('lets the process end while the pool sleeps', async () => {
    const script = `${increment} say(await work(new NativeDevice())); await new Promise((r) => setTimeout(r, 20));`;
    expect((await child(script, { TENON_NUM_THREADS: '4' })).result).toEqual({ cached: 0, value: 1 });
  });

  it('ends cleanly while threads still look for work, and in the middle of a run', async () => {
    const inside = `${increment}
      const device = new NativeDevice();
      const e = await device.compile(increment(20_000_000, 1e9));
      const y = device.allocate('i32', 20_000_000);
      void device.run(e, [y]);
      setTimeout(() => process.exit(0), 3);`;
    for (let i = 0; i < 8; i++) {
      expect((await child(once)).result).toMatchObject({ value: 1 });
      expect((await child(inside)).stderr).toBe('');
    }
  });

  it('lets a worker end with runs queued', async () => {
    const script = `${increment}
      const { Worker } = await import('node:worker_threads');
      const n = 2_000_000;
      const inside = 'import { parentPort, workerData } from "node:worker_threads"; const { NativeDevice, increment } = await import(workerData);'
        + 'const device = new NativeDevice(), e = await device.compile(increment(' + n + ', 1e9)), y = device.allocate("i32", ' + n + ');'
        + 'await device.run(e, [y]); parentPort.postMessage(1); for (;;) await Promise.all([0, 1, 2, 3].map(() => device.run(e, [y])));';
      await work(new NativeDevice());
      for (let i = 0; i < 10; i++) {
        const worker = new Worker(inside, { eval: true, workerData: process.argv[1] });
        await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
        await new Promise((resolve) => setTimeout(resolve, 3 * i));
        await worker.terminate();
      }
      say(await work(new NativeDevice()));`;
    expect((await child(script)).result).toMatchObject({ value: 1 });
  });

  it('leaves the event loop free during a run', async () => {
    const script = `${increment}
      const device = new NativeDevice();
      const e = await device.compile(increment(30_000_000, 1e9));
      const y = device.allocate('i32', 30_000_000);
      let turns = 0, over = false;
      const count = () => { if (!over) { turns++; setImmediate(count); } };
      const run = device.run(e, [y]).then(() => { over = true; });
      count();
      await run;
      say(turns > 3);`;
    expect((await child(script)).result).toBe(true);
  });
});
