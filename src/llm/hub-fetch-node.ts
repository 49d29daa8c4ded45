/** @file The fetch that @huggingface/hub asks the hub with: one origin, bounded answers, tried again, and no answer of another commit. */
import { FormatError, quote } from '../base/errors.js';
import { DownloadError } from '../data/datasets/download-node.js';

/** An answer: a page of a listing has some 100 KB. */
const MAX_ANSWER_BYTES = 32 * 2 ** 20;
const SECONDS = 30;
const TRIES = 3;

/**
 * A fetch for the hub at `hubUrl`, and for nothing else: pages of a listing name the next one, and the token goes along.
 * `commit`: answers that name another one are refused.
 * Throws FormatError for what no hub says, DownloadError when it can't be reached, the signal's reason.
 */
export function hubFetch(who: string, hubUrl: string, signal: AbortSignal | undefined, commit: string | null): typeof fetch {
  const { origin } = new URL(hubUrl);
  const once = async (url: URL, init: RequestInit | undefined): Promise<Response> => {
    const late = AbortSignal.timeout(1000 * SECONDS);
    try {
      const response = await fetch(url, { ...init, signal: signal ? AbortSignal.any([signal, late]) : late });
      const named = response.headers.get('x-repo-commit');
      if (named !== null && commit !== null && named !== commit)
        throw new FormatError(`${who}: the hub answers with another commit. Expected ${commit}, received ${quote(named)}.`);
      // Of a file only the head is asked for here, and a server may send all of it.
      const isFile = new Headers(init?.headers).has('range');
      const body = isFile ? null : await readBounded(who, response);
      if (isFile) await response.body?.cancel();
      return new Response(body as BodyInit | null, { status: response.status, headers: response.headers });
    } catch (error) {
      if (error instanceof FormatError) throw error;
      signal?.throwIfAborted();
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      const reason = late.aborted ? `nothing came in ${SECONDS} s` : cause instanceof Error ? cause.message || cause.name : String(cause);
      throw new DownloadError(`the hub can't be reached (${reason})`, true);
    }
  };
  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    if (url.origin !== origin) throw new FormatError(`${who}: the hub sends us to another server, ${quote(url.origin)}.`);
    for (let left = TRIES - 1; ; left--) {
      try {
        const response = await once(url, init);
        if (response.status < 500 || left === 0) return response;
      } catch (error) {
        if (!(error instanceof DownloadError) || left === 0) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  };
}

async function readBounded(who: string, response: Response): Promise<Uint8Array | null> {
  if (response.body === null) return null;
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return Buffer.concat(chunks);
    size += value.length;
    if (size > MAX_ANSWER_BYTES) {
      await reader.cancel();
      throw new FormatError(`${who}: an answer of the hub is too long. Expected at most ${MAX_ANSWER_BYTES} bytes.`);
    }
    chunks.push(value);
  }
}
