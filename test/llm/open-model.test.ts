/** @file What names of models mean, and what is said of those that mean nothing. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { openModel } from '../../src/llm/open-model-node.js';
import { FakeHub } from './fake-hub.js';

let folder: string;
let hub: FakeHub;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenon-open-model-'));
  hub = await new FakeHub().open();
});
afterAll(async () => {
  await hub.close();
  await rm(folder, { recursive: true, force: true });
});
afterEach(() => {
  vi.unstubAllEnvs();
});

const asked = async (name: string): Promise<{ message: string; requests: number }> => {
  vi.stubEnv('HF_ENDPOINT', hub.url);
  vi.stubEnv('HF_HUB_CACHE', join(folder, 'cache'));
  hub.requests.length = 0;
  const message = await openModel(name).then(
    () => 'opened',
    (error: Error) => error.message,
  );
  return { message, requests: hub.requests.length };
};
const adapterOn = async (base: string): Promise<string> => {
  const path = join(folder, 'adapter');
  await mkdir(path, { recursive: true });
  await writeFile(join(path, 'adapter_config.json'), JSON.stringify({ peft_type: 'LORA', base_model_name_or_path: base }));
  return path;
};

test('a name that the hub has not: first that there is no such folder', async () => {
  const { message, requests } = await asked('runs/modle');
  expect(message).toMatch(/^model: there is no folder runs\/modle here\. On the hub: .*runs\/modle.*404/);
  expect(requests).toBeGreaterThan(0);
});
test.each(['../modle', './modle', 'a/b/c', 'modle'])('%s is never looked for on the hub', async (name) => {
  expect(await asked(name)).toEqual({ message: expect.stringContaining(`model: there is no ${name}. Expected a folder`), requests: 0 });
});
test("an adapter's base that is a path is not looked for on the hub; a name of the hub is, and the error says so", async () => {
  for (const base of ['../no-base', './no-base', 'out/models/no-base', 'no-base']) {
    const { message, requests } = await asked(await adapterOn(base));
    expect(message).toContain(`its base ${base} is no folder here, nor beside the adapter. Expected base_model_name_or_path`);
    expect(requests).toBe(0);
  }
  const { message, requests } = await asked(await adapterOn('owner/base'));
  expect(message).toMatch(/its base owner\/base is no folder here, nor beside the adapter\. On the hub: .*404/);
  expect(requests).toBeGreaterThan(0);
});
