import { access, mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as hubPackage from '@huggingface/hub';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConfigError, FormatError } from '../../src/base/errors.js';
import { DownloadError } from '../../src/data/datasets/download-node.js';
import { type DownloadModelOptions, downloadModel, type HubProgress, hubCacheDir } from '../../src/llm/hub-node.js';
import { noise } from '../data/datasets/support.js';
import { FakeHub, gitName, sha256 } from './fake-hub.js';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const first = 'a'.repeat(40);
const second = 'b'.repeat(40);
const weights = noise(300_000);
const model = {
  '.gitattributes': text('*.safetensors filter=lfs'),
  'README.md': text('# A model'),
  'config.json': text('{"model_type":"llama"}'),
  'generation_config.json': text('{}'),
  'tokenizer.json': text('{"model":{}}'),
  'tokenizer_config.json': text('{}'),
  'merges.txt': text(''),
  'model.safetensors': weights,
  'consolidated.safetensors': noise(1000, 5),
  'pytorch_model.bin': noise(1000, 6),
  'onnx/model.safetensors': noise(500, 7),
};
const wanted = ['config.json', 'generation_config.json', 'merges.txt', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];

let cacheDir: string;
let hub: FakeHub;
const environment = ['HF_TOKEN', 'HF_HUB_OFFLINE', 'HF_ENDPOINT', 'HF_HOME', 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'XDG_CACHE_HOME'];
beforeEach(async () => {
  for (const name of environment) vi.stubEnv(name, undefined);
  cacheDir = await mkdtemp(join(tmpdir(), 'tenon-hub-'));
  hub = await new FakeHub().open();
  hub.refs.main = { sha: first, files: model };
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.close();
  await rm(cacheDir, { recursive: true, force: true });
});
const download = (options: DownloadModelOptions = {}): Promise<string> =>
  downloadModel('owner/name', { hubUrl: hub.url, cacheDir, ...options });
const cached = (...path: string[]): string => join(cacheDir, 'models--owner--name', ...path);
/** Everything in the cache but folders. */
const inCache = async (): Promise<string[]> => {
  const entries = await readdir(cacheDir, { recursive: true, withFileTypes: true });
  return entries
    .filter((e) => !e.isDirectory())
    .map((e) => join(e.parentPath, e.name).slice(cacheDir.length + 1))
    .sort();
};

