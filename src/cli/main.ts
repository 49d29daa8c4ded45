#!/usr/bin/env node
/** @file The `tenon` command: parses, runs, and sets the exit code. */
import { errorText, exitCodeOf, Interrupted } from './failure.js';
import { parseAndRun } from './program.js';

// A reader that leaves early (`tenon … | head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

try {
  process.exitCode = await parseAndRun(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof Interrupted)) process.stderr.write(`${errorText(error)}\n`);
  process.exitCode = exitCodeOf(error);
}
