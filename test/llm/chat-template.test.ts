import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { concatBytes } from '../../src/base/bytes.js';
import { ConfigError, FormatError } from '../../src/base/errors.js';
import {
  applyChatTemplate,
  type ChatMessage,
  chatml,
  type RenderConversationOptions,
  renderConversation,
  turnEndId,
} from '../../src/llm/chat-template.js';
import { Tokenizer } from '../../src/llm/tokenizer.js';
import { changed, smallTokenizer } from './support.js';

interface Golden {
  readonly now: string;
  readonly templates: Readonly<Record<string, string>>;
  readonly conversations: Readonly<Record<string, ChatMessage[]>>;
  readonly cases: readonly {
    readonly template: string;
    readonly conversation: string;
    readonly addGenerationPrompt: boolean;
    readonly tools: object[] | null;
    readonly variables: Readonly<Record<string, unknown>>;
    readonly text?: string;
    readonly said: readonly string[];
    readonly refusal?: string;
  }[];
}
const golden = JSON.parse(readFileSync(new URL('../golden/chat_template.json', import.meta.url), 'utf8')) as Golden;
const { templates, conversations } = golden;
const now = new Date(golden.now);

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await smallTokenizer({ specialTokens: ['<s>', '</s>', '<|im_start|>', '<|im_end|>'], eos: '</s>' });
});

/** What the assistant says of a conversation, stretch by stretch. */
function saidIn(messages: readonly ChatMessage[], { answers, ...options }: RenderConversationOptions): string[] {
  const { text, ids, assistant } = renderConversation(tokenizer, messages, { ...options, answers });
  expect(text).toBe(applyChatTemplate(tokenizer, messages, options));
  expect([...ids]).toEqual([...tokenizer.encode(text)]);
  expect(assistant).toHaveLength(ids.length);
  const stretches: number[][] = [];
  for (const [k, id] of ids.entries()) {
    if (assistant[k] === 0) continue;
    if (k === 0 || assistant[k - 1] === 0) stretches.push([]);
    stretches[stretches.length - 1].push(id);
  }
  return stretches.map((s) => tokenizer.decode(s, { skipSpecialTokens: false }));
}

describe.each(Object.keys(templates))('%s: as Jinja writes it', (name) => {
  it.each(golden.cases.filter((c) => c.template === name))('$conversation, prompt $addGenerationPrompt', (c) => {
    const { addGenerationPrompt, tools, variables } = c;
    const write = (): string =>
      applyChatTemplate(tokenizer, conversations[c.conversation], {
        template: templates[name],
        addGenerationPrompt,
        tools,
        variables,
        now,
      });
    if (c.text !== undefined) expect(write()).toBe(c.text);
    else {
      expect(write).toThrow(ConfigError);
      expect(write).toThrow(`chat template: it refuses these messages: ${c.refusal}`);
    }
  });
});

