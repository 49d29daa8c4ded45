/**
 * @file Renders a Kernel as one C function for gcc or clang: `void SYMBOL(void **b, long lo, long hi, void *scratch)`
 * runs the grid's items lo ≤ item < hi. Vectors are GCC's vector extensions, simd loops are `#pragma omp simd`, so no
 * intrinsics header is needed. The translation unit starts with `cPrelude` and is compiled with `cFlags`.
 */
import type { DType } from '../base/dtype.js';
import { dtypes } from '../base/dtype.js';
import { InternalError } from '../base/errors.js';
import type { Expr, Kernel, ReduceOp, Stmt, ValueType } from '../kernel/kernel.js';
import { ops, type Row, reductions, scalarConstant, scalarTypes, storage, storedVector, vectorOps, vectorTypes } from './c-tables.js';
import { vectorWidths } from './c-vectors.js';
import { arithmeticOf, type Kind, kinds } from './kinds.js';
import { placeLocals } from './locals.js';
import { NaturalIndices } from './natural.js';

export { cPrelude } from './c-math.js';
export { cFlags } from './c-tables.js';

class CRenderer {
  readonly #lines: string[] = [];
  readonly #dtype = new Map<string, DType>();
  /** Largest (smallest: with a minus) floats that a simd loop finds as integers. */
  readonly #extremes = new Map<string, '' | '-'>();
  readonly #natural = new NaturalIndices();
  readonly #places: ReadonlyMap<Stmt, number | null>;
  #indent = 1;

  readonly kernel: Kernel;
  readonly symbol: string;

  constructor(kernel: Kernel, symbol: string) {
    this.kernel = kernel;
    this.symbol = symbol;
    this.#places = placeLocals(kernel, true).places;
    for (const b of kernel.buffers) this.#dtype.set(b.name, b.dtype);
  }

  render(): string {
    const { kernel } = this;
    this.#lines.push(`void ${this.symbol}(void **b, long lo, long hi, void *scratch) {`, '  (void)b; (void)scratch;');
    kernel.buffers.forEach((p, i) => {
      const c = `${p.access === 'read' ? 'const ' : ''}${storage[p.dtype]} *`;
      this.#push(`${c}restrict ${this.#name(p.name)} = (${c})b[${i}];`);
    });
    this.#natural.set(kernel.grid.name, true);
    const item = this.#name(kernel.grid.name);
    this.#push(`for (long ${item} = lo; ${item} < hi; ${item}++) {`);
    this.#block(kernel.body);
    this.#push('}');
    this.#lines.push('}');
    return `${this.#lines.join('\n')}\n`;
  }

