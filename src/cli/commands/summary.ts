/** @file `tenon summary`: a model's layers, and how it was compiled. */
import { loadModelFile } from '../models.js';
import { say } from '../output.js';

/** Runs the command. Throws UsageError and what the library throws. */
export async function summary(path: string): Promise<void> {
  const { model, classNames, dataset } = await loadModelFile(path);
  model.summary({ print: say });
  if (model.compiled) say(` Optimizer: ${model.optimizer.name}`);
  if (dataset !== null) say(` Trained on: ${dataset}`);
  if (classNames !== null) say(` Classes: ${classNames.join(', ')}`);
}
