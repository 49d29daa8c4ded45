/**
 * @file Model: a Layer that can be compiled, trained, evaluated, saved. Subclass it with `call`, or make one with
 * sequential() or model({ inputs, outputs }).
 */
import { ConfigError, ShapeError } from '../base/errors.js';
import { sameShape, showShape } from '../base/shape.js';
import type { ByteSource } from '../io/source.js';
import { Layer, type LayerOptions, type PartialShape } from '../layers/layer.js';
import { deserialize, serialize } from '../layers/registry.js';
import type { Optimizer } from '../optimizers/index.js';
import { isTensor, shapesOnly, type Tensor, type TensorSpec, zeros } from '../tensor/index.js';
import type { Batch, ClassWeight, Data, DataLike } from '../train/batch.js';
import { toColumns } from '../train/batch.js';
import type { History } from '../train/callbacks/history.js';
import { Compiled, type CompileOptions } from '../train/compiled.js';
import { type EvaluateOptions, type Evaluation, type EvaluationResult, evaluateModel } from '../train/evaluate.js';
import { type FitOptions, fitModel } from '../train/fit.js';
import { stepOnBatch } from '../train/on-batch.js';
import { checkCompileOptions } from '../train/options.js';
import { type PredictOptions, predictModel } from '../train/predict.js';
import { isStream, type Stream } from '../train/source.js';
import type { SaveOptions } from './save.js';
import { type SummaryOptions, summarize } from './summary.js';

/** What a model returns: one tensor, a list, or an object by output name. */
export type Outputs = Tensor | Tensor[] | Record<string, Tensor>;

/** Any model, whatever it gives: what training, saving and callbacks see. */
export type AnyModel = Model<Outputs>;

export interface ModelOptions extends LayerOptions {}

/**
 * Base of all models. `Y` is what predict gives: Tensor, Tensor[] or an object.
 * @example class Net extends Model { dense = layers.dense({ units: 1 }); override call(x: Tensor) { return this.dense.apply(x); } }
 */
export abstract class Model<Y extends Outputs = Tensor, O extends ModelOptions = ModelOptions> extends Layer<O> {
  static override className = 'Model';
  /** Override for a training step of your own: traced, with `this.optimizer`; what it returns is reported. */
  trainStep?(batch: Batch): Record<string, Tensor>;
  /** The same for evaluation. */
  testStep?(batch: Batch): Record<string, Tensor>;
  #compiled: Compiled | null = null;
  #outputSpecs: readonly { shape: PartialShape; dtype: TensorSpec['dtype'] }[] | null = null;
  #revision = 0;

  /** Weights made in a model are named after its layers alone. */
  override get scopeName(): string {
    return '';
  }
  /** The layers in their order. */
  get layers(): readonly Layer[] {
    return this.sublayers();
  }
  /** Names of inputs and outputs, where the model has any (functional ones). */
  get inputNames(): readonly string[] | null {
    return null;
  }
  get outputNames(): readonly string[] | null {
    return null;
  }
  /** Whether outputs come by name. */
  get namesOutputs(): boolean {
    return false;
  }
  /** Changes with the model's structure: Programs made before are of no use then. */
  get revision(): number {
    return this.#revision;
  }
  /** @internal For whoever changes the structure from outside, or what it computes. */
  changed(): void {
    this.#revision++;
    this.#outputSpecs = null;
    this.#compiled?.forget();
  }
  /** The layers that the outputs come from directly, where the model says so: what changes all projections leaves them as they are. */
  get outputLayers(): readonly Layer[] {
    return [];
  }
  /** What it is for, of Hugging Face's task types, where its class says so: files of adapters tell it. */
  get task(): string | null {
    return null;
  }

  // ---- for train/

