import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, FormatError } from '../../src/base/errors.js';
import { loadSharp } from '../../src/data/decode-image-node.js';
import { decodeImage, imageFolder } from '../../src/data/index.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenon-image-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

type Colour = readonly number[];
/** A picture whose left half is `left` and right half `right`; as many channels as the colours have. */
function picture(height: number, width: number, left: Colour, right: Colour = left): Sharp {
  const channels = left.length as 1 | 3 | 4;
  const data = Buffer.alloc(height * width * channels);
  for (let i = 0; i < height * width; i++) data.set(i % width < width / 2 ? left : right, i * channels);
  return sharp(data, { raw: { width, height, channels } });
}
const png = (...args: Parameters<typeof picture>): Promise<Buffer> =>
  picture(...args)
    .png()
    .toBuffer();
const red = [255, 0, 0];
const blue = [0, 0, 255];

describe('decodeImage', () => {
  it('gives the pixels row by row, channels last', async () => {
    const bytes = await png(1, 2, red, blue);
    expect(await decodeImage(bytes)).toEqual({ data: Uint8Array.of(255, 0, 0, 0, 0, 255), shape: [1, 2, 3], dtype: 'u8' });
    const path = join(root, 'one.png');
    await writeFile(path, bytes);
    expect(await decodeImage(path)).toEqual(await decodeImage(bytes));
  });
  it('stretches to a size', async () => {
    const bytes = await png(4, 8, red, blue);
    const small = await decodeImage(bytes, { size: [2, 4] });
    expect(small.shape).toEqual([2, 4, 3]);
    expect(Array.from(small.data.subarray(0, 3))).toEqual(red);
    expect(Array.from(small.data.subarray(9, 12))).toEqual(blue);
    expect((await decodeImage(bytes, { size: 5 })).shape).toEqual([5, 5, 3]);
  });
  it('gives grey or colour whatever the file holds', async () => {
    const grey = await decodeImage(await png(2, 2, [100, 100, 100]), { channels: 1 });
    expect(grey).toEqual({ data: new Uint8Array(4).fill(100), shape: [2, 2, 1], dtype: 'u8' });
    const colour = await decodeImage(await picture(2, 2, [100]).toColourspace('b-w').png().toBuffer());
    expect(colour).toEqual({ data: new Uint8Array(12).fill(100), shape: [2, 2, 3], dtype: 'u8' });
    const deep = await picture(2, 2, [100, 100, 100]).toColourspace('rgb16').png().toBuffer();
    expect((await sharp(deep).metadata()).depth).toBe('ushort');
    expect(Array.from((await decodeImage(deep)).data)).toEqual(new Array(12).fill(100));
  });
  it('puts transparent parts on white', async () => {
    const { data } = await decodeImage(await png(1, 2, [255, 0, 0, 255], [0, 0, 255, 0]));
    expect(Array.from(data)).toEqual([255, 0, 0, 255, 255, 255]);
  });
  it('turns a photograph as its camera says', async () => {
    const jpeg = await picture(8, 16, [250, 250, 250], [5, 5, 5]).withMetadata({ orientation: 6 }).jpeg({ quality: 100 }).toBuffer();
    const turned = await decodeImage(jpeg);
    expect(turned.shape).toEqual([16, 8, 3]);
    expect(turned.data[0]).toBeGreaterThan(240);
    expect(turned.data[turned.data.length - 1]).toBeLessThan(15);
  });
  it('names a file that is no picture, or half of one', async () => {
    const path = join(root, 'text.png');
    await writeFile(path, 'no picture');
    const error = await decodeImage(path).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(FormatError);
    expect(String(error)).toContain(`decodeImage ${path}: this is no picture that can be read (`);
    expect(String(error)).toContain('Expected a whole JPEG, PNG, WebP, GIF, AVIF or TIFF file.');
    await expect(decodeImage(join(root, 'none.png'))).rejects.toThrow(FormatError);
    const whole = await sharp(Buffer.from(Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * i * 7) & 255)), {
      raw: { width: 64, height: 64, channels: 3 },
    })
      .png()
      .toBuffer();
    await expect(decodeImage(whole.subarray(0, whole.length >> 1))).rejects.toThrow(FormatError);
    await expect(decodeImage(new Uint8Array(0))).rejects.toThrow(FormatError);
  });
  it('refuses impossible options', async () => {
    const bytes = await png(1, 1, red);
    await expect(decodeImage(bytes, { channels: 4 as 3 })).rejects.toThrow('decodeImage: channels 4. Expected 1 (grey) or 3 (RGB).');
    await expect(decodeImage(bytes, { size: [0, 2] })).rejects.toThrow('decodeImage: size [0,2]. Expected a number of pixels');
    await expect(decodeImage(bytes, { size: 1e9 })).rejects.toThrow(ConfigError);
  });
  it('says how to get sharp when it is not there', async () => {
    await expect(loadSharp('decodeImage', () => Promise.reject(new Error('Cannot find package')))).rejects.toThrow(
      new ConfigError('decodeImage: reading pictures needs the package sharp, which is not installed. Run npm install sharp.'),
    );
  });
});

