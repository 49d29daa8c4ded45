import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DataFileOptions, readRows } from '../../../src/llm/data/index.js';
import { jsonArrayRows } from '../../../src/llm/data/json-rows.js';
import { linesOf, type Row } from '../../../src/llm/data/rows.js';
import { tableRows } from '../../../src/llm/data/table-rows.js';
import { textRows } from '../../../src/llm/data/text-rows.js';
import { temporaryFolder } from './support.js';

const folder = temporaryFolder();
const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};
async function all<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const row of rows) list.push(row);
  return list;
}
const read = (data: string | string[], options?: DataFileOptions) => all(readRows(data, options));
/** The bytes of `text` in chunks of n. */
function* chunked(text: string | Uint8Array, n: number): Generator<Uint8Array> {
  const all = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  for (let at = 0; at < all.length; at += n) yield all.subarray(at, at + n);
}

describe('plain text', () => {
  it('is one document, its lines, its paragraphs, or what a separator parts', async () => {
    const text = 'one\r\ntwo\n\n\nthree\n  \nfour\n<|end|>\nfive\n';
    const path = file('a.txt', text);
    expect(await read(path)).toEqual([{ text }]);
    const texts = async (documents: DataFileOptions['documents']) => (await read(path, { documents })).map((r) => r.text);
    expect(await texts('lines')).toEqual(['one', 'two', 'three', 'four', '<|end|>', 'five']);
    expect(await texts('paragraphs')).toEqual(['one\ntwo', 'three', 'four\n<|end|>\nfive']);
    expect(await texts({ separator: '<|end|>' })).toEqual(['one\ntwo\n\n\nthree\n  \nfour', 'five']);
    expect(await read(file('a.unknown', text))).toEqual([{ text }]);
    await expect(read(path, { documents: 'pages' as 'lines' })).rejects.toThrow(/documents: "pages".*Expected 'file', 'lines'/);
  });
  it('of any length comes in pieces cut before the first word of a line, the same whatever the chunks', async () => {
    const paragraph = `${'Some words of a line, not many.\n'.repeat(40)}\n`;
    const text = paragraph.repeat(180);
    const pieces = await all(textRows(chunked(text, 100_000), 'a', {}));
    expect(pieces.length).toBeGreaterThan(2);
    expect(pieces.map((p) => p.values.text).join('')).toBe(text);
    expect(pieces.map((p) => p.goesOn)).toEqual([...pieces.slice(1).map(() => true), undefined]);
    for (const p of pieces.slice(1)) expect(p.values.text).toMatch(/^Some/);
    // Each says on which line it begins.
    const lines = text.split('\n');
    for (const p of pieces) expect(String(p.values.text).startsWith(lines[p.line - 1])).toBe(true);
    expect(await all(textRows(chunked(text, 4099), 'a', {}))).toEqual(pieces);
  });
  it('without line ends or spaces is cut all the same, never inside of a character', async () => {
    for (const text of ['x'.repeat(200_000), `a${'😀'.repeat(70_000)}`, 'ab '.repeat(60_000)]) {
      const pieces = await all(textRows(chunked(text, 65_521), 'a', {}));
      expect(pieces.map((p) => p.values.text).join('')).toBe(text);
      for (const p of pieces) expect(p.values.text).not.toMatch(/^[\udc00-\udfff]|[\ud800-\udbff]$/);
    }
  });
  it('that is no UTF-8 is refused with the file, or with the line where lines are documents', async () => {
    const path = file('latin1.txt', Uint8Array.from([104, 105, 10, 0xe9, 0xe8, 10]));
    await expect(read(path)).rejects.toThrow(/latin1\.txt: Expected UTF-8 text/);
    await expect(read(path, { documents: 'lines' })).rejects.toThrow(/latin1\.txt, line 2: Expected UTF-8 text/);
  });
});

describe('lines', () => {
  it('are those of split, whatever the chunks', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ maxLength: 12 }), { maxLength: 8 }),
        fc.integer({ min: 1, max: 9 }),
        fc.boolean(),
        async (list, n, ends) => {
          const lines = list.map((l) => l.replace(/[\r\n\ufeff]/g, ''));
          const text = lines.join('\r\n') + (ends ? '\n' : '');
          const expected = text.split(/\r?\n/);
          if (expected.at(-1) === '') expected.pop();
          const found = await all(linesOf(chunked(text, n), 1000));
          expect(found.map((l) => l.text)).toEqual(expected);
          expect(found.map((l) => l.line)).toEqual(expected.map((_, i) => i + 1));
        },
      ),
    );
  });
  it('longer than the bound are faults, and the next one is read', async () => {
    const found = await all(linesOf(chunked(`${'x'.repeat(5000)}\nshort`, 64), 100));
    expect(found[0].fault).toMatch('Expected at most 100 bytes a line, received 5000');
    expect(found[1].text).toBe('short');
  });
});

