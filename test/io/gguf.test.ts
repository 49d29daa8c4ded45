import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GGMLQuantizationType, gguf } from '@huggingface/gguf';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { concatBytes } from '../../src/base/bytes.js';
import { ConfigError, FormatError } from '../../src/base/errors.js';
import { convertFloats } from '../../src/io/convert-floats.js';
import { type GgufContent, type GgufEntry, type GgufValue, ggufFile, ggufPieces, ggufTypeFor, parseGgufHeader } from '../../src/io/gguf.js';
import { openGguf, writeGguf } from '../../src/io/gguf-node.js';
import { GgufWriter } from '../../src/io/gguf-values.js';
import { dequantizeQ8_0, unpackQ8_0 } from '../../src/io/quantized-blocks.js';
import { bytesReader } from '../../src/io/source.js';
import { file, tensors } from './golden-gguf.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tenon-gguf-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const collect = async (content: GgufContent): Promise<Uint8Array> => {
  const pieces: Uint8Array[] = [];
  for await (const piece of ggufPieces(content)) pieces.push(piece.slice());
  return concatBytes(pieces);
};
const entries: readonly GgufEntry[] = tensors.map(({ name, type, shape, values }) => ({
  name,
  type,
  shape,
  dtype: 'f32',
  data: () => values,
}));
const { metadata } = parseGgufHeader(file);

describe('reading', () => {
  test('metadata of every type', () => {
    const plain = Object.fromEntries([...metadata].map(([key, v]) => [key, v.type === 'array' ? [v.of, ...v.value] : [v.type, v.value]]));
    expect(plain).toEqual({
      'general.architecture': ['string', 'llama'],
      'general.name': ['string', 'größer ▁🙂'],
      'a.u8': ['u8', 200],
      'a.i8': ['i8', -5],
      'a.u16': ['u16', 65000],
      'a.i16': ['i16', -300],
      'a.u32': ['u32', 4000000000],
      'a.i32': ['i32', -7],
      'a.f32': ['f32', 0.5],
      'a.f64': ['f64', 0.1],
      'a.bool': ['bool', true],
      'a.u64': ['u64', 2n ** 63n],
      'a.i64': ['i64', -(2n ** 62n)],
      'b.strings': ['string', '', 'a', '▁b'],
      'b.i32s': ['i32', 1, -2, 3],
      'b.f32s': ['f32', -1000, 0.25],
      'b.bools': ['bool', true, false, true],
      'b.u8s': ['u8', 1, 2, 3],
      'b.none': ['string'],
      'b.f64s': ['f64', 0.1],
      'b.i64s': ['i64', -1n],
    });
  });

  test('every tensor, bit for bit; q8_0 also as blocks', async () => {
    const opened = await ggufFile(bytesReader(file, 'g.gguf'));
    expect(opened.tensors.map(({ name, type, shape }) => ({ name, type, shape }))).toEqual(
      tensors.map(({ name, type, shape }) => ({ name, type, shape })),
    );
    for (const { name, type, shape, bytes } of tensors) {
      const read = await opened.read(name);
      expect(read.shape).toEqual(shape);
      if (type === 'q8_0') {
        expect(await opened.readQ8_0(name)).toEqual(unpackQ8_0(bytes));
        expect(read).toMatchObject({ dtype: 'f32', data: dequantizeQ8_0(unpackQ8_0(bytes)) });
      } else {
        expect(read.dtype).toBe(type);
        expect(new Uint8Array(read.data.buffer, read.data.byteOffset, read.data.byteLength)).toEqual(bytes);
        await expect(opened.readQ8_0(name)).rejects.toThrow(`is of type ${type}. Expected q8_0`);
      }
    }
    expect(() => opened.info('nothing')).toThrow('there is no tensor "nothing". Expected one of 6 names ("token_embd.weight"');
  });

  test('version 2 is the same', () => {
    const v2 = file.slice();
    v2[4] = 2;
    expect(parseGgufHeader(v2)).toEqual({ ...parseGgufHeader(file), version: 2 });
  });

  test('a header beyond the first megabyte', async () => {
    const tokens = Array.from({ length: 100_000 }, (_, i) => `token ${i}`);
    const long = new Map<string, GgufValue>([...metadata, ['tokens', { type: 'array', of: 'string', value: tokens }]]);
    const path = join(folder, 'long.gguf');
    await writeGguf(path, { metadata: long, tensors: entries });
    const opened = await openGguf(path);
    expect(opened.dataOffset).toBeGreaterThan(1.5e6);
    const read = opened.metadata.get('tokens');
    expect(read?.type === 'array' && read.of === 'string' && read.value.join() === tokens.join()).toBe(true);
    expect((await opened.read('output.weight')).data).toEqual(tensors[5].values);
    await opened.close();
  });

  test('a type that isn’t read is named, the others of its file are read', async () => {
    const other = file.slice();
    const at = Buffer.from(other).indexOf('blk.0.attn_q.weight') + 'blk.0.attn_q.weight'.length + 4 + 16;
    // i16 takes as much as f16.
    new DataView(other.buffer).setUint32(at, 25, true);
    const opened = await ggufFile(bytesReader(other, 'g.gguf'));
    await expect(opened.read('blk.0.attn_q.weight')).rejects.toThrow('g.gguf: tensor "blk.0.attn_q.weight" is of type i16');
    await expect(opened.read('blk.0.attn_q.weight')).rejects.toBeInstanceOf(FormatError);
    expect((await opened.read('output.weight')).data).toEqual(tensors[5].values);
  });
});

