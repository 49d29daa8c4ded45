/** @file All layers at once, for what makes layers by the names in files: whoever imports this holds every one of them. */
import { ConfigError } from '../base/errors.js';
import { classOf } from './factory.js';
import * as layers from './index.js';
import { Layer } from './layer.js';
import { classNameOf, deserialize, registerBuiltins } from './registry.js';

/** Makes every layer known by its class's name. */
export function registerLayers(): void {
  // In Node they are known already. A bundle's factories are kept by being named here.
  registerBuiltins(Object.values(layers).flatMap((value) => classOf(value) ?? []));
}

/** The layer that `serializeLayer` described, without weights. Throws ConfigError for an unknown class. */
export function deserializeLayer(serialized: unknown): Layer {
  registerLayers();
  const made = deserialize(serialized, 'deserializeLayer');
  if (made instanceof Layer) return made;
  throw new ConfigError(`deserializeLayer: "${classNameOf(made.constructor)}" is not a layer. Expected a layer or a model.`);
}
