/**
 * @file Damaged language models given to those who open them: config.json, tokenizer.json and GGUF through openModel, adapters' two files, and
 * the YAML of runs. A whole model, or an error of ours; no time or memory that isn't in proportion to the file.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { concatBytes } from '../../src/base/bytes.js';
import { setDevice } from '../../src/device/registry.js';
import { ggufPieces } from '../../src/io/gguf.js';
import { writeSafetensorsFiles } from '../../src/io/safetensors-files-node.js';
import { ggufEntries } from '../../src/llm/export.js';
import { TextGenerator } from '../../src/llm/generate.js';
import { openModel } from '../../src/llm/open-model-node.js';
import { finetuneSettings, pretrainSettings, readSettings, settingFlags } from '../../src/llm/settings.js';
import type { Tokenizer } from '../../src/llm/tokenizer.js';
import { loadAdapter, saveAdapter } from '../../src/model/adapter-files.js';
import { applyLora, unloadLora } from '../../src/model/lora.js';
import type { CausalLM } from '../../src/zoo/causal-lm.js';
import { noOutcome, type Outcome, sample } from '../io/fuzz-files.js';
import { mutateBytes, mutateJson, Random } from '../io/mutate.js';
import {
  byteLevelTokenizer,
  configOf,
  type ModelType,
  modelTypes,
  sentencePieceConfig,
  sentencePieceTokenizer,
  shapesOf,
  tensorsOf,
} from './small-models.js';

/** Sizes of models that aren't there, and numbers that are none. */
const numbers: readonly string[] = [
  ...[
    '2',
    '3',
    '16',
    '63',
    '65',
    '128',
    '1000',
    '9999',
    '1000000',
    '67108864',
    '67108865',
    '4294967296',
    '1e308',
    '1e-308',
    '-1e9',
    '0.001',
  ],
  ...['"llama"', '"gpt2"', '"qwen3"', '"linear"', '"llama3"', '"sliding_attention"', '{"rope_type":"llama3","factor":1e-300}', '[1,2]'],
];

async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'tenon-fuzz-'));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Files {
  readonly folder: string;
  readonly config: string;
  readonly tokenizer: string;
}
/** Small models of all kinds in folders. */
async function modelsIn(root: string, types: readonly ModelType[] = modelTypes): Promise<Files[]> {
  const made: Files[] = [];
  for (const type of types) {
    const folder = join(root, type);
    mkdirSync(folder);
    const files = { config: JSON.stringify(configOf(type)), tokenizer: JSON.stringify(byteLevelTokenizer()) };
    writeFileSync(join(folder, 'config.json'), files.config);
    writeFileSync(join(folder, 'tokenizer.json'), files.tokenizer);
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ bos_token: '<|end|>', eos_token: '<|end|>' }));
    await writeSafetensorsFiles(folder, tensorsOf(shapesOf(type)), {});
    made.push({ folder, ...files });
  }
  return made;
}

/** What opens must be of use: it says something. */
async function openAndTry(name: string): Promise<void> {
  const { model, tokenizer } = await openModel(name);
  await say(model, tokenizer);
}
async function say(model: CausalLM, tokenizer: Tokenizer): Promise<void> {
  const generator = new TextGenerator(model, tokenizer, { slots: 1, context: Math.min(16, model.config.maxPositions) });
  await generator.generate('a the', { maxTokens: 3, temperature: 0 });
}

/** Models of which config.json is damaged, or tokenizer.json. */
async function fuzzPart(part: 'config' | 'tokenizer', count: number, seed: number): Promise<Outcome> {
  return inFolder(async (root) => {
    setDevice('reference');
    const outcome = noOutcome();
    const random = new Random(seed);
    const models = await modelsIn(root);
    for (let i = 0; i < count; i++) {
      const model = random.of(models);
      const path = join(model.folder, `${part}.json`);
      writeFileSync(path, mutateJson(model[part], random, numbers));
      await sample(outcome, `${part} ${seed}/${i} (${readFileSync(path, 'utf8').slice(0, 600)})`, () => openAndTry(model.folder));
      writeFileSync(path, model[part]);
    }
    return outcome;
  });
}
export const fuzzConfigs = (count: number, seed: number): Promise<Outcome> => fuzzPart('config', count, seed);
export const fuzzTokenizerFiles = (count: number, seed: number): Promise<Outcome> => fuzzPart('tokenizer', count, seed);

