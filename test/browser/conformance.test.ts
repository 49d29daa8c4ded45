/**
 * @file What every device must do, done by the devices of a web page: whole test files run in a module worker of headless Chromium, with
 * and without cross-origin isolation, and each of their tests is one here. A new device passes by adding no test. The plain device is the
 * same on both pages: it is tested on the isolated one.
 */
import { describe, expect, it } from 'vitest';
import type { DeviceStatus } from '../../src/device/registry.js';
import { bundleForBrowser } from './bundle.js';
import { chromium } from './chromium.js';
import { jsonOf, type Report, visit } from './visit.js';
import type { TestResult } from './vitest.js';

/** Test files that go through the devices by themselves, and those that take the device in use. */
const everyDevice = ['primitives', 'random', 'random-graphs', 'training'].map((name) => `test/conformance/${name}.test.ts`);
const deviceInUse = ['test/layers/every-layer.test.ts'];

/** A worker's module: registers the tests of the files, runs them, and posts each result. */
const worker = (files: readonly string[]): string => `
  import { setDevice } from './src/device/registry.ts';
  import { runTests } from './test/browser/vitest.ts';
  if (self.name !== '') setDevice(self.name);
  ${files.map((f) => `await import('./${f}');`).join('\n')}
  await runTests((result) => self.postMessage(result), (name) => crossOriginIsolated || !name.startsWith('reference > '));
  self.postMessage('done');`;

const deviceList = `
  import { listDevices } from './src/device/registry.ts';
  self.postMessage(listDevices());
  self.postMessage('done');`;

/** Runs the workers one after another; what they post is reported. */
const page = `<!doctype html><title>tenon</title><script type="module">
  const report = (name, value) => fetch('/report/' + name, { method: 'POST', body: JSON.stringify(value) });
  const run = (script, device, onMessage) => new Promise((resolve, reject) => {
    const worker = new Worker(script, { type: 'module', name: device });
    worker.onerror = (e) => reject(new Error(script + ' on ' + device + ': ' + (e.message ?? 'could not be loaded')));
    worker.onmessage = ({ data }) => {
      if (data !== 'done') return onMessage(data);
      worker.terminate();
      resolve();
    };
  });
  try {
    await report('page', { isIsolated: crossOriginIsolated });
    let devices = [];
    await run('/devices.js', '', (list) => { devices = list; });
    await report('devices', devices);
    await run('/every-device.js', '', (r) => report('test', r));
    for (const d of devices.filter((d) => d.usable && (crossOriginIsolated || d.name !== 'reference')))
      await run('/device-in-use.js', d.name, (r) => report('test', { ...r, name: d.name + ' > ' + r.name }));
    await report('done');
  } catch (error) {
    await report('failed', String(error));
  }
</script>`;

const bundles = chromium && {
  '/': page,
  '/devices.js': await bundleForBrowser(deviceList),
  '/every-device.js': await bundleForBrowser(worker(everyDevice)),
  '/device-in-use.js': await bundleForBrowser(worker(deviceInUse)),
};

for (const isIsolated of [true, false]) {
  const title = `Chromium, ${isIsolated ? '' : 'not '}cross-origin isolated`;
  let reports: Report[] = [];
  let failure: unknown = null;
  if (bundles)
    try {
      reports = await visit({ files: bundles, isIsolated });
    } catch (error) {
      failure = error;
    }
  describe.skipIf(!bundles)(title, () => {
    it('runs the suites to their end', () => {
      if (failure) throw failure;
      expect(jsonOf(reports, 'page')).toEqual({ isIsolated });
      const devices = jsonOf<DeviceStatus[]>(reports, 'devices');
      const isTested = (d: DeviceStatus): boolean => results.some((r) => r.name.startsWith(`${d.name} > `));
      const untested = devices.filter((d) => d.usable && !isTested(d)).map((d) => d.name);
      expect(untested).toEqual(isIsolated ? [] : ['reference']);
      for (const d of devices.filter((x) => !x.usable)) console.warn(`${title}: ${d.name} is skipped: ${d.reason}`);
    });
    const results = reports.filter((r) => r.name === 'test').map((r) => JSON.parse(new TextDecoder().decode(r.body)) as TestResult);
    it.each(results)('$name', ({ error }) => {
      if (error !== null) expect.fail(error);
    });
  });
}
