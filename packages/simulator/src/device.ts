/** One running device: makes messages when they are due, keeps them until acknowledged, comes back after a lost link. */
import { backoffMs } from "./backoff.ts";
import { Connection, said } from "./connection.ts";
import type { Counters } from "./counters.ts";
import type { Fleet, SimulatedDevice } from "./fleet.ts";
import { Inflight, type InflightMessage } from "./inflight.ts";
import { PublishEncoder } from "./publish-encoder.ts";
import { type Random, seededRandom } from "./random.ts";
import { CommandResponder, commandFilter } from "./responder.ts";
import { Schedule } from "./schedule.ts";

/** What all devices of a run share. */
export interface RunContext<Model> {
  readonly fleet: Fleet<Model>;
  readonly host: string;
  readonly port: number;
  readonly seed: string;
  readonly maxInflight: number;
  /** `hr-epoch`; undefined sends no sequences. */
  readonly epoch: number | undefined;
  readonly counters: Counters;
  readonly credentials?: (deviceId: string) => { readonly username: string; readonly password: string };
  readonly onSent?: (deviceId: string, epoch: number, sequence: number) => void;
  readonly onAcknowledged?: (deviceId: string, epoch: number, sequence: number) => void;
  /** Connections that are being made now. */
  connecting: number;
}

/** More at once would overflow the listen queue of a server with default settings (511). */
export const connectingMax = 128;
/** Answers to commands that may wait beside the messages. */
const answersMax = 32;

type Link =
  | { readonly state: "offline"; readonly retryMs: number }
  | { readonly state: "connecting" | "online"; readonly connection: Connection }
  | { readonly state: "stopped" };

export class Device<Model> {
  /** When `tick` has something to do; a fleet asks this 250 times a second of every device. */
  wakeMs = 0;
  readonly #run: RunContext<Model>;
  readonly #device: SimulatedDevice<Model>;
  readonly #encoder: PublishEncoder;
  readonly #responder: CommandResponder<Model> | undefined;
  readonly #inflight = new Inflight();
  readonly #payloadRandom: Random;
  /** Apart from the payloads' randomness, so that timing and faults do not change what a device says. */
  readonly #linkRandom: Random;
  #link: Link = { state: "offline", retryMs: 0 };
  #schedule: Schedule | undefined;
  #messages = 0;
  #answersWaiting = 0;
  #attempt = 0;
  #breakMs = Number.POSITIVE_INFINITY;
  #aliveCheckMs = 0;
  #draining = false;
  #stopping = false;

  constructor(run: RunContext<Model>, id: string, number: number) {
    const { fleet, seed } = run;
    this.#run = run;
    const model = fleet.model?.({ id, number }, seededRandom(`${seed}/${id}/model`)) as Model;
    this.#device = { id, number, model };
    this.#payloadRandom = seededRandom(`${seed}/${id}/payload`);
    this.#linkRandom = seededRandom(`${seed}/${id}/link`);
    this.#encoder = new PublishEncoder(fleet.topic(this.#device), run.epoch);
    this.#responder = fleet.commands && new CommandResponder(this.#device, fleet.commands);
  }

  get inflight(): number {
    return this.#inflight.size;
  }

  get stopped(): boolean {
    return this.#link.state === "stopped";
  }

