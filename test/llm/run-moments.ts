/**
 * @file `tenon pretrain` and `tenon finetune` (LoRA, QLoRA, full weights, preferences) ended by kill -9 at random moments and when certain files appear, and
 * gone on with until they are done, against runs that nobody ended.
 */
import { existsSync, readdirSync } from 'node:fs';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { parse } from 'yaml';
import { type End, type Ended, randomNumbers, tenon } from '../robustness/command.js';

export type RunKind = 'pretrain' | 'lora' | 'qlora' | 'full' | 'dpo';
/** What a run is killed at: any time, or the appearance of a file. */
const phases = {
  any: null,
  tokens: /^tokens\b.*\.(tmp|json)$/,
  settings: /^run\/\.?run\.yaml/,
  checkpoint: /^run\/checkpoints\/\..*\.tmp$/,
  'later checkpoint': /^run\/checkpoints\/checkpoint-0*([2-9]\d*|1\d+)\.tenon$/,
  result: /^run\/(model|adapter)\b/,
  weights: /^run\/(model|adapter)\/.*safetensors/,
  report: /^run\/.*report\.json/,
} as const;
export type Phase = keyof typeof phases;
export const phaseNames = Object.keys(phases) as readonly Phase[];

/** How often a run was killed in each phase, and how often it had ended before. */
export type Killed = Record<Phase | 'too late', number>;

const words = 'the small mouse wants to play outside and sees a big tree by the river'.split(' ');
const settings = `
batchSize: 4
steps: 24
evaluateEvery: 8
learningRate: 0.01
saveSeconds: 0.02
validationShare: 0.1
seed: 3
`;
const config = `{ model_type: llama, hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2, max_position_embeddings: 64, tie_word_embeddings: true }`;

