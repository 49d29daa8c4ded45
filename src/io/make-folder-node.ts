/** @file Making a folder and those above it. Node's own `recursive: true` never ends where a file system refuses with ENOENT, as /proc does. */
import { mkdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined);

/** Makes `path`; gives the first folder that had to be made, or null. Throws the system's error. */
export async function makeFolders(path: string): Promise<string | null> {
  const folder = resolve(path);
  const make = (): Promise<boolean> =>
    mkdir(folder).then(
      () => true,
      async (error: unknown) => {
        if (codeOf(error) === 'EEXIST' && (await stat(folder)).isDirectory()) return false;
        throw error;
      },
    );
  try {
    return (await make()) ? folder : null;
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' || dirname(folder) === folder) throw error;
  }
  const first = await makeFolders(dirname(folder));
  const made = await make();
  return first ?? (made ? folder : null);
}
