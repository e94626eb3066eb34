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
  listeners: ListenerStatus[];
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
    matchCost: number;
    subscriptions: number;
    retainedMessages: number;
    retainedBytes: number;
    stalls: number;
    stalledMs: number;
    restarts: number;
    /** Connections and ends that the stream `connections` does not have. */
    eventsDropped: number;
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

/** A listener and its figures. */
export interface ListenerStatus extends ListenerTraffic {
  readonly transport: string;
  readonly url: string;
  readonly turnedAway: number;
}

/** What one listener has seen since this start. */
export interface ListenerTraffic {
  /** Transport and port: `tcp:1883`. */
  readonly name: string;
  readonly connections: number;
  readonly accepted: number;
  /** Connections that ended before they had a session, by reason. */
  readonly refused: Readonly<Record<string, number>>;
  /** Messages that were refused, by reason. */
  readonly publishRefused: Readonly<Record<string, number>>;
  /** By QoS. */
  readonly messagesIn: readonly [number, number, number];
  readonly messagesOut: readonly [number, number, number];
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** Which clients are listed. */
export interface ClientQuery {
  readonly limit: number;
  /** Ids behind this one, in the order of UTF-16 units. */
  readonly after?: string;
  /** Text that the id contains. */
  readonly contains?: string;
  readonly state?: "connected" | "absent";
  readonly protocol?: "3.1.1" | "5.0";
  /** IP address of the client. */
  readonly address?: string;
  readonly listener?: string;
}

/** One MQTT client: a connection, or a lasting session that nobody is connected to. */
export interface ClientSummary {
  readonly clientId: string;
  readonly state: "connected" | "absent";
  readonly identity?: string;
  /** `clean` ends with its connection. */
  readonly session: "lasting" | "clean";
  readonly sessionExpirySeconds: number;
  /** When an absent client's session ends. */
  readonly expiresAtMs?: number;
  readonly subscriptions: number;
  /** Messages to the client that it has not acknowledged, and those that wait. */
  readonly inFlight: number;
  readonly queued: number;
  readonly queuedBytes: number;
  /** QoS 1 and 2 messages of the client whose end is due. */
  readonly unacknowledged: number;
  /** The connection, if there is one. */
  readonly connection?: {
    readonly listener: string;
    /** `address:port` */
    readonly address: string;
    readonly protocol: "3.1.1" | "5.0";
    readonly keepAliveSeconds: number;
    readonly connectedAtMs: number;
    readonly lastPacketAtMs: number;
    readonly messagesIn: number;
    readonly messagesOut: number;
    readonly bytesIn: number;
    readonly bytesOut: number;
  };
}

export interface ClientDetail extends ClientSummary {
  readonly filters: readonly {
    readonly filter: string;
    readonly qos: 0 | 1 | 2;
    readonly noLocal: boolean;
    readonly retainAsPublished: boolean;
    readonly identifier?: number;
  }[];
}

export interface KickOptions {
  /** Told to the client (MQTT 5.0), behind reason code 0x98. */
  readonly reason: string;
  /** Ends the session too: subscriptions and waiting messages are gone. Default false. */
  readonly endSession?: boolean;
}

export interface KickResult {
  readonly disconnected: boolean;
  readonly sessionEnded: boolean;
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
  /** MQTT clients by id; fewer than `query.limit` when there are no more. */
  clients(query: ClientQuery): Promise<ClientSummary[]>;
  /** @throws HR_NOT_FOUND */
  client(clientId: string): Promise<ClientDetail>;
  /** Ends a client's connection. @throws HR_NOT_FOUND when it has neither a connection nor a session that was to end */
  kickClient(clientId: string, options: KickOptions): Promise<KickResult>;
  /** Prometheus text. */
  metrics(): Promise<string>;
  /** Puts a dead-lettered event back into its stream, marked as out of order. `place` names it where several writers write dead letters. */
  redrive(
    deadLetterSequence: number,
    place: { partition: number; writer: number; sequence: number },
  ): Promise<{ stored: number }>;
}
