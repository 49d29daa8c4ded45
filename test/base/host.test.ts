import { afterEach, expect, it } from 'vitest';
import { host } from '../../src/base/host.js';
import { bundleForBrowser } from '../browser/bundle.js';

const saved = { ...process.env };
afterEach(() => {
  process.env = { ...saved };
});

it('knows where caches go', () => {
  process.env.TENON_CACHE_DIR = '/a';
  process.env.XDG_CACHE_HOME = '/b';
  expect(host.cacheDirectory()).toBe('/a');
  process.env.TENON_CACHE_DIR = '';
  expect(host.cacheDirectory()).toBe('/b/tenon');
  delete process.env.XDG_CACHE_HOME;
  process.env.HOME = '/c';
  expect(host.cacheDirectory()).toBe('/c/.cache/tenon');
  expect(host.temporaryDirectory()).toBeTruthy();
});

it('takes an empty variable for an unset one', () => {
  process.env.TENON_TEST = '';
  expect(host.environment('TENON_TEST')).toBeUndefined();
  process.env.TENON_TEST = 'x';
  expect(host.environment('TENON_TEST')).toBe('x');
  expect(host.threads).toBeGreaterThanOrEqual(1);
});

it('lets the devices be bundled for a browser, where wasm is the first that works', async () => {
  const text = await bundleForBrowser(
    `import { currentDevice, listDevices } from './src/device/registry.ts';
      import { increment } from './test/device/increment.ts';
      const d = currentDevice();
      const y = d.allocate('i32', 3);
      d.runSync(d.compileSync(increment(3)), [y]);
      result = [d.name, [...d.readSync(y)], listDevices()];`,
    { format: 'iife', define: { 'import.meta.url': '""' } },
  );
  const said: string[] = [];
  const run = new Function('process', 'console', `let result; ${text}; return result;`);
  const result = run(undefined, { error: (line: string) => said.push(line) });
  expect(result).toEqual([
    'wasm',
    [1, 1, 1],
    [
      { name: 'native', usable: false, reason: expect.stringMatching(/Node/) },
      { name: 'wasm', usable: true, reason: null },
      { name: 'reference', usable: true, reason: null },
    ],
  ]);
  // Nobody misses a native device in a browser.
  expect(said).toEqual([]);
});
