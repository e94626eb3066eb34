/**
 * The devices of the simulation: each sends its messages with epoch and sequence, several on their way at once; repeats what was not acknowledged after a
 * refusal, a reconnection or a crash; sends copies of old messages; starts again with a new epoch; and answers commands, mostly.
 */
import type { OwedCommand } from "@headrace/engine";
import type { VirtualLoop } from "@headrace/testkit/simulation";
import type { MessageId } from "../checker.ts";
import type { Load } from "./application.ts";
import type { Chance } from "./chance.ts";
import type { SimulatedNode } from "./node.ts";
import type { Marks } from "./rare-paths.ts";

interface Message extends MessageId {
  readonly payload: Uint8Array;
}

/** A command as a device has seen it. */
export interface Delivered {
  readonly id: string;
  readonly device: string;
  readonly count: number;
}

export interface DevicesOptions {
  readonly chance: Chance;
  readonly loop: VirtualLoop;
  readonly marks: Marks;
  /** The node that takes messages now; undefined while there is none. */
  readonly node: () => SimulatedNode | undefined;
  readonly trace: (line: () => string) => void;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const batchMax = 16;
const inFlightMax = 64;

export class Devices {
  readonly #options: DevicesOptions;
  readonly #devices: Device[];
  readonly sent: MessageId[] = [];
  readonly acknowledged: MessageId[] = [];
  readonly delivered: Delivered[] = [];
  /** New messages are made only while this is true. */
  isSending = true;

  constructor(count: number, options: DevicesOptions) {
    this.#options = options;
    this.#devices = Array.from({ length: count }, (_, index) => new Device(`d${index}`, this, options));
  }

  get areDone(): boolean {
    return this.#devices.every((device) => device.isDone);
  }

  /** A node is there: everybody connects. */
  nodeStarted(): void {
    for (const device of this.#devices) device.reconnect();
  }
  /** The node is gone, and with it every answer that was on its way. */
  nodeEnded(): void {
    for (const device of this.#devices) {
      device.disconnect();
      // Some lose their memory with the node: one place, one power.
      if (this.#options.chance.of(0.05)) device.forget();
    }
  }

  deliver(command: OwedCommand): "sent" | "offline" {
    const { chance, loop, node, marks } = this.#options;
    const { id, device, payload } = command;
    const known = this.#devices.find(({ name }) => name === device);
    if (!known?.isConnected || chance.of(0.05)) return "offline";
    const { count } = (JSON.parse(decoder.decode(payload)) as { args: { count: number } }).args;
    if (this.delivered.some((before) => before.id === id)) marks.hit("a command is sent again");
    this.delivered.push({ id, device, count });
    if (chance.of(0.1)) return "sent";
    loop.after(1 + chance.upTo(100), () => {
      const answer = { stream: "command-acks", topic: `devices/${device}/commands/${id}/ack`, device };
      // What a device answers while the node is away is lost: the command is sent again.
      node()
        ?.gateway.submit([{ ...answer, payload: encoder.encode('{"ok":true}') }])
        .catch(() => undefined);
    });
    return "sent";
  }
}

class Device {
  readonly name: string;
  readonly #world: Devices;
  readonly #options: DevicesOptions;
  #epoch = 1;
  #next = 1;
  /** Sent or to be sent, and not acknowledged, in their order. */
  #unacknowledged: Message[] = [];
  /** How many of them are on their way. */
  #inFlight = 0;
  /** Some that were acknowledged, to be sent again out of their order. */
  readonly #old: Message[] = [];
  #connection = 0;
  isConnected = false;

  constructor(name: string, world: Devices, options: DevicesOptions) {
    this.name = name;
    this.#world = world;
    this.#options = options;
    const turn = (): void => {
      if (!world.isSending && this.isDone) return;
      this.#turn();
      options.loop.after(5 + options.chance.upTo(120), turn);
    };
    options.loop.after(options.chance.upTo(30), turn);
  }

  get isDone(): boolean {
    return this.#unacknowledged.length === 0;
  }

  reconnect(): void {
    this.#connection += 1;
    this.#inFlight = 0;
    this.isConnected = true;
    this.#options.node()?.runtime.deviceReady(this.name);
  }
  disconnect(): void {
    this.#connection += 1;
    this.#inFlight = 0;
    this.isConnected = false;
  }

  /** It starts again, and forgets what it had sent: all that may be stored or not. */
  forget(): void {
    this.#epoch += 1;
    this.#next = 1;
    this.#unacknowledged = [];
  }

  #turn(): void {
    const { chance, marks } = this.#options;
    if (!this.isConnected) return;
    const isSending = this.#world.isSending;
    if (isSending && chance.of(0.005)) {
      this.forget();
      this.reconnect();
      return;
    }
    if (this.#old.length > 0 && chance.of(0.05)) {
      this.#submit([chance.one(this.#old)], true);
      return;
    }
    if (isSending && this.#unacknowledged.length < inFlightMax)
      for (let made = chance.between(1, batchMax); made > 0; made--) this.#make();
    const batch = this.#unacknowledged.slice(this.#inFlight, this.#inFlight + chance.between(1, batchMax));
    if (batch.length === 0) return;
    this.#inFlight += batch.length;
    this.#submit(batch, false);
    if (isSending && chance.of(0.04)) {
      marks.hit("a device reconnects with messages on their way");
      this.reconnect();
    }
  }

  #make(): void {
    const { chance } = this.#options;
    const n = this.#next++;
    const value: Load = { epoch: this.#epoch, n, ...(chance.of(0.05) && { pad: "x".repeat(chance.below(3000)) }) };
    const payload = encoder.encode(JSON.stringify(value));
    this.#unacknowledged.push({ device: this.name, epoch: this.#epoch, sequence: n, payload });
  }

  #submit(messages: readonly Message[], isOld: boolean): void {
    const { node, marks } = this.#options;
    const connection = this.#connection;
    if (!isOld) for (const { device, epoch, sequence } of messages) this.#world.sent.push({ device, epoch, sequence });
    const events = messages.map(({ payload, epoch, sequence }) => ({
      topic: `load/${this.name}`,
      device: this.name,
      payload,
      deviceEpoch: epoch,
      deviceSequence: sequence,
    }));
    node()
      ?.gateway.submit(events)
      .then(
        ({ stored }) => {
          if (connection !== this.#connection) {
            marks.hit("an acknowledgement is lost");
            return;
          }
          if (stored === 0) marks.hit("a repeat is recognised");
          if (!isOld) this.#acknowledge(messages);
        },
        (error: { code?: string }) => {
          if (connection !== this.#connection) return;
          marks.hit(`refused with ${error.code}`);
          // Everything from there on is sent again, in its order.
          if (!isOld) this.reconnect();
        },
      );
  }

  #acknowledge(messages: readonly Message[]): void {
    for (const message of messages) {
      const [first] = this.#unacknowledged;
      if (first !== message) throw new Error("acknowledgements come in the order of the messages");
      this.#unacknowledged.shift();
      this.#inFlight -= 1;
      const { device, epoch, sequence } = message;
      this.#world.acknowledged.push({ device, epoch, sequence });
      if (this.#options.chance.of(0.1)) this.#old.push(message);
      if (this.#old.length > 5) this.#old.shift();
    }
    this.#options.trace(() => `${this.name} has ${messages.length} acknowledged, to ${messages.at(-1)?.sequence}`);
  }
}
