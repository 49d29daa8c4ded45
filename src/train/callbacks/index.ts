/** @file Callbacks by Keras's names: re-exports only. */
export { backupAndRestore, type BackupAndRestoreOptions } from './backup-and-restore.js';
export type {
  Callback,
  CallbackContext,
  CallbackState,
  CheckpointEvent,
  FailureEvent,
  Logs,
  ProgressEvent,
  TrainParams,
} from './callback.js';
export { earlyStopping, type EarlyStopping, type EarlyStoppingOptions } from './early-stopping.js';
export { History } from './history.js';
export { lambda } from './lambda.js';
export { learningRateScheduler, reduceLROnPlateau, type ReduceLROnPlateauOptions } from './learning-rate.js';
export { csvLogger, type CsvLoggerOptions, jsonLines } from './loggers.js';
export { modelCheckpoint, type ModelCheckpointOptions } from './model-checkpoint.js';
export { progressBar, type ProgressBarOptions, type Terminal, type Verbose } from './progress-bar.js';
export { terminateOnNaN } from './terminate-on-nan.js';