  /** Does what is due; to be called once {@link wakeMs} has come. */
  tick(nowMs: number): void {
    if (this.#link.state === "offline") this.#reconnect(nowMs, this.#link.retryMs);
    if (!this.#draining) this.#makeDue(nowMs);
    const link = this.#link;
    if (link.state === "online") {
      if (nowMs >= this.#breakMs) link.connection.break("the simulated link broke");
      else this.#pump(link.connection, nowMs);
      link.connection.flush(nowMs);
    }
    if ((link.state === "online" || link.state === "connecting") && nowMs >= this.#aliveCheckMs) {
      this.#aliveCheckMs = nowMs + 1000;
      link.connection.checkAlive(nowMs);
    }
    this.wakeMs = Math.min(
      this.#draining ? Number.POSITIVE_INFINITY : (this.#schedule?.nextMs ?? Number.POSITIVE_INFINITY),
      link.state === "offline" ? link.retryMs : Math.min(this.#aliveCheckMs, this.#breakMs),
    );
  }

  /** Makes no more messages; what is in flight goes on. */
  drain(): void {
    this.#draining = true;
  }

  /** Closes the connection; the device is `stopped` once it is closed. */
  stop(nowMs: number, abruptly: boolean): void {
    this.#draining = true;
    this.#stopping = true;
    const link = this.#link;
    if (link.state === "offline") this.#link = { state: "stopped" };
    else if (link.state === "stopped") return;
    else if (abruptly) link.connection.break("stopped");
    else link.connection.end(nowMs);
  }

  #reconnect(nowMs: number, retryMs: number): void {
    const run = this.#run;
    if (nowMs < retryMs || run.connecting >= connectingMax || (this.#draining && this.#inflight.size === 0)) return;
    run.connecting += 1;
    const { id } = this.#device;
    const connection = new Connection(
      {
        host: run.host,
        port: run.port,
        clientId: id,
        ...run.credentials?.(id),
        ...(this.#responder && { filter: commandFilter(id) }),
      },
      {
        accepted: (receiveMaximum) => this.#accepted(connection, receiveMaximum),
        acknowledged: (packetId, reasonCode) => this.#acknowledged(connection, packetId, reasonCode),
        message: (payload) => this.#command(payload),
        closed: (reason, refused) => this.#closed(reason, refused),
      },
      nowMs,
    );
    this.#link = { state: "connecting", connection };
  }

  #accepted(connection: Connection, receiveMaximum: number): void {
    this.wakeMs = 0;
    const nowMs = performance.now();
    const { counters, fleet } = this.#run;
    this.#run.connecting -= 1;
    this.#link = { state: "online", connection };
    this.#attempt = 0;
    counters.connected += 1;
    if (this.#schedule !== undefined) counters.reconnects += 1;
    this.#schedule ??= new Schedule(fleet.rate / (fleet.burst ?? 1), fleet.jitter ?? 0.1, this.#linkRandom, nowMs);
    const everySeconds = fleet.link?.disconnectEverySeconds;
    if (everySeconds !== undefined) this.#breakMs = nowMs - Math.log(1 - this.#linkRandom()) * everySeconds * 1000;
    this.#inflight.receiveMaximum = receiveMaximum;
    this.#pump(connection, nowMs);
  }

  #closed(reason: string, refused: boolean): void {
    this.wakeMs = 0;
    const { counters, fleet } = this.#run;
    const was = this.#link.state;
    if (was === "connecting") this.#run.connecting -= 1;
    if (was === "online") counters.connected -= 1;
    this.#inflight.disconnected();
    this.#breakMs = Number.POSITIVE_INFINITY;
    if (this.#stopping) {
      this.#link = { state: "stopped" };
      return;
    }
    counters.lastError = reason;
    if (refused) counters.connectionsRefused += 1;
    const delayMs =
      was === "online" && fleet.link !== undefined
        ? (fleet.link.reconnectDelayMs ?? 1000) * (0.5 + this.#linkRandom())
        : backoffMs(this.#attempt++, this.#linkRandom);
    this.#link = { state: "offline", retryMs: performance.now() + delayMs };
  }

  #makeDue(nowMs: number): void {
    const { fleet } = this.#run;
    while (this.#schedule?.due(nowMs)) {
      for (let count = fleet.burst ?? 1; count > 0; count -= 1) this.#make();
    }
  }

  #make(): void {
    const { fleet, counters, maxInflight } = this.#run;
    if (this.#inflight.size - this.#answersWaiting >= maxInflight) {
      counters.skipped += 1;
      return;
    }
    const payload = JSON.stringify(fleet.payload(this.#device, this.#messages, this.#payloadRandom));
    this.#messages += 1;
    this.#inflight.add(this.#messages, (packetId) => this.#encoder.encode(packetId, this.#messages, payload));
  }

  #pump(connection: Connection, nowMs: number): void {
    this.#inflight.pump(nowMs, (message, again) => this.#send(connection, message, again));
  }

  #send(connection: Connection, message: InflightMessage, again: boolean): boolean {
    const { counters, fleet, epoch, onSent } = this.#run;
    if (again) counters.repeated += 1;
    else if (message.sequence !== 0) {
      counters.sent += 1;
      onSent?.(this.#device.id, epoch ?? 0, message.sequence);
    }
    if (fleet.link?.loss && this.#linkRandom() < fleet.link.loss) {
      connection.send(message.bytes.subarray(0, message.bytes.length >> 1));
      connection.flush(message.sentMs);
      connection.break("the simulated link broke");
      return false;
    }
    connection.send(message.bytes);
    return true;
  }

  #acknowledged(connection: Connection, packetId: number, reasonCode: number): void {
    const message = this.#inflight.take(packetId);
    if (message === undefined) return;
    const { counters, epoch, onAcknowledged } = this.#run;
    const nowMs = performance.now();
    if (message.sequence === 0) this.#answersWaiting -= 1;
    if (reasonCode >= 0x80) {
      counters.refused += 1;
      counters.lastError = said("the server refused a message", reasonCode, undefined);
    } else if (message.sequence === 0) {
      counters.commandsAcknowledged += 1;
    } else {
      counters.acknowledged += 1;
      counters.ackLatency.record(nowMs - message.sentMs);
      onAcknowledged?.(this.#device.id, epoch ?? 0, message.sequence);
    }
    this.#pump(connection, nowMs);
  }

  #command(payload: Buffer): boolean {
    // Not taken: the server keeps it and sends it again after a reconnect, so the answers stay bounded.
    if (this.#responder === undefined || this.#answersWaiting >= answersMax) return false;
    this.#run.counters.commandsReceived += 1;
    this.#answersWaiting += 1;
    void this.#responder.answer(payload).then((answer) => {
      if (answer === undefined) {
        this.#answersWaiting -= 1;
        return;
      }
      const encoder = new PublishEncoder(answer.topic, undefined);
      this.#inflight.add(0, (packetId) => encoder.encode(packetId, 0, answer.payload));
      if (this.#link.state !== "online") return;
      const nowMs = performance.now();
      this.#pump(this.#link.connection, nowMs);
      this.#link.connection.flush(nowMs);
    });
    return true;
  }
}
