import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readTexts, requireTextFiles } from '../../src/cli/text-files.js';
import { loadTokenizer } from '../../src/llm/tokenizer-node.js';
import { ensureBuilt, tenon } from './built.js';
import { signalled } from './support.js';

let folder: string;
const at = (...parts: string[]): string => join(folder, ...parts);
const prose = 'The lowest tower was newer than the widest river.\nÜber den Fluß, 12 345 Häuser.\n';
beforeAll(async () => {
  await ensureBuilt();
  folder = mkdtempSync(join(tmpdir(), 'tenon-cli-tokenizer-'));
  writeFileSync(at('a.txt'), prose.repeat(20));
  writeFileSync(at('b.gz'), gzipSync(prose.repeat(5)));
  writeFileSync(at('latin1.txt'), Buffer.from('Flu\xdf', 'latin1'));
  writeFileSync(at('cut.gz'), gzipSync(prose.repeat(500)).subarray(0, 100));
  writeFileSync(at('rows.jsonl'), '{"text": "a"}\n');
}, 240_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('tenon tokenizer', () => {
  test('train learns from plain and gzipped files; encode shows what becomes of a text', async () => {
    const args = [
      'tokenizer',
      'train',
      'a.txt',
      'b.gz',
      '--vocab-size',
      '300',
      '--out',
      'new/one',
      '--special',
      '<s>',
      '--special',
      '</s>',
    ];
    const { code, stdout, stderr } = await tenon([...args, '--chat-template', 'chatml', '--json', 'train.json'], folder);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const bytes = 25 * Buffer.byteLength(prose);
    expect(stdout).toMatch(
      /^Reading 2 files, 0\.0 MB, for 300 tokens\.\nRead 2 files: 2,\d{3} bytes, \d\d different words, in \d+\.\d s\.\nLearned 42 merges in \d+\.\d s: 300 tokens \(2 special, 256 bytes\)\.\n/,
    );
    expect(stdout).toMatch(
      /\nA token holds \d\.\d\d bytes of these texts\.\nSaved new\/one\/tokenizer\.json and new\/one\/tokenizer_config\.json\nSaved train\.json\n$/,
    );
    expect(JSON.parse(readFileSync(at('train.json'), 'utf8'))).toMatchObject({
      files: ['a.txt', 'b.gz'],
      bytes,
      vocabSize: 300,
      merges: 42,
    });
    const tokenizer = await loadTokenizer(at('new/one'));
    expect([tokenizer.vocabSize, tokenizer.bosId, tokenizer.idOf('</s>')]).toEqual([300, 0, 1]);
    expect(tokenizer.chatTemplate).toContain('<|im_start|>');

    const encoded = await tenon(['tokenizer', 'encode', 'new/one', 'The 🙂</s>', '--special-tokens', '--json', 'encode.json'], folder);
    expect(encoded.code).toBe(0);
    const { ids, tokens } = JSON.parse(readFileSync(at('encode.json'), 'utf8')) as {
      ids: number[];
      tokens: { id: number; text: string }[];
    };
    expect(ids).toEqual([0, ...tokenizer.encode('The 🙂</s>')]);
    const lines = encoded.stdout.split('\n');
    expect(lines[0]).toBe(ids.join(' '));
    expect(lines.slice(2, 2 + ids.length).map((line) => line.trim().split(/ {2,}/))).toEqual(tokens.map((t) => [String(t.id), t.text]));
    expect(tokens[0]).toMatchObject({ id: 0, text: '"<s>"' });
    expect(tokens.map((t) => t.text)).toContain('bytes f0');
    expect(lines[2 + ids.length]).toBe(`${ids.length} tokens`);
  });

  test('a text that is too small for the vocabulary makes a smaller one, and says so', async () => {
    const { stdout, code } = await tenon(
      ['tokenizer', 'train', 'a.txt', '--vocab-size', '5000', '--min-frequency', '3', '--out', 'small'],
      folder,
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/\nThese are fewer than 5,000: no pair of tokens occurs 3 times any more\. Give more text for more\.\n/);
  });

  test.each<[string[], RegExp, number]>([
    [['tokenizer'], /^tenon: tokenizer: expected train or encode\. See tenon tokenizer --help\.\n$/, 2],
    [['tokenizer', 'tain'], /unknown command 'tain'.*See tenon tokenizer --help/, 2],
    [['tokenizer', 'train', 'a.txt'], /--out.*See tenon tokenizer train --help/, 2],
    [['tokenizer', 'train', '--out', 'x'], /missing required argument 'files'/, 2],
    [['tokenizer', 'train', 'nowhere.txt', '--out', 'x'], /there is no file nowhere\.txt/, 2],
    [['tokenizer', 'train', 'new', '--out', 'x'], /new is a folder/, 2],
    [['tokenizer', 'train', 'rows.jsonl', '--out', 'x'], /rows\.jsonl is no plain text: its jsonl would be learned too/, 2],
    [['tokenizer', 'train', 'a.txt', '--out', 'new/one'], /new\/one holds a tokenizer already/, 2],
    [['tokenizer', 'train', 'a.txt', '--out', 'a.txt/x'], /--out: the folder a\.txt\/x can't be made/, 2],
    [['tokenizer', 'train', 'a.txt', '--out', 'x', '--vocab-size', '100'], /--vocab-size.*whole number from 257/, 2],
    [['tokenizer', 'train', 'a.txt', '--out', 'x', '--special', 'a'], /a special token is malformed/, 2],
    [['tokenizer', 'train', 'a.txt', '--out', 'x', '--json', 'nowhere/x.json'], /--json: there is no folder nowhere/, 2],
    [['tokenizer', 'train', 'latin1.txt', '--out', 'x'], /latin1\.txt is not UTF-8/, 1],
    [['tokenizer', 'train', 'cut.gz', '--out', 'x'], /cut\.gz cannot be read/, 1],
    [['tokenizer', 'encode', 'nowhere', 'Hi'], /there is no tokenizer\.json in nowhere/, 2],
  ])('%j is refused', async (args, message, expected) => {
    const { code, stdout, stderr } = await tenon(args, folder);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^tenon: [^\n]+\n$/);
    expect(stdout).toMatch(expected === 2 && !message.source.includes('special') ? /^$/ : /^Reading [^\n]+\n$/);
    expect(code).toBe(expected);
    expect(existsSync(at('x'))).toBe(false);
  });

  test.each([[['tokenizer']], [['tokenizer', 'train']], [['tokenizer', 'encode']]])('%j --help', async (args) => {
    const { code, stdout } = await tenon([...args, '--help'], folder);
    expect(code).toBe(0);
    expect(stdout).toContain(`Usage: tenon ${args.join(' ')} [options]`);
  });

  test('Ctrl-C ends it, and nothing is saved', async () => {
    // Words enough for some seconds.
    writeFileSync(at('long.txt'), Array.from({ length: 600_000 }, (_, i) => `w${(i * 2654435761) % 4294967296}x`).join(' '));
    const { code, stderr } = await signalled(['tokenizer', 'train', 'long.txt', '--out', 'stopped'], folder, /Reading/, 'SIGINT', 300);
    expect([code, stderr]).toEqual([130, '\ntenon: stopping; nothing is saved.\n']);
    expect(existsSync(at('stopped'))).toBe(false);
  });
});

test('pieces of a file are all of it, and end with lines that nothing goes on with', async () => {
  const text = `${prose.repeat(9000)}${'x'.repeat(700_000)}\n\n  y${prose}`;
  writeFileSync(at('large.txt'), text);
  writeFileSync(at('large.gz'), gzipSync(text));
  writeFileSync(at('empty.txt'), '');
  for (const name of ['large.txt', 'large.gz']) {
    const pieces: string[] = [];
    let read = 0;
    for await (const piece of readTexts(await requireTextFiles([at(name), at('empty.txt')]), (bytes) => {
      read = bytes;
    }))
      pieces.push(piece);
    expect(pieces.join('')).toBe(text);
    expect(pieces.length).toBeGreaterThan(2);
    for (const piece of pieces.slice(0, -1)) expect(piece.endsWith('\n')).toBe(true);
    for (const piece of pieces.slice(1)) expect(piece).toMatch(/^\S/);
    expect(read).toBe(readFileSync(at(name)).length);
  }
});