/** A header of these counts and what `write` adds, by hand. */
function header(counts: [tensors: number, metadata: number], write: (w: GgufWriter) => void = () => undefined, rest = 64): Uint8Array {
  const w = new GgufWriter();
  w.u32(0x46554747);
  w.u32(3);
  w.u64(counts[0]);
  w.u64(counts[1]);
  write(w);
  w.raw(new Uint8Array(rest));
  return w.finish(1);
}
const tensor = (w: GgufWriter, name: string, shape: readonly number[], type: number, offset: number): void => {
  w.string(name);
  w.u32(shape.length);
  for (const n of shape) w.u64(n);
  w.u32(type);
  w.u64(offset);
};
const key = (w: GgufWriter, name: string, value: GgufValue): void => {
  w.string(name);
  w.value(value);
};
const lists = (depth: number): GgufValue => {
  let value: GgufValue = { type: 'array', of: 'u8', value: Uint8Array.of(1) };
  for (let i = 1; i < depth; i++) value = { type: 'array', of: 'array', value: [value] };
  return value;
};

describe('refuses', () => {
  test.each<[string, Uint8Array, string]>([
    ['an empty file', new Uint8Array(0), 'the file is truncated inside the first word'],
    ['another file', new Uint8Array(64), 'this is no GGUF file'],
    ['version 1', Uint8Array.of(0x47, 0x47, 0x55, 0x46, 1, 0, 0, 0), 'version 1 is not known. Expected 2 or 3'],
    ['version 4', Uint8Array.of(0x47, 0x47, 0x55, 0x46, 4, 0, 0, 0), 'version 4 is not known'],
    ['big-endian', Uint8Array.of(0x47, 0x47, 0x55, 0x46, 0, 0, 0, 3), 'the file is big-endian'],
    ['more tensors than fit', header([2 ** 40, 0]), 'the number of tensors is larger than the file'],
    ['more metadata than fit', header([0, 1000]), 'the number of metadata is larger than the file'],
    ['a key beyond the end', header([0, 1], (w) => w.u64(2 ** 30)), 'the key of metadata 0 is too long'],
    [
      'a list beyond the end',
      header([0, 1], (w) => [w.string('a'), w.u32(9), w.u32(4), w.u64(1e9)]),
      'the length of metadata "a" is larger',
    ],
    ['a length of 2^63', header([0, 1], (w) => [w.string('a'), w.u32(8), w.u64(2n ** 63n)]), 'beyond what a file can have'],
    ['an unknown type of metadata', header([0, 1], (w) => [w.string('a'), w.u32(13)]), 'metadata "a" has the unknown type 13'],
    ['lists too deep', header([0, 1], (w) => key(w, 'a', lists(5))), 'nested too deeply'],
    ['a bool of 2', header([0, 1], (w) => [w.string('a'), w.u32(7), w.raw(Uint8Array.of(2))]), 'neither 0 nor 1'],
    ['no UTF-8', header([0, 1], (w) => [w.string('a'), w.u32(8), w.u64(1), w.raw(Uint8Array.of(0xff))]), 'metadata "a" is not UTF-8'],
    [
      'a key twice',
      header([0, 2], (w) => [key(w, 'a', { type: 'u8', value: 1 }), key(w, 'a', { type: 'u8', value: 1 })]),
      'metadata "a" comes twice',
    ],
    ['an alignment of 3', header([0, 1], (w) => key(w, 'general.alignment', { type: 'u32', value: 3 })), 'Expected a power of two'],
    [
      'an alignment that is no u32',
      header([0, 1], (w) => key(w, 'general.alignment', { type: 'i32', value: 32 })),
      'Expected a power of two',
    ],
    ['five dimensions', header([1, 0], (w) => tensor(w, 't', [1, 1, 1, 1, 1], 0, 0)), 'too many dimensions'],
    ['an unknown type', header([1, 0], (w) => tensor(w, 't', [1], 4, 0)), 'tensor "t" has the unknown type 4'],
    ['rows that aren’t blocks', header([1, 0], (w) => tensor(w, 't', [31], 8, 0)), "rows that aren't whole blocks"],
    ['a product beyond integers', header([1, 0], (w) => tensor(w, 't', [2 ** 40, 2 ** 40], 0, 0)), 'tensor "t" is too large'],
    ['an offset off the alignment', header([1, 0], (w) => tensor(w, 't', [1], 0, 4)), 'a wrong offset'],
    ['an overlap', header([2, 0], (w) => [tensor(w, 'a', [9], 0, 0), tensor(w, 'b', [1], 0, 32)]), 'Expected a multiple of 32 from 36 on'],
    ['disorder', header([2, 0], (w) => [tensor(w, 'a', [1], 0, 32), tensor(w, 'b', [1], 0, 0)]), 'a wrong offset'],
    ['a name twice', header([2, 0], (w) => [tensor(w, 'a', [1], 0, 0), tensor(w, 'a', [1], 0, 32)]), 'tensor "a" comes twice'],
    ['data beyond the end', header([1, 0], (w) => tensor(w, 't', [64], 0, 0)), 'tensor "t" lies outside the file'],
  ])('%s', (_, bytes, message) => {
    expect(() => parseGgufHeader(bytes, 'm.gguf')).toThrow(FormatError);
    expect(() => parseGgufHeader(bytes, 'm.gguf')).toThrow('m.gguf: ');
    expect(() => parseGgufHeader(bytes, 'm.gguf')).toThrow(message);
  });

  test('every truncation of the header, in memory and on disk', async () => {
    const { dataOffset } = parseGgufHeader(file);
    for (let n = 0; n < dataOffset; n++) expect(() => parseGgufHeader(file.slice(0, n))).toThrow(FormatError);
    const path = join(folder, 'cut.gguf');
    writeFileSync(path, file.subarray(0, dataOffset + 10));
    await expect(openGguf(path)).rejects.toThrow('tensor "output.weight" lies outside the file');
    await expect(openGguf(join(folder, 'none.gguf'))).rejects.toThrow(ConfigError);
  });
});

