/** @file The data of a fit: arrays split and batched, streams, and the data to validate on. */
import { ConfigError } from '../base/errors.js';
import type { AnyModel } from '../model/model.js';
import { applyClassWeight, type ColumnNames, type Columns, type Data, type DataLike, toColumns } from './batch.js';
import type { FitOptions } from './fit.js';
import { type BatchSource, checkSizes, isStream, limited, memorySource, type Stream, streamSource } from './source.js';

export type ValidationData =
  | readonly [Data, Data]
  | readonly [Data, Data, DataLike]
  | { readonly x: Data; readonly y: Data; readonly sampleWeight?: DataLike }
  | Stream;

export interface Sources {
  readonly train: BatchSource;
  readonly validation: BatchSource | null;
  readonly batchSize: number | null;
}

/** Throws ConfigError and ShapeError that name `who`. */
export async function openSources(
  model: AnyModel,
  x: Data | Stream,
  y: Data | undefined,
  options: FitOptions,
  who: string,
  seed: number,
): Promise<Sources> {
  const names = { who, inputNames: model.inputNames, outputNames: model.outputNames };
  const { validationSplit = 0, validationData } = options;
  if (!(validationSplit >= 0 && validationSplit < 1))
    throw new ConfigError(`${who}: validationSplit ${validationSplit}. Expected a number in [0, 1).`);
  if (isStream(x)) {
    for (const [name, set] of [
      ['y', y !== undefined],
      ['sampleWeight', options.sampleWeight !== undefined],
      ['validationSplit', validationSplit > 0],
    ] as const)
      if (set) throw new ConfigError(`${who}: ${name} with a stream. Expected it in the stream's batches. Give arrays, or leave it out.`);
    const train = await streamSource(x, {
      names,
      classWeight: options.classWeight,
      stepsPerEpoch: options.stepsPerEpoch,
      batchSize: options.batchSize,
      goesOn: true,
    });
    return { train, validation: await openValidation(validationData, options, names, train.forms[0].size), batchSize: null };
  }
  const columns = applyClassWeight(await toColumns(x, y, options.sampleWeight, names), options.classWeight, who);
  const total = columns.inputs[0].shape[0];
  const kept = validationData ? total : Math.floor(total * (1 - validationSplit));
  if (total > 0 && kept === 0)
    throw new ConfigError(`${who}: validationSplit ${validationSplit} leaves nothing of ${total} examples to train on. Use a smaller one.`);
  checkSizes(kept, options.batchSize ?? Math.min(32, Math.max(1, kept)), who);
  const batchSize = options.batchSize ?? Math.min(32, kept);
  const shuffleSeed = (options.shuffle ?? true) ? seed : null;
  const all = memorySource(columns, { batchSize, shuffleSeed, end: kept });
  const train = options.stepsPerEpoch === undefined ? all : limited(all, options.stepsPerEpoch, batchSize, who);
  const validation =
    validationData === undefined && kept < total
      ? memorySource(columns, {
          batchSize: Math.min(options.validationBatchSize ?? batchSize, total - kept),
          shuffleSeed: null,
          first: kept,
          end: total,
        })
      : await openValidation(validationData, options, names, batchSize);
  return { train, validation, batchSize };
}

async function openValidation(
  data: ValidationData | undefined,
  options: FitOptions,
  names: ColumnNames,
  batchSize: number,
): Promise<BatchSource | null> {
  if (data === undefined || data === null) return null;
  const own = { ...names, who: `${names.who}: validationData` };
  if (isStream(data))
    return streamSource(data, { names: own, stepsPerEpoch: options.validationSteps, batchSize: options.validationBatchSize ?? batchSize });
  const [x, y, w] = Array.isArray(data) ? data : 'x' in data ? [data.x, data.y, data.sampleWeight] : [];
  if (x === undefined || y === undefined) throw new ConfigError(`${own.who}: expected [x, y], [x, y, sampleWeight] or { x, y }.`);
  const columns: Columns = await toColumns(x, y, w, own);
  const n = columns.inputs[0].shape[0];
  if (n === 0) throw new ConfigError(`${own.who}: the data are empty. Expected at least one example, received 0 rows.`);
  const size = Math.min(options.validationBatchSize ?? batchSize, n);
  return memorySource(columns, {
    batchSize: size,
    shuffleSeed: null,
    end: options.validationSteps ? Math.min(n, options.validationSteps * size) : n,
  });
}