describe('JSON', () => {
  const rows = [{ text: 'a "quoted" [bracket' }, { text: 'b\n}' }, { text: 'ü😀', n: [1, { a: ']' }] }];
  it('is read from lines, an array, gzip, and by how it begins', async () => {
    const lines = `${rows.map((r) => JSON.stringify(r)).join('\n')}\n\n`;
    expect(await read(file('a.jsonl', lines))).toEqual(rows);
    expect(await read(file('lines.json', lines))).toEqual(rows);
    expect(await read(file('sniffed', lines))).toEqual(rows);
    expect(await read(file('a.json', JSON.stringify(rows, null, 2)))).toEqual(rows);
    expect(await read(file('a.jsonl.gz', gzipSync(lines)))).toEqual(rows);
    // Members of gzip one after another are one file.
    expect(await read(file('b.jsonl.gz', Buffer.concat([gzipSync(lines), gzipSync(lines)])))).toEqual([...rows, ...rows]);
    expect(await read(file('empty.json', ' [ ] '))).toEqual([]);
  });
  it('arrays are those of JSON.parse, whatever the chunks', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.dictionary(fc.string(), fc.jsonValue())),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 0, max: 2 }),
        async (list, n, indent) => {
          const found = await all(jsonArrayRows(chunked(JSON.stringify(list, null, indent), n), 'a', {}));
          expect(found.map((r) => r.values)).toEqual(JSON.parse(JSON.stringify(list)));
        },
      ),
    );
  });
  it('faults name the file and the line, and what was wanted', async () => {
    await expect(read(file('bad.jsonl', '{"text":"a"}\n{"text": oops}\n'))).rejects.toThrow(
      /^readRows: .*bad\.jsonl, line 2: Expected a JSON object, received "\{\\"text\\": oops\}" \(/,
    );
    const options = { badRows: 'skip' } as const;
    expect(await all(readRows(file('bad.jsonl', '{"text":"a"}\n{"text": oops}\n{"text":"b"}\n'), options))).toHaveLength(2);
    await expect(read(file('number.jsonl', '{"a":1}\n\n7\n'))).rejects.toThrow(
      /line 3: Expected a JSON object with the row's columns, received a number/,
    );
    await expect(read(file('list.json', '[{"a":1},\n 3]'))).rejects.toThrow(/list\.json, line 2: .*received a number/);
    const broken: [string, RegExp][] = [
      ['"a"', /line 1: Expected an array of objects, "\[" first, received/],
      ['[{"a":1}', /line 1: Expected "\]" at the end of the array, received the end of the file/],
      ['[{"a":1},]', /Expected an element, received "\]"/],
      ['[{"a":1}}', /Expected "," or "\]" after an element, received "\}"/],
      ['[{"a":1}] x', /Expected nothing after the array, received "x"/],
      ['[{"a', /received the end of the file/],
    ];
    for (const [text, message] of broken) await expect(read(file('broken.json', text), { format: 'json' })).rejects.toThrow(message);
    await expect(all(jsonArrayRows(chunked(`[{"a": "${'x'.repeat(999)}`, 100), 'a', { maxRowLength: 500 }))).rejects.toThrow(
      /at most 500 characters/,
    );
  });
  it('a damaged gzip file is refused', async () => {
    const whole = gzipSync('{"text":"a"}\n'.repeat(10_000));
    await expect(read(file('cut.jsonl.gz', whole.subarray(0, whole.length - 20)))).rejects.toThrow(
      /cut\.jsonl\.gz: Expected a whole gzip file/,
    );
  });
});

describe('tables', () => {
  const csv = 'id,text\n1,"a, ""b""\nc"\r\n2,plain\n\n3,""\n';
  const expected = [
    { id: '1', text: 'a, "b"\nc' },
    { id: '2', text: 'plain' },
    { id: '3', text: '' },
  ];
  it('are read by their header, whatever the chunks', async () => {
    expect(await read(file('a.csv', csv))).toEqual(expected);
    for (const n of [1, 2, 3, 7]) expect((await all(tableRows(chunked(csv, n), 'a', 'csv', {}))).map((r) => r.values)).toEqual(expected);
    expect((await all(tableRows(chunked(csv, 5), 'a', 'csv', {}))).map((r: Row) => r.line)).toEqual([2, 4, 6]);
    expect(await read(file('a.tsv', 'text\tlabel\nsays "so"\t1\n'))).toEqual([{ text: 'says "so"', label: '1' }]);
    expect(await read(file('b.tsv', 'a\t1\n'), { columnNames: ['text', 'label'] })).toEqual([{ text: 'a', label: '1' }]);
  });
  it('faults are named', async () => {
    await expect(read(file('c.csv', 'a,b\n1\n'))).rejects.toThrow(/c\.csv, line 2: Expected 2 fields \(a, b\), received 1/);
    await expect(read(file('d.csv', 'a,a\n1,2\n'))).rejects.toThrow(/d\.csv, line 1: the names of the columns are "a", "a"/);
    await expect(read(file('e.csv', 'a,b\n"1,2\n'))).rejects.toThrow(/line 2: Expected the quote of a field to be closed/);
    await expect(read(file('f.csv', 'a,b\n"1"x,2\n'))).rejects.toThrow(/line 2: Expected "," or the end of the line after a quoted field/);
  });
});

describe('files', () => {
  it('of a folder are read in the order of their names', async () => {
    const at = temporaryFolder();
    for (const n of ['b', 'a', 'c']) writeFileSync(join(at, `${n}.jsonl`), JSON.stringify({ text: n }));
    writeFileSync(join(at, 'README'), 'not data');
    expect((await read(at)).map((r) => r.text)).toEqual(['a', 'b', 'c']);
  });
  it('that are missing or packed otherwise are refused with what to do', async () => {
    await expect(read(join(folder, 'absent.jsonl'))).rejects.toThrow(/absent\.jsonl can't be read .*Expected a data file or a folder/);
    await expect(read(temporaryFolder())).rejects.toThrow(/holds no data files. Expected names that end in txt/);
    await expect(read(file('a.jsonl.zst', Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd)))).rejects.toThrow(/packed with zstd.*Unpack it first/);
    await expect(read([])).rejects.toThrow(/no data/);
  });
});
