import type { MessagePort } from "node:worker_threads";
import type { ColumnDefinition } from "@headrace/sdk";
import type { QueryResult } from "../control.ts";

/** A stream that the lake keeps: the part of its definition that matters here. */
export interface LakeStream {
  readonly name: string;
  readonly partitions: number;
  readonly columns: readonly ColumnDefinition[];
  /** True for a window's results: queries see the newest revision of each device and window. */
  readonly table: boolean;
  /** Files whose hour is older are deleted; default: kept for ever. */
  readonly retainAgeMs?: number;
}

export interface LakeOptions {
  /** Folder of the Parquet files and their manifest; made if absent. Nobody else may write there. */
  readonly folder: string;
  /** The other end is served by `serveLog`. It is given away. */
  readonly logPort: MessagePort;
  readonly streams: readonly LakeStream[];
  /** Told once when an open lake can go on no more. */
  readonly onFailed?: (error: Error) => void;
  /** Rows of a stream that are kept in memory at most before they go to a file; default 250,000. */
  readonly flushRows?: number;
  /** Rows wait for their file at most this long; default 10,000. */
  readonly flushIntervalMs?: number;
  readonly query?: {
    /** Memory of the query process' DuckDB; default 256 MiB. */
    readonly memoryBytes?: number;
    /** Default 30,000. */
    readonly timeoutMs?: number;
    /** Rows of a result at most; default 10,000. */
    readonly rowsMax?: number;
  };
}

export interface LakeStats {
  /** Rows that a query sees: those in files and those still in memory. */
  readonly rows: number;
  readonly files: number;
  readonly bytes: number;
  /** Records of the logs that no file covers yet. */
  readonly lagRows: number;
  readonly rowsByStream: Readonly<Record<string, number>>;
}

/** Everything of a channel below `beforeSequence` is in durable files. */
export interface TrimmableChannel {
  readonly logId: number;
  /** `stream/<stream>/<partition>`. */
  readonly log: string;
  readonly writer: number;
  readonly beforeSequence: number;
}

/** Columnar storage of streams, and SQL over it. */
export interface Lake {
  /**
   * Runs one SELECT over views named after the streams. It sees every row that was durable in the log when it was called.
   * At most 32 queries wait; one runs at a time.
   * @param options.rowsMax rows of the result; at most and by default what the lake allows
   * @param options.timeoutMs from the query's turn on; at most and by default what the lake allows
   * @throws HR_QUERY_NOT_SELECT when `sql` is not exactly one SELECT
   * @throws HR_QUERY_FAILED with DuckDB's message
   * @throws HR_QUERY_LIMIT when it needs more time or memory than is allowed
   * @throws HR_LAKE_CORRUPT when a file is damaged; the message names it
   * @throws HR_OVERLOADED when too many queries wait; HR_UNAVAILABLE when the lake has stopped
   */
  query(sql: string, options?: { rowsMax?: number; timeoutMs?: number }): Promise<QueryResult>;
  /** As of the worker's last report, which follows each change. */
  stats(): LakeStats;
  /** Reads what the logs hold now and puts it into durable files. */
  flush(): Promise<void>;
  /** Calls `listener` with what is durable, at once for what is known and then after each change; returns the cancellation. */
  onTrimmable(listener: (channels: readonly TrimmableChannel[]) => void): () => void;
  /** Stops without a last flush: what is not in files is read from the logs again. */
  [Symbol.asyncDispose](): Promise<void>;
}
