import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FormatError } from '../../../src/base/errors.js';
import { DownloadError, type DownloadProgress, downloadFile } from '../../../src/data/datasets/download-node.js';
import { noise, sendFile, serve, sha256, type TestServer } from './support.js';

const bytes = noise(200_000);
let folder: string;
let server: TestServer | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenon-download-'));
});
afterEach(async () => {
  await server?.close();
  server = undefined;
  await rm(folder, { recursive: true, force: true });
});
const start = async (answer: Parameters<typeof serve>[0]): Promise<TestServer> => {
  server = await serve(answer);
  return server;
};
const fetchFrom = (s: TestServer, more: Partial<Parameters<typeof downloadFile>[0]> = {}): Promise<void> =>
  downloadFile({
    url: `${s.address}a.bin`,
    destination: join(folder, 'sub', 'a.bin'),
    sha256: sha256(bytes),
    maxBytes: 1_000_000,
    ...more,
  });
const left = async (): Promise<string[]> => (await readdir(join(folder, 'sub'))).sort();
/** The id of a process that has ended. */
const deadPid = (): number => spawnSync(process.execPath, ['-e', '']).pid;

describe('downloadFile', () => {
  it('makes the folder, reports progress, leaves the file alone there', async () => {
    const seen: DownloadProgress[] = [];
    const s = await start((q, r) => sendFile(bytes, q, r));
    await fetchFrom(s, { onProgress: (p) => seen.push(p) });
    expect(new Uint8Array(await readFile(join(folder, 'sub', 'a.bin')))).toEqual(bytes);
    expect(await left()).toEqual(['a.bin']);
    expect(seen[seen.length - 1]).toEqual({ file: 'a.bin', received: bytes.length, total: bytes.length });
  });
  it('resumes by Range where a connection broke', async () => {
    const s = await start((q, r, n) => {
      if (n > 0) return sendFile(bytes, q, r);
      r.writeHead(200, { 'content-length': bytes.length });
      r.write(bytes.subarray(0, 70_000), () => setTimeout(() => r.destroy(), 20));
    });
    const seen: number[] = [];
    await fetchFrom(s, { onProgress: (p) => seen.push(p.received) });
    expect(s.requests.map((q) => q.range)).toEqual([undefined, 'bytes=70000-']);
    expect(new Uint8Array(await readFile(join(folder, 'sub', 'a.bin')))).toEqual(bytes);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
  });
  it("takes up a dead process's part file, the longest one", async () => {
    const s = await start((q, r) => sendFile(bytes, q, r));
    await mkdir(join(folder, 'sub'));
    await writeFile(join(folder, 'sub', `a.bin.${deadPid()}.part`), bytes.subarray(0, 50_000));
    await fetchFrom(s);
    expect(s.requests.map((q) => q.range)).toEqual(['bytes=50000-']);
    expect(await left()).toEqual(['a.bin']);
  });
  it('leaves the part file of a living process alone', async () => {
    const s = await start((q, r) => sendFile(bytes, q, r));
    await mkdir(join(folder, 'sub'));
    const theirs = `a.bin.${process.ppid}.part`;
    await writeFile(join(folder, 'sub', theirs), bytes.subarray(0, 50_000));
    await fetchFrom(s);
    expect(s.requests.map((q) => q.range)).toEqual([undefined]);
    expect(await left()).toEqual(['a.bin', theirs].sort());
  });
  it('finishes a part file that was already whole', async () => {
    const s = await start((q, r) => sendFile(bytes, q, r));
    await mkdir(join(folder, 'sub'));
    await writeFile(join(folder, 'sub', `a.bin.${process.pid}.part`), bytes);
    await fetchFrom(s);
    expect(s.requests.map((q) => q.range)).toEqual([`bytes=${bytes.length}-`]);
    expect(await left()).toEqual(['a.bin']);
  });
  it('starts anew when the server knows no Range', async () => {
    const s = await start((_, r) => r.writeHead(200).end(bytes));
    await mkdir(join(folder, 'sub'));
    await writeFile(join(folder, 'sub', `a.bin.${process.pid}.part`), noise(90_000, 5));
    await fetchFrom(s);
    expect(new Uint8Array(await readFile(join(folder, 'sub', 'a.bin')))).toEqual(bytes);
  });
  it('refuses another file than the published one, and keeps nothing of it', async () => {
    const other = noise(1000, 9);
    const s = await start((q, r) => sendFile(other, q, r));
    await expect(fetchFrom(s)).rejects.toThrow(
      new FormatError(
        `a.bin: wrong checksum after downloading ${s.address}a.bin. Expected SHA-256 ${sha256(bytes)}, received ${sha256(other)} (1000 bytes). Try again, or fetch the file by hand.`,
      ),
    );
    expect(s.requests.length).toBe(1);
    expect(await left()).toEqual([]);
  });
  it('stops at a file that is too large', async () => {
    const s = await start((q, r) => sendFile(bytes, q, r));
    await expect(fetchFrom(s, { maxBytes: 1000 })).rejects.toThrow('a.bin: larger than it can be. Expected at most 1000 bytes');
    expect(await left()).toEqual([]);
  });
  it('tries again after 503 and not after 404', async () => {
    const s = await start((q, r, n) => (n === 0 ? r.writeHead(503).end() : sendFile(bytes, q, r)));
    await fetchFrom(s);
    expect(s.requests.length).toBe(2);
    await s.close();
    const missing = await start((_, r) => r.writeHead(404).end());
    const error = await fetchFrom(missing, { destination: join(folder, 'sub', 'b.bin') }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(DownloadError);
    expect(String(error)).toContain('answered 404 Not Found');
    expect(missing.requests.length).toBe(1);
  });
  it('keeps the part when all attempts break', async () => {
    const s = await start((_, r) => {
      r.writeHead(200, { 'content-length': bytes.length });
      r.write(bytes.subarray(0, 30_000), () => setTimeout(() => r.destroy(), 20));
    });
    await expect(fetchFrom(s, { retries: 0 })).rejects.toBeInstanceOf(DownloadError);
    expect(await left()).toEqual([`a.bin.${process.pid}.part`]);
    expect((await readFile(join(folder, 'sub', `a.bin.${process.pid}.part`))).length).toBe(30_000);
  });
  it('gives up on a server that sends nothing', async () => {
    const s = await start(() => undefined);
    await expect(fetchFrom(s, { retries: 0, stallMilliseconds: 60 })).rejects.toThrow('sent nothing for 0.06 s');
  });
  it('says that nobody listens', async () => {
    const s = await start((q, r) => sendFile(bytes, q, r));
    await s.close();
    await expect(fetchFrom(s, { retries: 0 })).rejects.toBeInstanceOf(DownloadError);
  });
  it('stops when told to, keeping the part', async () => {
    const controller = new AbortController();
    const s = await start((_, r) => {
      r.writeHead(200, { 'content-length': bytes.length });
      r.write(bytes.subarray(0, 30_000));
    });
    await expect(fetchFrom(s, { signal: controller.signal, onProgress: () => controller.abort() })).rejects.toThrow(/abort/);
    expect(s.requests.length).toBe(1);
    expect((await left()).length).toBe(1);
  });
  it('two calls for one file share a download', async () => {
    const s = await start((q, r) => sendFile(bytes, q, r));
    await Promise.all([fetchFrom(s), fetchFrom(s)]);
    expect(s.requests.length).toBe(1);
  });
});
