/**
 * @file WebAssembly bytes: instructions as functions of the code of their operands, functions with named values, modules.
 * Code is a rope of bytes in stack order, so `f4.add(a, b)` is a's code, b's code and the opcode. Source: the WebAssembly
 * specification 2.0 with SIMD and the relaxed SIMD proposal.
 */
import { concatBytes } from '../base/bytes.js';
import { spelled } from '../base/dtype.js';
import { InternalError } from '../base/errors.js';

export type Code = number | readonly Code[];
export type ValType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';
const valTypes = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const satisfies Record<ValType, number>;

/** Unsigned LEB128. Most numbers are small: those are their own code. */
export function leb(n: number): Code {
  if (n < 128) return n;
  const out: number[] = [];
  do {
    const low = n % 128;
    n = Math.floor(n / 128);
    out.push(n > 0 ? low | 128 : low);
  } while (n > 0);
  return out;
}
/** Signed LEB128 of an integer of at most 53 bits. */
function sleb(n: number): Code {
  if (n >= -64 && n < 64) return n & 127;
  const out: number[] = [];
  for (;;) {
    const low = ((n % 128) + 128) % 128;
    n = Math.floor(n / 128);
    const ends = (n === 0 && low < 64) || (n === -1 && low >= 64);
    out.push(ends ? low : low | 128);
    if (ends) return out;
  }
}
const scratch = new DataView(new ArrayBuffer(8));
function ieee(value: number, bytes: 4 | 8): Code {
  if (bytes === 4) scratch.setFloat32(0, value, true);
  else scratch.setFloat64(0, value, true);
  return Array.from({ length: bytes }, (_, i) => scratch.getUint8(i));
}

let buffer = new Uint8Array(1 << 16);
/** Writes code at `at` and gives where it ends; what lies beyond the buffer is only counted. */
function write(code: Code, at: number): number {
  if (typeof code === 'number') {
    buffer[at] = code;
    return at + 1;
  }
  for (let i = 0; i < code.length; i++) at = write(code[i], at);
  return at;
}
/** The bytes of some code. */
function flat(code: Code): Uint8Array<ArrayBuffer> {
  const length = write(code, 0);
  if (length > buffer.length) {
    buffer = new Uint8Array(2 * length);
    write(code, 0);
  }
  return buffer.slice(0, length);
}

type Ops<T> = { readonly [K in keyof T]: (...operands: Code[]) => Code };
function family<const T extends Readonly<Record<string, number>>>(opcodes: T, prefix?: number): Ops<T> {
  const made = Object.entries(opcodes).map(([name, n]) => {
    const opcode: Code = prefix === undefined ? n : [prefix, leb(n)];
    return [name, (...operands: Code[]): Code => [...operands, opcode]] as const;
  });
  return Object.fromEntries(made) as Ops<T>;
}

