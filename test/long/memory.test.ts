/** @file Memory over many steps, eager operations and cycles of training, each in a process of its own (needs the built package). */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const index = new URL('../../dist/index.js', import.meta.url).href;
/** Runs a module that prints one JSON value. */
function measure<T>(device: string, body: string): T {
  const script = `import * as tn from ${JSON.stringify(index)};\nconst rss = () => process.memoryUsage.rss();\n${body}`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    encoding: 'utf8',
    env: { ...process.env, TENON_DEVICE: device },
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as T;
}
const small = `
const { layers, sequential } = tn;
const n = 3200, width = 16;
const data = () => ({ data: Float32Array.from({ length: n * width }, (_, i) => Math.sin(i)), shape: [n, width], dtype: 'f32' });
const y = Int32Array.from({ length: n }, (_, i) => i % 4);
const make = () => sequential({ layers: [
  layers.dense({ name: 'a', units: 16, activation: 'relu', inputShape: [width] }), layers.dropout({ name: 'd', rate: 0.2 }),
  layers.batchNormalization({ name: 'n' }), layers.dense({ name: 'b', units: 4, activation: 'softmax' })] });
const compile = (m) => m.compile({ optimizer: 'adam', loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });`;

describe.each(['native', 'reference'])('on %s', (device) => {
  it('10,000 steps grow by less than 1 KB a step after the first 1,000', () => {
    const sizes = measure<number[]>(
      device,
      `${small}
const sizes = [];
const m = compile(make());
await m.fit(data(), y, { batchSize: 32, epochs: 100, verbose: 0, callbacks: [{ onEpochEnd(e) { if (e % 10 === 9) sizes.push(rss()); } }] });
console.log(JSON.stringify(sizes));`,
    );
    expect(sizes).toHaveLength(10);
    expect((sizes[9] - sizes[0]) / 9000).toBeLessThan(1024);
  });

  it.each([
    ['realized in the calling thread', 'a = a.mul(0.5).add(b); a.dataSync();'],
    ['awaited', 'a = a.mul(0.5).add(b); await a.data();'],
    ['never asked for', 'a = a.mul(0.5).add(b);'],
    ['with another constant every time', 'await a.add(i).sum().item();'],
  ])('a million eager operations %s stay under 300 MB', (_, body) => {
    const peak = measure<number>(
      device,
      `let a = tn.tensor([1, 2, 3, 4]); const b = tn.tensor([0.5, 0.5, 0.5, 0.5]);
for (let i = 0; i < 1e6; i += 2) { ${body} }
await a.data();
console.log(JSON.stringify(process.resourceUsage().maxRSS * 1024));`,
    );
    expect(peak).toBeLessThan(300e6);
  });

  it.each([
    ['on the same model', ''],
    ['with new data', 'x = data();'],
    ['compiled anew', 'compile(m);'],
    ['of new models', 'm = compile(make());'],
  ])('600 cycles of fit, evaluate and predict %s come to rest', (_, body) => {
    const sizes = measure<number[]>(
      device,
      `${small}
let m = compile(make()); let x = data(); const sizes = [];
for (let i = 0; i < 600; i++) {
  ${body}
  await m.fit(x, y, { batchSize: 1600, verbose: 0 });
  await m.evaluate(x, y, { batchSize: 1600, verbose: 0 });
  await m.predict(x, { batchSize: 1600 });
  if (i % 100 === 99) sizes.push(rss());
}
console.log(JSON.stringify(sizes));`,
    );
    // 200 KB of data a cycle would be 60 MB between the two.
    expect(Math.min(...sizes.slice(3)) - Math.min(...sizes.slice(0, 3))).toBeLessThan(40e6);
    expect(Math.max(...sizes)).toBeLessThan(400e6);
  });
});