describe('writing', () => {
  test('the same content is the other writer’s file, byte for byte', async () => {
    expect(await collect({ metadata, tensors: entries })).toEqual(file);
  });

  test('from f16 and bf16 sources', async () => {
    const [q, , , h] = tensors;
    const sources = (['f16', 'bf16'] as const).flatMap((dtype) =>
      [q, h].map(({ shape, values, type }) => ({ dtype, type, shape, values: convertFloats(values, 'f32', dtype) })),
    );
    const list = sources.map(
      ({ dtype, type, shape, values }, i): GgufEntry => ({ name: `t${i}`, dtype, type, shape, data: async () => values }),
    );
    const opened = await ggufFile(bytesReader(await collect({ metadata: new Map(), tensors: list }), 'g'));
    for (const [i, { dtype, type, shape, values }] of sources.entries()) {
      const wide = convertFloats(values, dtype, 'f32');
      const again: GgufEntry = { name: 't', dtype: 'f32', type, shape, data: () => wide };
      const expected = await ggufFile(bytesReader(await collect({ metadata: new Map(), tensors: [again] }), 'g'));
      expect(await opened.read(`t${i}`)).toEqual(await expected.read('t'));
    }
  });

  test('Hugging Face’s parser reads the header as it is meant', async () => {
    const path = join(folder, 'a.gguf');
    await writeGguf(path, { metadata, tensors: entries });
    expect(readdirSync(folder)).toEqual(['a.gguf']);
    expect(new Uint8Array(readFileSync(path))).toEqual(file);
    const theirs = await gguf(path, { allowLocalFile: true });
    const plain = new Map<string, unknown>(Object.entries(theirs.metadata));
    // It makes numbers of short types and bigints of 64-bit ones, as here.
    for (const [name, { type, value }] of metadata)
      expect(plain.get(name), name).toEqual(type === 'array' ? Array.from<unknown>(value) : value);
    const ours = parseGgufHeader(file);
    expect(theirs.tensorDataOffset).toBe(BigInt(ours.dataOffset));
    expect(
      theirs.tensorInfos.map((t) => ({
        name: t.name,
        shape: t.shape.map(Number).reverse(),
        type: GGMLQuantizationType[t.dtype].toLowerCase(),
        offset: Number(t.offset),
      })),
    ).toEqual(ours.tensors.map(({ name, shape, type, offset }) => ({ name, shape, type, offset })));
  });

  test('an alignment of one’s own', async () => {
    const wide = new Map<string, GgufValue>([['general.alignment', { type: 'u32', value: 256 }]]);
    const opened = await ggufFile(bytesReader(await collect({ metadata: wide, tensors: entries }), 'g'));
    expect(opened.alignment).toBe(256);
    expect(opened.tensors.every(({ offset }) => offset % 256 === 0) && opened.dataOffset % 256 === 0).toBe(true);
    expect((await opened.read('output.weight')).data).toEqual(tensors[5].values);
  });

  test('tensors are asked for one after another', async () => {
    const log: string[] = [];
    const logged = entries.map((e) => {
      const data = (): ReturnType<typeof e.data> => {
        log.push(e.name);
        return e.data();
      };
      return { ...e, data };
    });
    let pieces = 0;
    for await (const _ of ggufPieces({ metadata, tensors: logged })) {
      pieces++;
      expect(log.length).toBeLessThanOrEqual(pieces);
    }
    expect(log).toEqual(tensors.map((t) => t.name));
  });

  test.each<[string, GgufEntry[], string]>([
    ['a name twice', [entries[0], entries[0]], 'tensor "token_embd.weight" comes twice'],
    ['a long name', [{ ...entries[0], name: 'x'.repeat(64) }], 'too long a name'],
    ['five dimensions', [{ ...entries[2], shape: [1, 1, 1, 1, 5] }], 'Expected 1 to 4 dimensions'],
    ['integers', [{ ...entries[0], dtype: 'i32' }], 'holds i32. Expected f32, f16 or bf16'],
    ['q8_0 of short rows', [{ ...entries[5], type: 'q8_0' }], 'Expected rows of a multiple of 32, received [1, 3]. Use f16'],
    ['data of another size', [{ ...entries[2], shape: [6] }], 'Expected 6 elements for [6], received 5'],
    ['NaN in q8_0', [{ ...entries[0], data: () => new Float32Array(256).fill(Number.NaN) }], 'token_embd.weight": q8_0 can\'t hold NaN'],
  ])('refuses %s, and the old file stays', async (_, list, message) => {
    const path = join(folder, 'a.gguf');
    writeFileSync(path, 'old');
    const writing = writeGguf(path, { metadata, tensors: list });
    await expect(writing).rejects.toThrow(ConfigError);
    await expect(writing).rejects.toThrow(message);
    expect(readdirSync(folder)).toEqual(['a.gguf']);
    expect(readFileSync(path, 'utf8')).toBe('old');
  });

  test('what type a tensor gets', () => {
    expect(ggufTypeFor('q8_0', [4, 64])).toBe('q8_0');
    expect(ggufTypeFor('q8_0', [64, 48])).toBe('f16');
    expect(ggufTypeFor('bf16', [64, 48])).toBe('bf16');
    expect(ggufTypeFor('q8_0', [64])).toBe('f32');
  });
});
