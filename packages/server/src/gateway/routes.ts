/** Which streams a topic feeds, worked out once per topic. */
import { InternedString } from "@headrace/engine";
import { TopicCache, utf8 } from "@headrace/mqtt";
import { systemStreams } from "@headrace/sdk";
import type { PartitionWriter } from "./partition-writer.ts";
import type { Delivery } from "./receiver.ts";
import type { DeviceMark } from "./repeats.ts";
import { Key, type StreamState } from "./stream-state.ts";
import { compilePattern, matchPattern, type TopicPattern } from "./topic-pattern.ts";

/** One stream that a topic feeds. Key and device are undefined where they depend on who publishes. */
export class Target {
  readonly stream: StreamState;
  readonly topic: InternedString;
  readonly key: Key | undefined;
  readonly writer: PartitionWriter | undefined;
  readonly device: string | undefined;
  #mark: DeviceMark | undefined;

  constructor(stream: StreamState, topic: string, params: Readonly<Record<string, string>>) {
    this.stream = stream;
    this.topic = new InternedString(topic);
    this.device = params.device;
    const definition = stream.definition.key;
    const text =
      definition === undefined
        ? params.device
        : "param" in definition
          ? (params[definition.param] ?? params.device)
          : undefined;
    this.key = text === undefined ? undefined : new Key(text);
    this.writer = this.key && stream.writerOf(this.key);
  }

  /** The mark of the device that the topic names, else of `publisher`. */
  markOf(publisher: string): DeviceMark {
    if (this.device === undefined) return this.stream.marks.of(publisher);
    this.#mark ??= this.stream.marks.of(this.device);
    return this.#mark;
  }
}

/** What the gateway knows about one topic. */
export class Route {
  readonly topic: string;
  readonly topicBytes: Uint8Array;
  /** Streams for a QoS 0 message. */
  readonly targets: readonly Target[];
  /** Streams for a message that must be stored: the built-in stream `mqtt` when the topic feeds none. */
  readonly durableTargets: readonly Target[];
  /** Who receives the topic, as of `deliveriesVersion` of the subscriptions. */
  deliveries: readonly Delivery[] = [];
  deliveriesVersion = -1;

  constructor(topic: string, targets: readonly Target[], fallback: StreamState | undefined) {
    this.topic = topic;
    this.topicBytes = utf8(topic);
    this.targets = targets;
    this.durableTargets = targets.length > 0 || !fallback ? targets : [new Target(fallback, topic, {})];
  }
}

interface Source {
  readonly kind: "mqtt" | "http";
  readonly pattern: TopicPattern;
  readonly stream: StreamState;
}

export class Router {
  readonly mqtt = new TopicCache<Route>((topic) => this.#resolve(topic, "mqtt"));
  #http = new Map<string, Route>();
  #sources: Source[] = [];
  #streams = new Map<string, StreamState>();

  /** New routes from now on. */
  setStreams(streams: readonly StreamState[]): void {
    this.#streams = new Map(streams.map((stream) => [stream.definition.name, stream]));
    this.#sources = streams.flatMap((stream) =>
      stream.definition.sources.map(({ kind, pattern }) => ({ kind, pattern: compilePattern(pattern), stream })),
    );
    this.clear();
  }

  /** Forgets what was worked out: after a change of streams or policy. */
  clear(): void {
    this.#http.clear();
    this.mqtt.clear();
  }

  get streams(): IterableIterator<StreamState> {
    return this.#streams.values();
  }
  stream(name: string): StreamState | undefined {
    return this.#streams.get(name);
  }

  /** The route of a topic that was posted over HTTP. */
  http(topic: string): Route {
    let route = this.#http.get(topic);
    if (!route) {
      if (this.#http.size >= 10_000) this.#http.clear();
      route = this.#resolve(topic, "http");
      this.#http.set(topic, route);
    }
    return route;
  }

  #resolve(topic: string, kind: "mqtt" | "http"): Route {
    const levels = topic.split("/");
    const found = new Map<StreamState, Target>();
    for (const source of this.#sources) {
      if (source.kind !== kind || found.has(source.stream)) continue;
      const params = matchPattern(source.pattern, levels);
      if (params) found.set(source.stream, new Target(source.stream, topic, params));
    }
    return new Route(topic, [...found.values()], kind === "mqtt" ? this.#streams.get(systemStreams.mqtt) : undefined);
  }
}
