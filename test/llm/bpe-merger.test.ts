import fc from 'fast-check';
import { expect, it } from 'vitest';
import { BpeMerger } from '../../src/llm/bpe-merger.js';
import { mergePlainly } from './merge-plainly.js';

/** Merges of a small alphabet, each of two tokens that are there by then, some pairs twice and some tokens two ways. */
const merges = fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 40 }).map((choices) => {
  const tokens = ['a', 'b', 'c', 'é', '🙂'];
  return choices.map(([left, right]): [string, string] => {
    const pair: [string, string] = [tokens[left % tokens.length], tokens[right % tokens.length]];
    if (pair.join('').length <= 16 && !tokens.includes(pair.join(''))) tokens.push(pair.join(''));
    return pair;
  });
});

it('merges as the textbook does, in short words and in long ones', () => {
  const word = fc.array(fc.constantFrom('a', 'b', 'c', 'é', '🙂', 'x'), { maxLength: 200 }).map((chars) => chars.join(''));
  fc.assert(
    fc.property(merges, word, fc.constantFrom('', '$'), (list, text, suffix) => {
      const tokens = [...new Set(['a', 'b', 'c', 'é', '🙂', ...list.map((pair) => pair.join(''))])];
      const merger = new BpeMerger(tokens, new Map(tokens.map((token, id) => [token, id])), list, suffix);
      const expected = mergePlainly(text, list, suffix);
      expect(merger.split(text)).toEqual(expected);
      // Once more, from what it remembers.
      expect(merger.split(text)).toEqual(expected);
    }),
    { numRuns: 300 },
  );
});

it('a word of a million characters takes no squared time', () => {
  const tokens = ['a', 'aa', 'aaaa'];
  const merger = new BpeMerger(tokens, new Map(tokens.map((token, id) => [token, id])), [
    ['a', 'a'],
    ['aa', 'aa'],
  ]);
  expect(merger.split('a'.repeat(1_000_002))).toHaveLength(250_001);
});
