/**
 * @file The whole way of a language model, on real text, through the `tenon` command: tokenizer, pretraining, instructions, preferences, chat, GGUF
 * and llama.cpp. What is done is kept in --out: started again, it goes on where it was.
 * `npm run build && node dist-tools/examples/large-model/main.js --data-dir DIR [--out DIR] [--limit N] [--llama-cpp DIR]`
 */
import { spawn } from 'node:child_process';
import { copyFile, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism, cpus } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { question, readCaptions, writeInstructions, writePreferences } from './data.js';
import { askLlamaCpp, hasLlamaCpp } from './llama-cpp.js';

// The package, where the command is, and beside it this example's files that aren't compiled.
const root = dirname(createRequire(import.meta.url).resolve('tenon/package.json'));
const command = join(root, 'dist', 'cli', 'main.js');
const own = (name: string): string => join(root, 'examples', 'large-model', name);

const { values } = parseArgs({
  options: {
    'data-dir': { type: 'string' },
    out: { type: 'string', default: 'runs/large-model' },
    // Captions of each part: for a quick try.
    limit: { type: 'string', default: '29000' },
    // Where node-llama-cpp is installed.
    'llama-cpp': { type: 'string', default: join(root, 'bench', 'peers') },
  },
});
const out = resolve(values.out);
const at = (...parts: string[]): string => join(out, ...parts);
const isThere = async (path: string): Promise<boolean> => (await stat(path).catch(() => null)) !== null;
type Json = Readonly<Record<string, unknown>>;
const readJson = async (path: string): Promise<Json> => JSON.parse(await readFile(path, 'utf8')) as Json;

/** Runs `tenon` in the folder, its lines on this terminal; `input` is what is typed. Ends this program when it fails. */
async function tenon(args: readonly string[], input?: string): Promise<void> {
  console.log(`\n$ tenon ${args.join(' ')}${input === undefined ? '' : ' < questions'}`);
  const child = spawn(process.execPath, [command, ...args], {
    cwd: out,
    stdio: [input === undefined ? 'ignore' : 'pipe', 'inherit', 'inherit'],
  });
  if (input !== undefined) child.stdin?.end(input);
  // Ctrl-C goes to both: the command saves what it has, and this program waits for it.
  const wait = (): void => undefined;
  process.on('SIGINT', wait);
  const code = await new Promise<number>((resolve) => child.on('exit', (code) => resolve(code ?? 1)));
  process.off('SIGINT', wait);
  if (code !== 0) {
    if (code === 130) console.error('large-model: interrupted. The same command goes on from here.');
    process.exit(code);
  }
}

/** A step is done once `results/<name>.json` is there: what it wrote to the path that it is given, and the seconds that it took. */
async function step(name: string, run: (results: string) => Promise<void>): Promise<Json> {
  const kept = at('results', `${name}.json`);
  if (!(await isThere(kept))) {
    const began = performance.now();
    const results = `results/${name}.tmp.json`;
    await run(results);
    const seconds = (performance.now() - began) / 1000;
    await writeFile(kept, `${JSON.stringify({ ...(await readJson(at(results))), stepSeconds: seconds }, null, 2)}\n`);
    await rm(at(results));
  }
  return readJson(kept);
}
/** A run of pretrain or finetune, or the rest of one. */
async function train(name: 'pretrain' | 'finetune', file: string, folder: string, results: string): Promise<void> {
  const isBegun = await isThere(at(folder, 'checkpoints'));
  if (!isBegun) await rm(at(folder), { recursive: true, force: true });
  await copyFile(own(file), at(file));
  await tenon([name, ...(isBegun ? ['--resume', folder] : [file, '--out', folder]), '--json', results]);
}

const folder = values['data-dir'] || process.env.TENON_DATA_DIR;
if (!folder) {
  console.error('large-model: no data. Expected the folder above multi30k/ as --data-dir or TENON_DATA_DIR.');
  process.exit(2);
}
const limit = Number(values.limit);
if (!(Number.isInteger(limit) && limit >= 64)) {
  console.error(`large-model: --limit ${values.limit}. Expected a whole number ≥ 64.`);
  process.exit(2);
}
const captions = await readCaptions(join(folder, 'multi30k'), limit).catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exit(2);
});
await mkdir(at('results'), { recursive: true });
const last = await readJson(at('results', 'settings.json')).catch(() => null);
if (last !== null && last.limit !== limit) {
  console.error(`large-model: ${out} was begun with --limit ${last.limit}. Expected the same, or another --out.`);
  process.exit(2);
}
await writeFile(at('results', 'settings.json'), `${JSON.stringify({ limit })}\n`);

