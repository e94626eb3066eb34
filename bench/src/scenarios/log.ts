/** How fast the embedded log stores and gives back, through its own API: no gateway, no network, every group durable. */
import { median, round } from "../measure/statistics.ts";
import { blockBytes, fill, openLog, readBack, recordBytes } from "../servers/embedded-log.ts";
import type { Context, Report } from "./scenario.ts";

const secondsDefault = 10;

export async function log(context: Context): Promise<Report> {
  const seconds = context.seconds ?? secondsDefault;
  const appended: number[] = [];
  const read: number[] = [];
  const failures: string[] = [];
  let syncMsP50 = 0;
  for (let number = 1; number <= context.rounds; number += 1) {
    await using folder = context.folder();
    const embedded = await openLog(folder.path);
    const { id } = await embedded.open("stream/bench/0", "stream");
    let startMs = performance.now();
    const endMs = startMs + seconds * 1000;
    const records = await fill(embedded, id, () => performance.now() >= endMs || context.signal.aborted);
    appended.push(records / ((performance.now() - startMs) / 1000));
    syncMsP50 = embedded.metrics().syncMsP50;
    startMs = performance.now();
    const found = await readBack(embedded, id);
    read.push(found / ((performance.now() - startMs) / 1000));
    await embedded.close();
    if (found !== records) failures.push(`round ${number}: ${records} records appended, ${found} read`);
    context.say(`round ${number}: ${round(appended.at(-1)!)} records/s appended, ${round(read.at(-1)!)} read back`);
    context.signal.throwIfAborted();
  }
  const appendRate = round(median(appended));
  const readRate = round(median(read));
  return {
    result: { scenario: "log", rounds: context.rounds, seconds, appendRate, readRate, syncMsP50: round(syncMsP50, 3) },
    table: [
      ["", "records/s"],
      ["appended, every group durable", String(appendRate)],
      ["read back", String(readRate)],
    ],
    notes: [
      `${recordBytes}-byte records in blocks of ${blockBytes / 1024} KiB, checksums on; sync p50 ${round(syncMsP50, 3)} ms`,
    ],
    failures,
  };
}
