/** @file A page whose Content-Security-Policy allows WebAssembly but no code made from text: what can't be used says so, the rest works. */
import { describe, expect, it } from 'vitest';
import type { DeviceStatus } from '../../src/device/registry.js';
import { bundleForBrowser } from './bundle.js';
import { chromium } from './chromium.js';
import { jsonOf, visit } from './visit.js';

const worker = `
  import { listDevices, setDevice, tensor } from './src/index.ts';
  const devices = listDevices();
  const results = [];
  for (const { name, usable } of devices) {
    if (!usable) continue;
    setDevice(name);
    // Small, and too large for the plain tier.
    results.push([name, await tensor([1, 2]).add(1).array(), await tensor(new Float32Array(2e6)).add(2).mean().item()]);
  }
  self.postMessage({ devices, results });`;
const script = `
  const worker = new Worker('/worker.js', { type: 'module' });
  const report = (name, value) => fetch('/report/' + name, { method: 'POST', body: JSON.stringify(value) });
  worker.onerror = (e) => report('failed', e.message ?? 'the worker could not be loaded');
  worker.onmessage = async ({ data }) => { await report('outcome', data); await report('done'); };`;

async function outcomeUnder(policy: string): Promise<{ devices: DeviceStatus[]; results: unknown[] }> {
  const reports = await visit({
    files: {
      '/': '<!doctype html><script type="module" src="/page.js"></script>',
      '/page.js': script,
      '/worker.js': await bundleForBrowser(worker),
    },
    isIsolated: true,
    contentSecurityPolicy: policy,
  });
  return jsonOf(reports, 'outcome');
}
const unusable = (devices: readonly DeviceStatus[], name: string): string | null | undefined =>
  devices.find((d) => d.name === name)?.reason;

describe.skipIf(!chromium)('a page without unsafe-eval', () => {
  it.each([
    ['with compute threads', 'blob:'],
    ['in the calling thread where workers are refused', ''],
  ])('computes on wasm, %s', async (_, workers) => {
    const { devices, results } = await outcomeUnder(
      `default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' ${workers}`,
    );
    expect(unusable(devices, 'reference')).toContain("'unsafe-eval'");
    expect(results).toEqual([['wasm', [2, 3], 2]]);
  });

  it('is told what WebAssembly needs', async () => {
    const { devices, results } = await outcomeUnder("default-src 'self'; script-src 'self'; worker-src 'self' blob:");
    expect(unusable(devices, 'wasm')).toMatch(/content security policy.*'wasm-unsafe-eval'/);
    expect(results).toEqual([]);
  });
});
