/** @file The part of llm/data that works on files: what index.ts loads when it is called. */
export { openTokenShards } from './shards-node.js';
export { openRows, tokenizeFiles } from './tokenize-files-node.js';
