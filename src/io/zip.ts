/**
 * @file Stored (uncompressed) zip: entries begin at multiples of 64 bytes, so that what is inside can be used in place.
 * Strict on reading: every entry's checksum, both copies of its header, and that entries neither overlap nor have names
 * that leave a folder. Source: PKWARE APPNOTE 6.3.10; the padding field 0xD935 is Android zipalign's.
 */

import { concatBytes } from '../base/bytes.js';
import { ConfigError, FormatError, quote } from '../base/errors.js';
import { decodeUtf8, encodeUtf8 } from './bytes.js';
import { crc32 } from './crc32.js';

/** A member: its bytes, whole or in pieces that follow each other. */
export interface ZipEntry {
  readonly name: string;
  readonly bytes: Uint8Array | readonly Uint8Array[];
}

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const ALIGN = 64;
const PADDING_FIELD = 0xd935;
/** Without zip64, offsets and sizes have 32 bits and counts 16; the all-ones values are taken. */
const MAX_BYTES = 0xffff_fffe;
const MAX_ENTRIES = 0xfffe;
const VERSION = 20;
const UTF8_NAME = 0x0800;
/** 1980-01-01, the format's first day: the same content gives the same bytes. */
const DATE = 0x0021;

/** Why `name` is not a plain relative path of a file, or null. */
function nameFault(name: string): string | null {
  if (name === '') return 'it is empty';
  if (encodeUtf8(name).length > 0xffff) return 'it is longer than 65535 bytes';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (/[\u0000-\u001f\\:]/.test(name)) return 'it has a backslash, a colon or a control character';
  if (decodeUtf8(encodeUtf8(name)) !== name) return 'it is not well-formed text';
  if (name.split('/').some((part) => part === '' || part === '.' || part === '..')) return 'it is absolute, a folder or leaves its folder';
  return null;
}

interface Placed {
  readonly name: Uint8Array;
  readonly chunks: readonly Uint8Array[];
  readonly crc: number;
  readonly size: number;
  readonly offset: number;
  readonly padding: number;
}

/**
 * A zip file as pieces to be written one after another; members' bytes are passed on, not copied.
 * @throws ConfigError on a name that is unfit or taken twice, and when the file would reach 4 GiB or 65535 members (zip64 is not written).
 */
export function zipChunks(entries: readonly ZipEntry[]): Uint8Array[] {
  checkEntries(entries);
  const out: Uint8Array[] = [];
  const placed: Placed[] = [];
  let at = 0;
  for (const { name, bytes } of entries) {
    const encoded = encodeUtf8(name);
    const chunks = bytes instanceof Uint8Array ? [bytes] : bytes;
    const size = chunks.reduce((n, c) => n + c.length, 0);
    const unpadded = at + 30 + encoded.length + 6;
    const padding = Math.ceil(unpadded / ALIGN) * ALIGN - unpadded;
    const crc = chunks.reduce((c, chunk) => crc32(chunk, c), 0);
    const entry: Placed = { name: encoded, chunks, crc, size, offset: at, padding };
    placed.push(entry);
    out.push(localHeader(entry), ...chunks);
    at = unpadded + padding + size;
  }
  const central = placed.map(centralHeader);
  const centralSize = central.reduce((n, c) => n + c.length, 0);
  out.push(...central, endRecord(placed.length, centralSize, at));
  return out;
}

/** Sizes and names first: nothing is summed up or copied before the whole is known to fit. */
function checkEntries(entries: readonly ZipEntry[]): void {
  if (entries.length > MAX_ENTRIES)
    throw new ConfigError(`zip: too many members. Expected at most ${MAX_ENTRIES}, received ${entries.length}. Use several files.`);
  const seen = new Set<string>();
  let total = 22;
  for (const { name, bytes } of entries) {
    const fault = nameFault(name);
    if (fault) throw new ConfigError(`zip: the name ${quote(name)} is unfit: ${fault}. Expected a relative path with "/".`);
    if (seen.has(name)) throw new ConfigError(`zip: the name ${quote(name)} is taken twice. Rename one of the members.`);
    seen.add(name);
    total += 2 * encodeUtf8(name).length + 30 + 46 + 6 + ALIGN;
    for (const chunk of bytes instanceof Uint8Array ? [bytes] : bytes) total += chunk.length;
  }
  if (total > MAX_BYTES)
    throw new ConfigError(
      `zip: the file would be too large. Expected fewer than ${MAX_BYTES} bytes (4 GiB), received about ${total}. Split it into several files, or save the weights as safetensors.`,
    );
}

