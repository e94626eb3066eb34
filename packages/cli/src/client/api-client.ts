/** Calls to the API of a node; its errors come out as errors of the catalogue. */
import { type ErrorCode, errorCatalogue, HeadraceError } from "@headrace/sdk";
import type { Connection } from "./connection.ts";

const isCode = (code: unknown): code is ErrorCode => typeof code === "string" && Object.hasOwn(errorCatalogue, code);

async function failure(response: Response): Promise<HeadraceError> {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text) as { error: { code: unknown; message: string; data?: Record<string, unknown> } };
    if (isCode(error.code))
      return new HeadraceError(error.code, error.message, { ...(error.data && { data: error.data }) });
  } catch {
    // Not the API's words: something else listens there.
  }
  return new HeadraceError("HR_UNAVAILABLE", `${response.url} answered ${response.status} and is no Headrace API`);
}

/** A node's API. */
export class ApiClient {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** @throws HeadraceError with the code of the API, or `HR_UNAVAILABLE` when nobody answers */
  async fetch(path: string, init: RequestInit & { headers?: Record<string, string> } = {}): Promise<Response> {
    const { url, token } = this.#connection;
    let response: Response;
    try {
      response = await fetch(`${url}${path}`, {
        ...init,
        headers: { ...init.headers, authorization: `Bearer ${token}` },
      });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new HeadraceError("HR_UNAVAILABLE", `no node answers at ${url}`, { cause: error, data: { url } });
    }
    if (!response.ok) throw await failure(response);
    return response;
  }

  async get<T>(path: string): Promise<T> {
    return (await (await this.fetch(path)).json()) as T;
  }

  async delete<T>(path: string): Promise<T> {
    return (await (await this.fetch(path, { method: "DELETE" })).json()) as T;
  }

  async post<T>(path: string, body?: string | Uint8Array<ArrayBuffer>, contentType = "application/json"): Promise<T> {
    const init = body === undefined ? {} : { body, headers: { "content-type": contentType } };
    return (await (await this.fetch(path, { method: "POST", ...init })).json()) as T;
  }
}