const data = await step('data', async (results) => {
  await writeInstructions(at('data'), captions);
  const { train, preferences, validation, test } = captions;
  const counts = { train: train.length, preferences: preferences.length, validation: validation.length, test: test.length };
  await writeFile(at(results), JSON.stringify({ ...counts, bytes: (await stat(at('data', 'captions.txt'))).size }));
});
const tokenizer = await step('tokenizer', async (results) => {
  await rm(at('tokenizer'), { recursive: true, force: true });
  const size = ['--vocab-size', '4096', '--chat-template', 'chatml'];
  await tenon(['tokenizer', 'train', 'data/captions.txt', ...size, '--out', 'tokenizer', '--json', results]);
});
const pretrained = await step('pretrain', (results) => train('pretrain', 'pretrain.yaml', 'pretrained', results));
const finetuned = await step('finetune', (results) => train('finetune', 'finetune.yaml', 'finetuned', results));
const answers = await step('preferences', async (results) => {
  console.log("\nAsking the model for translations of its own: they become the preferences' rejected answers …");
  await writeFile(at(results), JSON.stringify(await writePreferences(at('data'), captions, at('finetuned'))));
});
const preferred = await step('prefer', (results) => train('finetune', 'prefer.yaml', 'preferred', results));
await step('merge', async (results) => {
  // A step that was cut off left files that aren't whole.
  await tenon(['merge', 'preferred', '--out', 'merged', '--overwrite', '--json', results]);
});
/** The loss of the answers alone, on captions that no step has seen. */
const test = (model: string): Promise<Json> =>
  step(`test-${model}`, (results) =>
    tenon(['perplexity', model, '--data', 'data/instructions-test.jsonl', '--loss-on', 'completion', '--json', results]),
  );
const before = await test('finetuned');
const after = await test('merged');
const asked = captions.test.slice(0, 20).map(({ en }) => en);
const chat = await step('chat', (results) => {
  const lines = asked.slice(0, 4).flatMap((text) => [question(text), '/reset']);
  return tenon(['chat', 'merged', '--temperature', '0', '--max-tokens', '48', '--json', results], `${lines.join('\n')}\n/exit\n`);
});
const exports: Json[] = [];
for (const type of ['f32', 'q8_0'])
  exports.push(
    await step(`export-${type}`, (results) =>
      tenon(['export', 'merged', '--format', 'gguf', '--type', type, '--out', `model-${type}.gguf`, '--overwrite', '--json', results]),
    ),
  );
const installed = resolve(values['llama-cpp']);
const others: Json[] = [];
if (await hasLlamaCpp(installed))
  for (const type of ['f32', 'q8_0'])
    others.push(
      await step(`llama-cpp-${type}`, async (results) => {
        const agreement = await askLlamaCpp(own('llama-cpp.mjs'), installed, at(`model-${type}.gguf`), at('merged'), asked);
        await writeFile(at(results), JSON.stringify(agreement));
      }),
    );
else
  console.log(
    `\nllama.cpp: not asked: node-llama-cpp is not in ${values['llama-cpp']}. npm i --no-save --ignore-scripts --prefix DIR node-llama-cpp, then --llama-cpp DIR.`,
  );

// ---- every number once more

const number = (x: unknown): number => (typeof x === 'number' ? x : Number.NaN);
const of = (json: Json, key: string): Json => (json[key] ?? {}) as Json;
const four = (x: unknown): string => number(x).toFixed(4);
const whole = (x: unknown): string => Math.round(number(x)).toLocaleString('en-US');
const seconds = (json: Json): string => `${number(json.stepSeconds).toFixed(0)} s`;
const ratio = number(after.natsPerToken) / number(before.natsPerToken);
console.log(`
machine      ${cpus()[0]?.model ?? 'unknown'}, threads: ${availableParallelism()}, Node ${process.version}
data         ${whole(data.train)} captions in two languages, ${(number(data.bytes) / 1e6).toFixed(1)} MB; ${whole(data.preferences)} for preferences, ${whole(data.test)} to test on
tokenizer    ${whole(tokenizer.vocabSize)} tokens, ${number(tokenizer.bytesPerToken).toFixed(2)} bytes a token (${seconds(tokenizer)})
pretraining  ${whole(pretrained.parameters)} weights, ${whole(pretrained.tokens)} tokens: ${four(of(pretrained, 'after').natsPerToken)} nats a token on held-out captions, perplexity ${number(of(pretrained, 'after').perplexity).toFixed(1)} (${seconds(pretrained)})
fine-tuning  ${whole(finetuned.tokens)} tokens: ${four(of(finetuned, 'before').natsPerToken)} → ${four(of(finetuned, 'after').natsPerToken)} nats a token of the answers to held-out questions (${seconds(finetuned)})
own answers  ${whole(answers.answers)}, ${whole(answers.tokensPerSecond)} tokens/s, 16 side by side (${seconds(answers)})
preferences  ${whole(preferred.trainableParameters)} weights of an adapter: the implied reward is right for ${(100 * number(of(preferred, 'after').rewardAccuracy)).toFixed(1)} % of the held-out pairs, margin ${four(of(preferred, 'after').margin)} (${seconds(preferred)})
test         loss of the answers ${four(before.natsPerToken)} before preferences, ${four(after.natsPerToken)} after: × ${ratio.toFixed(3)}
export       ${exports.map((e) => `${String(e.type)} ${(number(e.bytes) / 1e6).toFixed(1)} MB`).join(', ')}`);
for (const o of others)
  console.log(
    `llama.cpp    ${String(o.type)}: the same tokens for ${whole(o.sameTokens)} of ${whole(o.questions)} questions, the same answers to ${whole(o.sameAnswers)} of them`,
  );
for (const conversation of (chat.conversations ?? []) as { role: string; content: string }[][])
  for (const { role, content } of conversation) console.log(`  ${role}: ${content}`);
for (const o of others.slice(0, 1)) console.log(`  llama.cpp, of the first: ${String(o.example)}`);
