/**
 * @file Damaged files given to every reader of tensors: a whole result, or an error of ours that names the file; nothing else, and no memory that isn't in
 * proportion to the file. The quick sample is fuzz-files.test.ts, the whole test/long/fuzz-files.test.ts.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { concatBytes } from '../../src/base/bytes.js';
import { dtypes } from '../../src/base/dtype.js';
import { TenonError } from '../../src/base/errors.js';
import { size } from '../../src/base/shape.js';
import { turn } from '../../src/base/turn.js';
import { encodeUtf8 } from '../../src/io/bytes.js';
import { type GgufContent, ggufFile, ggufPieces } from '../../src/io/gguf.js';
import { readSafetensors, type TensorData, type TensorMap, writeSafetensors } from '../../src/io/safetensors.js';
import { openSafetensors, writeSafetensorsFiles } from '../../src/io/safetensors-files-node.js';
import { bytesReader } from '../../src/io/source.js';
import { ggufEntries } from '../../src/llm/export.js';
import { fromGguf } from '../../src/llm/from-gguf.js';
import { byteLevelTokenizer, configOf, sentencePieceConfig, sentencePieceTokenizer, shapesOf, tensorsOf } from '../llm/small-models.js';
import { file as goldenGguf } from './golden-gguf.js';
import { mutateBytes, mutateJson, Random } from './mutate.js';

/** How the samples ended. */
export interface Outcome {
  read: number;
  refused: number;
  /** Milliseconds of computing that the longest one took. */
  slowest: number;
  /** Which one that was. */
  slowestName: string;
}
export const noOutcome = (): Outcome => ({ read: 0, refused: 0, slowest: 0, slowestName: '' });

/** An error message longer than this repeats the file. */
const MAX_MESSAGE = 2000;

/** Counts what becomes of one file. Throws for whatever isn't a result or a TenonError in a few words. */
export async function sample(outcome: Outcome, what: string, read: () => void | Promise<void>): Promise<void> {
  // The test's process must answer its runner meanwhile.
  if ((outcome.read + outcome.refused) % 50 === 0) await turn();
  const began = process.cpuUsage();
  try {
    await read();
    outcome.read++;
  } catch (error) {
    if (!(error instanceof TenonError)) throw new Error(`${what}: ${String(error)}`.slice(0, 3000), { cause: error });
    if (error.name === 'InternalError' || error.message.length > MAX_MESSAGE) throw new Error(`${what}: ${error.message.slice(0, 500)}`);
    outcome.refused++;
  } finally {
    // Not the clock's time: the machine may be busy with other things.
    const { user, system } = process.cpuUsage(began);
    const milliseconds = (user + system) / 1000;
    if (milliseconds > outcome.slowest) Object.assign(outcome, { slowest: milliseconds, slowestName: what.slice(0, 60) });
  }
}

function checkTensor({ dtype, shape, data }: TensorData): void {
  if (!(data instanceof dtypes[dtype].array) || data.length !== size(shape)) throw new Error('the data are not what dtype and shape say');
}

const tensors: TensorMap = new Map([
  ['w', { dtype: 'f32', shape: [3, 4], data: new Float32Array(12).fill(1) }],
  ['h', { dtype: 'bf16', shape: [5], data: new Uint16Array(5).fill(0x3f80) }],
  ['ids', { dtype: 'i32', shape: [2], data: Int32Array.of(1, 2) }],
  ['mask', { dtype: 'bool', shape: [3], data: Uint8Array.of(0, 1, 1) }],
]);

/** `bytes` (8 bytes of length, JSON, data) with a fault in the JSON, its length kept right. */
function mutateHeader(bytes: Uint8Array, random: Random): Uint8Array {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const json = encodeUtf8(mutateJson(new TextDecoder().decode(bytes.subarray(8, 8 + length)), random));
  const head = new Uint8Array(8);
  new DataView(head.buffer).setBigUint64(0, BigInt(json.length), true);
  return concatBytes([head, json, bytes.subarray(8 + length)]);
}

/** Whole safetensors files in memory. */
export async function fuzzSafetensors(count: number, seed: number): Promise<Outcome> {
  const outcome = noOutcome();
  const random = new Random(seed);
  const whole = writeSafetensors(tensors, { format: 'pt' });
  for (let i = 0; i < count; i++) {
    const bytes = i % 2 === 0 ? mutateBytes(whole, random, 400) : mutateHeader(whole, random);
    await sample(outcome, `safetensors ${seed}/${i}`, () => {
      for (const tensor of readSafetensors(bytes, 'm.safetensors').tensors.values()) checkTensor(tensor);
    });
  }
  return outcome;
}

