/**
 * @file Keeping the folder of compiled objects small: what killed compilers left behind goes, then the objects that were
 * not used for the longest time. The time of an object's last use is its mtime, right to a day.
 */
import { ConfigError } from '../../base/errors.js';
import { host } from '../../base/host.js';
import type { NodeModules } from '../../base/node-modules.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const stamp = 'tidied';

/** TENON_CACHE_LIMIT (MB) in bytes; default 512 MB. Throws ConfigError for what is no size. */
export function cacheLimit(): number {
  const wish = host.environment('TENON_CACHE_LIMIT');
  const megabytes = Number(wish ?? 512);
  if (!(megabytes >= 0))
    throw new ConfigError(`TENON_CACHE_LIMIT: not a size. Expected a number of megabytes ≥ 0, received "${wish}". Leave it out for 512.`);
  return megabytes * 1e6;
}

/** Notes that an object is used, at most once a day. */
export function noteUse({ fs }: NodeModules, object: string): void {
  const now = new Date();
  // A use that could not be noted only makes the object older than it is.
  if (now.getTime() - fs.statSync(object).mtimeMs > DAY) fs.utimes(object, now, now, () => undefined);
}

/**
 * Removes temporaries older than an hour and, while the objects take more than `limit` bytes, the least recently used one with its
 * links. Does nothing when the folder was tidied less than a day ago. Objects used within the hour stay: somebody may be loading them.
 */
export async function tidyFolder({ fs, path }: NodeModules, folder: string, limit: number): Promise<void> {
  const { lstat, readdir, readlink, rm, writeFile } = fs.promises;
  const now = Date.now();
  const at = (name: string): string => path.join(folder, name);
  const last = await lstat(at(stamp)).catch(() => null);
  if (last && Math.abs(now - last.mtimeMs) < DAY) return;
  await writeFile(at(stamp), new Date(now).toISOString());

  const names = await readdir(folder);
  const files = (await Promise.all(names.map(async (name) => ({ name, found: await lstat(at(name)).catch(() => null) })))).flatMap(
    ({ name, found }) => (found ? [{ name, bytes: found.size, isOld: now - found.mtimeMs > HOUR, used: found.mtimeMs }] : []),
  );
  for (const f of files) if (f.name.startsWith('t_') && f.isOld) await rm(at(f.name), { force: true });
  const objects = files.filter((f) => f.name.startsWith('o_')).sort((a, b) => a.used - b.used);
  let bytes = objects.reduce((sum, f) => sum + f.bytes, 0);
  const gone = new Set<string>();
  for (const f of objects) {
    if (bytes <= limit || !f.isOld) break;
    await rm(at(f.name), { force: true });
    bytes -= f.bytes;
    gone.add(f.name);
  }
  if (gone.size === 0) return;
  for (const link of names.filter((n) => n.startsWith('k_'))) {
    const target = await readlink(at(link)).catch(() => '');
    if (gone.has(target)) await rm(at(link), { force: true });
  }
}
