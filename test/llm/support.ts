/** @file Small tokenizers for tests. */
import { Tokenizer } from '../../src/llm/tokenizer.js';
import { type TrainTokenizerOptions, trainTokenizer } from '../../src/llm/train-tokenizer.js';

const prose =
  'The lowest tower was newer than the widest river. They said: it is well. Über den Fluß, 12 345 Häuser. Hello there, user and assistant. ';

/** A byte-level tokenizer of a few hundred tokens, with its own special ones. */
export async function smallTokenizer(options: Partial<TrainTokenizerOptions> = {}): Promise<Tokenizer> {
  const { tokenizer } = await trainTokenizer([prose, prose], { vocabSize: 400, ...options });
  return tokenizer;
}

/** The same files, changed. */
export function changed(tokenizer: Tokenizer, change: (json: Json, config: Json) => void, isTrusted = false): Tokenizer {
  const json = structuredClone(tokenizer.json) as Json;
  const config = structuredClone(tokenizer.config) as Json;
  change(json, config);
  return Tokenizer.fromJson(json, config, { isTrusted });
}
/** JSON that tests reach into. */
export interface Json {
  [key: string]: Json & string & number;
}
