/** @file The optimizers by Keras's names: factories, look-up of ids, what files hold. */
import { ConfigError, quote } from '../base/errors.js';
import { checkOptionNames } from '../base/option-names.js';
import { Optimizer, type OptimizerOptions } from './optimizer.js';
import { type Rule, type RuleName, rules } from './rules.js';
import type { Config } from './schedules.js';

export { type BuildOptions, Optimizer, type OptimizerOptions } from './optimizer.js';
export { getSchedule, Schedule, type ScheduleName, type SerializedSchedule, schedules, serializeSchedule } from './schedules.js';

class RuleOptimizer extends Optimizer {
  readonly #id: string;
  constructor(id: string, rule: Rule<object>, options: object, common: OptimizerOptions) {
    super(id, rule, options, common);
    this.#id = id;
  }
  get className(): string {
    return this.#id;
  }
}
/** A factory of optimizers from a rule. Throws ConfigError for options that it doesn't have. */
function defineOptimizer<O extends object>(id: string, rule: Rule<O>): (options?: Partial<O> & OptimizerOptions) => Optimizer {
  return (given = {}) => {
    const { learningRate: _rate, weightDecay: _decay, ...ruleDefaults } = rule.defaults;
    const own: Record<string, unknown> = { ...ruleDefaults };
    const common: Record<string, unknown> = {};
    checkOptionNames(given, { ...own, ...commonNames }, id);
    for (const [key, value] of Object.entries(given)) if (value !== undefined) (key in own ? own : common)[key] = value;
    return new RuleOptimizer(id, rule as Rule<object>, own, common);
  };
}
/** One entry an option: the compiler says when one is missing. */
const commonNames: Readonly<Record<keyof OptimizerOptions, true>> = {
  name: true,
  learningRate: true,
  weightDecay: true,
  excludeFromWeightDecay: true,
  clipNorm: true,
  globalClipNorm: true,
  clipValue: true,
  useEma: true,
  emaMomentum: true,
  emaOverwriteFrequency: true,
  gradientAccumulationSteps: true,
};

/** Factories; every option has Keras's default. @example optimizers.adam({ learningRate: 3e-4, globalClipNorm: 1 }) */
export const optimizers = {
  sgd: defineOptimizer('sgd', rules.sgd),
  rmsprop: defineOptimizer('rmsprop', rules.rmsprop),
  adagrad: defineOptimizer('adagrad', rules.adagrad),
  adadelta: defineOptimizer('adadelta', rules.adadelta),
  adam: defineOptimizer('adam', rules.adam),
  adamW: defineOptimizer('adamW', rules.adamW),
  adamax: defineOptimizer('adamax', rules.adamax),
  nadam: defineOptimizer('nadam', rules.nadam),
  lion: defineOptimizer('lion', rules.lion),
} satisfies Record<RuleName, unknown>;
export type OptimizerName = keyof typeof optimizers;

/** What a file keeps of an optimizer. */
export interface SerializedOptimizer {
  readonly className: string;
  readonly config: Config;
}
/** What `getOptimizer` takes. */
export type OptimizerLike = OptimizerName | (string & {}) | Optimizer | SerializedOptimizer;

const plain = (name: string): string => name.replaceAll('_', '').toLowerCase();
type Factory = (options?: Config) => Optimizer;
const byPlainName = new Map<string, Factory>(Object.entries(optimizers).map(([name, make]) => [plain(name), make as Factory]));

/** Makes an optimizer of your own known by name, so that saved models that use it load. */
export function registerOptimizer(name: string, make: (options?: Config) => Optimizer): void {
  byPlainName.set(plain(name), make);
}
/** The optimizer that `id` names (in any of Keras's spellings), describes or is. Throws ConfigError for an unknown name. */
export function getOptimizer(id: OptimizerLike): Optimizer {
  if (id instanceof Optimizer) return id;
  const [name, config] = typeof id === 'string' ? [id, {}] : [id?.className, id?.config];
  const names = Object.keys(optimizers).join(', ');
  if (typeof name !== 'string')
    throw new ConfigError(
      `optimizer: it is ${quote(id)}. Expected one of ${names}, or an Optimizer. Write 'adam' or optimizers.adam({ learningRate: 1e-3 }).`,
    );
  const make = byPlainName.get(plain(name));
  if (!make)
    throw new ConfigError(
      `optimizer: ${quote(name)} is not known. Expected one of ${names} or an Optimizer, received ${quote(name)}. Check the spelling, or call registerOptimizer(${quote(name)}, …) for one of your own.`,
    );
  return make(config);
}
export const serializeOptimizer = (optimizer: Optimizer): SerializedOptimizer => ({
  className: optimizer.className,
  config: optimizer.getConfig(),
});
