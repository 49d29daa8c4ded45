/** @file `npm run bench -- QUESTION`: the figures behind every claim of speed and memory. Each question is a file of its own. */
import { access, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import type { GgufType } from '#tenon/io/gguf.js';
import { serveLines } from './child.js';
import { describeMachine, machineLine } from './machine.js';
import { type Result, resultTable } from './measure.js';
import type { WorkloadName } from './models.js';

const say = (line: string): void => void process.stderr.write(`${line}\n`);

function count(text: string): number {
  const n = /^\d+$/.test(text) ? Number(text) : 0;
  if (!(n >= 1)) throw new InvalidArgumentError('Expected a whole number ≥ 1.');
  return n;
}

/** Prints results for people (`text`: other than one table a result), and writes the list for programs. */
async function report(
  results: readonly Result[],
  json: string | undefined,
  text: string = results.map(resultTable).join('\n'),
): Promise<void> {
  process.stdout.write(`${machineLine(describeMachine())}\n\n${text}`);
  if (json !== undefined) await writeFile(json, `${JSON.stringify(results, null, 2)}\n`);
}

interface Common {
  readonly rounds: number;
  readonly peers: boolean;
  readonly json?: string;
}

const program = new Command('bench').description('Tenon beside its peers: times, memory, accuracy').showHelpAfterError();
const question = (name: string, what: string, rounds: number): Command =>
  program
    .command(name)
    .description(what)
    .option('--rounds <n>', 'alternating rounds', count, rounds)
    .option('--peers', 'also times the peers that are installed', false)
    .option('--json <file>', 'writes [{ name, rounds, contenders, ratio }]');

const autotunable = (command: Command): Command =>
  command
    .option('--autotune', 'with measured plans of products (kept in the kernel cache) instead of the cost model')
    .hook('preAction', (c) => {
      // Processes that are started for a measurement inherit it.
      if (c.opts().autotune) process.env.TENON_AUTOTUNE = '1';
    });

const noPeer = 'no peer answers this question: it is about Tenon alone';

const steps: readonly [WorkloadName, string][] = [
  ['cnn', "a training step of the tutorial's CNN (Adam; batch 32)"],
  ['gpt', 'a training step of the character GPT (4 layers, 4 heads, width 128, context 64; AdamW; batch 12)'],
  ['mlp', 'a training step of the MLP 784-512-512-10 (Adam; batch 128)'],
  ['resnet20', 'a training step of ResNet-20 on 32×32 (SGD with momentum; batch 64)'],
  ['textcnn', 'a training step of the text CNN (20,000 words × 128, filters over 3, 4, 5; Adam; batch 64)'],
];
for (const [name, what] of steps) {
  const step = autotunable(question(name, what, 10)).option('--batch <n>', 'examples a step', count);
  if (name === 'cnn') step.option('--javascript <dir>', 'also times TensorFlow.js and jax-js: a folder in which they are installed');
  step.action(async (options: Common & { batch?: number; javascript?: string }) => {
    const { benchStep } = await import('./train-step.js');
    await report([await benchStep(name, { ...options, say })], options.json);
  });
}

autotunable(question('matmul', 'f32 products of matrices in every transposition, on one thread and on all', 10))
  .option('--threads <n>', 'on so many threads only', count)
  .option('--filter <text>', 'only shapes m×k×n that contain it', '')
  .action(async (options: Common & { threads?: number; filter: string }) => {
    const { benchMatmul } = await import('./matmul.js');
    const { results, table } = await benchMatmul({ ...options, say });
    await report(results, options.json, table);
  });

autotunable(question('conv', 'the three products of five convolutions, batch 8, no padding', 7))
  .option('--filter <text>', 'only convolutions whose name contains it', '')
  .action(async (options: Common & { filter: string }) => {
    const { benchConv } = await import('./conv.js');
    const { results, table } = await benchConv({ ...options, say });
    await report(results, options.json, table);
  });

/** Questions about the device wasm: it computes in this process too, unless TENON_DEVICE names another. */
const wasmQuestion = (name: string, what: string, rounds: number): Command =>
  question(name, what, rounds)
    .option('--javascript <dir>', 'folder in which TensorFlow.js, its WASM backend and jax-js are installed (default: bench/peers)')
    .hook('preAction', () => {
      process.env.TENON_DEVICE ||= 'wasm';
    });

wasmQuestion('wasm-matmul', 'f32 products on the device wasm, in Node and in Chromium', 10)
  .option('--filter <text>', 'only shapes m×k×n that contain it', '')
  .option('--no-browser', 'in Node only')
  .action(async (options: Common & { javascript?: string; filter: string; browser: boolean }) => {
    const { benchWasmMatmul } = await import('./wasm-matmul.js');
    const { results, table } = await benchWasmMatmul({ ...options, say });
    await report(results, options.json, table);
  });

for (const name of ['cnn', 'gpt'] as const)
  wasmQuestion(`wasm-${name}`, `${steps.find(([n]) => n === name)?.[1]} on the device wasm`, 10)
    .option('--batch <n>', 'examples a step', count)
    .action(async (options: Common & { javascript?: string; batch?: number }) => {
      const { benchWasmStart, benchWasmStep } = await import('./wasm-steps.js');
      const results = [await benchWasmStep(name, { ...options, say })];
      // Fresh processes, which take longer than a round.
      if (name === 'cnn') results.push(...(await benchWasmStart({ ...options, rounds: Math.min(options.rounds, 5), say })));
      await report(results, options.json);
    });

question('fit', 'an epoch of model.fit over its bare steps', 5)
  .option('--batch <n>', 'examples a step', count, 32)
  .option('--samples <n>', 'pictures', count, 50_000)
  .action(async (options: Common & { batch: number; samples: number }) => {
    if (options.peers) say(noPeer);
    const { benchFit } = await import('./fit.js');
    await report([await benchFit({ ...options, say })], options.json);
  });

question('compile', 'from the call of fit to its first kernel, with an empty and a warm cache', 5).action(async (options: Common) => {
  if (options.peers) say(noPeer);
  const { benchCompile } = await import('./compile.js');
  await report(await benchCompile({ ...options, say }), options.json);
});

for (const [name, what] of [
  ['llama-full', "a training step of a Llama of SmolLM2-135M's shape, 4 × 256 tokens, f32 and bf16; peak memory"],
  ['llama-lora', 'the same with LoRA of rank 16 on all projections, and with QLoRA'],
  ['llama-decode', 'tokens after a prompt of 512, one request and eight, beside llama.cpp: f32, bf16, f16, q8_0'],
  ['llama-prefill', 'the reading of a prompt of 512 tokens, beside llama.cpp: f32, bf16, q8_0'],
] as const)
  question(name, what, 5)
    .option('--filter <text>', 'only measurements whose name contains it', '')
    .option('--javascript <dir>', 'folder in which node-llama-cpp is installed (default: bench/peers)')
    .action(async (options: Common & { filter: string; javascript?: string }) => {
      const { benchLlamaReading, benchLlamaTraining } = await import('./llama.js');
      const all = { ...options, say };
      const results =
        name === 'llama-full' || name === 'llama-lora'
          ? await benchLlamaTraining(name === 'llama-full' ? 'full' : 'lora', all)
          : await benchLlamaReading(name === 'llama-decode' ? 'decode' : 'prefill', all);
      await report(results, options.json);
    });

question('captions', 'one epoch of fine-tuning a pretrained Llama on captions: full weights, LoRA, QLoRA; a seed a round', 3)
  .requiredOption('--data-dir <dir>', 'folder with pretrained/tinystories-656k and multi30k')
  .option('--filter <text>', 'only ways whose name contains it', '')
  .action(async (options: Common & { dataDir: string; filter: string }) => {
    const { benchCaptions } = await import('./captions.js');
    const { results, table } = await benchCaptions({ ...options, say });
    await report(results, options.json, table);
  });

program
  .command('export-check')
  .description('llama.cpp on what is exported of a model folder: the same tokens, its continuation, its choices beside those at f32')
  .argument('<model>', "folder in Hugging Face's layout")
  .option('--text <file>', 'lines to tokenize and to go along with')
  .option('--lines <n>', 'lines whose every next token is asked for', count, 100)
  .option('--prompt <text>', 'what it goes on from', 'Once upon a time there was a small mouse who')
  .option('--javascript <dir>', 'folder in which node-llama-cpp is installed (default: bench/peers)')
  .option('--json <file>', 'writes the rows')
  .action(async (model: string, options: { text?: string; lines: number; prompt: string; javascript?: string; json?: string }) => {
    const { checkExport } = await import('./export-check.js');
    const rows = await checkExport({ ...options, model, say });
    if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(rows, null, 2)}\n`);
  });

program
  .command('memory')
  .description('the peak of a CIFAR-10 run, of eager operations, and the growth over many steps')
  .option('--data-dir <dir>', 'folder with CIFAR-10; without it that part is left out')
  .option('--epochs <n>', 'of the CIFAR-10 run', count, 2)
  .option('--operations <n>', 'eager operations', count, 1_000_000)
  .option('--steps <n>', 'steps after the first 1,000', count, 10_000)
  .option('--json <file>', 'writes the results')
  .action(async (options: { dataDir?: string; epochs: number; operations: number; steps: number; json?: string }) => {
    const { benchMemory } = await import('./memory.js');
    await report(await benchMemory({ ...options, say }), options.json);
  });

program
  .command('accuracy')
  .description("the tutorial's program on CIFAR-10, several seeds of Tenon and of PyTorch; goes on where it was stopped")
  .requiredOption('--data-dir <dir>', 'folder with CIFAR-10')
  .requiredOption('--out <dir>', 'folder of the result files, one a seed')
  .option('--seeds <n>', 'seeds 1 … n', count, 5)
  .option('--epochs <n>', 'passes over the data', count, 10)
  .option('--batch <n>', 'examples a step', count, 32)
  .option('--limit <n>', 'only the first n pictures', count)
  .option('--no-peers', 'without PyTorch')
  .option('--json <file>', 'writes the results')
  .action(
    async (options: {
      dataDir: string;
      out: string;
      seeds: number;
      epochs: number;
      batch: number;
      limit?: number;
      peers: boolean;
      json?: string;
    }) => {
      const { benchAccuracy } = await import('./accuracy.js');
      const { result, tables } = await benchAccuracy({ ...options, say });
      await report([result], options.json);
      process.stdout.write(`\n${tables}`);
    },
  );

// Measurements in processes of their own; called by compile and memory.
const child = program.command('child', { hidden: true });
const answer = (json: Readonly<Record<string, number>>): void => void process.stdout.write(`${JSON.stringify(json)}\n`);
child.command('compile').action(async () => answer(await (await import('./compile.js')).compileChild()));
child
  .command('llama-make')
  .argument('<folder>')
  .argument('[types...]')
  .action(async (folder: string, types: readonly GgufType[]) => (await import('./llama-child.js')).makeLlama(folder, types));
child.command('llama').action(async () => serveLines((await import('./llama-child.js')).llamaServer()));
child.command('products').action(async () => serveLines((await import('./product.js')).productServer()));
child
  .command('steps')
  .argument('<workload>')
  .argument('<batch>', '', count)
  .action(async (name: string, batch: number) => serveLines(await (await import('./wasm-steps.js')).stepServer(name, batch)));
child
  .command('steady')
  .argument('<workload>')
  .argument('<batch>', '', count)
  .action(async (name: string, batch: number) => answer(await (await import('./wasm-steps.js')).steadyChild(name, batch)));
child
  .command('eager')
  .argument('<pattern>')
  .argument('<operations>', '', count)
  .action(async (pattern: string, operations: number) => answer(await (await import('./memory.js')).eagerChild(pattern, operations)));
child
  .command('growth')
  .argument('<kind>')
  .argument('<steps>', '', count)
  .action(async (kind: string, steps: number) => answer(await (await import('./memory.js')).growthChild(kind, steps)));

// Nobody wants to learn after an hour that the results can't be written.
program.hook('preAction', async (_, command) => {
  const { json } = command.opts<{ json?: string }>();
  if (json === undefined) return;
  await access(dirname(json)).catch(() => {
    throw new Error(`--json: there is no folder ${dirname(json)}. Expected one that exists, received ${json}.`);
  });
});

try {
  await program.parseAsync();
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
