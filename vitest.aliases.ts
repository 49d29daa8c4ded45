/** @file package.json's imports as the tests see them: those name dist/, and tests run src/. */
const src = new URL('./src/', import.meta.url).pathname;

export const sourceAliases = [
  { find: /^#native$/, replacement: `${src}device/native/native.ts` },
  { find: /^#node\/(.*)\.js$/, replacement: `${src}$1.ts` },
];
