/** What a node holds at the end, read from its log as anybody may read it, and what the judge says of it. */
import { EventBlockReader, streamLog } from "@headrace/engine";
import type { EmbeddedLog } from "@headrace/server/log";
import {
  type Counted,
  countingViolationsOf,
  type Evidence,
  effectViolationsOf,
  type MessageId,
  stepViolationsOf,
  sumViolationsOf,
  violationsOf,
} from "../checker.ts";
import { alertClearedAt, alertEvery, type Counted as CountedValue, commandEvery } from "./application.ts";
import type { Devices } from "./devices.ts";

interface Row {
  readonly key: string;
  readonly value: unknown;
}

const readBytes = 1024 * 1024;
const decoder = new TextDecoder();

/** The events of a stream, by partition and channel, in their order. @throws when a sequence is missing */
const rowsOf = async (log: EmbeddedLog, stream: string, partitions = 1): Promise<Row[]> => {
  const rows: Row[] = [];
  for (let partition = 0; partition < partitions; partition++) {
    const name = streamLog(stream, partition);
    const info = log.list(name).find((one) => one.name === name);
    for (const { logId, writer, startSequence, endSequence } of info ? log.channels(info.id) : []) {
      for (let at = startSequence; at < endSequence; ) {
        const blocks = await log.read({ logId, writer }, at, readBytes);
        if (blocks.length === 0) throw new Error(`${name} ends at ${at} and says ${endSequence}`);
        for (const block of blocks) {
          const reader = new EventBlockReader(block);
          while (reader.next()) {
            if (reader.sequence < at) continue;
            if (reader.sequence !== at) throw new Error(`${name} goes on with ${reader.sequence} where ${at} is due`);
            at += 1;
            rows.push({ key: reader.key, value: JSON.parse(decoder.decode(reader.payload)) });
          }
        }
      }
    }
  }
  return rows;
};

const idOf = ({ key, value }: Row): MessageId => {
  const { epoch, n } = value as CountedValue;
  return { device: key, epoch, sequence: n };
};
const countedOf = (row: Row): Counted => ({ ...idOf(row), count: (row.value as CountedValue).count });

export interface Findings {
  readonly violations: string[];
  readonly stored: readonly MessageId[];
  readonly expired: number;
}

/** Judges the node against what its devices know, once everything that was accepted has been worked off. */
export const judge = async (log: EmbeddedLog, devices: Devices): Promise<Findings> => {
  const { sent, acknowledged, delivered } = devices;
  const load = await rowsOf(log, "load", 2);
  const stored = load.map(idOf);
  const counted = (await rowsOf(log, "counted")).map(countedOf);
  const watched = (await rowsOf(log, "watched")).map(countedOf);
  const violations = violationsOf({ sent, acknowledged, stored } satisfies Evidence, "exactlyOnce");
  const say = (what: string, found: readonly string[]): void => {
    for (const one of found) violations.push(`${what}: ${one}`);
  };
  say("count", countingViolationsOf(stored, counted));
  say("watch", countingViolationsOf(counted, watched));

  const commands = await rowsOf(log, "commands");
  const steps = commands.map(
    ({ value }) => value as { id: string; status: string; args: { count: number }; device: string },
  );
  const owed = counted.filter(({ count }) => count % commandEvery === 0);
  const expired = steps.filter(({ status }) => status === "expired");
  say(
    "commands",
    effectViolationsOf({
      owed: owed.map(({ device, count }) => `${device}/${count}`),
      attempts: [
        ...delivered.map(({ id, device, count }) => ({ id, effect: `${device}/${count}` })),
        ...steps.map(({ id, device, args }) => ({ id, effect: `${device}/${args.count}` })),
      ],
      ended: steps.filter(({ status }) => status !== "sent").map(({ id }) => id),
    }),
  );

  const alerts = (await rowsOf(log, "alerts")).map(({ key, value }) => ({
    key,
    step: (value as { status: string }).status,
  }));
  const due = watched.flatMap(({ device, count }) => {
    if (count % alertEvery === 0) return [{ key: device, step: "raised" }];
    return count % alertEvery === alertClearedAt && count > alertEvery ? [{ key: device, step: "cleared" }] : [];
  });
  say("alerts", stepViolationsOf(due, alerts));

  const windows = (await rowsOf(log, "per_second")).map(({ key, value }) => {
    const { windowStart, revision, n } = value as { windowStart: number; revision: number; n: number };
    return { key, part: `${windowStart}`, revision, value: n };
  });
  const perDevice = new Map<string, number>();
  for (const { device } of stored) perDevice.set(device, (perDevice.get(device) ?? 0) + 1);
  say("windows", sumViolationsOf(perDevice, windows));

  for (const stream of ["rejected", "dead-letters"])
    for (const { value } of await rowsOf(log, stream)) violations.push(`in ${stream}: ${JSON.stringify(value)}`);
  return { violations, stored, expired: expired.length };
};
