/** @file Files damaged at random, by a seed: bytes anywhere, numbers that are lengths, pieces moved, and values inside of JSON. */

/** Numerical Recipes' generator. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
    // Neighbouring seeds part.
    for (let i = 0; i < 4; i++) this.below(2);
  }
  /** A whole number from 0 to `n` − 1. */
  below(n: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * n);
  }
  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }
}

/** Where counts end: of signs, of 16 and 32 bits, of doubles. */
const edges: readonly bigint[] = [
  0n,
  1n,
  2n,
  31n,
  255n,
  65536n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 40n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

/** `bytes` with one to four faults, mostly in its first `front` bytes. */
export function mutateBytes(bytes: Uint8Array, random: Random, front = bytes.length): Uint8Array {
  let out = bytes.slice();
  for (let n = 1 + random.below(4); n > 0 && out.length > 0; n--) {
    const at = random.below(random.below(8) === 0 ? out.length : Math.min(front, out.length));
    const length = Math.min(out.length - at, 1 + random.below(random.below(2) === 0 ? 9 : 200));
    switch (random.below(8)) {
      case 0:
        out[at] ^= 1 << random.below(8);
        break;
      case 1:
        out[at] = random.below(256);
        break;
      case 2:
        out = out.slice(0, at);
        break;
      case 3:
        out = join(out.subarray(0, at), out.subarray(at + length));
        break;
      case 4:
        out = join(out.subarray(0, at), out.subarray(at, at + length), out.subarray(at));
        break;
      case 5:
        out.copyWithin(random.below(out.length), at, at + length);
        break;
      default: {
        // A number of four or eight bytes.
        const wide = random.below(2) === 0;
        const view = new DataView(out.buffer);
        if (at + (wide ? 8 : 4) > out.length) break;
        const edge = random.of(edges) + BigInt(random.below(3)) - 1n;
        if (wide) view.setBigUint64(at, BigInt.asUintN(64, edge), true);
        else view.setUint32(at, Number(BigInt.asUintN(32, edge)), true);
      }
    }
  }
  return out;
}

function join(...pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(pieces.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

/** Deeper than any stack that a reader may take. */
const deep = (open: string, close: string): string => open.repeat(20_000) + close.repeat(20_000);
const strange: readonly string[] = [
  'null',
  'true',
  '-1',
  '0',
  '1.5',
  '1e400',
  '9007199254740993',
  '""',
  '"__proto__"',
  '"../x"',
  '"\\u0000"',
  '"\\ud800"',
  '[]',
  '{}',
  '[[]]',
  deep('[', ']'),
  `${'{"type":"Sequence","normalizers":['.repeat(20_000)}${']}'.repeat(20_000)}`,
  `"${'x'.repeat(100_000)}"`,
];

/** JSON text of which one to three values or names are others, `more` (as JSON) among them. */
export function mutateJson(text: string, random: Random, more: readonly string[] = []): string {
  let out = text;
  for (let n = 1 + random.below(3); n > 0; n--) {
    // Mostly values and names; now and then what stands between them.
    const any = random.below(6) === 0;
    const places = [...out.matchAll(any ? /[[\]{}:,]/g : /"(?:[^"\\]|\\.){0,200}"|-?\d+(?:\.\d+)?|true|false|null/g)];
    if (places.length === 0) return out;
    const place = random.of(places);
    const other =
      any || random.below(4) === 0 ? random.of(places)[0] : random.of(more.length > 0 && random.below(2) === 0 ? more : strange);
    out = out.slice(0, place.index) + (any && random.below(2) === 0 ? '' : other) + out.slice(place.index + place[0].length);
  }
  return out;
}
