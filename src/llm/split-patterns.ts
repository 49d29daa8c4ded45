/**
 * @file The split patterns of well-known vocabularies, as their tokenizer.json has them. Each takes time proportional to the text
 * (test/llm/split-patterns.test.ts), so that they run in this thread; a pattern that isn't here is a stranger's (guard.ts).
 */

const english = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const spaces = String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`;
const upper = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const lower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;

/** By the names that llama.cpp has for most of them. */
export const splitPatterns = {
  gpt2: String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
  /** Llama 3. */
  'llama-bpe': String.raw`${english}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|${spaces}`,
  /** Qwen 2, 2.5 and 3. */
  qwen2: String.raw`${english}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|${spaces}`,
  qwen35: String.raw`${english}|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|${spaces}`,
  /** GPT-4. */
  cl100k: String.raw`${english}|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`,
  /** GPT-4o and gpt-oss. */
  o200k: String.raw`[^\r\n\p{L}\p{N}]?${upper}*${lower}+${english}?|[^\r\n\p{L}\p{N}]?${upper}+${lower}*${english}?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|${spaces}`,
  /** Mistral Nemo and later. */
  tekken: String.raw`[^\r\n\p{L}\p{N}]?${upper}*${lower}+|[^\r\n\p{L}\p{N}]?${upper}+${lower}*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|${spaces}`,
  /** DeepSeek V3 and R1, the last of three. */
  'deepseek-v3': String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${'`'}{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|${spaces}`,
  /** Hugging Face's "\p{N}{1,3}" before the others: DeepSeek, SmolLM3. */
  threeDigits: String.raw`\p{N}{1,3}`,
  /** Chinese and Japanese runs: DeepSeek. */
  cjk: '[一-龥぀-ゟ゠-ヿ]+',
  bloom: String.raw` ?[^(\s|[.,!?…。，、।۔،])]+`,
  falcon: '[0-9][0-9][0-9]',
  digit: String.raw`\d`,
  digits: String.raw`\d{1,3}`,
  lines: String.raw`[\r\n]`,
  manySpaces: ' {2,}',
  space: String.raw`\s+`,
} as const;

const known = new Set<string>(Object.values(splitPatterns));

/** Whether the pattern, as a tokenizer.json has it, is known to take no longer than its text is long. */
export const isKnownPattern = (regex: string): boolean => known.has(regex);