describe('downloadModel', () => {
  it("fills the hub's cache: blobs by hash, links in the snapshot, the branch's commit", async () => {
    const folder = await download();
    expect(folder).toBe(cached('snapshots', first));
    expect((await readdir(folder)).sort()).toEqual(wanted);
    for (const name of wanted) {
      const bytes = model[name as keyof typeof model];
      expect(new Uint8Array(await readFile(join(folder, name)))).toEqual(new Uint8Array(bytes));
      const blob = name.endsWith('.safetensors') ? sha256(bytes) : gitName(bytes);
      expect(await readlink(join(folder, name))).toBe(join('..', '..', 'blobs', blob));
    }
    expect(await readFile(cached('refs', 'main'), 'utf8')).toBe(first);
    // As the hub's own tool sees it, and two files with the same content are one blob.
    const scanned = await hubPackage.scanCachedRepo(cached());
    expect(scanned.revisions).toMatchObject([{ commitOid: first, refs: ['main'] }]);
    expect(scanned.revisions[0].files).toHaveLength(wanted.length);
    expect(await readdir(cached('blobs'))).toHaveLength(wanted.length - 1);
  });

  it('fetches nothing again, and reports progress over all files', async () => {
    const seen: HubProgress[] = [];
    await download({ onProgress: (p) => seen.push(p) });
    const total = wanted.reduce((sum, name) => sum + model[name as keyof typeof model].length, 0);
    expect(seen.at(-1)).toMatchObject({ allReceived: total, allTotal: total });
    expect(seen.map((p) => p.allReceived)).toEqual(seen.map((p) => p.allReceived).sort((a, b) => a - b));
    expect(seen.find((p) => p.file === 'model.safetensors')?.total).toBe(weights.length);
    const { length } = hub.requests;
    expect(await download()).toBe(cached('snapshots', first));
    expect(hub.requests.slice(length).every((r) => r.path.startsWith('/api/'))).toBe(true);
  });

  it('goes on where the connection was cut: in a call, and in the next one', async () => {
    const cutAt = 100_000;
    hub.onFile = (bytes, request, response, nth) => {
      if (bytes !== weights || nth > 5) return false;
      const start = Number(/\d+/.exec(request.headers.range ?? '0')?.[0]);
      response.writeHead(start > 0 ? 206 : 200, {
        'content-length': bytes.length - start,
        ...(start > 0 && { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
      });
      // The first one gives the beginning, the others nothing.
      if (start > 0) response.flushHeaders();
      else response.write(bytes.subarray(0, cutAt));
      setTimeout(() => response.destroy(), 50);
      return true;
    };
    await expect(download()).rejects.toThrow(DownloadError);
    await expect(access(cached('refs', 'main'))).rejects.toThrow();
    await expect(download({ offline: true })).rejects.toThrow(ConfigError);
    hub.requests.length = 0;
    const folder = await download();
    expect(new Uint8Array(await readFile(join(folder, 'model.safetensors')))).toEqual(weights);
    const ranges = hub.requests.filter((r) => r.server === 'store' && r.range !== 'bytes=0-0').map((r) => r.range);
    expect(ranges.length).toBeGreaterThan(1);
    expect(new Set(ranges)).toEqual(new Set([`bytes=${cutAt}-`]));
    expect((await inCache()).some((name) => name.endsWith('.part'))).toBe(false);
  });

  it('takes a branch at its new commit, a tag and a commit as they are; fetches only what changed', async () => {
    const old = await download();
    hub.refs.v1 = hub.refs.main;
    hub.refs.main = { sha: second, files: { ...model, 'config.json': text('{"model_type":"qwen2"}') } };
    hub.requests.length = 0;
    const now = await download();
    expect(now).toBe(cached('snapshots', second));
    expect(hub.fetches).toEqual([`/owner/name/resolve/${second}/config.json`]);
    expect(await readFile(join(now, 'config.json'), 'utf8')).toContain('qwen2');
    expect(await readFile(join(old, 'config.json'), 'utf8')).toContain('llama');
    expect(await download({ revision: 'v1' })).toBe(old);
    expect(await download({ revision: first })).toBe(old);
    expect(await readFile(cached('refs', 'main'), 'utf8')).toBe(second);
    expect(await readFile(cached('refs', 'v1'), 'utf8')).toBe(first);
    expect(await readdir(cached('refs'))).toEqual(['main', 'v1']);
    await expect(download({ revision: 'v2' })).rejects.toThrow('no such model, or none of revision "v2"');
  });

  it('takes revisions with slashes', async () => {
    hub.refs['refs/pr/1'] = hub.refs.main;
    await download({ revision: 'refs/pr/1' });
    expect(await readFile(cached('refs', 'refs', 'pr', '1'), 'utf8')).toBe(first);
  });

  it('takes other files on request, in folders too', async () => {
    const folder = await download({ files: ['README.md', 'onnx/*.safetensors'] });
    expect((await readdir(folder, { recursive: true })).sort()).toEqual(['README.md', 'onnx', join('onnx', 'model.safetensors')]);
    expect(await readlink(join(folder, 'onnx', 'model.safetensors'))).toContain(join('..', '..', '..', 'blobs'));
    await expect(download({ files: ['config.json', 'nothing.json'] })).rejects.toThrow(
      'there is no file "nothing.json" in revision "main"',
    );
  });

  it('takes weights of any name where the usual ones are missing', async () => {
    const { 'model.safetensors': _, ...others } = model;
    hub.refs.main = { sha: first, files: others };
    expect(await readdir(await download())).toContain('consolidated.safetensors');
  });

  it('ends at its signal, and a next call goes on', async () => {
    const controller = new AbortController();
    hub.onFile = (bytes, _, response) => {
      if (bytes !== weights) return false;
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, 50_000));
      setTimeout(() => controller.abort(new Error('enough')), 100);
      return true;
    };
    await expect(download({ signal: controller.signal })).rejects.toThrow('enough');
    hub.onFile = () => false;
    hub.requests.length = 0;
    await download();
    expect(hub.requests.find((r) => r.server === 'store' && r.range !== 'bytes=0-0')?.range).toBe('bytes=50000-');
    await expect(download({ signal: controller.signal })).rejects.toThrow('enough');
  });
});