/** Sharded models on disk: a damaged index, or a damaged shard. */
export async function fuzzIndex(count: number, seed: number): Promise<Outcome> {
  const outcome = noOutcome();
  const random = new Random(seed);
  const folder = mkdtempSync(join(tmpdir(), 'tenon-fuzz-'));
  try {
    const entries = [...tensors].map(([name, { dtype, shape, data }]) => ({ name, dtype, shape, data: () => data }));
    const files = await writeSafetensorsFiles(folder, entries, { maxShardBytes: 48 });
    const { readFileSync } = await import('node:fs');
    const whole = files.map((name) => new Uint8Array(readFileSync(join(folder, name))));
    for (let i = 0; i < count; i++) {
      const which = i % 2 === 0 ? files.length - 1 : random.below(files.length);
      const text = new TextDecoder().decode(whole[which]);
      const isJson = which === files.length - 1 && i % 4 !== 0;
      writeFileSync(join(folder, files[which]), isJson ? mutateJson(text, random) : mutateBytes(whole[which], random));
      await sample(outcome, `index ${seed}/${i}`, async () => {
        const opened = await openSafetensors(folder);
        try {
          for (const name of opened.names()) checkTensor(await opened.read(name));
        } finally {
          await opened.close();
        }
      });
      writeFileSync(join(folder, files[which]), whole[which]);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return outcome;
}

const collect = async (content: GgufContent): Promise<Uint8Array> => {
  const pieces: Uint8Array[] = [];
  for await (const piece of ggufPieces(content)) pieces.push(piece.slice());
  return concatBytes(pieces);
};

/** GGUF files: headers, tensors, and whole language models in Hugging Face's terms. */
export async function fuzzGguf(count: number, seed: number): Promise<Outcome> {
  const outcome = noOutcome();
  const random = new Random(seed);
  const byteLevel = { json: byteLevelTokenizer(), config: { bos_token: '<|end|>' } };
  const sentencePiece = { json: sentencePieceTokenizer(), config: sentencePieceConfig };
  const models = [
    await collect(ggufEntries(configOf('llama'), sentencePiece, tensorsOf(shapesOf('llama')), 'q8_0')),
    await collect(ggufEntries(configOf('gpt2'), byteLevel, tensorsOf(shapesOf('gpt2')), 'f16')),
  ];
  for (let i = 0; i < count; i++) {
    const whole = i % 2 === 0 ? goldenGguf : random.of(models);
    // Most faults fall among what numbers say, and not among tokens.
    const bytes = mutateBytes(whole, random, random.below(2) === 0 ? 1500 : whole.length);
    await sample(outcome, `gguf ${seed}/${i}`, async () => {
      const file = await ggufFile(bytesReader(bytes, 'm.gguf'));
      if (i % 2 === 0) for (const { name } of file.tensors) checkTensor(await file.read(name));
      else {
        const model = await fromGguf(file, 'm.gguf');
        for (const { dtype, shape, data } of model.tensors) checkTensor({ dtype, shape, data: await data() });
      }
    });
  }
  return outcome;
}

/** Exports of models whose config.json or tokenizer.json is damaged. */
export async function fuzzExport(count: number, seed: number): Promise<Outcome> {
  const outcome = noOutcome();
  const random = new Random(seed);
  const models = (['llama', 'gpt2', 'qwen3'] as const).map((type) => ({
    config: JSON.stringify(configOf(type)),
    tensors: tensorsOf(shapesOf(type)),
  }));
  const tokenizers = [JSON.stringify(byteLevelTokenizer('qwen2')), JSON.stringify(sentencePieceTokenizer())];
  for (let i = 0; i < count; i++) {
    const { config, tensors: entries } = random.of(models);
    const tokenizer = random.of(tokenizers);
    await sample(outcome, `export ${seed}/${i}`, async () => {
      const [c, t] = i % 2 === 0 ? [mutateJson(config, random), tokenizer] : [config, mutateJson(tokenizer, random)];
      let [parsed, json]: unknown[] = [];
      try {
        [parsed, json] = [JSON.parse(c), JSON.parse(t)];
      } catch {
        throw new TenonError('no JSON any more');
      }
      await collect(ggufEntries(parsed, { json, config: sentencePieceConfig }, entries, 'bf16'));
    });
  }
  return outcome;
}
