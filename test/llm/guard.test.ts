/** @file Strangers' files: patterns and templates that would never end, grow without end or read files. */
import { spawnSync } from 'node:child_process';
import { beforeAll, describe, expect, it } from 'vitest';
import { FormatError } from '../../src/base/errors.js';
import { applyChatTemplate, renderConversation } from '../../src/llm/chat-template.js';
import { splitPatterns } from '../../src/llm/split-patterns.js';
import { Tokenizer } from '../../src/llm/tokenizer.js';
import { ensureBuilt, root } from '../cli/built.js';
import { randomNumbers } from '../robustness/command.js';
import { fuzzTemplates, fuzzTokenizers } from './fuzz.js';
import { smallTokenizer } from './support.js';

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await smallTokenizer();
});
/** The small tokenizer with other parts. */
const withParts = (parts: object, options = {}): Tokenizer =>
  Tokenizer.fromJson({ ...tokenizer.json, ...parts }, tokenizer.config, options);
const splitBy = (Regex: string): object => ({
  pre_tokenizer: {
    type: 'Sequence',
    pretokenizers: [
      { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false },
      { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
    ],
  },
});
function errorOf(run: () => unknown): Error {
  try {
    run();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error('it did not fail');
}
const text = 'The lowest tower was newer. 12345\n';

describe('a pattern that nobody knows', () => {
  it('splits as it would in this thread', () => {
    // The same words by another pattern.
    const regex = `${splitPatterns['llama-bpe']}|\\s`;
    const guarded = withParts(splitBy(regex));
    expect([...guarded.encode(text)]).toEqual([...tokenizer.encode(text)]);
    expect([...guarded.encode(text, { addSpecialTokens: true })]).toEqual([...tokenizer.encode(text, { addSpecialTokens: true })]);
    expect(guarded.decode(guarded.encode(text))).toBe(text);
    expect([...withParts(splitBy(regex), { isTrusted: true }).encode(text)]).toEqual([...tokenizer.encode(text)]);
  });

  it.each(['(a+)+$', '(a|a)*$', '([a-z]+)*\\d', '^(([a-z])+.)+[A-Z]([a-z])+$'])(
    '%s ends with an error that names it, and the next text is served',
    (regex) => {
      const hostile = withParts(splitBy(regex), { timeLimit: 200 });
      const encode = (): unknown => hostile.encode(`${'a'.repeat(59)}!`);
      expect(encode).toThrow(FormatError);
      expect(encode).toThrow(`tokenizer.json (the pattern ${JSON.stringify(regex)}) took longer than 0.`);
      expect(hostile.decode(hostile.encode('The tower'))).toBe('The tower');
      expect([...withParts(splitBy(`${splitPatterns['llama-bpe']}|\\s`)).encode(text)]).toEqual([...tokenizer.encode(text)]);
    },
  );

  it('in a normalizer and in a decoder too', () => {
    const replace = { type: 'Replace', pattern: { Regex: '(a+)+$' }, content: '' };
    expect(() => withParts({ normalizer: replace }, { timeLimit: 200 }).encode(`${'a'.repeat(59)}!`)).toThrow('took longer than');
    const other = withParts({ decoder: { type: 'Sequence', decoders: [{ type: 'ByteLevel' }, replace] } }, { timeLimit: 200 });
    expect(other.decode(other.encode('aab'))).toBe('aab');
    expect(() => other.decode(other.encode(`${'a'.repeat(59)}!`))).toThrow('took longer than');
  });

  it('that is malformed is refused at once', () => {
    for (const regex of ['(', '[z-a]', '\\p{Nonsense}']) expect(() => withParts(splitBy(regex))).toThrow(FormatError);
  });

  it('replacements that make a text longer and longer end too', () => {
    const normalizers = Array.from({ length: 40 }, () => ({ type: 'Replace', pattern: { String: 'a' }, content: 'aa' }));
    expect(() => withParts({ normalizer: { type: 'Sequence', normalizers } }, { timeLimit: 1000 }).encode('a')).toThrow(FormatError);
  });
});

describe('a chat template', () => {
  const apply = (template: string): string => applyChatTemplate(tokenizer, [{ role: 'user', content: 'Hi' }], { template, timeLimit: 500 });
  it.each([
    ['never ends', '{% for i in range(1000000) %}{% for j in range(1000000) %}x{% endfor %}{% endfor %}', 'took longer than 0.5 s'],
    [
      'doubles a text',
      '{% set ns = namespace(a="xx") %}{% for j in range(60) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a }}',
      'Invalid string length',
    ],
    [
      'writes much',
      '{% set ns = namespace(a="xx") %}{% for j in range(24) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a }}',
      'writes more than',
    ],
    [
      'doubles a list',
      '{% set ns = namespace(a=[1]) %}{% for j in range(40) %}{% set ns.a = ns.a + ns.a %}{% endfor %}',
      'took longer than 0.5 s',
    ],
    ['makes a long list', '{{ range(100000000000) }}', /range\(\) is too long/],
    ['calls itself', '{% macro f() %}{{ f() ~ f() }}{% endmacro %}{{ f() }}', /took longer than 0.5 s|Cannot call/],
    ['includes a file', "{% include '/etc/passwd' %}", 'Unknown statement type: include'],
    ['imports', "{% import 'node:fs' as fs %}", 'Unknown statement type: import'],
    ['extends a file', "{% extends '/etc/passwd' %}", 'Unknown statement type: extends'],
    ['takes from a file', "{% from '/etc/passwd' import x %}", 'Unknown statement type: from'],
    ['indents without end', '{{ messages | tojson(indent=1000000000) }}', 'Invalid string length'],
    ['indents far', "{{ 'a\\nb' | indent(100000000) }}", /writes more than|took longer/],
    ['counts in steps of nothing', '{{ range(0, 10, 0) }}', /range\(\) is too long/],
    ['nests beyond the stack', `{{ ${'('.repeat(20_000)}1${')'.repeat(20_000)} }}`, /call stack|took longer/],
    ['nests blocks beyond the stack', '{% if 1 %}'.repeat(20_000), /call stack|took longer/],
    ['writes to what is behind objects', "{% set messages.__proto__.x = 'y' %}", 'cannot assign attribute'],
    ['calls what is behind functions', "{{ range.constructor('return process')() }}", 'Cannot call something that is not a function'],
    ['asks for a filter that reaches further', "{{ messages | attr('constructor') }}", 'Unknown ArrayValue filter: attr'],
    [
      'asks for what is behind objects',
      "{{ messages.constructor.constructor('return process')() }}",
      'Cannot call something that is not a function',
    ],
  ])('that %s ends with an error', (_, template, message) => {
    const error = errorOf(() => apply(template));
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toMatch(/^chat template: /);
    expect(error.message).toMatch(message);
    expect(apply('{{ messages[0].content }}')).toBe('Hi');
  });

  it('sees nothing of this process', () => {
    for (const name of ['process', 'require', 'globalThis', 'constructor', '__proto__', 'self'])
      expect(apply(`{{ ${name} is defined }}{{ messages.${name} is defined }}`)).toBe('falsefalse');
    for (const inner of ['range.constructor', 'strftime_now.__proto__', "''.constructor", "messages[0]['__proto__']", 'loop.constructor'])
      expect(apply(`{{ ${inner} is defined }}`)).toBe('false');
  });

  it('leaves nothing behind for the next one', () => {
    expect(
      apply('{% set x = 1 %}{% macro f() %}y{% endmacro %}{% set ns = namespace(x=1) %}{% set ns.__proto__ = messages %}{{ f() }}'),
    ).toBe('y');
    expect(apply('{{ x is defined }}{{ f is defined }}{{ ns is defined }}{{ {}.x is defined }}')).toBe('falsefalsefalsefalse');
  });

  it('with every character that marks could be ends with an error as well', () => {
    const all = Array.from({ length: 0x10fffe - 0xf0000 }, (_, i) => String.fromCodePoint(0xf0000 + i)).join('');
    const template = `{# ${all} #}{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}`;
    const messages = [{ role: 'assistant', content: 'Hi' }];
    expect(() => renderConversation(tokenizer, messages, { template })).toThrow('every character for private use');
    const { text: said } = renderConversation(tokenizer, messages, { template: template.replace('\u{f0001}\u{f0002}', '') });
    expect(said).toBe('Hi');
  });
});

it.each([
  ['spaces that trimming looks through', `{{ 1 }}${' '.repeat(300_000)}x`],
  ['comments that never end', '{#'.repeat(100_000)],
  ['tags that never end', '{%-'.repeat(50_000)],
  ['a text that never ends', `{{ '${'\\\\'.repeat(100_000)}`],
])('a chat template of %s ends within its limit', (_, template) => {
  const began = performance.now();
  try {
    applyChatTemplate(tokenizer, [{ role: 'user', content: 'Hi' }], { template, timeLimit: 2000 });
  } catch (error) {
    expect(error).toBeInstanceOf(FormatError);
  }
  expect(performance.now() - began).toBeLessThan(30_000);
});

it('a program that used the worker ends by itself', async () => {
  await ensureBuilt();
  const script = `
import { trainTokenizer } from '${root}dist/llm/train-tokenizer.js';
import { applyChatTemplate, renderConversation } from '${root}dist/llm/chat-template.js';
const { tokenizer } = await trainTokenizer(['a'], { vocabSize: 300 });
console.log(applyChatTemplate(tokenizer, [{ role: 'user', content: 'Hi' }], { template: '{{ messages[0].content }}!' }));`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  expect([stdout, stderr, status]).toEqual(['Hi!\n', '', 0]);
}, 240_000);

// test/long has many more of these.
it('damaged tokenizer files end in words, in bounded time', async () => {
  const { loaded, refused, slowest } = await fuzzTokenizers(150, randomNumbers(11));
  expect(loaded).toBeGreaterThan(20);
  expect(refused).toBeGreaterThan(20);
  expect(slowest).toBeLessThan(30_000);
}, 120_000);

it('damaged chat templates end in words, in bounded time', async () => {
  const { loaded, refused, slowest } = await fuzzTemplates(tokenizer, 150, randomNumbers(12));
  expect(loaded).toBeGreaterThan(10);
  expect(refused).toBeGreaterThan(40);
  expect(slowest).toBeLessThan(30_000);
}, 120_000);
