/**
 * @file rehearse: a few training steps that change nothing, to say before a long run what it will take. A step after a failed one computes
 * everything and keeps the old values, so the time and the memory are those of training.
 */

import { ConfigError } from '../base/errors.js';
import type { AnyModel } from '../model/model.js';
import { globalRandomState } from '../tensor/index.js';
import { randomStates } from './checkpoint.js';
import { type Stream, streamSource } from './source.js';
import { Programs } from './step.js';

export interface Rehearsal {
  /** Of one micro-batch's step, the fastest of those tried. */
  readonly secondsPerStep: number;
  /** Temporaries of the step. */
  readonly arenaBytes: number;
  /** Weights, and what the optimizer keeps beside them. */
  readonly weightBytes: number;
  readonly optimizerBytes: number;
  readonly compileSeconds: number;
}

export interface RehearseOptions {
  /** Steps to try; default 3. */
  steps?: number;
  /** Told before anything runs; may throw. */
  beforeRunning?: (plan: Pick<Rehearsal, 'arenaBytes' | 'weightBytes' | 'optimizerBytes'>) => void;
}

const bytesOf = (list: readonly { readonly size: number; readonly dtype: string }[]): number =>
  list.reduce((n, v) => n + v.size * ({ f32: 4, i32: 4, u32: 4, bf16: 2, f16: 2 }[v.dtype] ?? 1), 0);

/** Compiles the training step of a compiled model for the stream's first batch and runs it `steps` times. Throws what fit throws. */
export async function rehearse(model: AnyModel, data: Stream, options: RehearseOptions = {}): Promise<Rehearsal> {
  const { steps = 3 } = options;
  const who = `rehearse ${model.label}`;
  const { compiled } = model;
  if (!compiled) throw new ConfigError(`${who}: the model is not compiled. Expected compile() first.`);
  const source = await streamSource(data, { names: { who, inputNames: model.inputNames, outputNames: model.outputNames } });
  model.prepare(source.shapes.inputs, who);
  const programs = new Programs(model, compiled, compiled.resolve(model, source, who));
  compiled.buildOptimizer(model.trainableWeights);
  const states = [globalRandomState(), ...randomStates(model).values()];
  const before = await Promise.all(states.map((s) => s.snapshot()));
  const feed = await source.open(0, 0)();
  if (!feed) throw new ConfigError(`${who}: the data set gives no batch. Expected at least one.`);
  const step = await programs.train(feed.form);
  const plan = {
    arenaBytes: step.program.arenaBytes,
    weightBytes: bytesOf(model.weights),
    optimizerBytes: bytesOf(compiled.optimizer.variables),
  };
  options.beforeRunning?.(plan);
  const { failed } = compiled.progress;
  failed.set(Int32Array.of(1));
  try {
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < steps; i++) {
      const began = performance.now();
      await step.run(feed.inputs);
      best = Math.min(best, (performance.now() - began) / 1000);
    }
    return {
      ...plan,
      secondsPerStep: best,
      compileSeconds: step.traceSeconds + step.compileSeconds,
    };
  } finally {
    failed.set(Int32Array.of(0));
    programs.reset();
    for (const [i, s] of states.entries()) s.restore(before[i]);
  }
}
