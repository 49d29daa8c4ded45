/** @file Bundles for browsers of what tests run there: esbuild on src/, with package.json's imports as browsers get them. */
import { type BuildOptions, build, type Plugin } from 'esbuild';

const root = new URL('../../', import.meta.url).pathname;

/** package.json's imports name dist/; tests run src/. */
const sources: Plugin = {
  name: 'tenon sources',
  setup({ onResolve }) {
    onResolve({ filter: /^#native$/ }, () => ({ path: `${root}src/device/native/absent.ts` }));
    onResolve({ filter: /^#node\// }, () => ({ path: `${root}src/base/no-node.ts` }));
  },
};

/** The text of a module (or, by `format`, a script) that browsers run. Paths in it are relative to the repository's root. */
export async function bundleForBrowser(source: string, options: Pick<BuildOptions, 'format' | 'define'> = {}): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: source, resolveDir: root, loader: 'ts' },
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    plugins: [sources],
    write: false,
    // A package or module of Node's that cannot be resolved fails the build: nothing of the kind may be reached.
    logLevel: 'silent',
    ...options,
  });
  return outputFiles[0].text;
}
