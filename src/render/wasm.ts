/**
 * @file Renders a Kernel as a WebAssembly function (buffers, lo, hi, scratch): `buffers` points to the addresses of its
 * buffers, and the items lo ≤ item < hi are run. A simd loop takes four iterations at once: values that are the same in
 * them stay single, indices that move by a constant keep their first, the rest are vectors, and what has no vector form is
 * made lane by lane.
 */
import { type DType, dtypes } from '../base/dtype.js';
import { InternalError } from '../base/errors.js';
import type { Expr, Kernel, ReduceOp, Stmt, ValueType } from '../kernel/kernel.js';
import { type Kind, kinds } from './kinds.js';
import { placeLocals } from './locals.js';
import {
  type Address,
  type Code,
  f4,
  f32,
  i4,
  i32,
  i64,
  loadFrom,
  select,
  storeTo,
  v128,
  WasmFunction,
  type WasmModule,
  when,
} from './wasm-assembler.js';
import { canWiden, isStepOne, stepOfOp } from './wasm-lanes.js';
import type { WasmMath } from './wasm-math.js';
import { loadFour, loadOne, storeFour, storeOne } from './wasm-memory.js';
import { type Form, type OpRow, ops, truth } from './wasm-ops.js';

/** A name's value: the same in all lanes, an index that moves by `step` a lane, or one value a lane. */
type Binding =
  | { readonly form: 'one' | 'four'; readonly local: number }
  | { readonly form: 'affine'; readonly local: number; readonly step: number };

interface Place {
  readonly dtype: DType;
  readonly pointer: Code;
}

const laneCount = 4;

class Renderer {
  readonly kernel: Kernel;
  readonly f = new WasmFunction(['i32', 'i32', 'i32', 'i32'], null);
  readonly math: WasmMath;
  readonly #places = new Map<string, Place>();
  readonly #names = new Map<string, Binding>();
  readonly #kinds = new Map<string, Kind>();
  /** Index names known to be ≥ 0. */
  readonly #natural = new Set<string>();
  readonly #scratch: ReadonlyMap<Stmt, number | null>;
  /** Whether four iterations run at once, and which of them alone is being written where that is so. */
  #isWide = false;
  #lane: number | null = null;

  constructor(kernel: Kernel, math: WasmMath) {
    this.kernel = kernel;
    this.math = math;
    this.#scratch = placeLocals(kernel, false).places;
  }

  render(): WasmFunction {
    const { f, kernel } = this;
    kernel.buffers.forEach((p, i) => {
      const pointer = f.let('i32', loadFrom('i32Load', { base: f.get(0), offset: 4 * i }));
      this.#places.set(p.name, { dtype: p.dtype, pointer });
    });
    this.#natural.add(kernel.grid.name);
    const item = this.#define(kernel.grid.name, 'index', 'i32');
    f.count(item, f.get(1), f.get(2), 1, () => this.#body(kernel.body));
    return f;
  }

  #fail(what: string): never {
    throw new InternalError(`WebAssembly renderer: ${what} in kernel "${this.kernel.label}".`);
  }

