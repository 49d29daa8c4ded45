/** @file What callbacks that watch a log share: which way is better, and where the log is. */
import { ConfigError } from '../../base/errors.js';
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

/** The monitored value; null in epochs that don't have it. Throws ConfigError when no epoch will. */
export function monitored(who: string, monitor: string, logs: Logs): number | null {
  const value = logs[monitor];
  if (value !== undefined) return value;
  // Validation may be rarer than epochs.
  if (monitor.startsWith('val')) return null;
  throw new ConfigError(
    `${who}: there is no "${monitor}" in the logs. Expected one of ${Object.keys(logs).join(', ')}. Choose one of them as monitor.`,
  );
}