describe('what the assistant says', () => {
  it.each(golden.cases.filter((c) => c.template.startsWith('marked') && c.text !== undefined && !c.addGenerationPrompt))(
    'is in the generation blocks of $template ($conversation)',
    ({ template, conversation, said }) => {
      expect(saidIn(conversations[conversation], { template: templates[template], now })).toEqual(said.filter((text) => text !== ''));
    },
  );

  it.each(['chatml', 'zephyr', 'qwen2', 'llama3'])('%s: the answers and the token that ends each', (name) => {
    const end = { chatml: '<|im_end|>', zephyr: '</s>', qwen2: '<|im_end|>', llama3: '<|eot_id|>' }[name];
    const template = templates[name] ?? name;
    expect(saidIn(conversations.two, { template, now })).toEqual([
      expect.stringMatching(/^\n?Hello there\.(<\|im_end\|>|<\/s>|<\|eot_id\|>)$/),
    ]);
    const four = saidIn(conversations.four, { template, now });
    expect(four).toHaveLength(2);
    expect(four[0]).toContain('Hello there.');
    expect(four[1].endsWith(`See you.${end}`)).toBe(true);
    expect(saidIn(conversations.four, { template, now, answers: 'last' })).toEqual([four[1]]);
    expect(saidIn(conversations.one, { template, now })).toEqual([]);
  });

  it('a call of a tool is said, what the tool gives back is not', () => {
    expect(saidIn(conversations.tools, { template: templates.qwen2, tools: [{ name: 'add' }] })).toEqual([
      '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2.5}}\n</tool_call><|im_end|>',
      'It is 3.5.<|im_end|>',
    ]);
  });

  it('llama2: answers between instructions', () => {
    expect(saidIn(conversations.four, { template: templates.llama2 })).toEqual([' Hello there. </s>', ' See you. </s>']);
  });

  it('a template that writes earlier answers otherwise is refused; its last answer alone is not', () => {
    const template = templates.thinking;
    expect(() => renderConversation(tokenizer, conversations.four, { template })).toThrow(FormatError);
    expect(() => renderConversation(tokenizer, conversations.four, { template })).toThrow(
      'chat template: it writes message 1 (of the assistant) differently when more messages follow',
    );
    expect(saidIn(conversations.four, { template, answers: 'last' })).toEqual(['<think>\n\n</think>\n\nSee you.<|im_end|>']);
    expect(saidIn(conversations.two, { template })).toEqual(['<think>\n\n</think>\n\nHello there.<|im_end|>']);
  });

  it('a prompt that an answer does not begin with ends where they part', () => {
    const template =
      "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '</s>' }}{% endfor %}{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}";
    expect(saidIn(conversations.two, { template })).toEqual(['Hello there.</s>']);
  });

  it('in a vocabulary of pieces, and with a normalizer that changes the text', () => {
    const tokens = JSON.parse(readFileSync(new URL('../golden/tokenizer.json', import.meta.url), 'utf8')) as {
      models: object[];
      entries: Record<string, { json: object; model: number }>;
    };
    const { json, model } = tokens.entries.llama2;
    const pieces = Tokenizer.fromJson({ ...json, model: tokens.models[model] }, { bos_token: '<s>', eos_token: '</s>' });
    const said = (of: Tokenizer, template: string, messages = conversations.four): string => {
      const { ids, assistant } = renderConversation(of, messages, { template });
      const bytes = [...ids].flatMap((id, k) => (assistant[k] === 1 ? [of.bytesOf(id)] : []));
      return new TextDecoder().decode(concatBytes(bytes));
    };
    // The pieces' own space before a stretch of text is at its beginning.
    expect(said(pieces, templates.llama2)).toBe(' Hello there. </s> See you. </s>');
    expect(
      said(
        pieces,
        '{% for m in messages %}<s>{% if m.role == "assistant" %}{% generation %}{{ m.content }}</s>{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}',
      ),
    ).toBe('   Hello there. </s> See you.</s>');
    const lower = changed(tokenizer, (files) => Object.assign(files, { normalizer: { type: 'Lowercase' } }));
    expect(said(lower, 'chatml')).toBe('  hello there. <|im_end|>see you.<|im_end|>');
    // Unknown stretches too.
    const some = changed(tokenizer, (files) => {
      Object.assign(files, { pre_tokenizer: null, decoder: null, normalizer: null });
      const vocab = { '<s>': 0, '</s>': 1, '<|im_start|>': 2, '<|im_end|>': 3, '?': 4, H: 5, i: 6, '\n': 7 };
      Object.assign(files.model, { vocab, merges: [], unk_token: '?', fuse_unk: true });
    });
    const { ids, assistant } = renderConversation(some, conversations.two, { template: 'chatml' });
    // <|im_start|>user⏎ Hi<|im_end|>⏎ <|im_start|>assistant⏎ Hello there.<|im_end|>⏎
    expect([...ids]).toEqual([2, 4, 7, 5, 6, 3, 7, 2, 4, 6, 4, 7, 5, 4, 3, 7]);
    expect([...assistant]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0]);
  });

  it('an answer may come first', () => {
    const messages = [{ role: 'assistant', content: 'Hello there.' }, ...conversations.four];
    for (const template of [templates.zephyr, 'chatml']) expect(saidIn(messages, { template })).toHaveLength(3);
  });

  it('no mark is left in the text, whatever it holds', () => {
    const content = '\u{f0000}\u{f0001} and \ud800';
    const { text, ids, assistant } = renderConversation(
      tokenizer,
      [
        { role: 'user', content },
        { role: 'assistant', content },
      ],
      {
        template: 'chatml',
      },
    );
    expect(text.split('\u{f0000}\u{f0001} and \ufffd')).toHaveLength(3);
    expect(tokenizer.decode(ids.filter((_, k) => assistant[k] === 1))).toBe('\u{f0000}\u{f0001} and \ufffd');
  });

  it('generation blocks that are not closed are refused', () => {
    for (const template of [
      '{% endgeneration %}',
      '{% generation %}',
      '{% generation %}{% generation %}{% endgeneration %}{% endgeneration %}',
    ])
      expect(() => renderConversation(tokenizer, conversations.two, { template })).toThrow('its generation blocks are not in order');
  });
});

