/** A lake over a log that is the same at each start; appends go on while it runs. Killed by kill.test.ts. Arguments: folder, blocks, mode. */
import { MemoryLog } from "@headrace/testkit";
import { hourStartMs, openLakeOn, putEvents, stream } from "./harness.ts";

const [folder, blockCount, mode] = process.argv.slice(2);
const log = new MemoryLog();
const put = async (block: number): Promise<void> => {
  const arrivalMs = hourStartMs + block * 100_000;
  await putEvents(
    log,
    `stream/s/${block % 2}`,
    Array.from({ length: 200 }, (_, index) => ({ payload: { n: block * 200 + index }, arrivalMs })),
  );
};
for (let block = 0; block < Number(blockCount) / 2; block++) await put(block);
const lake = await openLakeOn(log, {
  folder,
  streams: [stream("s", { partitions: 2, columns: [{ name: "n", type: "bigint" }] })],
  flushRows: 700,
  flushIntervalMs: 20,
});
for (let block = Number(blockCount) / 2; block < Number(blockCount); block++) {
  await put(block);
  if (block % 5 === 0) await lake.flush();
}
await lake.flush();
if (mode === "finish") {
  const { rows } = await lake.query(
    'SELECT count(*), count(DISTINCT n), max(n), count(DISTINCT ("partition", sequence)) FROM s',
  );
  console.log(JSON.stringify({ row: rows[0], files: lake.stats().files }));
  await lake[Symbol.asyncDispose]();
  process.exit(0);
}
if (mode === "exit") {
  // In the middle of a write: an end of the process must neither hang nor abort.
  for (let block = 0; block < 600; block++) await put(Number(blockCount) + block);
  void lake.flush();
  setTimeout(() => process.exit(3), 40);
}
