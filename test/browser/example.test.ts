/** @file examples/browser, built by Vite and used as people use it: Start, Stop, Download. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'vite';
import { afterAll, describe, expect, it } from 'vitest';
import { ensureBuilt, root } from '../cli/built.js';
import { chromium } from './chromium.js';
import { jsonOf, visit } from './visit.js';

/** Presses the buttons, and reports what the page shows. */
const user = `<script type="module">
  const at = (id) => document.getElementById(id);
  const until = async (what, isTrue) => {
    for (const begun = performance.now(); !isTrue(); await new Promise((resolve) => setTimeout(resolve, 50)))
      if (performance.now() - begun > 50000) throw new Error('waited for ' + what + ': ' + document.body.innerText);
  };
  const report = (name, value) => fetch('/report/' + name, { method: 'POST', body: JSON.stringify(value) });
  try {
    await until('the device', () => at('device').textContent !== '…');
    at('start').click();
    await until('steps', () => Number(at('step').textContent) >= 2);
    at('stop').click();
    await until('the end', () => at('status').textContent.startsWith('Trained'));
    at('save').click();
    await until('the file', () => at('status').textContent.startsWith('Saved'));
    const shown = Object.fromEntries(['device', 'step', 'loss', 'accuracy', 'status'].map((id) => [id, at(id).textContent]));
    await report('shown', { ...shown, isDrawn: at('plot').getContext('2d').getImageData(0, 0, at('plot').width, at('plot').height).data.some((v) => v > 0) });
    await report('done');
  } catch (error) {
    await report('failed', String(error));
  }
</script>`;

const folder = mkdtempSync(join(tmpdir(), 'tenon-example-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(!chromium)('the example page', () => {
  it('trains when asked, stops when asked, and hands out the model', async () => {
    await ensureBuilt();
    await build({
      configFile: join(root, 'examples/browser/vite.config.ts'),
      logLevel: 'error',
      build: { outDir: folder, emptyOutDir: true },
    });
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => statSync(join(folder, name)).isFile());
    const files = Object.fromEntries(names.map((name) => [`/${name.replaceAll('\\', '/')}`, readFileSync(join(folder, name))]));
    const html = readFileSync(join(folder, 'index.html'), 'utf8').replace('</body>', `${user}</body>`);
    const shown = jsonOf<Record<string, unknown>>(await visit({ files: { ...files, '/': html }, isIsolated: true }), 'shown');
    expect(shown).toEqual({
      device: expect.stringMatching(/^\w+, \d+ threads?$/),
      step: expect.stringMatching(/^\d+$/),
      loss: expect.stringMatching(/^\d\.\d{4}$/),
      accuracy: expect.stringMatching(/^\d+\.\d %$/),
      status: expect.stringMatching(/^Saved shapes\.tenon, \d\.\d MB/),
      isDrawn: true,
    });
  }, 300_000);
});