describe('imageFolder', () => {
  let dir: string;
  const colours: Readonly<Record<string, Colour>> = { apple: red, plum: blue, Zebra: [9, 9, 9] };
  beforeAll(async () => {
    dir = join(root, 'fruit');
    for (const [name, colour] of Object.entries(colours)) {
      await mkdir(join(dir, name, 'more'), { recursive: true });
      for (let i = 0; i < 3; i++) await writeFile(join(dir, name, `${i}.png`), await png(3 + i, 4, colour));
      await writeFile(
        join(dir, name, 'more', 'x.JPG'),
        await picture(6, 6, colour).jpeg({ quality: 100, chromaSubsampling: '4:4:4' }).toBuffer(),
      );
      await writeFile(join(dir, name, 'notes.txt'), 'no picture');
      await writeFile(join(dir, name, '.hidden.png'), 'no picture');
    }
    await writeFile(join(dir, 'readme.md'), '');
  });

  it('labels pictures by their folder, sorted, and brings them to one size', async () => {
    const { dataset, classNames, files } = await imageFolder(dir, { size: [2, 3], batchSize: 5 });
    expect(classNames).toEqual(['Zebra', 'apple', 'plum']);
    expect(files.map((f) => f.label)).toEqual([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
    expect(dataset.size).toBe(3);
    const batches = await dataset.toArray();
    expect(batches.map((b) => b.x.shape)).toEqual([
      [5, 2, 3, 3],
      [5, 2, 3, 3],
      [2, 2, 3, 3],
    ]);
    expect(batches.flatMap((b) => Array.from(b.y.data))).toEqual(files.map((f) => f.label));
    expect(batches[0].y.dtype).toBe('u8');
    for (const batch of batches)
      for (const [i, label] of batch.y.data.entries())
        for (const [c, wanted] of colours[classNames[label]].entries()) expect(Math.abs(batch.x.data[i * 18 + c] - wanted)).toBeLessThan(4);
  });
  it('takes the classes that are named, in their order, grey and one by one', async () => {
    const { dataset, classNames } = await imageFolder(dir, { size: 2, channels: 1, classNames: ['plum', 'Zebra'], batchSize: null });
    expect(classNames).toEqual(['plum', 'Zebra']);
    const examples = await dataset.toArray();
    expect(examples.length).toBe(8);
    expect(examples[0].x.shape).toEqual([2, 2, 1]);
    expect(examples[0].y).toEqual({ data: Uint8Array.of(0), shape: [], dtype: 'u8' });
    expect(examples[7].x.data[0]).toBe(9);
  });
  it('shuffles files anew each epoch and keeps pictures with their labels', async () => {
    const { dataset, classNames } = await imageFolder(dir, { size: 2, shuffle: true, seed: 2, batchSize: 12 });
    const [[first], [second]] = [await dataset.toArray(), await dataset.toArray()];
    expect(Array.from(first.y.data)).not.toEqual(Array.from(second.y.data));
    for (const [i, label] of second.y.data.entries())
      expect(Math.abs(second.x.data[i * 12] - colours[classNames[label]][0])).toBeLessThan(4);
  });
  it('names the file that is broken, when its turn comes', async () => {
    const broken = join(root, 'broken');
    await mkdir(join(broken, 'a'), { recursive: true });
    await writeFile(join(broken, 'a', '0.png'), await readFile(join(dir, 'apple', '0.png')));
    await writeFile(join(broken, 'a', '1.png'), 'broken');
    const { dataset } = await imageFolder(broken, { size: 2, batchSize: 1 });
    const seen: unknown[] = [];
    const read = async (): Promise<void> => {
      for await (const batch of dataset) seen.push(batch);
    };
    await expect(read()).rejects.toThrow(`decodeImage ${join(broken, 'a', '1.png')}: this is no picture`);
    expect(seen.length).toBe(1);
  });
  it('enters linked classes and no circle of links', async () => {
    const linked = join(root, 'linked');
    await mkdir(linked);
    await symlink(join(dir, 'apple'), join(linked, 'apple'));
    await mkdir(join(linked, 'loop'));
    await symlink(linked, join(linked, 'loop', 'again'));
    await writeFile(join(linked, 'loop', '0.png'), await png(1, 1, red));
    const { files } = await imageFolder(linked, { size: 2 });
    expect(files.length).toBe(5);
  });
  it('says what is missing', async () => {
    await expect(imageFolder(join(root, 'nowhere'), { size: 2 })).rejects.toThrow(
      `imageFolder: ${join(root, 'nowhere')} cannot be read (ENOENT). Expected a folder with a subfolder for each class.`,
    );
    await expect(imageFolder(join(dir, 'apple', 'more'), { size: 2 })).rejects.toThrow('has no subfolders. Expected one for each class');
    await expect(imageFolder(dir, { size: 2, classNames: ['apple', 'kiwi'] })).rejects.toThrow(
      `imageFolder: ${dir} has no subfolder kiwi. Expected one for each of classNames, received Zebra, apple, plum.`,
    );
    await expect(imageFolder(dir, { size: 2, classNames: ['plum', 'plum'] })).rejects.toThrow('hold a name twice');
    const empty = join(root, 'empty');
    await mkdir(join(empty, 'a'), { recursive: true });
    await expect(imageFolder(empty, { size: 2 })).rejects.toThrow(`imageFolder: ${join(empty, 'a')} holds no pictures.`);
    await expect(imageFolder(dir, {} as { size: number })).rejects.toThrow('imageFolder: no size.');
    await expect(imageFolder(dir, { size: 2, batchSize: 0 })).rejects.toThrow('Dataset.batch: batchSize 0.');
  });
});
