/** @file What a model does with files and bytes: loaded by the first method that needs it. */
export { modelBytes, saveModel } from './save.js';
export { loadWeights, saveWeights, weightsBytes } from './weights.js';
