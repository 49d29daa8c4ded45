/** @file csvLogger and jsonLines: the logs of every epoch in a file. */
import { checkOptionNames } from '../../base/option-names.js';
import type { Callback, Logs } from './callback.js';

const files = (): Promise<typeof import('#node/train/checkpoint-files-node.js')> => import('#node/train/checkpoint-files-node.js');

export interface CsvLoggerOptions {
  separator?: string;
  /** Goes on with a file that is there; default false: begins anew. */
  append?: boolean;
}

/** Keras's CSVLogger: a header and one row an epoch. Columns are those of the first epoch; NaN is written as NaN. */
export function csvLogger(path: string, options: CsvLoggerOptions = {}): Callback {
  checkOptionNames(options, { separator: true, append: true } satisfies Record<keyof CsvLoggerOptions, true>, 'csvLogger');
  const { separator = ',', append = false } = options;
  let columns: string[] | null = null;
  let isResumed = false;
  return {
    name: `csvLogger:${path}`,
    async onTrainBegin() {
      const { readText, writeText } = await files();
      const text = append || isResumed ? await readText(path) : null;
      columns = text ? (text.split('\n', 1)[0].split(separator).slice(1) ?? null) : null;
      if (!text) await writeText(path, '', false);
    },
    async onEpochEnd(epoch, logs) {
      const { writeText } = await files();
      const isNew = columns === null;
      columns ??= Object.keys(logs);
      const row = [epoch, ...columns.map((c) => logs[c] ?? '')].join(separator);
      await writeText(path, `${isNew ? `${['epoch', ...columns].join(separator)}\n` : ''}${row}\n`, true);
    },
    getState: () => ({ json: {} }),
    setState() {
      isResumed = true;
    },
  };
}

/** One JSON object a line: { event: 'epoch', epoch, seconds, …logs }, and the beginning and end of training. */
export function jsonLines(path: string, options: { append?: boolean } = {}): Callback {
  checkOptionNames(options, { append: true }, 'jsonLines');
  let started = 0;
  let epochStarted = 0;
  let isResumed = false;
  const write = async (value: Record<string, unknown>): Promise<void> =>
    (await files()).writeText(path, `${JSON.stringify(value)}\n`, true);
  const finite = (logs: Logs): Record<string, number | string> =>
    Object.fromEntries(Object.entries(logs).map(([k, v]) => [k, Number.isFinite(v) ? v : String(v)]));
  return {
    name: `jsonLines:${path}`,
    async onTrainBegin({ params, model }) {
      started = epochStarted = performance.now();
      if (!options.append && !isResumed) await (await files()).writeText(path, '', false);
      await write({ event: 'begin', model: model.name, parameters: model.countParams(), ...params });
    },
    onEpochBegin() {
      epochStarted = performance.now();
    },
    async onEpochEnd(epoch, logs) {
      await write({ event: 'epoch', epoch, seconds: (performance.now() - epochStarted) / 1000, ...finite(logs) });
    },
    async onTrainEnd(logs, { history }) {
      await write({ event: 'end', seconds: (performance.now() - started) / 1000, stopped: history.stopped, ...finite(logs) });
    },
    getState: () => ({ json: {} }),
    setState() {
      isResumed = true;
    },
  };
}
