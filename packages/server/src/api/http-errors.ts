/** Errors of the catalogue as HTTP answers: `{error: {code, message, action}}`, never a stack. */
import { type ErrorCode, errorCatalogue, HeadraceError } from "@headrace/sdk";

/** Status codes; what is not here is the node's fault (500). */
const statusOf: Partial<Record<ErrorCode, number>> = {
  HR_API_FORBIDDEN: 403,
  HR_API_UNAUTHORIZED: 401,
  HR_BAD_REQUEST: 400,
  HR_BATCH_NOT_JSON: 400,
  HR_BLOCK_TOO_LARGE: 413,
  HR_BODY_TOO_LARGE: 413,
  HR_DISK_FULL: 429,
  HR_EVENT_TOO_LARGE: 413,
  HR_FENCED: 503,
  HR_LOG_BEHIND: 429,
  HR_LOG_FAILED: 503,
  HR_NOT_FOUND: 404,
  HR_OUT_OF_DESCRIPTORS: 429,
  HR_OVERLOADED: 429,
  HR_QUERY_FAILED: 400,
  HR_QUERY_LIMIT: 422,
  HR_QUERY_NOT_SELECT: 400,
  HR_UNAVAILABLE: 503,
};

export interface ErrorBody {
  readonly error: {
    readonly code: ErrorCode;
    readonly message: string;
    readonly action: string;
    readonly data?: Readonly<Record<string, unknown>>;
  };
}

export interface HttpError {
  readonly statusCode: number;
  readonly body: ErrorBody;
  /** Whole seconds, for Retry-After. */
  readonly retryAfterSeconds?: number;
}

/** What fastify itself refuses, in our words. */
function fromFastify(error: {
  code?: string;
  statusCode?: number;
  message?: string;
  validation?: unknown;
}): HeadraceError {
  const { statusCode = 500, message = "" } = error;
  if (error.code === "FST_ERR_CTP_BODY_TOO_LARGE" || statusCode === 413)
    return new HeadraceError("HR_BODY_TOO_LARGE", message);
  if (statusCode >= 400 && statusCode < 500) return new HeadraceError("HR_BAD_REQUEST", message);
  return new HeadraceError("HR_INTERNAL", "the request failed inside the node; its output says why", { cause: error });
}

/** The answer to a request that failed with `error`. */
export function httpErrorOf(error: unknown): HttpError {
  const known =
    error instanceof HeadraceError
      ? error
      : fromFastify(error as { code?: string; statusCode?: number; message?: string });
  const { code, message, retry, data } = known;
  const { afterMs } = typeof retry === "object" ? retry : {};
  return {
    statusCode: statusOf[code] ?? 500,
    body: {
      error: { code, message, action: errorCatalogue[code].action, ...(Object.keys(data).length > 0 && { data }) },
    },
    ...(afterMs !== undefined && { retryAfterSeconds: Math.ceil(afterMs / 1000) }),
  };
}
