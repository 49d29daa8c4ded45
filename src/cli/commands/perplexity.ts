/** @file `tenon perplexity`: the mean loss of a model over documents, each with bos before and eos after, or over the answers in them. */
import { dirname } from 'node:path';
import { currentDevice } from '../../device/registry.js';
import { TokenBatches, tokenizeFiles } from '../../llm/data/index.js';
import { isConversation } from '../../llm/data/tokenize.js';
import { nextTokenObjective } from '../../llm/objective.js';
import { openModel } from '../../llm/open-model-node.js';
import { requireFolder } from '../datasets.js';
import { useDevice } from '../device.js';
import { Interrupted, UsageError } from '../failure.js';
import { onInterruption } from '../interrupt.js';
import { openOptions, type PerplexityCommandOptions } from '../language-commands.js';
import { say, thousands, writeJson } from '../output.js';
import { workLine } from '../work-line.js';

/** Runs the command. Throws UsageError, Interrupted, and what the library throws. */
export async function perplexity(name: string, options: PerplexityCommandOptions): Promise<void> {
  if (options.json !== undefined) await requireFolder('--json', dirname(options.json));
  if (options.device !== undefined) useDevice('--device', options.device);
  const interruption = onInterruption('stopping.');
  const { signal } = interruption;
  const line = workLine();
  try {
    const { model, tokenizer } = await openModel(name, {
      ...openOptions(options),
      signal,
      onProgress: (share) => line.show('reading weights', share),
    });
    const length = Math.min(options.context ?? 2048, model.config.maxPositions);
    const shards = await tokenizeFiles(options.data, tokenizer, {
      documents: 'lines',
      lossOn: options.lossOn,
      // As chat, serve and finetune do.
      chatTemplate: 'chatml',
      signal,
      ...(options.badRows === 'skip' ? { badRows: 'skip' as const } : {}),
    });
    if (shards.group > 1)
      throw new UsageError(
        `--data: ${options.data} holds pairs of answers (${shards.report.files[0].layout}), which have no perplexity of their own. Expected texts, prompts with completions, or conversations. Write the chosen answers as completions, or compare pairs with tenon finetune and validation: ${options.data}.`,
      );
    if (tokenizer.chatTemplate === null && shards.report.files.some(({ layout }) => isConversation(layout)))
      say('The tokenizer has no chat template: ChatML is used.');
    const batches = new TokenBatches(shards, {
      batchSize: options.batchSize,
      length,
      long: 'split',
      groupByLength: true,
      shuffle: false,
      padId: tokenizer.padId ?? 0,
    });
    model.compile({ objective: nextTokenObjective });
    const began = performance.now();
    const { loss } = await model.evaluate(batches, {
      verbose: 0,
      signal,
      callbacks: [{ onProgress: ({ step }) => line.show('evaluating', step / batches.size) }],
    });
    if (signal.aborted) throw new Interrupted();
    line.clear();
    const seconds = (performance.now() - began) / 1000;
    const { lossOn, data } = options;
    const { targets: tokens } = shards.report.counts;
    const result = { model: name, data, lossOn, documents: shards.count, tokens, natsPerToken: loss, perplexity: Math.exp(loss) };
    say(
      `${thousands(shards.count)} documents, ${thousands(tokens)} predicted tokens: ${loss.toFixed(4)} nats a token, perplexity ${result.perplexity.toFixed(2)} (${seconds.toFixed(1)} s)`,
    );
    if (options.json !== undefined) await writeJson(options.json, { ...result, seconds, device: currentDevice().name });
  } finally {
    line.clear();
    interruption.release();
  }
}
