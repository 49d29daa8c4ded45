/**
 * @file The size budgets. Prints lines per folder; a hard budget that is passed fails `npm test`.
 * Lines are counted as in an editor, comments and blank ones included.
 */
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { type SourceFile, sourceFiles } from './source-files.js';

const FILE_LIMIT = 600;
/** What every target shares; a target's renderer and device have budgets of their own. */
const ENGINE_LIMIT = 17_000;
const RENDERER_LIMIT = 400;
const DEVICE_LIMIT = 1_550;
const PRIMITIVE_LIMIT = 60;
const engine = ['base', 'kernel', 'graph', 'autodiff', 'compile', 'tensor'];

export interface FolderSize {
  readonly folder: string;
  readonly files: number;
  readonly lines: number;
  readonly longest: string;
}

export interface SizeReport {
  readonly folders: readonly FolderSize[];
  readonly engineLines: number;
  readonly primitives: number;
  /** Hard budgets that are passed, one sentence each. */
  readonly faults: readonly string[];
}

export const countLines = (text: string): number => text.split('\n').length - (text.endsWith('\n') ? 1 : 0);

/** The folder of src/ that a path lies in; files of src/ itself count as "src". */
const folderOf = (path: string): string => path.split('/').slice(1, -1)[0] ?? 'src';

/** Measures files of src/ (paths from the repository's root) against the budgets. */
export function measure(files: readonly SourceFile[]): SizeReport {
  const faults: string[] = [];
  const sizes = files.map((file) => ({ path: file.path, lines: countLines(file.text) }));
  const total = (prefix: string): number => sizes.filter((f) => f.path.startsWith(prefix)).reduce((n, f) => n + f.lines, 0);
  const limit = (what: string, lines: number, most: number): void => {
    if (lines > most) faults.push(`${what}: ${lines} lines. Expected at most ${most}.`);
  };
  for (const { path, lines } of sizes) limit(path, lines, path.startsWith('src/render/') ? RENDERER_LIMIT : FILE_LIMIT);
  const engineLines = engine.reduce((n, folder) => n + total(`src/${folder}/`), 0);
  limit(`the engine (${engine.join(', ')})`, engineLines, ENGINE_LIMIT);
  const devices = new Set(sizes.map((f) => /^src\/device\/([^/]+)\//.exec(f.path)?.[1]).filter((d) => d !== undefined));
  for (const device of devices) limit(`the device ${device}`, total(`src/device/${device}/`), DEVICE_LIMIT);
  const primitives = countPrimitives(files);
  if (primitives > PRIMITIVE_LIMIT) faults.push(`the primitive table: ${primitives} rows. Expected at most ${PRIMITIVE_LIMIT}.`);
  const folders = [...new Set(sizes.map((f) => folderOf(f.path)))].map((folder) => {
    const own = sizes.filter((f) => folderOf(f.path) === folder);
    const longest = own.reduce((a, b) => (b.lines > a.lines ? b : a));
    return { folder, files: own.length, lines: own.reduce((n, f) => n + f.lines, 0), longest: `${longest.lines} ${longest.path}` };
  });
  return { folders, engineLines, primitives, faults };
}

/**
 * Rows of the primitive table that need a rule of their own: the fields of `PrimitiveArgs`. Scalar ops are not counted:
 * one of those is a row and a line a renderer, and costs no family a case.
 */
function countPrimitives(files: readonly SourceFile[]): number {
  const args = files.find((f) => f.path === 'src/graph/primitives/args.ts');
  if (!args) return 0;
  const source = ts.createSourceFile(args.path, args.text, ts.ScriptTarget.Latest);
  const table = source.statements.find(
    (s): s is ts.InterfaceDeclaration => ts.isInterfaceDeclaration(s) && s.name.text === 'PrimitiveArgs',
  );
  if (!table) throw new Error('check-size: src/graph/primitives/args.ts has no interface PrimitiveArgs. Update countPrimitives.');
  return table.members.length;
}

/** The report as a table for people. */
export function printReport(report: SizeReport, testLines: number): string {
  const rows = report.folders.map(
    (f) => `${f.folder.padEnd(12)}${String(f.files).padStart(6)}${String(f.lines).padStart(8)}   ${f.longest}`,
  );
  const lines = report.folders.reduce((n, f) => n + f.lines, 0);
  return [
    'folder       files   lines   longest file',
    ...rows,
    `src ${lines} lines, engine ${report.engineLines} of ${ENGINE_LIMIT}, tests ${testLines} (${(testLines / Math.max(1, lines)).toFixed(2)} of src), ${report.primitives} primitives`,
  ].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const report = measure(sourceFiles(process.cwd(), 'src'));
  const testLines = sourceFiles(process.cwd(), 'test').reduce((n, f) => n + countLines(f.text), 0);
  if (!process.argv.includes('--quiet')) console.log(printReport(report, testLines));
  for (const fault of report.faults) console.error(fault);
  if (report.faults.length > 0) process.exit(1);
}
