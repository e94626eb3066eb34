/** What is known and counted of one connection, beside its protocol: for operators, metrics and events. */
import { reasonCodes, type ServerSession, type SessionAction } from "@headrace/mqtt";
import type { ClientQuery, ClientSummary } from "../control.ts";
import type { Held } from "./fan-out-message.ts";
import { countReason } from "./figures.ts";
import type { Listed } from "./listed.ts";
import type { Counted, ListenerFigures } from "./listener-figures.ts";
import type { Shared } from "./shared.ts";
import { Traffic } from "./traffic.ts";
import type { Peer, Wire } from "./transports/transport.ts";

/** The parts of a connection that a view of it needs. */
export interface Viewed {
  readonly clientId: string;
  readonly identity: string | undefined;
  readonly session: ServerSession<Held>;
  readonly durable: { readonly expirySeconds: number } | undefined;
  /** When the client was last heard, by the clock that does not jump. */
  readonly lastMs: number;
}

const protocolName = (version: 0 | 4 | 5): "3.1.1" | "5.0" => (version === 5 ? "5.0" : "3.1.1");
const total = (byQos: readonly number[]): number => byQos.reduce((sum, count) => sum + count, 0);

type End = Extract<SessionAction, { type: "close" }>;

const deviceOf = ({ identity, clientId }: Viewed): string => identity ?? clientId;

/** Who ended a connection, and why. */
const endOf = (end: End | undefined): object => {
  if (end === undefined) return { endedBy: "network", reason: "the connection broke" };
  const { reasonCode, reason, isFromClient } = end;
  return { endedBy: isFromClient ? "client" : "node", reasonCode, reason };
};

export class ConnectionRecord implements Counted {
  readonly #shared: Shared;
  readonly #socket: Wire;
  readonly #peer: Peer;
  readonly #figures: ListenerFigures;
  readonly #traffic = new Traffic();
  #connectedAtMs = 0;
  #isDecided = false;
  #end: End | undefined;

  constructor(shared: Shared, socket: Wire, peer: Peer, figures: ListenerFigures) {
    this.#shared = shared;
    this.#socket = socket;
    this.#peer = peer;
    this.#figures = figures;
    figures.opened(this);
  }

  /** For counting; {@link traffic} brings the bytes up to date. */
  get messages(): Traffic {
    return this.#traffic;
  }
  traffic(): Traffic {
    this.#traffic.bytesIn = this.#socket.bytesRead;
    this.#traffic.bytesOut = this.#socket.bytesWritten;
    return this.#traffic;
  }

  connected(viewed: Viewed): void {
    this.#isDecided = true;
    this.#connectedAtMs = this.#shared.nowMs();
    this.#shared.connectionEvents.add(deviceOf(viewed), viewed.clientId, {
      status: "connected",
      ...this.#about(viewed),
      cleanStart: viewed.session.connectRequest.clean,
      keepAliveSeconds: this.#keepAliveSeconds(viewed),
    });
  }
  /** A message of the client was refused. */
  publishRefused(reasonCode: number): void {
    this.#shared.counters.refused += 1;
    countReason(this.#shared.counters.reasons, reasonCode);
    this.#figures.publishRefused(reasonCode);
  }
  /** A group with so many messages of the client was not stored. */
  groupRefused(count: number): void {
    this.#shared.counters.refused += count;
    this.#figures.publishRefused(reasonCodes.quotaExceeded, count);
  }
  ends(end: End): void {
    const { reasonCode, isFromClient } = end;
    if (reasonCode >= 0x80 && !isFromClient) {
      countReason(this.#shared.counters.reasons, reasonCode);
      if (!this.#isDecided) this.#figures.refused(reasonCode);
    }
    this.#isDecided = true;
    this.#end ??= end;
  }
  gone(viewed: Viewed): void {
    this.#figures.closed(this, !this.#isDecided);
    if (this.#connectedAtMs === 0) return;
    const { messagesIn, messagesOut, bytesIn, bytesOut } = this.traffic();
    this.#shared.connectionEvents.add(deviceOf(viewed), viewed.clientId, {
      status: "disconnected",
      ...this.#about(viewed),
      ...endOf(this.#end),
      durationMs: Math.max(0, this.#shared.nowMs() - this.#connectedAtMs),
      messagesIn: total(messagesIn),
      messagesOut: total(messagesOut),
      bytesIn,
      bytesOut,
    });
  }

  #about({ identity, session, durable }: Viewed): object {
    return {
      address: this.#peer.address,
      listener: this.#figures.name,
      protocol: protocolName(session.version),
      sessionExpirySeconds: durable?.expirySeconds ?? 0,
      ...(identity !== undefined && { identity }),
    };
  }

  /** What is in force: CONNACK may have lowered it (MQTT 5.0 §3.2.2.3.14). */
  #keepAliveSeconds({ session }: Viewed): number {
    const { version, silenceMaxMs, connectRequest } = session;
    return version === 5 ? silenceMaxMs / 1_500 : connectRequest.keepAliveSeconds;
  }

  view(viewed: Viewed): Listed {
    return {
      clientId: viewed.clientId,
      matches: (query) => this.#matches(query, viewed),
      summary: () => this.#summary(viewed),
      subscriptions: () => viewed.session.subscriptions.values(),
    };
  }

  #matches({ protocol, address, listener }: ClientQuery, { session }: Viewed): boolean {
    return (
      (protocol === undefined || protocol === protocolName(session.version)) &&
      (address === undefined || address === this.#peer.address) &&
      (listener === undefined || listener === this.#figures.name)
    );
  }

  #summary(viewed: Viewed): ClientSummary {
    const { clientId, identity, session, durable, lastMs } = viewed;
    const { outbox, subscriptions, version } = session;
    const traffic = this.traffic();
    return {
      clientId,
      state: "connected",
      ...(identity !== undefined && { identity }),
      session: durable === undefined ? "clean" : "lasting",
      sessionExpirySeconds: durable?.expirySeconds ?? 0,
      subscriptions: subscriptions.size,
      inFlight: outbox.inFlightCount,
      queued: outbox.queuedCount,
      queuedBytes: outbox.queuedBytes,
      unacknowledged: session.unacknowledgedCount,
      connection: {
        listener: this.#figures.name,
        address: `${this.#peer.address}:${this.#peer.port}`,
        protocol: protocolName(version),
        keepAliveSeconds: this.#keepAliveSeconds(viewed),
        connectedAtMs: this.#connectedAtMs,
        lastPacketAtMs: Math.round(this.#shared.nowMs() - (performance.now() - lastMs)),
        messagesIn: total(traffic.messagesIn),
        messagesOut: total(traffic.messagesOut),
        bytesIn: traffic.bytesIn,
        bytesOut: traffic.bytesOut,
      },
    };
  }
}
