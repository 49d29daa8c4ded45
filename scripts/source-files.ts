/** @file The TypeScript files of a folder, for the scripts that check the house. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';

export interface SourceFile {
  /** Path from the root of the repository, with "/". */
  readonly path: string;
  readonly text: string;
}

/** All `.ts` files below `root/folder`, sorted by path; none when there is no such folder. */
export function sourceFiles(root: string, folder: string): SourceFile[] {
  const found: SourceFile[] = [];
  const walk = (directory: string): void => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) walk(path);
      else if (entry.name.endsWith('.ts'))
        found.push({ path: relative(root, path).split(sep).join('/'), text: readFileSync(path, 'utf8') });
    }
  };
  try {
    walk(join(root, folder));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}
