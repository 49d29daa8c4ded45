/** @file Callbacks by Keras's names: re-exports only. */
export { type BackupAndRestoreOptions, backupAndRestore } from './backup-and-restore.js';
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
export { type EarlyStopping, type EarlyStoppingOptions, earlyStopping } from './early-stopping.js';
export { History } from './history.js';
export { lambda } from './lambda.js';
export { learningRateScheduler, type ReduceLROnPlateauOptions, reduceLROnPlateau } from './learning-rate.js';
export { type CsvLoggerOptions, csvLogger, jsonLines } from './loggers.js';
export { type ModelCheckpointOptions, modelCheckpoint } from './model-checkpoint.js';
export { type ProgressBarOptions, progressBar, type Terminal, type Verbose } from './progress-bar.js';
export { terminateOnNaN } from './terminate-on-nan.js';
