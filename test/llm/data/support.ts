/** @file A tokenizer of bytes, a folder for a test, and lengths as documents have them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { CounterRandom } from '../../../src/data/random.js';
import type { TextTokenizer } from '../../../src/llm/data/index.js';

const FIRST = 8;
const roles = ['system', 'user', 'assistant', 'tool'];
const [BOS, EOS, END] = [1, 2, 3];

/** Tokens are UTF-8 bytes + 8; 1 begins, 2 ends, 3 ends a message, 4 … 7 begin one of a role. */
export const bytes: TextTokenizer = {
  vocabSize: 256 + FIRST,
  bosId: BOS,
  eosId: EOS,
  padId: 0,
  chatTemplate: 'roles',
  json: { kind: 'bytes' },
  encode: (text) => Int32Array.from(new TextEncoder().encode(text), (b) => b + FIRST),
  renderConversation(messages) {
    const ids: number[] = [BOS];
    const assistant: number[] = [0];
    for (const { role, content } of messages) {
      const said = [...bytes.encode(content), END];
      ids.push(4 + roles.indexOf(role), ...said);
      assistant.push(0, ...said.map(() => (role === 'assistant' ? 1 : 0)));
    }
    return { ids: Int32Array.from(ids), assistant: Uint8Array.from(assistant) };
  },
};

/** The text of `ids`; special ones as <n>. */
export function textOf(ids: ArrayLike<number>): string {
  const parts = Array.from(ids, (id) => (id < FIRST ? `<${id}>` : String.fromCharCode(id - FIRST)));
  return parts.join('');
}

/** The text of what is predicted, with · for the rest. */
export const targetsOf = ({ ids, isTarget }: { ids: Int32Array; isTarget: Uint8Array }): string =>
  Array.from(ids, (id, i) => (isTarget[i] ? textOf([id]) : '·')).join('');

/** A folder that is removed after the file's tests. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tenon-data-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** n lengths, log-normal around `middle` as those of documents are, at most `most`. */
export function documentLengths(n: number, middle: number, most: number, seed = 1): Uint32Array {
  const random = new CounterRandom(seed, 99);
  return Uint32Array.from({ length: n }, () => {
    const normal = Math.sqrt(-2 * Math.log(random.uniform(1e-9, 1))) * Math.cos(random.uniform(0, 2 * Math.PI));
    return Math.max(1, Math.min(most, Math.round(middle * Math.exp(0.8 * normal))));
  });
}
