/** Finds the running node: options, then environment, then the data folder. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { HeadraceError } from "@headrace/sdk";

/** Options that every client command takes. */
export interface ConnectionOptions {
  readonly url?: string;
  readonly token?: string;
  readonly data?: string;
}

export interface Connection {
  /** Without a slash at the end. */
  readonly url: string;
  readonly token: string;
}

export const dataFolderDefault = ".headrace";

function readNode(folder: string): { apiUrl: string; token: string } | undefined {
  try {
    const { apiUrl } = JSON.parse(readFileSync(join(folder, "node.json"), "utf8")) as { apiUrl: string };
    return { apiUrl, token: readFileSync(join(folder, "api-token"), "utf8").trim() };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new HeadraceError("HR_DATA_FOLDER_UNUSABLE", `the data folder ${folder}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/**
 * Where the node is and with which token. A folder's token is sent to the node of that folder only.
 *
 * @throws HeadraceError `HR_UNAVAILABLE` when nothing says where the node is, `HR_API_UNAUTHORIZED` when there is no token
 */
export function findNode(options: ConnectionOptions, env: NodeJS.ProcessEnv = process.env): Connection {
  const folder = options.data ?? dataFolderDefault;
  const node = readNode(folder);
  const url = (options.url ?? (options.data === undefined ? env.HEADRACE_URL : undefined) ?? node?.apiUrl)?.replace(
    /\/+$/,
    "",
  );
  if (url === undefined) {
    const message = `no node runs on the data folder ${folder}`;
    throw new HeadraceError("HR_UNAVAILABLE", message, { data: { folder } });
  }
  if (!/^https?:\/\//.test(url))
    throw new HeadraceError("HR_BAD_REQUEST", `the URL ${url} does not begin with http:// or https://`);
  const token = options.token ?? env.HEADRACE_TOKEN ?? (url === node?.apiUrl ? node.token : undefined);
  if (token === undefined) {
    throw new HeadraceError("HR_API_UNAUTHORIZED", `no token for ${url}: give --token or set HEADRACE_TOKEN`);
  }
  return { url, token };
}
