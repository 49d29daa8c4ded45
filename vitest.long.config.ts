import { defineConfig } from 'vitest/config';
import { sourceAliases } from './vitest.aliases.js';

/** The long property tests, and the quick ones that read TENON_TEST_RUNS for how many samples they take. */
export default defineConfig({
  resolve: { alias: sourceAliases },
  test: {
    include: ['test/long/**/*.test.ts', 'test/io/**/*.test.ts', 'test/conformance/neon.test.ts', 'test/compile/templates/contract.test.ts'],
    env: { TENON_TEST_RUNS: process.env.TENON_TEST_RUNS ?? '2000' },
    pool: 'forks',
    poolOptions: { forks: { maxForks: 2, minForks: 1 } },
    testTimeout: 3_600_000,
  },
});
