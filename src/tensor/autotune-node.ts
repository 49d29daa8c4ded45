/**
 * @file autotune: the plans of a graph's contractions by measurement instead of by the cost model. The graph is compiled
 * once with each contraction's n-th best plan, n = 0, 1, …; all variants run in turn on scratch buffers, and each contraction
 * takes the plan whose kernels were quickest. What was found is kept on disk for the next process.
 */
import { log } from '../base/log.js';
import { compileGraph, type Device, type GraphToCompile, type TargetInfo } from './engine.js';

/** Plans tried for each contraction. */
const mostPlans = 14;
/** Measurements of each, of which the shortest counts: at least so many, and more while they take less than these milliseconds. */
const leastRounds = 9;
const shortRounds = 400;
/** A plan must save this share of the time of the model's choice. */
const least = 0.03;

/** A device that can time kernels and keep what was found. */
export type TunableDevice = Device & Required<Pick<Device, 'profile' | 'tunedPlans'>>;

/** Measurements of all devices, one after another: two at a time would time each other. */
let turn: Promise<unknown> = Promise.resolve();

/**
 * `device.target` with the measured plans of all contractions of `graph`; those that the device's table doesn't hold are measured first, in
 * seconds to minutes. Results may differ from untuned ones in rounding.
 */
export function autotune(name: string, graph: GraphToCompile, device: TunableDevice): Promise<TargetInfo> {
  const tuned = turn.then(() => tune(name, graph, device));
  turn = tuned.catch(() => undefined);
  return tuned;
}

async function tune(name: string, graph: GraphToCompile, device: TunableDevice): Promise<TargetInfo> {
  const { target, tunedPlans, profile } = device;
  const known = new Map(Object.entries(tunedPlans.load()));
  const placeOf = (contraction: string, plans: readonly string[]): number => plans.indexOf(known.get(contraction) ?? '');
  const tuned: TargetInfo = { ...target, choosePlan: (contraction, plans) => Math.max(0, placeOf(contraction, plans)) };

  interface Variant {
    readonly executable: Awaited<ReturnType<Device['compile']>>;
    /** The plan of each contraction, and the milliseconds that its kernels took. */
    readonly plans: ReadonlyMap<string, string>;
    readonly times: Map<string, number>;
  }
  const start = performance.now();
  const variants: Variant[] = [];
  let most = 1;
  for (let rank = 0; rank < most; rank++) {
    const plans = new Map<string, string>();
    const choosePlan: TargetInfo['choosePlan'] = (contraction, all) => {
      // A plan that this version doesn't know is none.
      if (placeOf(contraction, all) >= 0) return placeOf(contraction, all);
      most = Math.min(mostPlans, Math.max(most, all.length));
      const at = Math.min(rank, all.length - 1);
      plans.set(contraction, all[at]);
      return at;
    };
    const { program } = compileGraph(graph, { ...target, choosePlan });
    if (plans.size === 0) return tuned;
    if (rank === 0) log.notice(`autotune ${name}: measuring the ways to cut ${plans.size} products`);
    variants.push({ executable: await device.compile(program), plans, times: new Map() });
  }

  const externals = variants[0].executable.program.buffers.flatMap((b) =>
    b.place.kind === 'external' ? [{ slot: b.place.slot, buffer: device.allocate(b.dtype, b.size) }] : [],
  );
  const bound = externals.sort((a, b) => a.slot - b.slot).map((e) => e.buffer);
  const measured = performance.now();
  for (let round = 0; round < leastRounds || (round < 20 * leastRounds && performance.now() - measured < shortRounds); round++) {
    for (const { executable, times } of variants) {
      const now = new Map<string, number>();
      const calls = await profile.call(device, executable, bound);
      for (const [i, { kernel }] of executable.program.calls.entries())
        if (kernel.contraction !== undefined) now.set(kernel.contraction, (now.get(kernel.contraction) ?? 0) + calls[i]);
      for (const [contraction, ms] of now) times.set(contraction, Math.min(ms, times.get(contraction) ?? ms));
    }
  }

  for (const { executable } of variants) executable[Symbol.dispose]?.();

  const found: Record<string, string> = {};
  let [before, after] = [0, 0];
  for (const [contraction, first] of variants[0].plans) {
    const time = (v: Variant): number => v.times.get(contraction) ?? Number.POSITIVE_INFINITY;
    const quickest = variants.reduce((a, b) => (time(b) < time(a) ? b : a));
    const best = time(quickest) < time(variants[0]) * (1 - least) ? quickest : variants[0];
    found[contraction] = best.plans.get(contraction) ?? first;
    known.set(contraction, found[contraction]);
    before += time(variants[0]);
    after += time(best);
  }
  // What other processes found meanwhile stays.
  tunedPlans.save({ ...tunedPlans.load(), ...found });
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  log.notice(`autotune ${name}: products take ${after.toFixed(2)} ms instead of ${before.toFixed(2)} (measured in ${seconds} s)`);
  return tuned;
}
