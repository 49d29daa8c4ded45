/** @file Serving language models: OpenAI's API over any TextEngine. */
export { type TextApp, type TextAppOptions, textApp } from './app.js';
export { ApiError } from './errors.js';
export { type ServeOptions, serveText, type TextServer } from './server.js';
export type { RequestLog } from './trace.js';
