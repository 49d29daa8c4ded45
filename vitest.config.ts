import { defineConfig } from 'vitest/config';
import { sourceAliases } from './vitest.aliases.js';

export default defineConfig({
  resolve: { alias: sourceAliases },
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/yield.ts'],
    exclude: ['test/long/**', 'node_modules/**'],
    // Two cores: one worker leaves the other to the native device's threads and the compiler.
    pool: 'forks',
    poolOptions: { forks: { maxForks: 2, minForks: 1 } },
    testTimeout: 60_000,
  },
});