/** The fields that the local and the central header share, in their order. */
function writeCommon(view: DataView, at: number, e: Placed): void {
  view.setUint16(at, VERSION, true);
  view.setUint16(at + 2, UTF8_NAME, true);
  view.setUint16(at + 4, 0, true);
  view.setUint16(at + 6, 0, true);
  view.setUint16(at + 8, DATE, true);
  view.setUint32(at + 10, e.crc, true);
  view.setUint32(at + 14, e.size, true);
  view.setUint32(at + 18, e.size, true);
  view.setUint16(at + 22, e.name.length, true);
}

function localHeader(e: Placed): Uint8Array {
  const out = new Uint8Array(30 + e.name.length + 6 + e.padding);
  const view = new DataView(out.buffer);
  view.setUint32(0, LOCAL, true);
  writeCommon(view, 4, e);
  view.setUint16(28, 6 + e.padding, true);
  out.set(e.name, 30);
  view.setUint16(30 + e.name.length, PADDING_FIELD, true);
  view.setUint16(32 + e.name.length, 2 + e.padding, true);
  view.setUint16(34 + e.name.length, ALIGN, true);
  return out;
}

function centralHeader(e: Placed): Uint8Array {
  const out = new Uint8Array(46 + e.name.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, CENTRAL, true);
  view.setUint16(4, VERSION, true);
  writeCommon(view, 6, e);
  view.setUint32(42, e.offset, true);
  out.set(e.name, 46);
  return out;
}

function endRecord(count: number, centralSize: number, centralOffset: number): Uint8Array {
  const out = new Uint8Array(22);
  const view = new DataView(out.buffer);
  view.setUint32(0, END, true);
  view.setUint16(8, count, true);
  view.setUint16(10, count, true);
  view.setUint32(12, centralSize, true);
  view.setUint32(16, centralOffset, true);
  return out;
}

/** A zip file in one array; see `zipChunks` for the form without copies and what is thrown. */
export const writeZip = (entries: readonly ZipEntry[]): Uint8Array => concatBytes(zipChunks(entries));

/**
 * The members of a stored zip file, as views of its bytes, in the order of its directory. Entries of folders are skipped.
 * @param where names the file in errors.
 * @throws FormatError naming the member: truncated or damaged files, compressed, encrypted, streamed or zip64 members, names that
 * leave a folder, duplicates, overlapping members, a wrong checksum.
 */
export function readZip(bytes: Uint8Array, where = 'zip'): Map<string, Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { count, centralSize, centralOffset, end } = findEnd(view, where);
  const members = new Map<string, Uint8Array>();
  const ranges: { name: string; begin: number; end: number }[] = [];
  let at = centralOffset;
  for (let i = 0; i < count; i++) {
    const entry = readEntry(bytes, view, at, end, where);
    at = entry.next;
    if (members.has(entry.name)) throw new FormatError(`${where}: the member ${quote(entry.name)} is there twice.`);
    ranges.push({ name: entry.name, begin: entry.begin, end: entry.begin + entry.headerSize + entry.data.length });
    members.set(entry.name, entry.data);
  }
  if (at !== centralOffset + centralSize) throw new FormatError(`${where}: the directory's size is wrong. The file is damaged.`);
  ranges.sort((a, b) => a.begin - b.begin);
  for (let i = 0; i < ranges.length; i++)
    if (ranges[i].end > (ranges[i + 1]?.begin ?? centralOffset))
      throw new FormatError(`${where}: the member ${quote(ranges[i].name)} overlaps what follows it. The file is damaged.`);
  for (const name of members.keys()) if (name.endsWith('/')) members.delete(name);
  return members;
}

interface End {
  readonly count: number;
  readonly centralSize: number;
  readonly centralOffset: number;
  readonly end: number;
}

