/** @file Files that are damaged, foreign, too new or made to do harm: one clear error, and the model that was there stays. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TenonError } from '../../src/base/errors.js';
import { layers, loadModel, type Model, optimizers, sequential, setDevice } from '../../src/index.js';
import { writeSafetensors } from '../../src/io/safetensors.js';
import { readTenon, type TenonParts, writeTenon } from '../../src/io/tenon-file.js';
import { readZip, writeZip } from '../../src/io/zip.js';
import { points } from '../train/support.js';
import { randomNumbers } from './command.js';

let folder: string;
let bytes: Uint8Array;
let checkpoint: Uint8Array;
const { x, y } = points(16);
const quiet = { verbose: 0, batchSize: 8 } as const;

function make(units = 4, optimizer = 'adam'): Model {
  const model = sequential({
    name: 'net',
    layers: [
      layers.dense({ name: 'a', units, activation: 'relu', inputShape: [2] }),
      layers.batchNormalization({ name: 'n' }),
      layers.dropout({ name: 'd', rate: 0.2, seed: 3 }),
      layers.dense({ name: 'b', units: 2, activation: 'softmax', kernelInitializer: 'heNormal' }),
    ],
  });
  model.compile({ optimizer, loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
  return model;
}
beforeAll(async () => {
  setDevice('reference');
  folder = await mkdtemp(join(tmpdir(), 'tenon-files-'));
  const model = make();
  await model.fit(x, y, { ...quiet, epochs: 2, checkpoint: { folder: join(folder, 'run') } });
  await model.save(join(folder, 'good.tenon'));
  bytes = await readFile(join(folder, 'good.tenon'));
  checkpoint = await readFile(join(folder, 'run', 'checkpoint-000000004.tenon'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The error that loading a file with this content ends with, without the folder's name; null when it loads. */
async function fault(content: Uint8Array): Promise<string | null> {
  const path = join(folder, 'bad.tenon');
  await writeFile(path, content);
  try {
    await loadModel(path);
    return null;
  } catch (error) {
    if (!(error instanceof TenonError)) throw error;
    return error.message.replaceAll(`${folder}/`, '');
  }
}
/** Every place in a JSON value. */
function places(value: unknown, at: string[] = []): string[][] {
  const inner = typeof value === 'object' && value !== null ? Object.entries(value).flatMap(([k, v]) => places(v, [...at, k])) : [];
  return at.length > 0 ? [at, ...inner] : inner;
}
function changed(root: Record<string, unknown>, at: readonly string[], value: unknown): Record<string, unknown> {
  const copy = structuredClone(root);
  let inner = copy;
  for (const key of at.slice(0, -1)) inner = inner[key] as Record<string, unknown>;
  const last = at[at.length - 1];
  if (value !== undefined) inner[last] = value;
  else if (Array.isArray(inner)) inner.splice(Number(last), 1);
  else delete inner[last];
  return copy;
}

