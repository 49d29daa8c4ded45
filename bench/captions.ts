/**
 * @file captions: the fine-tuning of a pretrained Llama on image captions, one epoch: `tenon finetune` beside the same in PyTorch, with full
 * weights and LoRA; nats a token on the test captions and seconds of training, one seed a round.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { loadTokenizer } from 'tenon/llm';
import { runProgram } from './child.js';
import { markdownTable, median, type Result, summarize } from './measure.js';
import { cliProgram } from './paths.js';
import { asNumber, findPython, startPytorch } from './peers.js';

export interface CaptionsOptions {
  readonly rounds: number;
  readonly peers: boolean;
  /** Folder with pretrained/tinystories-656k and multi30k. */
  readonly dataDir: string;
  /** Only ways whose name contains it. */
  readonly filter: string;
  readonly say: (line: string) => void;
}

const common = {
  epochs: 1,
  batchSize: 64,
  warmupSteps: 20,
  schedule: 'cosine',
  weightDecay: 0,
  clip: 1,
  documents: 'lines',
  lossOn: 'all',
};
const lora = { method: 'lora', loraRank: 8, loraAlpha: 16, loraTargets: 'all-linear', learningRate: 1e-2 };
const ways = [
  { name: 'full', mode: 'full', settings: { method: 'full', learningRate: 3e-3 } },
  { name: 'lora', mode: 'lora', settings: lora },
  { name: 'qlora', mode: 'qlora', settings: { ...lora, quantize: 'nf4' } },
  { name: 'lora, packed', mode: null, settings: { ...lora, packing: true, batchSize: 8, maxLength: 256 } },
] as const;

interface Outcome {
  readonly seconds: number;
  readonly before: number;
  readonly after: number;
}

/** Fine-tunes with every way, as many seeds as rounds, ours and theirs in turn. */
export async function benchCaptions(options: CaptionsOptions): Promise<{ results: Result[]; table: string }> {
  const { say, rounds, dataDir } = options;
  const python = options.peers ? findPython() : null;
  if (options.peers && !python) say('no Python with torch here: no peer (BENCH_PYTHON names one)');
  const folder = await mkdtemp(join(tmpdir(), 'tenon-captions-'));
  try {
    const model = join(dataDir, 'pretrained', 'tinystories-656k');
    const tokenizer = await loadTokenizer(model);
    for (const split of ['train', 'test_2016_flickr']) {
      const text = gunzipSync(await readFile(join(dataDir, 'multi30k', `${split}.en.gz`))).toString('utf8');
      await writeFile(join(folder, `${split}.txt`), text);
      const lines = text.split('\n').filter((line) => line.length > 0);
      if (python) await writeFile(join(folder, `${split}.json`), JSON.stringify(lines.map((line) => [...tokenizer.encode(line)])));
    }
    const results: Result[] = [];
    const rows: string[][] = [];
    for (const way of ways.filter((w) => w.name.includes(options.filter))) {
      const own: Outcome[] = [];
      const theirs: Outcome[] = [];
      for (let seed = 0; seed < rounds; seed++) {
        own.push(await tenon(folder, model, way.settings, seed));
        say(`${way.name}, seed ${seed}: Tenon ${JSON.stringify(own[seed])}`);
        if (!python || way.mode === null) continue;
        theirs.push(await pytorch(python, folder, model, way.mode, way.settings.learningRate, seed));
        say(`${way.name}, seed ${seed}: PyTorch ${JSON.stringify(theirs[seed])}`);
      }
      const contenders = [
        { name: 'Tenon', configuration: way.name, list: own },
        { name: 'PyTorch', configuration: way.name, list: theirs },
      ].filter(({ list }) => list.length > 0);
      const mean = (list: readonly Outcome[], of: (o: Outcome) => number): number => list.reduce((n, o) => n + of(o), 0) / list.length;
      for (const { name, list } of contenders)
        rows.push([
          way.name,
          name,
          ...[mean(list, (o) => o.before), mean(list, (o) => o.after), median(list.map((o) => o.seconds))].map((x) => x.toFixed(3)),
        ]);
      results.push({
        name: `captions, ${way.name}, one epoch`,
        rounds,
        contenders: contenders.map((c) =>
          summarize(
            c,
            c.list.map((o) => o.seconds),
            's',
          ),
        ),
        ratio: theirs.length > 0 ? median(own.map((o) => o.seconds)) / median(theirs.map((o) => o.seconds)) : null,
        notes: {
          before: mean(own, (o) => o.before),
          after: mean(own, (o) => o.after),
          ...(theirs.length > 0 ? { beforeOfPeer: mean(theirs, (o) => o.before), afterOfPeer: mean(theirs, (o) => o.after) } : {}),
        },
      });
    }
    const table = `### captions\n${markdownTable(['way', 'contender', 'nats/token before', 'after (mean)', 'seconds (median)'], rows)}\n\n${results.map((r) => `${r.name}: ${r.ratio === null ? 'no peer' : `ratio ${r.ratio.toFixed(3)}`}`).join(' · ')}\n`;
    return { results, table };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** `tenon finetune`, as somebody would call it. */
async function tenon(folder: string, model: string, settings: object, seed: number): Promise<Outcome> {
  const run = {
    model,
    data: join(folder, 'train.txt'),
    validation: join(folder, 'test_2016_flickr.txt'),
    ...common,
    evaluateEvery: 10_000,
    ...settings,
    seed,
  };
  const [yaml, json, out] = ['run.yaml', 'run.json', 'out'].map((name) => join(folder, name));
  await writeFile(yaml, JSON.stringify(run));
  await rm(out, { recursive: true, force: true });
  await runProgram(cliProgram, ['finetune', yaml, '--out', out, '--json', json]);
  const report = JSON.parse(await readFile(json, 'utf8'));
  return {
    seconds: asNumber(report.seconds, 'tenon finetune'),
    before: asNumber(report.before.natsPerToken, 'tenon finetune'),
    after: asNumber(report.after.natsPerToken, 'tenon finetune'),
  };
}

async function pytorch(python: string, folder: string, model: string, mode: string, rate: number, seed: number): Promise<Outcome> {
  const peer = startPytorch(python, 'PASSIVE', 'pytorch_captions.py');
  try {
    const reply = await peer.request({ model, folder, mode, rate, seed });
    return {
      seconds: asNumber(reply.seconds, peer.name),
      before: asNumber(reply.before, peer.name),
      after: asNumber(reply.after, peer.name),
    };
  } finally {
    peer.close();
  }
}
