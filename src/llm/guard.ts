/**
 * @file Where code from strangers' files runs: patterns that may never end, and chat templates that may loop or grow without end. One worker
 * with a limit on memory, started when it is first needed and ended when a call takes too long. Calls block this thread, so that callers stay
 * synchronous. The worker's program is guard-thread.ts, sent as text.
 */
import { ConfigError, FormatError, TenonError } from '../base/errors.js';
import { type NodeModules, nodeModules } from '../base/node-modules.js';
import { type GuardAnswer, type GuardData, type GuardRequest, guardedThread } from './guard-thread.js';
import { makeRenderer } from './render-template.js';
import type { LibraryFiles } from './tokenizer-file.js';

/** Milliseconds in which the worker has to be there and a vocabulary has to be read: a machine may be busy. */
const startLimit = 30_000;
const heapMegabytes = 1024;

interface Guard {
  /** What the worker gives, or says of a failure. Null: it took too long, and is gone. */
  call(request: GuardRequest, milliseconds: number): GuardAnswer | null;
  /** Without an answer. */
  tell(request: GuardRequest): void;
}

function startGuard({ workerThreads }: NodeModules, onEnd: () => void): Guard {
  const { port1, port2 } = new workerThreads.MessageChannel();
  const flag = new Int32Array(new SharedArrayBuffer(4));
  const workerData: GuardData = { port: port2, flag, root: import.meta.url };
  // Some bundlers name functions by calls of a helper that only their own file has.
  const worker = new workerThreads.Worker(`const __name = (f) => f; (${guardedThread})(${makeRenderer})`, {
    eval: true,
    name: 'tenon guard',
    env: {},
    execArgv: [],
    workerData,
    transferList: [port2],
    resourceLimits: { maxOldGenerationSizeMb: heapMegabytes, maxYoungGenerationSizeMb: 64 },
  });
  // Out of memory, most likely.
  worker.on('error', onEnd);
  worker.on('exit', onEnd);
  worker.unref();
  return {
    call(request, milliseconds) {
      Atomics.store(flag, 0, 0);
      port1.postMessage(request);
      Atomics.wait(flag, 0, 0, milliseconds);
      const received = workerThreads.receiveMessageOnPort(port1);
      if (received) return received.message as GuardAnswer;
      onEnd();
      port1.close();
      void worker.terminate();
      return null;
    },
    tell: (request) => port1.postMessage(request),
  };
}

let current: Guard | null = null;

/** The worker, which is started where there is none. */
function guard(): Guard {
  if (current) return current;
  const node = nodeModules();
  if (!node)
    throw new ConfigError(
      'tokenizer: patterns that are not known and chat templates are run apart, in Node.js. Expected Node.js. In a browser, give isTrusted: true for files of your own.',
    );
  const started = startGuard(node, () => {
    if (current === started) current = null;
  });
  current = started;
  if (!started.call({ kind: 'start' }, startLimit))
    throw new TenonError(
      `tokenizer: a worker for a file's code did not start within ${startLimit / 1000} s. Try again when the machine is less busy.`,
    );
  return started;
}

const tooLong = (what: string, milliseconds: number): FormatError =>
  new FormatError(
    `${what} took longer than ${milliseconds / 1000} s, or more than ${heapMegabytes} MB. The file may be made to do harm. If it is your own, give a larger timeLimit, or isTrusted: true.`,
  );

/** What a tokenizer does, in the worker. */
export interface GuardedTokenizer {
  encode(text: string, addSpecialTokens: boolean): readonly number[];
  decode(ids: readonly number[]): string;
}

let tokenizers = 0;
/** A tokenizer that nobody holds any more leaves the worker. */
const registry = new FinalizationRegistry<number>((id) => current?.tell({ kind: 'drop', id }));

/** The library's tokenizer, in the worker. Throws FormatError where it refuses the files or takes longer than `limit` milliseconds. */
export function guardedTokenizer(files: LibraryFiles, risks: readonly string[], limit: number): GuardedTokenizer {
  const id = ++tokenizers;
  const who = `tokenizer.json (${risks.slice(0, 3).join(', ')})`;
  let home: Guard | null = null;
  const ask = (request: GuardRequest, milliseconds: number): unknown => {
    const worker = guard();
    if (home !== worker && request.kind !== 'load') {
      ask({ kind: 'load', id, files }, startLimit);
      home = worker;
    }
    const answer = worker.call(request, milliseconds);
    if (!answer) throw tooLong(who, milliseconds);
    if ('failure' in answer) throw new FormatError(`${who}: ${answer.failure}.`);
    return answer.value;
  };
  const within = (length: number): number => Math.ceil(limit * (1 + length / 1e6));
  ask({ kind: 'load', id, files }, startLimit);
  home = current;
  const tokenizer: GuardedTokenizer = {
    encode: (text, addSpecialTokens) => ask({ kind: 'encode', id, text, addSpecialTokens }, within(text.length)) as readonly number[],
    decode: (ids) => ask({ kind: 'decode', id, ids }, within(ids.length)) as string,
  };
  registry.register(tokenizer, id);
  return tokenizer;
}

/** A template's own refusal of what it was given. */
export class Refusal extends Error {
  override name = 'Refusal';
}

/**
 * Renders a template with each of the variables, in the worker. Throws Refusal for what it raises itself, FormatError for its faults,
 * for more than `most` characters, and when it takes longer than `limit` milliseconds.
 */
export function guardedRender(
  template: string,
  variables: readonly Readonly<Record<string, unknown>>[],
  { now, most, limit }: { readonly now: number; readonly most: number; readonly limit: number },
): readonly string[] {
  const answer = guard().call({ kind: 'render', template, variables, now, most }, limit);
  if (!answer) throw tooLong('chat template: it', limit);
  if (!('failure' in answer)) return answer.value as readonly string[];
  if (answer.isRaised) throw new Refusal(answer.failure);
  throw new FormatError(`chat template: ${answer.failure}.`);
}
