/**
 * @file The values of a kernel being rendered to WebAssembly: what names stand for, where elements lie, and expressions as
 * one value or as four. Four iterations of a simd loop run at once: values that are the same in them stay single, indices
 * that move by a constant keep their first, the rest are vectors, and what has no vector form is made lane by lane.
 */
import { type DType, dtypes } from '../base/dtype.js';
import { InternalError } from '../base/errors.js';
import { type Expr, type Kernel, operands, type ValueType } from '../kernel/kernel.js';
import { type Kind, kinds } from './kinds.js';
import { NaturalIndices } from './natural.js';
import { type Address, type Code, f4, f32, i4, i32, loadFrom, select, v128, WasmFunction } from './wasm-assembler.js';
import type { WasmHelpers } from './wasm-helpers.js';
import { stepOfOp } from './wasm-lanes.js';
import { loadFour, loadOne } from './wasm-memory.js';
import { type Form, type OpRow, ops, truth } from './wasm-ops.js';

/** A name's value: the same in all lanes, an index that moves by `step` a lane, or one value a lane. */
export type Binding =
  | { readonly form: 'one' | 'four'; readonly local: number }
  | { readonly form: 'affine'; readonly local: number; readonly step: number };

interface Place {
  readonly dtype: DType;
  readonly pointer: Code;
}

export const laneCount = 4;

export class WasmValues {
  readonly f = new WasmFunction(['i32', 'i32', 'i32', 'i32'], null);
  readonly math: WasmHelpers;
  readonly #kernel: Kernel;
  readonly #places = new Map<string, Place>();
  readonly #names = new Map<string, Binding>();
  readonly #kinds = new Map<string, Kind>();
  readonly natural = new NaturalIndices();
  /** Whether four iterations run at once, and which of them alone is being written where that is so. */
  isWide = false;
  lane: number | null = null;

  constructor(kernel: Kernel, math: WasmHelpers) {
    this.#kernel = kernel;
    this.math = math;
  }

  fail(what: string): never {
    throw new InternalError(`WebAssembly renderer: ${what} in kernel "${this.#kernel.label}".`);
  }

  // ---- names

