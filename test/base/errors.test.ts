import { expect, test } from 'vitest';
import { quote } from '../../src/base/errors.js';

test('errors quote short values whole and the beginning of long ones', () => {
  expect(quote({ a: [1, 'x'] })).toBe('{"a":[1,"x"]}');
  expect(quote(undefined)).toBe('undefined');
  expect(quote(() => 1)).toBe('function');
  expect(quote('x'.repeat(78))).toHaveLength(80);
  expect(quote('x'.repeat(5000))).toBe(`"${'x'.repeat(79)}… (5002 characters)`);
  // 79 characters, then a pair that the cut would halve.
  expect(quote(`${'x'.repeat(78)}😀${'y'.repeat(90)}`)).toBe(`"${'x'.repeat(78)}… (172 characters)`);
});

test('and say of what JSON has no text for what it is', () => {
  expect(quote(12n)).toBe('12');
  expect(quote(JSON.parse(`${'['.repeat(2e5)}${']'.repeat(2e5)}`))).toBe('a value that JSON cannot show');
});
