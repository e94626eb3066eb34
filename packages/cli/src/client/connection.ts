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

function readNode(folder: string): { apiUrl: string; mqttUrl: string; token: string } | undefined {
  try {
    const text = readFileSync(join(folder, "node.json"), "utf8");
    const { apiUrl, mqttUrl } = JSON.parse(text) as { apiUrl: string; mqttUrl: string };
    return { apiUrl, mqttUrl, token: readFileSync(join(folder, "api-token"), "utf8").trim() };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new HeadraceError("HR_DATA_FOLDER_UNUSABLE", `the data folder ${folder}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Where MQTT is spoken: as asked for, else the node of the data folder, else this machine's usual port. */
export function mqttAddressOf(options: { readonly host?: string; readonly port?: number; readonly data?: string }): {
  readonly host: string;
  readonly port: number;
} {
  const isGiven = options.host !== undefined || options.port !== undefined;
  const node = isGiven ? undefined : readNode(options.data ?? dataFolderDefault);
  const url = node === undefined || !URL.canParse(node.mqttUrl) ? undefined : new URL(node.mqttUrl);
  const host = options.host ?? url?.hostname.replace(/^\[|\]$/g, "") ?? "127.0.0.1";
  // Sockets are listened to on every address, and called on the loopback's.
  const called = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  return { host: called, port: options.port ?? (Number(url?.port) || 1883) };
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
