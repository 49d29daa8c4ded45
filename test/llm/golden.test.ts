/** @file Tokenizers of Hugging Face's library, with what it makes of texts (test/golden/tokenizer.py). */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { concatBytes } from '../../src/base/bytes.js';
import { encodeUtf8 } from '../../src/io/bytes.js';
import { endsOf } from '../../src/llm/token-spans.js';
import { Tokenizer } from '../../src/llm/tokenizer.js';
import { trainTokenizer } from '../../src/llm/train-tokenizer.js';

interface Golden {
  readonly models: readonly object[];
  readonly entries: Readonly<
    Record<
      string,
      { readonly json: object; readonly model: number; readonly cases: readonly (readonly [string, number[], number[], string])[] }
    >
  >;
  readonly trained: readonly {
    readonly text: string;
    readonly vocabSize: number;
    readonly minFrequency: number;
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly string[];
  }[];
}
const { models, entries, trained } = JSON.parse(readFileSync(new URL('../golden/tokenizer.json', import.meta.url), 'utf8')) as Golden;

it.each(Object.entries(entries))('%s: ids, with special tokens too, and back to text', (_, { json, model, cases }) => {
  const tokenizer = Tokenizer.fromJson({ ...json, model: models[model] });
  for (const [text, ids, more, decoded] of cases) {
    expect([...tokenizer.encode(text)], text).toEqual(ids);
    expect([...tokenizer.encode(text, { addSpecialTokens: true })], text).toEqual(more);
    expect(tokenizer.decode(ids), text).toBe(decoded);
  }
});

it.each(Object.entries(entries))("%s: tokens' bytes lie along the text", (_, { json, model, cases }) => {
  const tokenizer = Tokenizer.fromJson({ ...json, model: models[model] });
  const { spelling } = tokenizer;
  if (spelling.kind === 'words' || spelling.kind === 'plain') return;
  for (const [text, ids, , decoded] of cases) {
    const bytes = concatBytes(ids.filter((id) => !tokenizer.isSpecial(id)).map((id) => tokenizer.bytesOf(id)));
    const said = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
    expect(spelling.kind === 'pieces' && spelling.isPrefixed ? said.replace(/^ /, '') : said, text).toBe(decoded);
    // Where nothing is lost, tokens end where their bytes end.
    if (decoded !== text || ids.some((id) => id === tokenizer.unknownId)) continue;
    expect(endsOf(tokenizer, encodeUtf8(text), Int32Array.from(ids))?.at(-1) ?? 0, text).toBe(encodeUtf8(text).length);
  }
});

it.each(trained)('the trainer learns what BpeTrainer learns ($vocabSize tokens, pairs that occur $minFrequency times)', async (golden) => {
  const { text, vocabSize, minFrequency, vocab, merges } = golden;
  const { tokenizer } = await trainTokenizer([text], { vocabSize, minFrequency, specialTokens: ['<s>', '</s>'] });
  expect(tokenizer.json.model).toMatchObject({ vocab, merges });
});