describe('a model file', () => {
  it('that is cut anywhere is refused', async () => {
    for (let i = 0; i < 60; i++) {
      const message = await fault(bytes.subarray(0, Math.floor((bytes.length * i) / 60)));
      expect(message).toMatch(i === 0 ? /^bad\.tenon: the file is empty/ : /^bad\.tenon: .*(truncated|damaged)/);
    }
  });
  it('with any bit turned is refused, or the bit meant nothing', async () => {
    const random = randomNumbers(3);
    const good = JSON.stringify(readTenon(bytes).json);
    for (let i = 0; i < 150; i++) {
      const bad = Uint8Array.from(bytes);
      bad[Math.floor(random() * bad.length)] ^= 1 << Math.floor(random() * 8);
      if ((await fault(bad)) !== null) continue;
      const { json, tensors } = readTenon(bad);
      expect(JSON.stringify(json)).toBe(good);
      for (const [name, t] of readTenon(bytes).tensors.weights) expect(tensors.weights.get(name)).toEqual(t);
    }
  });
  it('of a newer version, of another program, with an unknown layer', async () => {
    const members = [...readZip(bytes)].map(([name, data]) => ({ name, bytes: data }));
    const index = JSON.parse(new TextDecoder().decode(members[0].bytes));
    const withIndex = (changes: object): Uint8Array =>
      writeZip([{ name: 'tenon.json', bytes: new TextEncoder().encode(JSON.stringify({ ...index, ...changes })) }, ...members.slice(1)]);
    expect(await fault(withIndex({ version: 99 }))).toBe(
      'bad.tenon: a newer Tenon wrote this file. Expected format version ≤ 1, received 99. Update the package (npm install tenon@latest), or save the model again with this one.',
    );
    expect(await fault(withIndex({ version: 'x' }))).toContain('the format version is malformed. Expected an integer ≥ 1, received "x"');
    expect(await fault(withIndex({ format: 'other' }))).toContain('does not say format "tenon"');
    expect(await fault(new TextEncoder().encode('{"a": 1}'))).toContain('truncated, damaged or no zip file');
    expect(await fault(writeZip([{ name: 'a.txt', bytes: Uint8Array.of(1) }]))).toContain(
      'there is no tenon.json in it. Expected a .tenon file, received another zip.',
    );
    const { json, tensors } = readTenon(bytes);
    const at = ['model', 'config', 'layers', '0', 'className'];
    expect(await fault(writeTenon({ json: changed(json, at, 'Frobnicate'), tensors }))).toBe(
      `Sequential "net": the class "Frobnicate" is not known. Expected one of Tenon's or a registered one. Call registerClass('Frobnicate', …) before loading, or loadModel(path, { customObjects: { Frobnicate: … } }).`,
    );
  });
  it('with weights of another architecture lists what does not fit', async () => {
    const { json, tensors } = readTenon(bytes);
    const units = ['model', 'config', 'layers', '0', 'config', 'units'];
    expect(await fault(writeTenon({ json: changed(json, units, 5), tensors }))).toMatch(
      /^bad\.tenon: weights: 7 of its tensors do not fit\. Expected those of this model\. a\/kernel has shape \[2, 4\], expected \[2, 5\];/,
    );
    // A layer of 16 GB is refused before it is made.
    expect(await fault(writeTenon({ json: changed(json, units, 2e9), tensors }))).toContain('expected [2, 2000000000]');
    const model = make(5);
    await writeFile(join(folder, 'good2.tenon'), bytes);
    const before = await Promise.all(model.weights.map((v) => v.data()));
    await expect(model.loadWeights(join(folder, 'good2.tenon'))).rejects.toThrow('a/kernel has shape [2, 4], expected [2, 5]');
    expect(await Promise.all(model.weights.map((v) => v.data()))).toEqual(before);
  });
  it('with values of any wrong kind in its config is refused in words', async () => {
    const { json, tensors } = readTenon(bytes);
    for (const at of places(json))
      for (const value of [undefined, null, -1, 1e9, 0.5, 'x', [], {}, true, '__proto__'])
        await fault(writeTenon({ json: changed(json, at, value), tensors }));
  }, 120_000);
  it('that claims to hold more than it does', async () => {
    const zip = Uint8Array.from(bytes);
    const view = new DataView(zip.buffer);
    const end = zip.length - 22;
    const directory = view.getUint32(end + 16, true);
    // The first member: 4 GB, "deflated" from nothing.
    view.setUint32(directory + 24, 0xfffffff0, true);
    expect(await fault(zip)).toContain('its two sizes disagree');
    view.setUint16(directory + 10, 8, true);
    expect(await fault(zip)).toContain('is compressed (method 8). Expected a stored one');
    const many = Uint8Array.from(bytes);
    new DataView(many.buffer).setUint16(end + 8, 0xfffe, true);
    new DataView(many.buffer).setUint16(end + 10, 0xfffe, true);
    expect(await fault(many)).toContain('the directory is damaged');
  });
});

