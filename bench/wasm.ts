/** @file What the questions about the device wasm share: TENON_DEVICE puts another device in its place, to try the benchmark itself. */

/** The device that is measured. */
export const wasmDevice = (): string => process.env.TENON_DEVICE || 'wasm';

/** Of a process that may not use relaxed SIMD, as in browsers that lack it. */
export const plainSimd = { TENON_WASM_RELAXED: '0' } as const;
