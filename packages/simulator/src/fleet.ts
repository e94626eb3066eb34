/** What a fleet is: devices, what they say and how often, how bad their link is, how they answer commands. */
import type { Random } from "./random.ts";

/** One simulated device; `model` is what the fleet's `model` made for it. */
export interface SimulatedDevice<Model = unknown> {
  readonly id: string;
  /** From 0. */
  readonly number: number;
  readonly model: Model;
}

/** A command as a device receives it. */
export interface ReceivedCommand {
  readonly id: string;
  readonly name: string;
  readonly args: unknown;
}

/** Faults of the link between device and server; all seeded. */
export interface Link {
  /** Probability per message that the link breaks while it is being sent, 0 to 1; default 0. */
  readonly loss?: number;
  /** Mean time between breaks of the link; the times are exponentially distributed. Default: never. */
  readonly disconnectEverySeconds?: number;
  /** How long a broken link stays so, ± 50 %; default 1,000. */
  readonly reconnectDelayMs?: number;
}

/** A fleet as its author describes it. */
export interface Fleet<Model = unknown> {
  /** How many, 1 to 100,000. */
  readonly devices: number;
  /** The id of a device, also its MQTT client id; default `device-0001`… `number` counts from 0. */
  readonly deviceId?: (number: number) => string;
  /** Messages per second and device. */
  readonly rate: number;
  /**
   * Messages that a device collects and sends together, 1 to 1,000; default 1. The rate stays the same. System calls are
   * nearly all that a message costs, so a large fleet that shares its machine with the server wants more than 1.
   */
  readonly burst?: number;
  /** Part of the interval by which each message may be early or late, 0 to 1; default 0.1. */
  readonly jitter?: number;
  /** What is particular to one device, made once with its own randomness. */
  readonly model?: (device: { readonly id: string; readonly number: number }, random: Random) => Model;
  /** The message number `index` (from 0) of a device, sent as JSON. Called once per message, in order: the same seed gives the same payloads. */
  readonly payload: (device: SimulatedDevice<Model>, index: number, random: Random) => object;
  /** Where a device publishes; asked once. */
  readonly topic: (device: SimulatedDevice<Model>) => string;
  readonly link?: Link;
  /** Answers a command: the result is acknowledged with `ok: true`, an exception with `ok: false`. Without it the devices do not subscribe. */
  readonly commands?: (device: SimulatedDevice<Model>, command: ReceivedCommand) => unknown;
}

/**
 * Checks a fleet and returns it.
 *
 * @throws RangeError naming the value that is out of range.
 * @example
 * ```ts
 * export default defineFleet({
 *   devices: 100,
 *   rate: 20,
 *   topic: (device) => `plants/north/pumps/${device.id}`,
 *   payload: (_device, index, random) => ({ temperature: 60 + 10 * Math.sin(index / 50) + random() }),
 * });
 * ```
 */
export function defineFleet<Model = undefined>(fleet: Fleet<Model>): Fleet<Model> {
  const { devices, rate, burst = 1, jitter = 0, link = {} } = fleet;
  if (!Number.isInteger(devices) || devices < 1 || devices > 100_000) {
    throw new RangeError(`devices ${devices}: 1 to 100,000`);
  }
  if (!(rate > 0 && rate <= 10_000)) throw new RangeError(`rate ${rate}: above 0 and up to 10,000 messages per second`);
  if (!Number.isInteger(burst) || burst < 1 || burst > 1000) throw new RangeError(`burst ${burst}: 1 to 1,000`);
  if (!(jitter >= 0 && jitter <= 1)) throw new RangeError(`jitter ${jitter}: 0 to 1`);
  if (!((link.loss ?? 0) >= 0 && (link.loss ?? 0) <= 1)) throw new RangeError(`link.loss ${link.loss}: 0 to 1`);
  if (!((link.disconnectEverySeconds ?? 1) > 0)) {
    throw new RangeError(`link.disconnectEverySeconds ${link.disconnectEverySeconds}: above 0`);
  }
  return fleet;
}

/** The ids of a fleet's devices. */
export function deviceIds({ devices, deviceId }: Pick<Fleet, "devices" | "deviceId">): readonly string[] {
  const idOf = deviceId ?? ((number) => `device-${String(number + 1).padStart(4, "0")}`);
  return Array.from({ length: devices }, (_, number) => idOf(number));
}
