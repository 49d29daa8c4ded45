/** @file GGUF files on disk: read a tensor at a time by its position, written atomically as they are made. */
import { writeFileAtomically } from './atomic-write-node.js';
import { type GgufContent, type GgufFile, ggufFile, ggufPieces } from './gguf.js';
import { openFile } from './read-file-node.js';

/**
 * Opens a GGUF file; only its header is read.
 * @throws ConfigError when there is no such file; FormatError as `parseGgufHeader`.
 */
export async function openGguf(path: string): Promise<GgufFile> {
  const reader = await openFile(path);
  try {
    return await ggufFile(reader);
  } catch (error) {
    await reader.close();
    throw error;
  }
}

/** Writes a GGUF file. Rejects as `ggufPieces` and `writeFileAtomically`; then an older file of this name is as it was. */
export async function writeGguf(path: string, content: GgufContent): Promise<void> {
  await writeFileAtomically(path, ggufPieces(content));
}
