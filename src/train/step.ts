/**
 * @file The Programs of a compiled model: one whole training step (gather, forward, loss, gradients, update, metrics),
 * the two halves of it under gradient accumulation, the test step, prediction, and the read-out of losses and metrics.
 * A step whose loss is not finite changes nothing, and neither does any step after it.
 */
import { ConfigError } from '../base/errors.js';
import type { AnyModel } from '../model/model.js';
import { currentDevice } from '../tensor/engine.js';
import { compileStep, fromHost, type Step, stack, type Tensor, type Variable, valueAndGrad } from '../tensor/index.js';
import { type Batch, makeBatch } from './batch.js';
import type { Compiled, Resolved } from './compiled.js';
import { alignTarget, type ObjectiveResult } from './objective.js';
import type { BatchForm } from './source.js';
import { guarded } from './state.js';

/** What a run reads out: named scalars, and metrics that are no scalars. */
export interface Readout {
  readonly logs: Record<string, number>;
  readonly tables: Record<string, { readonly data: Float32Array; readonly shape: readonly number[] }>;
  readonly failed: boolean;
  /** Steps done since the counter was set. */
  readonly steps: number;
  readonly lastLoss: number;
}

/** The Programs for a model, its compile options and the labels' shapes. */
export class Programs {
  readonly #model: AnyModel;
  readonly #compiled: Compiled;
  readonly #resolved: Resolved;

  constructor(model: AnyModel, compiled: Compiled, resolved: Resolved) {
    this.#model = model;
    this.#compiled = compiled;
    this.#resolved = resolved;
  }

