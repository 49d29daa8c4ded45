/**
 * @file Compiled objects on disk, in a folder that only its owner may enter. `o_<hash of contents>.so` is an object,
 * `k_<key>` a link to the object that holds the function of that name. Files appear by rename, and an object whose
 * contents no longer match its name is dropped.
 */
import { DeviceError, reasonOf } from '../../base/errors.js';
import { host } from '../../base/host.js';
import { log } from '../../base/log.js';
import type { NodeModules } from '../../base/node-modules.js';
import type { PlanTable } from '../device.js';
import { cacheLimit, noteUse, tidyFolder } from './tidy.js';

export class ObjectCache {
  readonly folder: string;
  readonly #modules: NodeModules;
  readonly #limit = cacheLimit();
  #temporary = 0;
  #isTidied = false;

  /** Opens (and makes) the folder. Throws DeviceError for a folder of someone else, ConfigError for a wrong TENON_CACHE_LIMIT. */
  constructor(modules: NodeModules) {
    this.#modules = modules;
    const wish = host.cacheDirectory() ?? '';
    try {
      this.folder = this.#open(modules.path.join(wish, 'objects'));
    } catch (cause) {
      if (cause instanceof DeviceError || host.environment('TENON_CACHE_DIR') !== undefined) throw this.#refused(wish, cause);
      // A home that cannot be written to: objects of this process alone.
      const folder = modules.fs.mkdtempSync(modules.path.join(modules.os.tmpdir(), 'tenon-'));
      log.notice(`compiled kernels cannot be kept in ${wish}; this process uses ${folder}. Set TENON_CACHE_DIR to a folder of yours.`);
      process.once('exit', () => modules.fs.rmSync(folder, { recursive: true, force: true }));
      this.folder = folder;
    }
  }

  #refused(folder: string, cause: unknown): DeviceError {
    if (cause instanceof DeviceError) return cause;
    const why = reasonOf(cause);
    return new DeviceError(`native: the cache folder ${folder} cannot be used. ${why}. Set TENON_CACHE_DIR to a folder of yours.`, {
      cause,
    });
  }

  #open(folder: string): string {
    const { fs } = this.#modules;
    this.#make(folder);
    const s = fs.lstatSync(folder);
    const user = process.getuid?.();
    if (!s.isDirectory() || (user !== undefined && s.uid !== user))
      throw new DeviceError(
        `native: the cache folder ${folder} is not safe to load code from. Expected a folder owned by this user, ` +
          `received ${s.isDirectory() ? `one of user ${s.uid}` : 'something that is no folder'}. Set TENON_CACHE_DIR to a folder of yours.`,
      );
    if ((s.mode & 0o077) !== 0) fs.chmodSync(folder, 0o700);
    fs.accessSync(folder, fs.constants.W_OK);
    return folder;
  }

  /** Folder by folder: Node's own `recursive: true` never ends where a file system refuses with ENOENT, as /proc does. */
  #make(folder: string): void {
    const { fs, path } = this.#modules;
    if (fs.existsSync(folder)) return;
    const parent = path.dirname(folder);
    if (parent !== folder) this.#make(parent);
    try {
      fs.mkdirSync(folder, { mode: 0o700 });
    } catch (error) {
      // Another process may have been quicker.
      if (!fs.existsSync(folder)) throw error;
    }
  }

  /** A file name that no other process or call uses. */
  temporary(suffix: string): string {
    return this.#modules.path.join(this.folder, `t_${process.pid}_${Date.now().toString(36)}_${this.#temporary++}${suffix}`);
  }

  hash(...parts: (string | Uint8Array)[]): string {
    const h = this.#modules.crypto.createHash('sha256');
    for (const p of parts) h.update(p).update('\0');
    return h.digest('hex').slice(0, 32);
  }

  /** The object that holds `key`, or null; a damaged one is removed. */
  find(key: string, checked: Set<string>): string | null {
    const { fs, path } = this.#modules;
    const link = path.join(this.folder, `k_${key}`);
    let object: string;
    try {
      object = path.join(this.folder, path.basename(fs.readlinkSync(link)));
      if (checked.has(object)) return object;
      if (path.basename(object) === this.#objectName(fs.readFileSync(object))) {
        checked.add(object);
        noteUse(this.#modules, object);
        return object;
      }
      fs.rmSync(object, { force: true });
    } catch {
      // No link, or one to nothing.
    }
    fs.rmSync(link, { force: true });
    return null;
  }

  #objectName(contents: Uint8Array): string {
    return `o_${this.hash(contents)}.so`;
  }

  /** Takes a fresh object in, under the keys that it holds; gives its final path. */
  add(temporary: string, keys: readonly string[]): string {
    const { fs, path } = this.#modules;
    const name = this.#objectName(fs.readFileSync(temporary));
    fs.chmodSync(temporary, 0o700);
    fs.renameSync(temporary, path.join(this.folder, name));
    for (const key of keys) {
      const link = this.temporary('');
      fs.symlinkSync(name, link);
      fs.renameSync(link, path.join(this.folder, `k_${key}`));
    }
    return path.join(this.folder, name);
  }

  /** A table kept beside the objects; what is none, or larger than any of ours, counts as empty. One that can't be written is told once. */
  table(name: string): PlanTable {
    const { fs, path } = this.#modules;
    const file = path.join(this.folder, name);
    const isText = (entry: [string, unknown]): entry is [string, string] => typeof entry[1] === 'string';
    return {
      load: () => {
        try {
          const table: unknown = fs.statSync(file).size > 16 << 20 ? {} : JSON.parse(fs.readFileSync(file, 'utf8'));
          return typeof table === 'object' && table !== null && !Array.isArray(table)
            ? Object.fromEntries(Object.entries(table).filter(isText))
            : {};
        } catch {
          return {};
        }
      },
      save: (plans) => {
        const temporary = this.temporary('.json');
        try {
          fs.writeFileSync(temporary, JSON.stringify(plans), { flush: true });
          fs.renameSync(temporary, file);
        } catch (error) {
          this.discard(temporary);
          log.notice(`measured plans cannot be kept in ${file}: ${error instanceof Error ? error.message : error}`);
        }
      },
    };
  }

  /** Once a process: removes old files in a moment, when nobody waits for kernels. */
  tidyLater(): void {
    if (this.#isTidied) return;
    this.#isTidied = true;
    // A folder that cannot be tidied serves as well as before, and the next process tries again: nobody needs to hear of it.
    const tidy = (): void => void tidyFolder(this.#modules, this.folder, this.#limit).catch(() => undefined);
    setTimeout(tidy, 500).unref();
  }

  discard(file: string): void {
    this.#modules.fs.rmSync(file, { force: true });
  }
}
