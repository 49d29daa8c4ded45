/** @file Names of logs: loss, decoderAccuracy, valLoss. */

/** `decoder` and `accuracy` → decoderAccuracy. */
export function camel(...parts: string[]): string {
  const words = parts.flatMap((p) => p.split(/[^A-Za-z0-9]+/)).filter((w) => w.length > 0);
  return words.map((w, i) => (i === 0 ? w.charAt(0).toLowerCase() : w.charAt(0).toUpperCase()) + w.slice(1)).join('');
}
/** The name of a validation log: valLoss. */
export const validationName = (name: string): string => camel('val', name);
