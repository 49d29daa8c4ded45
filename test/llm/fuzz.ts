/** @file Tokenizer files and chat templates that are damaged at random, and what becomes of them. */
import { readFileSync } from 'node:fs';
import { TenonError } from '../../src/base/errors.js';
import { turn } from '../../src/base/turn.js';
import { applyChatTemplate } from '../../src/llm/chat-template.js';
import { Tokenizer } from '../../src/llm/tokenizer.js';

const golden = JSON.parse(readFileSync(new URL('../golden/tokenizer.json', import.meta.url), 'utf8')) as {
  readonly models: readonly object[];
  readonly entries: Readonly<Record<string, { readonly json: object; readonly model: number }>>;
};
const { templates } = JSON.parse(readFileSync(new URL('../golden/chat_template.json', import.meta.url), 'utf8')) as {
  readonly templates: Readonly<Record<string, string>>;
};
const files = Object.values(golden.entries).map(({ json, model }) => ({ ...json, model: golden.models[model] }));
const config = {
  bos_token: '<s>',
  eos_token: { content: '</s>' },
  additional_special_tokens: ['<s>'],
  chat_template: 'x',
  added_tokens_decoder: {},
};

const texts = ['', 'The lowest tower\n  était 12345 x', `${'a'.repeat(3000)}b`, `${' '.repeat(3000)}x`, '🙂\ud800é<s></s>▁'];
const odd: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  0.5,
  1e9,
  2 ** 40,
  'x',
  '',
  ' ',
  '<s>',
  '▁',
  [],
  {},
  [[]],
  [null],
  '__proto__',
  'constructor',
  'x'.repeat(100_000),
  '(a+)+$',
  '(a|a)*$',
  '([a-z]+\\s?)+$',
  '\\G',
  '[',
  '(?<x>a)(?<x>b)',
  '\\p{Nonsense}',
  '(?=',
  '{',
  '\\',
  '.*.*.*.*.*.*=',
  { type: 'Replace', pattern: { String: 'a' }, content: 'aaaaaaaaaaaaaaaa' },
  { type: 'Replace', pattern: { Regex: '' }, content: 'xy' },
  { type: 'Sequence', normalizers: Array.from({ length: 12 }, () => ({ type: 'Replace', pattern: { String: 'a' }, content: 'aaaa' })) },
  { type: 'Split', pattern: { Regex: '(a+)+$' }, behavior: 'Isolated', invert: false },
  { type: 'FixedLength', length: 1 },
  { Regex: '(.*)*(.*)*(.*)*x' },
  { String: 'a' },
  { type: 'BPEDecoder', suffix: '' },
  { type: 'Metaspace', replacement: 'xx' },
];

export interface Outcome {
  readonly loaded: number;
  readonly refused: number;
  /** The longest that one took, in milliseconds. */
  readonly slowest: number;
}

/** A place in a JSON value, found by a walk that goes down at random: large lists are as likely as small ones. */
function somewhere(root: object, random: () => number): { readonly inner: object; readonly key: string } {
  let inner = root;
  for (;;) {
    const keys = Object.keys(inner);
    if (keys.length === 0) return { inner, key: 'x' };
    const key = keys[Math.floor(random() * keys.length)];
    const next: unknown = Reflect.get(inner, key);
    if (typeof next !== 'object' || next === null || random() < 0.3) return { inner, key };
    inner = next;
  }
}

function damage(root: object, random: () => number): void {
  const { inner, key } = somewhere(root, random);
  const pick = random();
  if (pick < 0.15) Array.isArray(inner) ? inner.splice(Number(key) || 0, 1) : Reflect.deleteProperty(inner, key);
  else if (pick < 0.25) {
    const other = somewhere(root, random);
    Reflect.set(inner, key, structuredClone(Reflect.get(other.inner, other.key)));
  } else Reflect.set(inner, key, structuredClone(odd[Math.floor(random() * odd.length)]));
}

/** Damages files `runs` times. Throws whatever isn't a TenonError. */
export async function fuzzTokenizers(runs: number, random: () => number): Promise<Outcome> {
  let loaded = 0;
  let refused = 0;
  let slowest = 0;
  for (let run = 0; run < runs; run++) {
    const root = structuredClone({ json: files[run % files.length], config });
    for (let n = 1 + Math.floor(random() * 3); n > 0; n--) damage(root, random);
    const start = performance.now();
    try {
      const tokenizer = Tokenizer.fromJson(root.json, root.config, { timeLimit: 300 });
      for (const text of texts) {
        const ids = tokenizer.encode(text, { addSpecialTokens: true });
        tokenizer.decode(ids);
        for (const id of ids.subarray(0, 50)) tokenizer.bytesOf(id);
      }
      loaded++;
    } catch (error) {
      if (!(error instanceof TenonError)) throw new Error(`run ${run}: ${JSON.stringify(root).slice(0, 3000)}`, { cause: error });
      refused++;
    }
    slowest = Math.max(slowest, performance.now() - start);
    await turn();
  }
  return { loaded, refused, slowest };
}

const pieces = [
  '{% for i in range(1000000) %}',
  '{% endfor %}',
  '{{',
  '}}',
  '{%',
  '%}',
  '{% if true %}',
  '{% endif %}',
  '{{ messages }}',
  '{% set x = x ~ x %}',
  "{{ 'a' * 3 }}",
  '{% generation %}',
  '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}',
  "{% include '/etc/passwd' %}",
  '{{ messages[0].content.split("") }}',
  '{{ [].x.y }}',
  '{{ 1 // 0 }}',
  '{{ "x" | indent(1000000000) }}',
  '{% import "x" %}',
  "{{ raise_exception('no') }}",
  '|',
  '(',
  ')',
  '[0]',
  '.content',
  "'",
  '"',
  '{#',
];

/** Damages chat templates `runs` times. Throws whatever isn't a TenonError. */
export async function fuzzTemplates(tokenizer: Tokenizer, runs: number, random: () => number): Promise<Outcome> {
  const sources = Object.values(templates);
  const messages = [
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: 'Hello.' },
  ];
  let loaded = 0;
  let refused = 0;
  let slowest = 0;
  for (let run = 0; run < runs; run++) {
    let template = sources[run % sources.length];
    for (let n = 1 + Math.floor(random() * 4); n > 0; n--) {
      const at = Math.floor(random() * template.length);
      const cut = random() < 0.5 ? Math.floor(random() * 12) : 0;
      template = template.slice(0, at) + (random() < 0.7 ? pieces[Math.floor(random() * pieces.length)] : '') + template.slice(at + cut);
    }
    const start = performance.now();
    try {
      applyChatTemplate(tokenizer, messages, { template, timeLimit: 300 });
      loaded++;
    } catch (error) {
      if (!(error instanceof TenonError)) throw new Error(`run ${run}: ${template}`, { cause: error });
      refused++;
    }
    slowest = Math.max(slowest, performance.now() - start);
    await turn();
  }
  return { loaded, refused, slowest };
}
