/**
 * @file Checks that a Kernel or Program is well formed: names, types, lanes, access, places. Every failure is a bug of
 * compile/, so it is an InternalError that quotes the statement. Run by tests.
 */
import { type DType, dtypes } from '../base/dtype.js';
import { InternalError } from '../base/errors.js';
import type { BufferParam, Expr, Kernel, Stmt, ValueType } from './kernel.js';
import { printExpr } from './print.js';
import type { Program } from './program.js';
import { scalarRow } from './scalar-ops.js';

interface Name {
  readonly type: ValueType;
  readonly lanes: number;
  readonly kind: 'loop' | 'let' | 'mut';
}

const indexOps = new Set(['add', 'sub', 'mul', 'idiv', 'mod', 'max', 'min', 'lt', 'le', 'eq', 'ne', 'select', 'neg']);

/** The type in which a value is computed; a load of i8 and a value of i32 agree. */
function widened(type: ValueType): ValueType {
  return type === 'f16' || type === 'bf16' ? 'f32' : type === 'i8' ? 'i32' : type === 'u8' ? 'u32' : type;
}

class Verifier {
  readonly #label: string;
  readonly #buffers = new Map<string, BufferParam>();
  readonly #locals = new Map<string, { readonly type: DType; readonly size: number }>();
  readonly #names = new Map<string, Name>();

  constructor(kernel: Kernel) {
    this.#label = kernel.label;
    for (const b of kernel.buffers) {
      if (this.#buffers.has(b.name)) this.#fail(`two buffers are named "${b.name}"`);
      this.#identifier(b.name);
      this.#buffers.set(b.name, b);
    }
    if (!Number.isSafeInteger(kernel.grid.extent) || kernel.grid.extent < 0) this.#fail(`grid extent ${kernel.grid.extent}`);
    this.#define(kernel.grid.name, { type: 'index', lanes: 1, kind: 'loop' });
    this.#block(kernel.body);
  }

  #fail(what: string): never {
    throw new InternalError(`kernel "${this.#label}": ${what}.`);
  }

