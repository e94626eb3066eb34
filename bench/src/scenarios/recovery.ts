/** How long a log takes to open and to give everything back after a stop, and what its index takes. */
import { median, round } from "../measure/statistics.ts";
import { fill, openLog, readBack } from "../servers/embedded-log.ts";
import type { Context, Report } from "./scenario.ts";

const loads = [
  { name: "10 million events, packed blocks", events: 10_000_000, recordsPerBlock: Number.POSITIVE_INFINITY },
  { name: "1 million events, a record a block", events: 1_000_000, recordsPerBlock: 1 },
];
const secondsMax = 10;
const indexBytesMax = 64 * 1024 * 1024;

export async function recovery(context: Context): Promise<Report> {
  const rows: { name: string; events: number; openSeconds: number; readSeconds: number; indexBytes: number }[] = [];
  const failures: string[] = [];
  for (const { name, events, recordsPerBlock } of loads) {
    const opened: number[] = [];
    const read: number[] = [];
    let indexBytes = 0;
    for (let number = 1; number <= context.rounds; number += 1) {
      await using folder = context.folder();
      const before = await openLog(folder.path);
      const { id } = await before.open("stream/bench/0", "stream");
      const isEnough = (records: number): boolean => records >= events || context.signal.aborted;
      const stored = await fill(before, id, isEnough, recordsPerBlock);
      await before.close();
      context.signal.throwIfAborted();
      const startMs = performance.now();
      const after = await openLog(folder.path);
      const openMs = performance.now();
      indexBytes = Math.max(indexBytes, after.metrics().indexBytes);
      const found = await readBack(after, id);
      opened.push((openMs - startMs) / 1000);
      read.push((performance.now() - openMs) / 1000);
      indexBytes = Math.max(indexBytes, after.metrics().indexBytes);
      await after.close();
      if (found !== stored) failures.push(`${name}: ${stored} stored, ${found} recovered`);
      context.say(
        `${name}, round ${number}: opened in ${round(opened.at(-1)!, 2)} s, read in ${round(read.at(-1)!, 2)} s`,
      );
    }
    const row = { openSeconds: round(median(opened), 2), readSeconds: round(median(read), 2) };
    rows.push({ name, events, ...row, indexBytes });
    if (row.openSeconds + row.readSeconds > secondsMax) failures.push(`${name}: took more than ${secondsMax} s`);
    if (indexBytes > indexBytesMax) failures.push(`${name}: the index took ${indexBytes} bytes`);
  }
  return {
    result: { scenario: "recovery", rounds: context.rounds, loads: rows },
    table: [
      ["", "open s", "read s", "index MB"],
      ...rows.map(({ name, openSeconds, readSeconds, indexBytes }) => [
        name,
        String(openSeconds),
        String(readSeconds),
        String(round(indexBytes / 1e6, 2)),
      ]),
    ],
    notes: ["closed cleanly; files may still be in the page cache of the machine"],
    failures,
  };
}
