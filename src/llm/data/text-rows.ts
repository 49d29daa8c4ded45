/**
 * @file Plain text as documents. A whole file is told in pieces of some 64 thousand characters, cut where a tokenizer's split of text
 * into words has a border anyway (before the first word of a line), and at the same places whatever the chunks it is read in.
 */
import { ConfigError, quote } from '../../base/errors.js';
import { type Chunks, type Documents, defaultMaxRowLength, faultyRow, linesOf, type ParseOptions, type Row, textOf } from './rows.js';

/** Characters of a piece of a document, at most. */
const PIECE = 65_536;

/** Rows { text } of a plain text file. */
export function textRows(chunks: Chunks, name: string, options: ParseOptions): AsyncIterable<Row> {
  const { documents = 'file', maxRowLength = defaultMaxRowLength } = options;
  checkDocuments(documents);
  if (documents === 'file') return pieces(textOf(chunks, name));
  const lines = linesOf(chunks, maxRowLength);
  if (documents === 'lines') return oneALine(lines);
  const separator = documents === 'paragraphs' ? '' : documents.separator.trim();
  return between(lines, (line) => line.trim() === separator, maxRowLength);
}

function checkDocuments(documents: Documents): void {
  const isSeparator =
    typeof documents === 'object' && documents !== null && typeof documents.separator === 'string' && documents.separator.trim() !== '';
  if (documents !== 'file' && documents !== 'lines' && documents !== 'paragraphs' && !isSeparator)
    throw new ConfigError(
      `documents: ${quote(documents)} is no way to find documents in text. Expected 'file', 'lines', 'paragraphs' or { separator: '<|endoftext|>' }.`,
    );
}

async function* oneALine(lines: ReturnType<typeof linesOf>): AsyncGenerator<Row> {
  for await (const { text, line, fault } of lines)
    if (fault) yield faultyRow(line, fault);
    else if (text.trim() !== '') yield { values: { text }, line };
}

async function* between(lines: ReturnType<typeof linesOf>, isBorder: (line: string) => boolean, most: number): AsyncGenerator<Row> {
  let kept: string[] = [];
  let first = 1;
  let length = 0;
  const document = function* (): Generator<Row> {
    const begin = kept.findIndex((line) => line.trim() !== '');
    const text = begin < 0 ? '' : kept.slice(begin).join('\n').trimEnd();
    const total = length;
    kept = [];
    length = 0;
    if (total > most) yield faultyRow(first, `Expected at most ${most} characters a document, received ${total}. Raise maxRowLength.`);
    else if (text !== '') yield { values: { text }, line: first };
  };
  for await (const { text, line, fault } of lines) {
    if (fault) yield faultyRow(line, fault);
    else if (isBorder(text)) yield* document();
    else {
      if (length === 0) first = line;
      length += text.length + 1;
      if (length <= most) kept.push(text);
    }
  }
  yield* document();
}

async function* pieces(texts: AsyncIterable<string>): AsyncGenerator<Row> {
  let held = '';
  let line = 1;
  for await (const text of texts) {
    held += text;
    let at = 0;
    // One character more than a piece: whether it may end there shows in what follows.
    for (; held.length - at > PIECE; ) {
      const end = at + pieceEnd(held, at);
      const piece = held.slice(at, end);
      yield { values: { text: piece }, line, goesOn: true };
      line += newlines(piece);
      at = end;
    }
    held = held.slice(at);
  }
  // Also for a file that ends where a piece did: somebody has to end the document.
  yield { values: { text: held }, line };
}

const isSpace = (code: number): boolean => code === 32 || (code >= 9 && code <= 13) || code === 0xa0 || code === 0x2028 || code === 0x2029;

/** Length of the first piece of text[at …], which is longer than PIECE. */
function pieceEnd(text: string, at: number): number {
  let space = 0;
  for (let n = PIECE; n > PIECE / 2; n--) {
    const next = text.charCodeAt(at + n);
    const before = text.charCodeAt(at + n - 1);
    if (before === 10 && !isSpace(next)) return n;
    // Words take the space before them along.
    if (space === 0 && next === 32 && !isSpace(before)) space = n;
  }
  if (space > 0) return space;
  const isPair = (text.charCodeAt(at + PIECE) & 0xfc00) === 0xdc00 && (text.charCodeAt(at + PIECE - 1) & 0xfc00) === 0xd800;
  return isPair ? PIECE - 1 : PIECE;
}

function newlines(text: string): number {
  let n = 0;
  for (let i = text.indexOf('\n'); i >= 0; i = text.indexOf('\n', i + 1)) n++;
  return n;
}
