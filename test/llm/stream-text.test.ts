import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TextStream } from '../../src/llm/stream-text.js';

/** Token i stands for the i-th piece of bytes. */
const tokens = (pieces: readonly Uint8Array[]) => ({ bytesOf: (id: number) => pieces[id], isSpecial: () => false });

/** Cuts at arbitrary places, inside of characters too. */
function cut(text: string, sizes: readonly number[]): Uint8Array[] {
  const bytes = new TextEncoder().encode(text);
  const out: Uint8Array[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = Math.max(1, sizes[i % sizes.length] ?? 1);
    out.push(bytes.subarray(at, at + size));
    at += size;
  }
  return out;
}

test('characters come whole, however their bytes are spread over tokens', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 30 }), fc.array(fc.nat(3), { minLength: 1, maxLength: 8 }), (text, sizes) => {
      fc.pre(!text.includes('\uFFFD'));
      const pieces = cut(text, sizes);
      const stream = new TextStream(tokens(pieces));
      const given = pieces.map((_, i) => stream.push(i));
      for (const piece of given) expect(piece).not.toContain('\uFFFD');
      expect(given.join('') + stream.end()).toBe(text);
    }),
  );
});

test('a stop string ends the text before it, across tokens, and nothing of it is shown', () => {
  fc.assert(
    fc.property(
      fc.stringMatching(/^[abc]{0,20}$/),
      fc.array(fc.stringMatching(/^[abc]{1,4}$/), { minLength: 1, maxLength: 3 }),
      fc.array(fc.nat(3), { minLength: 1 }),
      (text, stops, sizes) => {
        const pieces = cut(text, sizes);
        const stream = new TextStream(tokens(pieces), stops);
        let given = '';
        for (const i of pieces.keys()) given += stream.push(i);
        given += stream.end();
        // A stream sees the stop that is complete first.
        let wanted = text;
        for (let end = 0; end <= text.length && wanted === text; end++) {
          const ends = stops.filter((s) => text.slice(0, end).endsWith(s)).map((s) => end - s.length);
          if (ends.length > 0) wanted = text.slice(0, Math.min(...ends));
        }
        // Tokens of several characters may complete two stops at once: the earlier beginning wins.
        expect(text.startsWith(given)).toBe(true);
        if (sizes.every((s) => s <= 1)) expect(given).toBe(wanted);
        for (const stop of stops) expect(given.includes(stop)).toBe(false);
        expect(stream.isStopped).toBe(stops.some((s) => text.includes(s)));
      },
    ),
  );
});

test('bytes that make no character become U+FFFD at the end', () => {
  const stream = new TextStream(tokens([Uint8Array.of(0x61, 0xe2, 0x82)]));
  expect(stream.push(0)).toBe('a');
  expect(stream.end()).toBe('\uFFFD');
});
