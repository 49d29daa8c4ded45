/** @file TextEngine: what a server or a chat asks of a loaded model. Text in, pieces of text out, several requests at once. */

/** One message of a conversation, as chat templates take it. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
  readonly name?: string;
}

/** How tokens are drawn. */
export interface Sampling {
  /** 0: always the most likely token. */
  readonly temperature: number;
  /** The fewest tokens, at least one, whose probabilities sum to this; 1: all, 0: the most likely one. */
  readonly topP: number;
  /** Only so many of the most likely tokens; 0: all. */
  readonly topK: number;
  /** Only tokens at least this fraction as likely as the most likely one; 0: all. */
  readonly minP: number;
  /** Divides (multiplies, where negative) the logits of tokens that were there before; 1: off. */
  readonly repetitionPenalty: number;
}

export interface TextRequest extends Sampling {
  /** At least 1. */
  readonly maxTokens: number;
  /** The text ends before the first of these; they are not part of it. */
  readonly stop: readonly string[];
  /** In [0, 2^31); none: another text every time. */
  readonly seed?: number;
  /** Ends the work: the iterator throws the signal's reason, or ends. */
  readonly signal?: AbortSignal;
}

/** Some more text. */
export interface TextPiece {
  /** Whole characters; empty while a stop string or a character may be half there. */
  readonly text: string;
  /** Tokens that were made for this piece. */
  readonly tokens: number;
  /** In the last piece: 'stop' for the end of the text or a stop string, 'length' when no more tokens were allowed or fit. */
  readonly finish: null | 'stop' | 'length';
}

export interface TextEngine {
  /** What clients call the model. */
  readonly modelId: string;
  /** Tokens of prompt and answer together. */
  readonly contextLength: number;
  /** Calls of generate that wait for a place in a batch. */
  readonly queued: number;
  /** Calls of generate that are being worked on. */
  readonly active: number;
  /** False: renderChat throws. */
  readonly hasChatTemplate?: boolean;
  /** Texts that end an answer in a conversation, beside those of a request. */
  readonly chatStop?: readonly string[];
  /** What the model's makers advise (generation_config.json). */
  readonly sampling?: Partial<Sampling>;

  countTokens(text: string): number;
  /** With the tokens that begin a text for this model. */
  encode(text: string): Int32Array;
  /** The conversation, and the beginning of the assistant's answer. Throws ConfigError when the template refuses the messages. */
  renderChat(messages: readonly ChatMessage[]): Int32Array;
  /**
   * Goes on with `prompt`. Work is done as the pieces are taken, and ends when the iterator is returned from or the signal is aborted.
   * Throws ConfigError for a prompt or an option that can't be.
   */
  generate(prompt: Int32Array, request: TextRequest): AsyncIterable<TextPiece>;
}
