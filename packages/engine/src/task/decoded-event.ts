import type { EventProperties } from "../block/event-format.ts";
import type { EventBlockReader } from "../block/event-reader.ts";
import { decodeProperties } from "../block/properties.ts";
import type { TaskEvent } from "./spec.ts";

const noHeaders: Readonly<Record<string, string>> = Object.freeze(Object.create(null));

/** An event as a handler sees it. Properties are unpacked only when somebody asks. */
export class DecodedEvent implements TaskEvent {
  value: unknown;
  params: Readonly<Record<string, string>>;
  device: string;
  key: string;
  topic: string;
  timeMs: number;
  arrivalTimeMs: number;
  qos: number;
  readonly #packed: Uint8Array | undefined;
  #properties: EventProperties | undefined;

  constructor(
    reader: EventBlockReader,
    value: unknown,
    params: Readonly<Record<string, string>>,
    device: string,
    key: string,
    timeMs: number,
  ) {
    this.value = value;
    this.params = params;
    this.device = device;
    this.key = key;
    this.topic = reader.topic;
    this.timeMs = timeMs;
    this.arrivalTimeMs = reader.arrivalMs;
    this.qos = reader.qos;
    this.#packed = reader.hasProperties ? reader.propertiesBytes : undefined;
  }

  #unpacked(): EventProperties {
    this.#properties ??= this.#packed ? decodeProperties(this.#packed) : {};
    return this.#properties;
  }
  get headers(): Readonly<Record<string, string>> {
    const pairs = this.#unpacked().userProperties;
    if (!pairs) return noHeaders;
    const headers: Record<string, string> = Object.create(null);
    for (const [name, value] of pairs) headers[name] = value;
    return headers;
  }
  get cause(): string | undefined {
    return this.#unpacked().cause;
  }
}