describe('the token', () => {
  it('goes to the hub and to nobody else', async () => {
    hub.token = 'hf_secret';
    await expect(download()).rejects.toThrow(/does not give it \(401\).*set HF_TOKEN/);
    hub.requests.length = 0;
    await download({ token: 'hf_secret' });
    expect(hub.requests.filter((r) => r.server === 'hub').every((r) => r.authorization === 'Bearer hf_secret')).toBe(true);
    const store = hub.requests.filter((r) => r.server === 'store');
    expect(store.length).toBeGreaterThan(0);
    expect(store.every((r) => r.authorization === undefined)).toBe(true);
  });
  it('comes from HF_TOKEN', async () => {
    hub.token = 'hf_secret';
    vi.stubEnv('HF_TOKEN', 'hf_secret');
    vi.stubEnv('HF_ENDPOINT', hub.url);
    expect(await downloadModel('owner/name', { cacheDir })).toBe(cached('snapshots', first));
  });
  it('is not taken when it is none', async () => {
    await expect(download({ token: 'secret' })).rejects.toThrow(ConfigError);
    expect(hub.requests).toEqual([]);
  });
  it('does not follow a listing to another server', async () => {
    hub.onAnswer = (request, response) => {
      if (!request.url?.includes('/tree/')) return false;
      response.writeHead(200, { 'content-type': 'application/json', link: `<${hub.storeUrl}/more>; rel="next"` }).end('[]');
      return true;
    };
    await expect(download({ token: 'hf_secret' })).rejects.toThrow('sends us to another server');
    expect(hub.requests.some((r) => r.server === 'store')).toBe(false);
  });
});

