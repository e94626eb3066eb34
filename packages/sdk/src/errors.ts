/**
 * The error catalogue: every failure that a user can meet has a stable code here.
 * docs/reference/errors.md is generated from it and a test compares both.
 */

/** Whether the same call may succeed later: `never`, `safe` to repeat at once, or after a pause. */
export type Retry = "never" | "safe" | { readonly afterMs: number };

/** What the catalogue says about one code. */
export interface ErrorEntry {
  /** What failed, in general. */
  readonly summary: string;
  /** What the reader should do. */
  readonly action: string;
  readonly retry: Retry;
}

const entry = (summary: string, action: string, retry: Retry = "never"): ErrorEntry => ({ summary, action, retry });

/** Every code that Headrace raises. Keep sorted by code. */
export const errorCatalogue = {
  HR_API_FORBIDDEN: entry(
    "The API was called under a foreign host name or from a foreign web page.",
    "Call it as localhost, 127.0.0.1 or [::1]; to serve other names, start with --host and a reverse proxy.",
  ),
  HR_API_UNAUTHORIZED: entry(
    "The API request carries no valid token.",
    "Send `Authorization: Bearer <token>`; the token is in `api-token` in the data folder.",
  ),
  HR_APP_INVALID: entry("The application's definition is not valid.", "Correct the definition that the message names."),
  HR_APP_LOAD_FAILED: entry(
    "The application could not be compiled or loaded.",
    "Correct the file and line that the message names.",
  ),
  HR_BAD_REQUEST: entry("The request is malformed.", "Correct the field that the message names."),
  HR_BATCH_NOT_JSON: entry(
    "The body does not split into JSON values.",
    "Send one JSON value, a JSON array, or one JSON value per line; nothing of the body was stored.",
  ),
  HR_BLOB_CORRUPT: entry(
    "A stored object is not what its name says.",
    "Compare the object that the message names with a backup.",
  ),
  HR_BLOB_TOO_LARGE: entry("An object exceeds the largest size that is kept.", "Cut it into several."),
  HR_BLOCK_CORRUPT: entry(
    "A stored block fails its checks.",
    "Stop writing, keep the folder, and compare with a backup; the message names file and offset.",
  ),
  HR_BLOCK_TOO_LARGE: entry(
    "A record or block exceeds the block limit.",
    "Send smaller messages or return less from one invocation.",
  ),
  HR_BODY_TOO_LARGE: entry(
    "A request's body exceeds the limit.",
    "Send at most 8 MiB and 10,000 events in one request; nothing of the body was stored.",
  ),
  HR_DATA_FOLDER_LOCKED: entry(
    "Another process uses this data folder.",
    "Stop the process that the message names, or choose another folder with --data.",
  ),
  HR_DATA_FOLDER_UNUSABLE: entry(
    "The data folder cannot be written.",
    "Check owner, permissions and mount of the folder, or choose another with --data.",
  ),
  HR_DISK_FULL: entry("The disk is full.", "Free space; intake resumes by itself.", { afterMs: 1000 }),
  HR_EVENT_TOO_LARGE: entry(
    "An event exceeds the largest size that is accepted.",
    "Send payloads of at most 256 KiB; over MQTT that is the limit of the whole packet.",
  ),
  HR_FENCED: entry("The writer no longer owns this log.", "Nothing: the owner that replaced it goes on.", "never"),
  HR_FOLDER_UNUSABLE: entry("A folder cannot be written.", "Check its owner and permissions, or name another folder."),
  HR_GATEWAY_FAILED: entry(
    "A gateway thread dies again and again.",
    "Read the reason in the message and the node's output; start the node again.",
  ),
  HR_INTERNAL: entry("Something in Headrace itself failed.", "Read the node's output; report it if it comes again."),
  HR_LAKE_CORRUPT: entry(
    "A file of the lake or its manifest is damaged.",
    "Compare the file that the message names with a backup; the other files are not touched.",
  ),
  HR_LEASE_HELD: entry(
    "Another node works on this task.",
    "Nothing: the task is taken over when the other node gives it back or falls silent.",
    { afterMs: 1000 },
  ),
  HR_LEASE_LOST: entry("A worker lost its task to another one.", "Nothing: the owner that replaced it goes on."),
  HR_LOG_BEHIND: entry(
    "The write-ahead log is at its bound, because its segments are not rewritten into history as fast as they fill.",
    "Read the node's warnings: no file descriptor, no space, or a disk that is too slow; intake resumes by itself.",
    { afterMs: 1000 },
  ),
  HR_LOG_FAILED: entry(
    "The log could not make data durable.",
    "Check the disk; the process exits and recovers at its next start.",
  ),
  HR_MQTT_REFUSED: entry(
    "The MQTT server refused a connection, a subscription or a message.",
    "Look up the reason code in the message (MQTT 5.0 §2.4): 0x87 is the policy, 0x8f the filter, 0x97 a quota.",
  ),
  HR_NODE_VERSION: entry("This version of Node.js is too old.", "Use Node.js 24 or newer."),
  HR_NOT_FOUND: entry("The named thing does not exist.", "Check the name; the message lists what exists."),
  HR_OUT_OF_DESCRIPTORS: entry(
    "The process has no file descriptor left.",
    "Raise its limit (ulimit -n) or let fewer clients connect; intake resumes by itself.",
    { afterMs: 1000 },
  ),
  HR_OVERLOADED: entry("The node is overloaded and refuses new events.", "Send again after the stated pause.", {
    afterMs: 1000,
  }),
  HR_PORT_IN_USE: entry("A port is already in use.", "Stop the other program or choose another port."),
  HR_QUERY_FAILED: entry("The query failed.", "Correct the SQL at the place that the message names."),
  HR_QUERY_LIMIT: entry(
    "The query exceeded its time or memory.",
    "Ask for less: add a WHERE, a LIMIT or an aggregate.",
  ),
  HR_QUERY_NOT_SELECT: entry("Only one SELECT statement is accepted.", "Send a single SELECT (or WITH … SELECT)."),
  HR_SNAPSHOT_CORRUPT: entry(
    "No snapshot of a task can be read and its journal no longer reaches back to the beginning.",
    "Restore the snapshot files that the message names from a backup; the other tasks go on and the task's input is kept.",
  ),
  HR_SNAPSHOT_MISMATCH: entry(
    "A task's snapshot and its journal do not belong together.",
    "Stop; put back the log and the snapshots of one backup. Part of the data folder was replaced or set back.",
  ),
  HR_STATE_FULL: entry(
    "The state of a task has reached its bound.",
    "Give keys a time to live, keep less in each, or raise bytesPerTask; memory grows with it.",
  ),
  HR_STATE_INVALID: entry(
    "A state or emitted value cannot be stored.",
    "Keep plain data, Map, Set, Date, bigint and typed arrays in state, at most 64 KiB per key.",
  ),
  HR_TLS_INVALID: entry(
    "A file of TLS cannot be used.",
    "Correct the file that the message names; a running node goes on with the last good ones. `headrace doctor` examines them.",
  ),
  HR_UNAVAILABLE: entry("The node cannot be reached or is stopping.", "Start it, or check --url.", { afterMs: 1000 }),
} as const satisfies Record<string, ErrorEntry>;

/** A code of the catalogue. */
export type ErrorCode = keyof typeof errorCatalogue;

/**
 * The one error class of Headrace: a stable `code`, `retry` as decided where the failure is known, and `data` for machines.
 *
 * @example
 * ```ts
 * throw new HeadraceError("HR_PORT_IN_USE", "port 1883 on 127.0.0.1 is in use", { data: { port: 1883 } });
 * ```
 */
export class HeadraceError extends Error {
  readonly code: ErrorCode;
  readonly retry: Retry;
  readonly data: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; data?: Record<string, unknown>; retry?: Retry } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "HeadraceError";
    this.code = code;
    this.retry = options.retry ?? errorCatalogue[code].retry;
    this.data = options.data ?? {};
  }

  /** What the reader should do, from the catalogue. */
  get action(): string {
    return errorCatalogue[this.code].action;
  }
}
