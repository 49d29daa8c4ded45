import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { datasets, type ImageClassification } from '../../../src/data/datasets/index.js';
import { generateShapes, shapesClassNames } from '../../../src/data/datasets/shapes.js';
import { outlines } from '../../../src/data/datasets/shapes-outline.js';

const checksum = (d: ImageClassification): string => {
  const hash = createHash('sha256');
  for (const c of [d.train.x, d.train.y, d.test.x, d.test.y]) hash.update(c.data);
  return hash.digest('hex');
};

describe('datasets.shapes', () => {
  it('is the same bytes on every machine', () => {
    // Written down once. Another sum means another data set: published accuracies would no longer be comparable.
    expect(checksum(generateShapes({ train: 300, test: 100 }))).toBe('184fb0398f1a54a6cf4bb94ee81f36e721ea43a931696941ad8b94328a3e928f');
    expect(checksum(generateShapes({ seed: 7, train: 50, test: 20 }))).toBe(
      '858e7228f8b1ad0f0f9e6676a6f907c1ee4a3ca74f81851fcef6ca7232d07e1e',
    );
  });
  it('has shapes, dtypes, names and balanced classes', async () => {
    const d = await datasets.shapes({ train: 200, test: 55 });
    expect(d.train.x).toMatchObject({ shape: [200, 32, 32, 3], dtype: 'u8' });
    expect(d.train.x.data.length).toBe(200 * 32 * 32 * 3);
    expect(d.test.y).toMatchObject({ shape: [55], dtype: 'u8' });
    expect(d.classNames).toEqual(['circle', 'square', 'triangle', 'star', 'ring', 'cross', 'crescent', 'heart', 'arrow', 'letter']);
    expect(d.classNames).toEqual(shapesClassNames);
    for (const [split, n] of [
      [d.train, 200],
      [d.test, 55],
    ] as const) {
      const counts = new Array(10).fill(0);
      for (const label of split.y.data) counts[label]++;
      for (const count of counts) expect([Math.floor(n / 10), Math.ceil(n / 10)]).toContain(count);
    }
  });
  it('begins a larger set with the smaller one', () => {
    const small = generateShapes({ train: 30, test: 5 });
    const large = generateShapes({ train: 45, test: 12 });
    expect(large.train.x.data.subarray(0, 30 * 3072)).toEqual(small.train.x.data);
    expect(large.train.y.data.subarray(0, 30)).toEqual(small.train.y.data);
    expect(large.test.x.data.subarray(0, 5 * 3072)).toEqual(small.test.x.data);
  });
  it('gives other pictures for the test, another place and another seed', () => {
    const d = generateShapes({ train: 40, test: 40 });
    const pictures = new Set<string>();
    for (const data of [d.train.x.data, d.test.x.data, generateShapes({ seed: 1, train: 40, test: 0 }).train.x.data])
      for (let i = 0; i < 40; i++)
        pictures.add(
          createHash('sha256')
            .update(data.subarray(i * 3072, (i + 1) * 3072))
            .digest('hex'),
        );
    expect(pictures.size).toBe(120);
  });
  it('draws ten outlines that differ and fit the picture', () => {
    const masks = Object.values(outlines).map((outline) => {
      let mask = '';
      for (let v = -1.25; v <= 1.25; v += 0.125) for (let u = -1.25; u <= 1.25; u += 0.125) mask += outline(u, v) > 0 ? '#' : '.';
      return mask;
    });
    for (const [i, mask] of masks.entries()) {
      expect(mask.split('#').length).toBeGreaterThan(40);
      expect(mask.startsWith('.'.repeat(21))).toBe(true);
      expect(mask.endsWith('.'.repeat(21))).toBe(true);
      for (const other of masks.slice(0, i)) expect([...mask].filter((c, k) => c !== other[k]).length).toBeGreaterThan(30);
    }
  });
  it('refuses impossible options', async () => {
    expect(() => generateShapes({ train: -1 })).toThrow('shapes: train must be a number of pictures, 0 or more. Received -1.');
    expect(() => generateShapes({ test: 1.5 })).toThrow('shapes: test');
    await expect(datasets.shapes({ seed: Number.NaN })).rejects.toThrow('shapes: seed must be an integer. Received NaN.');
    expect(generateShapes({ train: 0, test: 0 }).train.x.shape).toEqual([0, 32, 32, 3]);
  });
});
