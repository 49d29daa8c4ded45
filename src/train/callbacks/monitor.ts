/** @file What callbacks that watch a log share: which way is better, and where the log is. */
import { log } from '../../base/log.js';
import type { Logs } from './callback.js';

export type MonitorMode = 'auto' | 'min' | 'max';

/** Whether greater is better: 'auto' says so for accuracies and their kin. */
export function isGreaterBetter(monitor: string, mode: MonitorMode): boolean {
  if (mode === 'min' || mode === 'max') return mode === 'max';
  return /acc|auc|precision|recall|f1|score|iou|dice|r2|cosineSimilarity/i.test(monitor) && !/loss|error/i.test(monitor);
}
/** A compiled comparison: `isBetter(now, best)`; a change up to minDelta is none. */
export function comparison(
  monitor: string,
  mode: MonitorMode,
  minDelta = 0,
): { isBetter(now: number, best: number): boolean; worst: number } {
  const greater = isGreaterBetter(monitor, mode);
  const delta = Math.abs(minDelta);
  return {
    isBetter: (now, best) => (greater ? now - delta > best : now + delta < best),
    worst: greater ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY,
  };
}
/** val_loss, valLoss and val_accuracy as logs are named here. */
export const logName = (name: string): string => name.replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase());

/**
 * The monitored value; null in epochs that don't have it. One notice when no epoch will, as Keras warns: a long run is not
 * lost for a name.
 */
export function monitored(who: string, monitor: string, logs: Logs, validates: boolean): number | null {
  const value = logs[monitor];
  if (value !== undefined) return value;
  const names = Object.keys(logs).filter((n) => n !== 'epoch' && n !== 'batch');
  const isValidation = (n: string): boolean => /^val[A-Z]/.test(n);
  // Validation may be rarer than epochs.
  if (isValidation(monitor) && validates && !names.some(isValidation)) return null;
  const fix =
    isValidation(monitor) && !validates ? 'Give fit validationData or validationSplit, or monitor one of them' : 'Monitor one of them';
  log.notice(`${who}: there is no "${monitor}" in the logs, so it does nothing. Expected one of ${names.join(', ')}. ${fix}.`);
  return null;
}
