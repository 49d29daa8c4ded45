/** @file The Chromium that these tests use, if there is one. */
import { findChromium } from '../../scripts/chromium.js';

/** Its path, or null where there is none. */
export const chromium: string | null = findChromium();
if (chromium === null) console.warn('browser: skipped, no chromium on the PATH (Debian: `apt install chromium`, or set TENON_CHROMIUM)');
