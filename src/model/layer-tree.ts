/**
 * @file The tree of layers of a model that is made already: walking it, and exchanging layers in it, which is what LoRA and quantization do
 * instead of being features of layers. The tree is what `sublayers` finds; owners with other places than properties have their own `exchange`.
 */
import { ConfigError } from '../base/errors.js';
import type { Layer } from '../layers/layer.js';

/** New layers by the ones whose place they take. */
export type Replacements = ReadonlyMap<Layer, Layer>;
/** Owners that hold layers where only they can put new ones. */
interface Exchanging {
  exchange(replacements: Replacements): void;
}
const isExchanging = (layer: object): layer is Exchanging => 'exchange' in layer && typeof layer.exchange === 'function';
/** Models, whose Programs are of the layers that they had. */
interface Changing {
  changed(): void;
}
const isChanging = (layer: object): layer is Changing => 'changed' in layer && typeof layer.changed === 'function';

/** `root` and every layer inside, each once, owners before what they hold. */
export function layersOf(root: Layer): Layer[] {
  const found = new Set<Layer>();
  const walk = (layer: Layer): void => {
    if (found.has(layer)) return;
    found.add(layer);
    for (const child of layer.sublayers()) walk(child);
  };
  walk(root);
  return [...found];
}

/** Makes the models in `root` forget the Programs of what they were. */
export function markChanged(root: Layer): void {
  for (const layer of layersOf(root)) if (isChanging(layer)) layer.changed();
}

/**
 * Puts layers in the place of others, wherever in `root` these are held: in properties, arrays and plain objects of layers and models.
 * A new layer may hold the one whose place it takes. Throws ConfigError for one that isn't in `root`, or that its owner keeps.
 */
export function replaceLayers(root: Layer, replacements: Replacements): void {
  const left = new Set(replacements.keys());
  for (const owner of layersOf(root)) {
    const own = owner.sublayers().filter((l) => replacements.has(l));
    if (own.length === 0) continue;
    if (isExchanging(owner)) owner.exchange(replacements);
    else exchangeProperties(owner, replacements);
    const kept = owner.sublayers().find((l) => replacements.has(l));
    if (kept)
      throw new ConfigError(
        `${owner.label}: it keeps its layer "${kept.name}" where it can't be replaced. Expected layers in properties, arrays or plain objects.`,
      );
    for (const l of own) left.delete(l);
  }
  const [missing] = left;
  if (missing) throw new ConfigError(`${root.label}: the layer "${missing.name}" is not in it. Expected one of its layers.`);
  markChanged(root);
}

/** Over the properties in which `Layer.sublayers` finds layers. */
function exchangeProperties(owner: Layer, replacements: Replacements): void {
  const seen = new Set<object>();
  const walk = (holder: object): void => {
    if (seen.has(holder)) return;
    seen.add(holder);
    for (const [key, value] of Object.entries(holder)) {
      if (typeof value !== 'object' || value === null) continue;
      const next = replacements.get(value);
      if (next) (holder as Record<string, unknown>)[key] = next;
      else if (Array.isArray(value) ? typeof value[0] !== 'number' : Object.getPrototypeOf(value) === Object.prototype) walk(value);
    }
  };
  walk(owner);
}
