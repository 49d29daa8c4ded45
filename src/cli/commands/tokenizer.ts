/** @file `tenon tokenizer`: learns a vocabulary from text files, and shows what a tokenizer makes of a text. */
import { rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { reasonOf } from '../../base/errors.js';
import { makeFolders } from '../../io/make-folder-node.js';
import { chatml } from '../../llm/chat-template.js';
import { loadTokenizer, saveTokenizer } from '../../llm/tokenizer-node.js';
import { type TrainTokenizerProgress, trainTokenizer } from '../../llm/train-tokenizer.js';
import { requireFolder } from '../datasets.js';
import { Interrupted, UsageError } from '../failure.js';
import { onInterruption } from '../interrupt.js';
import { plural, say, tableLines, thousands, writeJson } from '../output.js';
import type { EncodeTokenizerOptions, TrainTokenizerCommandOptions } from '../program.js';
import { readTexts, requireTextFiles } from '../text-files.js';
import { version } from '../version.js';

/** Characters of the texts that the result is tried on. */
const sampleLength = 1_000_000;

/** Runs `tenon tokenizer train`. Throws UsageError for files and folders that don't fit, FormatError for what is no text. */
export async function trainCommand(paths: readonly string[], options: TrainTokenizerCommandOptions): Promise<void> {
  const { vocabSize, out, special, minFrequency, json } = options;
  if (json !== undefined) await requireFolder('--json', dirname(json));
  const files = await requireTextFiles(paths);
  if (await stat(join(out, 'tokenizer.json')).catch(() => null))
    throw new UsageError(`--out: ${out} holds a tokenizer already. Expected another folder, received "${out}". Choose one, or remove it.`);
  const total = files.reduce((n, f) => n + f.bytes, 0);
  // Now, since nobody wants to hear of it after an hour.
  const made = await makeOut(out);
  say(`Reading ${plural(files.length, 'file')}, ${(total / 1e6).toFixed(1)} MB, for ${thousands(vocabSize)} tokens.`);
  const interruption = onInterruption('stopping; nothing is saved.');
  const start = performance.now();
  let reading = 0;
  let read = 0;
  const progress = (p: TrainTokenizerProgress): void => {
    if (p.phase === 'reading') reading = performance.now() - start;
    const share = (n: number, of: number): string => `${(n / 1e6).toFixed(1)} of ${(of / 1e6).toFixed(1)} MB`;
    show(
      p.phase === 'reading'
        ? `reading ${share(read, total)}, ${plural(p.words, 'word')}`
        : `merging: ${thousands(p.tokens)} of ${thousands(p.vocabSize)} tokens`,
    );
  };
  let sample = '';
  async function* texts(): AsyncGenerator<string> {
    const onRead = (bytes: number): void => {
      read = bytes;
    };
    for await (const text of readTexts(files, onRead)) {
      if (sample.length < sampleLength) sample += text.slice(0, sampleLength - sample.length);
      yield text;
    }
  }
  try {
    const chatTemplate = options.chatTemplate === undefined ? undefined : chatml;
    const { signal } = interruption;
    const request = { vocabSize, specialTokens: special, minFrequency, chatTemplate, signal, onProgress: progress };
    const { tokenizer, bytes, words, merges } = await trainTokenizer(texts(), request);
    show('');
    const seconds = { reading: reading / 1000, merging: (performance.now() - start - reading) / 1000 };
    const specialCount = Array.from({ length: tokenizer.vocabSize }, (_, id) => id).filter((id) => tokenizer.isSpecial(id)).length;
    say(
      `Read ${plural(files.length, 'file')}: ${thousands(bytes)} bytes, ${plural(words, 'different word')}, in ${seconds.reading.toFixed(1)} s.`,
    );
    say(
      `Learned ${plural(merges, 'merge')} in ${seconds.merging.toFixed(1)} s: ${plural(tokenizer.vocabSize, 'token')} (${specialCount} special, 256 bytes).`,
    );
    if (tokenizer.vocabSize < vocabSize)
      say(
        `These are fewer than ${thousands(vocabSize)}: no pair of tokens occurs ${minFrequency} times any more. Give more text for more.`,
      );
    const sampleTokens = tokenizer.encode(sample).length;
    const bytesPerToken = sampleTokens === 0 ? null : Buffer.byteLength(sample) / sampleTokens;
    if (bytesPerToken !== null) say(`A token holds ${bytesPerToken.toFixed(2)} bytes of these texts.`);
    await saveTokenizer(out, tokenizer);
    say(`Saved ${join(out, 'tokenizer.json')} and ${join(out, 'tokenizer_config.json')}`);
    if (json !== undefined) {
      const report = {
        version: version(),
        files: files.map((f) => f.path),
        bytes,
        words,
        vocabSize: tokenizer.vocabSize,
        merges,
        bytesPerToken,
        seconds,
      };
      await writeJson(json, report);
      say(`Saved ${json}`);
    }
  } catch (error) {
    show('');
    // Nothing is saved: what was made goes.
    if (made !== null) await rm(made, { recursive: true, force: true });
    if (interruption.signal.aborted) throw new Interrupted();
    throw error;
  } finally {
    interruption.release();
  }
}

/** Makes the folder; gives the first one that was made for it, or null. */
async function makeOut(out: string): Promise<string | null> {
  try {
    return await makeFolders(out);
  } catch (error) {
    throw new UsageError(`--out: the folder ${out} can't be made (${reasonOf(error)}). Choose another one.`, { cause: error });
  }
}

/** What a terminal shows until the next line; nothing elsewhere. */
function show(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${text}\x1b[K`);
}

/** Runs `tenon tokenizer encode`: the ids of a text, and what each stands for. */
export async function encodeCommand(dir: string, text: string, options: EncodeTokenizerOptions): Promise<void> {
  const { json } = options;
  if (json !== undefined) await requireFolder('--json', dirname(json));
  const tokenizer = await loadTokenizer(dir);
  const ids = [...tokenizer.encode(text, { addSpecialTokens: options.specialTokens })];
  const tokens = ids.map((id) => ({ id, token: tokenizer.tokenOf(id), text: textOf(tokenizer.bytesOf(id)) }));
  say(ids.join(' '));
  say();
  for (const line of tableLines(tokens.map((t) => [String(t.id), t.text]))) say(line);
  say(plural(ids.length, 'token'));
  if (json !== undefined) {
    await writeJson(json, { version: version(), text, ids, tokens });
    say(`Saved ${json}`);
  }
}

/** Bytes as a text in quotes; in hexadecimal what is only part of a character. */
function textOf(bytes: Uint8Array): string {
  try {
    return JSON.stringify(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return `bytes ${Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(' ')}`;
  }
}
