/**
 * Groups of gateway threads, in the thread of the log: their blocks, the retained messages and the records of sessions that
 * belong to them become part of one group of the log, so that all of it is durable or nothing is.
 */
import { readBlockHeader } from "@headrace/engine";
import { errorToWire } from "../threads/index.ts";
import type { DeviceOf } from "./device-of.ts";
import { FanOutMessage, type WireMessage } from "./fan-out-message.ts";
import type { Lane } from "./lane.ts";
import { markRepeats } from "./mark-repeats.ts";
import type { Place } from "./place.ts";
import type { RemoteConnections } from "./remote-connections.ts";
import { type MarkChange, type Marks, settleChanges } from "./repeats.ts";
import type { Shared } from "./shared.ts";
import type { BusPeer } from "./thread-bus.ts";
import { keyOf } from "./thread-log.ts";
import type { GroupMessage, TookMessage, ToThread } from "./thread-protocol.ts";

/** Where a stream's repeats are checked, by log id. */
export interface RepeatCheck {
  readonly marks: Marks;
  devices: DeviceOf;
  repeated: number;
}

export interface ThreadGroupsOptions {
  readonly shared: Shared;
  readonly checks: ReadonlyMap<number, RepeatCheck>;
  readonly connections: RemoteConnections;
  readonly bus: BusPeer<FanOutMessage, WireMessage>;
  readonly lane: Lane<ToThread>;
}

export class ThreadGroups {
  readonly #options: ThreadGroupsOptions;
  #settled: Promise<void> = Promise.resolve();

  constructor(options: ThreadGroupsOptions) {
    this.#options = options;
  }

  /** Settles when the last group that was taken is durable, or was not stored. */
  get settled(): Promise<void> {
    return this.#settled;
  }

  /** Takes a group; the thread is told of its end, and sends the next one then. */
  take(blocks: readonly Uint8Array[], messages: readonly GroupMessage[], took: readonly TookMessage[]): void {
    const { shared, connections, bus, lane } = this.#options;
    const changes: MarkChange[] = [];
    const repeats = this.#check(blocks, changes);
    const isRepeat = new Set(repeats.map(keyOf));
    const fresh: FanOutMessage[] = [];
    for (const { message: wire, place, isWanted } of messages) {
      if (place !== undefined && isRepeat.has(keyOf(place))) continue;
      const message = FanOutMessage.fromWire(wire);
      if (message.retain) shared.retained.store(message, message.arrivalMs);
      // Whoever subscribes now must not miss what is retained from now on.
      if (isWanted || message.retain) fresh.push(message);
      if (place !== undefined && message.qos > 0) {
        shared.fanOut.plan(message, shared.fanOut.subscribers.match(message.topic), place);
      }
    }
    for (const { number, packetId } of took) connections.took(number, packetId);
    const done = Promise.withResolvers<void>();
    this.#settled = done.promise;
    shared.ingest.take(blocks, {
      sealed: () => undefined,
      settled: (error) => {
        settleChanges(changes, error === undefined);
        if (error === undefined) {
          for (const { logId } of repeats) this.#repeated(logId);
          for (const message of fresh) {
            if (message.retain) {
              shared.retained.apply(message, message.arrivalMs);
              bus.end.retain(message);
            }
            bus.end.publish(message);
          }
        } else {
          for (const message of fresh) shared.retained.forget(message);
          for (const { number, packetId } of took) connections.refused(number, packetId);
        }
        lane.send({ kind: "stored", error: error && errorToWire(error), repeats });
        lane.flush();
        done.resolve();
      },
    });
  }

  #check(blocks: readonly Uint8Array[], changes: MarkChange[]): Place[] {
    const repeats: Place[] = [];
    for (const block of blocks) {
      const { logId, writer } = readBlockHeader(block);
      const check = this.#options.checks.get(logId);
      if (check === undefined) continue;
      for (const sequence of markRepeats(block, check.marks, check.devices, changes)) {
        repeats.push({ logId, writer, sequence });
      }
    }
    return repeats;
  }

  #repeated(logId: number): void {
    const check = this.#options.checks.get(logId);
    if (check !== undefined) check.repeated += 1;
  }
}
