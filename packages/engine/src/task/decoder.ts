/** From the records of a block to events: parse, check against the schema, name the device. What does not pass is rejected with a reason. */
import type { StreamDefinition, ValidationIssue } from "@headrace/sdk";
import type { EventBlockReader } from "../block/event-reader.ts";
import { partitionOf } from "../keys.ts";
import { isDate, parseTime } from "../value/date.ts";
import { DecodedEvent } from "./decoded-event.ts";
import type { TaskHost, TaskInput, TaskSpec } from "./spec.ts";
import { topicParams } from "./topic-params.ts";

export interface Rejection {
  readonly reason: "json" | "schema";
  readonly message: string;
  readonly issues?: readonly ValidationIssue[];
}

/** Decodes the events of one block; caches what repeats in it. */
export class BlockDecoder {
  readonly #reader: EventBlockReader;
  readonly #input: TaskInput;
  readonly #spec: TaskSpec;
  readonly #host: TaskHost;
  readonly #params: (Readonly<Record<string, string>> | undefined)[] = [];
  readonly #mine: (boolean | undefined)[] = [];
  readonly #validate: ((value: unknown) => unknown) | undefined;
  /** Why the last {@link decode} gave nothing. */
  rejection: Rejection | undefined;

  constructor(reader: EventBlockReader, input: TaskInput, spec: TaskSpec, host: TaskHost) {
    this.#reader = reader;
    this.#input = input;
    this.#spec = spec;
    this.#host = host;
    this.#validate = input.stream.schema?.["~standard"].validate;
  }

  /** True if the current record's key belongs to this partition; a derived stream's blocks hold the keys of all. */
  isMine(): boolean {
    if (this.#spec.partitions === 1 || this.#input.stream.kind === "source") return true;
    const index = this.#reader.keyIndex;
    this.#mine[index] ??= partitionOf(this.#reader.string(index), this.#spec.partitions) === this.#spec.partition;
    return this.#mine[index] as boolean;
  }

  /** The current record as an event; undefined when it is rejected. */
  decode(): DecodedEvent | undefined {
    const reader = this.#reader;
    let value: unknown;
    if (this.#input.decode) {
      try {
        value = JSON.parse(this.#host.text(reader.bytes, reader.payloadStart, reader.payloadEnd));
      } catch (error) {
        this.rejection = { reason: "json", message: `the payload is not JSON: ${(error as Error).message}` };
        return undefined;
      }
      if (this.#validate) {
        const result = this.#validate(value) as {
          value?: unknown;
          issues?: readonly ValidationIssue[];
          then?: unknown;
        };
        if (result.issues) {
          this.rejection = {
            reason: "schema",
            message: describeIssues(result.issues),
            issues: result.issues.slice(0, 20),
          };
          return undefined;
        }
        if (typeof result.then === "function") {
          this.rejection = { reason: "schema", message: "the schema checks asynchronously: use a synchronous one" };
          return undefined;
        }
        value = result.value;
      }
    } else value = reader.payload;
    const topicIndex = reader.topicIndex;
    this.#params[topicIndex] ??= topicParams(this.#input.stream.sources, reader.topic);
    const params = this.#params[topicIndex] as Readonly<Record<string, string>>;
    const { stream } = this.#input;
    const key = reader.key;
    const device = params.device ?? (stream.kind === "derived" || stream.key ? reader.client : key);
    return new DecodedEvent(reader, value, params, device, key, eventTimeMs(stream, value) ?? reader.arrivalMs);
  }
}

const describeIssues = (issues: readonly ValidationIssue[]): string =>
  issues
    .slice(0, 3)
    .map((issue) => {
      const path = issue.path?.map((part) => String(typeof part === "object" ? part.key : part)).join(".");
      return path ? `${path}: ${issue.message}` : issue.message;
    })
    .join("; ");

const eventTimeMs = (stream: StreamDefinition, value: unknown): number | undefined => {
  if (!stream.timeField) return undefined;
  return timeOf((value as Record<string, unknown> | null)?.[stream.timeField]);
};

/** A time from a payload: ms since the epoch, a Date or ISO 8601; undefined when it is none. */
export const timeOf = (value: unknown): number | undefined => {
  if (typeof value === "number") return Number.isFinite(value) ? value : undefined;
  if (isDate(value)) return Number.isNaN(value.getTime()) ? undefined : value.getTime();
  if (typeof value !== "string") return undefined;
  return parseTime(value);
};
