import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../../src/base/errors.js';
import { describeTokens, recogniseLayout, type TokenizeOptions, targetSpans, tokenizeRows } from '../../../src/llm/data/index.js';
import { bytes, targetsOf, textOf } from './support.js';

type Rows = Parameters<typeof tokenizeRows>[0];

async function tokens(rows: Rows, options?: TokenizeOptions, tokenizer = bytes) {
  const { examples, report } = await tokenizeRows(rows, tokenizer, options);
  const list = await Promise.all(Array.from({ length: examples.count }, (_, i) => examples.example(i)));
  return { list, texts: list.map((e) => textOf(e.ids)), targets: list.map(targetsOf), report, group: examples.group };
}
const withoutTemplate = { ...bytes, chatTemplate: null };
const u = (content: string) => ({ role: 'user', content });
const a = (content: string) => ({ role: 'assistant', content });

describe('layouts', () => {
  it('are recognised by the columns, in words', async () => {
    const layoutOf = (columns: string[]): string => recogniseLayout(columns, {}, 'test').layout;
    expect(layoutOf(['id', 'text'])).toBe('text');
    expect(layoutOf(['prompt', 'completion'])).toBe('prompt/completion');
    expect(layoutOf(['prompt', 'messages', 'text'])).toBe('messages');
    expect(layoutOf(['instruction', 'input', 'output', 'text'])).toBe('Alpaca');
    expect(layoutOf(['conversations'])).toBe('ShareGPT');
    expect(layoutOf(['prompt', 'chosen', 'rejected'])).toBe('prompt/chosen/rejected');
    const rows = Array.from({ length: 1200 }, (_, i) => ({ id: i, en: 'a dog', de: 'ein Hund' }));
    const { report } = await tokens(rows, { columns: { prompt: 'en', completion: 'de' } });
    expect(describeTokens(report)).toEqual([
      'I read 1,200 rows as prompt/completion. The rows have the columns "en" as prompt and "de" as completion. Not used: "id".',
      '1,200 examples, 18,000 tokens, of which 10,800 are predicted: the completion.',
    ]);
  });
  it('that are unknown are refused with the columns and a way out', () => {
    const of = (columns: string[], options = {}) => recogniseLayout(columns, options, 'test');
    expect(() => of(['question', 'answer'])).toThrow(
      `test: the columns "question", "answer" don't make any layout. Expected messages; or conversations; or chosen and rejected; or prompt and completion; or instruction and output; or text. Name them with a map, such as columns: { prompt: 'question', completion: 'answer' }.`,
    );
    expect(() => of(['a'], { columns: { prompt: 'b' } })).toThrow('there is no column "b" (for prompt). The rows have "a".');
    expect(() => of(['a'], { columns: { question: 'a' } })).toThrow('columns has "question". Expected parts of a layout');
    expect(() => of(['text'], { layout: 'messages' })).toThrow("don't make the layout messages");
    expect(() => of(['text'], { layout: 'chatml' })).toThrow(ConfigError);
    // A map leaves no part of itself unused.
    expect(() => of(['text', 'de'], { columns: { completion: 'de' } })).toThrow("don't make any layout");
  });
});

