/** @file What the processor can do and how many threads to use, as a TargetInfo. */
import { ConfigError } from '../../base/errors.js';
import { host } from '../../base/host.js';
import type { NodeModules } from '../../base/node-modules.js';
import type { TargetInfo } from '../../kernel/target.js';
import type { Koffi } from './binding.js';

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

/** A core's data caches of levels 1 and 2: glibc's names for sysconf, Linux's files, what most processors have. */
const levelsOfCache = [
  { name: 188, file: 'index0', usual: 32 << 10 },
  { name: 191, file: 'index2', usual: 512 << 10 },
];

/** Bytes of a core's data caches: the processor knows them in a virtual machine too, where Linux has no files about them. */
function caches({ fs }: NodeModules, koffi: Koffi): { l1: number; l2: number } {
  const [l1, l2] = levelsOfCache.map(({ name, file, usual }) => {
    try {
      const bytes = process.platform === 'linux' ? Number(koffi.load(null).func('long sysconf(int)')(name)) : 0;
      if (bytes >= 8 << 10) return bytes;
      const size = /^(\d+)K$/m.exec(fs.readFileSync(`/sys/devices/system/cpu/cpu0/cache/${file}/size`, 'utf8'));
      return size ? Number(size[1]) * 1024 : usual;
    } catch {
      return usual;
    }
  });
  return { l1, l2 };
}

/** Whether the processor multiplies pairs of bf16, and is to be used so far. */
const hasBf16Dot = (modules: NodeModules, level: CpuLevel): boolean => level === 'avx512' && features(modules).has('avx512_bf16');

export function nativeTarget(modules: NodeModules, koffi: Koffi, level: CpuLevel, threads: number): TargetInfo {
  const { lanes, registers, hasFma } = levels[level];
  return {
    lanes,
    registers,
    hasFma,
    elements: lanes >= 16 ? 'none' : 'one',
    hasBf16Dot: hasBf16Dot(modules, level),
    threads,
    ...caches(modules, koffi),
    maxBuffer: 2 ** 40,
  };
}
