/** @file What fit, evaluate and predict show by themselves: `verbose`. A browser has no terminal, and its bundle not this file. */
import type { Callback, Logs } from './callback.js';
import { barLine, formatLogs, progressBar, standardOutput, type Verbose } from './progress-bar.js';

/** A bar for evaluate and predict. */
function passBar(phase: 'test' | 'predict', verbose: Verbose): Callback | null {
  const terminal = standardOutput();
  if (!terminal) return null;
  const isTerminal = terminal.isTTY === true;
  let shown = false;
  const width = (): number => (terminal.columns ?? 80) - 1;
  const end = (logs: Logs): void => {
    if (isTerminal && shown) terminal.write('\r\x1b[K');
    if (phase === 'test' && (verbose !== 'auto' || isTerminal)) terminal.write(`${formatLogs(logs)}\n`);
  };
  return {
    ...(isTerminal && {
      onProgress(event, { params }) {
        shown = true;
        terminal.write(`\r${barLine({ ...event, phase: 'predict' }, params, width())}\x1b[K`);
      },
    }),
    onTestEnd: (logs) => end(logs),
    onPredictEnd: () => end({}),
  };
}

/** The face that `verbose` asks for. */
export function facesInTerminal(verbose: Exclude<Verbose, 0>, phase: 'train' | 'test' | 'predict'): Callback[] {
  if (phase === 'train') return [progressBar({ verbose })];
  const bar = passBar(phase, verbose);
  return bar ? [bar] : [];
}
