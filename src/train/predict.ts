/** @file predict: a model's outputs over a data set, batch by batch, joined on the host. */
import { allocate } from '../base/dtype.js';
import { ConfigError } from '../base/errors.js';
import type { AnyModel } from '../model/model.js';
import { currentDevice } from '../tensor/engine.js';
import { compileStep, type Step, type Tensor, wrap } from '../tensor/index.js';
import type { Data } from './batch.js';
import type { Callback } from './callbacks/callback.js';
import { facesOf } from './callbacks/faces.js';
import type { Verbose } from './callbacks/progress-bar.js';
import { passCallbacks, sourceOf } from './evaluate.js';
import { checkOptionNames, checkVerbose, predictOptionNames } from './options.js';
import { Breather } from './pipeline.js';
import type { BatchForm, Stream } from './source.js';

export interface PredictOptions {
  /** Default 32. */
  batchSize?: number;
  /** At most so many batches. */
  steps?: number;
  /** Default 0: predictions are often made in loops. */
  verbose?: Verbose;
  callbacks?: readonly Callback[];
  signal?: AbortSignal;
}

const programsOf = new WeakMap<AnyModel, Map<string, Promise<Step>>>();

/** The compiled forward pass for a form of batches. */
export function forwardProgram(model: AnyModel, form: BatchForm): Promise<Step> {
  const programs = programsOf.get(model) ?? new Map<string, Promise<Step>>();
  programsOf.set(model, programs);
  const key = `${currentDevice().name}|${model.revision}|${form.key}`;
  let program = programs.get(key);
  if (!program) {
    program = compileStep((inputs) => ({ outputs: model.forward(form.unpack(inputs).inputs, false) }), form.specs, {
      name: `${model.name}: prediction`,
    });
    program.catch(() => programs.delete(key));
    programs.set(key, program);
  }
  return program;
}

/** The outputs as a flat list of tensors, examples first. Throws ConfigError and ShapeError naming the model. */
export async function predictModel(model: AnyModel, x: Data | Stream, options: PredictOptions = {}): Promise<Tensor[]> {
  const who = `predict ${model.label}`;
  checkOptionNames(options, predictOptionNames, who);
  checkVerbose(options.verbose, who);
  const faces = await facesOf(options.verbose ?? 0, 'predict');
  const source = await sourceOf(model, who, x, undefined, options);
  model.prepare(source.shapes.inputs, who);
  const callbacks = passCallbacks(model, source, options, faces);
  await callbacks.call('onPredictBegin');
  const start = performance.now();
  const next = source.open(0, 0);
  const breather = new Breather();
  const parts: { step: Step; data: Promise<readonly ArrayLike<number>[]> }[] = [];
  let samplesDone = 0;
  for (let feed = await next(); feed; feed = await next()) {
    if (options.signal?.aborted) throw new ConfigError(`${who}: the signal ended it. Expected to finish.`);
    const step = await forwardProgram(model, feed.form);
    const data = step.run(feed.inputs);
    data.catch(() => undefined);
    parts.push({ step, data });
    samplesDone += feed.form.size;
    if (parts.length > 3) await parts[parts.length - 3].data;
    if (callbacks.has('onProgress') && breather.isDue('report', 100))
      await callbacks.call('onProgress', {
        phase: 'predict',
        epoch: 0,
        step: parts.length,
        firstStep: 0,
        samplesDone,
        seconds: (performance.now() - start) / 1000,
        logs: {},
      });
    await breather.pause();
  }
  const results = await Promise.all(parts.map((p) => p.data));
  await callbacks.call('onPredictEnd');
  return parts[0].step.outputs.map((spec, o) => {
    const rows = parts.reduce((n, p) => n + p.step.outputs[o].shape[0], 0);
    const shape = [rows, ...spec.shape.slice(1)];
    // Half floats are read as f32.
    const dtype = spec.dtype === 'f16' || spec.dtype === 'bf16' ? 'f32' : spec.dtype;
    const all = allocate(
      dtype,
      shape.reduce((a, b) => a * b, 1),
    );
    let at = 0;
    for (const r of results) {
      all.set(r[o], at);
      at += r[o].length;
    }
    return wrap(all, shape, dtype);
  });
}
