/** @file The commands and their options. Each command's code is loaded when it runs, so that help and mistakes are quick. */
import { Command, CommanderError, Option } from 'commander';
import { UsageError } from './failure.js';
import { addKeysHelp, addLanguageCommands } from './language-commands.js';
import { deviceNames, inputShapes, oneOf, optimizerNames, positiveNumber, wholeNumber } from './options.js';
import { addServeCommand } from './serve-command.js';
import { version } from './version.js';

/** Names of the data sets; `datasets.ts` says what they are. */
export const datasetNames = ['shapes', 'cifar10', 'mnist', 'fashion-mnist'] as const;
export type DatasetName = (typeof datasetNames)[number];

/** What `tenon train` was given; undefined where nothing was. */
export interface TrainOptions {
  readonly dataset?: DatasetName;
  readonly dataDir?: string;
  readonly model?: string;
  readonly epochs?: number;
  readonly batchSize?: number;
  readonly optimizer?: string;
  readonly learningRate?: number;
  readonly seed?: number;
  readonly device?: string;
  readonly out?: string;
  /** A folder; true: the newest run. */
  readonly resume?: string | boolean;
  readonly limit?: number;
  readonly json?: string;
}
/** Of `tenon evaluate`. */
export interface EvaluateCommandOptions {
  readonly dataset?: DatasetName;
  readonly dataDir?: string;
  readonly batchSize: number;
  readonly device?: string;
  readonly limit?: number;
  readonly json?: string;
}
/** Of `tenon predict`. */
export interface PredictCommandOptions {
  readonly top: number;
  readonly device?: string;
  readonly json?: string;
}
/** Of `tenon inspect`. */
export interface InspectCommandOptions {
  readonly profile?: boolean;
  readonly phase?: 'train' | 'predict';
  readonly batchSize: number;
  readonly steps?: number;
  /** One an input. */
  readonly inputShape?: readonly (readonly number[])[];
  readonly device?: string;
  readonly svg?: string;
  readonly trace?: string;
  readonly json?: string;
}
/** Of `tenon devices`. */
export interface DevicesOptions {
  readonly measure: boolean;
  readonly json?: string;
}
/** Of `tenon tokenizer train`. */
export interface TrainTokenizerCommandOptions {
  readonly vocabSize: number;
  readonly out: string;
  readonly special?: readonly string[];
  readonly minFrequency: number;
  readonly chatTemplate?: 'chatml';
  readonly json?: string;
}
/** Of `tenon tokenizer encode`. */
export interface EncodeTokenizerOptions {
  readonly specialTokens?: boolean;
  readonly json?: string;
}

const dataset = (otherwise: string): Option => new Option('--dataset <name>', `the data set (default: ${otherwise})`).choices(datasetNames);
const dataDir = (): Option =>
  new Option('--data-dir <dir>', 'folder that holds the official files (or set TENON_DATA_DIR); nothing is downloaded then');
const device = (): Option => new Option('--device <name>', `device that computes: ${deviceNames.join(', ')} (see tenon devices)`);
const limit = (): Option => new Option('--limit <n>', 'use only the first n pictures of each part').argParser(wholeNumber(1));
const json = (): Option => new Option('--json <file>', 'write the results as JSON');

