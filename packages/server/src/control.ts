/** What the API asks of the node: answered by compose.ts, called over RPC from the control thread. */

/** One event that came over HTTP or from an operator's tool. */
export interface SubmittedEvent {
  /** Topic as a device would publish on; routes to streams with a matching `http` source (or any source when `stream` is given). */
  topic?: string;
  /** Names the stream instead of a topic. */
  stream?: string;
  device?: string;
  payload: Uint8Array;
  contentType?: string;
  userProperties?: [string, string][];
  deviceEpoch?: number;
  deviceSequence?: number;
}

export interface TaskStatus {
  name: string;
  function: string;
  stream: string;
  state: "running" | "restarting" | "failed";
  processed: number;
  failed: number;
  lagEvents: number;
  lagMs: number;
  keys: number;
  /** Bytes of keys and values as they are stored. */
  stateBytes: number;
  /** Why the task does not run: its storage is damaged. */
  failure?: string;
}

export interface NodeStatus {
  version: string;
  application: string;
  startedAtMs: number;
  dataFolder: string;
  mqttUrl: string;
  apiUrl: string;
  /** Where devices connect. */
  listeners: { transport: string; url: string; connections: number; turnedAway: number }[];
  connections: number;
  /** Events stored since the data folder was made, by stream. */
  streams: { name: string; partitions: number; stored: number }[];
  tasks: TaskStatus[];
  /** Events stored in the application's source streams since this start, and those of them that every subscribed function has committed. */
  stored: number;
  processed: number;
  repeated: number;
  refused: number;
  rejected: number;
  /** What the gateway has met since this start; see docs/reference/metrics.md. */
  gateway: {
    dropped: number;
    waitingBytes: number;
    outgoingBytes: number;
    stalls: number;
    stalledMs: number;
    reasons: Readonly<Record<string, number>>;
  };
  alerts: { raised: number; cleared: number; active: number };
  commands: { sent: number; acknowledged: number; failed: number; expired: number; pending: number };
  lake: { rows: number; files: number; bytes: number; lagRows: number };
  log: {
    syncs: number;
    syncMsP50: number;
    syncMsP99: number;
    walBytes: number;
    /** Memory of the index of all blocks. */
    indexBytes: number;
    /** Lost records that an operator has agreed to go on without. */
    gaps: readonly {
      readonly log: string;
      readonly writer: number;
      readonly fromSequence: number;
      readonly toSequence: number;
      readonly reason: string;
      readonly timeMs: number;
    }[];
  };
}

export interface QueryResult {
  columns: { name: string; type: string }[];
  rows: unknown[][];
  /** True when more rows exist than were asked for. */
  truncated: boolean;
  elapsedMs: number;
}

/** Methods that the control thread may call. */
export interface Control {
  /** Settles when all events are durable. `idempotencyKey`: a repeat within the remembered 10,000 keys stores nothing and gets the same answer. */
  submit(events: SubmittedEvent[], idempotencyKey?: string): Promise<{ stored: number; repeated: boolean }>;
  status(): Promise<NodeStatus>;
  query(sql: string, options: { rowsMax?: number; timeoutMs?: number }): Promise<QueryResult>;
  /** Prometheus text. */
  metrics(): Promise<string>;
  /** Puts a dead-lettered event back into its stream, marked as out of order. `place` names it where several writers write dead letters. */
  redrive(
    deadLetterSequence: number,
    place: { partition: number; writer: number; sequence: number },
  ): Promise<{ stored: number }>;
}
