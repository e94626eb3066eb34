/** Events from HTTP and from the node itself: a batch is stored whole, in one group, or not at all. */
import { encodeProperties, InternedString } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import type { SubmittedEvent } from "../control.ts";
import type { FanOut } from "./fan-out.ts";
import { FanOutMessage } from "./fan-out-message.ts";
import type { Idempotency } from "./idempotency.ts";
import type { GroupMember, Ingest, Publisher } from "./ingest.ts";
import { type Route, type Router, Target } from "./routes.ts";
import { Key } from "./stream-state.ts";

interface Planned {
  readonly event: SubmittedEvent;
  readonly route: Route | undefined;
  readonly targets: readonly Target[];
}

const eventBytesMax = 256 * 1024;

class Waiting implements GroupMember {
  readonly done: Promise<void>;
  #resolve!: () => void;
  #reject!: (error: HeadraceError) => void;
  constructor() {
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }
  sealed(): void {}
  settled(error: HeadraceError | undefined): void {
    if (error) this.#reject(error);
    else this.#resolve();
  }
}

export class Submissions {
  readonly #ingest: Ingest;
  readonly #router: Router;
  readonly #fanOut: FanOut;
  readonly #idempotency: Idempotency;
  readonly #nowMs: () => number;

  constructor(parts: {
    ingest: Ingest;
    router: Router;
    fanOut: FanOut;
    idempotency: Idempotency;
    nowMs: () => number;
  }) {
    this.#ingest = parts.ingest;
    this.#router = parts.router;
    this.#fanOut = parts.fanOut;
    this.#idempotency = parts.idempotency;
    this.#nowMs = parts.nowMs;
  }

  /** A repeat of a request with a remembered key stores nothing; one that comes while the first still waits, waits with it. */
  async submit(
    events: readonly SubmittedEvent[],
    idempotencyKey?: string,
  ): Promise<{ stored: number; repeated: boolean }> {
    const known = idempotencyKey === undefined ? undefined : this.#idempotency.find(idempotencyKey);
    if (known) return { stored: (await known).stored, repeated: true };
    const plan = events.map((event) => this.#plan(event));
    this.#checkRoom(events);
    let stored = 0;
    for (const planned of plan) stored += this.#store(planned);
    const waiting = new Waiting();
    this.#ingest.join(waiting);
    if (idempotencyKey !== undefined) this.#idempotency.add(idempotencyKey, { stored }, waiting.done);
    this.#ingest.requestGroup();
    await waiting.done;
    return { stored, repeated: false };
  }

  /** Everything that can be wrong with an event is found before the first one is taken. */
  #plan(event: SubmittedEvent): Planned {
    if (event.payload.byteLength > eventBytesMax) {
      throw new HeadraceError(
        "HR_EVENT_TOO_LARGE",
        `an event of ${event.payload.byteLength} bytes exceeds ${eventBytesMax}`,
      );
    }
    if (event.stream !== undefined) {
      const stream = this.#router.stream(event.stream);
      if (!stream)
        throw new HeadraceError("HR_NOT_FOUND", `no source stream ${event.stream}; there are ${this.#names()}`);
      return {
        event,
        route: undefined,
        targets: [new Target(stream, event.topic ?? "", event.device === undefined ? {} : { device: event.device })],
      };
    }
    if (event.topic === undefined) throw new HeadraceError("HR_BAD_REQUEST", "an event names a topic or a stream");
    const route = this.#router.http(event.topic);
    if (route.targets.length === 0) {
      throw new HeadraceError(
        "HR_NOT_FOUND",
        `no stream takes ${JSON.stringify(event.topic)} over HTTP; name one of ${this.#names()} with stream=`,
      );
    }
    return { event, route, targets: route.targets };
  }

  #names(): string {
    return [...this.#router.streams].map((stream) => stream.definition.name).join(", ");
  }

  #checkRoom(events: readonly SubmittedEvent[]): void {
    const { waitingBytes, waitingBytesMax } = this.#ingest;
    const bytes = events.reduce((sum, event) => sum + event.payload.byteLength, 0);
    if (waitingBytes > 0 && waitingBytes + bytes > waitingBytesMax) {
      throw new HeadraceError(
        "HR_OVERLOADED",
        `${waitingBytes} bytes wait to be stored; the limit is ${waitingBytesMax}`,
      );
    }
  }

  #store({ event, route, targets }: Planned): number {
    const { payload, userProperties, contentType, deviceEpoch = -1, deviceSequence = -1 } = event;
    const device = event.device ?? "http";
    const publisher: Publisher = { client: new InternedString(device), device: new Key(device) };
    const properties = encodeProperties({
      ...(contentType !== undefined && { contentType }),
      ...(userProperties && { userProperties }),
    });
    const nowMs = this.#nowMs();
    let stored = 0;
    for (const target of targets) {
      const header = target.stream.keyHeader;
      const value = header === undefined ? undefined : userProperties?.find(([name]) => name === header)?.[1];
      const key = value === undefined ? undefined : new Key(value);
      const isNew = this.#ingest.accept(
        target,
        publisher,
        key,
        1,
        nowMs,
        payload,
        0,
        payload.byteLength,
        properties,
        deviceEpoch,
        deviceSequence,
      );
      if (isNew) stored = 1;
    }
    if (stored === 1 && route && this.#fanOut.wants(route)) {
      const { topic, topicBytes } = route;
      const message = new FanOutMessage(
        {
          topic,
          payload: payload.slice(),
          qos: 1,
          retain: false,
          publisher: undefined,
          properties: { ...(contentType !== undefined && { contentType }), ...(userProperties && { userProperties }) },
        },
        topicBytes,
      );
      this.#fanOut.whenDurable(message, route);
    }
    return stored;
  }
}
