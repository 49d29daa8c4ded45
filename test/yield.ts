/** @file After each test the event loop turns: vitest's workers report through it, and a file of long synchronous tests would seem dead. */
import { afterEach } from 'vitest';

afterEach(() => new Promise<void>((resolve) => setImmediate(resolve)));