  /** Micro-batches an update. */
  get window(): number {
    return this.#model.trainStep ? 1 : Math.max(1, this.#compiled.optimizer.gradientAccumulationSteps);
  }
  /** One step on a batch of this form; under gradient accumulation the half that adds up. */
  train(form: BatchForm): Promise<Step> {
    return this.#program('train', form, 'training step', this.window > 1 ? this.#accumulate : this.#update);
  }
  /** Under gradient accumulation: the half that updates, for the sums so far. */
  apply(): Promise<Step> {
    return this.#program('apply', null, 'update', () => this.#applySums());
  }
  /** Loss and metrics of a batch. */
  test(form: BatchForm): Promise<Step> {
    return this.#program('test', form, 'evaluation step', (batch) => this.#test(batch));
  }
  /** A Program that gives nothing back: what it does shows in Variables. */
  #program(kind: 'train' | 'apply' | 'test', form: BatchForm | null, name: string, body: (batch: Batch) => void): Promise<Step> {
    const fn = (inputs: Tensor[]): { outputs: Tensor[] } => {
      body(form ? form.unpack(inputs) : makeBatch([], [], null, 0));
      return { outputs: [] };
    };
    return this.#cached(kind, form?.key ?? '', () => compileStep(fn, form?.specs ?? [], { name: `${this.#model.name}: ${name}` }));
  }

  /** Losses and metrics so far, after every step queued before. */
  async read(): Promise<Readout> {
    const { means, progress } = this.#compiled;
    const { metrics } = this.#resolved;
    const names = means.names;
    let scalars: string[] = [];
    let tables: string[] = [];
    const step = await this.#cached('read', `${names.join()}|${metrics.map((m) => m.name).join()}`, () =>
      compileStep(
        () => {
          const results = metrics.map((m) => m.metric.result());
          const flat = [...names.map((n) => means.result(n)), ...results.filter((r) => r.rank === 0), progress.lastLoss.read()];
          const values = stack(flat.map((t) => t.cast('f32').reshape([])));
          const counts = stack([progress.failed.read(), progress.steps.read()]);
          return { outputs: [values, counts, ...results.filter((r) => r.rank > 0).map((r) => r.cast('f32'))] };
        },
        [],
        { name: `${this.#model.name}: metrics` },
      ),
    );
    // Which metrics are scalars shows in the Program's outputs: those after the first two are tables.
    const shapes = metrics.map((m) => m.metric.result().shape);
    scalars = [...names, ...metrics.filter((_, i) => shapes[i].length === 0).map((m) => m.name)];
    tables = metrics.filter((_, i) => shapes[i].length > 0).map((m) => m.name);
    const [values, counts, ...rest] = await step.run([]);
    return {
      logs: Object.fromEntries(orderLogs(scalars).map((n) => [n, values[scalars.indexOf(n)]])),
      tables: Object.fromEntries(tables.map((n, i) => [n, { data: Float32Array.from(rest[i]), shape: step.outputs[2 + i].shape }])),
      failed: counts[0] !== 0,
      steps: counts[1],
      lastLoss: values[values.length - 1],
    };
  }

  /** Sets means and metrics to nothing seen. */
  reset(): void {
    this.#compiled.means.reset();
    for (const { metric } of this.#resolved.metrics) metric.reset();
  }
  /** Variables of means and metrics. */
  get statistics(): Variable[] {
    return [...this.#compiled.means.variables, ...this.#metricVariables()];
  }

  #cached(kind: string, key: string, build: () => Promise<Step>): Promise<Step> {
    const model = this.#model;
    const trainable = kind === 'train' || kind === 'apply' ? model.trainableWeights.map((v) => v.id).join() : '';
    const full = `${kind}|${this.#resolved.key}|${currentDevice().name}|${trainable}|${key}`;
    const { programs } = this.#compiled;
    let program = programs.get(full);
    if (!program) {
      program = build();
      program.catch(() => programs.delete(full));
      programs.set(full, program);
    }
    return program;
  }

  #metricVariables(): Variable[] {
    return [...new Set(this.#resolved.metrics.flatMap((m) => m.metric.variables))];
  }
  /** Everything that a step changes. */
  #written(): Variable[] {
    return [...new Set([...this.#model.weights, ...this.#compiled.optimizer.variables, ...this.#metricVariables()])];
  }

  readonly #update = (batch: Batch): void => {
    const { optimizer, progress } = this.#compiled;
    let report: Report | null = null;
    const ok = guarded(this.#written(), () => {
      if (this.#model.trainStep) {
        report = customReport(this.#model.trainStep(batch), batch);
        return progress.allow(report.loss);
      }
      const variables = this.#trainable();
      const { value, gradients, aux } = valueAndGrad(() => {
        const result = this.#objective(batch, true);
        return [result.lossSum.reshape([]).div(result.weight.reshape([])), result] as const;
      }, variables);
      optimizer.apply(gradients, variables);
      this.#updateMetrics(aux, batch);
      report = objectiveReport(aux, value, batch);
      return progress.allow(value);
    });
    this.#record(report, ok);
  };

  readonly #accumulate = (batch: Batch): void => {
    const { optimizer, progress } = this.#compiled;
    let report: Report | null = null;
    const ok = guarded(this.#written(), () => {
      const variables = this.#trainable();
      const { value, gradients, aux } = valueAndGrad(() => {
        const result = this.#objective(batch, true);
        return [result.lossSum.reshape([]), result] as const;
      }, variables);
      const weight = aux.weight.reshape([]);
      optimizer.accumulate(gradients, weight, variables);
      this.#updateMetrics(aux, batch);
      const mean = value.div(weight);
      report = objectiveReport(aux, mean, batch);
      return progress.allow(mean);
    });
    this.#record(report, ok);
  };
  #applySums(): void {
    const { optimizer, progress } = this.#compiled;
    guarded(this.#written(), () => {
      optimizer.applyAccumulated(this.#trainable());
      return progress.failed.read().equal(0);
    });
  }

  #test(batch: Batch): void {
    const model = this.#model;
    if (model.testStep) {
      this.#record(customReport(model.testStep(batch), batch), null);
      return;
    }
    const result = this.#objective(batch, false);
    this.#updateMetrics(result, batch);
    this.#record(objectiveReport(result, result.lossSum.reshape([]).div(result.weight.reshape([])), batch), null);
  }

  #objective(batch: Batch, training: boolean): ObjectiveResult {
    return this.#resolved.objective(this.#model, batch, { training });
  }
  #trainable(): Variable[] {
    const variables = this.#model.trainableWeights;
    if (variables.length === 0)
      throw new ConfigError(
        `model "${this.#model.name}": it has no trainable weights. Expected at least one. Set trainable = true on a layer.`,
      );
    return variables;
  }
  #updateMetrics(result: ObjectiveResult, batch: Batch): void {
    for (const { metric, output, weighted, name } of this.#resolved.metrics) {
      const yPred = result.outputs?.[output];
      if (!yPred)
        throw new ConfigError(
          `metric "${name}": the objective gives no outputs. Expected \`outputs\` in its result. Return them, or compile without metrics.`,
        );
      const yTrue = batch.targets[output];
      if (!yTrue) throw new ConfigError(`metric "${name}": there is no target. Expected y. Pass y, or compile without metrics.`);
      metric.update(alignTarget(yTrue, yPred), yPred, weighted ? (batch.sampleWeight ?? undefined) : undefined);
    }
  }
  #record(report: Report | null, ok: Tensor | null): void {
    if (!report) return;
    const { means } = this.#compiled;
    if (report.hasLoss) means.add('loss', report.lossSum, report.weight, ok);
    for (const [name, value] of Object.entries(report.others)) means.add(name, value.reshape([]).mul(report.size), report.size, ok);
  }
}

/** What a step reports. */
interface Report {
  readonly loss: Tensor;
  readonly hasLoss: boolean;
  readonly lossSum: Tensor;
  readonly weight: Tensor;
  readonly size: Tensor;
  readonly others: Readonly<Record<string, Tensor>>;
}
function objectiveReport(result: ObjectiveResult, loss: Tensor, batch: Batch): Report {
  const size = fromHost(Float32Array.of(batch.size), []);
  return { loss, hasLoss: true, lossSum: result.lossSum, weight: result.weight, size, others: result.metrics ?? {} };
}
function customReport(returned: Readonly<Record<string, Tensor>>, batch: Batch): Report {
  const size = fromHost(Float32Array.of(batch.size), []);
  const { loss, ...others } = returned;
  const value = (loss ?? fromHost(new Float32Array(1), [])).reshape([]);
  return { loss: value, hasLoss: loss !== undefined, lossSum: value.mul(size), weight: size, size, others };
}
/** The loss comes first. */
const orderLogs = (names: readonly string[]): string[] => [...names.filter((n) => n === 'loss'), ...names.filter((n) => n !== 'loss')];
