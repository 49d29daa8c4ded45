/** @file Every layer on every device: nothing goes to the plain device because it is small. */
import { describe, it, vi } from 'vitest';
import { setDevice } from '../../src/device/registry.js';
import { runLayerTest } from '../layers/run-layer-test.js';
import { table } from '../layers/table.js';
import { devices } from './harness.js';

vi.mock('../../src/device/registry.js', async (original) => ({ ...(await original<object>()), plainDevice: () => null }));

describe.each((await devices()).map((d) => ({ name: d.name })))('$name', ({ name }) => {
  for (const [family, rows] of Object.entries(table))
    rows.forEach(([make, test], i) => {
      const layer = make();
      it(`${family}: ${layer.className} #${i}`, async () => {
        setDevice(name);
        await runLayerTest(layer, test);
      }, 120_000);
    });
});
