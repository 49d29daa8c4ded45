import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ConfigError } from '../../src/base/errors.js';
import { byteToChar } from '../../src/llm/byte-alphabet.js';
import { trainTokenizer } from '../../src/llm/train-tokenizer.js';
import { mergePlainly } from './merge-plainly.js';
import { smallTokenizer } from './support.js';

/** Llama 3's split in JavaScript's own terms, with Unicode's white space. */
const words =
  /'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\p{White_Space}\p{L}\p{N}]+[\r\n]*|\p{White_Space}*[\r\n]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
const replaced = (text: string): string => new TextDecoder('utf-8', { ignoreBOM: true }).decode(new TextEncoder().encode(text));

it('what it trains encodes as plain byte-pair encoding does, and comes back as it was, for any text', async () => {
  const tokenizer = await smallTokenizer({ specialTokens: ['<|endoftext|>'] });
  const { merges, vocab } = tokenizer.json.model as { merges: string[]; vocab: Record<string, number> };
  const pairs = merges.map((merge) => merge.split(' ') as [string, string]);
  expect(pairs.length).toBeGreaterThan(70);
  const plainly = (text: string): number[] =>
    (replaced(text).match(words) ?? []).flatMap((word) => {
      const chars = Array.from(new TextEncoder().encode(word), (byte) => byteToChar[byte]).join('');
      return mergePlainly(chars, pairs).map((token) => vocab[token]);
    });
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.string({ unit: 'grapheme', maxLength: 60 }),
    // Lone halves of surrogate pairs too.
    fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 60 }).map((codes) => String.fromCharCode(...codes)),
    fc
      .array(fc.constantFrom('the', ' lower', 'est', "'S", '12', ' ', '\n', '\r\n', '\t', '. ', 'ü', '\u0085', '\ufeff', '\u2028'), {
        maxLength: 30,
      })
      .map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(text, (x) => {
      const ids = tokenizer.encode(x);
      expect([...ids]).toEqual(plainly(x));
      expect(tokenizer.decode(ids)).toBe(replaced(x));
    }),
    { numRuns: 1500 },
  );
});

it('special tokens come first, then bytes, then merges; their roles are in the files', async () => {
  const { tokenizer, ...counts } = await trainTokenizer(['ab ab ab', 'ab'], {
    vocabSize: 300,
    specialTokens: ['<bos>', '<eos>', '<pad>'],
    eos: '<eos>',
    pad: '<pad>',
    chatTemplate: 'T',
  });
  expect([tokenizer.bosId, tokenizer.eosId, tokenizer.padId, tokenizer.unknownId]).toEqual([0, 1, 2, null]);
  expect(tokenizer.tokenOf(3)).toBe('!');
  expect(tokenizer.idOf('ab')).toBe(259);
  expect(tokenizer.vocabSize).toBe(261);
  expect(counts).toEqual({ texts: 2, bytes: 10, words: 2, merges: 2 });
  expect(tokenizer.chatTemplate).toBe('T');
  expect([...tokenizer.encode('ab<eos> ab', { addSpecialTokens: true })]).toEqual([0, 259, 1, 260]);
  expect(tokenizer.config).toMatchObject({
    bos_token: '<bos>',
    eos_token: '<eos>',
    pad_token: '<pad>',
    chat_template: 'T',
    add_bos_token: true,
  });
  const none = await smallTokenizer({ specialTokens: [] });
  expect([none.bosId, none.eosId, none.padId]).toEqual([null, null, null]);
  expect([...none.encode('lower', { addSpecialTokens: true })]).toEqual([...none.encode('lower')]);
});

it('a pair of pairs that occur as often: the one of lower ids first', async () => {
  const { tokenizer } = await trainTokenizer(['xy ab', 'xy ab'], { vocabSize: 261, specialTokens: [], pattern: '[a-z]+' });
  expect(tokenizer.json.model).toMatchObject({ merges: ['a b', 'x y'] });
});

it('minFrequency ends it early; where nothing repeats it learns nothing', async () => {
  const options = { vocabSize: 1000, specialTokens: [] };
  expect((await trainTokenizer(['abc'], options)).merges).toBe(0);
  expect((await trainTokenizer(['abc'], { ...options, minFrequency: 1 })).merges).toBe(2);
  expect((await trainTokenizer([], options)).tokenizer.vocabSize).toBe(256);
});

it('the same texts give the same files, from a list, a generator and a stream', async () => {
  const texts = ['The lowest tower', ' was newer than ', 'the widest river'];
  async function* stream(): AsyncGenerator<string> {
    yield* texts;
  }
  const options = { vocabSize: 290 };
  const first = await trainTokenizer(texts, options);
  for (const other of [await trainTokenizer(texts.values(), options), await trainTokenizer(stream(), options)])
    expect(other.tokenizer.json).toEqual(first.tokenizer.json);
});

it('tells how far it is, and stops when it is told to', async () => {
  const seen: string[] = [];
  const texts = Array.from({ length: 2000 }, (_, i) => `word${i} `.repeat(20));
  await trainTokenizer(texts, {
    vocabSize: 400,
    onProgress: ({ phase, tokens, texts, vocabSize }) => seen.push(`${phase} ${texts} ${tokens}/${vocabSize}`),
  });
  expect(seen[0]).toMatch(/^reading \d+ 259\/400$/);
  expect(seen.at(-1)).toBe('merging 2000 400/400');
  const controller = new AbortController();
  const training = trainTokenizer(texts, {
    vocabSize: 400,
    signal: controller.signal,
    onProgress: () => controller.abort(new Error('enough')),
  });
  await expect(training).rejects.toThrow('enough');
});

it.each([
  [{ vocabSize: 258 }, 'vocabSize does not fit. Expected a whole number from 259 (the bytes and special tokens) to 4194304, received 258.'],
  [{ vocabSize: Number.NaN }, 'vocabSize does not fit'],
  [{ vocabSize: 300, minFrequency: 0 }, 'minFrequency does not fit. Expected a whole number ≥ 1, received 0.'],
  [{ vocabSize: 300, specialTokens: ['<a>', '<a>'] }, 'a special token is malformed or there twice'],
  [{ vocabSize: 300, specialTokens: ['!'] }, 'a special token is malformed or there twice'],
  [{ vocabSize: 300, bos: '<s>' }, 'bos is no special token. Expected <|endoftext|>, <|im_start|>, <|im_end|>, received "<s>".'],
  [{ vocabSize: 300, pattern: '(' }, 'the pattern is malformed'],
  [{ vocabSize: 300, vocabulary: 1 }, 'there is no option "vocabulary"'],
])('refuses %j', async (options, message) => {
  const training = trainTokenizer(['a'], options);
  await expect(training).rejects.toThrow(ConfigError);
  await expect(training).rejects.toThrow(message);
});

it('refuses one text in the place of many, and what is no text', async () => {
  await expect(trainTokenizer('abc', { vocabSize: 300 })).rejects.toThrow('Write [text].');
  await expect(trainTokenizer([1 as unknown as string], { vocabSize: 300 })).rejects.toThrow(
    'text 0 is malformed. Expected a text, received 1.',
  );
});