describe('a safetensors file', () => {
  const header = (text: string, data = new Uint8Array(0), length = text.length): Uint8Array => {
    const out = new Uint8Array(8 + text.length + data.length);
    new DataView(out.buffer).setBigUint64(0, BigInt(length), true);
    out.set(new TextEncoder().encode(text), 8);
    out.set(data, 8 + text.length);
    return out;
  };
  it.each([
    ['a header of 2^62 bytes', header('{}', undefined, 2 ** 62), /the header is too large\. Expected at most 100000000 bytes/],
    ['a header past the end', header('{}', undefined, 5000), /truncated inside its header/],
    ['a list', header('[]'), /the header is not a JSON object/],
    ['deep nesting', header('['.repeat(100_000)), /the header is not JSON/],
    [
      'sizes that overflow',
      header('{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}'),
      /its size and shape disagree/,
    ],
    [
      'a shape of infinite size',
      header(`{"a":{"dtype":"F32","shape":[${'9007199254740991,'.repeat(30)}0],"data_offsets":[0,0]}}`),
      /disagree/,
    ],
    ['negative offsets', header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}'), /malformed data_offsets/],
    ['data outside', header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'), /lies outside the file/],
    [
      'overlapping tensors',
      header(
        '{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}',
        new Uint8Array(6),
      ),
      /overlaps the one before it/,
    ],
    ['an unknown dtype', header('{"a":{"dtype":"__proto__","shape":[],"data_offsets":[0,0]}}'), /unknown dtype/],
  ])('with %s is refused', async (_, content, message) => {
    const path = join(folder, 'bad.safetensors');
    await writeFile(path, content);
    const model = make();
    await expect(model.loadWeights(path)).rejects.toThrow(message);
    await expect(model.loadWeights(path)).rejects.toThrow(TenonError);
  });
  it('named __proto__ or constructor is only an extra tensor', async () => {
    const path = join(folder, 'names.safetensors');
    const one = { dtype: 'f32' as const, shape: [1], data: new Float32Array(1) };
    await writeFile(path, writeSafetensors(new Map([['constructor', one]])));
    await expect(make().loadWeights(path)).rejects.toThrow('extra constructor [1]');
    expect(({} as Record<string, unknown>).dtype).toBeUndefined();
  });
  it('that is missing, a folder or empty', async () => {
    await expect(make().loadWeights(join(folder, 'nope'))).rejects.toThrow(/nope: there is no such file/);
    await expect(make().loadWeights(folder)).rejects.toThrow('this is a folder. Expected a file.');
    await writeFile(join(folder, 'empty'), '');
    await expect(make().loadWeights(join(folder, 'empty'))).rejects.toThrow('truncated. Expected at least 8 bytes, received 0');
    await expect(loadModel(join(folder, 'empty'))).rejects.toThrow('the file is empty. Expected a .tenon file.');
  });
});

describe('a checkpoint', () => {
  const resume = async (model: Model, content: Uint8Array | TenonParts): Promise<unknown> => {
    const run = join(folder, 'run');
    const path = join(run, 'checkpoint-000000004.tenon');
    await writeFile(path, content instanceof Uint8Array ? content : writeTenon(content));
    return model.fit(x, y, { ...quiet, epochs: 2, checkpoint: { folder: run, resume: true } });
  };
  const state = async (model: Model): Promise<unknown> => Promise.all([...model.weights].map(async (v) => Array.from(await v.data())));

  it('of another model or optimizer changes nothing', async () => {
    for (const [model, message] of [
      [make(5), 'weights: 7 of its tensors do not fit. Expected those of this model.'],
      [make(4, 'sgd'), 'optimizer: '],
    ] as const) {
      const before = await state(model);
      await expect(resume(model, checkpoint)).rejects.toThrow(message);
      expect(await state(model)).toEqual(before);
    }
    expect(await resume(make(), checkpoint)).toMatchObject({ epoch: [0, 1] });
  });
  it('that is a saved model says so', async () => {
    const path = join(folder, 'run', 'checkpoint-000000002.tenon');
    const older = await readFile(path);
    await rm(path);
    await expect(resume(make(), bytes)).rejects.toThrow('it holds no training state. Expected a checkpoint of fit. Is it a saved model?');
    await writeFile(path, older);
  });
  it('with a training state of any wrong form is refused in words, or goes on', async () => {
    const { json, tensors } = readTenon(checkpoint);
    const model = make();
    for (const at of places(json).filter((p) => p[0] === 'training'))
      for (const value of [undefined, null, 'x', {}])
        await resume(model, { json: changed(json, at, value), tensors }).catch((error: unknown) => {
          if (!(error instanceof TenonError)) throw error;
        });
  });
  it('of Adam serves Adam by another name and rate', async () => {
    const model = make();
    model.compile({ optimizer: optimizers.adam({ learningRate: 0.5 }), loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
    await resume(model, checkpoint);
    // The checkpoint's rate, in the digits that people gave.
    expect(model.optimizer.learningRate).toBe(0.001);
  });
});
