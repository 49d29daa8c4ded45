/**
 * @file A server that speaks as much of the hub's API as downloads need: revisions, paged listings, files by Git's name, large ones
 * redirected to a second server by SHA-256. Hooks make it cut connections and lie.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
export const gitName = (bytes: Uint8Array): string => createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

export interface Commit {
  readonly sha: string;
  readonly files: Record<string, Uint8Array>;
}
export interface SeenRequest {
  readonly server: 'hub' | 'store';
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}
interface Entry {
  type: string;
  path: string;
  size: number;
  oid?: string;
  lfs?: { oid: string; size: number; pointerSize: number };
}

export class FakeHub {
  /** Branches and tags of owner/name. */
  readonly refs: Record<string, Commit> = {};
  readonly requests: SeenRequest[] = [];
  /** Clients must send it. */
  token: string | null = null;
  /** What a listing says, changed. */
  onList: (entries: Entry[]) => unknown = (entries) => entries;
  /** The answer to a file's request, changed. True: it was answered. */
  onFile: (bytes: Uint8Array, request: IncomingMessage, response: ServerResponse, nth: number) => boolean = () => false;
  /** Of every answer. */
  onAnswer: (request: IncomingMessage, response: ServerResponse) => boolean = () => false;
  readonly #files = new Map<string, number>();
  #hub: Server | undefined;
  #store: Server | undefined;

  /** Of the hub, and of the server that has the large files. */
  url = '';
  storeUrl = '';
  /** Requests for contents, without the first question for size and ETag. */
  get fetches(): string[] {
    return this.requests
      .filter((r) => /resolve|store/.test(r.path) && r.range !== 'bytes=0-0' && !/resolve.*safetensors$/.test(r.path))
      .map((r) => r.path);
  }

  async open(): Promise<this> {
    const urlOf = (server: Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const listen = async (server: Server): Promise<Server> => {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    };
    const seen = (server: 'hub' | 'store', { url = '', headers }: IncomingMessage): void =>
      void this.requests.push({ server, path: url, range: headers.range, authorization: headers.authorization });
    this.#hub = await listen(
      createServer((request, response) => {
        seen('hub', request);
        if (!this.onAnswer(request, response)) this.#answer(request, response);
      }),
    );
    this.#store = await listen(
      createServer((request, response) => {
        seen('store', request);
        const found = this.#commits()
          .flatMap((c) => Object.values(c.files))
          .find((bytes) => request.url === `/store/${sha256(bytes)}`);
        if (found) this.#send(found, request, response, {});
        else response.writeHead(403).end();
      }),
    );
    this.url = urlOf(this.#hub);
    this.storeUrl = urlOf(this.#store);
    return this;
  }
  async close(): Promise<void> {
    for (const server of [this.#hub, this.#store]) {
      await new Promise<void>((resolve) => {
        if (!server) return resolve();
        server.close(() => resolve());
        server.closeAllConnections();
      });
    }
  }

  #commits(): Commit[] {
    return Object.values(this.refs);
  }
  #answer(request: IncomingMessage, response: ServerResponse): unknown {
    const json = (status: number, value: unknown, headers: Record<string, string> = {}): unknown =>
      response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
    if (this.token !== null && request.headers.authorization !== `Bearer ${this.token}`)
      return json(401, { error: 'Invalid username or password.' }, { 'x-error-code': 'GatedRepo' });
    const url = new URL(request.url ?? '', this.url);
    const commitOf = (revision: string): Commit | undefined => this.refs[revision] ?? this.#commits().find((c) => c.sha === revision);
    const notFound = (code: string): unknown => json(404, { error: 'Not found' }, { 'x-error-code': code });
    const [, info] = /^\/api\/models\/owner\/name\/revision\/([^/]+)$/.exec(url.pathname) ?? [];
    if (info !== undefined) {
      const commit = commitOf(decodeURIComponent(info));
      if (!commit) return notFound('RevisionNotFound');
      return json(200, {
        _id: '1',
        id: 'owner/name',
        private: false,
        gated: false,
        downloads: 0,
        likes: 0,
        lastModified: '2026-01-01',
        sha: commit.sha,
      });
    }
    const [, listed, folder = ''] = /^\/api\/models\/owner\/name\/tree\/([0-9a-f]+)\/?(.*)$/.exec(url.pathname) ?? [];
    if (listed !== undefined) {
      const commit = commitOf(listed);
      if (!commit) return notFound('RevisionNotFound');
      return this.#list(commit, folder, url, json);
    }
    const [, revision, path] = /^\/owner\/name\/resolve\/([^/]+)\/(.+)$/.exec(url.pathname) ?? [];
    const commit = revision === undefined ? undefined : commitOf(decodeURIComponent(revision));
    if (!commit) return notFound('RepoNotFound');
    const bytes = commit.files[path];
    if (!bytes) return notFound('EntryNotFound');
    const headers = { 'x-repo-commit': commit.sha };
    if (!path.endsWith('.safetensors')) return this.#send(bytes, request, response, { ...headers, etag: `"${gitName(bytes)}"` });
    const digest = sha256(bytes);
    response.writeHead(302, {
      ...headers,
      location: `${this.storeUrl}/store/${digest}`,
      'x-linked-etag': `"${digest}"`,
      'x-linked-size': bytes.length,
    });
    return response.end();
  }
  /** Three entries a page. */
  #list(
    commit: Commit,
    folder: string,
    url: URL,
    json: (status: number, value: unknown, headers?: Record<string, string>) => unknown,
  ): unknown {
    const isRecursive = url.searchParams.get('recursive') === 'true';
    const entries = Object.entries(commit.files)
      .filter(([path]) => path.startsWith(folder) && (isRecursive || !path.includes('/')))
      .map(([path, bytes]): Entry => {
        const oid = gitName(bytes);
        const size = bytes.length;
        return path.endsWith('.safetensors')
          ? { type: 'file', path, size, oid: gitName(Buffer.from(path)), lfs: { oid: sha256(bytes), size, pointerSize: 130 } }
          : { type: 'file', path, size, oid };
      });
    const changed = this.onList([{ type: 'directory', path: 'onnx', size: 0, oid: gitName(new Uint8Array(0)) }, ...entries]);
    if (!Array.isArray(changed)) return json(200, changed);
    const from = Number(url.searchParams.get('cursor') ?? 0);
    url.searchParams.set('cursor', String(from + 3));
    return json(200, changed.slice(from, from + 3), from + 3 < changed.length ? { link: `<${url.href}>; rel="next"` } : {});
  }
  #send(bytes: Uint8Array, request: IncomingMessage, response: ServerResponse, headers: Record<string, string>): unknown {
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
    if (from === '0' && to === '0') {
      response.writeHead(206, {
        etag: `"${sha256(bytes)}"`,
        ...headers,
        'content-range': `bytes 0-0/${bytes.length}`,
        'content-length': 1,
      });
      return response.end(bytes.subarray(0, 1));
    }
    const key = request.url ?? '';
    const nth = this.#files.get(key) ?? 0;
    this.#files.set(key, nth + 1);
    if (this.onFile(bytes, request, response, nth)) return undefined;
    const start = Number(from ?? 0);
    if (from !== undefined && start >= bytes.length) return response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end();
    const rest = bytes.subarray(start);
    if (from === undefined) response.writeHead(200, { ...headers, 'content-length': rest.length });
    else
      response.writeHead(206, {
        ...headers,
        'content-length': rest.length,
        'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}`,
      });
    return response.end(rest);
  }
}
