/** A device of an application under test: publishes, receives commands, acknowledges them. */
import { HeadraceError, type Stream } from "@headrace/sdk";

/** A command as a device receives it. */
export interface ReceivedCommand {
  /** Stays the same when the command is sent again. */
  readonly id: string;
  readonly name: string;
  readonly args: unknown;
  /** In ms since the epoch. */
  readonly deadlineMs: number;
}

/** Answers a command: what it returns is the result; what it throws, the reason of the failure. May be asynchronous. */
export type CommandHandler = (command: ReceivedCommand) => unknown;

export interface PublishOptions {
  /** Default 1. */
  readonly qos?: 0 | 1;
  /** User properties. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Parameters of the stream's topic beside `device`; only with a stream in place of a topic. */
  readonly params?: Readonly<Record<string, string>>;
}

/** What a device does, as the application under test takes it. */
export interface DeviceHost {
  /** The topic of a stream with its parameters filled in. @throws HR_NOT_FOUND */
  topicOf(stream: string, params: Readonly<Record<string, string>>): string;
  publish(
    topic: string,
    device: string,
    payload: Uint8Array,
    qos: 0 | 1,
    headers: Readonly<Record<string, string>>,
  ): void;
  /** A handler is there: what waits for the device is delivered. */
  listening(device: string): void;
}

const encoder = new TextEncoder();

export class TestDevice {
  readonly id: string;
  /** Commands that were delivered to it, oldest first; one that is sent again after a crash stands here again. */
  readonly received: ReceivedCommand[] = [];
  readonly #host: DeviceHost;
  #handler: CommandHandler | undefined;

  constructor(id: string, host: DeviceHost) {
    this.id = id;
    this.#host = host;
  }

  /**
   * Publishes a value as JSON, or bytes as they are, and lets everything that follows without waiting happen before it returns.
   * @param to a topic, or a stream: then its first source gives the topic, with this device and `params` in it
   * @throws HR_NOT_FOUND when the topic feeds no stream, or a parameter is missing
   */
  publish(to: string | Stream, value: unknown, { qos = 1, headers = {}, params = {} }: PublishOptions = {}): void {
    const topic = typeof to === "string" ? to : this.#host.topicOf(to.name, { device: this.id, ...params });
    const text = value instanceof Uint8Array ? undefined : JSON.stringify(value);
    const payload = value instanceof Uint8Array ? value : encoder.encode(text ?? "");
    this.#host.publish(topic, this.id, payload, qos, headers);
  }

  /** Answers the commands of this device from now on, and those that it has received and not answered. */
  onCommand(handler: CommandHandler): this {
    this.#handler = handler;
    this.#host.listening(this.id);
    return this;
  }

  /** Acknowledges a command by hand. */
  acknowledge(id: string, result?: unknown): void {
    this.#answer(id, { ok: true, ...(result !== undefined && { result }) });
  }

  /** Says that a command failed. */
  fail(id: string, error: string): void {
    this.#answer(id, { ok: false, error });
  }

  /** Takes a command; the result settles once an asynchronous handler has answered. */
  deliver(command: ReceivedCommand): Promise<void> | undefined {
    this.received.push(command);
    return this.answer(command);
  }

  /** Lets the handler answer a command; undefined when there is none, or it has answered at once. */
  answer(command: ReceivedCommand): Promise<void> | undefined {
    if (!this.#handler) return undefined;
    const failed = (error: unknown): void =>
      this.fail(command.id, error instanceof Error ? error.message : String(error));
    try {
      const result = this.#handler(command);
      if (result instanceof Promise) return result.then((value) => this.acknowledge(command.id, value), failed);
      this.acknowledge(command.id, result);
    } catch (error) {
      failed(error);
    }
    return undefined;
  }

  #answer(id: string, answer: unknown): void {
    this.publish(`devices/${this.id}/commands/${id}/ack`, answer);
  }
}

/** A stream's topic with its parameters. @throws HR_NOT_FOUND for a stream without sources, or a parameter without a value */
export const fillTopic = (
  stream: string,
  pattern: string | undefined,
  params: Readonly<Record<string, string>>,
): string => {
  if (pattern === undefined) throw new HeadraceError("HR_NOT_FOUND", `stream "${stream}" takes no messages of devices`);
  return pattern
    .split("/")
    .map((level) => {
      if (!level.startsWith(":")) return level;
      const value = params[level.slice(1)];
      if (value === undefined) {
        throw new HeadraceError(
          "HR_NOT_FOUND",
          `topic "${pattern}" of stream "${stream}" needs params.${level.slice(1)}`,
        );
      }
      return value;
    })
    .join("/");
};
