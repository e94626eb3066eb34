/** What one listener has seen since this start. Its open connections keep their own counts; they are summed when somebody asks. */
import type { ListenerTraffic } from "../control.ts";
import { countReason, type Reasons } from "./figures.ts";
import { type ByQos, Traffic } from "./traffic.ts";
import type { ListenerCounts } from "./transports/transport.ts";

/** A connection as its listener counts it. */
export interface Counted {
  /** Its traffic, with the bytes of this moment. */
  traffic(): Traffic;
}

export class ListenerFigures {
  /** Known once it listens. */
  port = 0;
  readonly #transport: string;
  readonly #open = new Set<Counted>();
  readonly #closed = new Traffic();
  readonly #refused: Reasons = {};
  readonly #publishRefused: Reasons = {};
  #accepted = 0;

  constructor(transport: string) {
    this.#transport = transport;
  }

  /** Transport and port: `tcp:1883`. */
  get name(): string {
    return `${this.#transport}:${this.port}`;
  }

  opened(connection: Counted): void {
    this.#accepted += 1;
    this.#open.add(connection);
  }
  /** @param isUnfinished it went before anything was decided about it */
  closed(connection: Counted, isUnfinished: boolean): void {
    if (!this.#open.delete(connection)) return;
    this.#closed.add(connection.traffic());
    if (isUnfinished) countReason(this.#refused, "unfinished");
  }
  /** A connection was refused a session. */
  refused(reasonCode: number): void {
    countReason(this.#refused, reasonCode);
  }
  publishRefused(reasonCode: number, count = 1): void {
    for (let one = 0; one < count; one += 1) countReason(this.#publishRefused, reasonCode);
  }

  /** What came to this listener; `counts` has what never became a connection of MQTT. */
  status({ turnedAway, failed }: ListenerCounts): ListenerTraffic {
    const sum = new Traffic();
    sum.add(this.#closed);
    for (const connection of this.#open) sum.add(connection.traffic());
    return {
      name: this.name,
      connections: this.#open.size,
      accepted: this.#accepted,
      refused: {
        ...this.#refused,
        ...(turnedAway > 0 && { "too-many": turnedAway }),
        ...(failed > 0 && { handshake: failed }),
      },
      publishRefused: { ...this.#publishRefused },
      messagesIn: sum.messagesIn,
      messagesOut: sum.messagesOut,
      bytesIn: sum.bytesIn,
      bytesOut: sum.bytesOut,
    };
  }
}

const addCounts = (into: Record<string, number>, counts: Readonly<Record<string, number>>): void => {
  for (const [reason, count] of Object.entries(counts)) into[reason] = (into[reason] ?? 0) + count;
};
const addByQos = (a: ByQos, b: ByQos): ByQos => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];

/** One entry per listener: gateway threads share a port, and each has figures of its own. */
export const sumTraffic = (all: readonly ListenerTraffic[]): ListenerTraffic[] => {
  const byName = new Map<string, ListenerTraffic>();
  for (const one of all) {
    const known = byName.get(one.name);
    if (known === undefined) {
      byName.set(one.name, one);
      continue;
    }
    const refused = { ...known.refused };
    const publishRefused = { ...known.publishRefused };
    addCounts(refused, one.refused);
    addCounts(publishRefused, one.publishRefused);
    byName.set(one.name, {
      name: one.name,
      connections: known.connections + one.connections,
      accepted: known.accepted + one.accepted,
      refused,
      publishRefused,
      messagesIn: addByQos(known.messagesIn, one.messagesIn),
      messagesOut: addByQos(known.messagesOut, one.messagesOut),
      bytesIn: known.bytesIn + one.bytesIn,
      bytesOut: known.bytesOut + one.bytesOut,
    });
  }
  return [...byName.values()];
};