describe('tokens', () => {
  it('of text are all predicted', async () => {
    const { texts, targets, report } = await tokens([{ text: 'abc' }, { text: '' }, { text: 'd' }]);
    expect(texts).toEqual(['<1>abc<2>', '<1>d<2>']);
    expect(targets).toEqual(texts);
    expect(report.counts).toMatchObject({ rows: 3, examples: 2, tokens: 8, targets: 6, empty: 1 });
  });
  it('of a completion are predicted, or all where asked', async () => {
    const rows = [
      { prompt: 'hi ', completion: 'yo' },
      { prompt: 'x', completion: '' },
    ];
    const { texts, targets, report } = await tokens(rows);
    expect(texts).toEqual(['<1>hi yo<2>']);
    expect(targets).toEqual(['····yo<2>']);
    expect(report.counts).toMatchObject({ empty: 1, examples: 1, targets: 3 });
    expect((await tokens(rows, { lossOn: 'all' })).targets).toEqual(['·hi yo<2>']);
  });
  it('of a conversation are what the assistant says, its last answer, or all', async () => {
    const rows = [{ messages: [{ role: 'system', content: 's' }, u('q'), a('A'), u('r'), a('B')] }];
    const { texts, targets } = await tokens(rows);
    expect(texts).toEqual(['<1><4>s<3><5>q<3><6>A<3><5>r<3><6>B<3>']);
    expect(targets).toEqual(['········A<3>····B<3>']);
    expect((await tokens(rows, { lossOn: 'completion' })).targets).toEqual(['··············B<3>']);
    expect((await tokens(rows, { lossOn: 'all' })).targets).toEqual([`·${texts[0].slice(3)}`]);
  });
  it('of a prompt and a completion that are messages are those after the prompt', async () => {
    const rows = [{ prompt: [u('q'), a('A'), u('r')], completion: [a('B')] }];
    expect((await tokens(rows)).targets).toEqual(['···········B<3>']);
    expect((await tokens(rows, { lossOn: 'assistant' })).targets).toEqual(['·····A<3>····B<3>']);
  });
  it('of ShareGPT are those of a conversation', async () => {
    const rows = [
      {
        system: 's',
        conversations: [
          { from: 'human', value: 'q' },
          { from: 'gpt', value: 'A' },
        ],
      },
    ];
    expect((await tokens(rows)).texts).toEqual(['<1><4>s<3><5>q<3><6>A<3>']);
    await expect(tokens([{ conversations: [{ from: 'narrator', value: 'q' }] }])).rejects.toThrow(
      /row 1: Expected who speaks in message 1 of column "conversations": .*received "narrator"/,
    );
  });
  it('of Alpaca are a conversation where there is a template, else its own prompt', async () => {
    const rows = [
      { instruction: 'do', output: 'A' },
      { instruction: 'do', input: 'it', output: 'B' },
    ];
    expect((await tokens(rows)).texts).toEqual(['<1><5>do<3><6>A<3>', '<1><5>do\n\nit<3><6>B<3>']);
    const own = await tokens(rows, {}, withoutTemplate);
    expect(own.texts[1]).toBe(
      '<1>Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\ndo\n\n### Input:\nit\n\n### Response:B<2>',
    );
    expect(own.targets[0]).toMatch(/^·+A<2>$/);
    expect((await tokens(rows, { alpaca: 'prompt' })).texts).toEqual(own.texts);
  });
  it('of preferences are two examples with one prompt', async () => {
    const strings = await tokens([{ prompt: 'q ', chosen: 'good', rejected: 'bad' }]);
    expect(strings.targets).toEqual(['···good<2>', '···bad<2>']);
    expect(strings.group).toBe(2);
    const shared = await tokens([{ chosen: 'H: hi A: good day', rejected: 'H: hi A: go away' }]);
    expect(shared.texts).toEqual(['<1>H: hi A: good day<2>', '<1>H: hi A: go away<2>']);
    expect(shared.targets).toEqual(['········· good day<2>', '········· go away<2>']);
    const chats = [
      { prompt: [u('q')], chosen: [a('A')], rejected: [a('B')] },
      { prompt: 'q', chosen: [u('q'), a('A')], rejected: [u('q'), a('B')] },
      { prompt: 'q', chosen: [a('A')], rejected: [a('B')] },
    ];
    for (const row of chats) expect((await tokens([row])).targets).toEqual(['·····A<3>', '·····B<3>']);
  });
  it('beyond maxLength are cut, counted and told; of a pair both stay or none', async () => {
    const { texts, report } = await tokens(
      [
        { prompt: 'abc', completion: 'defg' },
        { prompt: 'abcdefg', completion: 'h' },
      ],
      { maxLength: 6 },
    );
    expect(texts).toEqual(['<1>abcde']);
    expect(report.counts).toMatchObject({ truncated: 2, cutTokens: 3 + 4, withoutTarget: 1, examples: 1, tokens: 6, targets: 2 });
    expect(describeTokens(report).slice(2)).toEqual([
      '2 examples of more than 6 tokens cut: 7 tokens lost. Raise maxLength to keep them.',
      '1 example left out, as nothing to predict was left of them.',
    ]);
    const pair = await tokens(
      [
        { prompt: 'abcd', chosen: 'x', rejected: 'y' },
        { prompt: 'a', chosen: 'xyz', rejected: 'y' },
      ],
      { maxLength: 5 },
    );
    expect(pair.texts).toEqual(['<1>axyz', '<1>ay<2>']);
    expect(pair.report.counts).toMatchObject({ withoutTarget: 2, truncated: 3 });
  });
  it('of bad rows are refused with the row and what was wanted, or passed over', async () => {
    const rows = [{ prompt: 'a', completion: 'b' }, { prompt: 'a', completion: 7 }, null, { prompt: 'a' }] as unknown as Rows;
    await expect(tokens(rows)).rejects.toThrow(
      `tokenizeRows: row 2: Expected a string in column "completion", received 7. Correct it, or pass over such rows with badRows: 'skip'.`,
    );
    const { report } = await tokens(rows, { badRows: 'skip' });
    expect(report.counts).toMatchObject({ examples: 1, skipped: 3 });
    expect(describeTokens(report)).toContain('3 bad rows passed over.');
    // The first good row says what the layout is.
    expect((await tokens([null, { text: 'a' }] as unknown as Rows, { badRows: 'skip' })).texts).toEqual(['<1>a<2>']);
    for (const [messages, message] of [
      ['text', /Expected a list of messages in column "messages", received "text"/],
      [[7], /Expected message 1 in column "messages" to be \{ role, content \}, received 7/],
      [[u('q'), { role: 'assistant', content: 7 }], /Expected text in message 2 of column "messages", received 7/],
      [[{ content: 'q' }], /received neither/],
    ] as const)
      await expect(tokens([{ messages }])).rejects.toThrow(message);
  });
  it('of a conversation that the template refuses are a bad row', async () => {
    const strict = {
      ...bytes,
      renderConversation: (): never => {
        throw new Error('roles must alternate');
      },
    };
    const rows = [{ messages: [u('q'), u('r')] }];
    await expect(tokens(rows, {}, strict)).rejects.toThrow(
      /row 1: Expected a conversation that the chat template takes, .*\(roles must alternate\)/,
    );
    expect((await tokens(rows, { badRows: 'skip' }, strict)).report.counts.skipped).toBe(1);
  });
  it('are shown in runs of what is predicted and what is not', async () => {
    const { list } = await tokens([{ prompt: 'ab', completion: 'cd' }]);
    expect(targetSpans(list[0])).toEqual([
      { start: 0, end: 3, isTarget: false },
      { start: 3, end: 6, isTarget: true },
    ]);
  });
  it('of conversations need a chat template', async () => {
    await expect(tokens([{ messages: [u('q')] }], {}, withoutTemplate)).rejects.toThrow(
      'there are conversations (messages) in the rows, and the tokenizer has no chat template',
    );
  });
  it('wrong options are refused', async () => {
    await expect(tokens([{ text: 'a' }], { maxLength: 1 })).rejects.toThrow('maxLength 1. Expected a whole number ≥ 2');
    await expect(tokens([{ text: 'a' }], { lossOn: 'prompt' as 'all' })).rejects.toThrow(
      `lossOn is "prompt". Expected 'completion' or 'assistant' or 'all'`,
    );
    await expect(tokens(7 as unknown as Rows)).rejects.toThrow('expected rows that can be iterated, received a number');
  });
});
