import { MqttError, protocolError, reasonCodes } from "./errors.ts";
import { shapeOf } from "./filter-shapes.ts";
import type { Qos } from "./packet.ts";
import type { FilterRequest, SubscribePacket } from "./subscribe.ts";
import { defaultTopicLimits, isSharedFilter, type TopicLimits, validateFilter } from "./topic.ts";

/** A subscription that a session holds, MQTT 5.0 §3.8. */
export interface Subscription {
  readonly filter: string;
  /** As granted. */
  readonly qos: Qos;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** Subscription Identifier, 1 to 268,435,455. */
  readonly identifier?: number;
}

/** A filter that a client asks for, with the answer that the protocol gives; a policy may still refuse it. */
export interface SubscriptionRequest extends FilterRequest {
  /** Granted QoS, or the reason code (0x80 and above) of a refusal that is already certain. */
  readonly reasonCode: number;
}

/** A subscription that came to be. */
export interface GrantedSubscription {
  readonly subscription: Subscription;
  /** The one of the same filter that it replaces. */
  readonly replaced: Subscription | undefined;
  /** Whether retained messages are due, MQTT 5.0 §3.3.1.3. */
  readonly sendRetained: boolean;
}

export interface SubscriptionLimits {
  /** Most subscriptions of one session; more are answered 0x97. Default 1,000. */
  readonly subscriptionsMax?: number;
  /**
   * Levels of the different shapes of one session's filters with `+`, a shape being the filter without its names; more are
   * answered 0x97. Default 128.
   */
  readonly shapeLevelsMax?: number;
  /** Default {@link defaultTopicLimits}. */
  readonly topicLimits?: TopicLimits;
  /** Whether `$share/…` filters are granted; else they are answered 0x9E. Default false. */
  readonly sharedSubscriptions?: boolean;
}

/** The subscriptions of one session and the rules by which they come and go. */
export class SubscriptionList {
  readonly #byFilter = new Map<string, Subscription>();
  readonly #subscriptionsMax: number;
  readonly #topicLimits: TopicLimits;
  readonly #shared: boolean;
  readonly #shapeLevelsMax: number;
  /** Filters of each shape, for filters with `+`; made when the first one comes. */
  #shapes: Map<string, number> | undefined;

  constructor(limits: SubscriptionLimits = {}) {
    this.#subscriptionsMax = limits.subscriptionsMax ?? 1_000;
    this.#topicLimits = limits.topicLimits ?? defaultTopicLimits;
    this.#shared = limits.sharedSubscriptions ?? false;
    this.#shapeLevelsMax = limits.shapeLevelsMax ?? 128;
  }

  get size(): number {
    return this.#byFilter.size;
  }

  values(): IterableIterator<Subscription> {
    return this.#byFilter.values();
  }

  /**
   * What the protocol says to each filter.
   *
   * @throws MqttError 0x8F for a filter that is not one, 0x82 for No Local on a shared subscription (§3.8.3.1),
   *   0x97 for more filters than a session may hold
   */
  examine(packet: SubscribePacket): SubscriptionRequest[] {
    if (packet.filters.length > this.#subscriptionsMax) {
      throw new MqttError(reasonCodes.quotaExceeded, `SUBSCRIBE with ${packet.filters.length} filters`);
    }
    if ((packet.properties.subscriptionIdentifiers?.length ?? 0) > 1) {
      throw protocolError("SUBSCRIBE with two subscription identifiers");
    }
    const fresh = new Set<string>();
    const freshShapes = new Set<string>();
    return packet.filters.map((request) => {
      validateFilter(request.filter, this.#topicLimits);
      if (isSharedFilter(request.filter)) {
        if (request.noLocal) throw protocolError("No Local on a shared subscription (§3.8.3.1)");
        if (!this.#shared) return { ...request, reasonCode: reasonCodes.sharedSubscriptionsNotSupported };
      }
      if (!this.#byFilter.has(request.filter)) fresh.add(request.filter);
      const isOver = this.#byFilter.size + fresh.size > this.#subscriptionsMax && fresh.delete(request.filter);
      const full = isOver || !this.#hasRoomForShape(request.filter, freshShapes);
      return { ...request, reasonCode: full ? reasonCodes.quotaExceeded : request.qos };
    });
  }

  #hasRoomForShape(filter: string, fresh: Set<string>): boolean {
    const shape = shapeOf(filter);
    if (shape === undefined || this.#shapes?.has(shape) || fresh.has(shape)) return true;
    let levels = shape.length;
    for (const other of this.#shapes?.keys() ?? []) levels += other.length;
    for (const other of fresh) levels += other.length;
    if (levels > this.#shapeLevelsMax) return false;
    fresh.add(shape);
    return true;
  }

  #countShape(filter: string, change: 1 | -1): void {
    const shape = shapeOf(filter);
    if (shape === undefined) return;
    this.#shapes ??= new Map();
    const count = (this.#shapes.get(shape) ?? 0) + change;
    if (count > 0) this.#shapes.set(shape, count);
    else this.#shapes.delete(shape);
  }

  #set(subscription: Subscription): void {
    const { filter } = subscription;
    if (!this.#byFilter.has(filter)) this.#countShape(filter, 1);
    this.#byFilter.set(filter, subscription);
  }

  /** Makes the subscriptions whose final code is below 0x80. */
  grant(
    requests: readonly SubscriptionRequest[],
    codes: readonly number[],
    identifier: number | undefined,
  ): GrantedSubscription[] {
    const granted: GrantedSubscription[] = [];
    for (const [index, request] of requests.entries()) {
      const code = codes[index] as number;
      if (code >= 0x80) continue;
      const { filter, noLocal, retainAsPublished, retainHandling } = request;
      const replaced = this.#byFilter.get(filter);
      const subscription: Subscription = {
        filter,
        qos: code as Qos,
        noLocal,
        retainAsPublished,
        ...(identifier !== undefined && { identifier }),
      };
      this.#set(subscription);
      // §4.8.2: a shared subscription gets no retained messages.
      const isDue = retainHandling === 0 || (retainHandling === 1 && replaced === undefined);
      const sendRetained = isDue && !isSharedFilter(filter);
      granted.push({ subscription, replaced, sendRetained });
    }
    return granted;
  }

  get(filter: string): Subscription | undefined {
    return this.#byFilter.get(filter);
  }

  /** Puts back a subscription of a session that is restored. */
  restore(subscription: Subscription): void {
    this.#set(subscription);
  }

  /** Removes filters. Returns what was removed and one code for each: 0x00 or 0x11. */
  remove(filters: readonly string[]): { removed: Subscription[]; codes: number[] } {
    const removed: Subscription[] = [];
    const codes = filters.map((filter) => {
      const found = this.#byFilter.get(filter);
      if (found === undefined) return reasonCodes.noSubscriptionExisted;
      this.#byFilter.delete(filter);
      this.#countShape(filter, -1);
      removed.push(found);
      return reasonCodes.success;
    });
    return { removed, codes };
  }

  /** Removes everything and returns it: the end of a clean session. */
  clear(): Subscription[] {
    const removed = [...this.#byFilter.values()];
    this.#byFilter.clear();
    this.#shapes = undefined;
    return removed;
  }
}
