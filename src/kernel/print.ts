/**
 * @file The readable text of a Kernel. The same text, without the label, is its identity: two kernels whose buffers,
 * grid and body print alike are one kernel to every cache.
 */
import { spelled } from '../base/dtype.js';
import type { Expr, Kernel, Stmt } from './kernel.js';

const infix: Record<string, string> = {
  add: '+',
  sub: '-',
  mul: '*',
  div: '/',
  idiv: '//',
  mod: '%',
  and: '&',
  or: '|',
  xor: '^',
  shl: '<<',
  shr: '>>',
  lt: '<',
  le: '<=',
  eq: '==',
  ne: '!=',
};

/** One expression on one line. Types are shown where they aren't `index`. */
export function printExpr(e: Expr): string {
  const wide = e.lanes > 1 ? `x${e.lanes}` : '';
  switch (e.kind) {
    case 'const':
      // -0 and 0 are different constants.
      return `${spelled(e.value)}${e.type === 'index' ? '' : `:${e.type}`}`;
    case 'var':
      return e.type === 'index' ? e.name : `${e.name}:${e.type}${wide}`;
    case 'load':
      return `${e.buffer}[${printExpr(e.index)}]:${e.type}${wide}`;
    case 'op': {
      const args = e.args.map(printExpr);
      const text = infix[e.op] ? `(${args[0]} ${infix[e.op]} ${args[1]})` : `${e.op}(${args.join(', ')})`;
      return e.type === 'index' || e.type === 'bool' ? `${text}${wide}` : `${text}:${e.type}${wide}`;
    }
    case 'cast':
      return `${e.type}${wide}(${printExpr(e.x)})`;
    case 'splat':
      return `splat${wide}(${printExpr(e.x)})`;
    case 'fma':
      return `fma${wide}(${printExpr(e.a)}, ${printExpr(e.b)}, ${printExpr(e.c)})`;
    case 'pairs':
      return `pairs ${e.buffer}[${printExpr(e.index)}]${wide}`;
    case 'pack2':
      return `pack2${wide}(${printExpr(e.low)}, ${printExpr(e.high)})`;
    case 'dot2':
      return `dot2${wide}(${printExpr(e.a)}, ${printExpr(e.b)}, ${printExpr(e.c)})`;
    case 'lookup':
      return `${e.buffer}<${e.size}>[${printExpr(e.x)}]:${e.type}${wide}`;
    case 'random':
      return `random(${printExpr(e.counter)}, ${printExpr(e.step)}, stream ${e.stream}, ${printExpr(e.key0)}, ${printExpr(e.key1)})`;
  }
}

function printStmt(s: Stmt, indent: string): string {
  const block = (body: readonly Stmt[]) => body.map((x) => printStmt(x, `${indent}  `)).join('');
  switch (s.kind) {
    case 'for': {
      const mode = s.mode === 'serial' ? '' : ` ${s.mode}`;
      const reduce = s.reduce?.length ? ` reduce(${s.reduce.map((r) => `${r.op} ${r.name}`).join(', ')})` : '';
      const step = s.step === 1 ? '' : ` step ${s.step}`;
      return `${indent}for ${s.name} in ${printExpr(s.from)}..${printExpr(s.to)}${step}${mode}${reduce}\n${block(s.body)}`;
    }
    case 'let':
      return `${indent}let ${s.name} = ${printExpr(s.value)}\n`;
    case 'mut':
      return `${indent}mut ${s.name} = ${printExpr(s.value)}\n`;
    case 'assign':
      return `${indent}${s.name} = ${printExpr(s.value)}\n`;
    case 'store':
      return `${indent}${s.buffer}[${printExpr(s.index)}] = ${printExpr(s.value)}\n`;
    case 'if':
      return `${indent}if ${printExpr(s.cond)}\n${block(s.then)}${s.otherwise?.length ? `${indent}else\n${block(s.otherwise)}` : ''}`;
    case 'local':
      return `${indent}local ${s.name}: ${s.type}[${s.size}]\n`;
    case 'prefetch':
      return `${indent}prefetch ${s.buffer}[${printExpr(s.index)}]\n`;
    case 'transpose':
      return `${indent}transpose ${s.size}×${s.size} ${s.from}[${printExpr(s.base)} + i*${s.stride}] into ${s.out}[${printExpr(s.outBase)} + j*${s.outStride}]\n`;
    case 'argsort':
      return (
        `${indent}argsort ${s.name} < ${s.length}${s.descending ? ' descending' : ''} by ${printExpr(s.key)}` +
        ` into ${s.out}[${printExpr(s.outBase)} + i*${s.outStride}]\n`
      );
  }
}

const identities = new WeakMap<Kernel, string>();

/** The identity of a kernel: all but its label and its estimates. */
export function kernelIdentity(kernel: Kernel): string {
  let text = identities.get(kernel);
  if (text === undefined) {
    const buffers = kernel.buffers.map((b) => `${b.access} ${b.name}: ${b.dtype}`).join(', ');
    text = `kernel(${buffers})\nitem ${kernel.grid.name} < ${kernel.grid.extent}\n${kernel.body.map((s) => printStmt(s, '  ')).join('')}`;
    identities.set(kernel, text);
  }
  return text;
}

/** A kernel for people: label and estimates, then its identity. */
export function printKernel(kernel: Kernel): string {
  return `# ${kernel.label}: ${kernel.flops} flop, ${kernel.bytes} bytes\n${kernelIdentity(kernel)}`;
}
