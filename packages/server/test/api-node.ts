/** For the tests of the API: a node that answers the Control contract over a MessageChannel, with a real log behind the reader. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MessageChannel } from "node:worker_threads";
import { EventBlockBuilder, InternedString } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import { type Api, type ApiLimits, startApi } from "../src/api/index.ts";
import type { ClientSummary, Control, NodeStatus, SubmittedEvent } from "../src/control.ts";
import { checksum, EmbeddedLog, serveLog } from "../src/log/index.ts";
import { openRpc } from "../src/threads/index.ts";

export interface TestNode extends AsyncDisposable {
  readonly api: Api;
  readonly token: string;
  readonly tokenFile: string;
  readonly log: EmbeddedLog;
  /** What arrived at the node: one entry per call. */
  readonly submitted: { events: SubmittedEvent[]; idempotencyKey: string | undefined }[];
  readonly redriven: unknown[][];
  /** What was asked about clients. */
  readonly asked: unknown[][];
  /** Set to make the node refuse what is submitted. */
  refuseWith: HeadraceError | undefined;
  call(path: string, init?: RequestInit & { headers?: Record<string, string> }): Promise<Response>;
  /** Appends events to a log as a gateway would. */
  store(
    log: string,
    writer: number,
    events: { key: string; payload: string | Uint8Array; topic?: string }[],
  ): Promise<void>;
}

const status = { version: "0.1.0", application: "factory", streams: [], tasks: [], stored: 3 } as unknown as NodeStatus;

const clientNamed = (clientId: string): ClientSummary => ({
  clientId,
  state: "absent",
  session: "lasting",
  sessionExpirySeconds: 60,
  subscriptions: 0,
  inFlight: 0,
  queued: 0,
  queuedBytes: 0,
  unacknowledged: 0,
});

export async function startTestNode(limits: Partial<ApiLimits> = {}, port = 0): Promise<TestNode> {
  const folder = mkdtempSync(join(tmpdir(), "headrace-api-"));
  const log = await EmbeddedLog.open({ folder, segmentBytes: 1024 * 1024, onFatal: () => {} });
  const controls = new MessageChannel();
  const logs = new MessageChannel();
  const submitted: TestNode["submitted"] = [];
  const redriven: unknown[][] = [];
  const asked: unknown[][] = [];
  const control: Control = {
    submit: async (events, idempotencyKey) => {
      if (node.refuseWith) throw node.refuseWith;
      submitted.push({ events, idempotencyKey });
      return { stored: events.length, repeated: false };
    },
    status: async () => status,
    metrics: async () => "headrace_stored_total 3\n",
    query: async (sql) => {
      if (!/^select/i.test(sql)) throw new HeadraceError("HR_QUERY_NOT_SELECT", `${sql} is no SELECT`);
      if (sql.includes("boom")) throw new Error("secret detail");
      const row = [2n ** 60n, 7n, new Date(0), Number.NaN, new Uint8Array([1])];
      return { columns: [{ name: "n", type: "BIGINT" }], rows: [row], truncated: false, elapsedMs: 1 };
    },
    clients: async (query) => {
      asked.push(["clients", query]);
      return ["a", "b", "c"].slice(0, query.limit).map(clientNamed);
    },
    client: async (clientId) => {
      asked.push(["client", clientId]);
      return { ...clientNamed(clientId), filters: [] };
    },
    kickClient: async (...args) => {
      asked.push(["kick", ...args]);
      return { disconnected: true, sessionEnded: false };
    },
    redrive: async (...args: unknown[]) => {
      redriven.push(args);
      return { stored: 1 };
    },
  };
  const rpc = openRpc(controls.port1, { ...control });
  const served = serveLog(log, logs.port1);
  const tokenFile = join(folder, "api-token");
  const close = async (): Promise<void> => {
    rpc.close();
    served.close();
    await log.close();
    rmSync(folder, { recursive: true, force: true });
  };
  const streams = [{ name: "readings", partitions: 1 }];
  const place = {
    controlPort: controls.port2,
    logPort: logs.port2,
    host: "127.0.0.1",
    port,
    tokenFile,
    streams,
    limits,
  };
  let api: Api;
  try {
    api = await startApi(place);
  } catch (error) {
    await close();
    throw error;
  }
  const token = readFileSync(tokenFile, "utf8").trim();

  const node: TestNode = {
    api,
    token,
    tokenFile,
    log,
    submitted,
    redriven,
    asked,
    refuseWith: undefined,
    call: (path, init = {}) =>
      fetch(`${api.url}${path}`, { ...init, headers: { authorization: `Bearer ${token}`, ...init.headers } }),
    store: async (name, writer, events) => {
      const { id } = await log.open(name, "stream");
      const state = log.channels(id).find((channel) => channel.writer === writer);
      const epoch = state?.epoch ?? (await log.fence({ logId: id, writer }));
      const builder = new EventBlockBuilder();
      for (const { key, payload, topic = "" } of events) {
        const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
        const [topicString, keyString] = [new InternedString(topic), new InternedString(key)];
        builder.append(topicString, keyString, keyString, 1, 1_700_000_000_000, bytes, 0, bytes.byteLength);
      }
      const sealed = builder.seal({ logId: id, writer, epoch, sequence: state?.endSequence ?? 0 }, checksum);
      await log.append([sealed]);
    },
    [Symbol.asyncDispose]: async () => {
      await api[Symbol.asyncDispose]();
      await close();
    },
  };
  return node;
}

/** Reads server-sent events until `count` have come. */
export async function eventsFrom(response: Response, count: number): Promise<{ event: string; data: unknown }[]> {
  const events: { event: string; data: unknown }[] = [];
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (reader && events.length < count) {
    const { value, done } = await reader.read();
    if (done) break;
    text += value;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const data = lines.find((line) => line.startsWith("data: "))?.slice(6);
      const event = lines.find((line) => line.startsWith("event: "))?.slice(7) ?? "message";
      if (data !== undefined) events.push({ event, data: JSON.parse(data) });
    }
  }
  await reader?.cancel();
  return events;
}
