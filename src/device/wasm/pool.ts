/** @file The wasm device's compute threads: workers over one shared memory, found at run time in Node and in browsers. */
import { DeviceError, reasonOf } from '../../base/errors.js';
import { nodeModules } from '../../base/node-modules.js';
import { cells, computeThread, type FromThread, type ThreadPlan, type ToThread } from './worker.js';

interface Thread {
  post(message: ToThread): void;
  /** Whether it keeps the process alive. */
  hold(isHeld: boolean): void;
  stop(): void;
}

function startThread(onMessage: (message: FromThread) => void, onDeath: (why: string) => void): Thread {
  // Some bundlers name functions by calls of a helper that only their own file has.
  const source = `const __name = (f) => f; (${computeThread})()`;
  const node = nodeModules();
  if (node) {
    const worker = new node.workerThreads.Worker(source, { eval: true, name: 'tenon compute' });
    worker.on('message', onMessage);
    worker.on('error', (error) => onDeath(String(error)));
    worker.on('exit', (code) => onDeath(`it ended with code ${code}`));
    worker.unref();
    return { post: (m) => worker.postMessage(m), hold: (is) => (is ? worker.ref() : worker.unref()), stop: () => void worker.terminate() };
  }
  const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
  const worker = new Worker(url, { name: 'tenon compute' });
  worker.onmessage = (event: MessageEvent<FromThread>) => {
    // Its first word: the text is loaded.
    URL.revokeObjectURL(url);
    onMessage(event.data);
  };
  worker.onerror = (event) => onDeath(event.message || 'the worker was refused');
  return { post: (m) => worker.postMessage(m), hold: () => undefined, stop: () => worker.terminate() };
}

/** Milliseconds after which a thread that hasn't answered its first message counts as refused. */
const startTimeout = 20_000;

export class ThreadPool {
  readonly threads: number;
  readonly #memory: WebAssembly.Memory;
  readonly #words: Int32Array;
  #members: Thread[] = [];
  /** By message: the answers that are still to come, and whom to tell. */
  readonly #answers = new Map<number, { left: number; failure: string | null; readonly settle: (failure: string | null) => void }>();
  #messages = 0;
  #run: { readonly ticket: number; readonly settle: (failure: string | null) => void } | null = null;
  #ticket = 0;
  #death: string | null = null;
  /** Awaited answers and runs, which keep the process alive. */
  #holders = 0;

  constructor(memory: WebAssembly.Memory, threads: number) {
    this.threads = threads;
    this.#memory = memory;
    this.#words = new Int32Array(memory.buffer);
  }

  /** Starts the workers. Rejects with DeviceError when they can't be had. */
  async start(): Promise<void> {
    const started = this.#expect();
    started.catch(() => undefined);
    let timer = setTimeout(() => {
      // A calling thread that was busy all the time has their answers still unread.
      timer = setTimeout(() => this.#die(`none within ${startTimeout / 1000} s`), 1000);
    }, startTimeout);
    try {
      for (let thread = 0; thread < this.threads; thread++) {
        const member = startThread(
          (message) => this.#hear(message),
          (why) => this.#die(why),
        );
        this.#members.push(member);
        member.post({ kind: 'start', memory: this.#memory, thread, threads: this.threads, cells });
      }
      await this.#held(started);
    } catch (error) {
      this.stop();
      throw new DeviceError(`wasm: compute threads cannot be started: ${this.#death ?? reasonOf(error)}`);
    } finally {
      clearTimeout(timer);
    }
  }

  stop(): void {
    for (const member of this.#members) member.stop();
    this.#members = [];
  }

  /** Makes every thread ready for the plan. */
  async add(plan: ThreadPlan): Promise<void> {
    await this.#held(this.#tell({ kind: 'plan', plan }));
  }
  /** Resolves when no thread looks at the plan's memory any more, nor is in a run that was under way (0: nor will begin it). */
  forget(id: number): Promise<void> {
    return this.#held(this.#tell({ kind: 'forget', id }));
  }

  /** Runs a plan whose buffer addresses are written; one at a time. */
  run(plan: ThreadPlan): Promise<void> {
    const words = this.#words;
    const ticket = (this.#ticket % 32767) + 1;
    this.#ticket = ticket;
    const all = new Int32Array(this.#memory.buffer);
    all.fill(ticket << 16, plan.taken / 4, plan.taken / 4 + plan.calls.length * this.threads);
    all.fill(0, plan.done / 4, plan.done / 4 + plan.calls.length);
    const ended = new Promise<void>((resolve, reject) => {
      if (this.#death !== null) return reject(deadThread(this.#death));
      this.#run = {
        ticket,
        settle: (failure) => {
          if (failure === null) resolve();
          else reject(this.#death === null ? new DeviceError(`wasm: a kernel failed: ${failure}`) : deadThread(this.#death));
        },
      };
    });
    if (this.#run) {
      Atomics.store(words, cells.finished, ticket << 16);
      Atomics.store(words, cells.plan, plan.id);
      Atomics.store(words, cells.ticket, ticket);
      this.#signal();
    }
    return this.#held(ended);
  }

  #signal(): void {
    Atomics.add(this.#words, cells.signal, 1);
    if (Atomics.load(this.#words, cells.sleepers) > 0) Atomics.notify(this.#words, cells.signal);
  }

  /** Keeps the process alive until `work` is over. */
  async #held(work: Promise<void>): Promise<void> {
    this.#members[0]?.hold(true);
    this.#holders++;
    try {
      await work;
    } finally {
      if (--this.#holders === 0) this.#members[0]?.hold(false);
    }
  }
  #expect(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#death !== null) return reject(deadThread(this.#death));
      const settle = (failure: string | null): void => {
        if (failure === null) resolve();
        else reject(this.#death === null ? new DeviceError(`wasm: a compute thread refused a module: ${failure}`) : deadThread(failure));
      };
      this.#answers.set(++this.#messages, { left: this.threads, failure: null, settle });
    });
  }
  #tell(message: ToThread): Promise<void> {
    const answered = this.#expect();
    Atomics.add(this.#words, cells.mail, 1);
    for (const member of this.#members) member.post(message);
    this.#signal();
    return answered;
  }

  #hear(message: FromThread): void {
    if (message.kind === 'ended') {
      const run = this.#run;
      if (run?.ticket !== message.ticket) return;
      this.#run = null;
      if (message.failure === null) run.settle(null);
      else {
        // The others may still be at what they had begun: the next run waits until all have left this one.
        const settle = (): void => run.settle(message.failure);
        this.forget(0).then(settle, settle);
      }
      return;
    }
    const answer = this.#answers.get(message.message);
    if (!answer) return;
    answer.failure ??= message.failure;
    if (--answer.left > 0) return;
    this.#answers.delete(message.message);
    answer.settle(answer.failure);
  }

  /** A thread is gone, and with it whatever it was doing: nothing runs on this device any more. */
  #die(why: string): void {
    if (this.#death !== null || this.#members.length === 0) return;
    this.#death = why;
    this.#run?.settle(why);
    this.#run = null;
    for (const { settle } of this.#answers.values()) settle(why);
    this.#answers.clear();
    this.stop();
  }
}

const deadThread = (why: string): DeviceError =>
  new DeviceError(`wasm: a compute thread died: ${why}. What it computed is lost; start the program again, from its last checkpoint.`);
