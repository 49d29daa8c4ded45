/**
 * @file What stands for every `*-node` file in a bundle for browsers (package.json, imports): functions by the same names that say what
 * a page has to do instead. test/base/no-node.test.ts compares the names.
 */
import { ConfigError } from './errors.js';

const refuse = (who: string, fix: string) => (): Promise<never> =>
  Promise.reject(new ConfigError(`${who}: there are no files in a browser. Expected Node.js. ${fix}`));

const file = refuse(
  'file',
  'Use the forms for bytes: model.toBytes(), model.weightsToBytes(), loadModel(bytes), model.loadWeights(bytes).',
);
const checkpoint = refuse('checkpoint', 'Leave it out, and keep what model.toBytes() gives.');
const dataset = refuse('datasets', 'Fetch the data in the page, or use datasets.shapes().');
const tokens = refuse('data files', 'Give the rows themselves: tokenizeRows(rows, tokenizer).');
const llm = refuse(
  'language model',
  'Fetch config.json, tokenizer.json and the safetensors; languageModel(config), Tokenizer.fromJson(json) and loadWeights(bytes) take them.',
);
const picture = refuse('decodeImage', 'Draw the picture on an OffscreenCanvas and take its getImageData().');

export {
  checkpoint as findCheckpoints,
  checkpoint as makeFolder,
  checkpoint as pathIn,
  checkpoint as readCheckpoint,
  checkpoint as removeCheckpoints,
  checkpoint as saveCheckpoint,
  dataset as cifar10,
  dataset as cifar100,
  dataset as fashionMnist,
  dataset as mnist,
  file as makeFolders,
  file as openFile,
  file as openSafetensors,
  file as parseSafetensorsIndex,
  file as readFileBytes,
  file as readText,
  file as removeFiles,
  file as stageFile,
  file as writeFileAtomically,
  file as writeSafetensorsFiles,
  file as writeText,
  llm as fromPretrained,
  llm as loadTokenizer,
  llm as openEngine,
  llm as openModel,
  llm as savePretrained,
  llm as saveTokenizer,
  picture as decodeImage,
  picture as imageFolder,
  tokens as openRows,
  tokens as openTokenShards,
  tokens as tokenizeFiles,
};
