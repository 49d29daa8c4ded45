/** @file Numbers in sentences. */

export const grouped = (n: number): string => n.toLocaleString('en-US');

/** `1 row`, `29,000 rows`. */
export const counted = (n: number, one: string): string => `${grouped(n)} ${one}${n === 1 ? '' : 's'}`;