/** The end record: the last one whose comment reaches exactly to the end of the file. */
function findEnd(view: DataView, where: string): End {
  const length = view.byteLength;
  for (let at = length - 22; at >= 0 && at >= length - 22 - 0xffff; at--) {
    if (view.getUint32(at, true) !== END || at + 22 + view.getUint16(at + 20, true) !== length) continue;
    const count = view.getUint16(at + 10, true);
    const centralSize = view.getUint32(at + 12, true);
    const centralOffset = view.getUint32(at + 16, true);
    if (count === 0xffff || centralSize === 0xffffffff || centralOffset === 0xffffffff)
      throw new FormatError(`${where}: the file is a zip64, which is not read here. Expected a zip of less than 4 GiB.`);
    if (view.getUint16(at + 4, true) !== 0 || view.getUint16(at + 6, true) !== 0 || view.getUint16(at + 8, true) !== count)
      throw new FormatError(`${where}: the file is one part of a split zip, or damaged. Expected a whole file.`);
    if (centralOffset + centralSize !== at)
      throw new FormatError(`${where}: the directory is not where the file says. The file is damaged.`);
    return { count, centralSize, centralOffset, end: at };
  }
  throw new FormatError(`${where}: there is no zip directory at the end. The file is truncated, damaged or no zip file.`);
}

interface Entry {
  readonly name: string;
  readonly begin: number;
  readonly headerSize: number;
  readonly data: Uint8Array;
  readonly next: number;
}

/** One entry of the directory at `at`, checked against its local header and its checksum. */
function readEntry(bytes: Uint8Array, view: DataView, at: number, end: number, where: string): Entry {
  if (at + 46 > end || view.getUint32(at, true) !== CENTRAL) throw new FormatError(`${where}: the directory is damaged at byte ${at}.`);
  const nameLength = view.getUint16(at + 28, true);
  const next = at + 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  if (next > end) throw new FormatError(`${where}: the directory is damaged at byte ${at}.`);
  const name = readName(bytes.subarray(at + 46, at + 46 + nameLength), at, where);
  const who = `${where}: the member ${quote(name)}`;
  const flags = view.getUint16(at + 8, true);
  const method = view.getUint16(at + 10, true);
  const size = view.getUint32(at + 24, true);
  const begin = view.getUint32(at + 42, true);
  if (flags & ~UTF8_NAME) throw new FormatError(`${who} is encrypted or streamed (flags ${flags}). Expected a plain stored member.`);
  if (method !== 0)
    throw new FormatError(`${who} is compressed (method ${method}). Expected a stored one. Pack it again without compression (zip -0).`);
  if (view.getUint32(at + 20, true) !== size) throw new FormatError(`${who}: its two sizes disagree. The file is damaged.`);
  if (size === 0xffffffff || begin === 0xffffffff) throw new FormatError(`${who} is zip64, which is not read here.`);
  if (begin + 30 > end || view.getUint32(begin, true) !== LOCAL)
    throw new FormatError(`${who} has no header at byte ${begin}. The file is damaged.`);
  const headerSize = 30 + nameLength + view.getUint16(begin + 28, true);
  // Version needed up to name length, then the name: both copies of the header must say the same.
  const same =
    equalBytes(bytes, at + 6, begin + 4, 24) && begin + headerSize + size <= end && equalBytes(bytes, at + 46, begin + 30, nameLength);
  if (!same) throw new FormatError(`${who}: its two headers disagree. The file is damaged.`);
  const data = bytes.subarray(begin + headerSize, begin + headerSize + size);
  if (crc32(data) !== view.getUint32(at + 16, true))
    throw new FormatError(`${who} does not match its checksum. The file is damaged; restore a copy.`);
  return { name, begin, headerSize, data, next };
}

function readName(bytes: Uint8Array, at: number, where: string): string {
  let name: string;
  try {
    name = decodeUtf8(bytes);
  } catch (error) {
    throw new FormatError(`${where}: a name at byte ${at} of the directory is not UTF-8.`, { cause: error });
  }
  const fault = nameFault(name.endsWith('/') ? name.slice(0, -1) : name);
  if (fault) throw new FormatError(`${where}: the name ${quote(name)} is refused: ${fault}.`);
  return name;
}

function equalBytes(bytes: Uint8Array, a: number, b: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (bytes[a + i] !== bytes[b + i]) return false;
  return true;
}
