import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FormatError, TenonError } from '../../../src/base/errors.js';
import { dataFiles } from '../../../src/llm/data/files-node.js';
import { describeTokens, readRows, tokenizeFiles } from '../../../src/llm/data/index.js';
import { bytes, temporaryFolder, textOf } from './support.js';

const golden = (name: string): string => new URL(`../../golden/${name}`, import.meta.url).pathname;
const read = async (path: string) => {
  const rows = [];
  for await (const row of readRows(path)) rows.push(row);
  return rows;
};

describe('Parquet', () => {
  it.each(['flat-snappy', 'flat-gzip'])('%s: the rows of every row group', async (name) => {
    const rows = await read(golden(`${name}.parquet`));
    expect(rows).toHaveLength(10);
    expect(rows[7]).toMatchObject({ id: 7n, prompt: 'question 7', completion: 'answer 1 ü' });
  });
  it('lists of messages are conversations; only the columns that are needed are read', async () => {
    const folder = temporaryFolder();
    const chats = await tokenizeFiles(golden('messages-zstd.parquet'), bytes, { folder: join(folder, 'chats') });
    expect(textOf((await chats.example(3)).ids)).toBe('<1><5>q3<3><6>a3<3>');
    const [file] = await dataFiles(golden('flat-snappy.parquet'), {}, 'test');
    let [all, needed] = [0, 0];
    for await (const row of file.rows(undefined, (n) => (all += n))) expect(Object.keys(row.values)).toContain('extra');
    for await (const row of file.rows(['prompt'], (n) => (needed += n))) expect(Object.keys(row.values)).toEqual(['prompt']);
    expect(needed).toBeLessThan(all);
    const pairs = await tokenizeFiles(golden('flat-snappy.parquet'), bytes, { folder: join(folder, 'pairs') });
    expect(describeTokens(pairs.report)[0]).toBe(
      'I read 10 rows as prompt/completion. The rows have the columns "prompt" and "completion". Not used: "id", "extra".',
    );
    await chats.close();
    await pairs.close();
  });
  it('damaged files give typed errors that name them', async () => {
    const whole = readFileSync(golden('flat-snappy.parquet'));
    const path = join(temporaryFolder(), 'damaged.parquet');
    const outcomes = { read: 0, refused: 0 };
    for (let i = 0; i < 100; i++) {
      const copy = Buffer.from(whole);
      // Half of them in the footer, where the structure is described.
      const at = i % 2 ? copy.length - 1 - ((i * 40503) % 1500) : (i * 2654435761) % copy.length;
      copy[at] = i % 3 ? copy[at] ^ (1 << (i & 7)) : (i * 31) & 255;
      writeFileSync(path, i % 10 === 0 ? copy.subarray(0, at) : copy);
      try {
        await read(path);
        outcomes.read++;
      } catch (error) {
        expect(error).toBeInstanceOf(TenonError);
        expect(String(error)).toContain('damaged.parquet');
        outcomes.refused++;
      }
    }
    // A flipped bit of text shows nowhere; one of structure does.
    expect(outcomes.refused).toBeGreaterThan(20);
    writeFileSync(path, 'text');
    await expect(read(path)).rejects.toThrow(FormatError);
  });
});
