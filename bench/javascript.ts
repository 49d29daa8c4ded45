/** @file The JavaScript libraries beside Tenon: processes of peers/javascript.mjs in a folder in which they are installed. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Contender, type Measured, summarize } from './measure.js';
import { peerProgram, root } from './paths.js';
import { type Answering, asNumber, PeerProcess } from './peers.js';

/** Their names for people, and the packages of each. */
export const libraries = {
  tfjs: { name: 'TensorFlow.js', packages: ['@tensorflow/tfjs', '@tensorflow/tfjs-backend-wasm'] },
  'jax-js': { name: 'jax-js', packages: ['@jax-js/jax'] },
} as const;
export type Library = keyof typeof libraries;
export type JavascriptTask = 'cnn' | 'gpt' | 'matmul';

export interface PeerOptions {
  readonly peers: boolean;
  readonly javascript?: string;
  readonly say: (line: string) => void;
}

/**
 * The folder that holds the libraries: the one that --javascript names, or bench/peers; null without peers. Those that it lacks are
 * said, with how to install them.
 */
export function findLibraries({ peers, javascript, say }: PeerOptions): { folder: string; found: Library[] } | null {
  if (!peers && javascript === undefined) return null;
  const folder = javascript ?? join(root, 'bench', 'peers');
  const missing = new Set<string>();
  const found = (Object.keys(libraries) as Library[]).filter((library) => {
    const absent = libraries[library].packages.filter((name) => !existsSync(join(folder, 'node_modules', name)));
    for (const name of absent) missing.add(name);
    return absent.length === 0;
  });
  if (missing.size > 0)
    say(`not in ${folder}, so left out: ${[...missing].join(', ')}. npm i --no-save --prefix ${folder} ${[...missing].join(' ')}`);
  return { folder, found };
}

/** The setting of peers/javascript.mjs. */
export interface PeerSetting {
  readonly library: Library;
  readonly task: JavascriptTask;
  readonly batch?: number;
  /** Of TensorFlow.js, where it may have several. */
  readonly threads?: number;
  /** Address of the folder with TensorFlow.js's binaries, in a page. */
  readonly wasmFiles?: string;
}

/** A library's process. */
export async function startLibrary(folder: string, setting: PeerSetting): Promise<Answering> {
  const program = await readFile(peerProgram('javascript.mjs'), 'utf8');
  const args = ['--input-type=module', '-e', program, JSON.stringify(setting)];
  return new PeerProcess(libraries[setting.library].name, process.execPath, args, {}, folder);
}

/** What a library says of itself, for a table. */
export async function describeLibrary(peer: Answering): Promise<{ name: string; configuration: string }> {
  const { version, configuration } = await peer.request({ do: 'hello' });
  return { name: `${peer.name} ${String(version)}`.trim(), configuration: String(configuration) };
}

/** Libraries that take training steps, as contenders; one that doesn't run here is left out with a line. */
export async function stepContenders(folder: string, settings: readonly PeerSetting[], say: (line: string) => void): Promise<Contender[]> {
  const out: Contender[] = [];
  for (const setting of settings) {
    const peer = await startLibrary(folder, setting);
    try {
      const about = await describeLibrary(peer);
      const run = async (steps: number): Promise<number> => 1000 * asNumber((await peer.request({ do: 'run', steps })).seconds, peer.name);
      await run(1);
      out.push({ ...about, isPeer: true, run, close: async () => peer.close() });
    } catch (error) {
      say(`left out: ${peer.name}: ${error instanceof Error ? error.message : String(error)}`);
      peer.close();
    }
  }
  return out;
}

const turns = 3;

/**
 * The CNN's step in the libraries that `folder` holds, a few single steps each after one that nobody counts: they take too long to race
 * with the native device. One that doesn't run is left out with a line.
 */
export async function javascriptRows(folder: string, batch: number, say: (line: string) => void): Promise<Measured[]> {
  const rows: Measured[] = [];
  for (const library of ['tfjs', 'jax-js'] as const) {
    const [contender] = await stepContenders(folder, [{ library, task: 'cnn', batch }], say);
    if (!contender) continue;
    const times: number[] = [];
    for (let i = 0; i < turns; i++) {
      times.push(await contender.run(1));
      say(`${contender.name}: ${times[i].toFixed(0)} ms`);
    }
    await contender.close?.();
    rows.push(summarize(contender, times, 'ms'));
  }
  return rows;
}
