import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../../src/base/errors.js';
import {
  openTokenShards,
  type TextTokenizer,
  type TokenExamples,
  type TokenizeFilesOptions,
  type TokenizeProgress,
  TokenList,
  tokenizeFiles,
  tokenizeRows,
} from '../../../src/llm/data/index.js';
import { killAtRandomMoments } from './moments.js';
import { bytes, temporaryFolder, textOf } from './support.js';

const root = temporaryFolder();
let folders = 0;
const fresh = (): string => join(root, `shards-${folders++}`);
const file = (name: string, content: string): string => {
  writeFileSync(join(root, name), content);
  return join(root, name);
};
const rows = Array.from({ length: 300 }, (_, i) => ({
  prompt: `question ${'?'.repeat(i % 17)} `,
  completion: `answer ${'!'.repeat(i % 23)}`,
}));
const pairs = file('pairs.jsonl', rows.map((r) => JSON.stringify(r)).join('\n'));
const tokenize = (data: string | string[], options: TokenizeFilesOptions = {}, tokenizer: TextTokenizer = bytes) =>
  tokenizeFiles(data, tokenizer, { folder: fresh(), ...options });
const everything = (examples: TokenExamples) => Promise.all(Array.from({ length: examples.count }, (_, i) => examples.example(i)));