/** GGUF files as models. */
export async function fuzzGgufModels(count: number, seed: number): Promise<Outcome> {
  return inFolder(async (root) => {
    setDevice('reference');
    const outcome = noOutcome();
    const random = new Random(seed);
    const collect = async (content: Parameters<typeof ggufPieces>[0]): Promise<Uint8Array> => {
      const pieces: Uint8Array[] = [];
      for await (const piece of ggufPieces(content)) pieces.push(piece.slice());
      return concatBytes(pieces);
    };
    const sentencePiece = { json: sentencePieceTokenizer(), config: sentencePieceConfig };
    const byteLevel = { json: byteLevelTokenizer(), config: { bos_token: '<|end|>' } };
    const models = [
      await collect(ggufEntries(configOf('llama'), sentencePiece, tensorsOf(shapesOf('llama')), 'q8_0')),
      await collect(ggufEntries(configOf('qwen3'), byteLevel, tensorsOf(shapesOf('qwen3')), 'f16')),
      await collect(ggufEntries(configOf('gpt2'), byteLevel, tensorsOf(shapesOf('gpt2')), 'f32')),
    ];
    const path = join(root, 'm.gguf');
    for (let i = 0; i < count; i++) {
      const whole = random.of(models);
      // Half of the faults fall among what numbers say of the model, and not among tokens or weights.
      writeFileSync(path, mutateBytes(whole, random, random.below(2) === 0 ? 1500 : whole.length));
      await sample(outcome, `gguf model ${seed}/${i}`, () => openAndTry(path));
    }
    return outcome;
  });
}

/** Adapters of which one of the two files is damaged, on a model that stays as it is. */
export async function fuzzAdapters(count: number, seed: number): Promise<Outcome> {
  return inFolder(async (root) => {
    setDevice('reference');
    const outcome = noOutcome();
    const random = new Random(seed);
    const [{ folder }] = await modelsIn(root, ['llama']);
    const { model, tokenizer } = await openModel(folder);
    applyLora(model, { rank: 2, alpha: 4, targetModules: ['q_proj', 'down_proj'], modulesToSave: ['norm'] });
    const adapter = join(root, 'adapter');
    await saveAdapter(model, adapter, { baseModel: folder });
    unloadLora(model);
    const before = model.weights.length;
    const paths = { config: join(adapter, 'adapter_config.json'), weights: join(adapter, 'adapter_model.safetensors') };
    const config = readFileSync(paths.config, 'utf8');
    const weights = new Uint8Array(readFileSync(paths.weights));
    const names = [
      ...numbers,
      '"q_proj"',
      '["v_proj"]',
      '"all-linear"',
      '"(a+)+$"',
      `[${'"q_proj",'.repeat(5000)}"k_proj"]`,
      '{"q_proj":3}',
    ];
    for (let i = 0; i < count; i++) {
      const isConfig = random.below(2) === 0;
      if (isConfig) writeFileSync(paths.config, mutateJson(config, random, names));
      else writeFileSync(paths.weights, mutateBytes(weights, random, random.below(4) === 0 ? weights.length : 1800));
      await sample(outcome, `adapter ${seed}/${i}`, async () => {
        // By the adapter's name as well: its config says which model it is for.
        if (i % 10 === 0) return openAndTry(adapter);
        await loadAdapter(model, adapter);
        await say(model, tokenizer);
      });
      unloadLora(model);
      if (model.weights.length !== before) throw new Error(`adapter ${seed}/${i}: the model has other weights than before`);
      if (isConfig) writeFileSync(paths.config, config);
      else writeFileSync(paths.weights, weights);
    }
    return outcome;
  });
}

