/**
 * Reads a stream's events from its logs by position. The reader pulls, so a slow one costs a position and nothing else.
 * Order holds inside one writer of one partition; between them it is as the blocks come.
 */
import { blockKind, type Channel, EventBlockReader, type LogInfo, readBlockHeader } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import type { RemoteLog } from "../log/index.ts";

/** One event as the API shows it. */
export interface StoredEvent {
  readonly stream: string;
  readonly partition: number;
  readonly writer: number;
  /** Position in the channel that partition and writer name. */
  readonly sequence: number;
  readonly topic: string;
  /** What state and order are kept per; the device unless the stream says otherwise. */
  readonly device: string;
  /** Client that sent it; empty when a function did. */
  readonly client: string;
  /** Arrival, in ms since the epoch. */
  readonly timeMs: number;
  /** A copy: valid for as long as it is held. */
  readonly payload: Uint8Array;
}

/** Records that retention removed before a follower came to them. */
export interface Gap {
  readonly gap: {
    readonly stream: string;
    partition: number;
    writer: number;
    fromSequence: number;
    toSequence: number;
  };
}

interface Cursor {
  readonly channel: Channel;
  readonly partition: number;
  next: number;
}

const readBytesMax = 256 * 1024;
/** Logs and channels are looked for again this often while a stream is followed: a reload may add partitions, a restart writers. */
const refreshMs = 2_000;
/** And this often while there is nothing to watch. */
const searchMs = 200;

/** Events of one block from `fromSequence` on, without repeats. */
function* eventsOf(
  reader: EventBlockReader,
  stream: string,
  partition: number,
  fromSequence: number,
): Generator<StoredEvent> {
  const { writer } = reader.header;
  while (reader.next()) {
    if (reader.repeated || reader.sequence < fromSequence) continue;
    const { sequence, topic, key: device, client, arrivalMs: timeMs } = reader;
    yield { stream, partition, writer, sequence, topic, device, client, timeMs, payload: reader.payload.slice() };
  }
}

/** Reads streams of one node. */
export class StreamReader {
  readonly #log: RemoteLog;
  readonly #known: ReadonlySet<string>;

  /** @param known streams that exist although nothing may be stored in them yet */
  constructor(log: RemoteLog, known: ReadonlySet<string>) {
    this.#log = log;
    this.#known = known;
  }