export const i32 = {
  ...family({ eqz: 0x45, eq: 0x46, ne: 0x47, ltS: 0x48, ltU: 0x49, gtS: 0x4a, gtU: 0x4b, leS: 0x4c, leU: 0x4d, geS: 0x4e, geU: 0x4f }),
  ...family({ add: 0x6a, sub: 0x6b, mul: 0x6c, divS: 0x6d, divU: 0x6e, remS: 0x6f, remU: 0x70, and: 0x71, or: 0x72, xor: 0x73 }),
  ...family({ shl: 0x74, shrS: 0x75, shrU: 0x76, wrap: 0xa7, bits: 0xbc }),
  ...family({ truncF32: 0x00 }, 0xfc),
  const: (n: number): Code => [0x41, sleb(n | 0)],
} as const;
export const i64 = {
  ...family({ eqz: 0x50, leU: 0x58, add: 0x7c, sub: 0x7d, mul: 0x7e, and: 0x83, or: 0x84, xor: 0x85, shl: 0x86, shrU: 0x88 }),
  ...family({ extendS: 0xac, extendU: 0xad }),
  ...family({ truncF32: 0x04 }, 0xfc),
  const: (n: number): Code => [0x42, sleb(n)],
} as const;
export const f32 = {
  ...family({ eq: 0x5b, ne: 0x5c, lt: 0x5d, gt: 0x5e, le: 0x5f, ge: 0x60 }),
  ...family({ abs: 0x8b, neg: 0x8c, ceil: 0x8d, floor: 0x8e, trunc: 0x8f, nearest: 0x90, sqrt: 0x91 }),
  ...family({ add: 0x92, sub: 0x93, mul: 0x94, div: 0x95, fromI32: 0xb2, fromU32: 0xb3, demote: 0xb6, ofBits: 0xbe }),
  const: (x: number): Code => [0x43, ieee(x, 4)],
} as const;
export const f64 = {
  ...family({ floor: 0x9c, add: 0xa0, sub: 0xa1, mul: 0xa2, div: 0xa3, promote: 0xbb }),
  const: (x: number): Code => [0x44, ieee(x, 8)],
} as const;
export const v128 = {
  ...family({ not: 0x4d, and: 0x4e, andnot: 0x4f, or: 0x50, xor: 0x51, bitselect: 0x52, anyTrue: 0x53 }, 0xfd),
  /** Bytes `lanes` of a and b, one after the other. */
  shuffle: (a: Code, b: Code, bytes: readonly number[]): Code => [a, b, 0xfd, 0x0d, bytes],
  const: (bytes: readonly number[]): Code => [0xfd, 0x0c, bytes],
} as const;
/** Four i32; comparisons give -1 or 0 a lane. */
export const i4 = {
  ...family({ eq: 0x37, ne: 0x38, ltS: 0x39, ltU: 0x3a, gtS: 0x3b, gtU: 0x3c, leS: 0x3d, leU: 0x3e, geS: 0x3f, geU: 0x40 }, 0xfd),
  ...family({ splat: 0x11, abs: 0xa0, neg: 0xa1, allTrue: 0xa3, shl: 0xab, shrS: 0xac, shrU: 0xad, add: 0xae, sub: 0xb1 }, 0xfd),
  ...family({ mul: 0xb5, minS: 0xb6, minU: 0xb7, maxS: 0xb8, maxU: 0xb9, truncF4: 0xf8 }, 0xfd),
  /** The low four of eight i16, from the low eight of sixteen i8. */
  ...family({ extendS16: 0xa7, extendU16: 0xa9, extendS8: 0x87, extendU8: 0x89 }, 0xfd),
  /** To i16 (of 0 … 65535), and from i16 to i8 (of 0 … 255). */
  ...family({ narrow16: 0x86, narrow8: 0x66 }, 0xfd),
  extract: (x: Code, lane: number): Code => [x, 0xfd, 0x1b, lane],
  replace: (x: Code, lane: number, value: Code): Code => [x, value, 0xfd, 0x1c, lane],
} as const;
/** Four f32. */
export const f4 = {
  ...family({ eq: 0x41, ne: 0x42, lt: 0x43, gt: 0x44, le: 0x45, ge: 0x46, ceil: 0x67, floor: 0x68, trunc: 0x69, nearest: 0x6a }, 0xfd),
  ...family({ splat: 0x13, abs: 0xe0, neg: 0xe1, sqrt: 0xe3, add: 0xe4, sub: 0xe5, mul: 0xe6, div: 0xe7, pmin: 0xea, pmax: 0xeb }, 0xfd),
  ...family({ fromI4: 0xfa, fromU4: 0xfb }, 0xfd),
  /** Relaxed SIMD: a·b + c and c − a·b, rounded once where the processor can. */
  ...family({ madd: 0x105, nmadd: 0x106 }, 0xfd),
  extract: (x: Code, lane: number): Code => [x, 0xfd, 0x1f, lane],
  replace: (x: Code, lane: number, value: Code): Code => [x, value, 0xfd, 0x20, lane],
} as const;

/** Loads and stores: opcode, log2 of the natural alignment. */
const memoryOps = {
  i32Load: [[0x28], 2],
  i32Load8S: [[0x2c], 0],
  i32Load8U: [[0x2d], 0],
  i32Load16U: [[0x2f], 1],
  i64Load: [[0x29], 3],
  f32Load: [[0x2a], 2],
  i32Store: [[0x36], 2],
  i64Store: [[0x37], 3],
  f32Store: [[0x38], 2],
  i32Store8: [[0x3a], 0],
  i32Store16: [[0x3b], 1],
  // Four elements lie at any element's address: no more than theirs is promised.
  load: [[0xfd, 0x00], 2],
  load32Splat: [[0xfd, 0x09], 2],
  load32Zero: [[0xfd, 0x5c], 0],
  load64Zero: [[0xfd, 0x5d], 1],
  store: [[0xfd, 0x0b], 2],
  store32Lane: [[0xfd, 0x5a], 0],
  store64Lane: [[0xfd, 0x5b], 1],
} as const;
export type MemoryOp = keyof typeof memoryOps;

