/** @file A model's and its compile options' configs, as saved models and checkpoints keep them. */
import { ConfigError } from '../base/errors.js';
import { serialize } from '../layers/registry.js';
import { getLoss, type LossLike, serializeLoss } from '../losses/index.js';
import { Metric, serializeMetric } from '../metrics/index.js';
import type { AnyModel } from '../model/model.js';
import { serializeOptimizer } from '../optimizers/index.js';

/** The model's and its compile options' configs, where they can be had: custom functions without a name cannot. */
export function describeModel(model: AnyModel): Record<string, unknown> {
  let config: unknown = null;
  try {
    config = serialize(model);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
  }
  return { model: config, compile: describeCompile(model) };
}
/** Compile options as JSON; null without them, or when a function in them has no name. */
export function describeCompile(model: AnyModel): unknown {
  if (!model.compiled) return null;
  const { loss, lossWeights, metrics, weightedMetrics, objective } = model.compiled.options;
  if (objective) return null;
  try {
    return {
      optimizer: serializeOptimizer(model.compiled.optimizer),
      loss: mapIds(loss, describeLoss),
      lossWeights,
      metrics: mapIds(metrics, describeMetric),
      weightedMetrics: mapIds(weightedMetrics, describeMetric),
    };
  } catch (error) {
    if (error instanceof ConfigError) return null;
    throw error;
  }
}
const describeLoss = (id: unknown): unknown => (typeof id === 'string' || id === null ? id : serializeLoss(getLoss(id as LossLike)));
const describeMetric = (id: unknown): unknown => {
  if (typeof id === 'string') return id;
  if (id instanceof Metric) return serializeMetric(id);
  throw new ConfigError('metric: a function has no name in a file. Expected a registered metric.');
};
/** Ids in lists and objects, described. */
function mapIds(ids: unknown, describe: (id: unknown) => unknown): unknown {
  if (ids === undefined) return undefined;
  if (Array.isArray(ids)) return ids.map((x) => mapIds(x, describe));
  if (
    typeof ids === 'object' &&
    ids !== null &&
    Object.getPrototypeOf(ids) === Object.prototype &&
    !('call' in ids) &&
    !('className' in ids)
  )
    return Object.fromEntries(Object.entries(ids).map(([k, x]) => [k, mapIds(x, describe)]));
  return describe(ids);
}
