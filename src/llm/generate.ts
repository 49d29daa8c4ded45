/**
 * @file TextGenerator: text from a language model, token by token. Keys and values of what was read stay in a cache of `slots` sequences; prompts
 * are read in chunks of a few fixed lengths, and all slots take their next token in one Program, so that requests come and go between steps
 * (continuous batching, Yu et al. 2022). An answer doesn't depend on what is generated beside it.
 */
import { ConfigError } from '../base/errors.js';
import { compileStep, type Step, type Tensor, Variable, zeros } from '../tensor/index.js';
import type { BlockCache, CausalLM, Sequence } from '../zoo/index.js';
import { resolveSampling, type Sampling, type SamplingOptions, sampleToken } from './sample.js';
import { TextStream, type TokenBytes } from './stream-text.js';

/** What a TextGenerator needs of a tokenizer. */
export interface GeneratorTokenizer extends TokenBytes {
  readonly eosId: number | null;
  encode(text: string, options?: { addSpecialTokens?: boolean }): Int32Array;
}

export interface GeneratorOptions {
  /** Sequences that are generated side by side; more wait. Default 1. */
  slots?: number;
  /** Tokens of prompt and answer together. Default: the model's, at most 2048. */
  context?: number;
  /** Tokens that end an answer. Default: the tokenizer's end of sequence. */
  stopTokens?: readonly number[];
}
export interface GenerateOptions extends SamplingOptions {
  /** Default 128. */
  maxTokens?: number;
  /** Texts that end the answer; they are not part of it. */
  stop?: string | readonly string[];
  /** Ends the generation: the iterator throws the signal's reason. */
  signal?: AbortSignal;
}
/** A piece of an answer: text that is certain, the tokens since the last piece, and why it ended, in the last one. */
export interface GeneratedPart {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly finish: null | 'stop' | 'length';
}

/** Lengths of the Programs that read prompts. */
const chunkLengths = [8, 32, 128, 512];

/** One answer under way. */
interface Request {
  readonly prompt: Int32Array;
  readonly maxTokens: number;
  readonly sampling: Sampling;
  readonly text: TextStream;
  readonly signal: AbortSignal | undefined;
  readonly answer: number[];
  /** Tokens whose keys and values are in the cache. */
  length: number;
  readonly parts: GeneratedPart[];
  ended: boolean;
  error: unknown;
  wake: (() => void) | null;
}

export class TextGenerator {
  readonly context: number;
  readonly slots: number;
  readonly #model: CausalLM;
  readonly #tokenizer: GeneratorTokenizer;
  readonly #stopTokens: ReadonlySet<number>;
  readonly #blocks: readonly BlockCache[];
  readonly #running: (Request | null)[];
  readonly #waiting: Request[] = [];
  readonly #readers = new Map<number, Promise<Step>>();
  #batch: Promise<Step> | null = null;
  #isPumping = false;

  /** Throws ConfigError for options that the model can't have. */
  constructor(model: CausalLM, tokenizer: GeneratorTokenizer, options: GeneratorOptions = {}) {
    const { maxPositions, keyValueHeads, headDim, layers } = model.config;
    this.#model = model;
    this.#tokenizer = tokenizer;
    this.slots = options.slots ?? 1;
    this.context = options.context ?? Math.min(maxPositions, 2048);
    if (!Number.isInteger(this.slots) || this.slots < 1)
      throw new ConfigError(`generate: slots is ${this.slots}. Expected a whole number ≥ 1.`);
    if (!Number.isInteger(this.context) || this.context < 2 || this.context > maxPositions)
      throw new ConfigError(
        `generate: context is ${this.context}. Expected 2 to ${maxPositions} tokens, the positions that the model knows.`,
      );
    const { eosId } = tokenizer;
    this.#stopTokens = new Set(options.stopTokens ?? (eosId === null ? [] : [eosId]));
    const cache = (name: string): Variable =>
      new Variable(zeros([keyValueHeads * this.slots * this.context, headDim], model.computeDtype), { name, trainable: false });
    this.#blocks = Array.from({ length: layers }, (_, i) => ({ keys: cache(`cache/${i}/keys`), values: cache(`cache/${i}/values`) }));
    this.#running = new Array<Request | null>(this.slots).fill(null);
  }

  /** Requests in slots, and those that wait for one. */
  get active(): number {
    return this.#running.filter((r) => r !== null).length;
  }
  get queued(): number {
    return this.#waiting.length;
  }
  /** Bytes of the cache. */
  get cacheBytes(): number {
    return this.#blocks.reduce((n, b) => n + 2 * b.keys.size * (b.keys.dtype === 'f32' ? 4 : 2), 0);
  }