describe('shards', () => {
  it('give what tokenizing in memory gives, in one shard or in many, u16 or u32', async () => {
    const few = rows.slice(0, 40);
    const { examples } = await tokenizeRows(few, bytes);
    const expected = await everything(examples);
    const data = file('few.jsonl', few.map((r) => JSON.stringify(r)).join('\n'));
    for (const [shardBytes, least, most] of [
      [1, 40, 40],
      [500, 3, 20],
      [2 ** 20, 1, 1],
    ])
      for (const vocabSize of [bytes.vocabSize, 70_000]) {
        const shards = await tokenize(data, { shardBytes }, { ...bytes, vocabSize });
        expect(shards.count).toBe(40);
        expect(shards.index.shards.length).toBeGreaterThanOrEqual(least);
        expect(shards.index.shards.length).toBeLessThanOrEqual(most);
        expect(await everything(shards)).toEqual(expected);
        expect(shards.tokens).toBe(expected.reduce((n, e) => n + e.ids.length, 0));
        for (const i of [0, 7, 39]) {
          expect(shards.lengthOf(i)).toBe(expected[i].ids.length);
          const part = await shards.example(i, 3, 9);
          expect([part.ids, part.isTarget]).toEqual([expected[i].ids.slice(3, 9), expected[i].isTarget.slice(3, 9)]);
        }
        await shards.close();
      }
  });
  it('hold a document that is longer than they are', async () => {
    const text = Array.from({ length: 9000 }, (_, i) => `Line ${i} of a long text.\n`).join('');
    const shards = await tokenize([file('long.txt', text), file('short.txt', 'short')], { shardBytes: 1000 });
    expect(shards.count).toBe(2);
    expect(shards.index.shards.length).toBeGreaterThan(2);
    expect(textOf((await shards.example(0)).ids)).toBe(`<1>${text}<2>`);
    expect(textOf((await shards.example(0, 150_000, 150_020)).ids)).toBe(text.slice(149_999, 150_019));
    expect(textOf((await shards.example(1)).ids)).toBe('<1>short<2>');
    expect(shards.report.counts).toMatchObject({ rows: 2, examples: 2 });
    await shards.close();
  });
  it('are made once for the same data, tokenizer and settings, and again for others', async () => {
    const cache = process.env.TENON_CACHE_DIR;
    process.env.TENON_CACHE_DIR = join(root, 'cache');
    try {
      const told: TokenizeProgress[] = [];
      const options = { onProgress: (p: TokenizeProgress) => void told.push(p) };
      const first = await tokenizeFiles(pairs, bytes, options);
      expect(first.folder.startsWith(join(root, 'cache', 'tokens'))).toBe(true);
      expect(told.at(-1)).toMatchObject({ isDone: true, rows: 300, examples: 300, tokens: first.tokens });
      expect(told.at(-1)?.bytesRead).toBe(told.at(-1)?.bytesTotal);
      told.length = 0;
      const renamed = file('renamed.jsonl', readFileSync(pairs, 'utf8'));
      const again = await tokenizeFiles(renamed, bytes, options);
      expect([again.folder, told]).toEqual([first.folder, []]);
      const others = [
        await tokenizeFiles(pairs, bytes, { lossOn: 'all' }),
        await tokenizeFiles(pairs, { ...bytes, json: { kind: 'other' } }),
        await tokenizeFiles(file('more.jsonl', `${readFileSync(pairs, 'utf8')}\n${JSON.stringify(rows[0])}`), bytes),
        await tokenizeFiles([pairs, pairs], bytes),
      ];
      expect(new Set([first, ...others].map((s) => s.folder)).size).toBe(5);
      expect(others[3].count).toBe(600);
      for (const s of [first, again, ...others]) await s.close();
    } finally {
      if (cache === undefined) delete process.env.TENON_CACHE_DIR;
      else process.env.TENON_CACHE_DIR = cache;
    }
  });
  it('of a folder with other tokens are left alone', async () => {
    const folder = fresh();
    await (await tokenize(pairs, { folder })).close();
    await expect(tokenize(pairs, { folder, lossOn: 'all' })).rejects.toThrow(
      /holds tokens of other data, another tokenizer or other settings/,
    );
    rmSync(join(folder, 'index.json'));
    await expect(tokenize(pairs, { folder, lossOn: 'all' })).rejects.toThrow(/holds tokens of other data/);
    await (await tokenize(pairs, { folder })).close();
  });
  it('go on after an abort, and after a damaged one, with the same bytes in the end', async () => {
    const whole = fresh();
    await (await tokenize(pairs, { folder: whole, shardBytes: 500 })).close();
    const content = (folder: string) =>
      readdirSync(folder)
        .sort()
        .map((n) => [n, readFileSync(join(folder, n)).toString('base64')]);
    const folder = fresh();
    const controller = new AbortController();
    // Slow enough to be ended in the middle.
    const slow: TextTokenizer = {
      ...bytes,
      encode(text) {
        const end = performance.now() + 1;
        while (performance.now() < end);
        if (readdirSync(folder).length > 3) controller.abort();
        return bytes.encode(text);
      },
    };
    await expect(tokenize(pairs, { folder, shardBytes: 500, signal: controller.signal }, slow)).rejects.toThrow(/abort/i);
    const names = readdirSync(folder).filter((n) => n.startsWith('shard'));
    expect(names.length).toBeGreaterThan(3);
    const damaged = join(folder, names.sort()[2]);
    writeFileSync(damaged, readFileSync(damaged).subarray(0, 100));
    await (await tokenize(pairs, { folder, shardBytes: 500 })).close();
    expect(content(folder)).toEqual(content(whole));
  });
  it('that are damaged give FormatErrors: when they are opened, or when they are read', async () => {
    const folder = fresh();
    await (await tokenize(pairs, { folder })).close();
    const open = async () => {
      const shards = await openTokenShards(folder);
      try {
        return await everything(shards);
      } finally {
        await shards.close();
      }
    };
    const expected = await open();
    for (const name of readdirSync(folder)) {
      const path = join(folder, name);
      const good = readFileSync(path);
      for (let i = 0; i < 60; i++) {
        const bad = Buffer.from(good);
        const at = i < 20 ? i * 4 : (i * 2654435761) % good.length;
        bad[at] ^= 1 << (i & 7);
        writeFileSync(path, i % 9 === 8 ? good.subarray(0, at) : bad);
        const found = await open().catch((error: unknown) => error);
        // Words of the report in the index are told as they stand.
        if (found instanceof Error) expect(found).toBeInstanceOf(FormatError);
        else expect([name, found]).toEqual(['index.json', expected]);
      }
      rmSync(path);
      await expect(open()).rejects.toThrow(name === 'index.json' ? 'holds no finished tokens' : FormatError);
      writeFileSync(path, good);
    }
    expect(await open()).toEqual(expected);
  });
  it('bad rows are refused with file and line', async () => {
    const bad = file('bad.jsonl', '{"text":"a"}\n\n{"text":7}\n');
    await expect(tokenize(bad)).rejects.toThrow(/tokenizeFiles: .*bad\.jsonl, line 3: Expected a string in column "text", received 7/);
    const shards = await tokenize([bad, pairs], { badRows: 'skip' });
    expect(shards.report.counts).toMatchObject({ skipped: 1, examples: 301 });
    expect(shards.report.files.map((f) => [f.layout, f.rows])).toEqual([
      ['text', 1],
      ['prompt/completion', 300],
    ]);
    await shards.close();
    await expect(tokenize(file('none.jsonl', '{"text":""}\n'))).rejects.toThrow(/there is nothing to learn in 1 rows/);
    const preferences = file('preferences.jsonl', '{"prompt":"a","chosen":"b","rejected":"c"}');
    await expect(tokenize([bad, preferences], { badRows: 'skip' })).rejects.toThrow(/holds pairs .* and other files don't/);
    await expect(tokenize(pairs, {}, { ...bytes, vocabSize: 50 })).rejects.toThrow(/the tokenizer gave the token \d+. Expected 0 … 49/);
  });
  it('of 20,000 examples are found by number while few blocks are in memory', async () => {
    const many = file(
      'many.jsonl',
      Array.from({ length: 20_000 }, (_, i) => JSON.stringify({ text: `${i} ${'x'.repeat(i % 97)}` })).join('\n'),
    );
    const shards = await tokenize(many, { shardBytes: 100_000 });
    for (let k = 0; k < 500; k++) {
      const i = (k * 7919) % 20_000;
      expect(textOf((await shards.example(i)).ids)).toBe(`<1>${i} ${'x'.repeat(i % 97)}<2>`);
    }
    await expect(shards.example(20_000)).rejects.toThrow('example 20000: there is none of this number. Expected 0 … 19999');
    expect(() => new TokenList([], 1).lengthOf(0)).toThrow('there is none of this number');
    await shards.close();
  });
});

describe('a run that is killed', () => {
  it('goes on and ends with the same files', async () => {
    const moments = await killAtRandomMoments(3, 3);
    expect(moments.killed).toBeGreaterThan(0);
  });
});