const pretrainYaml = `# A run.
data: [a.txt, "b.jsonl"]
documents: lines
depth: 4
config: { model_type: llama, hidden_size: 64, rope_scaling: { factor: 2 } }
context: 256
steps: 100
learningRate: 6e-4
schedule: cosine
checkpointing: false
samples:
  - Once upon a time
  - 'The small "mouse"'
`;
const finetuneYaml = `model: models/base
data: rows.jsonl
columns: { prompt: question, completion: answer }
method: lora
loraRank: 8
loraTargets: all-linear
modulesToSave: []
epochs: 1.5
notes: >-
  no key of ours
lossOn: assistant
`;
const yamlPieces: readonly string[] = [
  ...[
    '&a ',
    '*a',
    '&a [*a]',
    '<<: *a\n',
    '!!js/function "x"',
    '!!binary "aGk="',
    '!!set {a, b}',
    '!!omap [a: 1]',
    '!!int "x"',
    '!<tag:x> y',
    '? [a, b]\n: c\n',
  ],
  ...[
    '---\n',
    '...\n',
    '%YAML 1.1\n',
    '%TAG ! tag:x:\n',
    '|\n  ',
    '>\n',
    '- ',
    ': ',
    '\t',
    '"',
    "'",
    '[',
    ']',
    '{',
    '}',
    '#',
    '\u0000',
    '\ud800',
    '\u2028',
    '~',
  ],
  ...[
    '__proto__: { steps: 1 }\n',
    'constructor: 1\n',
    'toString: 2\n',
    'steps: 1e999\n',
    'seed: 0x7fffffffffffffff\n',
    'steps: .nan\n',
    'seed: 2026-01-01\n',
  ],
  ...[
    '['.repeat(20_000),
    '{a: '.repeat(20_000),
    '- '.repeat(20_000),
    `${'x'.repeat(200_000)}: 1\n`,
    'a: &b [*b, *b]\n',
    '\n'.repeat(10_000),
    '? '.repeat(5000),
  ],
  ...[`${Array.from({ length: 12 }, (_, i) => `k${i}: &k${i} [${`*k${i - 1}, `.repeat(9)}1]`.replaceAll('*k-1, ', '1, ')).join('\n')}\n`],
  ...[Array.from({ length: 3000 }, (_, i) => `k${i}: ${i}\n`).join(''), Array.from({ length: 2000 }, () => 'steps: 5\n').join('')],
];

/** YAML of runs, and flags over it. */
export async function fuzzSettings(count: number, seed: number): Promise<Outcome> {
  const outcome = noOutcome();
  const random = new Random(seed);
  const tables = [
    { table: pretrainSettings, yaml: pretrainYaml },
    { table: finetuneSettings, yaml: finetuneYaml.replace(/notes[\s\S]*ours\n/, '') },
    { table: finetuneSettings, yaml: finetuneYaml },
  ] as const;
  for (let i = 0; i < count; i++) {
    const { table, yaml } = random.of(tables);
    let text = yaml;
    for (let n = random.below(4); n > 0; n--) {
      const at = random.below(text.length + 1);
      const line = text.lastIndexOf('\n', at) + 1;
      const cut = random.below(2) === 0 ? random.below(15) : 0;
      const piece = random.below(4) === 0 ? text.slice(random.below(at + 1), at) : random.of(yamlPieces);
      const place = random.below(2) === 0 ? at : line;
      text = random.below(4) === 0 ? text.slice(0, at) + text.slice(at + cut) : text.slice(0, place) + piece + text.slice(place + cut);
    }
    const flags: Record<string, unknown> = {};
    if (random.below(3) === 0)
      flags[random.of(settingFlags(table)).key] = random.of([-1, 0.5, 1e300, Number.NaN, 'x', '', [], {}, true, null]);
    await sample(outcome, `settings ${seed}/${i}: ${text.slice(0, 600)}`, () => {
      const settings = readSettings(table, text, flags, 'run.yaml');
      const odd = Object.keys(settings).filter((key) => !Object.hasOwn(table.shape, key));
      if (odd.length > 0 || Object.getPrototypeOf(settings) !== Object.prototype) throw new Error(`settings with ${odd.join()}`);
    });
  }
  return outcome;
}