/** An address: its code, and bytes beyond it. */
export interface Address {
  readonly base: Code;
  readonly offset: number;
}
const access = (name: MemoryOp, offset: number): Code => {
  const [opcode, align] = memoryOps[name];
  return [opcode, align, leb(offset)];
};
export const loadFrom = (name: MemoryOp, at: Address): Code => [at.base, access(name, at.offset)];
export const storeTo = (name: MemoryOp, at: Address, value: Code): Code => [
  at.base,
  value,
  access(name, at.offset),
  // Stores of a lane say which: always the first.
  name === 'store32Lane' || name === 'store64Lane' ? [0] : [],
];
export const copyMemory = (to: Code, from: Code, bytes: Code): Code => [to, from, bytes, 0xfc, 0x0a, 0, 0];

const get = (local: number): Code => [0x20, leb(local)];
/** a where the condition (i32) is not 0, else b; both are computed. */
export const select = (condition: Code, a: Code, b: Code): Code => [a, b, condition, 0x1b];
export const when = (condition: Code, then: Code, otherwise: Code = []): Code => [
  condition,
  0x04,
  0x40,
  then,
  Array.isArray(otherwise) && otherwise.length === 0 ? [] : [0x05, otherwise],
  0x0b,
];
/** A value by a condition, of which only the chosen side is computed. */
export const choose = (type: ValType, condition: Code, then: Code, otherwise: Code): Code => [
  condition,
  0x04,
  valTypes[type],
  then,
  0x05,
  otherwise,
  0x0b,
];

/** A function being written: parameters, locals, the statements of the scope that is open. */
export class WasmFunction {
  readonly params: readonly ValType[];
  readonly result: ValType | null;
  readonly #locals: ValType[] = [];
  readonly #constants = new Map<string, number>();
  #head: Code[] = [];
  #open: Code[] = [];

  constructor(params: readonly ValType[], result: ValType | null) {
    this.params = params;
    this.result = result;
  }

  local(type: ValType): number {
    this.#locals.push(type);
    return this.params.length + this.#locals.length - 1;
  }
  readonly get = get;
  push(code: Code): void {
    this.#open.push(code);
  }
  set(local: number, value: Code): void {
    this.push([value, 0x21, leb(local)]);
  }
  /** Names a value: computed here, then read as often as it takes. */
  let(type: ValType, value: Code): Code {
    const local = this.local(type);
    this.set(local, value);
    return get(local);
  }
  /** The same number in four lanes, made once at the function's start. */
  f4(value: number): Code {
    return this.#constant(`f${spelled(value)}`, () => f4.splat(f32.const(value)));
  }
  i4(value: number): Code {
    return this.#constant(`i${value | 0}`, () => i4.splat(i32.const(value)));
  }
  lanes(): Code {
    return this.#constant('lanes', () => v128.const([0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]));
  }
  #constant(key: string, make: () => Code): Code {
    let local = this.#constants.get(key);
    if (local === undefined) {
      local = this.local('v128');
      this.#constants.set(key, local);
      this.#head.push([make(), 0x21, leb(local)]);
    }
    return get(local);
  }

  /** What `write` pushes, as code. */
  block(write: () => void): Code {
    const outer = this.#open;
    this.#open = [];
    write();
    const inner = this.#open;
    this.#open = outer;
    return inner;
  }
  /** for (counter = from; counter < to; counter += step), signed; `to` must not change in it. */
  count(counter: number, from: Code, to: Code, step: number, body: () => void): void {
    const goesOn = i32.ltS(get(counter), to);
    this.set(counter, from);
    const inside = this.block(() => {
      body();
      this.set(counter, i32.add(get(counter), i32.const(step)));
    });
    this.push(when(goesOn, [0x03, 0x40, inside, goesOn, 0x0d, 0, 0x0b]));
  }
  while(condition: Code, body: () => void): void {
    this.push([0x02, 0x40, 0x03, 0x40, i32.eqz(condition), 0x0d, 1, this.block(body), 0x0c, 0, 0x0b, 0x0b]);
  }

  /** The function's entry in the code section. */
  body(): Code {
    const runs: [number, ValType][] = [];
    for (const type of this.#locals) {
      const last = runs[runs.length - 1];
      if (last?.[1] === type) last[0]++;
      else runs.push([1, type]);
    }
    return [leb(runs.length), runs.map(([n, type]) => [leb(n), valTypes[type]]), this.#head, this.#open, 0x0b];
  }
}

