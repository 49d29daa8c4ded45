/** @file `tenon merge`: an adapter added to its base, saved as a model of its own. */
import { dirname } from 'node:path';
import { openModel } from '../../llm/open-model-node.js';
import { savePretrained } from '../../llm/pretrained-node.js';
import { adapters, mergeLora } from '../../model/lora.js';
import { requireFolder } from '../datasets.js';
import { useDevice } from '../device.js';
import { UsageError } from '../failure.js';
import type { MergeCommandOptions } from '../language-commands.js';
import { removeOtherModel, requireNoModel, requireNotSource } from '../model-output.js';
import { say, shellWord, thousands, writeJson } from '../output.js';
import { workLine } from '../work-line.js';

/** Runs the command. Throws UsageError and what the library throws. */
export async function merge(name: string, options: MergeCommandOptions): Promise<void> {
  if (options.json !== undefined) await requireFolder('--json', dirname(options.json));
  if (options.device !== undefined) useDevice('--device', options.device);
  await requireNotSource('--out', options.out, [name]);
  await requireNoModel('--out', options.out, 'folder', options.overwrite === true);
  const line = workLine();
  const { model, tokenizer, generation, folder, base } = await openModel(name, {
    onProgress: (share) => line.show('reading weights', share),
  });
  line.clear();
  const found = adapters(model);
  if (found.length === 0)
    throw new UsageError(`${name}: it has no adapter. Expected a folder with adapter_config.json, or a run that made one.`);
  await requireNotSource('--out', options.out, [folder, base]);
  await mergeLora(model);
  await removeOtherModel(options.out);
  await savePretrained({ model, tokenizer, generation }, options.out, options.weights === undefined ? {} : { dtype: options.weights });
  const parameters = model.weights.reduce((n, v) => n + v.size, 0);
  say(`Merged ${folder} into its base: ${thousands(parameters)} parameters in ${options.out}.`);
  say(`Next: tenon chat ${shellWord(options.out)}`);
  if (options.json !== undefined)
    await writeJson(options.json, { adapter: folder, out: options.out, parameters, modules: found[0].modules });
}
