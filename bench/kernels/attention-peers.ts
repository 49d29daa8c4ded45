/**
 * @file attention() beside the same in steps (dotProductAttention) and beside PyTorch, whole Programs on all threads:
 * `npx vite-node -c vitest.config.ts bench/kernels/attention-peers.ts [python or -] [rounds] [device]`. Minima of alternating rounds, in milliseconds.
 */
import { execFileSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { setDevice } from '../../src/device/registry.js';
import { attention, compileStep, dotProductAttention, type Tensor, tensor, variable, vjp, zeros } from '../../src/tensor/index.js';

const python = process.argv[2] ?? '-';
const rounds = Number(process.argv[3] ?? 40);
const threads = availableParallelism();

interface Entry {
  readonly name: string;
  readonly batch: number;
  readonly queries: number;
  readonly heads: number;
  readonly groups: number;
  readonly keys: number;
  readonly dim: number;
  readonly isTraining: boolean;
}
const entries: Entry[] = [
  { name: 'training, 4×256', batch: 4, queries: 256, keys: 256, isTraining: true },
  { name: 'forward, 4×256', batch: 4, queries: 256, keys: 256, isTraining: false },
  { name: 'training, 12×64, 4 heads of 32', batch: 12, queries: 64, keys: 64, heads: 4, groups: 4, dim: 32, isTraining: true },
  { name: 'training, 8×128, 4 heads of 32', batch: 8, queries: 128, keys: 128, heads: 4, groups: 4, dim: 32, isTraining: true },
  { name: 'decoding, 1×512', batch: 1, queries: 1, keys: 512, isTraining: false },
  { name: 'decoding, 8×512', batch: 8, queries: 1, keys: 512, isTraining: false },
].map((e) => ({ heads: 9, groups: 3, dim: 64, ...e }));

setDevice(process.argv[4] === 'wasm' ? 'wasm' : 'native');
const random = (shape: number[]): Tensor =>
  tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => Math.random() - 0.5),
    { shape },
  );
const best = new Map<string, number>();
const note = (name: string, ms: number): void => void best.set(name, Math.min(ms, best.get(name) ?? Number.POSITIVE_INFINITY));

for (const e of entries) {
  const { batch, queries, heads, groups, keys, dim } = e;
  const [q, dy] = [random([batch, queries, heads, dim]), random([batch, queries, heads, dim])];
  const [k, v] = [random([batch, keys, groups, dim]), random([batch, keys, groups, dim])];
  const intervals = (of: (t: number) => number): Tensor =>
    tensor(
      Int32Array.from({ length: batch * queries }, (_, i) => of(i % queries)),
      { shape: [batch, queries] },
    );
  const options = { first: intervals(() => 0), end: intervals((t) => (queries > 1 ? t + 1 : keys)) };
  const spread = (x: Tensor): Tensor => x.repeat(heads / groups, 2);
  const ways = {
    fused: (a: Tensor, b: Tensor, c: Tensor): Tensor => attention(a, b, c, options),
    'in steps': (a: Tensor, b: Tensor, c: Tensor): Tensor => dotProductAttention(a, spread(b), spread(c), { isCausal: queries > 1 }),
  };
  const steps = Object.entries(ways).map(([name, way]) => {
    // Results stay on the device.
    const kept = [q, q, k, v].map((x) => variable(zeros(x.shape)));
    const whole = (): { outputs: Tensor[] } => {
      const [y, pullback] = vjp(way, q, k, v);
      const results = e.isTraining ? [y, ...pullback(dy)] : [y];
      for (const [i, x] of results.entries()) kept[i].assign(x);
      return { outputs: [] };
    };
    return { name, step: compileStep(whole, []) };
  });
  for (let r = 0; r < rounds; r++)
    for (const { name, step } of steps) {
      const ready = await step;
      const start = performance.now();
      await ready.run([]);
      note(`${e.name}, ${name}`, performance.now() - start);
    }
}

const program = `
import torch, time, sys, torch.nn.functional as F
torch.set_num_threads(${threads})
best = {}
for name, B, T, S, H, G, D, training in ${JSON.stringify(entries.map((e) => [e.name, e.batch, e.queries, e.keys, e.heads, e.groups, e.dim, Number(e.isTraining)]))}:
    q = torch.randn(B, T, H, D, requires_grad=bool(training)); dy = torch.randn(B, T, H, D)
    k, v = [torch.randn(B, S, G, D, requires_grad=bool(training)) for _ in range(2)]
    hidden = torch.triu(torch.ones(T, S, dtype=torch.bool), 1) if T > 1 else None
    def attend():
        a, b, c = [x.transpose(1, 2) for x in (q, k.repeat_interleave(H // G, 2), v.repeat_interleave(H // G, 2))]
        s = a @ b.transpose(2, 3) * D ** -0.5
        if hidden is not None: s = s.masked_fill(hidden, float('-inf'))
        return (torch.softmax(s, -1) @ c).transpose(1, 2)
    def step():
        if training: torch.autograd.grad((attend() * dy).sum(), [q, k, v])
        else:
            with torch.no_grad(): attend().contiguous()
    for r in range(${rounds}):
        t = time.perf_counter(); step(); t = (time.perf_counter() - t) * 1e3
        best[name] = min(t, best.get(name, 1e9))
for name, t in best.items(): print(name + ', PyTorch', t, sep='\\t')
`;
if (python !== '-')
  for (const line of execFileSync(python, ['-c', program], { encoding: 'utf8' }).trim().split('\n')) {
    const [name, ms] = line.split('\t');
    note(name, Number(ms));
  }
for (const e of entries) for (const [name, ms] of best) if (name.startsWith(e.name)) console.log(`${name.padEnd(40)} ${ms.toFixed(3)} ms`);
