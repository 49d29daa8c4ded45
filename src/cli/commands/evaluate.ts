/** @file `tenon evaluate`: loss, accuracy, scores of each class and the confusion matrix on a test set. */
import { dirname } from 'node:path';
import { currentDevice } from '../../device/registry.js';
import { describeDataset, loadDataset, requireFolder } from '../datasets.js';
import { useDevice } from '../device.js';
import { UsageError } from '../failure.js';
import { loadModelFile, requireFit } from '../models.js';
import { four, percent, say, writeJson } from '../output.js';
import { datasetNames, type EvaluateCommandOptions } from '../program.js';
import { confusionLines, scoreClasses, scoreLines } from '../report.js';
import { version } from '../version.js';

/** Runs the command. Throws UsageError and what the library throws. */
export async function evaluate(path: string, options: EvaluateCommandOptions): Promise<void> {
  if (options.device !== undefined) useDevice('--device', options.device);
  if (options.json !== undefined) await requireFolder('--json', dirname(options.json));
  const loaded = await loadModelFile(path);
  const { model } = loaded;
  const name = options.dataset ?? loaded.dataset;
  if (name === null)
    throw new UsageError(`${path}: the file doesn't say which data set it was trained on. Expected --dataset ${datasetNames.join('|')}.`);
  const dataset = await loadDataset({ name, dataDir: options.dataDir, limit: options.limit, testOnly: true });
  requireFit(model, path, dataset);
  if (!model.compiled) model.compile({ loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
  const { x, y } = dataset.test;
  const { logs } = await model.evaluateAll(x, y, { batchSize: options.batchSize, verbose: 0 });
  const scores = await scoreClasses(model, dataset, options.batchSize);
  if (options.json !== undefined)
    await writeJson(options.json, {
      version: version(),
      model: path,
      dataset: name,
      device: currentDevice().name,
      threads: currentDevice().target.threads,
      parameters: model.countParams(),
      test: { loss: logs.loss, ...scores },
    });
  say(describeDataset(dataset).replace(/: .* training and /, ': '));
  say(`Test accuracy ${percent(scores.accuracy)}, loss ${four(logs.loss)}.`);
  say();
  for (const line of scoreLines(scores)) say(line);
  say();
  for (const line of confusionLines(scores)) say(line);
}
