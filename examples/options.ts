/** @file What the examples take: --dataset shapes|cifar10, --data-dir DIR, --epochs N, --limit N (pictures of each part), --seed N. */
import { parseArgs } from 'node:util';
import { datasets, type ImageClassification, type LabelledImages, setRandomSeed } from 'tenon';

const { values } = parseArgs({
  options: {
    dataset: { type: 'string' },
    'data-dir': { type: 'string' },
    epochs: { type: 'string' },
    limit: { type: 'string' },
    seed: { type: 'string' },
  },
});

if (values.seed !== undefined) setRandomSeed(Number(values.seed));

export const epochs = Number(values.epochs ?? 4);

/** The first `limit` pictures with their labels. */
function first({ x, y }: LabelledImages): LabelledImages {
  const [n, ...shape] = x.shape;
  const kept = Math.min(n, Number(values.limit ?? n));
  return {
    x: { ...x, data: x.data.subarray(0, (x.data.length / n) * kept), shape: [kept, ...shape] },
    y: { ...y, data: y.data.subarray(0, kept), shape: [kept] },
  };
}

/** The data set that --dataset names, else `name`. */
export async function loadPictures(name: 'shapes' | 'cifar10'): Promise<ImageClassification> {
  const chosen = values.dataset ?? name;
  const all = chosen === 'cifar10' ? await datasets.cifar10({ dataDir: values['data-dir'] }) : await datasets.shapes();
  return { train: first(all.train), test: first(all.test), classNames: all.classNames };
}