  #push(line: string): void {
    this.#lines.push('  '.repeat(this.#indent) + line);
  }

  /** C's identifiers never end in `_` here but for a kernel's own, so no name meets a keyword or a helper. */
  #name(name: string): string {
    if (!/^[A-Za-z_]\w*$/.test(name)) throw new InternalError(`renderC: name "${name}" is not an identifier.`);
    return `${name}_`;
  }

  #block(body: readonly Stmt[]): void {
    this.#indent++;
    for (const s of body) this.#statement(s);
    this.#indent--;
  }

  #type(type: ValueType, lanes: number): string {
    const kind = kinds[type];
    if (lanes === 1) return scalarTypes[kind];
    const vector = vectorTypes[kind];
    if (!vector || !(vectorWidths as readonly number[]).includes(lanes)) {
      throw new InternalError(`renderC: no vector of ${lanes} × ${type}. Expected ${vectorWidths.join(', ')} lanes of an arithmetic type.`);
    }
    return `${vector}${lanes}`;
  }

  #statement(s: Stmt): void {
    switch (s.kind) {
      case 'for':
        this.#for(s);
        break;
      case 'let':
      case 'mut':
        this.#natural.set(s.name, s.kind === 'let' && this.#natural.has(s.value));
        this.#push(
          `${s.kind === 'let' ? 'const ' : ''}${this.#type(s.value.type, s.value.lanes)} ${this.#name(s.name)} = ${this.expr(s.value)};`,
        );
        break;
      case 'assign': {
        const name = this.#name(s.name);
        const extreme = this.#extremes.get(s.name);
        if (extreme !== undefined && s.value.kind === 'op' && s.value.args[0].kind === 'var' && s.value.args[0].name === s.name) {
          this.#push(`const int ${name}_at = t_order(${extreme}${this.expr(s.value.args[1])});`);
          this.#push(`${name}_order = ${name}_at > ${name}_order ? ${name}_at : ${name}_order;`);
        } else this.#push(`${name} = ${this.expr(s.value)};`);
        break;
      }
      case 'store':
        this.#store(s.buffer, s.index, s.value);
        break;
      case 'if':
        this.#push(`if (${this.expr(s.cond)}) {`);
        this.#block(s.then);
        if (s.otherwise && s.otherwise.length > 0) {
          this.#push('} else {');
          this.#block(s.otherwise);
        }
        this.#push('}');
        break;
      case 'local': {
        this.#dtype.set(s.name, s.type);
        this.#array(s, storage[s.type], this.#name(s.name), s.size);
        break;
      }
      case 'prefetch':
        this.#push(`__builtin_prefetch(${this.#name(s.buffer)} + ${this.expr(s.index)});`);
        break;
      case 'transpose': {
        const words = this.#element(s.from).dtype === 'bf16';
        const [out, from] = [`${this.#name(s.out)} + ${this.expr(s.outBase)}`, `${this.#name(s.from)} + ${this.expr(s.base)}`];
        this.#push(
          words
            ? `t_transpose${s.size}((float *)(${out}), ${s.outStride}L, (const float *)(${from}), ${s.stride / 2}L);`
            : `t_transpose${s.size}(${out}, ${s.outStride}L, ${from}, ${s.stride}L);`,
        );
        break;
      }
      case 'argsort':
        this.#argsort(s);
        break;
      default:
        s satisfies never;
    }
  }

  #array(s: Stmt, type: string, name: string, size: number): void {
    const at = this.#places.get(s) ?? null;
    if (at === null) this.#push(`${type} ${name}[${Math.max(1, size)}] __attribute__((aligned(64)));`);
    else this.#push(`${type} *restrict ${name} = (${type} *)((char *)scratch + ${at});`);
  }

  #for(s: Stmt & { kind: 'for' }): void {
    const extremes =
      s.mode === 'simd' ? (s.reduce ?? []).filter((r) => (r.op === 'max' || r.op === 'min') && assignedType(s.body, r.name) === 'f32') : [];
    for (const r of extremes) {
      const sign = r.op === 'max' ? '' : '-';
      this.#push(`int ${this.#name(r.name)}_order = t_order(${sign}${this.#name(r.name)});`);
      this.#extremes.set(r.name, sign);
    }
    this.#loop(s);
    for (const r of extremes) {
      this.#push(`${this.#name(r.name)} = ${this.#extremes.get(r.name)}t_unorder(${this.#name(r.name)}_order);`);
      this.#extremes.delete(r.name);
    }
  }

  #loop(s: Stmt & { kind: 'for' }): void {
    const name = this.#name(s.name);
    this.#natural.set(s.name, s.step > 0 && this.#natural.has(s.from));
    if (s.mode === 'unrolled') {
      const [from, to] = [s.from, s.to];
      const count = from.kind === 'const' && to.kind === 'const' ? Math.ceil((to.value - from.value) / s.step) : 4;
      if (count > 1) this.#push(`#pragma GCC unroll ${Math.min(count, 64)}`);
    } else if (s.mode === 'simd') {
      const clauses = (s.reduce ?? []).map((r) => {
        const extreme = this.#extremes.get(r.name);
        return ` reduction(${extreme === undefined ? this.#reduction(r.op, s.body, r.name) : 'max'} : ${this.#name(r.name)}${extreme === undefined ? '' : '_order'})`;
      });
      this.#push(`#pragma omp simd${clauses.join('')}`);
    }
    const test = s.step > 0 ? '<' : '>';
    this.#push(`for (long ${name} = ${this.expr(s.from)}; ${name} ${test} ${this.expr(s.to)}; ${name} += ${s.step}) {`);
    this.#block(s.body);
    this.#push('}');
  }

  #reduction(op: ReduceOp, body: readonly Stmt[], name: string): string {
    const type = assignedType(body, name);
    const kind = type === null ? 'f' : kinds[type];
    const table: Partial<Record<Kind, string>> = reductions[op];
    const symbol = table[kind] ?? (kind === 'b' ? ({ add: '|', mul: '&', max: '|', min: '&' } as const)[op] : undefined);
    if (symbol === undefined) throw new InternalError(`renderC: no ${op} reduction of ${type}.`);
    return symbol;
  }

  #argsort(s: Stmt & { kind: 'argsort' }): void {
    const name = this.#name(s.name);
    const kind = kinds[s.key.type];
    this.#natural.set(s.name, true);
    this.#push('{');
    this.#indent++;
    this.#array(s, 'unsigned long', 'words', 2 * s.length);
    this.#push(`for (long ${name} = 0; ${name} < ${s.length}L; ${name}++) {`);
    const key = `t_key_${kind === 'f' ? 'f' : kind === 'i' ? 'i' : 'u'}(${this.expr(s.key)})`;
    this.#push(`  words[${name}] = ${s.descending ? `(0xffffffffu - ${key})` : key} << 32 | (unsigned long)${name};`);
    this.#push('}');
    this.#push(`t_sort(words, words + ${s.length}L, ${s.length}L);`);
    this.#push(
      `for (long at = 0; at < ${s.length}L; at++) ${this.#name(s.out)}[${this.expr(s.outBase)} + at * ${s.outStride}L] = (int)words[at];`,
    );
    this.#indent--;
    this.#push('}');
  }

  #element(buffer: string): { name: string; dtype: DType } {
    const dtype = this.#dtype.get(buffer);
    if (dtype === undefined) throw new InternalError(`renderC: kernel "${this.kernel.label}" uses the unknown buffer "${buffer}".`);
    return { name: this.#name(buffer), dtype };
  }

  #load(e: Expr & { kind: 'load' }): string {
    const { name, dtype } = this.#element(e.buffer);
    const at = this.expr(e.index);
    const n = e.lanes;
    if (n === 1) {
      const x = `${name}[${at}]`;
      if (dtype === 'f16' || dtype === 'bf16') return `t_${dtype}_load(${x})`;
      return dtype === 'bool' ? `(${x} != 0)` : dtype === 'i8' ? `(int)${x}` : dtype === 'u8' ? `(unsigned)${x}` : x;
    }
    this.#type(e.type, n);
    const raw = `(*(const ${storedVector[dtype]}${n}m *)(${name} + ${at}))`;
    switch (dtype) {
      case 'bf16':
      case 'f16':
      case 'i8':
      case 'u8':
        return `t_load_${dtype}x${n}(${name} + ${at})`;
      case 'bool':
        return `(__builtin_convertvector(${raw}, t_i32x${n}) != 0)`;
      default:
        return raw;
    }
  }

  /** A float's bf16 in the low half of a word. */
  #half(e: Expr): string {
    if (e.kind === 'load') {
      const { name, dtype } = this.#element(e.buffer);
      const at = `${name} + ${this.expr(e.index)}`;
      if (dtype === 'bf16') return e.lanes === 1 ? `(unsigned)*(${at})` : `t_load_u16x${e.lanes}(${at})`;
    }
    return e.lanes === 1 ? `(unsigned)t_bf16_store(${this.expr(e)})` : `t_round_bf16x${e.lanes}(${this.expr(e)})`;
  }

  #store(buffer: string, at: Expr, value: Expr): void {
    const { name, dtype } = this.#element(buffer);
    const n = value.lanes;
    // The narrowing itself is the store's: the value is only brought to the arithmetic type.
    const wide = arithmeticOf(kinds[dtype]);
    const exact = value.kind === 'cast' && value.type === dtype && (dtype === 'bf16' || dtype === 'f16') ? value.x : value;
    const x = kinds[exact.type] === kinds[dtype] ? this.expr(exact) : this.#convert(this.expr(exact), exact.type, wide, n);
    const place = this.expr(at);
    if (n === 1) {
      const stored =
        dtype === 'f16' || dtype === 'bf16' ? `t_${dtype}_store(${x})` : dtypes[dtype].bytes === 1 ? `(${storage[dtype]})(${x})` : x;
      this.#push(`${name}[${place}] = ${stored};`);
      return;
    }
    if (dtype === 'f16' || dtype === 'bf16') {
      this.#push(`t_store_${dtype}x${n}(${name} + ${place}, ${x});`);
      return;
    }
    const memory = `${storedVector[dtype]}${n}`;
    const stored =
      dtype === 'bool'
        ? `__builtin_convertvector(-(${x}), ${memory})`
        : dtypes[dtype].bytes === 1
          ? `__builtin_convertvector(${x}, ${memory})`
          : x;
    this.#push(`*(${memory}m *)(${name} + ${place}) = ${stored};`);
  }

  #convert(x: string, from: ValueType, to: ValueType, n: number): string {
    const [f, t] = [kinds[from], kinds[to]];
    const wide = this.#wide(x, f, t, n);
    if (from === to) return wide;
    if (to === 'f16' || to === 'bf16') return n === 1 ? `t_round_${to}(${wide})` : `t_rounded_${to}x${n}(${wide})`;
    if (to === 'i8') return n === 1 ? `(int)(signed char)(${wide})` : `((${wide} << 24) >> 24)`;
    if (to === 'u8') return n === 1 ? `(unsigned)(unsigned char)(${wide})` : `(${wide} & 255)`;
    return wide;
  }

  /** Conversion between arithmetic kinds. */
  #wide(x: string, f: Kind, t: Kind, n: number): string {
    if (f === t) return x;
    if (n === 1) {
      if (f === 'f') return t === 'l' ? `(long)(${x})` : `t_f2${t}(${x})`;
      return t === 'b' ? `(${x} != 0)` : `(${scalarTypes[t]})(${x})`;
    }
    const type = `${vectorTypes[t]}${n}`;
    if (t === 'b') return f === 'f' ? `({ t_f32x${n} z_ = ${x}; (z_ < 0.0f) | (z_ > 0.0f); })` : `(${x} != 0)`;
    if (f === 'f') return `T_MAPC(t_f32x${n}, ${type}, ${n}, t_f2${t}, ${x})`;
    const number = f === 'b' ? `(-${x})` : x;
    return t === 'f' ? `__builtin_convertvector(${number}, ${type})` : `((${type})${number})`;
  }

  #op(e: Expr & { kind: 'op' }): string {
    const last = e.args[e.args.length - 1];
    const kind = kinds[last.type];
    const args = e.args.map((a) => this.expr(a));
    const row: Row = ops[e.op];
    let form = row[kind];
    if (form === undefined) throw new InternalError(`renderC: ${e.op} is not an operation on ${last.type}.`);
    if (e.lanes > 1) {
      const special = vectorOps[e.op];
      if (special) return special(args, kind, e.lanes);
      if (!form.includes('$')) return `T_MAP${args.length}(${this.#type(last.type, e.lanes)}, ${e.lanes}, ${form}, ${args.join(', ')})`;
    } else if (kind === 'l' && (e.op === 'idiv' || e.op === 'mod')) {
      const divisor = e.args[1];
      if (divisor.kind === 'const' && divisor.value > 0 && this.#natural.has(e.args[0])) form = e.op === 'idiv' ? '$a / $b' : '$a % $b';
    }
    if (!form.includes('$')) return `${form}(${args.join(', ')})`;
    return `(${form.replace(/\$([abc])/g, (_, letter: string) => args[letter.charCodeAt(0) - 97])})`;
  }

  expr(e: Expr): string {
    switch (e.kind) {
      case 'const':
        return scalarConstant(e.type, e.value);
      case 'var':
        return this.#name(e.name);
      case 'load':
        return this.#load(e);
      case 'op':
        return this.#op(e);
      case 'cast':
        return `(${this.#convert(this.expr(e.x), e.x.type, e.type, e.lanes)})`;
      case 'splat': {
        const kind = kinds[e.type];
        const x = kind === 'b' ? `-(${this.expr(e.x)})` : this.expr(e.x);
        return `T_SPLAT${e.lanes}(${scalarTypes[kind]}, ${this.#type(e.type, e.lanes)}, ${x})`;
      }
      case 'fma':
        return `(${this.expr(e.a)} * ${this.expr(e.b)} + ${this.expr(e.c)})`;
      case 'pairs':
        return `(*(const t_u32x${e.lanes}p *)(${this.#element(e.buffer).name} + ${this.expr(e.index)}))`;
      case 'pack2':
        return `(${this.#half(e.low)} | ${this.#half(e.high)} << 16)`;
      case 'dot2':
        return `t_dot2x${e.lanes}(${this.expr(e.a)}, ${this.expr(e.b)}, ${this.expr(e.c)})`;
      case 'lookup': {
        const { name } = this.#element(e.buffer);
        if (e.lanes === 1) return `${name}[${this.expr(e.x)}]`;
        return `t_lookup${e.lanes}${e.size === 16 && e.lanes >= 8 ? '_of16' : ''}(${name}, ${this.expr(e.x)})`;
      }
      case 'random':
        return `t_philox(${this.expr(e.counter)}, (unsigned)(${this.expr(e.step)}), ${e.stream >>> 0}u, (unsigned)(${this.expr(e.key0)}), (unsigned)(${this.expr(e.key1)}))`;
      default:
        return e satisfies never;
    }
  }
}

function assignedType(body: readonly Stmt[], name: string): ValueType | null {
  for (const s of body) {
    if (s.kind === 'assign' && s.name === name) return s.value.type;
    const inner = s.kind === 'for' ? s.body : s.kind === 'if' ? [...s.then, ...(s.otherwise ?? [])] : [];
    const found = assignedType(inner, name);
    if (found !== null) return found;
  }
  return null;
}

/**
 * The C function of a kernel. Buffers are `restrict`: two parameters may share memory only where each element is
 * read before the same element is written (elementwise in place).
 * @throws InternalError when the kernel uses what the Kernel form doesn't allow.
 */
export function renderC(kernel: Kernel, symbol: string): string {
  return new CRenderer(kernel, symbol).render();
}

/** Bytes of per-thread memory, 64-byte aligned, that a call's `scratch` must point to. */
export function cScratchBytes(kernel: Kernel): number {
  return placeLocals(kernel, true).bytes;
}
