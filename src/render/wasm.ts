/**
 * @file Renders a Kernel as a WebAssembly function (buffers, lo, hi, scratch): `buffers` points to the addresses of its
 * buffers, and the items lo ≤ item < hi are run. This file has the statements; wasm-values.ts has what they compute.
 */
import { dtypes } from '../base/dtype.js';
import type { Expr, Kernel, ReduceOp, Stmt } from '../kernel/kernel.js';
import { arithmeticOf, type Kind, kinds } from './kinds.js';
import { placeLocals } from './locals.js';
import { type Address, type Code, i4, i32, i64, loadFrom, storeTo, v128, type WasmFunction, when } from './wasm-assembler.js';
import type { WasmHelpers } from './wasm-helpers.js';
import { canWiden } from './wasm-lanes.js';
import { storeFour, storeOne } from './wasm-memory.js';
import { type Form, type OpRow, ops } from './wasm-ops.js';
import { laneCount, WasmValues } from './wasm-values.js';

class Renderer {
  readonly #kernel: Kernel;
  readonly #v: WasmValues;
  readonly #f: WasmFunction;
  readonly #scratch: ReadonlyMap<Stmt, number | null>;

  constructor(kernel: Kernel, math: WasmHelpers) {
    this.#kernel = kernel;
    this.#v = new WasmValues(kernel, math);
    this.#f = this.#v.f;
    this.#scratch = placeLocals(kernel, false).places;
  }

  render(): WasmFunction {
    const f = this.#f;
    const { buffers, grid, body } = this.#kernel;
    for (const [i, { name, dtype }] of buffers.entries())
      this.#v.addPlace(name, dtype, f.let('i32', loadFrom('i32Load', { base: f.get(0), offset: 4 * i })));
    this.#v.natural.set(grid.name, true);
    const item = this.#v.define(grid.name, 'index', 'i32');
    f.count(item, f.get(1), f.get(2), 1, () => this.#body(body));
    return f;
  }

  #body(body: readonly Stmt[]): void {
    for (const s of body) this.#statement(s);
  }

  // ---- statements

  #statement(s: Stmt): void {
    const f = this.#f;
    switch (s.kind) {
      case 'for':
        this.#for(s);
        break;
      case 'let':
      case 'mut':
        this.#value(s.name, s.value, s.kind === 'mut');
        break;
      case 'assign': {
        const to = this.#v.binding(s.name);
        if (to.form === 'one') f.set(to.local, this.#v.one(s.value));
        else if (this.#v.lane === null) f.set(to.local, this.#v.four(s.value));
        else f.set(to.local, this.#v.replace(kinds[s.value.type], f.get(to.local), this.#v.lane, this.#v.one(s.value)));
        break;
      }
      case 'store':
        this.#store(s.buffer, s.index, s.value);
        break;
      case 'if':
        this.#if(s);
        break;
      case 'local':
        this.#v.addPlace(s.name, s.type, this.#scratchAt(s));
        break;
      case 'prefetch':
        break;
      case 'transpose':
        this.#transpose(s);
        break;
      case 'argsort':
        this.#argsort(s);
        break;
      default:
        s satisfies never;
    }
  }

  #scratchAt(s: Stmt): Code {
    return this.#f.let('i32', i32.add(this.#f.get(3), i32.const(this.#scratch.get(s) ?? 0)));
  }

  /** A let or mut. */
  #value(name: string, value: Expr, isMutable: boolean): void {
    const f = this.#f;
    this.#v.natural.set(name, !isMutable && value.lanes === 1 && this.#v.natural.has(value));
    const single = kinds[value.type] === 'f' ? 'f32' : 'i32';
    const step = value.lanes > 1 ? null : this.#v.lane !== null ? 0 : this.#v.step(value);
    // In four iterations at once a register has four values, whatever it starts with.
    if (step === null || (isMutable && this.#v.isWide && this.#v.lane === null)) {
      const code = this.#v.four(value);
      f.set(this.#v.define(name, value.type, 'v128'), code);
    } else {
      const code = this.#v.one(value);
      f.set(this.#v.define(name, value.type, single, step === 0 ? undefined : step), code);
    }
  }

  #for(s: Stmt & { kind: 'for' }): void {
    const count = s.from.kind === 'const' && s.to.kind === 'const' ? Math.ceil((s.to.value - s.from.value) / s.step) : null;
    if (
      !this.#v.isWide &&
      this.#v.lane === null &&
      s.mode === 'simd' &&
      s.step === 1 &&
      (count === null || count >= laneCount) &&
      canWiden(s)
    )
      this.#wideLoop(s);
    else if (s.mode === 'unrolled' && count !== null && count <= 16) {
      const at = this.#v.define(s.name, 'index', 'i32');
      this.#v.natural.set(s.name, true);
      for (let i = 0; i < count; i++) {
        this.#f.set(at, this.#v.one({ ...s.from, value: (s.from as { value: number }).value + i * s.step } as Expr));
        this.#body(s.body);
      }
    } else this.#plainLoop(s, this.#v.one(s.from), this.#end(s.to));
  }

  /** The end of a loop, computed once. */
  #end(to: Expr): Code {
    return to.kind === 'const' ? this.#v.one(to) : this.#f.let('i32', this.#v.one(to));
  }

  #plainLoop(s: Stmt & { kind: 'for' }, from: Code, to: Code): void {
    this.#v.natural.set(s.name, this.#v.natural.has(s.from));
    this.#f.count(this.#v.define(s.name, 'index', 'i32'), from, to, s.step, () => this.#body(s.body));
  }

