/** @file Tokenized examples: the form that everything after tokenization works on, in memory or on disk, and parts of them. */
import { ConfigError } from '../../base/errors.js';
import { epochIndices } from '../../data/shuffle.js';

export interface TokenExample {
  readonly ids: Int32Array;
  /** 1 where the token should be predicted from those before it. The first one can't be. */
  readonly isTarget: Uint8Array;
}

/** Runs of tokens that are predicted and that aren't, in order: to show an example with what is learned of it. */
export function targetSpans({ isTarget }: TokenExample): { start: number; end: number; isTarget: boolean }[] {
  const spans: { start: number; end: number; isTarget: boolean }[] = [];
  for (let start = 0, end = 1; start < isTarget.length; start = end++) {
    while (end < isTarget.length && isTarget[end] === isTarget[start]) end++;
    spans.push({ start, end, isTarget: isTarget[start] === 1 });
  }
  return spans;
}

/** Examples that can be asked for by number. */
export interface TokenExamples {
  readonly count: number;
  /** Examples that stand together: 1, or 2 where 2i is the chosen and 2i + 1 the rejected answer to one prompt. */
  readonly group: 1 | 2;
  /** Tokens of example i. */
  lengthOf(i: number): number;
  /** Tokens `start` … `end` − 1 of example i; all of them by default. */
  example(i: number, start?: number, end?: number): Promise<TokenExample>;
}

/** Examples in memory. */
export class TokenList implements TokenExamples {
  readonly group: 1 | 2;
  readonly #list: readonly TokenExample[];

  constructor(list: readonly TokenExample[], group: 1 | 2 = 1) {
    if (list.length % group !== 0) throw new ConfigError(`TokenList: ${list.length} examples in pairs. Expected an even number.`);
    this.#list = list;
    this.group = group;
  }
  get count(): number {
    return this.#list.length;
  }
  lengthOf(i: number): number {
    return this.#at(i).ids.length;
  }
  async example(i: number, start = 0, end?: number): Promise<TokenExample> {
    const { ids, isTarget } = this.#at(i);
    return { ids: ids.subarray(start, end), isTarget: isTarget.subarray(start, end) };
  }
  #at(i: number): TokenExample {
    return checkedIndex(i, this.count) && this.#list[i];
  }
}

/** True, or a ConfigError: `i` is no example's number. */
export function checkedIndex(i: number, count: number): true {
  if (Number.isInteger(i) && i >= 0 && i < count) return true;
  throw new ConfigError(`example ${i}: there is none of this number. Expected 0 … ${count - 1}.`);
}

/** A part of an example: tokens start … end − 1. */
interface Part {
  readonly example: number;
  readonly start: number;
  readonly end: number;
}

class View implements TokenExamples {
  readonly group: 1 | 2;
  readonly #of: TokenExamples;
  readonly #parts: readonly Part[];

  constructor(of: TokenExamples, parts: readonly Part[]) {
    this.#of = of;
    this.#parts = parts;
    this.group = of.group;
  }
  get count(): number {
    return this.#parts.length;
  }
  lengthOf(i: number): number {
    const { start, end } = this.#at(i);
    return end - start;
  }
  example(i: number, start = 0, end = this.lengthOf(i)): Promise<TokenExample> {
    const part = this.#at(i);
    return this.#of.example(part.example, part.start + start, Math.min(part.start + end, part.end));
  }
  #at(i: number): Part {
    return checkedIndex(i, this.count) && this.#parts[i];
  }
}

export interface SplitOptions {
  /** Draws whole examples for the second part, under this seed; default: the last ones are it. */
  readonly seed?: number;
}

/**
 * Two parts of examples: what to train on, and the share `held` of them to evaluate on. Without a seed it is the last share of the tokens:
 * the border may fall inside of an example (not of a pair), so that one long document can be split too.
 * @throws ConfigError when a part would be empty
 */
export function splitExamples(
  examples: TokenExamples,
  held: number,
  options: SplitOptions = {},
): [train: TokenExamples, held: TokenExamples] {
  if (!(held > 0 && held < 1)) throw new ConfigError(`splitExamples: a share of ${held}. Expected a number between 0 and 1, such as 0.1.`);
  const { count, group } = examples;
  const whole = (example: number): Part => ({ example, start: 0, end: examples.lengthOf(example) });
  const [first, second]: [Part[], Part[]] = [[], []];
  if (options.seed !== undefined || group > 1) {
    const groups = count / group;
    const order = options.seed === undefined ? null : epochIndices(groups, options.seed, 0);
    const kept = groups - Math.max(1, Math.round(groups * held));
    const isHeld = new Uint8Array(groups);
    for (let i = kept; i < groups; i++) isHeld[order ? order[i] : i] = 1;
    for (let i = 0; i < count; i++) (isHeld[Math.floor(i / group)] ? second : first).push(whole(i));
  } else {
    let total = 0;
    for (let i = 0; i < count; i++) total += examples.lengthOf(i);
    // 1 − 0.9 is a little less than 0.1.
    let left = Math.floor(total * (1 - held) + 1e-6);
    for (let i = 0; i < count; i++) {
      const { end } = whole(i);
      const taken = Math.min(left, end);
      left -= taken;
      if (taken > 0) first.push({ example: i, start: 0, end: taken });
      if (taken < end) second.push({ example: i, start: taken, end });
    }
  }
  if (first.length === 0 || second.length === 0)
    throw new ConfigError(
      `splitExamples: ${count} examples can't be split with a share of ${held}: one part would be empty. Expected more data or another share.`,
    );
  return [new View(examples, first), new View(examples, second)];
}
