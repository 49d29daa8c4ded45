/**
 * @file The import table: who may import whom, and where `node:*` and each package may be used. A violation fails `npm test`.
 * `npm run check` prints violations with file and line. The table is STYLE's, in the words of this tree; where it differs, the row says why.
 */
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { type SourceFile, sourceFiles } from './source-files.js';

export interface Violation {
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

/** What a row lists: 'a/' everything below a; 'a/*' the files directly in a; 'a/b' one file; 'type a/' only `import type`. */
type Rule = string;

const framework: readonly Rule[] = ['base/', 'tensor/'];
const belowModel: readonly Rule[] = [...framework, 'layers/', 'losses/', 'metrics/', 'optimizers/', 'data/', 'io/'];
const belowZoo: readonly Rule[] = [...belowModel, 'model/', 'train/'];

/**
 * A file obeys the row with the longest name that holds it, and may import its own row. Rows are in the order of reading:
 * nothing imports a row below it.
 */
export const importTable: Readonly<Record<string, readonly Rule[]>> = {
  base: [],
  kernel: ['base/'],
  graph: ['base/', 'kernel/scalar-ops'],
  autodiff: ['base/', 'graph/'],
  compile: ['base/', 'kernel/', 'graph/'],
  render: ['base/', 'kernel/'],
  device: ['base/', 'kernel/'],
  // Each device: its own folder and what all devices share (interface, queue), never another device.
  'device/native': ['base/', 'kernel/', 'render/', 'device/*'],
  'device/reference': ['base/', 'kernel/', 'render/', 'device/*'],
  'device/wasm': ['base/', 'kernel/', 'render/', 'device/*'],
  'device/webgpu': ['base/', 'kernel/', 'render/', 'device/*'],
  'device/cuda': ['base/', 'kernel/', 'render/', 'device/*'],
  // The one file that knows all devices.
  'device/registry': ['base/', 'device/'],
  // Beyond STYLE: the Device interface and the Program that goes from compile/ to it.
  tensor: ['base/', 'graph/', 'autodiff/', 'compile/', 'kernel/', 'device/*'],
  layers: framework,
  losses: framework,
  metrics: [...framework, 'losses/'],
  optimizers: framework,
  io: [...framework, 'graph/'],
  // Beyond STYLE: downloads make folders and write files as io/ does.
  data: [...framework, 'io/'],
  // `Model.fit` is a method, so model/ calls train/; train/ sees models through their types only.
  model: [...belowModel, 'train/'],
  train: [...belowModel, 'type model/'],
  zoo: belowZoo,
  llm: [...belowZoo, 'zoo/'],
  search: [...belowZoo, 'zoo/'],
  distribute: [...belowZoo, 'zoo/'],
  tasks: [...belowZoo, 'zoo/', 'llm/'],
  serve: [...belowZoo, 'zoo/', 'llm/', 'tasks/'],
  dashboard: [...belowZoo, 'zoo/', 'llm/', 'tasks/', 'search/', 'distribute/', 'serve/'],
  cli: [...belowZoo, 'zoo/', 'llm/', 'tasks/', 'search/', 'distribute/', 'serve/', 'dashboard/', 'device/registry', 'index'],
  index: [...belowZoo, 'zoo/', 'llm/', 'tasks/', 'search/', 'distribute/', 'serve/', 'dashboard/', 'device/registry'],
};

/** Where Node's own modules may be imported: 'a/' below a, or files that end so. */
const nodeFolders = ['device/native/', 'device/cuda/', 'distribute/', 'serve/', 'dashboard/server', 'cli/'];
const isNodeFile = (file: string): boolean => file.endsWith('-node') || nodeFolders.some((folder) => file.startsWith(folder));

/** Where each package may be imported; one that is not here may be imported nowhere in src/. */
const packages: Readonly<Record<string, (file: string) => boolean>> = {
  koffi: (file) => file.startsWith('device/native/') || file.startsWith('device/cuda/'),
  sharp: (file) => file.startsWith('data/') && isNodeFile(file),
  commander: (file) => file.startsWith('cli/'),
  '@huggingface/tokenizers': (file) => file.startsWith('llm/'),
  '@huggingface/jinja': (file) => file.startsWith('llm/'),
  '@huggingface/hub': (file) => file.startsWith('llm/') && isNodeFile(file),
  hyparquet: (file) => file.startsWith('llm/data/'),
  'hyparquet-compressors': (file) => file.startsWith('llm/data/'),
  yaml: (file) => file.startsWith('llm/') || file.startsWith('cli/'),
  zod: (file) => file.startsWith('zoo/') || file.startsWith('llm/') || file.startsWith('serve/') || file.startsWith('cli/'),
  hono: (file) => file.startsWith('serve/'),
  '@hono/node-server': (file) => file.startsWith('serve/'),
};

interface Import {
  readonly specifier: string;
  readonly line: number;
  readonly typeOnly: boolean;
  readonly dynamic: boolean;
}

/** Every import of a file: static, type-only, re-exports, `import()` and `import('…')` types. */
function importsOf({ path, text }: SourceFile): Import[] {
  const found: Import[] = [];
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const add = (literal: ts.Node | undefined, typeOnly: boolean, dynamic: boolean): void => {
    if (literal && ts.isStringLiteralLike(literal))
      found.push({ specifier: literal.text, line: source.getLineAndCharacterOfPosition(literal.getStart()).line + 1, typeOnly, dynamic });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, onlyTypes(node.importClause), false);
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly, false);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) add(node.arguments[0], false, true);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal, true, false);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** `import type …`, and `import { type A, type B }`. */
function onlyTypes(clause: ts.ImportClause | undefined): boolean {
  if (!clause) return false;
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  const named = clause.namedBindings;
  return (
    !clause.name &&
    named !== undefined &&
    ts.isNamedImports(named) &&
    named.elements.length > 0 &&
    named.elements.every((e) => e.isTypeOnly)
  );
}