  /** Four iterations at once, then what is left one by one. */
  #wideLoop(s: Stmt & { kind: 'for' }): void {
    const f = this.#f;
    const from = s.from.kind === 'const' ? this.#v.one(s.from) : f.let('i32', this.#v.one(s.from));
    const to = this.#end(s.to);
    const count = s.from.kind === 'const' && s.to.kind === 'const' ? s.to.value - s.from.value : null;
    const sums = (s.reduce ?? []).map((r) => {
      const outside = this.#v.binding(r.name);
      const kind = this.#v.kindOf(r.name);
      const local = f.local('v128');
      f.set(local, kind === 'f' ? f.f4(identity(r.op, kind)) : f.i4(identity(r.op, kind)));
      this.#v.rebind(r.name, { form: 'four', local });
      return { ...r, kind, local, outside };
    });
    this.#v.natural.set(s.name, this.#v.natural.has(s.from));
    const at = this.#v.define(s.name, 'index', 'i32', 1);
    const last =
      count === null ? f.let('i32', i32.sub(to, i32.const(laneCount - 1))) : i32.const((s.to as { value: number }).value - laneCount + 1);
    this.#v.isWide = true;
    f.count(at, from, last, laneCount, () => this.#body(s.body));
    this.#v.isWide = false;
    for (const { name, op, kind, local, outside } of sums) {
      const form: Form | undefined = (ops[op] as OpRow).one[kind];
      if (!form || outside.form !== 'one') this.#v.fail(`no ${op} reduction of "${name}"`);
      this.#v.rebind(name, outside);
      for (let lane = 0; lane < laneCount; lane++)
        f.set(outside.local, form(this.#v, f.get(outside.local), this.#v.extract(kind, f.get(local), lane)));
    }
    if (count === null || count % laneCount > 0) this.#plainLoop(s, f.get(at), to);
  }

  #if(s: Stmt & { kind: 'if' }): void {
    const f = this.#f;
    const otherwise = s.otherwise ?? [];
    if (s.cond.kind === 'const') {
      this.#body(s.cond.value ? s.then : otherwise);
      return;
    }
    if (this.#v.lane !== null || this.#v.step(s.cond) === 0) {
      const cond = this.#v.one(s.cond);
      f.push(
        when(
          cond,
          f.block(() => this.#body(s.then)),
          otherwise.length > 0 ? f.block(() => this.#body(otherwise)) : [],
        ),
      );
      return;
    }
    // All four as one where they agree, else lane by lane: what a lane must not touch, it doesn't.
    const mask = f.let('v128', this.#v.four(s.cond));
    const inLane = (lane: number): Code => {
      this.#v.lane = lane;
      const [then, not] = [s.then, otherwise].map((body) => f.block(() => this.#body(body)));
      this.#v.lane = null;
      return when(i4.extract(mask, lane), then, otherwise.length > 0 ? not : []);
    };
    const known = this.#v.save();
    const together = f.block(() => this.#body(s.then));
    this.#v.restore(known);
    const apart = f.block(() => {
      for (let lane = 0; lane < laneCount; lane++) f.push(inLane(lane));
    });
    f.push(when(i4.allTrue(mask), together, otherwise.length > 0 ? apart : when(v128.anyTrue(mask), apart)));
  }

  #store(buffer: string, index: Expr, value: Expr): void {
    const { dtype } = this.#v.place(buffer);
    const kind = kinds[dtype];
    const isVector = value.lanes > 1;
    if (!isVector && (!this.#v.isWide || this.#v.lane !== null)) {
      this.#f.push(
        storeOne(
          dtype,
          this.#v.address(buffer, index),
          this.#v.convertOne(this.#v.one(value), value.type, arithmeticOf(kind)),
          this.#v.math,
        ),
      );
      return;
    }
    const x = this.#v.convertFour(this.#v.four(value), value.type, arithmeticOf(kind));
    const width = isVector ? value.lanes : laneCount;
    if (isVector || this.#v.step(index) === 1) {
      const code = storeFour(dtype, this.#v.address(buffer, index), x, width, this.#v.math, this.#f);
      if (code !== null) {
        this.#f.push(code);
        return;
      }
    }
    const all = this.#f.let('v128', x);
    for (let lane = 0; lane < width; lane++) {
      if (!isVector) this.#v.lane = lane;
      const at = this.#v.address(buffer, index);
      this.#v.lane = null;
      const moved = isVector ? { base: at.base, offset: at.offset + lane * dtypes[dtype].bytes } : at;
      this.#f.push(storeOne(dtype, moved, this.#v.extract(kind, all, lane), this.#v.math));
    }
  }

  #transpose(s: Stmt & { kind: 'transpose' }): void {
    if (s.size !== 4) this.#v.fail(`a transpose of ${s.size} × ${s.size}`);
    const f = this.#f;
    const from = f.let('i32', this.#v.whole(this.#v.address(s.from, s.base)));
    const to = f.let('i32', this.#v.whole(this.#v.address(s.out, s.outBase)));
    const lanes = (...at: number[]): number[] => at.flatMap((l) => [0, 1, 2, 3].map((byte) => 4 * l + byte));
    const mix = (a: Code, b: Code, ...at: number[]): Code => f.let('v128', v128.shuffle(a, b, lanes(...at)));
    const r = [0, 1, 2, 3].map((i) => f.let('v128', loadFrom('load', { base: from, offset: 4 * i * s.stride })));
    const [a, b] = [mix(r[0], r[1], 0, 4, 1, 5), mix(r[0], r[1], 2, 6, 3, 7)];
    const [c, d] = [mix(r[2], r[3], 0, 4, 1, 5), mix(r[2], r[3], 2, 6, 3, 7)];
    const rows = [mix(a, c, 0, 1, 4, 5), mix(a, c, 2, 3, 6, 7), mix(b, d, 0, 1, 4, 5), mix(b, d, 2, 3, 6, 7)];
    for (const [j, row] of rows.entries()) f.push(storeTo('store', { base: to, offset: 4 * j * s.outStride }, row));
  }

  #argsort(s: Stmt & { kind: 'argsort' }): void {
    const f = this.#f;
    const kind = kinds[s.key.type];
    const words = this.#scratchAt(s);
    const at = this.#v.define(s.name, 'index', 'i32');
    this.#v.natural.set(s.name, true);
    const word = (i: Code): Address => ({ base: i32.add(words, i32.shl(i, i32.const(3))), offset: 0 });
    f.count(at, i32.const(0), i32.const(s.length), 1, () => {
      const ascending = this.#v.math.sortKey(kind === 'l' ? 'u' : kind, this.#v.one(s.key));
      const key = s.descending ? i32.xor(ascending, i32.const(-1)) : ascending;
      f.push(storeTo('i64Store', word(f.get(at)), i64.or(i64.shl(i64.extendU(key), i64.const(32)), i64.extendU(f.get(at)))));
    });
    f.push(this.#v.math.sort(words, i32.add(words, i32.const(8 * s.length)), i32.const(s.length)));
    const out = f.let('i32', this.#v.whole(this.#v.address(s.out, s.outBase)));
    f.count(at, i32.const(0), i32.const(s.length), 1, () => {
      const to = { base: i32.add(out, i32.mul(f.get(at), i32.const(4 * s.outStride))), offset: 0 };
      f.push(storeTo('i32Store', to, loadFrom('i32Load', word(f.get(at)))));
    });
  }
}

/** What changes nothing in a reduction; of truth values as a lane has them. */
function identity(op: ReduceOp, kind: Kind): number {
  if (kind === 'b') return op === 'mul' || op === 'min' ? -1 : 0;
  switch (op) {
    case 'add':
      return 0;
    case 'mul':
      return 1;
    case 'max':
      return kind === 'f' ? Number.NEGATIVE_INFINITY : kind === 'u' ? 0 : -(2 ** 31);
    case 'min':
      return kind === 'f' ? Number.POSITIVE_INFINITY : kind === 'u' ? -1 : 2 ** 31 - 1;
  }
}

/** Writes the kernel's function. */
export function renderWasm(kernel: Kernel, math: WasmHelpers): WasmFunction {
  return new Renderer(kernel, math).render();
}

/** Bytes of per-thread memory, a multiple of 64, that a call's `scratch` must point to. */
export const wasmScratchBytes = (kernel: Kernel): number => placeLocals(kernel, false).bytes;
