/** @file Where a model may be written: over nothing it is made of, and over another model only when asked to. */
import { readdir, realpath, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PEFT_CONFIG_FILE, PEFT_WEIGHTS_FILE } from '../io/peft.js';
import { UsageError } from './failure.js';

/** Throws UsageError when `out` is one of the folders or files that a model is read from, by whatever path. */
export async function requireNotSource(option: string, out: string, sources: readonly string[]): Promise<void> {
  const place = await realpath(out).catch(() => null);
  if (place === null) return;
  for (const source of sources)
    if ((await realpath(source).catch(() => null)) === place)
      throw new UsageError(`${option}: ${out} is what the model is read from. Expected another place. Choose a new one.`);
}

/** Throws UsageError where a file or a model lies already, unless it may be written over. */
export async function requireNoModel(option: string, out: string, kind: 'file' | 'folder', isOverwritten: boolean): Promise<void> {
  const found = await stat(out).catch(() => null);
  if (found === null) return;
  if (found.isDirectory() !== (kind === 'folder'))
    throw new UsageError(`${option}: ${out} is a ${kind === 'file' ? 'folder' : 'file'}. Expected the name of a ${kind}.`);
  if (isOverwritten) return;
  const [held] =
    kind === 'file'
      ? ['']
      : (await readdir(out)).filter((name) => name === 'config.json' || name === PEFT_CONFIG_FILE || name.endsWith('.safetensors'));
  if (held !== undefined)
    throw new UsageError(
      `${option}: ${kind === 'file' ? `${out} exists` : `${out} holds a model (${join(out, held)})`}. Expected a new ${kind}. Choose another, or give --overwrite.`,
    );
}

/** What says of a model that it is another one, or that another has to be added to it. */
const telling = [
  PEFT_CONFIG_FILE,
  PEFT_WEIGHTS_FILE,
  'generation_config.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
];

/** Removes from a folder that is written over what the next model may not have, and would be read with it. */
export async function removeOtherModel(folder: string): Promise<void> {
  for (const name of telling) await rm(join(folder, name), { force: true });
}