  #define(name: string, type: ValueType, local: 'i32' | 'f32' | 'v128', step?: number): number {
    const at = this.f.local(local);
    this.#kinds.set(name, kinds[type]);
    this.#names.set(
      name,
      step !== undefined ? { form: 'affine', local: at, step } : { form: local === 'v128' ? 'four' : 'one', local: at },
    );
    return at;
  }

  #body(body: readonly Stmt[]): void {
    for (const s of body) this.#statement(s);
  }

  // ---- statements

  #statement(s: Stmt): void {
    const { f } = this;
    switch (s.kind) {
      case 'for':
        this.#for(s);
        break;
      case 'let':
      case 'mut':
        this.#value(s.name, s.value, s.kind === 'mut');
        break;
      case 'assign': {
        const to = this.#binding(s.name);
        if (to.form === 'one') f.set(to.local, this.one(s.value));
        else if (this.#lane === null) f.set(to.local, this.four(s.value));
        else f.set(to.local, this.#replace(kinds[s.value.type], f.get(to.local), this.#lane, this.one(s.value)));
        break;
      }
      case 'store':
        this.#store(s.buffer, s.index, s.value);
        break;
      case 'if':
        this.#if(s);
        break;
      case 'local':
        this.#places.set(s.name, { dtype: s.type, pointer: this.#scratchAt(s) });
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
    return this.f.let('i32', i32.add(this.f.get(3), i32.const(this.#scratch.get(s) ?? 0)));
  }

  /** A let or mut. */
  #value(name: string, value: Expr, isMutable: boolean): void {
    const { f } = this;
    if (value.lanes === 1 && value.type === 'index' && !isMutable && this.#isNatural(value)) this.#natural.add(name);
    else this.#natural.delete(name);
    const single = kinds[value.type] === 'f' ? 'f32' : 'i32';
    const step = value.lanes > 1 ? null : this.#lane !== null ? 0 : this.#step(value);
    // In four iterations at once a register has four values, whatever it starts with.
    if (step === null || (isMutable && this.#isWide && this.#lane === null)) {
      const code = this.four(value);
      f.set(this.#define(name, value.type, 'v128'), code);
    } else {
      const code = this.one(value);
      f.set(this.#define(name, value.type, single, step === 0 ? undefined : step), code);
    }
  }

  #for(s: Stmt & { kind: 'for' }): void {
    const count = s.from.kind === 'const' && s.to.kind === 'const' ? Math.ceil((s.to.value - s.from.value) / s.step) : null;
    if (!this.#isWide && this.#lane === null && s.mode === 'simd' && s.step === 1 && (count === null || count >= laneCount) && canWiden(s))
      this.#wideLoop(s);
    else if (s.mode === 'unrolled' && count !== null && count <= 16) {
      const at = this.#define(s.name, 'index', 'i32');
      this.#natural.add(s.name);
      for (let i = 0; i < count; i++) {
        this.f.set(at, this.one({ ...s.from, value: (s.from as { value: number }).value + i * s.step } as Expr));
        this.#body(s.body);
      }
    } else this.#plainLoop(s, this.one(s.from), this.#end(s.to));
  }

  /** The end of a loop, computed once. */
  #end(to: Expr): Code {
    return to.kind === 'const' ? this.one(to) : this.f.let('i32', this.one(to));
  }

  #plainLoop(s: Stmt & { kind: 'for' }, from: Code, to: Code): void {
    if (this.#isNatural(s.from)) this.#natural.add(s.name);
    else this.#natural.delete(s.name);
    this.f.count(this.#define(s.name, 'index', 'i32'), from, to, s.step, () => this.#body(s.body));
  }

  /** Four iterations at once, then what is left one by one. */
  #wideLoop(s: Stmt & { kind: 'for' }): void {
    const { f } = this;
    const from = s.from.kind === 'const' ? this.one(s.from) : f.let('i32', this.one(s.from));
    const to = this.#end(s.to);
    const count = s.from.kind === 'const' && s.to.kind === 'const' ? s.to.value - s.from.value : null;
    const sums = (s.reduce ?? []).map((r) => {
      const outside = this.#binding(r.name);
      const kind = this.#kinds.get(r.name) ?? 'f';
      const local = f.local('v128');
      f.set(local, kind === 'f' ? f.f4(identity(r.op, kind)) : f.i4(identity(r.op, kind)));
      this.#names.set(r.name, { form: 'four', local });
      return { ...r, kind, local, outside };
    });
    if (this.#isNatural(s.from)) this.#natural.add(s.name);
    else this.#natural.delete(s.name);
    const at = this.#define(s.name, 'index', 'i32', 1);
    const last =
      count === null ? f.let('i32', i32.sub(to, i32.const(laneCount - 1))) : i32.const((s.to as { value: number }).value - laneCount + 1);
    this.#isWide = true;
    f.count(at, from, last, laneCount, () => this.#body(s.body));
    this.#isWide = false;
    for (const { name, op, kind, local, outside } of sums) {
      const form: Form | undefined = (ops[op] as OpRow).one[kind];
      if (!form || outside.form !== 'one') this.#fail(`no ${op} reduction of "${name}"`);
      this.#names.set(name, outside);
      for (let lane = 0; lane < laneCount; lane++)
        f.set(outside.local, form(this, f.get(outside.local), this.#extract(kind, f.get(local), lane)));
    }
    if (count === null || count % laneCount > 0) this.#plainLoop(s, f.get(at), to);
  }

  #if(s: Stmt & { kind: 'if' }): void {
    const { f } = this;
    const otherwise = s.otherwise ?? [];
    if (s.cond.kind === 'const') {
      this.#body(s.cond.value ? s.then : otherwise);
      return;
    }
    if (this.#lane !== null || this.#step(s.cond) === 0) {
      const cond = this.one(s.cond);
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
    const mask = f.let('v128', this.four(s.cond));
    const inLane = (lane: number): Code => {
      this.#lane = lane;
      const [then, not] = [s.then, otherwise].map((body) => f.block(() => this.#body(body)));
      this.#lane = null;
      return when(i4.extract(mask, lane), then, otherwise.length > 0 ? not : []);
    };
    const known = new Map(this.#names);
    const together = f.block(() => this.#body(s.then));
    for (const [name, binding] of known) this.#names.set(name, binding);
    const apart = f.block(() => {
      for (let lane = 0; lane < laneCount; lane++) f.push(inLane(lane));
    });
    f.push(when(i4.allTrue(mask), together, otherwise.length > 0 ? apart : when(v128.anyTrue(mask), apart)));
  }

  #store(buffer: string, index: Expr, value: Expr): void {
    const { dtype } = this.#place(buffer);
    const kind = kinds[dtype];
    const isVector = value.lanes > 1;
    if (!isVector && (!this.#isWide || this.#lane !== null)) {
      this.f.push(
        storeOne(dtype, this.#address(buffer, index), this.#convertOne(this.one(value), value.type, arithmeticOf(kind)), this.math),
      );
      return;
    }
    const x = this.#convertFour(this.four(value), value.type, arithmeticOf(kind));
    const width = isVector ? value.lanes : laneCount;
    if (isVector || isStepOne(this.#step(index))) {
      const code = storeFour(dtype, this.#address(buffer, index), x, width, this.math, this.f);
      if (code !== null) {
        this.f.push(code);
        return;
      }
    }
    const all = this.f.let('v128', x);
    for (let lane = 0; lane < width; lane++) {
      if (!isVector) this.#lane = lane;
      const at = this.#address(buffer, index);
      this.#lane = null;
      const moved = isVector ? { base: at.base, offset: at.offset + lane * dtypes[dtype].bytes } : at;
      this.f.push(storeOne(dtype, moved, this.#extract(kind, all, lane), this.math));
    }
  }

  #transpose(s: Stmt & { kind: 'transpose' }): void {
    if (s.size !== 4) this.#fail(`a transpose of ${s.size} × ${s.size}`);
    const { f } = this;
    const from = f.let('i32', this.#whole(this.#address(s.from, s.base)));
    const to = f.let('i32', this.#whole(this.#address(s.out, s.outBase)));
    const lanes = (...at: number[]): number[] => at.flatMap((l) => [0, 1, 2, 3].map((byte) => 4 * l + byte));
    const mix = (a: Code, b: Code, ...at: number[]): Code => f.let('v128', v128.shuffle(a, b, lanes(...at)));
    const r = [0, 1, 2, 3].map((i) => f.let('v128', loadFrom('load', { base: from, offset: 4 * i * s.stride })));
    const [a, b] = [mix(r[0], r[1], 0, 4, 1, 5), mix(r[0], r[1], 2, 6, 3, 7)];
    const [c, d] = [mix(r[2], r[3], 0, 4, 1, 5), mix(r[2], r[3], 2, 6, 3, 7)];
    const rows = [mix(a, c, 0, 1, 4, 5), mix(a, c, 2, 3, 6, 7), mix(b, d, 0, 1, 4, 5), mix(b, d, 2, 3, 6, 7)];
    for (const [j, row] of rows.entries()) f.push(storeTo('store', { base: to, offset: 4 * j * s.outStride }, row));
  }

  #argsort(s: Stmt & { kind: 'argsort' }): void {
    const { f } = this;
    const kind = kinds[s.key.type];
    const words = this.#scratchAt(s);
    const at = this.#define(s.name, 'index', 'i32');
    this.#natural.add(s.name);
    const word = (i: Code): Address => ({ base: i32.add(words, i32.shl(i, i32.const(3))), offset: 0 });
    f.count(at, i32.const(0), i32.const(s.length), 1, () => {
      const ascending = this.math.sortKey(kind === 'l' ? 'u' : kind, this.one(s.key));
      const key = s.descending ? i32.xor(ascending, i32.const(-1)) : ascending;
      f.push(storeTo('i64Store', word(f.get(at)), i64.or(i64.shl(i64.extendU(key), i64.const(32)), i64.extendU(f.get(at)))));
    });
    f.push(this.math.sort(words, i32.add(words, i32.const(8 * s.length)), i32.const(s.length)));
    const out = f.let('i32', this.#whole(this.#address(s.out, s.outBase)));
    f.count(at, i32.const(0), i32.const(s.length), 1, () => {
      const to = { base: i32.add(out, i32.mul(f.get(at), i32.const(4 * s.outStride))), offset: 0 };
      f.push(storeTo('i32Store', to, loadFrom('i32Load', word(f.get(at)))));
    });
  }

  // ---- places

  #place(name: string): Place {
    return this.#places.get(name) ?? this.#fail(`no array "${name}"`);
  }
  #binding(name: string): Binding {
    return this.#names.get(name) ?? this.#fail(`"${name}" is not defined`);
  }
  #whole({ base, offset }: Address): Code {
    return offset === 0 ? base : i32.add(base, i32.const(offset));
  }

  /** Of an element: the constant part of an index goes into the instruction, where what is left cannot be negative. */
  #address(buffer: string, index: Expr): Address {
    const { dtype, pointer } = this.#place(buffer);
    const { bytes } = dtypes[dtype];
    const [rest, constant] = constantPart(index);
    if (rest === null)
      return constant >= 0
        ? { base: pointer, offset: constant * bytes }
        : { base: i32.add(pointer, i32.const(constant * bytes)), offset: 0 };
    const scaled = (e: Expr): Code => (bytes === 1 ? this.one(e) : i32.shl(this.one(e), i32.const(bytes === 4 ? 2 : 1)));
    if (constant > 0 && constant * bytes < 2 ** 30 && this.#isNatural(rest))
      return { base: i32.add(pointer, scaled(rest)), offset: constant * bytes };
    const base = i32.add(pointer, scaled(rest));
    return { base: constant === 0 ? base : i32.add(base, i32.const(constant * bytes)), offset: 0 };
  }

  // ---- how values differ from lane to lane

  /** 0: the same in all lanes; another number: an index that grows by it; null: anything else. */
  #step(e: Expr): number | null {
    if (!this.#isWide || this.#lane !== null) return e.lanes > 1 ? null : 0;
    switch (e.kind) {
      case 'const':
        return 0;
      case 'var': {
        const binding = this.#binding(e.name);
        return binding.form === 'one' ? 0 : binding.form === 'affine' ? binding.step : null;
      }
      case 'load':
        return this.#step(e.index) === 0 ? 0 : null;
      case 'op':
        return stepOfOp(e, (a) => this.#step(a));
      case 'cast': {
        const step = this.#step(e.x);
        return step === 0 || (step !== null && e.type === 'index') ? step : null;
      }
      case 'splat':
        return this.#step(e.x);
      case 'fma':
        return [e.a, e.b, e.c].every((a) => this.#step(a) === 0) ? 0 : null;
      case 'random':
        return [e.counter, e.step, e.key0, e.key1].every((a) => this.#step(a) === 0) ? 0 : null;
    }
  }

  #isNatural(e: Expr): boolean {
    if (e.type !== 'index') return false;
    if (e.kind === 'const') return e.value >= 0;
    if (e.kind === 'var') return this.#natural.has(e.name);
    if (e.kind === 'cast') return ['u', 'b'].includes(kinds[e.x.type]);
    if (e.kind !== 'op') return false;
    const args = e.op === 'select' ? e.args.slice(1) : e.args;
    if (e.op === 'max') return args.some((a) => this.#isNatural(a));
    if (e.op === 'mod') return args[1].kind === 'const' && args[1].value > 0;
    return ['add', 'mul', 'idiv', 'min', 'select'].includes(e.op) && args.every((a) => this.#isNatural(a));
  }

  // ---- one value

  /** The value in the lane being written; outside of one, the value that all lanes have, or an index's first. */
  one(e: Expr): Code {
    const { f } = this;
    switch (e.kind) {
      case 'const':
        return kinds[e.type] === 'f' ? f32.const(Math.fround(e.value)) : i32.const(e.value);
      case 'var': {
        const binding = this.#binding(e.name);
        if (binding.form === 'one') return f.get(binding.local);
        if (binding.form === 'affine') {
          const first = f.get(binding.local);
          return this.#lane ? i32.add(first, i32.const(this.#lane * binding.step)) : first;
        }
        if (this.#lane === null) this.#fail(`"${e.name}" is a vector where one value is wanted`);
        return this.#extract(kinds[e.type], f.get(binding.local), this.#lane);
      }
      case 'load':
        return loadOne(this.#place(e.buffer).dtype, this.#address(e.buffer, e.index), this.math);
      case 'op':
        return this.#opOne(e);
      case 'cast':
        return this.#convertOne(this.one(e.x), e.x.type, e.type);
      case 'splat':
        return this.one(e.x);
      case 'fma':
        return f32.add(f32.mul(this.one(e.a), this.one(e.b)), this.one(e.c));
      case 'random':
        return this.math.random(this.one(e.counter), this.one(e.step), i32.const(e.stream), this.one(e.key0), this.one(e.key1));
    }
  }

  #opOne(e: Expr & { kind: 'op' }): Code {
    const kind = kinds[e.args[e.args.length - 1].type];
    const args = e.args.map((a) => this.one(a));
    if (kind === 'l' && (e.op === 'idiv' || e.op === 'mod')) {
      const divisor = e.args[1];
      if (divisor.kind === 'const' && divisor.value > 0 && this.#isNatural(e.args[0]))
        return (e.op === 'idiv' ? i32.divU : i32.remU)(args[0], args[1]);
    }
    const form: Form | undefined = (ops[e.op] as OpRow).one[kind];
    if (!form) this.#fail(`${e.op} of ${e.args[e.args.length - 1].type}`);
    return form(this, ...args);
  }

  #convertOne(x: Code, from: ValueType, to: ValueType): Code {
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
        return f4.extract(this.math.of('fromF16', this.math.of('toF16', f4.splat(wide))), 0);
      case 'bf16':
        return f4.extract(i4.shl(this.math.of('toBf16', f4.splat(wide)), i32.const(16)), 0);
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
  #extract(kind: Kind, x: Code, lane: number): Code {
    if (kind === 'f') return f4.extract(x, lane);
    return kind === 'b' ? i32.and(i4.extract(x, lane), i32.const(1)) : i4.extract(x, lane);
  }
  #replace(kind: Kind, x: Code, lane: number, value: Code): Code {
    return kind === 'f' ? f4.replace(x, lane, value) : i4.replace(x, lane, kind === 'b' ? i32.sub(i32.const(0), value) : value);
  }
  /** Four values made one after another. */
  #byLanes(kind: Kind, make: (lane: number) => Code, count = laneCount): Code {
    let all = this.#splat(kind, make(0));
    for (let lane = 1; lane < count; lane++) all = this.#replace(kind, all, lane, make(lane));
    return all;
  }
  #eachLane(e: Expr): Code {
    return this.#byLanes(kinds[e.type], (lane) => {
      this.#lane = lane;
      const code = this.one(e);
      this.#lane = null;
      return code;
    });
  }

  /** The values in all lanes. */
  four(e: Expr): Code {
    const { f } = this;
    const kind = kinds[e.type];
    const step = this.#step(e);
    if (step === 0) return this.#spread(e, kind);
    if (step !== null) {
      const apart = isStepOne(step) ? f.lanes() : i4.mul(f.lanes(), f.i4(step));
      return i4.add(i4.splat(this.one(e)), apart);
    }
    switch (e.kind) {
      case 'var':
        return f.get(this.#binding(e.name).local);
      case 'load': {
        const { dtype } = this.#place(e.buffer);
        const isVector = e.lanes > 1;
        if (isVector || isStepOne(this.#step(e.index))) {
          const at = this.#address(e.buffer, e.index);
          const code = loadFour(dtype, at, isVector ? e.lanes : laneCount, this.math, f);
          if (code !== null) return code;
          const base = f.let('i32', this.#whole(at));
          return this.#byLanes(
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
        return this.#convertFour(this.four(e.x), e.x.type, e.type);
      case 'splat':
        return this.#spread(e.x, kind);
      case 'fma': {
        const [a, b, c] = [this.four(e.a), this.four(e.b), this.four(e.c)];
        return this.math.isFused ? f4.madd(a, b, c) : f4.add(f4.mul(a, b), c);
      }
      case 'random': {
        const keys = [this.one(e.step), i32.const(e.stream), this.one(e.key0), this.one(e.key1)] as [Code, Code, Code, Code];
        return isStepOne(this.#step(e.counter)) ? this.math.randoms(this.one(e.counter), ...keys) : this.#eachLane(e);
      }
      default:
        return this.#fail(`a vector of ${e.kind}`);
    }
  }

  /** One value in all lanes. */
  #spread(e: Expr, kind: Kind): Code {
    if (e.kind === 'splat') return this.#spread(e.x, kind);
    if (e.kind === 'const') return kind === 'f' ? this.f.f4(Math.fround(e.value)) : this.f.i4(kind === 'b' && e.value ? -1 : e.value);
    if (e.kind === 'load' && ['f32', 'i32', 'u32'].includes(this.#place(e.buffer).dtype))
      return loadFrom('load32Splat', this.#address(e.buffer, e.index));
    return this.#splat(kind, this.one(e));
  }

  #opFour(e: Expr & { kind: 'op' }): Code {
    const { f } = this;
    const last = e.args[e.args.length - 1];
    const kind = kinds[last.type];
    const row: OpRow = ops[e.op];
    if ((e.op === 'shl' || e.op === 'shr') && this.#step(last) === 0)
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
    if (!one) this.#fail(`${e.op} of ${last.type}`);
    const args = e.args.map((a) => ({ kind: kinds[a.type], x: f.let('v128', this.four(a)) }));
    return this.#byLanes(kinds[e.type], (lane) => one(this, ...args.map((a) => this.#extract(a.kind, a.x, lane))));
  }

  #convertFour(x: Code, from: ValueType, to: ValueType): Code {
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
        return this.math.of('fromF16', this.math.of('toF16', wide));
      case 'bf16':
        return i4.shl(this.math.of('toBf16', wide), i32.const(16));
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

/** The type in which values of a kind are computed. */
const arithmeticOf = (kind: Kind): ValueType => (({ f: 'f32', i: 'i32', u: 'u32', b: 'bool', l: 'index' }) as const)[kind];

/** The sum of an index's constant terms, and what is left (null: nothing). */
function constantPart(e: Expr): [Expr | null, number] {
  if (e.kind === 'const') return [null, e.value];
  if (e.kind !== 'op' || e.op !== 'add') return [e, 0];
  const [a, m] = constantPart(e.args[0]);
  const [b, n] = constantPart(e.args[1]);
  return [a === null ? b : b === null ? a : { ...e, args: [a, b] }, m + n];
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
export function renderWasm(kernel: Kernel, math: WasmMath): WasmFunction {
  return new Renderer(kernel, math).render();
}

/** Bytes of per-thread memory, a multiple of 64, that a call's `scratch` must point to. */
export const wasmScratchBytes = (kernel: Kernel): number => placeLocals(kernel, false).bytes;

export type { WasmModule };