  /**
   * The stream's logs, one per partition.
   * @throws HeadraceError `HR_NOT_FOUND` when there is no such stream
   */
  async logsOf(stream: string): Promise<LogInfo[]> {
    const prefix = `stream/${stream}/`;
    const logs = stream.includes("/") ? [] : await this.#log.list(prefix);
    if (logs.length === 0 && !this.#known.has(stream)) {
      const known = [...this.#known].sort().join(", ");
      throw new HeadraceError("HR_NOT_FOUND", `there is no stream ${JSON.stringify(stream)}; there are: ${known}`);
    }
    return logs;
  }

  /**
   * Follows a stream: events in batches as they are read, gaps where retention was faster. Ends when `signal` aborts.
   *
   * @param from `now`: what is stored from here on; `start`: everything that is kept
   * @param ready called once when the position is taken: from then on nothing is missed
   * @throws HeadraceError `HR_NOT_FOUND` when there is no such stream
   */
  async *follow(
    stream: string,
    from: "now" | "start",
    signal: AbortSignal,
    ready: () => void = () => {},
  ): AsyncGenerator<(StoredEvent | Gap)[]> {
    const cursors = new Map<string, Cursor>();
    const watches = new Map<number, () => void>();
    let wake: (() => void) | undefined;
    let dirty = true;
    const notify = (): void => {
      dirty = true;
      wake?.();
    };
    signal.addEventListener("abort", notify);

    /** A channel that turns up later is read from its start: everything in it came after the follower. */
    const refresh = async (first: boolean): Promise<void> => {
      for (const { id, name } of await this.logsOf(stream)) {
        const partition = Number(name.slice(name.lastIndexOf("/") + 1));
        if (!watches.has(id)) watches.set(id, this.#log.watch(id, notify));
        for (const { logId, writer, startSequence, endSequence } of await this.#log.channels(id)) {
          const key = `${logId}.${writer}`;
          if (cursors.has(key)) continue;
          const next = first && from === "now" ? endSequence : startSequence;
          cursors.set(key, { channel: { logId, writer }, partition, next });
        }
      }
    };

    try {
      await refresh(true);
      ready();
      let refreshedMs = performance.now();
      while (!signal.aborted) {
        dirty = false;
        const pauseMs = cursors.size === 0 ? searchMs : refreshMs;
        if (performance.now() - refreshedMs >= pauseMs) {
          await refresh(false);
          refreshedMs = performance.now();
        }
        let found = false;
        for (const cursor of cursors.values()) {
          const batch = await this.#pull(stream, cursor);
          if (batch === undefined) continue;
          found = true;
          if (batch.length > 0) yield batch;
          if (signal.aborted) return;
        }
        if (found || dirty) continue;
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, pauseMs);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
        wake = undefined;
      }
    } finally {
      signal.removeEventListener("abort", notify);
      for (const cancel of watches.values()) cancel();
    }
  }

  /** The next events of a channel; undefined at its end. */
  async #pull(stream: string, cursor: Cursor): Promise<(StoredEvent | Gap)[] | undefined> {
    const { channel, partition } = cursor;
    let blocks: Uint8Array[];
    try {
      blocks = await this.#log.read(channel, cursor.next, readBytesMax);
    } catch (error) {
      if (!(error instanceof HeadraceError) || error.code !== "HR_NOT_FOUND") throw error;
      const states = await this.#log.channels(channel.logId);
      const state = states.find(({ writer }) => writer === channel.writer);
      if (state === undefined || state.startSequence <= cursor.next) throw error;
      const gap = {
        stream,
        partition,
        writer: channel.writer,
        fromSequence: cursor.next,
        toSequence: state.startSequence,
      };
      cursor.next = state.startSequence;
      return [{ gap }];
    }
    if (blocks.length === 0) return undefined;
    const events: StoredEvent[] = [];
    for (const block of blocks) {
      const header = readBlockHeader(block);
      const { kind, sequence, recordCount } = header;
      if (kind === blockKind.events)
        events.push(...eventsOf(new EventBlockReader(block, header), stream, partition, cursor.next));
      cursor.next = Math.max(cursor.next, sequence + recordCount);
    }
    return events;
  }

  /** The newest events of a stream, newest first. */
  async newest(stream: string, limit: number): Promise<StoredEvent[]> {
    const events: StoredEvent[] = [];
    for (const { id, name } of await this.logsOf(stream)) {
      const partition = Number(name.slice(name.lastIndexOf("/") + 1));
      for (const { logId, writer, startSequence, endSequence } of await this.#log.channels(id)) {
        const channel = { logId, writer };
        for (let next = Math.max(startSequence, endSequence - limit); next < endSequence; ) {
          const batch = await this.#range(stream, { channel, partition, next });
          if (batch === undefined) break;
          events.push(...batch.events);
          next = batch.next;
        }
      }
      events.sort((a, b) => b.timeMs - a.timeMs || b.sequence - a.sequence);
      events.length = Math.min(events.length, limit);
    }
    return events;
  }

  /** One event by its place. @throws HeadraceError `HR_NOT_FOUND` */
  async one(stream: string, place: { partition: number; writer: number; sequence: number }): Promise<StoredEvent> {
    const { partition, writer, sequence } = place;
    const log = (await this.logsOf(stream)).find(({ name }) => name === `stream/${stream}/${partition}`);
    const states = log ? await this.#log.channels(log.id) : [];
    const state = states.find((channel) => channel.writer === writer);
    if (state && sequence >= state.startSequence && sequence < state.endSequence) {
      const channel = { logId: state.logId, writer };
      const batch = await this.#range(stream, { channel, partition, next: sequence });
      const event = batch?.events.find((candidate) => candidate.sequence === sequence);
      if (event) return event;
    }
    throw new HeadraceError("HR_NOT_FOUND", `${stream} keeps no event at ${partition}.${writer}.${sequence}`);
  }

  async #range(stream: string, cursor: Cursor): Promise<{ events: StoredEvent[]; next: number } | undefined> {
    const copy = { ...cursor };
    const batch = await this.#pull(stream, copy);
    return batch && { events: batch.filter((entry): entry is StoredEvent => !("gap" in entry)), next: copy.next };
  }
}
