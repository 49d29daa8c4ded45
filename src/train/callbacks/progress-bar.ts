/**
 * @file The face of training: a progress bar for terminals (one line, redrawn in place) and plain lines for logs. With
 * faces-node the only code of train/ that writes to a terminal.
 */
import { checkOptionNames } from '../../base/option-names.js';
import type { Callback, Logs, ProgressEvent, TrainParams } from './callback.js';

/** 0 silent, 1 bar, 2 a line an epoch, 'auto' by whether stdout is a terminal. */
export type Verbose = 'auto' | 0 | 1 | 2;

/** Where a face writes. */
export interface Terminal {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}
export const standardOutput = (): Terminal | null => {
  const { process } = globalThis as { process?: { stdout?: Terminal } };
  return process?.stdout ?? null;
};

export const formatSeconds = (s: number): string => {
  if (s < 60) return `${Math.round(s)}s`;
  const [h, m, rest] = [Math.floor(s / 3600), Math.floor(s / 60) % 60, Math.floor(s % 60)];
  return h > 0 ? `${h}h${String(m).padStart(2, '0')}m` : `${m}m${String(rest).padStart(2, '0')}s`;
};
const formatStep = (seconds: number): string =>
  seconds >= 1
    ? `${seconds.toFixed(1)}s/step`
    : seconds >= 1e-3
      ? `${(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0)}ms/step`
      : `${Math.round(seconds * 1e6)}µs/step`;
const formatValue = (x: number): string => (x === 0 || (Math.abs(x) >= 1e-3 && Math.abs(x) < 1e5) ? x.toFixed(4) : x.toExponential(3));
export const formatLogs = (logs: Logs): string =>
  Object.entries(logs)
    .map(([name, value]) => `${name}: ${formatValue(value)}`)
    .join(' - ');
const formatRate = (perSecond: number): string => (perSecond >= 100 ? `${Math.round(perSecond)}` : perSecond.toFixed(1));

/** Keras's bar: `313/1563 ━━━━━━━ 12s 10ms/step - 3200 samples/s - loss: 1.8 …`, cut to the terminal's width. */
export function barLine(event: ProgressEvent, params: TrainParams, width: number, stepSeconds?: number): string {
  const { step, firstStep, seconds, samplesDone, logs } = event;
  const done = Math.max(1, step - firstStep);
  const perStep = stepSeconds ?? seconds / done;
  const total = event.phase === 'train' ? params.steps : event.phase === 'predict' ? params.steps : null;
  const counter = total === null ? `${step}/?` : `${String(step).padStart(String(total).length)}/${total}`;
  const time =
    total === null ? formatSeconds(seconds) : step >= total ? formatSeconds(seconds) : `ETA ${formatSeconds((total - step) * perStep)}`;
  const speed = `${formatStep(perStep)} - ${formatRate(samplesDone / Math.max(1e-9, perStep * done))} samples/s`;
  const values = formatLogs(logs);
  const tail = (parts: readonly string[]): string => parts.filter((p) => p !== '').join(' - ');
  // What matters most stays longest as the terminal gets narrower: counter, losses, time, speed, bar.
  for (const barWidth of [20, 12, 6]) {
    const filled = total === null ? 0 : Math.min(barWidth, Math.round((barWidth * step) / total));
    const text = `${counter} ${'━'.repeat(filled)}${'─'.repeat(barWidth - filled)} ${tail([time, speed, values])}`;
    if (text.length <= width) return text;
  }
  for (const text of [
    `${counter} ${tail([time, formatStep(perStep), values])}`,
    `${counter} ${tail([time, values])}`,
    `${counter} ${values}`,
  ])
    if (text.length <= width) return text;
  return `${counter} ${values}`.slice(0, Math.max(0, width));
}

export interface ProgressBarOptions {
  /** Default: stdout. */
  terminal?: Terminal;
  verbose?: Verbose;
}

/** The face of fit: a bar in a terminal, one plain line an epoch elsewhere. */
export function progressBar(options: ProgressBarOptions = {}): Callback {
  checkOptionNames(options, { terminal: true, verbose: true } satisfies Record<keyof ProgressBarOptions, true>, 'progressBar');
  const terminal = options.terminal ?? standardOutput();
  if (!terminal) return { name: 'progressBar' };
  const verbose = options.verbose ?? 'auto';
  const isBar = verbose === 1 || (verbose === 'auto' && terminal.isTTY === true);
  const isRewriting = isBar && terminal.isTTY === true;
  let started = 0;
  let last: ProgressEvent | null = null;
  let shown = '';
  const draw = (text: string, final: boolean): void => {
    if (!isRewriting) {
      if (final) terminal.write(`${text}\n`);
      return;
    }
    // Overwriting, then clearing what is left of a longer line: nothing blinks.
    if (text !== shown || final) terminal.write(`\r${text}\x1b[K${final ? '\n' : ''}`);
    shown = final ? '' : text;
  };
  const width = (): number => (terminal.columns ?? 80) - 1;
  let announced = -1;
  const announce = (epoch: number, params: TrainParams): void => {
    // A resumed epoch doesn't begin again.
    if (isBar && announced !== epoch) terminal.write(`Epoch ${epoch + 1}/${params.epochs}\n`);
    announced = epoch;
  };
  return {
    name: 'progressBar',
    onTrainBegin() {
      started = performance.now();
      announced = -1;
    },
    onEpochBegin(epoch, { params }) {
      started = performance.now();
      last = null;
      announce(epoch, params);
      if (isRewriting && epoch === params.initialEpoch) draw('compiling the training step …'.slice(0, width()), false);
    },
    ...(isRewriting && {
      onProgress(event, { params }) {
        announce(event.epoch, params);
        if (event.phase === 'train') {
          last = event;
          draw(barLine(event, params, width()), false);
        } else if (last) {
          const text = `${shown.replace(/ - validating.*$/, '')}`;
          const note = ` - validating ${event.step}`;
          draw(text.slice(0, Math.max(0, width() - note.length)) + note, false);
        }
      },
    }),
    onEpochEnd(epoch, logs, { params, history }) {
      announce(epoch, params);
      const seconds = (performance.now() - started) / 1000;
      const steps = params.steps ?? last?.step ?? null;
      if (isBar) {
        const event: ProgressEvent = {
          phase: 'train',
          epoch,
          step: steps ?? 0,
          firstStep: 0,
          samplesDone: params.samples ?? last?.samplesDone ?? 0,
          seconds,
          logs,
        };
        draw(barLine(event, params, isRewriting ? width() : Number.POSITIVE_INFINITY, history.stepSeconds), true);
      } else {
        const perStep = history.stepSeconds > 0 ? ` - ${formatStep(history.stepSeconds)}` : '';
        terminal.write(`Epoch ${epoch + 1}/${params.epochs} - ${seconds.toFixed(1)}s${perStep} - ${formatLogs(logs)}\n`);
      }
    },
    onInterrupt(checkpoint, { params }) {
      if (shown !== '') terminal.write('\n');
      shown = '';
      terminal.write(
        checkpoint
          ? `Interrupted. Saved ${checkpoint.path} (${checkpoint.epoch} of ${params.epochs} epochs, step ${checkpoint.step}). Go on with checkpoint: { folder: '${checkpoint.folder}', resume: true }.\n`
          : 'Interrupted. No checkpoint folder was given, so nothing was saved.\n',
      );
    },
    onTrainEnd(_logs, { history }) {
      if (shown !== '') terminal.write('\n');
      shown = '';
      if (history.stopped !== null && !history.interrupted) terminal.write(`Stopped: ${history.stopped}.\n`);
    },
  };
}
