/** @file trainOnBatch and testOnBatch: one step on given arrays. Programs are kept by shape, as in fit. */
import { ConfigError, ShapeError } from '../base/errors.js';
import type { AnyModel } from '../model/model.js';
import { applyClassWeight, type ClassWeight, checkClasses, type Data, type DataLike, specOf, toColumns } from './batch.js';
import type { Compiled } from './compiled.js';
import { idAdvice, NonFiniteLossError } from './errors.js';
import type { Evaluation } from './evaluate.js';
import { Breather } from './pipeline.js';
import { type BatchSource, columnsFeed } from './source.js';
import { Programs } from './step.js';

/** Runs one step. Resolves to its logs; rejects with NonFiniteLossError when a training step's loss isn't finite. */
export async function stepOnBatch(
  model: AnyModel,
  given: Compiled,
  kind: 'train' | 'test',
  x: Data,
  y: Data | undefined,
  options: { sampleWeight?: DataLike; classWeight?: ClassWeight },
): Promise<Evaluation> {
  const who = `${kind}OnBatch ${model.label}`;
  const names = { who, inputNames: model.inputNames, outputNames: model.outputNames };
  const columns = applyClassWeight(await toColumns(x, y, options.sampleWeight, names), options.classWeight, who);
  if (columns.inputs[0].shape[0] === 0) throw new ShapeError(`${who}: the batch is empty. Expected at least one example, received 0 rows.`);
  const feed = columnsFeed(columns);
  const source: BatchSource = {
    samples: feed.form.size,
    batches: 1,
    shapes: { inputs: columns.inputs.map(specOf), targets: columns.targets.map(specOf) },
    forms: [feed.form],
    columns,
    open: () => () => null,
  };
  model.prepare(source.shapes.inputs, who);
  checkClasses(options.classWeight, model.outputSpecs()[0].shape, who);
  if (kind === 'train' && given.isTraining)
    throw new ConfigError(`${who}: the model is being trained by fit. Expected one at a time. Await fit first.`);
  const compiled = given.isTraining ? given.aside : given;
  const programs = new Programs(model, compiled, compiled.resolve(model, source, who));
  programs.reset();
  if (kind === 'test') await (await programs.test(feed.form)).run(feed.inputs);
  else {
    compiled.buildOptimizer(model.trainableWeights);
    compiled.progress.begin(compiled.batchesDone);
    await (await programs.train(feed.form)).run(feed.inputs);
    if (++compiled.batchesDone % programs.window === 0 && programs.window > 1) await (await programs.apply()).run([]);
  }
  const readout = await programs.read();
  await new Breather().pause();
  if (kind === 'train' && readout.failed) {
    compiled.progress.begin(0);
    throw new NonFiniteLossError(
      `${who}: the loss is ${readout.lastLoss}. Expected a finite number; nothing was updated. Lower the learning rate, clip gradients (globalClipNorm: 1), or look for NaN and huge values in the batch${idAdvice(model)}.`,
      readout.steps + 1,
      0,
    );
  }
  return { ...readout.logs, loss: readout.logs.loss ?? 0 };
}
