/** @file lambda: a callback from its hooks. */
import type { Callback } from './callback.js';

/** Keras's LambdaCallback. @example lambda({ onEpochEnd: (epoch, logs) => console.log(epoch, logs.loss) }) */
export const lambda = (hooks: Callback): Callback => hooks;
