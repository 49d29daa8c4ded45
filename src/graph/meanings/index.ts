/** @file The plain meanings of all primitives in one record, exhaustive by type: the table behind `interpret`. */
import type { Op } from '../node.js';
import { attention } from './attention.js';
import { contract } from './contract.js';
import { elementwise } from './elementwise.js';
import { indexing } from './indexing.js';
import type { Meanings } from './meaning.js';
import { movement } from './movement.js';
import { reduce } from './reduce.js';
import { scans } from './scan.js';
import { source } from './source.js';
import { window } from './window.js';

export const meanings: Meanings<Op> = {
  ...source,
  ...elementwise,
  ...movement,
  ...reduce,
  ...contract,
  ...window,
  ...indexing,
  ...scans,
  ...attention,
};
