/**
 * @file The `.tenon` container: a stored zip of `tenon.json` (format, version, the list of members, free JSON parts) and
 * safetensors members whose tensors are aligned in the file. Every byte that means something is under a checksum or
 * written twice, so a damaged file is an error and never other numbers.
 */

import { concatBytes } from '../base/bytes.js';
import { ConfigError, FormatError, quote } from '../base/errors.js';
import { isRecord } from './bytes.js';
import { decodeJson, encodeJson } from './json-exact.js';
import { readSafetensors, safetensorsChunks, type TensorMap } from './safetensors.js';
import { readZip, type ZipEntry, zipChunks } from './zip.js';

/** What a `.tenon` file holds: named JSON values (a model's config, an optimizer's, a history …) and named sets of tensors. */
export interface TenonParts {
  readonly json: Record<string, unknown>;
  readonly tensors: Record<string, TensorMap>;
}

/** The version of the container that this build writes, and the newest that it reads. */
export const TENON_VERSION = 1;
const FORMAT = 'tenon';
const INDEX = 'tenon.json';
const SUFFIX = '.safetensors';

/**
 * A `.tenon` file as pieces to be written one after another (see `writeFileAtomically`), without a copy of the tensors.
 * @throws ConfigError naming what cannot be saved, or when the file would reach 4 GiB.
 */
export function tenonChunks(parts: TenonParts): Uint8Array[] {
  const names = Object.keys(parts.tensors);
  for (const name of names)
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name))
      throw new ConfigError(
        `tenon file: the tensor part ${JSON.stringify(name)} has an unfit name. Expected letters, digits, ".", "_" and "-".`,
      );
  const index = { format: FORMAT, version: TENON_VERSION, tensors: names, json: parts.json };
  const entries: ZipEntry[] = [{ name: INDEX, bytes: encodeJson(index, 'tenon file', 1) }];
  for (const name of names) entries.push({ name: name + SUFFIX, bytes: safetensorsChunks(parts.tensors[name]) });
  return zipChunks(entries);
}

/** A `.tenon` file in one array; see `tenonChunks`. */
export const writeTenon = (parts: TenonParts): Uint8Array<ArrayBuffer> => concatBytes(tenonChunks(parts));

/**
 * Reads a `.tenon` file. The tensors are views of `bytes`, which must not change while they are used.
 * @param where names the file in errors.
 * @throws FormatError naming the part that is truncated, damaged or missing, or the version when a newer Tenon wrote the file.
 */
export function readTenon(bytes: Uint8Array, where = 'tenon file'): TenonParts {
  if (bytes.length === 0) throw new FormatError(`${where}: the file is empty. Expected a .tenon file.`);
  const members = readZip(bytes, where);
  const indexBytes = members.get(INDEX);
  if (!indexBytes) throw new FormatError(`${where}: there is no ${INDEX} in it. Expected a .tenon file, received another zip.`);
  const index = decodeJson(indexBytes, `${where}: ${INDEX}`);
  if (!isRecord(index) || index.format !== FORMAT)
    throw new FormatError(`${where}: ${INDEX} does not say format "${FORMAT}". Expected a .tenon file.`);
  checkVersion(index.version, where);
  const { json, tensors: names } = index;
  if (!isRecord(json) || !Array.isArray(names) || !names.every((n) => typeof n === 'string'))
    throw new FormatError(`${where}: ${INDEX} is malformed. Expected "json" (an object) and "tensors" (a list of names).`);
  const tensors: [string, TensorMap][] = names.map((name: string) => {
    const member = members.get(name + SUFFIX);
    if (!member) throw new FormatError(`${where}: the part ${name + SUFFIX} is missing. The file was changed after it was written.`);
    return [name, readSafetensors(member, `${where}: ${name + SUFFIX}`).tensors];
  });
  if (members.size !== names.length + 1 || new Set(names).size !== names.length)
    throw new FormatError(`${where}: its members are not those that ${INDEX} lists: ${quote([...members.keys()])}.`);
  return { json, tensors: Object.fromEntries(tensors) };
}

function checkVersion(version: unknown, where: string): void {
  if (typeof version !== 'number' || !Number.isInteger(version) || version < 1)
    throw new FormatError(`${where}: the format version is malformed. Expected an integer ≥ 1, received ${quote(version)}.`);
  if (version > TENON_VERSION)
    throw new FormatError(
      `${where}: a newer Tenon wrote this file. Expected format version ≤ ${TENON_VERSION}, received ${version}. Update the package (npm install tenon@latest), or save the model again with this one.`,
    );
}
