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

/** Data cache of a core, as Linux's files or a command of the system tell. */
function cacheBytes({ fs, childProcess }: NodeModules, level: 1 | 2, otherwise: number): number {
  const folder = '/sys/devices/system/cpu/cpu0/cache';
  try {
    for (const entry of fs.readdirSync(folder)) {
      const read = (name: string) => fs.readFileSync(`${folder}/${entry}/${name}`, 'utf8').trim();
      if (!entry.startsWith('index') || Number(read('level')) !== level || read('type') === 'Instruction') continue;
      const size = /^(\d+)K$/.exec(read('size'));
      if (size) return Number(size[1]) * 1024;
    }
  } catch {
    // No such files on this system, or in this virtual machine.
  }
  try {
    const [command, ...args] =
      process.platform === 'darwin'
        ? ['sysctl', '-n', `hw.l${level}${level === 1 ? 'd' : ''}cachesize`]
        : ['getconf', level === 1 ? 'LEVEL1_DCACHE_SIZE' : 'LEVEL2_CACHE_SIZE'];
    const size = Number(childProcess.execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
    if (size >= 4096) return size;
  } catch {
    // Nor such a command.
  }
  return otherwise;
}

export function nativeTarget(modules: NodeModules, level: CpuLevel, threads: number): TargetInfo {
  const { lanes, registers, hasFma } = levels[level];
  return {
    lanes,
    registers,
    hasFma,
    threads,
    l1: cacheBytes(modules, 1, 32 << 10),
    l2: cacheBytes(modules, 2, 512 << 10),
    maxBuffer: 2 ** 40,
  };
}
