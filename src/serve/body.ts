/**
 * @file Bodies of requests, bounded. They are read to their end before an answer where that is affordable: a server that hangs up on one
 * who is still sending takes the answer with it, and the connection from the client's next request.
 */
import { quote, reasonOf } from '../base/errors.js';
import { ApiError, badRequest } from './errors.js';

/** What is read of a body that nobody wants, at least. */
const DISCARDED_BYTES = 4 * 2 ** 20;

/** The body. Throws ApiError when it is too large, and when its sender goes. */
export async function readBody(request: Request, maxBytes: number): Promise<Uint8Array> {
  const most = Math.max(8 * maxBytes, DISCARDED_BYTES);
  const tooLarge = (): ApiError =>
    new ApiError(413, `The request is too large. Expected at most ${maxBytes} bytes.`, { code: 'request_too_large' });
  if (lengthOf(request) > most) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = request.body?.getReader();
  for (;;) {
    const chunk = await reader?.read().catch((error: unknown) => {
      throw new ApiError(499, 'The client closed the connection.', { code: 'client_closed_request', cause: error });
    });
    if (!chunk?.value) break;
    size += chunk.value.length;
    if (size > most) throw tooLarge();
    if (size <= maxBytes) chunks.push(chunk.value);
  }
  if (size > maxBytes) throw tooLarge();
  return Buffer.concat(chunks);
}

/** Reads a body that nobody wants, where it isn't long. */
export async function discardBody(request: Request): Promise<void> {
  if (/^(GET|HEAD|OPTIONS)$/.test(request.method) || request.bodyUsed) return;
  await readBody(request, 0).catch(() => undefined);
}

/** As the sender says; 0 where it doesn't. */
const lengthOf = (request: Request): number => Number(request.headers.get('content-length') ?? 0);

/** Throws ApiError when the body isn't said to be JSON: a page of another origin can't say so without asking first, which CORS then refuses. */
export function requireJsonType(request: Request): void {
  const type = request.headers.get('content-type') ?? '';
  if (!/^application\/json\b/i.test(type))
    throw new ApiError(415, `Expected the header Content-Type: application/json, received ${quote(type)}.`, {
      code: 'unsupported_media_type',
    });
}

/** Throws ApiError. */
export function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (error) {
    throw badRequest(`The body is no JSON (${reasonOf(error).slice(0, 200)}).`, undefined, 'invalid_json');
  }
}
