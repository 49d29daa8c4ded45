import { expect, test } from 'vitest';
import { said } from '../../src/cli/output.js';

test('what a model says does nothing to a terminal, and reaches files as it was said', () => {
  // A title, the clipboard, a color, C1's own CSI, a bell, a line that is written over.
  const text = 'a\x1b]0;title\x07\x1b]52;c;aGk=\x1b\\b\x1b[31mred\x9b2J\x00\x7f\rover\n\tthe end 木🪵\u200d';
  const shown = said(text, true);
  expect(shown).toBe('a]0;title]52;c;aGk=\\b[31mred2Jover\n\tthe end 木🪵\u200d');
  expect(said(text, false)).toBe(text);
});
