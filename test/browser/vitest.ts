/**
 * @file The part of vitest that suites for every device use, for browsers: bundles of test files get it in vitest's place, with vitest's
 * own `expect`. Files register their tests by being imported; `runTests` runs them.
 */
import { JestAsymmetricMatchers, JestChaiExpect, JestExtend } from '@vitest/expect';
import * as chai from 'chai';

for (const plugin of [JestExtend, JestChaiExpect, JestAsymmetricMatchers]) chai.use(plugin);
export const expect = ((value: unknown, message?: string) => chai.expect(value, message)) as typeof chai.expect;
Object.assign(expect, { fail: chai.expect.fail });

type Body = (context: { expect: typeof expect }) => unknown;
interface Test {
  readonly name: string;
  readonly body: Body;
}
export interface TestResult {
  readonly name: string;
  /** Stack of what it threw; null when it passed. */
  readonly error: string | null;
}

const tests: Test[] = [];
const path: string[] = [];

/** vitest's names of rows: `$key` of an object, else %s in turn. */
function title(pattern: string, row: unknown): string {
  const values = Array.isArray(row) ? [...row] : [row];
  return pattern
    .replace(/\$(\w+)/g, (text, key: string) => String((values[0] as Record<string, unknown>)?.[key] ?? text))
    .replace(/%[sdi]/g, () => String(values.shift()));
}

type Each<F> = (rows: readonly unknown[]) => (pattern: string, body: (...row: never[]) => F) => void;
/** `add`, and what vitest hangs on it. */
function withForms<B, F>(add: (name: string, body: B) => void, bind: (body: (...row: never[]) => F, row: readonly unknown[]) => B) {
  const each: Each<F> = (rows) => (pattern, body) => {
    for (const row of rows) add(title(pattern, row), bind(body, Array.isArray(row) ? row : [row]));
  };
  const none = Object.assign(() => undefined, { each: () => () => undefined });
  const forms = Object.assign(add, { each });
  return Object.assign(forms, { skip: none, skipIf: (skip: unknown) => (skip ? none : forms) });
}

export const describe = withForms<() => void, void>(
  (name, body) => {
    path.push(name);
    body();
    path.pop();
  },
  (body, row) => () => body(...(row as never[])),
);
export const it = withForms<Body, unknown>(
  (name, body) => void tests.push({ name: [...path, name].join(' > '), body }),
  (body, row) => () => body(...(row as never[])),
);
export const test = it;

/** Runs what was registered and is `wanted`, one after another. */
export async function runTests(report: (result: TestResult) => void, wanted: (name: string) => boolean): Promise<void> {
  for (const { name, body } of tests) {
    if (!wanted(name)) continue;
    let error: string | null = null;
    try {
      await body({ expect });
    } catch (caught) {
      error = caught instanceof Error ? `${caught.message}\n${caught.stack ?? ''}` : String(caught);
    }
    report({ name, error });
    // Messages leave and timers fire between tests.
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}
