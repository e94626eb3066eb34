/**
 * The stream `connections`: who came and who went. Events wait here and go into the next group, whatever that is for, so that they
 * cost no sync of their own; only when nothing else is stored for a second a group is asked for. A storm of connections is not
 * recorded one by one: beyond a rate events are counted instead, and the count is an event once the storm is over.
 */
import { InternedString } from "@headrace/engine";
import { systemStreams } from "@headrace/sdk";
import type { GroupMember, Ingest } from "./ingest.ts";
import type { Router } from "./routes.ts";
import { Key } from "./stream-state.ts";

/** How long an event waits for a group that is stored anyway. */
const waitMs = 1_000;
const noText = new InternedString("");

export interface ConnectionEventsOptions {
  readonly ingest: Ingest;
  readonly router: Router;
  readonly nowMs: () => number;
  /** Events per second; twice as many may come at once. */
  readonly perSecondMax: number;
  readonly counters: { eventsDropped: number };
}

interface Waiting {
  readonly key: Key;
  readonly client: InternedString;
  readonly atMs: number;
  readonly payload: Buffer;
}

export class ConnectionEvents implements GroupMember {
  readonly #options: ConnectionEventsOptions;
  #waiting: Waiting[] = [];
  /** Events in the group that is being stored, and how many dropped ones it tells of. */
  #inGroup = 0;
  #toldInGroup = 0;
  #tokens: number;
  #refilledMs = 0;
  /** Dropped and not told yet. */
  #untold = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ConnectionEventsOptions) {
    this.#options = options;
    this.#tokens = options.perSecondMax * 2;
    options.ingest.beforeGroup = () => this.#write();
  }

  /** @param device the key of the event */
  add(device: string, clientId: string, content: object): void {
    const { router, nowMs, counters } = this.#options;
    if (router.stream(systemStreams.connections) === undefined) return;
    if (!this.#take()) {
      counters.eventsDropped += 1;
      this.#untold += 1;
      // So that the count is told although nobody comes or goes any more.
      this.#wake();
      return;
    }
    const payload = Buffer.from(JSON.stringify(content));
    this.#waiting.push({ key: new Key(device), client: new InternedString(clientId), atMs: nowMs(), payload });
    this.#wake();
  }

  /** Asks for a group for what waits: before the node stops. */
  flush(): void {
    if (this.#waiting.length > 0 || this.#untold > 0) this.#options.ingest.requestGroup();
  }

  #take(): boolean {
    const { perSecondMax } = this.#options;
    const nowMs = performance.now();
    this.#tokens = Math.min(perSecondMax * 2, this.#tokens + ((nowMs - this.#refilledMs) / 1_000) * perSecondMax);
    this.#refilledMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  #wake(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.flush();
    }, waitMs).unref();
  }

  #write(): void {
    if (this.#waiting.length === 0 && this.#untold === 0) return;
    const { ingest, router, nowMs } = this.#options;
    const stream = router.stream(systemStreams.connections);
    if (stream === undefined) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#inGroup = waiting.length;
    this.#toldInGroup = this.#untold;
    if (this.#untold > 0) {
      const payload = Buffer.from(JSON.stringify({ status: "dropped", count: this.#untold }));
      this.#untold = 0;
      waiting.push({ key: new Key(""), client: noText, atMs: nowMs(), payload });
    }
    ingest.join(this);
    for (const { key, client, atMs, payload } of waiting) {
      const end = payload.byteLength;
      stream.writerOf(key).append(noText, key, client, 0, atMs, payload, 0, end, undefined, -1, -1);
    }
  }

  sealed(): void {}

  settled(error: unknown): void {
    if (error !== undefined) {
      this.#options.counters.eventsDropped += this.#inGroup;
      this.#untold += this.#inGroup + this.#toldInGroup;
      if (this.#untold > 0) this.#wake();
    }
    this.#inGroup = 0;
    this.#toldInGroup = 0;
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
