/**
 * @file Contenders in Chromium: a page that is cross-origin isolated, so that memory can be shared, with a module worker for each. A
 * worker asks this server for a request, answers it, and asks again; nothing but the steps is timed, by the worker's own clock.
 */
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { openChromium } from '../scripts/chromium.js';
import { libraries, type PeerSetting } from './javascript.js';
import { peerProgram, root } from './paths.js';
import { type Answering, isObject, type Json } from './peers.js';

/** A worker that doesn't answer for so long is taken for dead: the largest turn lasts a few seconds. */
const patienceMs = 180_000;
/** A question is answered with nothing after so long, and asked again: no proxy or browser gives up on it. */
const pollMs = 20_000;

const loop = `
const { search } = new URL(import.meta.url);
const ask = async () => {
  const response = await fetch('/next' + search);
  if (response.status !== 200) return;
  const reply = await answerRequest(await response.json());
  await fetch('/reply' + search, { method: 'POST', body: JSON.stringify(reply) });
};
for (;;) await ask();
`;

/** Bundles a worker's program, which exports answerRequest; packages are looked for in `folder`. */
async function bundle(file: string, folder: string): Promise<string> {
  const { build } = await import('esbuild');
  const stdin = { contents: `import { answerRequest } from ${JSON.stringify(file)};${loop}`, resolveDir: folder };
  // Not minified: TensorFlow.js and Tenon send functions as text to their workers.
  const result = await build({
    stdin,
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    nodePaths: [join(folder, 'node_modules')],
    // What only Node has, behind dynamic imports that no page reaches.
    external: ['node:*', '*-node.js', 'koffi'],
    logLevel: 'silent',
  });
  return result.outputFiles[0].text;
}

/** A worker of the page. Its address's query is its setting, and its name to the server. */
class BrowserWorker implements Answering {
  readonly name: string;
  readonly #queue: { text: string; resolve: (reply: Json) => void; reject: (error: Error) => void }[] = [];
  #asking: ServerResponse | null = null;
  #gone: Error | null = null;

  constructor(name: string) {
    this.name = name;
  }
  request(request: Json): Promise<Json> {
    return new Promise((resolve, reject) => {
      if (this.#gone) {
        reject(this.#gone);
        return;
      }
      const timer = setTimeout(() => this.fail(`no answer in ${patienceMs / 1000} s`), patienceMs);
      const entry = {
        text: JSON.stringify(request),
        resolve: (reply: Json) => {
          clearTimeout(timer);
          resolve(reply);
        },
        reject: (error: Error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
      this.#queue.push(entry);
      if (this.#queue.length === 1) this.#send();
    });
  }
  /** The worker waits for a request. */
  asks(response: ServerResponse): void {
    this.#asking = response;
    setTimeout(() => {
      if (this.#asking !== response) return;
      this.#asking = null;
      response.writeHead(204).end();
    }, pollMs).unref();
    this.#send();
  }
  answers(text: string): void {
    const entry = this.#queue.shift();
    const reply: unknown = JSON.parse(text);
    if (!isObject(reply)) entry?.reject(new Error(`${this.name}: expected an object, received ${text}.`));
    else if (typeof reply.error === 'string') entry?.reject(new Error(`${this.name}: ${reply.error}`));
    else entry?.resolve(reply);
    this.#send();
  }
  fail(why: string): void {
    this.#gone ??= new Error(`${this.name}: ${why}`);
    for (const { reject } of this.#queue.splice(0)) reject(this.#gone);
  }
  close(): void {
    this.fail('closed');
  }
  #send(): void {
    if (!this.#asking || this.#queue.length === 0) return;
    this.#asking.writeHead(200, { 'content-type': 'application/json' }).end(this.#queue[0].text);
    this.#asking = null;
  }
}

/** One worker of the page: Tenon on a device, or a library. */
export type WorkerSetting = { readonly library: 'tenon'; readonly device: string } | PeerSetting;

export interface Browser {
  /** As the browser names itself, such as `Chrome 140`. */
  version(): string;
  /** In the order of the settings. */
  readonly workers: readonly Answering[];
  close(): Promise<void>;
}

/** Opens a page with a worker for each setting. `folder` has the libraries. */
export async function openBrowser(program: string, settings: readonly WorkerSetting[], folder: string): Promise<Browser> {
  const peerFiles = join(folder, 'node_modules', '@tensorflow', 'tfjs-backend-wasm', 'dist');
  const scripts = new Map<string, string>();
  if (settings.some((s) => s.library === 'tenon'))
    scripts.set('/tenon.js', await bundle(join(root, 'dist-tools', 'bench', 'browser-tenon.js'), root));
  if (settings.some((s) => s.library !== 'tenon')) scripts.set('/peer.js', await bundle(peerProgram('javascript.mjs'), folder));
  const queries = settings.map((s) => encodeURIComponent(JSON.stringify(s)));
  const workers = settings.map((s) => new BrowserWorker(s.library === 'tenon' ? 'Tenon' : libraries[s.library].name));
  const addresses = settings.map((s, i) => `/${s.library === 'tenon' ? 'tenon' : 'peer'}.js?${queries[i]}`);
  const page = `<!doctype html><title>bench</title><script type="module">
for (const address of ${JSON.stringify(addresses)}) {
  const worker = new Worker(address, { type: 'module' });
  worker.onerror = (e) => fetch('/failed?' + address.split('?')[1], { method: 'POST', body: e.message || 'the worker does not start' });
}
</script>`;
  let agent = '';
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const [path, query] = (request.url ?? '/').split('?');
    agent = request.headers['user-agent'] ?? agent;
    response.setHeader('cross-origin-opener-policy', 'same-origin');
    response.setHeader('cross-origin-embedder-policy', 'require-corp');
    response.setHeader('cross-origin-resource-policy', 'same-origin');
    response.setHeader('cache-control', 'no-store');
    const worker = workers[queries.indexOf(query ?? '')];
    const send = (text: string | Buffer, type: string): void => void response.writeHead(200, { 'content-type': type }).end(text);
    if (path === '/next' && worker) return worker.asks(response);
    if ((path === '/reply' || path === '/failed') && worker) {
      const text = await bodyOf(request);
      if (path === '/reply') worker.answers(text);
      else worker.fail(text);
      return send('', 'text/plain');
    }
    if (path === '/') return send(page, 'text/html');
    const script = scripts.get(path);
    if (script !== undefined) return send(script, 'text/javascript');
    const file = /^\/peers\/([\w-]+\.wasm)$/.exec(path)?.[1];
    const bytes = file === undefined ? null : await readFile(join(peerFiles, file)).catch(() => null);
    if (bytes) send(bytes, 'application/wasm');
    else response.writeHead(404).end();
  };
  const server = createServer((request, response) => {
    answer(request, response).catch((error: Error) => response.writeHead(500).end(error.message));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const chromium = openChromium(program, `http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  chromium.ended.catch((error: Error) => {
    for (const worker of workers) worker.fail(error.message);
  });
  return {
    version: () => /(?:Headless)?(Chrome\/\d+)/.exec(agent)?.[1].replace('/', ' ') ?? 'Chromium',
    workers,
    async close() {
      await chromium.close();
      server.closeAllConnections();
      server.close();
    },
  };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of request.setEncoding('utf8')) text += String(part);
  return text;
}
