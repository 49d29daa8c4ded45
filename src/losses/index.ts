/** @file The losses by Keras's names: factories, look-up of ids, what files hold. */
import { ConfigError, quote } from '../base/errors.js';
import * as classification from './classification.js';
import { type Config, defineLoss, type Loss, type LossFunction, type NamedLoss, perSample } from './loss.js';
import * as regression from './regression.js';

export type { Loss, LossFunction, NamedLoss } from './loss.js';

const logits = { fromLogits: false };
const categorical = { ...logits, labelSmoothing: 0, axis: -1 };
const binary = { ...logits, labelSmoothing: 0 };
const softmax = { activation: 'softmax' } as const;
const sigmoid = { activation: 'sigmoid' } as const;

/** Factories; every option has Keras's default. @example losses.huber({ delta: 0.5 }) */
export const losses = {
  categoricalCrossentropy: defineLoss('categoricalCrossentropy', classification.categoricalCrossentropy, categorical, softmax),
  sparseCategoricalCrossentropy: defineLoss<classification.SparseOptions>(
    'sparseCategoricalCrossentropy',
    classification.sparseCategoricalCrossentropy,
    { ...categorical, ignoreClass: null },
    { ...softmax, countedPart: classification.countedLabels },
  ),
  binaryCrossentropy: defineLoss('binaryCrossentropy', classification.binaryCrossentropy, binary, sigmoid),
  binaryFocalCrossentropy: defineLoss(
    'binaryFocalCrossentropy',
    classification.binaryFocalCrossentropy,
    { ...binary, applyClassBalancing: false, alpha: 0.25, gamma: 2 },
    sigmoid,
  ),
  categoricalFocalCrossentropy: defineLoss(
    'categoricalFocalCrossentropy',
    classification.categoricalFocalCrossentropy,
    { ...categorical, alpha: 0.25, gamma: 2 },
    softmax,
  ),
  klDivergence: defineLoss('klDivergence', classification.klDivergence, {}),
  hinge: defineLoss('hinge', classification.hinge, {}),
  squaredHinge: defineLoss('squaredHinge', classification.squaredHinge, {}),
  categoricalHinge: defineLoss('categoricalHinge', classification.categoricalHinge, {}),
  meanSquaredError: defineLoss('meanSquaredError', regression.meanSquaredError, {}),
  meanAbsoluteError: defineLoss('meanAbsoluteError', regression.meanAbsoluteError, {}),
  meanAbsolutePercentageError: defineLoss('meanAbsolutePercentageError', regression.meanAbsolutePercentageError, {}),
  meanSquaredLogarithmicError: defineLoss('meanSquaredLogarithmicError', regression.meanSquaredLogarithmicError, {}),
  huber: defineLoss('huber', regression.huber, { delta: 1 }),
  logCosh: defineLoss('logCosh', regression.logCosh, {}),
  poisson: defineLoss('poisson', regression.poisson, {}),
  cosineSimilarity: defineLoss('cosineSimilarity', regression.cosineSimilarity, { axis: -1 }),
};
export type LossName = keyof typeof losses;

const aliases: Readonly<Record<string, LossName>> = {
  mse: 'meanSquaredError',
  mae: 'meanAbsoluteError',
  mape: 'meanAbsolutePercentageError',
  msle: 'meanSquaredLogarithmicError',
  bce: 'binaryCrossentropy',
  kld: 'klDivergence',
  kullbackleiblerdivergence: 'klDivergence',
};
/** categorical_crossentropy, CategoricalCrossentropy and categoricalCrossentropy are one. */
const plain = (name: string): string => name.replaceAll('_', '').toLowerCase();
type Factory = (options?: Config) => NamedLoss;
const byPlainName = new Map<string, Factory>(
  Object.entries(losses).map(([name, make]) => [plain(name), (options) => (make as Factory)(options)]),
);
for (const [alias, name] of Object.entries(aliases)) byPlainName.set(alias, (options) => (losses[name] as Factory)(options));

/** What a file keeps of a loss. */
export interface SerializedLoss {
  readonly className: string;
  readonly config: Config;
}
/** What `getLoss` takes. */
export type LossLike = LossName | (string & {}) | Loss | LossFunction | SerializedLoss;

const isSerialized = (x: object): x is SerializedLoss => 'className' in x && 'config' in x && !('call' in x);

/**
 * The loss that `id` names or is; a function (yTrue, yPred) → [batch, …] becomes one. Throws ConfigError for an unknown name.
 * @example getLoss('categorical_crossentropy')
 */
export function getLoss(id: LossLike): Loss {
  if (typeof id === 'function') {
    const name = id.name || 'loss';
    return { name, fromLogits: false, call: (t, p) => perSample(id(t, p)), getConfig: () => ({ name }) };
  }
  if (typeof id === 'object' && id !== null && !isSerialized(id)) {
    if (typeof id.call === 'function') return id;
    throw new ConfigError('loss: the object has no call(yTrue, yPred). Expected a name, a function or a Loss.');
  }
  const [name, config] = typeof id === 'string' ? [id, {}] : [id?.className, id?.config];
  if (typeof name !== 'string')
    throw new ConfigError(
      `loss: it is ${quote(id)}. Expected a name such as 'mse', a function (yTrue, yPred) → tensor, or a Loss such as losses.huber().`,
    );
  const make = byPlainName.get(plain(name));
  if (!make)
    throw new ConfigError(
      `loss: ${quote(name)} is not known. Expected one of ${Object.keys(losses).join(', ')}, a function or a Loss, received ${quote(name)}. Give the function itself, or call registerLoss first.`,
    );
  return make(config);
}
/** Makes a loss of your own known by name, so that saved models that use it load. */
export function registerLoss(name: string, make: (options?: Config) => Loss): void {
  byPlainName.set(plain(name), (options) => ({ ...bound(make(options)), className: name }));
}
/** A loss that may be a class's instance as a plain object whose methods still work. */
function bound(loss: Loss): Loss {
  return {
    name: loss.name,
    fromLogits: loss.fromLogits,
    activation: loss.activation,
    call: (t, p) => loss.call(t, p),
    ...(loss.callFromLogits && { callFromLogits: (t, p) => loss.callFromLogits?.(t, p) ?? loss.call(t, p) }),
    ...(loss.countedPart && { countedPart: (t) => loss.countedPart?.(t) ?? t }),
    getConfig: () => loss.getConfig(),
  };
}
/** What a file keeps of the loss. Throws ConfigError for one without a registered name. */
export function serializeLoss(loss: Loss): SerializedLoss {
  const className = 'className' in loss && typeof loss.className === 'string' ? loss.className : loss.name;
  if (!byPlainName.has(plain(className)))
    throw new ConfigError(
      `loss "${loss.name}": a function can't be saved. Expected a registered name. Call registerLoss('${loss.name}', …).`,
    );
  return { className, config: loss.getConfig() };
}
