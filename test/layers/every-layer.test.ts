/** @file Every layer with several configs through the one layer test. */
import { describe, it } from 'vitest';
import { runLayerTest } from './run-layer-test.js';
import { table } from './table.js';

for (const [family, rows] of Object.entries(table))
  describe(family, () => {
    rows.forEach(([make, test], i) => {
      const layer = make();
      it(`${layer.className} ${JSON.stringify(layer.options)} #${i}`, () => runLayerTest(layer, test));
    });
  });
