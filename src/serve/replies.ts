/** @file The forms of answers: whole ones and the parts of a stream, for chats and for completions. */
import { randomUUID } from 'node:crypto';
import type { TextPiece } from '../llm/text-engine.js';

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

export const usageOf = (prompt: number, completion: number): Usage => ({
  prompt_tokens: prompt,
  completion_tokens: completion,
  total_tokens: prompt + completion,
});

type Finish = TextPiece['finish'];

/** What differs between the two endpoints. */
export interface ReplyForm {
  readonly idPrefix: string;
  readonly object: string;
  readonly partObject: string;
  choice(index: number, text: string, finish: Finish): object;
  /** Choices of the parts of a stream for one piece; `isFirst`: nothing of this choice was sent yet. */
  parts(index: number, piece: TextPiece, isFirst: boolean): readonly object[];
}

const delta = (index: number, content: object, finish: Finish): object => ({
  index,
  delta: content,
  logprobs: null,
  finish_reason: finish,
});

export const chatForm: ReplyForm = {
  idPrefix: 'chatcmpl',
  object: 'chat.completion',
  partObject: 'chat.completion.chunk',
  choice: (index, text, finish) => ({
    index,
    message: { role: 'assistant', content: text, refusal: null },
    logprobs: null,
    finish_reason: finish,
  }),
  parts: (index, { text, finish }, isFirst) => [
    ...(isFirst ? [delta(index, { role: 'assistant', content: '', refusal: null }, null)] : []),
    ...(text === '' ? [] : [delta(index, { content: text }, null)]),
    ...(finish === null ? [] : [delta(index, {}, finish)]),
  ],
};

export const completionForm: ReplyForm = {
  idPrefix: 'cmpl',
  object: 'text_completion',
  partObject: 'text_completion',
  choice: (index, text, finish) => ({ index, text, logprobs: null, finish_reason: finish }),
  parts: (index, { text, finish }) => (text === '' && finish === null ? [] : [completionForm.choice(index, text, finish)]),
};

/** The answers to one request: they share id, time and model. */
export class Reply {
  readonly #form: ReplyForm;
  readonly #id: string;
  readonly #created = Math.floor(Date.now() / 1000);
  readonly #model: string;
  readonly #begun = new Set<number>();

  constructor(form: ReplyForm, model: string) {
    this.#form = form;
    this.#id = `${form.idPrefix}-${randomUUID().replaceAll('-', '')}`;
    this.#model = model;
  }
  whole(texts: readonly string[], finishes: readonly Finish[], usage: Usage): object {
    const choices = texts.map((text, i) => this.#form.choice(i, text, finishes[i]));
    return { ...this.#head(this.#form.object), choices, usage };
  }
  /** The events of a piece; '' when it has nothing to say. */
  events(choice: number, piece: TextPiece, hasUsage: boolean): string {
    const isFirst = !this.#begun.has(choice);
    const parts = this.#form.parts(choice, piece, isFirst);
    if (parts.length > 0) this.#begun.add(choice);
    const more = hasUsage ? { usage: null } : {};
    return parts.map((part) => event({ ...this.#head(this.#form.partObject), choices: [part], ...more })).join('');
  }
  usageEvent(usage: Usage): string {
    return event({ ...this.#head(this.#form.partObject), choices: [], usage });
  }
  #head(object: string): object {
    return { id: this.#id, object, created: this.#created, model: this.#model };
  }
}

/** One server-sent event. */
export const event = (data: unknown): string => `data: ${JSON.stringify(data)}\n\n`;

/** What ends a stream that came to its end. */
export const lastEvent = 'data: [DONE]\n\n';
