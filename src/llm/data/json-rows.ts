/** @file Rows of JSON: an object a line, or one array of objects, of which an element is held at a time. */
import { FormatError, quote, reasonOf } from '../../base/errors.js';
import { type Chunks, defaultMaxRowLength, faultyRow, linesOf, objectRow, type ParseOptions, type Row, textOf } from './rows.js';

/** One object a line; blank lines are passed over. */
export async function* jsonLineRows(chunks: Chunks, options: ParseOptions): AsyncGenerator<Row> {
  for await (const { text, line, fault } of linesOf(chunks, options.maxRowLength ?? defaultMaxRowLength))
    if (fault) yield faultyRow(line, fault);
    else if (text.trim() !== '') yield parsed(text, line);
}

function parsed(text: string, line: number): Row {
  try {
    return objectRow(JSON.parse(text), line);
  } catch (error) {
    return faultyRow(line, `Expected a JSON object, received ${quote(text.trim())} (${reasonOf(error)}).`);
  }
}

const isBlank = (c: number): boolean => c === 32 || c === 10 || c === 13 || c === 9;
const QUOTE = 34;
const BACKSLASH = 92;
const COMMA = 44;
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [91, 93, 123, 125];

/** Where in the array the text is: a value is wanted after "[" (or none), and after ",". */
type State = 'before' | 'first' | 'value' | 'inside' | 'after';

/**
 * The elements of one array of objects.
 * @throws FormatError where the text is no array, or ends inside of it
 */
export async function* jsonArrayRows(chunks: Chunks, name: string, options: ParseOptions): AsyncGenerator<Row> {
  const most = options.maxRowLength ?? defaultMaxRowLength;
  const fail = (line: number, text: string): never => {
    throw new FormatError(`${name}, line ${line}: ${text}`);
  };
  let state = 'before' as State;
  let line = 1;
  let depth = 0;
  let isString = false;
  let isEscaped = false;
  let element = '';
  let elementLine = 1;
  for await (const text of textOf(chunks, name)) {
    let from = 0;
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      if (c === 10) line++;
      if (isString) {
        if (isEscaped) isEscaped = false;
        else if (c === BACKSLASH) isEscaped = true;
        else if (c === QUOTE) isString = false;
        continue;
      }
      if (state === 'inside') {
        if (c === QUOTE) isString = true;
        else if (c === OPEN_LIST || c === OPEN_OBJECT) depth++;
        else if (depth > 0 && (c === CLOSE_LIST || c === CLOSE_OBJECT)) depth--;
        else if (depth === 0 && (c === COMMA || c === CLOSE_LIST || c === CLOSE_OBJECT)) {
          if (c === CLOSE_OBJECT) fail(line, 'Expected "," or "]" after an element, received "}".');
          yield parsed(element + text.slice(from, i), elementLine);
          element = '';
          state = c === COMMA ? 'value' : 'after';
        }
        continue;
      }
      if (isBlank(c)) continue;
      const received = (): string => `received ${quote(text.slice(i, i + 20))}.`;
      if (state === 'before') {
        if (c !== OPEN_LIST) fail(line, `Expected an array of objects, "[" first, ${received()}`);
        state = 'first';
      } else if (state === 'first' && c === CLOSE_LIST) state = 'after';
      else if (state === 'first' || state === 'value') {
        if (c === COMMA || c === CLOSE_LIST) fail(line, `Expected an element, ${received()}`);
        state = 'inside';
        elementLine = line;
        from = i;
        if (c === QUOTE) isString = true;
        else if (c === OPEN_LIST || c === OPEN_OBJECT) depth = 1;
      } else fail(line, `Expected nothing after the array, ${received()}`);
    }
    if (state === 'inside') {
      element += text.slice(from);
      if (element.length > most)
        fail(
          elementLine,
          `Expected at most ${most} characters an element, received more. Is a bracket or a quote missing? Else raise maxRowLength.`,
        );
    }
  }
  if (state !== 'after') fail(line, 'Expected "]" at the end of the array, received the end of the file.');
}