  /**
   * Goes on from a prompt: a text (encoded with the tokenizer's special tokens) or token ids. Throws ConfigError for a prompt that is empty or
   * leaves no room in the context; the iterator throws the signal's reason when it is aborted. Leaving the loop early ends the work.
   * @example
   * ```ts no-run
   * const { model, tokenizer } = await fromPretrained('models/SmolLM2-135M');
   * const generator = new TextGenerator(model, tokenizer);
   * for await (const { text } of generator.stream('Once upon a time', { maxTokens: 64, temperature: 0 })) process.stdout.write(text);
   * ```
   */
  stream(prompt: string | ArrayLike<number>, options: GenerateOptions = {}): AsyncGenerator<GeneratedPart, void, void> {
    const ids = typeof prompt === 'string' ? this.#tokenizer.encode(prompt, { addSpecialTokens: true }) : Int32Array.from(prompt);
    return this.#parts(this.#request(ids, options));
  }
  /** The whole text. */
  async generate(prompt: string | ArrayLike<number>, options: GenerateOptions = {}): Promise<string> {
    let text = '';
    for await (const part of this.stream(prompt, options)) text += part.text;
    return text;
  }
  /** The texts for several prompts of any lengths, as many side by side as there are slots; each draws with a seed of its own. */
  async generateAll(prompts: readonly (string | ArrayLike<number>)[], options: GenerateOptions = {}): Promise<string[]> {
    const seed = options.seed ?? Math.floor(Math.random() * 2 ** 31);
    return Promise.all(prompts.map((p, i) => this.generate(p, { ...options, seed: seed + i })));
  }

  #request(prompt: Int32Array, options: GenerateOptions): Request {
    const { maxTokens = 128, stop = [], signal } = options;
    const { vocabSize } = this.#model.config;
    if (!Number.isInteger(maxTokens) || maxTokens < 1)
      throw new ConfigError(`generate: maxTokens is ${maxTokens}. Expected a whole number ≥ 1.`);
    if (prompt.length === 0) throw new ConfigError('generate: the prompt has no tokens. Expected at least one.');
    if (prompt.length >= this.context)
      throw new ConfigError(
        `generate: the prompt has ${prompt.length} tokens. Expected fewer than the context, ${this.context}. Shorten it or give a larger context.`,
      );
    const bad = prompt.find((id) => id < 0 || id >= vocabSize);
    if (bad !== undefined) throw new ConfigError(`generate: the prompt has token ${bad}. Expected 0 to ${vocabSize - 1}.`);
    return {
      prompt,
      maxTokens,
      sampling: resolveSampling(options),
      text: new TextStream(this.#tokenizer, typeof stop === 'string' ? [stop] : stop),
      signal,
      answer: [],
      length: 0,
      parts: [],
      ended: false,
      error: null,
      wake: null,
    };
  }

