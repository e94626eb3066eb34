/** What stands in the streams of an application under test, as values. */
import { EventBlockReader } from "@headrace/engine";
import type { WindowRow } from "@headrace/sdk";
import type { MemoryLog } from "./memory-log.ts";

/** One event of a stream. */
export interface TestEvent<Value = unknown> {
  readonly value: Value;
  readonly key: string;
  /** The device that sent it, or that caused it. */
  readonly device: string;
  /** When it was accepted or committed, in ms since the epoch. */
  readonly timeMs: number;
}

const decoder = new TextDecoder();

const parsed = (bytes: Uint8Array): unknown => {
  const text = decoder.decode(bytes);
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};

/** All events of a stream, over its partitions, in the order in which they were stored. */
export const eventsOf = (log: MemoryLog, stream: string): TestEvent[] => {
  const events: TestEvent[] = [];
  for (const { id } of log.list(`stream/${stream}/`)) {
    for (const block of log.blocksOf(id)) {
      const reader = new EventBlockReader(block);
      while (reader.next()) {
        const { key, client, arrivalMs } = reader;
        events.push({ value: parsed(reader.payload), key, device: client, timeMs: arrivalMs });
      }
    }
  }
  return events;
};

/** The newest revision of each key and window, without retracted ones, by window and key. */
export const tableRows = <Row extends WindowRow>(events: readonly TestEvent<Row>[]): (Row & { key: string })[] => {
  const newest = new Map<string, Row & { key: string }>();
  for (const { key, value } of events) {
    const place = `${value.windowStart}/${key}`;
    const known = newest.get(place);
    if (!known || value.revision >= known.revision) newest.set(place, { ...value, key });
  }
  return [...newest.values()]
    .filter(({ op }) => op !== "retract")
    .sort((a, b) => a.windowStart - b.windowStart || (a.key < b.key ? -1 : 1));
};
