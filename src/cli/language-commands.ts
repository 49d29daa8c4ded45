/** @file The commands of language models and their options. Their code is loaded when one runs. */
import { type Command, Option } from 'commander';
import { deviceNames, positiveNumber, wholeNumber } from './options.js';

interface Common {
  readonly device?: string;
  readonly json?: string;
}
/** How a model is loaded. */
export interface LoadOptions extends Common {
  readonly dtype?: 'f32' | 'bf16';
  readonly weights?: 'f32' | 'bf16' | 'f16' | 'auto';
  readonly quantize?: 'none' | 'nf4' | 'q8_0';
  readonly context?: number;
}
/** Of `tenon generate` and `tenon chat`. */
export interface SamplingCommandOptions extends LoadOptions {
  readonly maxTokens: number;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  readonly seed?: number;
  readonly stop?: readonly string[];
}
export interface GenerateCommandOptions extends SamplingCommandOptions {
  readonly prompt: readonly string[];
}
export interface ChatCommandOptions extends SamplingCommandOptions {
  readonly system?: string;
}
export interface PerplexityCommandOptions extends LoadOptions {
  readonly data: string;
  readonly lossOn: 'completion' | 'assistant' | 'all';
  readonly badRows: 'error' | 'skip';
  readonly batchSize: number;
}
export interface MergeCommandOptions extends Common {
  readonly out: string;
  readonly overwrite?: boolean;
  readonly weights?: 'f32' | 'bf16' | 'f16';
}
export interface ExportCommandOptions extends Common {
  readonly format: 'safetensors' | 'gguf';
  readonly type?: 'f32' | 'f16' | 'bf16' | 'q8_0';
  readonly out?: string;
  readonly overwrite?: boolean;
}
/** Of `tenon pretrain` and `tenon finetune`: flags by their keys, and what goes with a run. */
export interface RunCommandOptions extends Common {
  readonly printConfig?: boolean;
  /** A folder; true: the newest run. */
  readonly resume?: string | boolean;
  readonly [key: string]: unknown;
}

const device = (): Option => new Option('--device <name>', `device that computes: ${deviceNames.join(', ')} (see tenon devices)`);
const json = (): Option => new Option('--json <file>', 'write the results as JSON');
const overwrite = (): Option =>
  new Option('--overwrite', 'write over a model that lies there already (never over what the model is read from)');
const share = (text: string): number => {
  const value = Number(text);
  if (!(text.trim() !== '' && value >= 0 && value <= 1)) throw new TypeError('Expected a number from 0 to 1.');
  return value;
};
const least0 = (text: string): number => {
  const value = Number(text);
  if (!(text.trim() !== '' && value >= 0 && value < Number.POSITIVE_INFINITY)) throw new TypeError('Expected a number ≥ 0.');
  return value;
};
const append = (text: string, before: readonly string[] = []): string[] => [...before, text];

/** What names a model. */
export const MODEL = "a folder in the Hugging Face layout, a run's or an adapter's folder, a .gguf file, or owner/name on the hub";

/** The options of loading a model as openModel takes them. */
export const openOptions = ({ dtype, weights, quantize }: LoadOptions) => ({
  ...(dtype === undefined ? {} : { dtype }),
  ...(weights === undefined ? {} : { weightDtype: weights }),
  quantize: quantize ?? ('trained' as const),
});

/** Adds those options. */
export const loading = (command: Command): Command =>
  command
    .addOption(new Option('--dtype <dtype>', 'what is computed in (default: f32)').choices(['f32', 'bf16']))
    .addOption(new Option('--weights <dtype>', 'what matrices are kept in (default: f32)').choices(['f32', 'bf16', 'f16', 'auto']))
    .addOption(
      new Option('--quantize <type>', "pack the projections (default: an adapter's base as its run had it, else none)").choices([
        'none',
        'nf4',
        'q8_0',
      ]),
    )
    .option('--context <n>', 'tokens of prompt and answer together (default: what the model knows, at most 2048)', wholeNumber(2))
    .addOption(device())
    .addOption(json());
const sampling = (command: Command, maxTokens: number): Command =>
  command
    .option('--max-tokens <n>', 'tokens of an answer at most', wholeNumber(1), maxTokens)
    .option('--temperature <x>', '0: always the most likely token (default: what the model advises, or 1)', least0)
    .option('--top-k <n>', 'only the n most likely tokens', wholeNumber(0))
    .option('--top-p <x>', 'only the most likely tokens that together reach this probability', share)
    .option('--min-p <x>', 'only tokens at least this share as likely as the most likely one', share)
    .option('--repetition-penalty <x>', 'divides the logits of tokens that were there', positiveNumber)
    .option('--seed <n>', 'of the draws (default: another text every time)', wholeNumber(0, 2 ** 31 - 1))
    .option('--stop <text>', 'end before this text; again for more', append);