  /** A new local for the name; `step`: an index that moves by so much a lane. */
  define(name: string, type: ValueType, local: 'i32' | 'f32' | 'v128', step?: number): number {
    const at = this.f.local(local);
    this.#kinds.set(name, kinds[type]);
    this.#names.set(
      name,
      step !== undefined ? { form: 'affine', local: at, step } : { form: local === 'v128' ? 'four' : 'one', local: at },
    );
    return at;
  }
  rebind(name: string, binding: Binding): void {
    this.#names.set(name, binding);
  }
  /** All names, to be given back with `restore`. */
  save(): ReadonlyMap<string, Binding> {
    return new Map(this.#names);
  }
  restore(names: ReadonlyMap<string, Binding>): void {
    for (const [name, binding] of names) this.#names.set(name, binding);
  }
  kindOf(name: string): Kind {
    return this.#kinds.get(name) ?? 'f';
  }
  addPlace(name: string, dtype: DType, pointer: Code): void {
    this.#places.set(name, { dtype, pointer });
  }

  // ---- places

  place(name: string): Place {
    return this.#places.get(name) ?? this.fail(`no array "${name}"`);
  }
  binding(name: string): Binding {
    return this.#names.get(name) ?? this.fail(`"${name}" is not defined`);
  }
  whole({ base, offset }: Address): Code {
    return offset === 0 ? base : i32.add(base, i32.const(offset));
  }

  /** Of an element: the constant part of an index goes into the instruction, where what is left cannot be negative. */
  address(buffer: string, index: Expr): Address {
    const { dtype, pointer } = this.place(buffer);
    const { bytes } = dtypes[dtype];
    const [rest, constant] = constantPart(index);
    if (rest === null)
      return constant >= 0
        ? { base: pointer, offset: constant * bytes }
        : { base: i32.add(pointer, i32.const(constant * bytes)), offset: 0 };
    const scaled = (e: Expr): Code => (bytes === 1 ? this.one(e) : i32.shl(this.one(e), i32.const(bytes === 4 ? 2 : 1)));
    if (constant > 0 && constant * bytes < 2 ** 30 && this.natural.has(rest))
      return { base: i32.add(pointer, scaled(rest)), offset: constant * bytes };
    const base = i32.add(pointer, scaled(rest));
    return { base: constant === 0 ? base : i32.add(base, i32.const(constant * bytes)), offset: 0 };
  }

  // ---- how values differ from lane to lane

  /** 0: the same in all lanes; another number: an index that grows by it; null: anything else. */
  step(e: Expr): number | null {
    if (!this.isWide || this.lane !== null) return e.lanes > 1 ? null : 0;
    switch (e.kind) {
      case 'const':
        return 0;
      case 'var': {
        const binding = this.binding(e.name);
        return binding.form === 'one' ? 0 : binding.form === 'affine' ? binding.step : null;
      }
      case 'load':
        return this.step(e.index) === 0 ? 0 : null;
      case 'op':
        return stepOfOp(e, (a) => this.step(a));
      case 'cast': {
        const step = this.step(e.x);
        return step === 0 || (step !== null && e.type === 'index') ? step : null;
      }
      case 'splat':
        return this.step(e.x);
      case 'fma':
      case 'pairs':
      case 'pack2':
      case 'dot2':
      case 'lookup':
      case 'random':
        return operands(e).every((a) => this.step(a) === 0) ? 0 : null;
    }
  }

  // ---- one value

  /** The value in the lane being written; outside of one, the value that all lanes have, or an index's first. */
  one(e: Expr): Code {
    const { f } = this;
    switch (e.kind) {
      case 'const':
        return kinds[e.type] === 'f' ? f32.const(Math.fround(e.value)) : i32.const(e.value);
      case 'var': {
        const binding = this.binding(e.name);
        if (binding.form === 'one') return f.get(binding.local);
        if (binding.form === 'affine') {
          const first = f.get(binding.local);
          return this.lane ? i32.add(first, i32.const(this.lane * binding.step)) : first;
        }
        if (this.lane === null) this.fail(`"${e.name}" is a vector where one value is wanted`);
        return this.extract(kinds[e.type], f.get(binding.local), this.lane);
      }
      case 'load':
        return loadOne(this.place(e.buffer).dtype, this.address(e.buffer, e.index), this.math);
      case 'op':
        return this.#opOne(e);
      case 'cast':
        return this.convertOne(this.one(e.x), e.x.type, e.type);
      case 'splat':
        return this.one(e.x);
      case 'fma':
        return f32.add(f32.mul(this.one(e.a), this.one(e.b)), this.one(e.c));
      case 'pairs':
      case 'pack2':
      case 'dot2':
        return this.fail(`${e.kind}, which this target doesn't have`);
      case 'lookup':
        return this.#lookup(e.buffer, this.one(e.x));
      case 'random':
        return this.math.random(this.one(e.counter), this.one(e.step), i32.const(e.stream), this.one(e.key0), this.one(e.key1));
    }
  }

  #opOne(e: Expr & { kind: 'op' }): Code {
    const kind = kinds[e.args[e.args.length - 1].type];
    const args = e.args.map((a) => this.one(a));
    if (kind === 'l' && (e.op === 'idiv' || e.op === 'mod')) {
      const divisor = e.args[1];
      if (divisor.kind === 'const' && divisor.value > 0 && this.natural.has(e.args[0]))
        return (e.op === 'idiv' ? i32.divU : i32.remU)(args[0], args[1]);
    }
    const form: Form | undefined = (ops[e.op] as OpRow).one[kind];
    if (!form) this.fail(`${e.op} of ${e.args[e.args.length - 1].type}`);
    return form(this, ...args);
  }

  convertOne(x: Code, from: ValueType, to: ValueType): Code {
    const [f, t] = [kinds[from], kinds[to]];
    const wide = ((): Code => {
      if (f === t) return x;
      if (t === 'b') return truth.one[f](this, x);
      if (t === 'f') return (f === 'u' ? f32.fromU32 : f32.fromI32)(x);
      if (f === 'f') return t === 'l' ? i32.truncF32(x) : this.math.toInt(x);
      if (f === 'u' && t === 'l') {
        // Beyond 2^31 is beyond every array.
        const y = this.f.let('i32', x);
        return select(i32.ltS(y, i32.const(0)), i32.const(0x7fffffff), y);
      }
      return x;
    })();
    if (from === to) return wide;
    switch (to) {
      case 'f16':
        return this.math.one('fromF16', this.math.one('toF16', wide));
      case 'bf16':
        return f32.ofBits(i32.shl(i32.bits(this.math.one('toBf16', wide)), i32.const(16)));
      case 'i8':
        return i32.shrS(i32.shl(wide, i32.const(24)), i32.const(24));
      case 'u8':
        return i32.and(wide, i32.const(255));
      default:
        return wide;
    }
  }

  // ---- four values

  #splat(kind: Kind, x: Code): Code {
    return kind === 'f' ? f4.splat(x) : i4.splat(kind === 'b' ? i32.sub(i32.const(0), x) : x);
  }
  extract(kind: Kind, x: Code, lane: number): Code {
    if (kind === 'f') return f4.extract(x, lane);
    return kind === 'b' ? i32.and(i4.extract(x, lane), i32.const(1)) : i4.extract(x, lane);
  }
  replace(kind: Kind, x: Code, lane: number, value: Code): Code {
    return kind === 'f' ? f4.replace(x, lane, value) : i4.replace(x, lane, kind === 'b' ? i32.sub(i32.const(0), value) : value);
  }
  /** Four values made one after another. */
  byLanes(kind: Kind, make: (lane: number) => Code, count = laneCount): Code {
    let all = this.#splat(kind, make(0));
    for (let lane = 1; lane < count; lane++) all = this.replace(kind, all, lane, make(lane));
    return all;
  }
  #eachLane(e: Expr): Code {
    return this.byLanes(kinds[e.type], (lane) => {
      this.lane = lane;
      const code = this.one(e);
      this.lane = null;
      return code;
    });
  }

  /** The values in all lanes. */
  four(e: Expr): Code {
    const { f } = this;
    const kind = kinds[e.type];
    const step = this.step(e);
    if (step === 0) return this.#spread(e, kind);
    if (step !== null) {
      const apart = step === 1 ? f.lanes() : i4.mul(f.lanes(), f.i4(step));
      return i4.add(i4.splat(this.one(e)), apart);
    }
    switch (e.kind) {
      case 'var':
        return f.get(this.binding(e.name).local);
      case 'load': {
        const { dtype } = this.place(e.buffer);
        const isVector = e.lanes > 1;
        if (isVector || this.step(e.index) === 1) {
          const at = this.address(e.buffer, e.index);
          const code = loadFour(dtype, at, isVector ? e.lanes : laneCount, this.math, f);
          if (code !== null) return code;
          const base = f.let('i32', this.whole(at));
          return this.byLanes(
            kind,
            (l) => loadOne(dtype, { base, offset: l * dtypes[dtype].bytes }, this.math),
            isVector ? e.lanes : laneCount,
          );
        }
        return this.#eachLane(e);
      }
      case 'op':
        return this.#opFour(e);
      case 'cast':
        return this.convertFour(this.four(e.x), e.x.type, e.type);
      case 'splat':
        return this.#spread(e.x, kind);
      case 'fma': {
        const [a, b, c] = [this.four(e.a), this.four(e.b), this.four(e.c)];
        return this.math.isFused ? f4.madd(a, b, c) : f4.add(f4.mul(a, b), c);
      }
      case 'lookup': {
        const x = f.let('v128', this.four(e.x));
        return this.byLanes('f', (lane) => this.#lookup(e.buffer, this.extract('i', x, lane)));
      }
      case 'random': {
        const keys = [this.one(e.step), i32.const(e.stream), this.one(e.key0), this.one(e.key1)] as [Code, Code, Code, Code];
        return this.step(e.counter) === 1 ? this.math.randoms(this.one(e.counter), ...keys) : this.#eachLane(e);
      }
      default:
        return this.fail(`a vector of ${e.kind}`);
    }
  }

  /** One value in all lanes. */
  #spread(e: Expr, kind: Kind): Code {
    if (e.kind === 'splat') return this.#spread(e.x, kind);
    if (e.kind === 'const') return kind === 'f' ? this.f.f4(Math.fround(e.value)) : this.f.i4(kind === 'b' && e.value ? -1 : e.value);
    if (e.kind === 'load' && ['f32', 'i32', 'u32'].includes(this.place(e.buffer).dtype))
      return loadFrom('load32Splat', this.address(e.buffer, e.index));
    return this.#splat(kind, this.one(e));
  }

  #lookup(table: string, position: Code): Code {
    const { dtype, pointer } = this.place(table);
    return loadOne(dtype, { base: i32.add(pointer, i32.shl(position, i32.const(2))), offset: 0 }, this.math);
  }

  #opFour(e: Expr & { kind: 'op' }): Code {
    const { f } = this;
    const last = e.args[e.args.length - 1];
    const kind = kinds[last.type];
    const row: OpRow = ops[e.op];
    if ((e.op === 'shl' || e.op === 'shr') && this.step(last) === 0)
      return (e.op === 'shl' ? i4.shl : kind === 'u' ? i4.shrU : i4.shrS)(this.four(e.args[0]), this.one(last));
    if ((e.op === 'max' || e.op === 'min') && kind === 'f' && e.args.some(isNumber)) {
      // The instruction gives its first operand where either is NaN.
      const [x, limit] = isNumber(last) ? e.args : [last, e.args[0]];
      return (e.op === 'max' ? f4.pmax : f4.pmin)(this.four(x), this.four(limit));
    }
    if (kind === 'l' && (e.op === 'idiv' || e.op === 'mod') && last.kind === 'const' && Number.isInteger(Math.log2(last.value))) {
      // Floor division, of negative ones too.
      const x = this.four(e.args[0]);
      return e.op === 'idiv' ? i4.shrS(x, i32.const(Math.log2(last.value))) : v128.and(x, f.i4(last.value - 1));
    }
    const four: Form | undefined = row.four[kind];
    if (four) return four(this, ...e.args.map((a) => this.four(a)));
    const one: Form | undefined = row.one[kind];
    if (!one) this.fail(`${e.op} of ${last.type}`);
    const args = e.args.map((a) => ({ kind: kinds[a.type], x: f.let('v128', this.four(a)) }));
    return this.byLanes(kinds[e.type], (lane) => one(this, ...args.map((a) => this.extract(a.kind, a.x, lane))));
  }

  convertFour(x: Code, from: ValueType, to: ValueType): Code {
    const [k, t] = [kinds[from], kinds[to]];
    const { f } = this;
    const wide = ((): Code => {
      if (k === t) return x;
      if (t === 'b') return truth.four[k](this, x);
      const number = k === 'b' ? i4.neg(x) : x;
      if (t === 'f') return (k === 'u' ? f4.fromU4 : f4.fromI4)(number);
      if (k === 'f') return t === 'l' ? i4.truncF4(x) : this.math.toInts(x);
      return k === 'u' && t === 'l' ? i4.minU(x, f.i4(0x7fffffff)) : number;
    })();
    if (from === to) return wide;
    switch (to) {
      case 'f16':
        return this.math.four('fromF16', f, this.math.four('toF16', f, wide));
      case 'bf16':
        return i4.shl(this.math.four('toBf16', f, wide), i32.const(16));
      case 'i8':
        return i4.shrS(i4.shl(wide, i32.const(24)), i32.const(24));
      case 'u8':
        return v128.and(wide, f.i4(255));
      default:
        return wide;
    }
  }
}

const isNumber = (e: Expr): boolean => (e.kind === 'splat' ? isNumber(e.x) : e.kind === 'const' && !Number.isNaN(e.value));

/** The sum of an index's constant terms, and what is left (null: nothing). */
function constantPart(e: Expr): [Expr | null, number] {
  if (e.kind === 'const') return [null, e.value];
  if (e.kind !== 'op' || e.op !== 'add') return [e, 0];
  const [a, m] = constantPart(e.args[0]);
  const [b, n] = constantPart(e.args[1]);
  return [a === null ? b : b === null ? a : { ...e, args: [a, b] }, m + n];
}
