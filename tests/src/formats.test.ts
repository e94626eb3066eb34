/**
 * Goal: a data folder that an older version has written opens, with everything that is in it.
 * Method: copies of the folders that are kept in tests/formats are opened, read, verified and worked on.
 */
import { cpSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { EventBlockReader } from "@headrace/engine";
import { EmbeddedLog } from "@headrace/server/log";
import { expect, test } from "vitest";
import { appFile, command, NodeProcess, Running, repository, soon, storedIn, temporaryFolder } from "./node-process.ts";

const kept = join(repository, "tests/formats");
const versions = readdirSync(kept).filter((name) => /^v\d+$/.test(name));

test("there is a folder of the first version", () => expect(versions).toContain("v1"));

test.each(versions)("%s: the log holds every record, in history and in segments", async (version) => {
  using folder = temporaryFolder();
  cpSync(join(kept, version, "log"), folder.path, { recursive: true });
  const log = await EmbeddedLog.open({ folder: folder.path, segmentBytes: 8192, onFatal: () => undefined });
  const info = log.list("stream/kept/").at(0);
  expect(info?.role).toBe("stream");
  const numbers: number[] = [];
  for (const { writer, startSequence, endSequence, logId } of log.channels(info!.id)) {
    for (let at = startSequence; at < endSequence; ) {
      for (const block of await log.read({ logId, writer }, at, 1 << 16)) {
        const reader = new EventBlockReader(block);
        while (reader.next()) {
          const { number } = JSON.parse(new TextDecoder().decode(reader.payload)) as { number: number };
          expect(reader).toMatchObject({ topic: "plants/a/ü", key: "p1", client: "box", deviceEpoch: 1 });
          expect(reader.deviceSequence).toBe(number);
          expect(reader.arrivalMs).toBe(1_767_323_045_000 + number);
          numbers.push(number);
        }
        at = reader.header.sequence + reader.header.recordCount;
      }
    }
  }
  expect(numbers.sort((a, b) => a - b)).toEqual(Array.from({ length: 120 }, (_, number) => number));
  await log.close();
});

test.each(versions)("%s: a node goes on with its state, outputs and tables", async (version) => {
  using folder = temporaryFolder();
  cpSync(join(kept, version, "node"), folder.path, { recursive: true });
  const verified = await new Running(process.execPath, [...command, "log", "verify", "--data", folder.path]).ended;
  expect(verified, verified.stdout).toMatchObject({ code: 0 });
  await using node = await NodeProcess.start({ app: appFile("counting"), data: folder.path });
  expect(storedIn(await node.status(), "load")).toBe(40);
  const body = JSON.stringify({ epoch: 1, n: 41 });
  for (const device of ["odd", "even"])
    expect((await node.fetch(`/v1/events?stream=load&device=${device}`, { method: "POST", body })).status).toBe(200);
  await expect.poll(async () => storedIn(await node.status(), "counted"), soon).toBe(42);
  const counted = await node.events<{ count: number }>("counted", 42);
  expect(
    counted
      .slice(-2)
      .map(({ device, value: { count } }) => [device, count])
      .sort(),
  ).toEqual([
    ["even", 21],
    ["odd", 21],
  ]);
  expect(await node.query("SELECT count(*) FROM load")).toEqual([[42]]);
  const [[sum]] = (await node.query("SELECT sum(n)::BIGINT FROM per_second")) as [[number]];
  expect(sum).toBeGreaterThanOrEqual(40);
});