  #identifier(name: string): void {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) this.#fail(`"${name}" is no identifier`);
  }

  /** Names are not shadowed: `let x = x + 1` means something else in every target language. */
  #define(name: string, value: Name): void {
    this.#identifier(name);
    if (this.#names.has(name) || this.#buffers.has(name) || this.#locals.has(name)) this.#fail(`"${name}" is defined twice`);
    this.#names.set(name, value);
  }

  #block(body: readonly Stmt[]): void {
    const added: string[] = [];
    const locals: string[] = [];
    for (const s of body) {
      this.#stmt(s);
      if (s.kind === 'let' || s.kind === 'mut') added.push(s.name);
      if (s.kind === 'local') locals.push(s.name);
    }
    for (const name of added) this.#names.delete(name);
    for (const name of locals) this.#locals.delete(name);
  }

  #index(e: Expr, what: string): void {
    this.#expr(e);
    if (e.type !== 'index' || e.lanes !== 1) this.#fail(`${what} ${printExpr(e)} is ${e.type} of ${e.lanes} lanes, not an index`);
  }

  #stmt(s: Stmt): void {
    switch (s.kind) {
      case 'for':
        this.#index(s.from, `start of loop "${s.name}"`);
        this.#index(s.to, `end of loop "${s.name}"`);
        if (!Number.isSafeInteger(s.step) || s.step < 1) this.#fail(`loop "${s.name}" has step ${s.step}`);
        if (s.mode === 'unrolled' && (s.from.kind !== 'const' || s.to.kind !== 'const'))
          this.#fail(`unrolled loop "${s.name}" has bounds that are not constant`);
        for (const r of s.reduce ?? [])
          if (this.#names.get(r.name)?.kind !== 'mut') this.#fail(`loop "${s.name}" reduces "${r.name}", which is no mut outside it`);
        this.#define(s.name, { type: 'index', lanes: 1, kind: 'loop' });
        this.#block(s.body);
        this.#names.delete(s.name);
        return;
      case 'let':
      case 'mut':
        this.#expr(s.value);
        this.#define(s.name, { type: s.value.type, lanes: s.value.lanes, kind: s.kind });
        return;
      case 'assign': {
        this.#expr(s.value);
        const name = this.#names.get(s.name);
        if (name?.kind !== 'mut') this.#fail(`assignment to "${s.name}", which is no mut`);
        if (widened(name.type) !== widened(s.value.type) || name.lanes !== s.value.lanes)
          this.#fail(`"${s.name}" of ${name.type}×${name.lanes} is assigned ${printExpr(s.value)} of ${s.value.type}×${s.value.lanes}`);
        return;
      }
      case 'store':
        this.#index(s.index, 'index');
        this.#expr(s.value);
        if (s.value.type === 'index') this.#fail(`an index is stored in "${s.buffer}" without a cast`);
        this.#writable(s.buffer);
        return;
      case 'if':
        this.#expr(s.cond);
        if (s.cond.type !== 'bool' || s.cond.lanes !== 1) this.#fail(`condition ${printExpr(s.cond)} is no bool`);
        this.#block(s.then);
        if (s.otherwise) this.#block(s.otherwise);
        return;
      case 'local':
        this.#identifier(s.name);
        if (this.#names.has(s.name) || this.#buffers.has(s.name) || this.#locals.has(s.name)) this.#fail(`"${s.name}" is defined twice`);
        if (!Number.isSafeInteger(s.size) || s.size < 1) this.#fail(`local "${s.name}" has size ${s.size}`);
        this.#locals.set(s.name, s);
        return;
      case 'prefetch':
        this.#index(s.index, 'index of a prefetch');
        if (!this.#buffers.has(s.buffer)) this.#fail(`a prefetch of "${s.buffer}", which is no buffer`);
        return;
      case 'transpose': {
        this.#index(s.base, 'base of a transpose');
        this.#index(s.outBase, 'target of a transpose');
        if (![4, 8, 16].includes(s.size)) this.#fail(`a transpose of ${s.size} × ${s.size}`);
        const from = this.#buffers.get(s.from)?.dtype ?? this.#locals.get(s.from)?.type;
        const to = this.#writable(s.out);
        if (!(from === 'f32' && to === 'f32') && !(from === 'bf16' && to === 'u32' && s.stride % 2 === 0))
          this.#fail(`a transpose from "${s.from}" to "${s.out}", which are not both f32, nor pairs of bf16 and words`);
        return;
      }
      case 'argsort':
        this.#define(s.name, { type: 'index', lanes: 1, kind: 'loop' });
        this.#expr(s.key);
        this.#names.delete(s.name);
        if (s.key.lanes !== 1 || s.key.type === 'index') this.#fail(`argsort key ${printExpr(s.key)} is no scalar of a dtype`);
        this.#index(s.outBase, 'argsort base');
        if (this.#writable(s.out) !== 'i32') this.#fail(`argsort writes to "${s.out}", which is not i32`);
        return;
    }
  }

  #writable(name: string): DType {
    const param = this.#buffers.get(name);
    if (param?.access === 'read') this.#fail(`buffer "${name}" is read-only and stored to`);
    const dtype = param?.dtype ?? this.#locals.get(name)?.type;
    if (!dtype) this.#fail(`store to unknown array "${name}"`);
    return dtype;
  }

  #expr(e: Expr): void {
    switch (e.kind) {
      case 'const':
        return;
      case 'var': {
        const name = this.#names.get(e.name);
        if (!name) this.#fail(`"${e.name}" is not defined`);
        if (widened(name.type) !== widened(e.type) || name.lanes !== e.lanes)
          this.#fail(`"${e.name}" is ${name.type}×${name.lanes}, used as ${e.type}×${e.lanes}`);
        return;
      }
      case 'load': {
        this.#index(e.index, 'index');
        const param = this.#buffers.get(e.buffer);
        const dtype = param?.dtype ?? this.#locals.get(e.buffer)?.type;
        if (!dtype) this.#fail(`load from unknown array "${e.buffer}"`);
        if (param?.access === 'write') this.#fail(`buffer "${e.buffer}" is write-only and loaded`);
        if (e.type !== dtype && e.type !== widened(dtype)) this.#fail(`load of ${e.type} from "${e.buffer}" of ${dtype}`);
        return;
      }
      case 'op': {
        const row = scalarRow(e.op);
        if (e.args.length !== row.arity) this.#fail(`${e.op} of ${e.args.length} arguments`);
        for (const a of e.args) this.#expr(a);
        const values = e.op === 'select' ? e.args.slice(1) : e.args;
        const type = widened(values[0].type);
        if (values.some((a) => widened(a.type) !== type)) this.#fail(`operands of unlike types in ${printExpr(e)}`);
        if (e.args.some((a) => a.lanes !== e.lanes)) this.#fail(`operands of unlike lanes in ${printExpr(e)}`);
        if (e.op === 'select' && e.args[0].type !== 'bool') this.#fail(`condition of ${printExpr(e)} is no bool`);
        if (widened(e.type) !== (row.out === 'bool' ? 'bool' : type)) this.#fail(`${printExpr(e)} has type ${e.type}`);
        if (type === 'index' && !indexOps.has(e.op)) this.#fail(`${e.op} on an index in ${printExpr(e)}`);
        return;
      }
      case 'cast':
        this.#expr(e.x);
        if (e.x.lanes !== e.lanes) this.#fail(`cast changes lanes in ${printExpr(e)}`);
        return;
      case 'splat':
        this.#expr(e.x);
        if (e.x.lanes !== 1 || e.x.type !== e.type) this.#fail(`splat of a vector or to another type in ${printExpr(e)}`);
        return;
      case 'fma':
        for (const a of [e.a, e.b, e.c]) {
          this.#expr(a);
          if (widened(a.type) !== 'f32' || a.lanes !== e.lanes) this.#fail(`fma of ${a.type}×${a.lanes} in ${printExpr(e)}`);
        }
        return;
      case 'pairs': {
        this.#index(e.index, 'index');
        const dtype = this.#buffers.get(e.buffer)?.dtype ?? this.#locals.get(e.buffer)?.type;
        if (dtype !== 'bf16') this.#fail(`pairs from "${e.buffer}", which is not bf16`);
        return;
      }
      case 'pack2':
        for (const a of [e.low, e.high]) {
          this.#expr(a);
          if (widened(a.type) !== 'f32' || a.lanes !== e.lanes) this.#fail(`pack2 of ${a.type}×${a.lanes} in ${printExpr(e)}`);
        }
        return;
      case 'dot2':
        for (const a of [e.a, e.b, e.c]) {
          this.#expr(a);
          if (a.type !== (a === e.c ? 'f32' : 'u32') || a.lanes !== e.lanes) this.#fail(`dot2 of ${a.type}×${a.lanes} in ${printExpr(e)}`);
        }
        return;
      case 'lookup': {
        this.#expr(e.x);
        if (e.x.type !== 'i32' || e.x.lanes !== e.lanes) this.#fail(`positions of ${printExpr(e)} are not i32×${e.lanes}`);
        if (this.#buffers.get(e.buffer)?.dtype !== 'f32') this.#fail(`lookup in "${e.buffer}", which is no f32 buffer`);
        return;
      }
      case 'random':
        this.#index(e.counter, 'random counter');
        for (const a of [e.step, e.key0, e.key1]) {
          this.#expr(a);
          if (a.type !== 'u32' || a.lanes !== 1) this.#fail(`${printExpr(a)} in random is no u32`);
        }
    }
  }
}

/** Throws InternalError if the kernel is malformed. */
export function verifyKernel(kernel: Kernel): void {
  new Verifier(kernel);
}

const verified = new WeakSet<Kernel>();

/** Throws InternalError if a kernel, a place or an argument list is malformed. */
export function verifyProgram(program: Program): void {
  program.buffers.forEach((b, i) => {
    const fail = (what: string): never => {
      throw new InternalError(`program: buffer ${i} ${what}.`);
    };
    const bytes = b.size * dtypes[b.dtype].bytes;
    if (!Number.isSafeInteger(b.size) || b.size < 0) fail(`has size ${b.size}`);
    switch (b.place.kind) {
      case 'external':
        if (!(b.place.slot >= 0 && b.place.slot < program.externals)) fail(`is external slot ${b.place.slot} of ${program.externals}`);
        break;
      case 'arena':
        if (b.place.offset % 64 !== 0 || b.place.offset < 0 || b.place.offset + bytes > program.arenaBytes)
          fail(`lies at ${b.place.offset}, ${bytes} bytes, in an arena of ${program.arenaBytes}`);
        break;
      case 'constant':
        if (b.place.data.byteLength < bytes) fail(`needs ${bytes} bytes of constant data, has ${b.place.data.byteLength}`);
    }
  });
  for (const { kernel, buffers } of program.calls) {
    if (!verified.has(kernel)) verifyKernel(kernel);
    verified.add(kernel);
    if (buffers.length !== kernel.buffers.length)
      throw new InternalError(`program: kernel "${kernel.label}" takes ${kernel.buffers.length} buffers, is given ${buffers.length}.`);
    kernel.buffers.forEach((param, i) => {
      const given = program.buffers[buffers[i]];
      if (given?.dtype !== param.dtype)
        throw new InternalError(
          `program: kernel "${kernel.label}" takes ${param.dtype} as "${param.name}", is given ${given?.dtype ?? 'nothing'}.`,
        );
      if (given.place.kind === 'constant' && param.access !== 'read')
        throw new InternalError(`program: kernel "${kernel.label}" writes to a constant as "${param.name}".`);
    });
  }
}
