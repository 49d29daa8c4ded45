/** @file Vite's settings: the two headers of cross-origin isolation, without which a page has no shared memory and so one thread. */
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const headers = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };
const dist = fileURLToPath(new URL('../../dist', import.meta.url));

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  server: { headers },
  preview: { headers },
  worker: { format: 'es' },
  build: { target: 'es2022', outDir: 'dist', emptyOutDir: true },
  // In a project of your own the package is in node_modules; here it is the folder above.
  resolve: {
    alias: [
      { find: /^tenon$/, replacement: `${dist}/index.js` },
      { find: /^tenon\/layers$/, replacement: `${dist}/layers/index.js` },
    ],
  },
});