  /** What compile() was given. */
  get compiled(): Compiled | null {
    return this.#compiled;
  }
  /** @internal Builds for inputs like these, outside of any trace. Throws ShapeError when they don't fit the model. */
  prepare(inputs: readonly TensorSpec[], who: string): void {
    this.checkInputs(inputs, who);
    if (this.built && this.#outputSpecs) return;
    const list = this.#standIns(inputs, inputs[0]?.shape[0] ?? 1);
    const out = shapesOnly(() => this.#flat(this.apply<Tensor | Tensor[]>(list.length === 1 ? list[0] : list, { training: false })));
    this.clearLosses();
    this.#outputSpecs = out.map((t) => ({ shape: [null, ...t.shape.slice(1)], dtype: t.dtype }));
  }
  /** Throws ShapeError when data cannot go in. */
  protected checkInputs(inputs: readonly TensorSpec[], who: string): void {
    const built = this.buildShape;
    if (!built) return;
    const shapes = (Array.isArray(built[0]) ? built : [built]) as readonly PartialShape[];
    checkInputShapes(inputs, shapes, this.inputNames, who);
  }
  #standIns(inputs: readonly TensorSpec[], batch: number): Tensor[] {
    // Lazy and never computed.
    return inputs.map((s) => zeros([batch, ...s.shape.slice(1)], s.dtype));
  }
  #flat(out: Tensor | readonly Tensor[]): readonly Tensor[] {
    return isTensor(out) ? [out] : out;
  }
  /** @internal Shapes of the outputs, the batch null; after `prepare`. */
  outputSpecs(): readonly { shape: PartialShape; dtype: TensorSpec['dtype'] }[] {
    if (!this.#outputSpecs) throw new ConfigError(`${this.label}: it is not built yet. Expected a built model. Apply it to data first.`);
    return this.#outputSpecs;
  }
  /** @internal The outputs as a list; traced. */
  forward(inputs: readonly Tensor[], training: boolean): readonly Tensor[] {
    return this.#flat(this.apply<Tensor | Tensor[]>(inputs.length === 1 ? inputs[0] : [...inputs], { training }));
  }

  /** A subclass's layers are built by running `call` on stand-ins. */
  override build(inputShape: PartialShape | readonly PartialShape[]): void {
    const takesList = Array.isArray(inputShape[0]);
    const shapes = (takesList ? inputShape : [inputShape]) as readonly PartialShape[];
    const stand = shapes.map((s) => zeros(s.map((d, axis) => d ?? (axis === 0 ? 2 : 64))));
    this.call(takesList ? stand : stand[0], { training: false, mask: null, masks: stand.map(() => null) });
    this.clearLosses();
    super.build(inputShape);
  }

  // ---- compile and train

  /** Says how to train: optimizer, loss, metrics. Throws ConfigError for unknown names. */
  compile(options: CompileOptions): this {
    if (this.#compiled?.isTraining)
      throw new ConfigError(`compile ${this.label}: the model is being trained. Expected no fit under way. Await it first.`);
    const who = `compile ${this.label}`;
    checkCompileOptions(options, who);
    this.#compiled = new Compiled(options, who, this.outputNames);
    return this;
  }
  /** The optimizer that compile() was given. Throws ConfigError before. */
  get optimizer(): Optimizer {
    return this.#requireCompiled('optimizer').optimizer;
  }
  #requireCompiled(what: string): Compiled {
    if (!this.#compiled)
      throw new ConfigError(
        `${what} ${this.label}: the model is not compiled. Expected compile() first. Call model.compile({ optimizer: 'adam', loss: … }).`,
      );
    return this.#compiled;
  }

  /**
   * Trains on arrays (y by output), or on a stream of batches. Resolves to the History. Rejects with ConfigError and
   * ShapeError for what doesn't fit, NonFiniteLossError when a loss is NaN or infinite (the weights stay those before).
   * @example
   * const [x, y] = [random.normal([64, 2]), zeros([64, 1])];
   * const net = sequential({ layers: [layers.dense({ units: 1 })] }).compile({ optimizer: 'adam', loss: 'mse' });
   * const { history } = await net.fit(x, y, { epochs: 4, validationSplit: 0.25, verbose: 0 });
   * console.log(history.loss.length, history.valLoss.length); // → 4 4
   */
  fit(x: Data, y: Data | null, options?: FitOptions): Promise<History>;
  fit(data: Stream, options?: FitOptions): Promise<History>;
  async fit(x: Data | Stream, y?: Data | null | FitOptions, options?: FitOptions): Promise<History> {
    const compiled = this.#requireCompiled('fit');
    const [targets, own] = splitArguments<FitOptions>(x, y, options);
    return fitModel(this, compiled, x, targets, own);
  }
  /** Loss and metrics over data: { loss, accuracy, … }. */
  evaluate(x: Data, y: Data | null, options?: EvaluateOptions): Promise<Evaluation>;
  evaluate(data: Stream, options?: EvaluateOptions): Promise<Evaluation>;
  async evaluate(x: Data | Stream, y?: Data | null | EvaluateOptions, options?: EvaluateOptions): Promise<Evaluation> {
    const [targets, own] = splitArguments<EvaluateOptions>(x, y, options);
    return (await this.evaluateAll(x, targets, own)).logs;
  }
  /** The same with the metrics that are no scalars, such as a confusion matrix, in `tables`. */
  async evaluateAll(x: Data | Stream, y?: Data, options: EvaluateOptions = {}): Promise<EvaluationResult> {
    return evaluateModel(this, this.#requireCompiled('evaluate'), x, y, options);
  }
  /** The outputs for data, examples first: one Tensor, or a list or object of one an output. */
  async predict(x: Data | Stream, options: PredictOptions = {}): Promise<Y> {
    return this.structured(await predictModel(this, x, options));
  }
  /** One training step on a batch. Resolves to the logs of this batch. */
  async trainOnBatch(x: Data, y?: Data, options: { sampleWeight?: DataLike; classWeight?: ClassWeight } = {}): Promise<Evaluation> {
    return stepOnBatch(this, this.#requireCompiled('trainOnBatch'), 'train', x, y, options);
  }
  /** Loss and metrics of a batch. */
  async testOnBatch(x: Data, y?: Data, options: { sampleWeight?: DataLike; classWeight?: ClassWeight } = {}): Promise<Evaluation> {
    return stepOnBatch(this, this.#requireCompiled('testOnBatch'), 'test', x, y, options);
  }
  /** The outputs for one batch. */
  async predictOnBatch(x: Data): Promise<Y> {
    const names = { who: `predictOnBatch ${this.label}`, inputNames: this.inputNames, outputNames: null };
    const { inputs } = await toColumns(x, undefined, undefined, names);
    return this.predict(x, { batchSize: Math.max(1, inputs[0].shape[0]) });
  }
  /** A flat list of outputs as `Y`. */
  protected structured(list: readonly Tensor[]): Y {
    const names = this.outputNames;
    if (this.namesOutputs && names) return Object.fromEntries(list.map((t, i) => [names[i], t])) as Y;
    return (list.length === 1 ? list[0] : [...list]) as Y;
  }

  // ---- structure

  /** A layer by name, or by number in the order of `layers`. Throws ConfigError. */
  getLayer(id: string | number): Layer {
    const { layers } = this;
    const found = typeof id === 'number' ? layers.at(id) : layers.find((l) => l.name === id);
    if (!found)
      throw new ConfigError(
        `${this.label}: there is no layer ${JSON.stringify(id)}. Expected ${typeof id === 'number' ? `a number below ${layers.length}` : layers.map((l) => l.name).join(', ')}.`,
      );
    return found;
  }
  /** Keras's table of layers, shapes and numbers of weights; printed through `print` and returned. */
  summary(options: SummaryOptions = {}): string {
    return summarize(this, options);
  }
  /** A model of the same structure with weights of its own, freshly initialized or (`weights: true`) copied. */
  clone(options: { weights?: boolean; name?: string } = {}): this {
    const { className, config } = serialize(this);
    const copy = deserialize(
      { className, config: { ...config, ...(options.name ? { name: options.name } : {}) } },
      `clone ${this.label}`,
    ) as this;
    if (options.weights && this.built) {
      if (!copy.built && this.buildShape) {
        const shapes = (Array.isArray(this.buildShape[0]) ? this.buildShape : [this.buildShape]) as readonly PartialShape[];
        copy.ensureBuilt(shapes, Array.isArray(this.buildShape[0]));
      }
      copy.setWeights(this.getWeights());
    }
    return copy;
  }

  // ---- files

  /**
   * Saves config, weights, compile options and (unless `optimizer: false`) the optimizer's state in one .tenon file,
   * written beside and renamed. Throws ConfigError for what has no name in a config, or when the file can't be written.
   */
  async save(path: string, options: SaveOptions = {}): Promise<void> {
    const { saveModel } = await import('./files.js');
    await saveModel(this, path, options);
  }
  /**
   * The bytes of that file, for where there are no files: a page downloads them. loadModel takes them back.
   * @example
   * const net = sequential({ layers: [layers.dense({ units: 1, inputShape: [2] })] });
   * console.log((await loadModel(await net.toBytes())).countParams()); // → 3
   */
  async toBytes(options: SaveOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    const { modelBytes } = await import('./files.js');
    return modelBytes(this, options);
  }
  /** Saves the weights alone, as safetensors with names "layer/weight". */
  async saveWeights(path: string): Promise<void> {
    const { saveWeights } = await import('./files.js');
    await saveWeights(this, path);
  }
  /** The bytes of that file. */
  async weightsToBytes(): Promise<Uint8Array<ArrayBuffer>> {
    const { weightsBytes } = await import('./files.js');
    return weightsBytes(this);
  }
  /** Loads what saveWeights or save wrote, by its path or its bytes. Throws FormatError that lists missing, extra and misshaped tensors. */
  async loadWeights(source: ByteSource): Promise<void> {
    const { loadWeights } = await import('./files.js');
    await loadWeights(this, source);
  }
}

function splitArguments<T extends object>(x: Data | Stream, y: Data | null | T | undefined, options: T | undefined): [Data | undefined, T] {
  if (isStream(x) && options === undefined) return [undefined, (y ?? {}) as T];
  return [(y ?? undefined) as Data | undefined, options ?? ({} as T)];
}

/** Throws ConfigError when two layers share a name. */
export function requireUniqueNames(layers: readonly Layer[], who: string): void {
  const seen = new Map<string, Layer>();
  for (const l of layers) {
    const other = seen.get(l.name);
    if (other && other !== l) throw new ConfigError(`${who}: two layers are named "${l.name}". Expected unique names. Rename one.`);
    seen.set(l.name, l);
  }
}

/** Throws ShapeError when data of these specs cannot go into inputs of these shapes. */
export function checkInputShapes(
  inputs: readonly TensorSpec[],
  shapes: readonly PartialShape[],
  names: readonly string[] | null,
  who: string,
): void {
  if (inputs.length !== shapes.length)
    throw new ConfigError(`${who}: ${inputs.length} inputs. Expected ${shapes.length}${names ? `: ${names.join(', ')}` : ''}.`);
  inputs.forEach((spec, i) => {
    const want = shapes[i];
    const [own, sample] = [spec.shape.slice(1), want.slice(1)];
    const fits = own.length === sample.length && sample.every((d, k) => d === null || d === own[k]);
    if (fits) return;
    const size = (s: readonly (number | null)[]): number => s.reduce<number>((n, d) => n * (d ?? 1), 1);
    const same = !sample.includes(null) && size(own) === size(sample) && !sameShape(own, sample as number[]);
    const isOne = own.length === sample.length - 1;
    throw new ShapeError(
      `${who}: input${names ? ` "${names[i]}"` : shapes.length > 1 ? ` ${i}` : ''} has shape ${showShape([null, ...own])}. Expected ${showShape([null, ...sample])} (? is the number of examples). ${
        same
          ? `Reshape the data to ${showShape([null, ...sample])}.`
          : isOne
            ? 'Is an axis missing, such as the channels or the batch?'
            : 'Change the data, or the inputShape of the model.'
      }`,
    );
  });
}
