/**
 * @file Runs the code that the documents show: blocks fenced as ```ts run in README.md and docs/, and every `@example` of a doc
 * comment in src/. Each block is type-checked and run as a module of its own against dist; one fenced as ```ts no-run (it needs
 * a file, or a device that not every machine has) is type-checked only. Names of the library need no import. Comments `// → text` are the lines that the block must print, in order.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import ts from 'typescript';
import { type SourceFile, sourceFiles } from './source-files.js';

export interface Block {
  readonly path: string;
  readonly line: number;
  readonly code: string;
  /** Type-checked only. */
  readonly isNotRun?: true;
}

export interface Failure {
  readonly block: Block;
  readonly message: string;
}

/** The ```ts run blocks of a Markdown text. */
export function markdownBlocks({ path, text }: SourceFile): Block[] {
  const blocks: Block[] = [];
  let open: { line: number; code: string[] } | null = null;
  for (const [i, line] of text.split('\n').entries()) {
    if (open && /^\s*```\s*$/.test(line)) {
      blocks.push({ path, line: open.line, code: open.code.join('\n') });
      open = null;
    } else if (open) open.code.push(line);
    else if (/^\s*```(ts|typescript)\s+run\s*$/.test(line)) open = { line: i + 2, code: [] };
  }
  return blocks;
}

/** The `@example` blocks of a source file's doc comments. */
export function exampleBlocks({ path, text }: SourceFile): Block[] {
  const blocks: Block[] = [];
  for (const comment of text.matchAll(/\/\*\*[\s\S]*?\*\//g)) {
    const first = text.slice(0, comment.index).split('\n').length;
    const lines = comment[0].split('\n').map((line) => line.replace(/^\s*(\/\*\*|\*\/|\*(?!\/) ?)/, '').replace(/\s*\*\/\s*$/, ''));
    for (let i = 0; i < lines.length; i++) {
      // Also behind a sentence on the same line.
      const start = /^(?:|.*[.:)])\s*@example\s?(.*)$/.exec(lines[i]);
      if (!start) continue;
      let end = i + 1;
      while (end < lines.length && !/^\s*@\w/.test(lines[end])) end++;
      const body = [start[1], ...lines.slice(i + 1, end)];
      const fence = body.findIndex((line) => /^\s*```/.test(line));
      if (fence < 0) blocks.push({ path, line: first + i, code: body.join('\n').trim() });
      else {
        const close = body.findIndex((line, at) => at > fence && /^\s*```\s*$/.test(line));
        const block = { path, line: first + i + fence + 1, code: body.slice(fence + 1, close < 0 ? undefined : close).join('\n') };
        blocks.push(body[fence].includes('no-run') ? { ...block, isNotRun: true } : block);
      }
      i = end - 1;
    }
  }
  return blocks;
}

/** Every runnable block of the repository at `root`. */
export function allBlocks(root: string): Block[] {
  const documents = [
    'README.md',
    ...(existsSync(join(root, 'docs'))
      ? readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).map((p) => `docs/${p}`)
      : []),
  ];
  const markdown = documents.filter((p) => p.endsWith('.md') && !p.startsWith('docs/api/') && existsSync(join(root, p)));
  return [
    ...markdown.flatMap((path) => markdownBlocks({ path, text: readFileSync(join(root, path), 'utf8') })),
    ...sourceFiles(root, 'src').flatMap(exampleBlocks),
  ];
}

/** The lines that a block says it prints. */
export const expectedLines = (code: string): string[] => [...code.matchAll(/\/\/ → (.*)$/gm)].map((m) => m[1].trim());

