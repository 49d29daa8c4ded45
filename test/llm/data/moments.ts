/** @file kill -9 at random moments of tokenizing data files in another process, and what lies on disk afterwards. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect } from 'vitest';
import { randomNumbers } from '../../robustness/command.js';

const library = fileURLToPath(new URL('../../../dist/llm/data/index.js', import.meta.url));

/** Bytes as tokens, and the first run's files as the later ones' data. */
const script = (data: readonly string[], folder: string): string => `
  import { tokenizeFiles } from ${JSON.stringify(pathToFileURL(library).href)};
  const encode = (text) => Int32Array.from(Buffer.from(text));
  const tokenizer = { vocabSize: 256, bosId: 0, eosId: 1, padId: 0, chatTemplate: null, json: 'bytes', encode, renderConversation() {} };
  process.stdout.write('begun');
  const shards = await tokenizeFiles(${JSON.stringify(data)}, tokenizer, { folder: ${JSON.stringify(folder)}, shardBytes: 40_000, documents: 'file' });
  process.stdout.write(' ended ' + shards.count);
`;

/** Runs to its end, or for `after` milliseconds from when it begins. */
function run(data: readonly string[], folder: string, after?: number): Promise<{ out: string; milliseconds: number }> {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script(data, folder)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  let begun = 0;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (begun === 0) {
      begun = performance.now();
      if (after !== undefined) setTimeout(() => child.kill('SIGKILL'), after);
    }
    out += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', () => resolve({ out, milliseconds: performance.now() - begun }));
  });
}

const contents = (folder: string): Map<string, string> =>
  new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name)).toString('base64')]));

/** Kills `count` runs, lets each go on, and compares with one that was left alone. Gives how many were killed before their end. */
export async function killAtRandomMoments(count: number, seed: number): Promise<{ killed: number; shards: number }> {
  if (!existsSync(library)) throw new Error(`${library} is missing. Run: npm run build`);
  const root = mkdtempSync(join(tmpdir(), 'tenon-kill-'));
  try {
    const rows = Array.from({ length: 2000 }, (_, i) =>
      JSON.stringify({ prompt: `question ${i} `, completion: 'answer '.repeat(1 + (i % 40)) }),
    );
    const text = Array.from({ length: 12_000 }, (_, i) => `Line ${i} of one long text.\n`).join('');
    const data = [join(root, 'a.jsonl'), join(root, 'b.txt')];
    writeFileSync(data[0], rows.join('\n'));
    writeFileSync(data[1], text);
    const whole = await run(data, join(root, 'whole'));
    expect(whole.out).toBe('begun ended 2001');
    const expected = contents(join(root, 'whole'));
    const random = randomNumbers(seed);
    let killed = 0;
    for (let i = 0; i < count; i++) {
      const folder = join(root, `run-${i}`);
      // Twice: a run that goes on is killed as well.
      for (let k = 0; k < 2; k++) if (!(await run(data, folder, random() * whole.milliseconds)).out.includes('ended')) killed++;
      expect((await run(data, folder)).out).toBe('begun ended 2001');
      expect(contents(folder)).toEqual(expected);
      rmSync(folder, { recursive: true });
    }
    return { killed, shards: expected.size - 1 };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}
