/** @file test/golden/gguf.json: a file by another writer, its tensors before and after encoding. */
import { readFileSync } from 'node:fs';

interface Listed<T> {
  readonly name: string;
  readonly type: 'f32' | 'f16' | 'bf16' | 'q8_0';
  readonly shape: readonly number[];
  readonly values: T;
  readonly bytes: string;
}

const golden = JSON.parse(readFileSync(new URL('../golden/gguf.json', import.meta.url), 'utf8')) as {
  readonly file: string;
  readonly tensors: readonly Listed<string>[];
};
const decode = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(text, 'base64'));

export const file: Uint8Array = decode(golden.file);
export const tensors = golden.tensors.map((t) => ({
  ...t,
  values: new Float32Array(decode(t.values).buffer),
  bytes: new Uint8Array(decode(t.bytes)),
}));
