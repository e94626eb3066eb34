/**
 * The Log port: durable sequences of blocks, appended atomically over several logs.
 * Embedded driver: one write-ahead log (ADR 0001). Every driver passes the same conformance suite.
 */

/** A single-writer part of a log. `sequence` counts its records from 0. */
export interface Channel {
  readonly logId: number;
  readonly writer: number;
}

/** What a log is for; decides retention and who reads it. */
export type LogRole = "stream" | "journal" | "effects" | "control";

/** A log as the catalogue knows it. */
export interface LogInfo {
  readonly id: number;
  /** `stream/<stream>/<partition>`, `journal/<task>`, `effects/<partition>`, `control`. */
  readonly name: string;
  readonly role: LogRole;
}

export interface ChannelState extends Channel {
  readonly epoch: number;
  /** Sequence of the oldest record that is kept. */
  readonly startSequence: number;
  /** Sequence that the next append must carry. Everything below is durable. */
  readonly endSequence: number;
}

/**
 * Ordering: blocks of one channel are read in the order of their sequence. Durability: `append` settles only when the whole group is on
 * stable storage. Fencing: every block names the epoch and sequence that it expects to follow; if one is refused, none is stored.
 */
export interface Log {
  /** True when a durable group implies that all earlier groups are durable, so that a task may start on a block before it is durable. */
  readonly prefixDurable: boolean;
  /** Finds or creates a log; its id is durable before the call settles. */
  open(name: string, role: LogRole): Promise<LogInfo>;
  /** Logs whose name starts with `prefix`. */
  list(prefix: string): LogInfo[];
  /**
   * Appends sealed blocks atomically.
   * @throws HR_FENCED when a block's epoch is older than its channel's, or its sequence is not the expected one
   * @throws HR_DISK_FULL, HR_OUT_OF_DESCRIPTORS, HR_LOG_BEHIND when nothing was stored and the same call may be repeated; HR_LOG_FAILED when the process must end
   */
  append(group: readonly Uint8Array[]): Promise<void>;
  /**
   * Takes over a channel; returns the epoch to write with. Once it settles no block of a smaller epoch is stored, also not one whose append is
   * under way. Until a block with the new epoch is durable, the end of the process undoes it: who must not be forgotten brings an epoch that grows
   * over restarts.
   * @param epoch of the lease that allows it; absent: one more than the channel has seen
   * @throws HR_FENCED when the channel has seen a larger epoch
   */
  fence(channel: Channel, epoch?: number): Promise<number>;
  channels(logId: number): ChannelState[];
  /**
   * Durable blocks of a channel from the one that holds `fromSequence`, oldest first, up to about `maxBytes` (at least one block if there is one).
   * Empty at the end. @throws HR_NOT_FOUND when `fromSequence` has been trimmed
   */
  read(channel: Channel, fromSequence: number, maxBytes: number): Promise<Uint8Array[]>;
  /** Says that records below `beforeSequence` are no longer needed; space is freed later. */
  trim(channel: Channel, beforeSequence: number): void;
  /** Calls `listener` after each durable append that touched the log; returns the cancellation. */
  watch(logId: number, listener: () => void): () => void;
}
