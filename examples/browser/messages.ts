/** @file What the page and its worker say to each other. */

export type ToWorker = { readonly kind: 'start' } | { readonly kind: 'stop' } | { readonly kind: 'save' };

export type FromWorker =
  | { readonly kind: 'ready'; readonly device: string; readonly threads: number }
  | { readonly kind: 'step'; readonly step: number; readonly loss: number; readonly accuracy: number }
  | { readonly kind: 'epoch'; readonly testAccuracy: number }
  | { readonly kind: 'ended'; readonly seconds: number }
  | { readonly kind: 'model'; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'failed'; readonly reason: string };