describe('options', () => {
  const { two } = conversations;
  it('continueFinalMessage ends within the last message', () => {
    expect(applyChatTemplate(tokenizer, two, { template: 'chatml', continueFinalMessage: true })).toBe(
      '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello there.',
    );
    const spaced = [...two.slice(0, 1), { role: 'assistant', content: ' Hello. ' }];
    expect(applyChatTemplate(tokenizer, spaced, { template: 'chatml', continueFinalMessage: true })).toMatch(/assistant\n Hello\. $/);
    expect(applyChatTemplate(tokenizer, spaced, { template: templates.llama3, continueFinalMessage: true })).toMatch(/\n\nHello\.$/);
    expect(() => applyChatTemplate(tokenizer, two, { template: 'chatml', continueFinalMessage: true, addGenerationPrompt: true })).toThrow(
      ConfigError,
    );
    expect(() => applyChatTemplate(tokenizer, conversations.one, { template: 'x', continueFinalMessage: true })).toThrow(FormatError);
  });

  it("the tokenizer's own template, by name, and none", async () => {
    expect(() => applyChatTemplate(tokenizer, two)).toThrow(
      "chat template: the tokenizer has none. Expected chat_template in tokenizer_config.json, or the option template. Use template: 'chatml'",
    );
    const own = await smallTokenizer({ chatTemplate: chatml });
    expect(own.chatTemplate).toBe(chatml);
    expect(applyChatTemplate(own, two)).toBe(applyChatTemplate(tokenizer, two, { template: 'chatml' }));
    const several = changed(own, (_, config) => {
      Object.assign(config, {
        chat_template: [
          { name: 'default', template: 'D' },
          { name: 'tool_use', template: 'T' },
          { name: 'rag', template: 'R' },
        ],
      });
    });
    expect(several.chatTemplate).toBe('D');
    expect(applyChatTemplate(several, two)).toBe('D');
    expect(applyChatTemplate(several, two, { tools: [] })).toBe('T');
    expect(applyChatTemplate(several, two, { template: 'rag' })).toBe('R');
  });

  it('wrong messages and options are refused', () => {
    const apply = (messages: unknown, options = {}): string =>
      applyChatTemplate(tokenizer, messages as ChatMessage[], { template: 'chatml', ...options });
    expect(() => apply([])).toThrow('chat template: expected a list of messages, received []. Give at least one.');
    expect(() => apply('Hi')).toThrow(ConfigError);
    expect(() => apply([{ content: 'Hi' }])).toThrow(
      'chat template: message 0 is malformed. Expected { role, content }, received {"content":"Hi"}.',
    );
    expect(() => apply(two, { addGenerationprompt: true })).toThrow('Write addGenerationPrompt.');
    const loop: Record<string, unknown> = { role: 'user' };
    loop.content = loop;
    expect(() => apply([loop])).toThrow('chat template: the messages cannot be written as JSON');
    expect(() => apply([{ role: 'user', content: 1n }])).toThrow(ConfigError);
  });

  it('faults of a template name it', () => {
    const apply = (template: string, isTrusted = false): string => applyChatTemplate(tokenizer, two, { template, isTrusted });
    for (const isTrusted of [false, true]) {
      expect(() => apply('{% if %}', isTrusted)).toThrow(FormatError);
      expect(() => apply('{{ messages[0] + 1 }', isTrusted)).toThrow(/^chat template: /);
      expect(() => apply("{{ raise_exception('no') }}", isTrusted)).toThrow('chat template: it refuses these messages: no.');
      expect(apply('{{ messages[1].content }}', isTrusted)).toBe('Hello there.');
    }
  });

  it('turnEndId is the token that ends an answer', () => {
    expect(turnEndId(tokenizer, { template: 'chatml' })).toBe(tokenizer.idOf('<|im_end|>'));
    expect(turnEndId(tokenizer, { template: templates.zephyr })).toBe(tokenizer.eosId);
    expect(turnEndId(tokenizer, { template: '{% for m in messages %}{{ m.content }} {% endfor %}' })).toBe(null);
  });
});
