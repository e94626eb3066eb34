/** For tests: a node without log and gateways, whose status a test sets. */
import type { AlertNotice, HeadraceNode, NodeStatus } from "@headrace/server";

export const emptyStatus = (): NodeStatus => ({
  version: "0.1.0",
  application: "factory",
  startedAtMs: 0,
  dataFolder: "/data",
  mqttUrl: "mqtt://127.0.0.1:1883",
  apiUrl: "http://127.0.0.1:8080",
  listeners: [
    {
      name: "tcp:1883",
      transport: "tcp",
      url: "mqtt://127.0.0.1:1883",
      connections: 0,
      turnedAway: 0,
      accepted: 0,
      refused: {},
      publishRefused: {},
      messagesIn: [0, 0, 0],
      messagesOut: [0, 0, 0],
      bytesIn: 0,
      bytesOut: 0,
    },
  ],
  connections: 0,
  streams: [{ name: "readings", partitions: 1, stored: 0 }],
  tasks: [
    {
      name: "guard/0",
      function: "guard",
      stream: "readings",
      state: "running",
      processed: 0,
      failed: 0,
      lagEvents: 0,
      lagMs: 0,
      stateBytes: 4096,
      keys: 0,
    },
  ],
  stored: 0,
  processed: 0,
  repeated: 0,
  refused: 0,
  rejected: 0,
  gateway: {
    dropped: 0,
    waitingBytes: 0,
    outgoingBytes: 0,
    matchCost: 0,
    subscriptions: 0,
    retainedMessages: 0,
    retainedBytes: 0,
    stalls: 0,
    stalledMs: 0,
    restarts: 0,
    eventsDropped: 0,
    reasons: {},
  },
  alerts: { raised: 0, cleared: 0, active: 0 },
  commands: { sent: 0, acknowledged: 0, failed: 0, expired: 0, pending: 0 },
  lake: { rows: 0, files: 0, bytes: 0, lagRows: 0 },
  log: { syncs: 0, syncMsP50: 0, syncMsP99: 0, walBytes: 0, indexBytes: 0, gaps: [] },
});

export interface FakeNode extends HeadraceNode {
  current: NodeStatus;
  readonly alert: (notice: AlertNotice) => void;
  readonly crash: (error: Error) => void;
  closes: number;
  reloads: number;
}

export function fakeNode(dataFolder = "/data"): FakeNode {
  const closed = Promise.withResolvers<void>();
  const listeners: ((notice: AlertNotice) => void)[] = [];
  const node: FakeNode = {
    listeners: [{ transport: "tcp", host: "127.0.0.1", port: 1883, url: "mqtt://127.0.0.1:1883" }],
    httpPort: 8080,
    apiUrl: "http://127.0.0.1:8080",
    mqttUrl: "mqtt://127.0.0.1:1883",
    dataFolder,
    files: [],
    current: emptyStatus(),
    closes: 0,
    reloads: 0,
    status: async () => node.current,
    onAlert: (listener) => void listeners.push(listener),
    alert: (notice) => {
      for (const listener of listeners) listener(notice);
    },
    crash: closed.reject,
    reload: async () => void node.reloads++,
    reloadTls: () => undefined,
    closed: closed.promise,
    close: async () => {
      node.closes++;
      closed.resolve();
    },
  };
  return node;
}
