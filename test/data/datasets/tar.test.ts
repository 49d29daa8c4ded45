import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readTarMembers, type WantedMember } from '../../../src/data/datasets/tar.js';
import { noise, tar } from './support.js';

const a = noise(700, 1);
const b = noise(512, 2);
const archive = tar([
  { name: 'set/', bytes: new Uint8Array(0), type: '5' },
  { name: 'set/readme.txt', bytes: noise(33, 3) },
  { name: 'set/a.bin', bytes: a },
  { name: 'b.bin', bytes: b, prefix: 'set' },
]);
const wanted: WantedMember[] = [
  { name: 'set/a.bin', bytes: 700 },
  { name: 'set/b.bin', bytes: 512 },
];

async function* chunked(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
async function read(bytes: Uint8Array, want = wanted, size = 100): Promise<Record<string, Uint8Array>> {
  const found: Record<string, Uint8Array> = {};
  for await (const m of readTarMembers(chunked(bytes, size), want, 'x.tar')) found[m.name] = m.bytes;
  return found;
}

describe('readTarMembers', () => {
  it('gives the wanted members whatever the chunks are', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 4000 }), async (size) => {
        expect(await read(archive, wanted, size)).toEqual({ 'set/a.bin': a, 'set/b.bin': b });
      }),
      { seed: 1, numRuns: 30 },
    );
  });
  it('names a truncated, corrupt or incomplete archive', async () => {
    await expect(read(archive.subarray(0, 100))).rejects.toThrow(
      'x.tar: truncated in a tar header. Expected 512 bytes, received 100. Fetch the file again.',
    );
    await expect(read(archive.subarray(0, 512 * 4 + 100))).rejects.toThrow(
      'x.tar: truncated in set/a.bin. Expected 700 bytes, received 100.',
    );
    const corrupt = Uint8Array.from(archive);
    corrupt[3] ^= 1;
    await expect(read(corrupt)).rejects.toThrow('x.tar: corrupt tar header. Expected checksum');
    const digits = Uint8Array.from(archive);
    digits[150] = 0x39;
    await expect(read(digits)).rejects.toThrow('x.tar: corrupt tar header. Expected an octal number, received "');
    await expect(read(archive, [...wanted, { name: 'set/c.bin', bytes: 1 }])).rejects.toThrow(
      'x.tar: members are missing. Expected set/c.bin. Fetch the file again.',
    );
    await expect(read(archive, [{ name: 'set/a.bin', bytes: 701 }])).rejects.toThrow(
      'x.tar: member set/a.bin has a wrong size. Expected 701 bytes, received 700.',
    );
  });
  it('reads to the end of the stream, and closes it when left early', async () => {
    const log: string[] = [];
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        yield archive;
        yield new Uint8Array(5000);
        log.push('read');
      } finally {
        log.push('closed');
      }
    }
    for await (const _ of readTarMembers(source(), wanted, 'x.tar'));
    expect(log).toEqual(['read', 'closed']);
    log.length = 0;
    for await (const _ of readTarMembers(source(), wanted, 'x.tar')) break;
    expect(log).toEqual(['closed']);
  });
});
