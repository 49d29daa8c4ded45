/** @file What every image data set gives. */
import type { ArrayColumn } from '../column.js';

/** x: u8 [n, height, width, channels]; y: u8 [n], a class number. */
export interface LabelledImages {
  x: ArrayColumn;
  y: ArrayColumn;
}

export interface ImageClassification {
  train: LabelledImages;
  test: LabelledImages;
  /** In label order. */
  classNames: string[];
}
