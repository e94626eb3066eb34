/**
 * Clients that connect over and over, alone or two of them under one id (M17): held off for a while. Asked once a client has shown who
 * it is, and counted for that identity, so that nobody can hold off a client whose credentials it has not. Bounded: of so many
 * clients the ones that connected longest ago are forgotten.
 */
const clientsMax = 10_000;

interface Connects {
  count: number;
  sinceMs: number;
  heldOffUntilMs: number;
}

export interface FlappingLimits {
  /** Connects in {@link windowMs} that are not yet too many. */
  readonly connectsMax: number;
  readonly windowMs: number;
  readonly holdOffMs: number;
}

export class Flapping {
  readonly #limits: FlappingLimits;
  readonly #nowMs: () => number;
  readonly #clients = new Map<string, Connects>();

  /** @param nowMs a clock that does not jump */
  constructor(limits: FlappingLimits, nowMs: () => number) {
    this.#limits = limits;
    this.#nowMs = nowMs;
  }

  get size(): number {
    return this.#clients.size;
  }

  /** Counts a connect; true when the client is held off. */
  isHeldOff(clientId: string, identity: string | undefined): boolean {
    const { connectsMax, windowMs, holdOffMs } = this.#limits;
    const nowMs = this.#nowMs();
    // An identity never holds U+0000 in MQTT, so this is unambiguous.
    const key = `${identity ?? ""}\0${clientId}`;
    const known = this.#clients.get(key);
    if (known !== undefined && nowMs < known.heldOffUntilMs) return true;
    const isFresh = known === undefined || nowMs - known.sinceMs >= windowMs || known.heldOffUntilMs > 0;
    const record = isFresh ? { count: 0, sinceMs: nowMs, heldOffUntilMs: 0 } : known;
    record.count += 1;
    if (record.count > connectsMax) record.heldOffUntilMs = nowMs + holdOffMs;
    this.#clients.delete(key);
    this.#clients.set(key, record);
    if (this.#clients.size > clientsMax) this.#clients.delete(this.#clients.keys().next().value as string);
    return record.heldOffUntilMs > 0;
  }
}
