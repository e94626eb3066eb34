/** From the records of a block to events: parse, check against the schema, name the device. What does not pass is rejected with a reason. */
import type { StreamDefinition, ValidationIssue } from "@headrace/sdk";
import type { EventBlockReader } from "../block/event-reader.ts";
import { partitionOf } from "../keys.ts";
import { isDate, parseTime } from "../value/date.ts";
import type { JsonDecoder } from "../value/json-decoder.ts";
import { DecodedEvent } from "./decoded-event.ts";
import { describeError, isThenable } from "./failure.ts";
import type { TaskInput, TaskSpec } from "./spec.ts";
import type { TopicParams } from "./topic-params.ts";

export interface Rejection {
  readonly reason: "json" | "schema";
  readonly message: string;
  readonly issues?: readonly PlainIssue[];
}

interface PlainIssue {
  readonly message: string;
  readonly path?: readonly string[];
}

/** Decodes the events of one block; caches what repeats in it. */
export class BlockDecoder {
  readonly #reader: EventBlockReader;
  readonly #input: TaskInput;
  readonly #spec: TaskSpec;
  readonly #json: JsonDecoder;
  readonly #topics: TopicParams;
  readonly #params: (Readonly<Record<string, string>> | undefined)[] = [];
  readonly #mine: (boolean | undefined)[] = [];
  readonly #validate: ((value: unknown) => unknown) | undefined;
  /** Why the last {@link decode} gave nothing. */
  rejection: Rejection | undefined;

  /**
   * @param json kept by the task for each input: it knows the payloads' shape
   * @param topics kept by the task for each input: the same topics come in each block
   */
  constructor(reader: EventBlockReader, input: TaskInput, spec: TaskSpec, json: JsonDecoder, topics: TopicParams) {
    this.#reader = reader;
    this.#input = input;
    this.#spec = spec;
    this.#json = json;
    this.#topics = topics;
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
        value = this.#json.decode(reader.bytes, reader.payloadStart, reader.payloadEnd);
      } catch (error) {
        this.rejection = { reason: "json", message: `the payload is not JSON: ${(error as Error).message}` };
        return undefined;
      }
      if (this.#validate) {
        let result: unknown;
        try {
          result = this.#validate(value);
        } catch (error) {
          this.rejection = { reason: "schema", message: `the schema itself failed: ${describeError(error).message}` };
          return undefined;
        }
        if (isThenable(result)) {
          // Nobody waits for it, and its failure must not count as one that nobody handles.
          result.then(undefined, () => undefined);
          this.rejection = { reason: "schema", message: "the schema checks asynchronously: use a synchronous one" };
          return undefined;
        }
        const checked = result as { value?: unknown; issues?: readonly ValidationIssue[] };
        if (checked.issues) {
          const issues = checked.issues.slice(0, issuesMax).map(plainIssue);
          this.rejection = { reason: "schema", message: describeIssues(issues), issues };
          return undefined;
        }
        value = checked.value;
      }
    } else value = reader.payload;
    const topicIndex = reader.topicIndex;
    this.#params[topicIndex] ??= this.#topics.of(reader.topic);
    const params = this.#params[topicIndex] as Readonly<Record<string, string>>;
    const { stream } = this.#input;
    const key = reader.key;
    const device = params.device ?? (stream.kind === "derived" || stream.key ? reader.client : key);
    return new DecodedEvent(reader, value, params, device, key, eventTimeMs(stream, value) ?? reader.arrivalMs);
  }
}

const issuesMax = 20;

/** Message and path alone: what else a library puts into an issue (the input, a cause) may not fit JSON. */
const plainIssue = ({ message, path }: ValidationIssue): PlainIssue => ({
  message: String(message).slice(0, 1000),
  ...(path && { path: path.map((part) => String(typeof part === "object" ? part.key : part)) }),
});

const describeIssues = (issues: readonly PlainIssue[]): string =>
  issues
    .slice(0, 3)
    .map(({ message, path }) => (path?.length ? `${path.join(".")}: ${message}` : message))
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
