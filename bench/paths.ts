/** @file Places in the checkout, the same for the sources and for what is built of them. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder with package.json. */
export const root: string = (() => {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('bench: no package.json above this file. Expected to run inside the checkout.');
    folder = parent;
  }
  return folder;
})();

/** The peers' programs, which nobody compiles. */
export const peerProgram = (name: string): string => join(root, 'bench', 'peers', name);
export const cliProgram: string = join(root, 'dist', 'cli', 'main.js');
export const benchProgram: string = join(root, 'dist-tools', 'bench', 'main.js');