/** Identifiers that a block uses and does not declare or import itself. */
export function freeNames(code: string): Set<string> {
  const source = ts.createSourceFile('block.ts', code, ts.ScriptTarget.Latest, true);
  const used = new Set<string>();
  const declared = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node)) {
      const { parent } = node;
      const isMember =
        (ts.isPropertyAccessExpression(parent) && parent.name === node) ||
        ((ts.isPropertyAssignment(parent) || ts.isMethodDeclaration(parent) || ts.isPropertyDeclaration(parent)) && parent.name === node);
      const isDeclaration =
        (ts.isVariableDeclaration(parent) ||
          ts.isParameter(parent) ||
          ts.isFunctionDeclaration(parent) ||
          ts.isClassDeclaration(parent) ||
          ts.isBindingElement(parent)) &&
        parent.name === node;
      if (isDeclaration || ts.isImportSpecifier(parent) || ts.isNamespaceImport(parent)) declared.add(node.text);
      else if (!isMember) used.add(node.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  for (const name of declared) used.delete(name);
  return used;
}

/** Names that a built module exports. */
async function exportsOf(file: string): Promise<Set<string>> {
  if (!existsSync(file)) return new Set();
  const module: Record<string, unknown> = await import(pathToFileURL(file).href);
  return new Set(Object.keys(module));
}

/** The package's entries whose names a block may use unimported, and the modules of dist behind them. */
const ENTRIES = { tenon: 'index.js', 'tenon/llm': 'llm/index.js' };

/** A block with the imports it leaves out: from the package, else from the module that it documents. */
async function withImports(block: Block, root: string, entryOf: ReadonlyMap<string, string>): Promise<string> {
  const names = freeNames(block.code);
  const lines = Object.keys(ENTRIES).flatMap((entry) => {
    const own = [...names].filter((name) => entryOf.get(name) === entry);
    return own.length > 0 ? [`import { ${own.join(', ')} } from '${entry}';`] : [];
  });
  if (block.path.startsWith('src/')) {
    const module = block.path.slice(4).replace(/\.ts$/, '.js');
    const own = await exportsOf(join(root, 'dist', module));
    const fromModule = [...names].filter((name) => own.has(name) && !entryOf.has(name));
    if (fromModule.length > 0) lines.push(`import { ${fromModule.join(', ')} } from '#tenon/${module}';`);
  }
  return `${lines.join(' ')}\n${block.code}\nexport {};\n`;
}

const run = promisify(execFile);

/** Type-checks and runs blocks against dist of the repository at `root`; what failed, with the reason. */
export async function runBlocks(root: string, blocks: readonly Block[]): Promise<Failure[]> {
  // Inside the package, so that 'tenon' and '#tenon/…' mean this checkout.
  const folder = join(root, 'dist-tools', `doctest-${process.pid}`);
  mkdirSync(folder, { recursive: true });
  try {
    const entryOf = new Map<string, string>();
    for (const [entry, module] of Object.entries(ENTRIES))
      for (const name of await exportsOf(join(root, 'dist', module))) if (!entryOf.has(name)) entryOf.set(name, entry);
    const files: string[] = [];
    for (const [i, block] of blocks.entries()) {
      files.push(join(folder, `block-${i}.ts`));
      writeFileSync(files[i], await withImports(block, root, entryOf));
    }
    const faults = typeFaults(root, files);
    const failures: Failure[] = [];
    const messages = await inParallel(blocks.length, async (i) => {
      const fault = faults.get(files[i]);
      if (fault !== undefined) return fault;
      return blocks[i].isNotRun ? null : runFault(files[i], blocks[i]);
    });
    for (const [i, message] of messages.entries()) if (message !== null) failures.push({ block: blocks[i], message });
    return failures;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** `work` of 0 … n − 1, as many at once as there are processors, 4 at most. */
async function inParallel<T>(n: number, work: (i: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < n; i = next++) results[i] = await work(i);
  };
  await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, worker));
  return results;
}

/** Emits JavaScript beside the blocks; the first type error of each file that has one. */
function typeFaults(root: string, files: readonly string[]): Map<string, string> {
  const config = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent({ compilerOptions: config.config.compilerOptions, files: [] }, ts.sys, root);
  const program = ts.createProgram([...files], {
    ...options,
    rootDir: root,
    outDir: undefined,
    declaration: false,
    sourceMap: false,
    // A block may name a value only to show it.
    noUnusedLocals: false,
  });
  program.emit();
  const faults = new Map<string, string>();
  for (const d of ts.getPreEmitDiagnostics(program)) {
    const file = files.find((f) => d.file && f.endsWith(d.file.fileName.split('/').at(-1) ?? ''));
    if (file && !faults.has(file)) faults.set(file, `does not type-check: ${ts.flattenDiagnosticMessageText(d.messageText, ' ')}`);
  }
  return faults;
}

async function runFault(file: string, block: Block): Promise<string | null> {
  const expected = expectedLines(block.code);
  try {
    const { stdout } = await run(process.execPath, [file.replace(/\.ts$/, '.js')], {
      // What an example writes goes with the folder.
      cwd: dirname(file),
      timeout: 120_000,
      maxBuffer: 2 ** 24,
    });
    const printed = stdout.split('\n').map((line) => line.trim());
    while (printed.at(-1) === '') printed.pop();
    if (expected.length === 0 || expected.join('\n') === printed.join('\n')) return null;
    return `printed something else.\n  expected: ${expected.join(' | ')}\n  printed:  ${printed.join(' | ')}`;
  } catch (error) {
    const { stderr } = error instanceof Error && 'stderr' in error ? error : { stderr: String(error) };
    return `failed: ${String(stderr).trim()}`;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = process.cwd();
  const blocks = allBlocks(root);
  const failures = await runBlocks(root, blocks);
  for (const { block, message } of failures) console.error(`${block.path}:${block.line}: the example ${message}`);
  console.log(`doctest: ${blocks.length - failures.length} of ${blocks.length} examples are right.`);
  if (failures.length > 0) process.exit(1);
}
