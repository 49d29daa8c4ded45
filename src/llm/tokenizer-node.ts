/** @file Tokenizers in folders, in Hugging Face's layout: tokenizer.json, tokenizer_config.json, special_tokens_map.json, chat_template.jinja. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError, FormatError } from '../base/errors.js';
import { writeFileAtomically } from '../io/atomic-write-node.js';
import { decodeUtf8, encodeUtf8, isRecord } from '../io/bytes.js';
import { readFileBytes } from '../io/read-file-node.js';
import { Tokenizer, type TokenizerOptions } from './tokenizer.js';

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

async function readTextFile(path: string): Promise<string> {
  const bytes = await readFileBytes(path);
  try {
    return decodeUtf8(bytes);
  } catch (error) {
    throw new FormatError(`${path} is not UTF-8. The file is damaged.`, { cause: error });
  }
}

async function readJson(path: string): Promise<Record<string, unknown>> {
  const text = await readTextFile(path);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FormatError(`${path} is not JSON. The file is damaged.`, { cause: error });
  }
  if (!isRecord(value)) throw new FormatError(`${path} is malformed. Expected an object of JSON.`);
  return value;
}

const optional = async (path: string): Promise<Record<string, unknown>> => ((await isThere(path)) ? readJson(path) : {});

/**
 * The tokenizer of a folder. Only tokenizer.json has to be there; roles that tokenizer_config.json doesn't name come from
 * special_tokens_map.json, and chat_template.jinja is the chat template where it is there.
 * @throws ConfigError for a folder without one, FormatError for malformed files.
 */
export async function loadTokenizer(dir: string, options: TokenizerOptions = {}): Promise<Tokenizer> {
  const path = join(dir, 'tokenizer.json');
  if (!(await isThere(path)))
    throw new ConfigError(
      `loadTokenizer: there is no tokenizer.json in ${dir}. Expected a folder in Hugging Face's layout, received "${dir}".`,
    );
  const [json, config, roles] = await Promise.all([
    readJson(path),
    optional(join(dir, 'tokenizer_config.json')),
    optional(join(dir, 'special_tokens_map.json')),
  ]);
  const template = join(dir, 'chat_template.jinja');
  const merged = {
    ...roles,
    ...withoutNothing(config, roles),
    ...((await isThere(template)) ? { chat_template: await readTextFile(template) } : {}),
  };
  return Tokenizer.fromJson(json, merged, options);
}

/** A config's fields, less the null ones that `roles` has a value for. */
const withoutNothing = (config: Record<string, unknown>, roles: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(config).filter(([key, value]) => value !== null || !Object.hasOwn(roles, key)));

/** Writes tokenizer.json and tokenizer_config.json into a folder that exists. Throws ConfigError and TenonError as the writing of files does. */
export async function saveTokenizer(dir: string, tokenizer: Tokenizer): Promise<void> {
  const write = (name: string, value: unknown): Promise<void> =>
    writeFileAtomically(join(dir, name), encodeUtf8(`${JSON.stringify(value, null, 2)}\n`));
  await write('tokenizer.json', tokenizer.json);
  await write('tokenizer_config.json', tokenizer.config);
}
