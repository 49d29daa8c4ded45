/** @file The worker in which strangers' patterns and templates run. `guardedThread` is sent as text, so it uses nothing from outside of itself. */

import type * as Jinja from '@huggingface/jinja';
import type { LibraryModule, LibraryTokenizer } from './library.js';
import type { makeRenderer, RaisedError, Render } from './render-template.js';
import type { LibraryFiles } from './tokenizer-file.js';

export type GuardRequest =
  | { readonly kind: 'start' }
  | { readonly kind: 'load'; readonly id: number; readonly files: LibraryFiles }
  | { readonly kind: 'drop'; readonly id: number }
  | { readonly kind: 'encode'; readonly id: number; readonly text: string; readonly addSpecialTokens: boolean }
  | { readonly kind: 'decode'; readonly id: number; readonly ids: readonly number[] }
  | {
      readonly kind: 'render';
      readonly template: string;
      readonly variables: readonly Readonly<Record<string, unknown>>[];
      readonly now: number;
      readonly most: number;
    };

export type GuardAnswer =
  | { readonly value: unknown }
  /** `isRaised`: a template's own refusal. */
  | { readonly failure: string; readonly isRaised: boolean };

export interface GuardData {
  readonly port: { on(event: 'message', listener: (request: GuardRequest) => void): unknown; postMessage(answer: GuardAnswer): void };
  readonly flag: Int32Array;
  /** The address of a module of ours, from which packages are found. */
  readonly root: string;
}

/** The worker's program. */
export function guardedThread(make: typeof makeRenderer): void {
  const { port, flag, root } = process.getBuiltinModule('node:worker_threads').workerData as GuardData;
  const require = process.getBuiltinModule('node:module').createRequire(root);
  const tokenizers = new Map<number, LibraryTokenizer>();
  let render: Render | null = null;
  const tokenizerOf = (id: number): LibraryTokenizer => {
    const found = tokenizers.get(id);
    if (!found) throw new Error(`there is no tokenizer ${id}`);
    return found;
  };
  const serve = (request: GuardRequest): unknown => {
    switch (request.kind) {
      case 'start':
        return null;
      case 'load': {
        const { Tokenizer } = require('@huggingface/tokenizers') as LibraryModule;
        tokenizers.set(request.id, new Tokenizer(request.files.tokenizer, request.files.config));
        return null;
      }
      case 'drop':
        return tokenizers.delete(request.id);
      case 'encode': {
        const { ids } = tokenizerOf(request.id).encode(request.text, { add_special_tokens: request.addSpecialTokens });
        if (ids.length > 1000 + 16 * request.text.length) throw new Error('it makes too many tokens of the text');
        return ids;
      }
      case 'decode':
        return tokenizerOf(request.id).decode([...request.ids], { skip_special_tokens: false, clean_up_tokenization_spaces: false });
      case 'render': {
        render ??= make(require('@huggingface/jinja') as typeof Jinja);
        let length = 0;
        const texts: string[] = [];
        for (const variables of request.variables) {
          const text = render(request.template, variables, request.now);
          length += text.length;
          if (length > request.most) throw new Error(`it writes more than ${request.most} characters`);
          texts.push(text);
        }
        return texts;
      }
    }
  };
  port.on('message', (request: GuardRequest) => {
    let answer: GuardAnswer;
    try {
      answer = { value: serve(request) };
    } catch (error) {
      const isRaised = error instanceof Error && (error as Partial<RaisedError>).isRaised === true;
      answer = { failure: error instanceof Error ? error.message : String(error), isRaised };
    }
    if (request.kind === 'drop') return;
    port.postMessage(answer);
    Atomics.store(flag, 0, 1);
    Atomics.notify(flag, 0);
  });
}
