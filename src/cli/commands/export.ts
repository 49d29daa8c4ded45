/** @file `tenon export`: a model as GGUF or safetensors. */
import { stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { writeGguf } from '../../io/gguf-node.js';
import { ggufEntries } from '../../llm/export.js';
import { openModel } from '../../llm/open-model-node.js';
import { savePretrained } from '../../llm/pretrained-node.js';
import { weightEntries } from '../../llm/weights.js';
import { adapters, mergeLora } from '../../model/lora.js';
import { requireFolder } from '../datasets.js';
import { useDevice } from '../device.js';
import { UsageError } from '../failure.js';
import type { ExportCommandOptions } from '../language-commands.js';
import { removeOtherModel, requireNoModel, requireNotSource } from '../model-output.js';
import { say, writeJson } from '../output.js';
import { workLine } from '../work-line.js';

/** Runs the command. Throws UsageError and what the library throws. */
export async function exportModel(name: string, options: ExportCommandOptions): Promise<void> {
  const { format, type = 'f32' } = options;
  if (options.json !== undefined) await requireFolder('--json', dirname(options.json));
  if (options.device !== undefined) useDevice('--device', options.device);
  if (format === 'safetensors' && type === 'q8_0')
    throw new UsageError('--type: q8_0 is of GGUF. Expected f32, f16 or bf16 for safetensors.');
  const stem = basename(resolve(name)).replace(/\.gguf$/, '');
  const out = options.out ?? (format === 'gguf' ? `${stem}-${type}.gguf` : `${stem}-${type}`);
  await requireNotSource('--out', out, [name]);
  await requireNoModel('--out', out, format === 'gguf' ? 'file' : 'folder', options.overwrite === true);
  const line = workLine();
  const { model, tokenizer, generation, folder, base } = await openModel(name, {
    onProgress: (share) => line.show('reading weights', share),
  });
  line.clear();
  await requireNotSource('--out', out, [folder, base]);
  if (adapters(model).length > 0) await mergeLora(model);
  line.text(`writing ${out} …`);
  if (format === 'gguf') {
    const tensors = weightEntries(model);
    await writeGguf(out, ggufEntries(model.source, { json: tokenizer.json, config: tokenizer.config }, tensors, type, { name: stem }));
  } else {
    await removeOtherModel(out);
    await savePretrained({ model, tokenizer, generation }, out, type === 'q8_0' ? {} : { dtype: type });
  }
  line.clear();
  const bytes = format === 'gguf' ? (await stat(out)).size : null;
  say(`Wrote ${out}${bytes === null ? '' : ` (${(bytes / 1e6).toFixed(1)} MB)`}.`);
  if (options.json !== undefined) await writeJson(options.json, { model: name, format, type, out, bytes });
}
