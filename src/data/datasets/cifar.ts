/**
 * @file The CIFAR binary format (Krizhevsky 2009, cs.toronto.edu/~kriz/cifar.html): records of one or two label bytes and
 * 3,072 pixel bytes, plane by plane. Pure parsing: bytes in, NHWC bytes out.
 */
import { FormatError } from '../../base/errors.js';
import type { LabelledImages } from './types.js';

const plane = 32 * 32;

/** One of the two data sets, as published. */
export interface CifarSpec {
  readonly title: string;
  readonly archive: string;
  readonly folder: string;
  readonly train: readonly string[];
  readonly test: string;
  readonly trainRecords: number;
  readonly testRecords: number;
  /** Upper limits of the label bytes of a record, in their order. */
  readonly labels: readonly { readonly name: string; readonly classes: readonly string[] }[];
}

export const cifar10Spec: CifarSpec = {
  title: 'CIFAR-10',
  archive: 'cifar-10-binary.tar.gz',
  folder: 'cifar-10-batches-bin',
  train: ['data_batch_1.bin', 'data_batch_2.bin', 'data_batch_3.bin', 'data_batch_4.bin', 'data_batch_5.bin'],
  test: 'test_batch.bin',
  trainRecords: 10_000,
  testRecords: 10_000,
  labels: [{ name: 'label', classes: 'airplane automobile bird cat deer dog frog horse ship truck'.split(' ') }],
};

const coarse =
  'aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices household_furniture insects ' +
  'large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes large_omnivores_and_herbivores medium_mammals ' +
  'non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2';
const fine =
  'apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle caterpillar cattle ' +
  'chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house ' +
  'kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange ' +
  'orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal ' +
  'shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger ' +
  'tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm';

export const cifar100Spec: CifarSpec = {
  title: 'CIFAR-100',
  archive: 'cifar-100-binary.tar.gz',
  folder: 'cifar-100-binary',
  train: ['train.bin'],
  test: 'test.bin',
  trainRecords: 50_000,
  testRecords: 10_000,
  labels: [
    { name: 'coarse label', classes: coarse.split(' ') },
    { name: 'fine label', classes: fine.split(' ') },
  ],
};

/** Bytes of one record: its labels and its pixels. */
export const recordBytes = (spec: CifarSpec): number => spec.labels.length + 3 * plane;

/** An empty split for `records` pictures: x u8 [n, 32, 32, 3], y u8 [n]. */
export function allocateCifar(records: number): LabelledImages {
  return {
    x: { data: new Uint8Array(records * 3 * plane), shape: [records, 32, 32, 3], dtype: 'u8' },
    y: { data: new Uint8Array(records), shape: [records], dtype: 'u8' },
  };
}

/**
 * Parses one official file into `into` from record `first` on, planes to pixels (CHW → HWC).
 * @param labelByte which label of a record becomes y (CIFAR-100: 0 coarse, 1 fine)
 * @throws FormatError naming the file when its size is not `records` records or a label is out of range
 */
export function parseCifar(
  spec: CifarSpec,
  file: string,
  bytes: Uint8Array,
  into: LabelledImages,
  first: number,
  records: number,
  labelByte: number,
): void {
  const record = recordBytes(spec);
  if (bytes.length !== records * record)
    throw new FormatError(
      `${spec.title}: ${file} has a wrong size. Expected ${records * record} bytes (${records} records of ${record}), received ${bytes.length}. Fetch the file again.`,
    );
  const x = into.x.data;
  const y = into.y.data;
  for (let i = 0; i < records; i++) {
    const at = i * record;
    for (let l = 0; l < spec.labels.length; l++)
      if (bytes[at + l] >= spec.labels[l].classes.length)
        throw new FormatError(
          `${spec.title}: ${file}, record ${i}: ${spec.labels[l].name} out of range. Expected 0 to ${spec.labels[l].classes.length - 1}, received ${bytes[at + l]}. The file is corrupt or another data set's.`,
        );
    y[first + i] = bytes[at + labelByte];
    const red = at + spec.labels.length;
    let out = (first + i) * 3 * plane;
    for (let p = red; p < red + plane; p++) {
      x[out++] = bytes[p];
      x[out++] = bytes[p + plane];
      x[out++] = bytes[p + 2 * plane];
    }
  }
}
