/** @file How the commands write: numbers for people, tables, JSON files. */
import { encodeUtf8 } from '../io/bytes.js';

/** A line on stdout. */
export const say = (line = ''): void => void process.stdout.write(`${line}\n`);

/**
 * What a model says, as a terminal may show it: without the control characters (ESC and those of C1 begin commands that move the cursor, set
 * titles, write to the clipboard); \n and \t stay. In a file or a pipe it is as it was said.
 */
export const said = (text: string, isTerminal: boolean = process.stdout.isTTY === true): string =>
  isTerminal ? text.replace(/[^\P{Cc}\n\t]/gu, '') : text;

/** 315722 → 315,722. */
export const thousands = (n: number): string => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ',');

/** Four digits after the point. */
export const four = (x: number): string => x.toFixed(4);

export const percent = (x: number): string => `${(100 * x).toFixed(1)}%`;

export const plural = (n: number, one: string, many = `${one}s`): string => `${thousands(n)} ${n === 1 ? one : many}`;

/** `2 threads, 256-bit vectors`. */
export const describeTarget = ({ threads, lanes }: { readonly threads: number; readonly lanes: number }): string =>
  `${plural(threads, 'thread')}, ${lanes === 1 ? 'no vectors' : `${32 * lanes}-bit vectors (${lanes} × f32)`}`;

/** Rows of cells as lines; columns are as wide as needed, and all but the first are aligned to the right. */
export function tableLines(rows: readonly (readonly string[])[]): string[] {
  const columns = Math.max(...rows.map((r) => r.length));
  const widths = Array.from({ length: columns }, (_, i) => Math.max(...rows.map((r) => (r[i] ?? '').length)));
  return rows.map((r) =>
    widths
      .map((w, i) => (i === 0 ? (r[i] ?? '').padEnd(w) : (r[i] ?? '').padStart(w)))
      .join('  ')
      .trimEnd(),
  );
}

/** Writes `value` to `path` so that the file is whole or not there. Throws ConfigError when that can't be. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  const { writeFileAtomically } = await import('../io/atomic-write-node.js');
  await writeFileAtomically(path, encodeUtf8(`${JSON.stringify(value, null, 2)}\n`));
}

/** A path as an argument of a shell. */
export const shellWord = (text: string): string => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