  async *#parts(request: Request): AsyncGenerator<GeneratedPart, void, void> {
    const onAbort = (): void => this.#end(request, request.signal?.reason ?? new Error('aborted'));
    if (request.signal?.aborted) onAbort();
    else {
      request.signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(request);
      void this.#pump();
    }
    try {
      for (;;) {
        const part = request.parts.shift();
        if (part) {
          yield part;
          if (part.finish) return;
        } else if (request.ended) throw request.error;
        else
          await new Promise<void>((resolve) => {
            request.wake = resolve;
          });
      }
    } finally {
      request.signal?.removeEventListener('abort', onAbort);
      this.#end(request, null);
    }
  }

  /** Takes a request out of its slot, or of the queue. */
  #end(request: Request, error: unknown): void {
    if (!request.ended) {
      request.ended = true;
      request.error = error;
    }
    const at = this.#running.indexOf(request);
    if (at >= 0) this.#running[at] = null;
    const place = this.#waiting.indexOf(request);
    if (place >= 0) this.#waiting.splice(place, 1);
    request.wake?.();
    request.wake = null;
  }

  /** Runs while there is something to do: a chunk of a prompt, then a token for every slot that is through its own. */
  async #pump(): Promise<void> {
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      for (;;) {
        for (let slot = 0; slot < this.slots; slot++) this.#running[slot] ??= this.#waiting.shift() ?? null;
        const slots = this.#running.flatMap((request, slot) => (request ? [{ request, slot }] : []));
        if (slots.length === 0) break;
        const reading = slots.find(({ request }) => request.length < request.prompt.length);
        if (reading) await this.#read(reading.request, reading.slot);
        const speaking = this.#running.flatMap((request, slot) =>
          request && request.answer.length > 0 && !request.ended ? [{ request, slot }] : [],
        );
        if (speaking.length === 1) await this.#read(speaking[0].request, speaking[0].slot);
        else if (speaking.length > 1) await this.#speak(speaking);
      }
    } catch (error) {
      for (const request of [...this.#running, ...this.#waiting]) if (request) this.#end(request, error);
    } finally {
      this.#isPumping = false;
    }
  }

  /** Reads the next tokens of one sequence: a chunk of its prompt, or the answer's last token. */
  async #read(request: Request, slot: number): Promise<void> {
    const { prompt, answer, length } = request;
    const isPrompt = length < prompt.length;
    const tokens = isPrompt
      ? prompt.subarray(length, length + chunkLengths[chunkLengths.length - 1])
      : Int32Array.of(answer[answer.length - 1]);
    const n = tokens.length;
    const width = n === 1 ? 1 : (chunkLengths.find((l) => l >= n) ?? n);
    const base = slot * this.context;
    const place = (i: number): number => length + Math.min(i, n - 1);
    const row = (of: (i: number) => number): Int32Array => Int32Array.from({ length: width }, (_, i) => of(i));
    const step = await this.#reader(width);
    const [logits] = await step.run([
      row((i) => tokens[Math.min(i, n - 1)]),
      row(place),
      row((i) => (i < n ? base + place(i) : -1)),
      row(() => base),
      row((i) => (i < n ? base + place(i) + 1 : base)),
      Int32Array.of(n - 1),
    ]);
    if (request.ended) return;
    request.length += n;
    if (request.length >= prompt.length) this.#take(request, logits as Float32Array);
  }
  /** The next token of several sequences. */
  async #speak(speaking: readonly { request: Request; slot: number }[]): Promise<void> {
    const { slots, context } = this;
    const [ids, positions, rows, end] = [0, 0, -1, 0].map((fill) => new Int32Array(slots).fill(fill));
    for (const { request, slot } of speaking) {
      const { answer, length } = request;
      ids[slot] = answer[answer.length - 1];
      positions[slot] = length;
      rows[slot] = slot * context + length;
      end[slot] = length + 1;
    }
    this.#batch ??= this.#compile(slots, 1, true);
    const [logits] = await (await this.#batch).run([ids, positions, rows, new Int32Array(slots), end, new Int32Array(1)]);
    const { vocabSize } = this.#model.config;
    for (const { request, slot } of speaking) {
      if (request.ended) continue;
      request.length++;
      this.#take(request, (logits as Float32Array).subarray(slot * vocabSize, (slot + 1) * vocabSize));
    }
  }

  /** Draws a request's next token and hands out what is certain of its text. */
  #take(request: Request, logits: Float32Array): void {
    const { answer, prompt, text, maxTokens } = request;
    const seen = function* (): Generator<number, void, void> {
      yield* prompt;
      yield* answer;
    };
    const token = sampleToken(logits, request.sampling, seen(), answer.length);
    answer.push(token);
    let finish: GeneratedPart['finish'] = null;
    let piece = '';
    if (this.#stopTokens.has(token)) finish = 'stop';
    else {
      piece = text.push(token);
      if (text.isStopped) finish = 'stop';
      else if (answer.length >= maxTokens || prompt.length + answer.length >= this.context) finish = 'length';
    }
    if (finish) piece += text.end();
    request.parts.push({ text: piece, tokens: [token], finish });
    if (finish) this.#end(request, null);
    request.wake?.();
    request.wake = null;
  }

  #reader(width: number): Promise<Step> {
    let step = this.#readers.get(width);
    if (!step) {
      step = this.#compile(1, width, false);
      step.catch(() => this.#readers.delete(width));
      this.#readers.set(width, step);
    }
    return step;
  }
  /** ids, positions, rows, first, end [batch · steps] and the last token's place [1] → logits [batch, vocabulary] of that token. */
  #compile(batch: number, steps: number, isBySlot: boolean): Promise<Step> {
    const model = this.#model;
    const flat = { shape: [batch * steps], dtype: 'i32' as const };
    return compileStep(
      ([ids, positions, rows, first, end, last]: Tensor[]) => {
        const grid = (x: Tensor): Tensor => x.reshape([batch, steps]);
        const sequence: Sequence = {
          positions: grid(positions),
          first: grid(first),
          end: grid(end),
          cache: { blocks: this.#blocks, capacity: this.context, rows, isBySlot },
        };
        const hidden = model.hidden(grid(ids), sequence);
        const final = steps === 1 ? hidden.reshape([batch, -1]) : hidden.reshape([steps, -1]).take(last, 0, { mode: 'clip' });
        return { outputs: [model.logits(final)] };
      },
      [flat, flat, flat, flat, flat, { shape: [1], dtype: 'i32' }],
      { name: `${model.name}: ${steps === 1 ? 'next token' : `${steps} tokens of a prompt`}` },
    );
  }
}
