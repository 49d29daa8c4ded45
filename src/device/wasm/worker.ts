/**
 * @file What a compute thread of the wasm device does, and the words in shared memory at which threads meet. `computeThread`
 * is sent to a worker as text, so it uses nothing from outside of itself.
 */

/** Cells of the shared memory, as indices of i32, each on a cache line of its own. */
export const cells = {
  /** Changes whenever a worker should look around. */
  signal: 16,
  /** Messages sent to every worker so far: to receive them it goes back to its event loop. */
  mail: 32,
  /** The run of the moment (1 … 32767), and its plan. */
  ticket: 48,
  plan: 64,
  /** Finished calls of the run, with its ticket in the high half, so that a late thread cannot touch the next run. */
  finished: 80,
  sleepers: 96,
  /** Address of the scratch memory of the run's kernels. */
  scratch: 112,
} as const;

export interface ThreadCall {
  readonly run: string;
  readonly extent: number;
  /** Address of the call's buffer addresses. */
  readonly buffers: number;
  /** The thread that runs it alone, or -1: all, each its part of the grid. */
  readonly owner: number;
  /** Whether all calls before must be over. */
  readonly barrier: boolean;
  /** Where in the scratch memory its own lies, if one thread runs it. */
  readonly scratch: number;
}

export interface ThreadPlan {
  readonly id: number;
  readonly module: WebAssembly.Module;
  readonly calls: readonly ThreadCall[];
  /** Bytes of scratch memory of each thread in the calls that all run. */
  readonly scratchBytes: number;
  /** Addresses: chunks taken of each thread's part of each call, chunks finished of each call, and when each call ended (f64; 0: not wanted). */
  readonly taken: number;
  readonly done: number;
  readonly times: number;
}

export type ToThread =
  | {
      readonly kind: 'start';
      readonly memory: WebAssembly.Memory;
      readonly thread: number;
      readonly threads: number;
      readonly cells: typeof cells;
    }
  | { readonly kind: 'plan'; readonly plan: ThreadPlan }
  | { readonly kind: 'forget'; readonly id: number };
export type FromThread =
  /** Has done what its n-th message said (the first: start); the reason if it could not. */
  | { readonly kind: 'received'; readonly message: number; readonly failure: string | null }
  | { readonly kind: 'ended'; readonly ticket: number; readonly failure: string | null };

