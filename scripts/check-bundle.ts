/**
 * @file The browser's bundle of the tutorial's program: its size, gzipped, against a budget, and that nothing in it needs Node.
 * `node dist-tools/scripts/check-bundle.js --table` prints what it is made of. Needs dist/, which the checks of types build.
 */
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build, type Metafile } from 'esbuild';

/**
 * What the page loads before training begins, in bytes. The aim is 120,000 with the wasm device. About 13,000 are error texts; what a name or
 * a method may ask for at once is there whether it is asked for or not: 6,000 of methods of tensors, 9,000 of metrics, losses, schedules,
 * optimizers and initializers; 3,000 the reference device, which a page without a worker computes on. Esbuild adds 4,000: safetensors, which
 * files of models share with index.ts, and two chunks in place of one. Thin products, operands decoded as they are loaded, rows put in place and
 * the order that keeps few bytes alive came with language models: 8,000 more, and 300 that lower alike layers once.
 */
const BUDGET = 146_400;
const ENTRY = 'scripts/tutorial-program.ts';

export interface BundleReport {
  /** Of the entry and what it imports statically: gzipped, and minified only. */
  readonly initialBytes: number;
  readonly minifiedBytes: number;
  /** Gzipped, everything in one file: what bundlers without code splitting make of it. */
  readonly singleFileBytes: number;
  /** Minified bytes by folder of src/, of what is loaded first. */
  readonly folders: Readonly<Record<string, number>>;
  readonly faults: readonly string[];
}

const gzipped = (bytes: Uint8Array): number => gzipSync(bytes, { level: 9 }).length;

async function bundle(root: string, splitting: boolean): Promise<{ metafile: Metafile; files: Map<string, Uint8Array> }> {
  const { metafile, outputFiles } = await build({
    entryPoints: [ENTRY],
    absWorkingDir: root,
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    conditions: ['browser'],
    splitting,
    metafile: true,
    write: false,
    outdir: 'out',
    logLevel: 'silent',
  });
  // The metafile's names are relative to the root, with "/".
  return { metafile, files: new Map(outputFiles.map((f) => [relative(root, f.path).replaceAll('\\', '/'), f.contents])) };
}

/** The outputs that `entry` imports statically, itself included. */
function reached(metafile: Metafile, entry: string): Set<string> {
  const found = new Set<string>([entry]);
  for (const name of found) for (const { path, kind } of metafile.outputs[name].imports) if (kind === 'import-statement') found.add(path);
  return found;
}

/** Files that a browser's bundle must not hold. */
const isForbidden = (input: string): boolean =>
  (input.endsWith('-node.js') && input !== 'dist/base/no-node.js') ||
  input.includes('node_modules/') ||
  /^dist\/render\/c[.-]/.test(input) ||
  (input.startsWith('dist/device/native/') && !input.endsWith('/absent.js'));

/** Bundles the program with the package in dist/ as it is. Throws when it cannot be bundled. */
export async function measureBundle(root: string): Promise<BundleReport> {
  const { metafile, files } = await bundle(root, true);
  const entry = Object.keys(metafile.outputs).find((name) => metafile.outputs[name].entryPoint === ENTRY);
  if (entry === undefined) throw new Error('check-bundle: esbuild names no output for the entry');
  const initial = [...reached(metafile, entry)];
  const contents = initial.map((name) => files.get(name) ?? new Uint8Array(0));
  const folders: Record<string, number> = {};
  for (const name of initial)
    for (const [input, { bytesInOutput }] of Object.entries(metafile.outputs[name].inputs)) {
      const folder = /^dist\/([^/]+)\//.exec(input)?.[1] ?? 'src';
      folders[folder] = (folders[folder] ?? 0) + bytesInOutput;
    }
  const initialBytes = contents.reduce((n, c) => n + gzipped(c), 0);
  const faults = Object.keys(metafile.inputs)
    .filter((input) => isForbidden(input) && Object.values(metafile.outputs).some((o) => (o.inputs[input]?.bytesInOutput ?? 0) > 0))
    .map((input) => `the bundle for browsers holds ${input}. Expected package.json's imports or the import table to keep it out.`);
  if (initialBytes > BUDGET)
    faults.push(`the bundle of the tutorial's program: ${initialBytes} bytes gzipped. Expected at most ${BUDGET}.`);
  const single = await bundle(root, false);
  return {
    initialBytes,
    minifiedBytes: contents.reduce((n, c) => n + c.length, 0),
    singleFileBytes: [...single.files.values()].reduce((n, c) => n + gzipped(c), 0),
    folders,
    faults,
  };
}

/** The report as a table for people. */
export function printBundle(report: BundleReport): string {
  const rows = Object.entries(report.folders)
    .sort(([, a], [, b]) => b - a)
    .map(([folder, bytes]) => `${folder.padEnd(12)}${String(bytes).padStart(8)}`);
  return [
    'folder      minified bytes',
    ...rows,
    `loaded first ${report.initialBytes} bytes gzipped of ${BUDGET} (${report.minifiedBytes} minified); in one file ${report.singleFileBytes}`,
  ].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const report = await measureBundle(process.cwd());
  if (process.argv.includes('--table')) console.log(printBundle(report));
  for (const fault of report.faults) console.error(fault);
  if (report.faults.length > 0) process.exit(1);
}
