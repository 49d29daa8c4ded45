/** @file backupAndRestore: checkpoints in a folder while fit runs, and a later fit goes on from them. */
import type { CheckpointOptions } from '../checkpoint.js';
import type { Callback } from './callback.js';

export interface BackupAndRestoreOptions extends Omit<CheckpointOptions, 'folder' | 'resume'> {
  /** The folder of the backups. */
  backupDir: string;
  /** Removes them when training has ended well; default true, as Keras. */
  deleteCheckpoint?: boolean;
}

/** Keras's BackupAndRestore: the same as fit's option `checkpoint` with `resume`. */
export function backupAndRestore(options: BackupAndRestoreOptions | string): Callback & { readonly checkpoint: CheckpointOptions } {
  const { backupDir, deleteCheckpoint = true, ...rest } = typeof options === 'string' ? { backupDir: options } : options;
  return { name: 'backupAndRestore', checkpoint: { ...rest, folder: backupDir, resume: true, removeAtEnd: deleteCheckpoint } };
}