/** The thread's program. */
export function computeThread(): void {
  type Kernel = (buffers: number, lo: number, hi: number, scratch: number) => void;
  type Call = Omit<ThreadCall, 'run'> & { readonly run: Kernel };
  interface Plan extends Omit<ThreadPlan, 'calls'> {
    readonly calls: readonly Call[];
  }
  const node =
    typeof process === 'object' && typeof process.getBuiltinModule === 'function'
      ? process.getBuiltinModule('node:worker_threads').parentPort
      : null;
  const send = (message: FromThread): void => {
    if (node) node.postMessage(message);
    else postMessage(message);
  };
  /** Parts of a thread's share of a call: a thread that is done with its own takes from the others'. */
  const chunksOf = (size: number): number => Math.min(size, 4);
  const spinMs = 0.05;
  const plans = new Map<number, Plan>();
  let memory: WebAssembly.Memory;
  let at: typeof cells;
  let words: Int32Array;
  let thread = 0;
  let threads = 1;
  let received = 0;
  let lastTicket = 0;

  /** Returns once the cell is not `old`: spins, then sleeps. */
  const awaitChange = (cell: number, old: number): void => {
    const end = performance.now() + spinMs;
    do {
      for (let i = 0; i < 200; i++) if (Atomics.load(words, cell) !== old) return;
    } while (performance.now() < end);
    // A sleeper counts itself before it looks at the cell: whoever changes it sees the sleeper, or the sleeper the change.
    Atomics.add(words, at.sleepers, 1);
    while (Atomics.load(words, cell) === old) Atomics.wait(words, cell, old);
    Atomics.sub(words, at.sleepers, 1);
  };
  /** Waits until so many calls of the run are over; false if the run is. */
  const awaitCalls = (ticket: number, calls: number): boolean => {
    for (;;) {
      const v = Atomics.load(words, at.finished);
      if (v >> 16 !== ticket) return false;
      if ((v & 0xffff) >= calls) return true;
      awaitChange(at.finished, v);
    }
  };
  const finish = (plan: Plan, ticket: number): void => {
    const n = (Atomics.add(words, at.finished, 1) + 1) & 0xffff;
    if (plan.times !== 0)
      new Float64Array(memory.buffer, plan.times, plan.calls.length)[n - 1] = performance.timeOrigin + performance.now();
    // Others only wait for the calls before a barrier.
    if (n < plan.calls.length && plan.calls[n].barrier && Atomics.load(words, at.sleepers) > 0) Atomics.notify(words, at.finished);
    if (n === plan.calls.length) send({ kind: 'ended', ticket, failure: null });
  };
  const share = (plan: Plan, i: number, ticket: number, scratch: number): void => {
    const call = plan.calls[i];
    const bound = (part: number): number => Math.floor((call.extent * part) / threads);
    let count = 0;
    let total = 0;
    for (let k = 0; k < threads; k++) {
      const part = (thread + k) % threads;
      const cell = plan.taken / 4 + i * threads + part;
      const lo = bound(part);
      const size = bound(part + 1) - lo;
      const chunks = chunksOf(size);
      total += chunks;
      for (let v = Atomics.load(words, cell); v >> 16 === ticket && (v & 0xffff) < chunks; v = Atomics.load(words, cell)) {
        if (Atomics.compareExchange(words, cell, v, v + 1) !== v) continue;
        const n = v & 0xffff;
        call.run(call.buffers, lo + Math.floor((size * n) / chunks), lo + Math.floor((size * (n + 1)) / chunks), scratch);
        count++;
      }
    }
    if (count > 0 && Atomics.add(words, plan.done / 4 + i, count) + count === total) finish(plan, ticket);
  };
  /** This thread's way through a run. */
  const execute = (plan: Plan, ticket: number): void => {
    const scratch = Atomics.load(words, at.scratch);
    for (const [i, call] of plan.calls.entries()) {
      if (call.barrier && !awaitCalls(ticket, i)) return;
      if (call.owner >= 0 && call.owner !== thread) continue;
      if (call.owner < 0) share(plan, i, ticket, scratch + thread * plan.scratchBytes);
      // Even its owner takes a call: it may come late, and see the plan of the next run.
      else if (Atomics.compareExchange(words, plan.taken / 4 + i * threads, ticket << 16, (ticket << 16) + 1) === ticket << 16) {
        call.run(call.buffers, 0, call.extent, scratch + call.scratch);
        finish(plan, ticket);
      }
    }
  };
  /** Runs what comes until there is mail. */
  const serve = (): void => {
    for (;;) {
      const signal = Atomics.load(words, at.signal);
      if (Atomics.load(words, at.mail) !== received) return;
      const ticket = Atomics.load(words, at.ticket);
      const plan = plans.get(Atomics.load(words, at.plan));
      if (ticket === lastTicket || !plan) {
        awaitChange(at.signal, signal);
        continue;
      }
      lastTicket = ticket;
      try {
        execute(plan, ticket);
      } catch (error) {
        // The others leave the run when they see that it is no longer this one's.
        Atomics.store(words, at.finished, 0);
        Atomics.notify(words, at.finished);
        send({ kind: 'ended', ticket, failure: String(error) });
      }
    }
  };
  const receive = (message: ToThread): void => {
    let failure: string | null = null;
    if (message.kind === 'start') {
      ({ memory, thread, threads, cells: at } = message);
      words = new Int32Array(memory.buffer);
    } else {
      received++;
      if (message.kind === 'forget') {
        plans.delete(message.id);
        // No plan has the number 0: the run of the moment failed, and who hasn't begun it must not.
        if (message.id === 0) lastTicket = Atomics.load(words, at.ticket);
      } else {
        try {
          const { plan } = message;
          const { exports } = new WebAssembly.Instance(plan.module, { t: { memory }, m: Math as unknown as WebAssembly.ModuleImports });
          // Cells lie anywhere in the memory, which may have grown.
          words = new Int32Array(memory.buffer);
          plans.set(plan.id, { ...plan, calls: plan.calls.map((c) => ({ ...c, run: exports[c.run] as Kernel })) });
        } catch (error) {
          failure = String(error);
        }
      }
    }
    send({ kind: 'received', message: received + 1, failure });
    if (Atomics.load(words, at.mail) === received) serve();
  };
  if (node) node.on('message', receive);
  else self.onmessage = (event: MessageEvent<ToThread>) => receive(event.data);
}
