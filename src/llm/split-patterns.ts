/**
 * @file The split patterns of well-known vocabularies, as their tokenizer.json has them. Each takes time proportional to the text
 * (test/llm/split-patterns.test.ts), so that they run in this thread; a pattern that isn't here is a stranger's (guard.ts).
 */

const english = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const spaces = String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`;
const upper = String.raw`\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}`;
const lower = String.raw`\p{Ll}\p{Lm}\p{Lo}\p{M}`;
const noHan = String.raw`&&[^\p{Han}]`;
/** Words that begin with capitals, or are all capitals. */
const cased = (without: string, end: string): string =>
  String.raw`[^\r\n\p{L}\p{N}]?[${upper}${without}]*[${lower}${without}]+${end}|[^\r\n\p{L}\p{N}]?[${upper}${without}]+[${lower}${without}]*${end}`;

/** By the names that llama.cpp has for them, or of models that have them. */
export const splitPatterns = {
  gpt2: String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
  /** Llama 3. */
  'llama-bpe': String.raw`${english}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|${spaces}`,
  /** Qwen 2, 2.5 and 3. */
  qwen2: String.raw`${english}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|${spaces}`,
  qwen35: String.raw`${english}|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|${spaces}`,
  minicpm5: String.raw`${english}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|${spaces}`,
  /** GPT-4. */
  cl100k: String.raw`${english}|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`,
  llada: String.raw`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`,
  /** GPT-4o, gpt-oss, MiniMax. */
  o200k: String.raw`${cased('', `${english}?`)}|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|${spaces}`,
  /** Mistral's Nemo and later, Nemotron. */
  tekken: String.raw`${cased('', '')}|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|${spaces}`,
  kimi: String.raw`[\p{Han}]+|${cased(noHan, `${english}?`)}|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|${spaces}`,
  /** DeepSeek V3 and later: after digits and Chinese. */
  deepseek: String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${'`'}{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|${spaces}`,
  bloom: String.raw` ?[^(\s|[.,!?…。，、।۔،])]+`,
  // Steps of several.
  threeDigits: String.raw`\p{N}{1,3}`,
  digit: String.raw`\d`,
  asciiDigits: '[0-9][0-9][0-9]',
  chinese: '[一-龥぀-ゟ゠-ヿ]+',
  chineseAndKorean: '[一-龥ࠀ-一가-퟿]+',
  letters: String.raw`\s?\p{L}+`,
  marks: String.raw`\s?\p{P}+`,
  lineEnd: String.raw`[\r\n]`,
  space: ' ',
  spaces: String.raw`\s+`,
  twoSpaces: ' {2,}',
  anything: '.',
} as const;

const known = new Set<string>(Object.values(splitPatterns));

/** Whether the pattern, as a tokenizer.json has it, is known to take no longer than its text is long. Line ends may be there themselves. */
export const isKnownPattern = (regex: string): boolean => known.has(regex.replaceAll('\r', '\\r').replaceAll('\n', '\\n'));
