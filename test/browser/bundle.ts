/** @file Bundles for browsers of what tests run there: esbuild on src/, with package.json's imports as browsers get them. */
import { fileURLToPath } from 'node:url';
import { type BuildOptions, build, type Plugin } from 'esbuild';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** package.json's imports name dist/, where tests run src/; and vitest's place is taken by what browsers can run of it. */
const sources: Plugin = {
  name: 'tenon sources',
  setup({ onResolve, resolve }) {
    onResolve({ filter: /^#native$/ }, () => ({ path: `${root}src/device/native/absent.ts` }));
    onResolve({ filter: /^#node\// }, () => ({ path: `${root}src/base/no-node.ts` }));
    onResolve({ filter: /^vitest$/ }, () => ({ path: `${root}test/browser/vitest.ts` }));
    // vitest's own copies, wherever npm put them.
    onResolve({ filter: /^(@vitest\/expect|chai)$/ }, ({ path, kind, pluginData }) =>
      pluginData === sources ? undefined : resolve(path, { kind, pluginData: sources, resolveDir: `${root}node_modules/vitest` }),
    );
  },
};

/** The text of a module (or, by `format`, a script) that browsers run. Paths in `source` are relative to the repository's root. */
export async function bundleForBrowser(source: string, options: Pick<BuildOptions, 'format' | 'define'> = {}): Promise<string> {
  const { define, ...rest } = options;
  const { outputFiles } = await build({
    stdin: { contents: source, resolveDir: root, loader: 'ts' },
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    plugins: [sources],
    write: false,
    // What needs Node fails the build: nothing of the kind may be reached.
    logLevel: 'silent',
    define: { 'process.env.TENON_TEST_RUNS': JSON.stringify(process.env.TENON_TEST_RUNS ?? '10'), ...define },
    ...rest,
  });
  return outputFiles[0].text;
}
