/** @file backupAndRestore: checkpoints in a folder while fit runs, and a later fit goes on from them. */
import { checkOptionNames } from '../../base/option-names.js';
import type { CheckpointOptions } from '../checkpoint.js';
import type { Callback } from './callback.js';

export interface BackupAndRestoreOptions extends Omit<CheckpointOptions, 'folder' | 'resume' | 'removeAtEnd'> {
  /** The folder of the backups. */
  backupDir: string;
  /** Removes them when training has ended well; default true, as Keras. */
  deleteCheckpoint?: boolean;
}

const optionNames: Readonly<Record<keyof BackupAndRestoreOptions, true>> = {
  backupDir: true,
  deleteCheckpoint: true,
  everyEpochs: true,
  everySteps: true,
  everySeconds: true,
  keep: true,
  weights: true,
};

/** Keras's BackupAndRestore: the same as fit's option `checkpoint` with `resume`. */
export function backupAndRestore(options: BackupAndRestoreOptions | string): Callback & { readonly checkpoint: CheckpointOptions } {
  const given = typeof options === 'string' ? { backupDir: options } : options;
  checkOptionNames(given, optionNames, 'backupAndRestore');
  const { backupDir, deleteCheckpoint = true, ...rest } = given;
  return { name: 'backupAndRestore', checkpoint: { ...rest, folder: backupDir, resume: true, removeAtEnd: deleteCheckpoint } };
}
