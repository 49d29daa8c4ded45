/** @file Errors in OpenAI's form: { error: { message, type, param, code } } with the status that their clients expect. */
import { ConfigError, DeviceError, InternalError, TenonError } from '../base/errors.js';

export interface ApiErrorOptions extends ErrorOptions {
  /** The field of the request that is wrong: `messages[0].content`. */
  readonly param?: string;
  /** For programs: `context_length_exceeded`. */
  readonly code?: string;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What a client is told. */
export class ApiError extends TenonError {
  override name = 'ApiError';
  readonly status: number;
  readonly param: string | null;
  readonly code: string | null;
  readonly type: string;
  readonly headers: Readonly<Record<string, string>>;
  constructor(status: number, message: string, options: ApiErrorOptions = {}) {
    super(message, options);
    this.status = status;
    this.param = options.param ?? null;
    this.code = options.code ?? null;
    this.type = options.type ?? (status >= 500 ? 'server_error' : 'invalid_request_error');
    this.headers = options.headers ?? {};
  }
  toJSON(): {
    readonly error: { readonly message: string; readonly type: string; readonly param: string | null; readonly code: string | null };
  } {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.code } };
  }
}

/** The request is wrong. */
export const badRequest = (message: string, param?: string, code?: string): ApiError => new ApiError(400, message, { param, code });

export const shuttingDown = (): ApiError =>
  new ApiError(503, 'The server is shutting down.', { code: 'shutting_down', headers: { connection: 'close', 'retry-after': '5' } });

/** The client is gone: nobody reads this. */
export const clientGone = (): ApiError => new ApiError(499, 'The client closed the connection.', { code: 'client_closed_request' });

/** What went wrong in words for the client: its own mistakes as they are, of everything else no more than that it happened. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof ConfigError) return new ApiError(400, error.message, { cause: error });
  return new ApiError(500, 'The server had an error while answering your request.', { code: 'internal_error', cause: error });
}

/** Of encoding and chat templates: all that depends on what the client sent. */
export function toPromptError(error: unknown, param: string): ApiError {
  if (error instanceof TenonError && !(error instanceof ApiError || error instanceof InternalError || error instanceof DeviceError))
    return new ApiError(400, error.message, { param, cause: error });
  return toApiError(error);
}