describe('offline', () => {
  it('gives what is in the cache, and asks nobody', async () => {
    const folder = await download();
    hub.requests.length = 0;
    expect(await download({ offline: true })).toBe(folder);
    expect(await download({ offline: true, revision: first })).toBe(folder);
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect(await download()).toBe(folder);
    expect(await download({ files: ['config.json'] })).toBe(folder);
    expect(hub.requests).toEqual([]);
  });
  it('says what the cache lacks', async () => {
    await expect(download({ offline: true })).rejects.toThrow(/revision "main" is not in the cache .*Download it once without offline/);
    const index = { weight_map: { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' } };
    hub.refs.main = {
      sha: first,
      files: {
        'config.json': model['config.json'],
        'model.safetensors.index.json': text(JSON.stringify(index)),
        'model-00001-of-00002.safetensors': noise(100, 1),
        'model-00002-of-00002.safetensors': noise(100, 2),
      },
    };
    await download();
    await expect(download({ offline: true, revision: 'v9' })).rejects.toThrow('revision "v9" is not in the cache');
    await expect(download({ offline: true, revision: second })).rejects.toThrow(ConfigError);
    await expect(download({ offline: true, files: ['README.md'] })).rejects.toThrow('lacks "README.md" of revision "main"');
    expect(await download({ offline: true })).toBe(cached('snapshots', first));
    await rm(cached('blobs', sha256(noise(100, 2))));
    await expect(download({ offline: true })).rejects.toThrow('lacks "model-00002-of-00002.safetensors"');
    await rm(cached('refs', 'main'));
    await writeFile(cached('refs', 'main'), '../../../etc');
    await expect(download({ offline: true })).rejects.toThrow('is not in the cache');
  });
  it('works without the package', async () => {
    const folder = await download();
    vi.doMock('@huggingface/hub', () => {
      throw new Error('Cannot find package');
    });
    vi.resetModules();
    try {
      const fresh = await import('../../src/llm/hub-node.js');
      expect(await fresh.downloadModel('owner/name', { cacheDir, offline: true })).toBe(folder);
      await expect(fresh.downloadModel('owner/name', { cacheDir, hubUrl: hub.url })).rejects.toThrow(
        /needs the package @huggingface\/hub, which is not there .*Run npm install @huggingface\/hub/,
      );
    } finally {
      vi.doUnmock('@huggingface/hub');
      vi.resetModules();
    }
  });
});

it("finds the cache where the hub's own package does", () => {
  for (const set of [
    {},
    { XDG_CACHE_HOME: '/x' },
    { HF_HOME: '/h' },
    { HUGGINGFACE_HUB_CACHE: '/o', HF_HOME: '/h' },
    { HF_HUB_CACHE: '/c', HF_HOME: '/h' },
  ]) {
    for (const name of environment) vi.stubEnv(name, (set as Record<string, string>)[name]);
    expect(hubCacheDir()).toBe(hubPackage.getHFHubCachePath());
  }
});

describe('what the hub says is not believed', () => {
  /** The entry of a file in listings, changed. */
  const lie = (path: string, more: object): void => {
    hub.onList = (entries) => entries.map((e) => (e.path === path ? { ...e, ...more } : e));
  };
  const nothingOutside = async (): Promise<void> => {
    expect((await inCache()).every((name) => name.startsWith('models--owner--name'))).toBe(true);
    expect((await readdir(join(cacheDir, '..'))).filter((name) => name.startsWith('evil'))).toEqual([]);
  };

  it.each([
    '../evil.safetensors',
    '/tmp/evil.safetensors',
    '..\\evil.safetensors',
    'a/../../evil.safetensors',
    'C:evil.safetensors',
    'evil\0.safetensors',
    'e?v#il.safetensors',
    '...',
  ])('a file called %j: refused where it is wanted, left alone where not', async (path) => {
    lie('consolidated.safetensors', { path });
    if (/^[^/]*\.safetensors$/.test(path)) await expect(download()).rejects.toThrow(FormatError);
    else expect((await readdir(await download())).sort()).toEqual(wanted);
    await nothingOutside();
    await expect(download({ files: ['config.json', path] })).rejects.toThrow(ConfigError);
    await expect(download({ files: ['*/*', '*', 'a/*/*/*'] })).rejects.toThrow(/which could leave its folder|there is no file/);
    await nothingOutside();
  });

  it.each<[string, object]>([
    ['no hash', { oid: undefined }],
    ['a path as hash', { oid: '../../../evil' }],
    ['a hash of another kind', { oid: sha256(model['config.json']) }],
    ['a large file without a hash', { lfs: { oid: 'x', size: 5 } }],
    ['half a size', { size: 1.5 }],
    ['a size below 0', { size: -1 }],
    ['no size', { size: undefined }],
    ['a size no configuration has', { size: 1e9 }],
    ['another size', { size: 21 }],
    ['another hash', { oid: 'c'.repeat(40) }],
  ])('%s', async (_, more) => {
    lie('config.json', more);
    await expect(download()).rejects.toThrow(FormatError);
    await expect(access(cached('refs', 'main'))).rejects.toThrow();
    await nothingOutside();
  });

  it('more bytes than there is room for, or than are allowed', async () => {
    await expect(download({ maxBytes: 1000 })).rejects.toThrow(/Expected at most 1000. Raise maxBytes/);
    lie('model.safetensors', { lfs: { oid: sha256(weights), size: 9e15, pointerSize: 1 } });
    await expect(download()).rejects.toThrow(/Expected at most 500000000000\. Raise maxBytes/);
    await expect(download({ maxBytes: 1e18 })).rejects.toThrow(/are to be downloaded, and .* has room for/);
    expect(hub.fetches).toEqual([]);
  });

  it('a commit that is none', async () => {
    hub.refs.main = { sha: '../../evil', files: model };
    await expect(download()).rejects.toThrow('the hub names no commit');
    await nothingOutside();
  });

  it('another content than the hash says, longer, shorter or endless', async () => {
    const other = noise(weights.length, 9);
    for (const bytes of [other, other.subarray(1), Buffer.concat([weights, other])]) {
      hub.onFile = (asked, _, response) => {
        if (asked !== weights) return false;
        response.writeHead(200).end(bytes);
        return true;
      };
      await expect(download()).rejects.toThrow(FormatError);
      await expect(access(cached('blobs', sha256(weights)))).rejects.toThrow();
    }
    hub.onFile = (asked, _, response) => {
      if (asked !== weights) return false;
      response.writeHead(200);
      const more = (): void => {
        if (!response.destroyed) response.write(other, () => setImmediate(more));
      };
      more();
      return true;
    };
    await expect(download()).rejects.toThrow(FormatError);
    expect((await inCache()).some((name) => name.endsWith('.part'))).toBe(false);
  });

  it('a commit that changes under way', async () => {
    hub.onAnswer = (request, response) => {
      if (!request.url?.includes('/resolve/')) return false;
      response.writeHead(206, { etag: '"x"', 'x-repo-commit': second, 'content-range': 'bytes 0-0/5' }).end('x');
      return true;
    };
    await expect(download()).rejects.toThrow('answers with another commit');
  });

  it.each<[string, unknown]>([
    ['no list', { error: 'x' }],
    ['a list of nothing', [null]],
    ['a word', 'x'],
    ['an empty list', []],
  ])('a listing that is %s', async (_, value) => {
    hub.onList = () => value;
    const thrown = await download().catch((error: unknown) => error);
    expect(thrown).toBeInstanceOf(Array.isArray(value) && value.length === 0 ? ConfigError : FormatError);
  });

  it('an answer that is no JSON, has no end, or asks for patience', async () => {
    hub.onAnswer = (_, response) => {
      response.writeHead(200).end('<html>');
      return true;
    };
    await expect(download()).rejects.toThrow(FormatError);
    hub.onAnswer = (_, response) => {
      response.writeHead(200);
      const more = (): void => {
        if (!response.destroyed) response.write(Buffer.alloc(2 ** 20, 32), () => setImmediate(more));
      };
      more();
      return true;
    };
    await expect(download()).rejects.toThrow('an answer of the hub is too long');
    hub.onAnswer = (_, response) => {
      response.writeHead(429).end();
      return true;
    };
    await expect(download()).rejects.toThrow(/the hub answered 429/);
  });

  it('is asked again after a failure of its own, and found to be away', async () => {
    let failures = 2;
    hub.onAnswer = (_, response) => {
      if (failures-- <= 0) return false;
      response.writeHead(503).end();
      return true;
    };
    expect(await download()).toBe(cached('snapshots', first));
    await hub.close();
    await expect(download()).rejects.toThrow(/can't be reached .*offline: true/);
    await expect(download()).rejects.toThrow(DownloadError);
  });
});

describe('the cache', () => {
  it('is mended where a blob is short or gone, and a link is another', async () => {
    const folder = await download();
    await writeFile(cached('blobs', sha256(weights)), 'short');
    await rm(cached('blobs', gitName(model['tokenizer.json'])));
    await rm(join(folder, 'config.json'));
    await writeFile(join(folder, 'config.json'), 'mine');
    hub.requests.length = 0;
    await download();
    expect(new Uint8Array(await readFile(join(folder, 'model.safetensors')))).toEqual(weights);
    expect(await readFile(join(folder, 'config.json'), 'utf8')).toContain('llama');
    expect(hub.fetches).toHaveLength(2);
  });
  it('that can not be written to is said so', async () => {
    await writeFile(join(cacheDir, 'models--owner--name'), 'a file');
    await expect(download()).rejects.toThrow(/the cache .* can't be written to/);
  });
  it('is filled by several at once', async () => {
    await mkdir(cached('blobs'), { recursive: true });
    const folders = await Promise.all([download(), download(), download()]);
    expect(new Set(folders).size).toBe(1);
    expect((await readdir(folders[0])).sort()).toEqual(wanted);
    expect((await inCache()).some((name) => /\.(tmp|part)$/.test(name))).toBe(false);
  });
  it.each(['', 'a/b/c', '../x', 'a/..', 'owner/na me', 'owner/x--y', '/x', 'x/'])('holds no model called %j', async (name) => {
    await expect(downloadModel(name, { cacheDir, hubUrl: hub.url })).rejects.toThrow('this is no name of a model');
    await expect(downloadModel('owner/name', { cacheDir, hubUrl: hub.url, revision: name.includes('..') ? name : '../x' })).rejects.toThrow(
      'is no revision',
    );
    expect(hub.requests).toEqual([]);
  });
});
