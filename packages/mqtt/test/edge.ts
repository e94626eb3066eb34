import {
  MqttError,
  PacketScanner,
  packetTypes,
  ServerSession,
  type SessionAction,
  type SessionOptions,
  TopicCache,
  TopicMemo,
} from "@headrace/mqtt";

/** A test's edge: bytes in, actions out, as a server would wire scanner, topics and session. */
export class Edge {
  readonly scanner: PacketScanner;
  readonly session: ServerSession<string>;
  readonly topics = new TopicMemo(new TopicCache((topic) => topic));
  readonly published: string[] = [];
  /** True to leave CONNACK to the test. */
  holdsBack = false;

  constructor(options: Partial<SessionOptions> = {}) {
    const { maximumPacketSize } = options;
    this.scanner = new PacketScanner({ from: "client", ...(maximumPacketSize && { maximumPacketSize }) });
    this.session = new ServerSession({ generateClientId: () => "made-1", ...options });
  }

  /** Feeds bytes, accepts every client, and returns all actions in order. */
  receive(...packets: readonly Uint8Array[]): SessionAction[] {
    const actions: SessionAction[] = [];
    this.scanner.feed(Buffer.concat(packets));
    while (this.session.state !== "ended") {
      try {
        if (this.scanner.next() === 0) break;
        actions.push(...this.#handle());
      } catch (error) {
        if (!(error instanceof MqttError)) throw error;
        actions.push(...this.session.fail(error));
      }
    }
    return actions;
  }

  #handle(): readonly SessionAction[] {
    const { scanner, session } = this;
    if (scanner.type === packetTypes.publish) {
      const view = scanner.publish;
      const code = session.onPublish(view);
      if (code !== 0) return session.fail(new MqttError(code, "PUBLISH"));
      if (view.qos === 2 && session.isRepeat) return [];
      if (view.qos === 2) session.took(view.packetId);
      const aliased = session.aliasedTopic;
      this.published.push(
        aliased === undefined
          ? this.topics.lookup(view.buffer, view.topicStart, view.topicEnd)
          : this.topics.lookup(aliased, 0, aliased.length),
      );
      return [];
    }
    const actions = session.onPacket(scanner);
    scanner.version = session.version;
    if (session.state === "authenticating" && this.holdsBack) return actions;
    return actions.some(({ type }) => type === "authenticate") ? [...actions, ...session.accept()] : actions;
  }
}

/** The reason code with which a session was closed; undefined when it was not. */
export function closeCode(actions: readonly SessionAction[]): number | undefined {
  return actions.find((action) => action.type === "close")?.reasonCode;
}

/** The bytes sent, as hexadecimal strings. */
export function sent(actions: readonly SessionAction[]): string[] {
  return actions.flatMap((action) =>
    "bytes" in action && action.bytes !== undefined ? [Buffer.from(action.bytes).toString("hex")] : [],
  );
}
