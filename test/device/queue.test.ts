import { describe, expect, it } from 'vitest';
import { FifoQueue } from '../../src/device/queue.js';

const later = <T>(value: T) => new Promise<T>((resolve) => setTimeout(resolve, 2, value));

/** Jobs that take a while and say when they begin and end. */
const slowJobs = (seen: string[]) => (name: string) => async () => {
  seen.push(`${name} begins`);
  await later(0);
  seen.push(`${name} ends`);
  return name;
};

describe('FifoQueue', () => {
  it('runs jobs one after another in order, whether they wait or not', async () => {
    const q = new FifoQueue();
    const seen: string[] = [];
    const slow = slowJobs(seen);
    const results = await Promise.all([q.add(slow('a')), q.add(() => seen.push('b')), q.add(slow('c'))]);
    expect(seen).toEqual(['a begins', 'a ends', 'b', 'c begins', 'c ends']);
    expect(results).toEqual(['a', 3, 'c']);
  });

  it('lets neighbours run together, up to their number, and nothing else beside them', async () => {
    const q = new FifoQueue();
    const seen: string[] = [];
    const slow = slowJobs(seen);
    await Promise.all([
      q.add(slow('a'), 2),
      q.add(slow('b'), 2),
      q.add(slow('c'), 2),
      q.add(slow('alone')),
      q.add(slow('d'), 2),
      q.add(() => seen.push(`${q.active} beside`), 2),
    ]);
    expect(seen).toEqual([
      ...['a begins', 'b begins', 'a ends', 'c begins', 'b ends', 'c ends'],
      ...['alone begins', 'alone ends', 'd begins', '1 beside', 'd ends'],
    ]);
    expect(q.isIdle).toBe(true);
  });

  it('keeps order over many jobs while it is never idle, and lets go of those that ran', async () => {
    const q = new FifoQueue();
    const seen: number[] = [];
    const jobs = Array.from({ length: 500 }, (_, i) => q.add(async () => void seen.push(i), 2));
    await Promise.all(jobs);
    expect(seen).toEqual(Array.from({ length: 500 }, (_, i) => i));
    expect(q.isIdle).toBe(true);
  });

  it('goes on after a failure', async () => {
    const q = new FifoQueue();
    const first = q.add(() => later(1).then(() => Promise.reject(new Error('late'))));
    const second = q.add(() => {
      throw new Error('at once');
    });
    const third = q.add(() => 3);
    await expect(first).rejects.toThrow('late');
    await expect(second).rejects.toThrow('at once');
    expect(await third).toBe(3);
    expect(q.isIdle).toBe(true);
  });

  it('is idle for whoever awaited the last job', async () => {
    const q = new FifoQueue();
    await q.add(() => later(1));
    expect(() => q.mustBeIdle('test')).not.toThrow();
    const job = q.add(() => later(1));
    expect(() => q.mustBeIdle('runSync')).toThrow(/runSync while runs are queued/);
    await q.idle();
    expect(q.isIdle).toBe(true);
    await job;
    await q.idle();
  });

  it('copies what is written while busy, and writes at once while idle', async () => {
    const q = new FifoQueue();
    const seen: number[] = [];
    let data = 1;
    const write = () =>
      q.write(
        () => seen.push(data),
        () => {
          const copy = data;
          return () => seen.push(copy);
        },
      );
    write();
    expect(seen).toEqual([1]);
    const job = q.add(() => later(0));
    data = 2;
    write();
    data = 3;
    expect(seen).toEqual([1]);
    await job;
    await q.idle();
    expect(seen).toEqual([1, 2]);
  });

  it('holds a hundred thousand jobs', async () => {
    const q = new FifoQueue();
    let n = 0;
    void q.add(() => later(0));
    for (let i = 0; i < 100_000; i++) void q.add(() => n++);
    await q.idle();
    expect(n).toBe(100_000);
  });
});
