/** @file What the processor can do and how many threads to use, as a TargetInfo. */
import { ConfigError } from '../../base/errors.js';
import { host } from '../../base/host.js';
import type { NodeModules } from '../../base/node-modules.js';
import type { TargetInfo } from '../../kernel/target.js';

/** Instruction sets in ascending order within an architecture. */
const levels = {
  sse2: { architecture: 'x64', lanes: 4, registers: 16, hasFma: false },
  avx2: { architecture: 'x64', lanes: 8, registers: 16, hasFma: true },
  avx512: { architecture: 'x64', lanes: 16, registers: 32, hasFma: true },
  neon: { architecture: 'arm64', lanes: 4, registers: 32, hasFma: true },
  scalar: { architecture: '', lanes: 1, registers: 16, hasFma: false },
} as const;

export type CpuLevel = keyof typeof levels;

/** The processor's feature flags, as Linux or macOS names them, in lower case. */
function features({ fs, childProcess }: NodeModules): Set<string> {
  try {
    if (process.platform === 'darwin') {
      const text = childProcess.execFileSync('sysctl', ['-n', 'machdep.cpu.features', 'machdep.cpu.leaf7_features'], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      return new Set(text.toLowerCase().split(/\s+/));
    }
    return new Set(/^flags\s*:\s*(.*)$/m.exec(fs.readFileSync('/proc/cpuinfo', 'utf8'))?.[1].split(' '));
  } catch {
    return new Set();
  }
}

/** The level to compile for. TENON_CPU lowers it (never raises it). */
export function cpuLevel(modules: NodeModules): CpuLevel {
  let found: CpuLevel = process.arch === 'arm64' ? 'neon' : process.arch === 'x64' ? 'sse2' : 'scalar';
  if (found === 'sse2') {
    const has = features(modules);
    const all = (...names: string[]) => names.every((name) => has.has(name));
    if (all('avx2', 'fma', 'f16c')) found = 'avx2';
    if (found === 'avx2' && all('avx512f', 'avx512bw', 'avx512vl', 'avx512dq', 'avx512cd')) found = 'avx512';
  }
  const wish = host.environment('TENON_CPU');
  if (wish === undefined) return found;
  if (!Object.hasOwn(levels, wish))
    throw new ConfigError(`TENON_CPU: unknown level. Expected one of ${Object.keys(levels).join(', ')}, received "${wish}".`);
  const level = wish as CpuLevel;
  return levels[level].architecture === levels[found].architecture && levels[level].lanes < levels[found].lanes ? level : found;
}

/** TENON_NUM_THREADS, or the physical cores that this process may use. Throws ConfigError for what is no count. */
export function threadCount(): number {
  const wish = host.environment('TENON_NUM_THREADS');
  if (wish === undefined) return host.threads;
  const n = Number(wish);
  if (!Number.isInteger(n) || n < 1 || n > 256)
    throw new ConfigError(`TENON_NUM_THREADS: not a thread count. Expected an integer from 1 to 256, received "${wish}".`);
  return n;
}

/** Bytes of a core's data caches of levels 1 and 2, as Linux's files tell, or, where a virtual machine has none, what AMD's line in cpuinfo does. */
function caches({ fs }: NodeModules): { l1: number; l2: number } {
  const sizes = [32 << 10, 512 << 10];
  try {
    const info = fs.readFileSync('/proc/cpuinfo', 'utf8');
    const line = info.includes('AuthenticAMD') && /^cache size\s*: (\d+) KB$/m.exec(info);
    if (line) sizes[1] = Number(line[1]) * 1024;
    const folder = '/sys/devices/system/cpu/cpu0/cache';
    for (const entry of fs.readdirSync(folder).filter((name) => name.startsWith('index'))) {
      const read = (name: string) => fs.readFileSync(`${folder}/${entry}/${name}`, 'utf8').trim();
      const [level, size] = [Number(read('level')), /^(\d+)K$/.exec(read('size'))];
      if (size && level <= 2 && read('type') !== 'Instruction') sizes[level - 1] = Number(size[1]) * 1024;
    }
  } catch {
    // Other systems: what most processors have.
  }
  return { l1: sizes[0], l2: sizes[1] };
}

export function nativeTarget(modules: NodeModules, level: CpuLevel, threads: number): TargetInfo {
  const { lanes, registers, hasFma } = levels[level];
  return { lanes, registers, hasFma, threads, ...caches(modules), maxBuffer: 2 ** 40 };
}
