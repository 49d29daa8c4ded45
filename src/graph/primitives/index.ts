/** @file The primitive table: all families in one record, exhaustive by type. */
import type { Op } from '../node.js';
import { attention } from './attention.js';
import { contract } from './contract.js';
import { elementwise } from './elementwise.js';
import { gradient } from './gradient.js';
import { indexing } from './indexing.js';
import { movement } from './movement.js';
import type { Primitive } from './primitive.js';
import { random } from './random.js';
import { reduce } from './reduce.js';
import { scans } from './scan.js';
import { sort } from './sort.js';
import { source } from './source.js';
import { window } from './window.js';

/** Shape rule and gradient of every primitive. */
export const primitives: { readonly [O in Op]: Primitive<O> } = {
  ...source,
  ...elementwise,
  ...movement,
  ...reduce,
  ...contract,
  ...window,
  ...indexing,
  ...scans,
  ...sort,
  ...attention,
  ...random,
  ...gradient,
};
