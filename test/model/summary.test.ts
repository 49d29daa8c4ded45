import { describe, expect, it } from 'vitest';
import * as layers from '../../src/layers/index.js';
import { input, type SymbolicTensor } from '../../src/layers/symbolic.js';
import { model } from '../../src/model/functional.js';
import { sequential } from '../../src/model/sequential.js';

describe('summary', () => {
  it('is Keras’s table', () => {
    const m = sequential({
      name: 'cnn',
      layers: [
        layers.conv2d({ name: 'conv', filters: 32, kernelSize: 3, inputShape: [32, 32, 3] }),
        layers.batchNormalization({ name: 'norm' }),
        layers.flatten({ name: 'flat' }),
        layers.dense({ name: 'out', units: 10 }),
      ],
    });
    const lines: string[] = [];
    const text = m.summary({ print: (l) => lines.push(l) });
    expect(lines.join('\n')).toBe(text);
    expect(text).toMatchInlineSnapshot(`
      "Model: "cnn"
      ┌───────────────────────────┬────────────────────┬─────────┐
      │ Layer (type)              │ Output Shape       │ Param # │
      ├───────────────────────────┼────────────────────┼─────────┤
      │ conv (Conv2D)             │ (None, 30, 30, 32) │     896 │
      │ norm (BatchNormalization) │ (None, 30, 30, 32) │     128 │
      │ flat (Flatten)            │ (None, 28800)      │       0 │
      │ out (Dense)               │ (None, 10)         │ 288,010 │
      └───────────────────────────┴────────────────────┴─────────┘
       Total params: 289,034 (1.10 MB)
       Trainable params: 288,970 (1.10 MB)
       Non-trainable params: 64 (256.00 B)"
    `);
  });
  it('says what layers are connected to, and wraps', () => {
    const x = input({ shape: [4], name: 'x' });
    const d = layers.dense({ name: 'd', units: 4 });
    const sum = layers
      .add({ name: 'sum' })
      .apply<SymbolicTensor>([d.apply<SymbolicTensor>(x), d.apply<SymbolicTensor>(d.apply<SymbolicTensor>(x))]);
    const m = model({ inputs: x, outputs: sum, name: 'graph' });
    expect(m.summary({ print: null })).toMatchInlineSnapshot(`
      "Model: "graph"
      ┌────────────────┬──────────────┬─────────┬───────────────────────────┐
      │ Layer (type)   │ Output Shape │ Param # │ Connected to              │
      ├────────────────┼──────────────┼─────────┼───────────────────────────┤
      │ x (InputLayer) │ (None, 4)    │       0 │ -                         │
      │ d (Dense)      │ (None, 4)    │      20 │ x[0][0], x[0][0], d[1][0] │
      │ sum (Add)      │ (None, 4)    │       0 │ d[0][0], d[2][0]          │
      └────────────────┴──────────────┴─────────┴───────────────────────────┘
       Total params: 20 (80.00 B)
       Trainable params: 20 (80.00 B)
       Non-trainable params: 0 (0.00 B)"
    `);
    for (const line of m.summary({ print: null, lineLength: 60 }).split('\n')) expect(line.length).toBeLessThanOrEqual(60);
  });
  it('shows models that are not built, and the layers of nested ones', () => {
    const m = sequential({ name: 'open', layers: [sequential({ name: 'inside', layers: [layers.dense({ name: 'd', units: 1 })] })] });
    const text = m.summary({ print: null, expandNested: true });
    expect(text).toContain('inside (Sequential)');
    expect(text).toContain('└ d (Dense)');
    expect(text).toContain('0 (unbuilt)');
  });
});