export interface MemoryImport {
  readonly isShared: boolean;
  /** Pages of 64 KiB. */
  readonly initial: number;
  readonly maximum: number;
}

/** JavaScript's functions of doubles. Imports come first in a module's numbering, so these are always there. */
const mathImports = [
  { name: 'sin', arity: 1 },
  { name: 'cos', arity: 1 },
  { name: 'pow', arity: 2 },
  { name: 'atan2', arity: 2 },
] as const;
export type MathImport = (typeof mathImports)[number]['name'];

/** A module over an imported memory ("t"."memory"): functions of JavaScript's Math, helpers, and exported functions. */
export class WasmModule {
  readonly #functions: { fn: WasmFunction | null; exported: string | null }[] = [];
  readonly #named = new Map<string, number>();
  /** Math's function of doubles. */
  math(name: MathImport, ...args: Code[]): Code {
    return [...args, 0x10, leb(mathImports.findIndex((i) => i.name === name))];
  }

  /** A call of the helper `name`, which `make` writes at its first use. */
  call(name: string, args: readonly Code[], make: () => WasmFunction): Code {
    let at = this.#named.get(name);
    if (at === undefined) {
      at = this.#functions.push({ fn: null, exported: null }) - 1;
      this.#named.set(name, at);
      this.#functions[at] = { fn: make(), exported: null };
    }
    return [...args, 0x10, leb(mathImports.length + at)];
  }

  add(exported: string, fn: WasmFunction): void {
    this.#functions.push({ fn, exported });
  }

  bytes(memory: MemoryImport): Uint8Array<ArrayBuffer> {
    const types = new Map<string, number>();
    const typeCodes: Code[] = [];
    const typeOf = (params: readonly ValType[], result: ValType | null): Code => {
      const key = `${params.join()}>${result}`;
      let at = types.get(key);
      if (at === undefined) {
        at = types.size;
        types.set(key, at);
        typeCodes.push([0x60, leb(params.length), params.map((t) => valTypes[t]), result ? [1, valTypes[result]] : 0]);
      }
      return leb(at);
    };
    const text = (s: string): Code => [leb(s.length), Array.from(s, (c) => c.charCodeAt(0))];
    const imports: Code[] = [
      [text('t'), text('memory'), 0x02, memory.isShared ? 3 : 1, leb(memory.initial), leb(memory.maximum)],
      ...mathImports.map(({ name, arity }) => [text('m'), text(name), 0x00, typeOf(new Array<ValType>(arity).fill('f64'), 'f64')]),
    ];
    const functions = this.#functions.map(({ fn }) => {
      if (!fn) throw new InternalError('wasm: a helper calls itself while it is written.');
      return { type: typeOf(fn.params, fn.result), body: flat(fn.body()) };
    });
    const exports = this.#functions.flatMap(({ exported }, i) =>
      exported === null ? [] : [[text(exported), 0x00, leb(mathImports.length + i)]],
    );
    const parts: Uint8Array[] = [Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0)];
    const section = (id: number, entries: readonly Code[], bodies: readonly Uint8Array[] = []): void => {
      // A body stands behind its length.
      const pieces = [flat([leb(entries.length + bodies.length), entries]), ...bodies.flatMap((b) => [flat(leb(b.length)), b])];
      parts.push(flat([id, leb(pieces.reduce((n, p) => n + p.length, 0))]), ...pieces);
    };
    section(1, typeCodes);
    section(2, imports);
    section(
      3,
      functions.map((f) => f.type),
    );
    section(7, exports);
    section(
      10,
      [],
      functions.map((f) => f.body),
    );
    return concatBytes(parts);
  }
}
