/** @file What a request asks of the engine, and doing it: every choice of every prompt takes a place of its own at the gate. */
import { ConfigError, InternalError } from '../base/errors.js';
import type { TextEngine, TextPiece, TextRequest } from '../llm/text-engine.js';
import { toPromptError } from './errors.js';
import type { Release } from './gate.js';

export interface Work {
  readonly prompts: readonly Int32Array[];
  /** Of each prompt; choice i is of prompt ⌊i / choices⌋. */
  readonly choices: number;
  /** Of prompt i; each has its own room for an answer. */
  readonly requests: readonly Omit<TextRequest, 'signal'>[];
  /** The field that the prompts came from: what the engine refuses is in it, for all others were checked. */
  readonly param: string;
}

/** How many choices a request has over all prompts. */
export const choicesOf = (work: Work): number => work.prompts.length * work.choices;

const SEEDS = 2 ** 31;

/**
 * Runs all choices. `take` may hold a choice back, until a slow reader has room. When one fails the others are stopped; when all have
 * ended, the first failure is thrown.
 */
export async function runWork(
  engine: TextEngine,
  work: Work,
  places: readonly Promise<Release>[],
  stop: AbortController,
  take: (choice: number, piece: TextPiece) => void | Promise<void>,
): Promise<void> {
  const { signal } = stop;
  const runChoice = async (choice: number): Promise<void> => {
    const release = await places[choice];
    try {
      signal.throwIfAborted();
      const prompt = Math.floor(choice / work.choices);
      const request = work.requests[prompt];
      const seed = request.seed === undefined ? undefined : (request.seed + (choice % work.choices)) % SEEDS;
      for await (const piece of engine.generate(work.prompts[prompt], { ...request, seed, signal })) {
        signal.throwIfAborted();
        await take(choice, piece);
        if (piece.finish !== null) return;
      }
      signal.throwIfAborted();
      throw new InternalError(`${engine.modelId}: generate ended without a last piece.`);
    } finally {
      release();
    }
  };
  await Promise.all(
    places.map((_, choice) =>
      runChoice(choice).catch((error: unknown) => {
        if (!signal.aborted) stop.abort(error instanceof ConfigError ? toPromptError(error, work.param) : error);
      }),
    ),
  );
  signal.throwIfAborted();
}