function makeProgram(): Command {
  const program = new Command('tenon').description('Deep learning in TypeScript: train, evaluate and use models.').version(version());
  program
    .command('train')
    .description('Train a model on a data set, evaluate it after every epoch and save it.')
    .addOption(dataset('shapes, which is built in'))
    .addOption(dataDir())
    .option('--model <name>', 'cnn, mlp, or a file to go on from: .tenon, or .json with a config (default: cnn)')
    .option('--epochs <n>', 'passes over the training data (default: 4 for shapes, 10 for the others)', wholeNumber(1, 1_000_000))
    .option('--batch-size <n>', 'pictures a step (default: 32)', wholeNumber(1))
    .option('--optimizer <name>', `${optimizerNames.join(', ')} (default: adam)`, oneOf(optimizerNames))
    .option('--learning-rate <x>', "the optimizer's learning rate (default: the optimizer's own)", positiveNumber)
    .option('--seed <n>', 'of weights, order and dropout (default: 0)', wholeNumber(0, 2 ** 31 - 1))
    .addOption(device())
    .option('--out <dir>', "the run's folder: checkpoints, model, report (default: runs/<dataset>-<model>-<number>)")
    .option('--resume [dir]', 'go on from the last checkpoint of this run (default: the newest in runs/)')
    .addOption(limit())
    .addOption(json())
    .action(async (options: TrainOptions) => (await import('./commands/train.js')).train(options));
  program
    .command('evaluate')
    .description('Loss, accuracy, scores of each class and the confusion matrix of a model on a test set.')
    .argument('<model>', 'a .tenon file')
    .addOption(dataset('the one that the model was trained on'))
    .addOption(dataDir())
    .option('--batch-size <n>', 'pictures a step', wholeNumber(1), 128)
    .addOption(device())
    .addOption(limit())
    .addOption(json())
    .action(async (model: string, options: EvaluateCommandOptions) => (await import('./commands/evaluate.js')).evaluate(model, options));
  program
    .command('predict')
    .description('The most likely classes of pictures.')
    .argument('<model>', 'a .tenon file')
    .argument('<image...>', 'pictures (JPEG, PNG, WebP, GIF, AVIF, TIFF); they are scaled to the size that the model wants')
    .option('--top <n>', 'classes to show', wholeNumber(1), 3)
    .addOption(device())
    .addOption(json())
    .action(async (model: string, images: string[], options: PredictCommandOptions) =>
      (await import('./commands/predict.js')).predict(model, images, options),
    );
  program
    .command('summary')
    .description('The layers of a model, their output shapes and numbers of parameters.')
    .argument('<model>', 'a .tenon file, or a .json file with a config')
    .action(async (model: string) => (await import('./commands/summary.js')).summary(model));
  program
    .command('inspect')
    .description("The kernels of a model's training step or forward pass; with --profile, where its time goes.")
    .argument('<model>', 'cnn, mlp, or a file: .tenon, or .json with a config')
    .option('--profile', 'run the step on random data and time its kernels')
    .addOption(
      new Option('--phase <phase>', 'which step (default: train for a compiled model, else predict)').choices(['train', 'predict']),
    )
    .option('--batch-size <n>', 'examples a step', wholeNumber(1), 32)
    .option('--steps <n>', 'profiled steps; times are medians over them (default: 20)', wholeNumber(1, 100_000))
    .option(
      '--input-shape <shape>',
      'of one example, such as 28,28,1, where the model leaves it open; again for each further input',
      inputShapes,
    )
    .addOption(device())
    .option('--svg <file>', 'write a picture of the profile')
    .option('--trace <file>', 'write the profile as a Chrome trace (chrome://tracing, Perfetto)')
    .addOption(json())
    .action(async (model: string, options: InspectCommandOptions) => (await import('./commands/inspect.js')).inspect(model, options));
  program
    .command('devices')
    .description('The devices that can compute here and how fast, or why they cannot.')
    .option('--no-measure', 'do not time a product of matrices on each (about half a second a device)')
    .addOption(json())
    .action(async (options: DevicesOptions) => (await import('./commands/devices.js')).devices(options));
  addTokenizer(program);
  addLanguageCommands(program);
  addServeCommand(program, async (model, options) => {
    const [{ serve }, { openCommandEngine }] = await Promise.all([import('./commands/serve.js'), import('./commands/generate.js')]);
    return serve(model, options, (name, how) => openCommandEngine(name, options, how));
  });
  // Messages are printed by main.ts, as one line.
  for (const command of [program, ...program.commands, ...program.commands.flatMap((c) => c.commands)])
    command
      .exitOverride()
      .configureOutput({ outputError: () => undefined, writeErr: () => undefined })
      .showSuggestionAfterError();
  return program;
}

function addTokenizer(program: Command): void {
  const tokenizer = program.command('tokenizer').description('Learn a vocabulary from texts, or see what a tokenizer makes of one.');
  tokenizer
    .command('train')
    .description('Learn a byte-level BPE vocabulary and write tokenizer.json and tokenizer_config.json.')
    .argument('<files...>', 'text files in UTF-8, plain or gzipped')
    .option('--vocab-size <n>', 'tokens in all: special ones, 256 bytes and merges', wholeNumber(257, 2 ** 22), 8192)
    .requiredOption('--out <dir>', 'the folder that the files are written to')
    .option(
      '--special <token>',
      'a special token, again for each further one; the first begins and ends documents (default: those of ChatML)',
      (token: string, before: readonly string[] = []) => [...before, token],
    )
    .option('--min-frequency <n>', 'pairs that occur less often are not merged', wholeNumber(1), 2)
    .addOption(new Option('--chat-template <name>', 'write a chat template too').choices(['chatml']))
    .addOption(json())
    .action(async (files: string[], options: TrainTokenizerCommandOptions) =>
      (await import('./commands/tokenizer.js')).trainCommand(files, options),
    );
  tokenizer
    .command('encode')
    .description('The ids of a text and what each of them stands for.')
    .argument('<dir>', 'a folder with a tokenizer.json')
    .argument('<text>', 'the text')
    .option('--special-tokens', 'with the special tokens that the tokenizer puts around a text')
    .addOption(json())
    .action(async (dir: string, text: string, options: EncodeTokenizerOptions) =>
      (await import('./commands/tokenizer.js')).encodeCommand(dir, text, options),
    );
}

/** Runs the command line and gives its exit code. Throws what the commands throw, UsageError for a wrong command line. */
export async function parseAndRun(argv: readonly string[]): Promise<number> {
  const program = makeProgram();
  if (argv.length === 0) {
    program.outputHelp();
    return 0;
  }
  if (argv.some((word) => ['-h', '--help', 'help'].includes(word)) && argv.some((word) => word === 'pretrain' || word === 'finetune'))
    await addKeysHelp(program);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return 0;
    const command = program.commands.find((c) => c.name() === argv[0]);
    const part = command?.commands.find((c) => c.name() === argv[1]);
    const name = ['tenon', command?.name(), part?.name()].filter((word) => word !== undefined).join(' ');
    // A command of several parts, without one of them.
    const message =
      error.code === 'commander.help' ? `${argv[0]}: expected ${command?.commands.map((c) => c.name()).join(' or ')}` : error.message;
    throw new UsageError(`${message.replace(/^error: /, '').replace(/([^.?!)])$/, '$1.')} See ${name} --help.`);
  }
}