/** The row of a file ('device/native/pool' → 'device/native'), or undefined. */
function rowOf(file: string): string | undefined {
  for (let name = file; name !== '.'; name = posix.dirname(name)) if (Object.hasOwn(importTable, name)) return name;
  return undefined;
}

function allows(rule: Rule, target: string, typeOnly: boolean): boolean {
  const pattern = rule.startsWith('type ') ? rule.slice(5) : rule;
  if (pattern !== rule && !typeOnly) return false;
  if (pattern.endsWith('/*')) return posix.dirname(target) === pattern.slice(0, -2);
  return pattern.endsWith('/') ? target.startsWith(pattern) : target === pattern;
}

/** Checks files of src/ (paths from the repository's root) against the table. */
export function checkImports(files: readonly SourceFile[]): Violation[] {
  const violations: Violation[] = [];
  for (const source of files) {
    const file = source.path.replace(/^src\//, '').replace(/\.ts$/, '');
    const row = rowOf(file);
    if (row === undefined) {
      violations.push({
        path: source.path,
        line: 1,
        message: `${file} is in no row of the import table. Add one to scripts/check-imports.ts.`,
      });
      continue;
    }
    for (const found of importsOf(source)) {
      const message = /^[.#]/.test(found.specifier) ? ownFault(file, row, found) : packageFault(file, found.specifier);
      if (message) violations.push({ path: source.path, line: found.line, message });
    }
  }
  return violations;
}

/** The file that a specifier names: a relative one, or one of package.json's imports that browsers get something else for. */
function targetOf(file: string, specifier: string): string {
  if (specifier === '#native') return 'device/native/native';
  const path = specifier.startsWith('.') ? posix.join(posix.dirname(file), specifier) : specifier.replace(/^#node\//, '');
  return path.replace(/\.js$/, '');
}

function ownFault(file: string, row: string, { specifier, typeOnly, dynamic }: Import): string | null {
  const target = targetOf(file, specifier);
  if (target.startsWith('..') || target.startsWith('#')) return `"${specifier}" leaves src/.`;
  if (specifier.startsWith('#node/') && !target.endsWith('-node')) return `${target} does not end in -node. Import it by its path.`;
  const swapped = specifier.startsWith('#node/') && (typeOnly || dynamic);
  if (target.endsWith('-node') && !typeOnly && !swapped && !isNodeFile(file))
    return `${file} is built for the browser and imports ${target}, which needs Node. Use await import('#node/${target}.js'), or the Host interface.`;
  if (target === 'device/native/native' && !typeOnly && specifier !== '#native' && !isNodeFile(file))
    return `${file} is built for the browser and imports ${target}, which needs Node. Import '#native'.`;
  const own = rowOf(target) === row;
  if (own || importTable[row].some((rule) => allows(rule, target, typeOnly))) return null;
  return `${row} may not import ${target}. It may import: ${importTable[row].join(', ') || 'nothing'}.`;
}

function packageFault(file: string, specifier: string): string | null {
  if (specifier.startsWith('node:'))
    return isNodeFile(file)
      ? null
      : `${file} may not import ${specifier}: only *-node files and ${nodeFolders.join(', ')} may. Ask the Host interface (base/host).`;
  const name = specifier.startsWith('@') ? specifier.split('/').slice(0, 2).join('/') : specifier.split('/')[0];
  if (!Object.hasOwn(packages, name))
    return `the package ${name} may not be imported in src/. Runtime dependencies are ${Object.keys(packages).join(', ')}.`;
  return packages[name](file) ? null : `${file} may not import ${name}. See "packages" in scripts/check-imports.ts.`;
}

/** What examples import: the public package, their neighbours, and the bundler in its own settings. */
const mayBeInExample = (path: string, specifier: string): boolean =>
  /^(tenon(\/(layers|llm|serve))?$|node:|\.\/)/.test(specifier) || (specifier === 'vite' && path.endsWith('/vite.config.ts'));

/** Examples show the public package: they import nothing of ours but that. */
export function checkExamples(files: readonly SourceFile[]): Violation[] {
  return files.flatMap((source) =>
    importsOf(source)
      .filter(({ specifier }) => !mayBeInExample(source.path, specifier))
      .map(({ specifier, line }) => ({
        path: source.path,
        line,
        message: `an example may not import ${specifier}, only tenon, tenon/layers, tenon/llm, tenon/serve, node:* and its neighbours.`,
      })),
  );
}

/** All violations of the repository at `root`. */
export const checkRepository = (root: string): Violation[] => [
  ...checkImports(sourceFiles(root, 'src')),
  ...checkExamples(sourceFiles(root, 'examples')),
];

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const violations = checkRepository(process.cwd());
  for (const { path, line, message } of violations) console.error(`${path}:${line}: ${message}`);
  if (violations.length > 0) process.exit(1);
}