/** Everything of a finished run that doesn't tell the time or the place. */
async function outcome(folder: string): Promise<unknown> {
  const names = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((f) => f.isFile());
  const paths = names.map((f) => join(f.parentPath, f.name).slice(folder.length + 1)).sort();
  const kept = paths.filter((p) => /^(model|adapter)\//.test(p));
  const files = await Promise.all(kept.map(async (p) => [p, (await readFile(join(folder, p))).toString('base64')]));
  const report = JSON.parse(await readFile(join(folder, 'report.json'), 'utf8'));
  const { out: _, tokensCache: __, ...own } = parse(await readFile(join(folder, 'run.yaml'), 'utf8'));
  return {
    paths: paths.filter((p) => !p.startsWith('checkpoints/')),
    files,
    settings: own,
    curve: report.curve.map(({ seconds: ___, ...point }: { seconds: number }) => point),
    scores: [report.before, report.after, report.tokens, report.parameters, report.trainableParameters, report.data],
  };
}

export interface KillOptions {
  readonly moments: number;
  readonly seed: number;
  readonly kinds: readonly RunKind[];
  readonly phases: readonly Phase[];
  /** Of one run; then it is left alone. */
  readonly momentsOfRun: number;
  /** What runs compute on: one without a compiler begins sooner. */
  readonly device: string;
}

/** Ends runs at `moments` moments, of each kind and each phase in turn; every run must come to the same files. Throws what expect throws. */
export async function killRuns(options: KillOptions): Promise<Killed> {
  const { moments, kinds, device } = options;
  const root = await mkdtemp(join(tmpdir(), 'tenon-kill-'));
  const killed = Object.fromEntries([...phaseNames, 'too late'].map((name) => [name, 0])) as Killed;
  const random = randomNumbers(options.seed);
  const below = (n: number): number => Math.floor(random() * n);
  const line = (): string => `${Array.from({ length: 4 + below(8) }, () => words[below(words.length)]).join(' ')} .`;
  try {
    await writeFile(join(root, 'text.txt'), Array.from({ length: 300 }, line).join('\n'));
    const rows = Array.from({ length: 60 }, () => JSON.stringify({ prompt: line(), completion: ` ${line()}` }));
    await writeFile(join(root, 'rows.jsonl'), rows.join('\n'));
    await writeFile(
      join(root, 'pretrain.yaml'),
      `${settings}data: text.txt\ndocuments: lines\nvocabSize: 300\ncontext: 32\nconfig: ${config}\n`,
    );
    // Random numbers that a run must go on with are those of dropout.
    const tuning = `${settings}model: base\ndata: rows.jsonl\npacking: true\nmaxLength: 48\nloraRank: 4\nloraDropout: 0.1\n`;
    await writeFile(join(root, 'lora.yaml'), tuning);
    await writeFile(join(root, 'qlora.yaml'), `${tuning}quantize: nf4\n`);
    await writeFile(join(root, 'full.yaml'), `${tuning}method: full\n`);
    // Preferences against the adapter that the run began with: one that goes on must find it again, and not the one it had come to.
    const pairs = Array.from({ length: 60 }, () => JSON.stringify({ prompt: line(), chosen: ` ${line()}`, rejected: ` ${line()}` }));
    await writeFile(join(root, 'pairs.jsonl'), pairs.join('\n'));
    await writeFile(join(root, 'dpo.yaml'), `${settings}model: base\nadapter: adapter\ndata: pairs.jsonl\nmaxLength: 48\n`);
    const env = { TENON_CACHE_DIR: join(root, 'cache'), TENON_DEVICE: device, TENON_NUM_THREADS: '1' };
    const command = (kind: RunKind): string => (kind === 'pretrain' ? 'pretrain' : 'finetune');
    const start = (kind: RunKind, place: string, end?: End): Promise<Ended> =>
      tenon([command(kind), `${kind}.yaml`, '--out', join(place, 'run'), '--tokens-cache', join(place, 'tokens')], { cwd: root, env, end });
    const resume = (kind: RunKind, place: string, end?: End): Promise<Ended> =>
      tenon([command(kind), '--resume', join(place, 'run')], { cwd: root, env, end });

    const wholes = new Map<RunKind, { expected: unknown; milliseconds: number }>();
    const needed: readonly RunKind[] = kinds.includes('dpo') ? ['pretrain', 'lora'] : ['pretrain'];
    for (const kind of new Set<RunKind>([...needed, ...kinds])) {
      const place = join(root, `whole-${kind}`);
      const began = performance.now();
      const ended = await start(kind, place);
      expect(`${ended.code} ${ended.stderr}`).toBe('0 ');
      wholes.set(kind, { expected: await outcome(join(place, 'run')), milliseconds: performance.now() - began });
      if (kind === 'pretrain') await cp(join(place, 'run', 'model'), join(root, 'base'), { recursive: true });
      if (kind === 'lora') await cp(join(place, 'run', 'adapter'), join(root, 'adapter'), { recursive: true });
    }
    let left = moments;
    for (let run = 0; left > 0; run++) {
      const kind = kinds[run % kinds.length];
      const { expected, milliseconds } = wholes.get(kind) ?? { expected: null, milliseconds: 0 };
      const place = join(root, `run-${run}`);
      for (let [isFinished, attempt] = [false, 0]; !isFinished; attempt++) {
        // Phases that come late in a run are aimed at as often as those that come early.
        const phase = options.phases[(moments - left) % options.phases.length];
        const end = left > 0 && attempt < options.momentsOfRun ? endAt(place, phase, random, milliseconds) : undefined;
        if (end) left--;
        const hasSettings = existsSync(join(place, 'run', 'run.yaml'));
        const ended = await (hasSettings ? resume : start)(kind, place, end);
        const context = `${kind} ${run} at ${phase}: ${ended.stdout}${ended.stderr}`;
        if (ended.signal !== null) {
          expect(ended.signal, context).toBe('SIGKILL');
          killed[phase]++;
          continue;
        }
        expect(ended.code, context).toBe(0);
        expect(ended.stderr, context).toBe('');
        isFinished = true;
        if (end) killed['too late']++;
      }
      expect(await outcome(join(place, 'run')), `${kind} ${run}`).toEqual(expected);
      await rm(place, { recursive: true, force: true });
    }
    return killed;
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

function endAt(place: string, phase: Phase, random: () => number, milliseconds: number): End {
  const pattern = phases[phase];
  if (pattern === null) return { signal: 'SIGKILL', after: random() * milliseconds };
  const names = (): string[] => (existsSync(place) ? (readdirSync(place, { recursive: true }) as string[]) : []);
  // What an earlier attempt left doesn't count.
  const before = new Set(names());
  return { signal: 'SIGKILL', after: random() * 8, once: () => names().some((name) => !before.has(name) && pattern.test(name)) };
}
