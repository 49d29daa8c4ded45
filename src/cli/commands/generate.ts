/** @file `tenon generate`: goes on from prompts. */
import { dirname } from 'node:path';
import { LocalEngine, type OpenEngineOptions, openModel } from '../../llm/open-model-node.js';
import { requireFolder } from '../datasets.js';
import { useDevice } from '../device.js';
import { Interrupted } from '../failure.js';
import { onInterruption } from '../interrupt.js';
import { type GenerateCommandOptions, type LoadOptions, openOptions, type SamplingCommandOptions } from '../language-commands.js';
import { said, say, writeJson } from '../output.js';
import { workLine } from '../work-line.js';

/** What a command asks of its engine beside its options of loading. */
export interface CommandEngineOptions extends Pick<OpenEngineOptions, 'slots' | 'chatTemplate' | 'replacesTemplate'> {
  /** Ends loading. */
  readonly signal: AbortSignal;
  /** What clients call it; default: the name. */
  readonly modelId?: string;
}

/** The engine of a command's model, with a line while weights are read. */
export async function openCommandEngine(name: string, options: LoadOptions, how: CommandEngineOptions): Promise<LocalEngine> {
  const { signal, modelId = name, ...rest } = how;
  if (options.device !== undefined) useDevice('--device', options.device);
  const line = workLine();
  try {
    const loaded = await openModel(name, {
      ...openOptions(options),
      signal,
      onProgress: (share) => line.show('reading weights', share),
    });
    return new LocalEngine(modelId, loaded, { ...rest, contextLength: options.context });
  } finally {
    line.clear();
  }
}

/** The sampling of a command: its flags over what the model advises. */
export const requestOf = (engine: LocalEngine, options: SamplingCommandOptions, signal: AbortSignal) => ({
  maxTokens: options.maxTokens,
  temperature: options.temperature ?? engine.sampling.temperature ?? 1,
  topK: options.topK ?? engine.sampling.topK ?? 0,
  topP: options.topP ?? engine.sampling.topP ?? 1,
  minP: options.minP ?? engine.sampling.minP ?? 0,
  repetitionPenalty: options.repetitionPenalty ?? engine.sampling.repetitionPenalty ?? 1,
  stop: options.stop ?? [],
  ...(options.seed === undefined ? {} : { seed: options.seed }),
  signal,
});

/** Runs the command. Throws UsageError, Interrupted, and what the library throws. */
export async function generate(name: string, options: GenerateCommandOptions): Promise<void> {
  if (options.json !== undefined) await requireFolder('--json', dirname(options.json));
  const { prompt: prompts } = options;
  const interruption = onInterruption('stopping.');
  const { signal } = interruption;
  try {
    const engine = await openCommandEngine(name, options, { slots: prompts.length, signal });
    const answers = await Promise.all(
      prompts.map(async (prompt, i) => {
        const began = performance.now();
        const answer = { prompt, text: '', tokens: 0, finish: 'length' as 'stop' | 'length', seconds: 0 };
        // One prompt is shown as it comes; several when they are done.
        const isShown = prompts.length === 1;
        if (isShown) process.stdout.write(prompt);
        const request = requestOf(engine, options, signal);
        const seeded = request.seed === undefined ? request : { ...request, seed: request.seed + i };
        for await (const piece of engine.generate(engine.encode(prompt), seeded)) {
          if (isShown) process.stdout.write(said(piece.text));
          answer.text += piece.text;
          answer.tokens += piece.tokens;
          if (piece.finish) answer.finish = piece.finish;
        }
        answer.seconds = (performance.now() - began) / 1000;
        return answer;
      }),
    );
    if (answers.length === 1) say();
    else for (const { prompt, text } of answers) say(`${prompt}${said(text)}\n`);
    if (options.json !== undefined) await writeJson(options.json, { model: name, answers });
  } catch (error) {
    if (!signal.aborted) throw error;
    say();
    throw new Interrupted();
  } finally {
    interruption.release();
  }
}
