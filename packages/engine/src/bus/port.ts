/**
 * The Bus port: what gateways tell each other while clients are connected. Nothing that must survive goes over it: that is in the log.
 * Drivers: between the threads of a node (server), in memory (testkit). Every driver passes the same conformance suite.
 */

/** A live message, as far as the bus looks at it. */
export interface BusMessage {
  readonly topic: string;
}

/** A gateway as the others reach it. What a driver calls, it calls in the order in which the others caused it. */
export interface BusMember<M extends BusMessage> {
  /**
   * Whether any other member wants `filter` from now on: publish what matches such a filter, and nothing else. A driver that
   * cannot know says so of `#` once. A promise is waited for before the other's `want` settles.
   */
  wanted(filter: string, isWanted: boolean): void | Promise<void>;
  /** A message that another member published and that a filter of this one matches: once, however many filters match. */
  heard(message: M): void;
  /** Another member says what is retained for a topic from now on. */
  retained(message: M): void;
  /**
   * Another member takes over a client id that this one holds: end its connection, and settle when everything that was
   * accepted from it is stored or refused.
   */
  takeOver(clientId: string): Promise<void>;
}

/**
 * One gateway's end of the bus.
 *
 * Order: what one member publishes and retains, every other hears in that order. All members hear what is retained in one
 * order. Delivery: at most once; a member that does not keep up misses published messages, which its driver counts, and never
 * what is retained. Bounds: a driver holds a bounded number of bytes for a member that does not keep up.
 */
export interface Bus<M extends BusMessage> {
  /**
   * Asks for messages whose topic matches an MQTT filter, without `$share`. Once it settles, everything that others publish is
   * heard. Wants are counted: a filter is let go with as many calls of {@link unwant}.
   */
  want(filter: string): Promise<void>;
  unwant(filter: string): void;
  /** Tells the others a message that one of them wants. */
  publish(message: M): void;
  /** Tells the others what is retained for the message's topic. */
  retain(message: M): void;
  /**
   * Takes a client id for a connection of this member. Settles when whoever held it has let go ({@link BusMember.takeOver}), or
   * is gone. Claims of one id are granted one after the other, in the order in which they come.
   */
  claim(clientId: string): Promise<void>;
  /** Lets go of a client id; without effect when another member has claimed it since. */
  release(clientId: string): void;
  /** Leaves the bus: wants and claims are let go, and whoever waits for this member goes on. */
  leave(): void;
}
