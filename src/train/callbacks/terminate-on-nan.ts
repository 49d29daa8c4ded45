/** @file terminateOnNaN: a loss that isn't finite ends training quietly instead of with an error. */
import type { Callback } from './callback.js';

/** Keras's TerminateOnNaN. The weights stay those before the step; history.stopped says which one it was. */
export const terminateOnNaN = (): Callback => ({ name: 'terminateOnNaN', onNonFinite: () => true });