/** Adds the keys of runs to their commands' help. They come from the library, which is loaded when they are wanted. */
export async function addKeysHelp(program: Command): Promise<void> {
  const { keysHelp } = await import('./setting-flags.js');
  for (const name of ['pretrain', 'finetune'] as const)
    program.commands.find((c) => c.name() === name)?.addHelpText('after', () => keysHelp(name));
}

/** Adds the commands to the program. */
export function addLanguageCommands(program: Command): void {
  for (const [name, text] of [
    ['pretrain', 'Train a language model from raw text: tokenizer, model, curve, model card.'],
    ['finetune', 'Fine-tune a language model: full weights, LoRA, QLoRA; on examples or preferences (DPO).'],
  ] as const)
    program
      .command(name)
      .description(`${text} Every key of RUN.yaml is also a flag.`)
      .argument('[run.yaml]', 'the settings')
      .option('--print-config', 'write all keys as a RUN.yaml, defaults included, and stop')
      .option('--resume [dir]', "go on from a run's last checkpoint (default: the newest run)")
      .addOption(device())
      .addOption(json())
      .allowUnknownOption()
      .allowExcessArguments()
      .action(async (file: string | undefined, options: RunCommandOptions, command: Command) =>
        (await import('./commands/run-language-model.js')).runLanguageModel(name, file, options, command.args),
      );
  sampling(
    loading(program.command('generate').description('Go on from a prompt.').argument('<model>', MODEL)).requiredOption(
      '--prompt <text>',
      'what to go on from; again for more, side by side',
      append,
    ),
    128,
  ).action(async (model: string, options: GenerateCommandOptions) => (await import('./commands/generate.js')).generate(model, options));
  sampling(
    loading(
      program.command('chat').description('Talk with a model in the terminal: /reset, /save FILE, /exit.').argument('<model>', MODEL),
    ).option('--system <text>', 'the first message: how to behave'),
    512,
  ).action(async (model: string, options: ChatCommandOptions) => (await import('./commands/chat.js')).chat(model, options));
  loading(
    program
      .command('perplexity')
      .description("How well a model predicts documents: a text file's lines or a JSON-lines file's rows.")
      .argument('<model>', MODEL),
  )
    .requiredOption('--data <file>', 'the documents')
    .addOption(
      new Option('--loss-on <what>', 'which tokens of prompts with completions, and of conversations, are counted')
        .choices(['completion', 'assistant', 'all'])
        .default('all'),
    )
    .addOption(new Option('--bad-rows <what>', "of rows that can't be read").choices(['error', 'skip']).default('error'))
    .option('--batch-size <n>', 'documents a step', wholeNumber(1), 32)
    .action(async (model: string, options: PerplexityCommandOptions) =>
      (await import('./commands/perplexity.js')).perplexity(model, options),
    );
  program
    .command('merge')
    .description('Add an adapter to its base: a model that needs no adapter.')
    .argument('<adapter>', "an adapter's or a fine-tuning run's folder")
    .requiredOption('--out <dir>', 'the folder of the merged model')
    .addOption(overwrite())
    .addOption(new Option('--weights <dtype>', 'what weights are stored as (default: f32)').choices(['f32', 'bf16', 'f16']))
    .addOption(device())
    .addOption(json())
    .action(async (adapter: string, options: MergeCommandOptions) => (await import('./commands/merge.js')).merge(adapter, options));
  program
    .command('export')
    .description('Write a model in another format: GGUF for llama.cpp, safetensors for transformers.')
    .argument('<model>', MODEL)
    .addOption(new Option('--format <format>', 'what to write').choices(['safetensors', 'gguf']).makeOptionMandatory())
    .addOption(new Option('--type <type>', 'of the matrices (default: f32)').choices(['f32', 'f16', 'bf16', 'q8_0']))
    .option('--out <path>', 'a folder for safetensors, a file for gguf (default: named after the model)')
    .addOption(overwrite())
    .addOption(device())
    .addOption(json())
    .action(async (model: string, options: ExportCommandOptions) => (await import('./commands/export.js')).exportModel(model, options));
}
