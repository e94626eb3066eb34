/**
 * Goal (P1, P2, P3): kill -9 loses nothing that was acknowledged, and doubles nothing that carries a sequence; neither in
 * the log, nor in a function's state and outputs, nor in a table.
 * Method: a node is killed twenty times on one data folder, while simulated devices send on and come back; then what the
 * devices noted is compared with the log, the answers of a counting function, the state of another, and SQL.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { defineFleet, type RunningFleet, startFleet } from "@headrace/simulator";
import { expect, test } from "vitest";
import { type Counted, countingViolationsOf, type MessageId, violationsOf } from "./checker.ts";
import type { Load } from "./fixtures/counting.ts";
import { appFile, NodeProcess, soon, stablePort, storedIn, temporaryFolder } from "./node-process.ts";

const kills = 20;
const devices = 20;
/** Of the kills, those that hit a node which is still starting. */
const earlyEvery = 5;

const between = (low: number, high: number): number => low + Math.random() * (high - low);

/** The devices, and what they note. */
class Witness {
  readonly sent: MessageId[] = [];
  readonly acknowledged: MessageId[] = [];

  start(port: number, epoch: number): RunningFleet {
    const fleet = defineFleet({
      devices,
      rate: 40,
      topic: ({ id }) => `load/${id}`,
      // Sequences begin at 1 and count the messages that were made.
      payload: (_device, index): Load => ({ epoch, n: index + 1 }),
    });
    return startFleet(fleet, {
      port,
      epoch,
      drainMs: 30_000,
      onSent: (device, epoch, sequence) => this.sent.push({ device, epoch, sequence }),
      onAcknowledged: (device, epoch, sequence) => this.acknowledged.push({ device, epoch, sequence }),
    });
  }
}

test(`nothing is lost or doubled when the node is killed ${kills} times under load`, { timeout: 300_000 }, async () => {
  using folder = temporaryFolder();
  const mqttPort = await stablePort();
  const options = { app: appFile("counting"), data: folder.path, mqttPort };
  const witness = new Witness();
  const startsMs: number[] = [];
  let fleet = witness.start(mqttPort, 1);

  for (let kill = 1; kill <= kills; kill++) {
    await using node = new NodeProcess(options);
    if (kill % earlyEvery === 0) await sleep(between(50, 2000));
    else {
      const startMs = performance.now();
      await node.serving();
      startsMs.push(performance.now() - startMs);
      const before = witness.acknowledged.length;
      await expect.poll(() => witness.acknowledged.length, soon).toBeGreaterThan(before + 20);
      await sleep(between(0, 700));
    }
    expect(node.isEnded, node.stderr).toBe(false);
    expect(await node.end("SIGKILL")).toMatchObject({ signal: "SIGKILL" });
    if (kill === kills / 2) {
      // The devices start anew as well: their sequences begin at 1 again, in a higher epoch.
      await using between = await NodeProcess.start(options);
      expect(await fleet.stop()).toMatchObject({ inflight: 0 });
      fleet = witness.start(mqttPort, 2);
      await between.end("SIGKILL");
    }
  }

  await using node = await NodeProcess.start(options);
  const last = await fleet.stop();
  expect(last).toMatchObject({ inflight: 0, refused: 0 });
  expect(last.repeated, "kills hit messages on their way").toBeGreaterThan(0);
  console.log(
    `${witness.acknowledged.length} messages acknowledged, start-up median ${Math.round(startsMs.sort((a, b) => a - b)[startsMs.length >> 1]!)} ms`,
  );
  await node.drained();

  // The log.
  const events = await node.events<Load>("load", storedIn(await node.status(), "load"));
  const stored = events.map(({ device, value: { epoch, n } }) => ({ device, epoch, sequence: n }));
  const { sent, acknowledged } = witness;
  expect(violationsOf({ sent, acknowledged, stored }, "exactlyOnce")).toEqual([]);
  expect(acknowledged.length).toBe(sent.length);

  // The function that says what it counts.
  const answers = await node.events<{ epoch: number; n: number; count: number }>(
    "counted",
    storedIn(await node.status(), "counted"),
  );
  const counted = answers.map(({ device, value }): Counted => ({ device, ...value, sequence: value.n }));
  expect(countingViolationsOf(stored, counted)).toEqual([]);

  // The function whose state nobody has seen so far.
  const expected = summariesOf(stored);
  for (const device of expected.keys()) {
    const body = JSON.stringify({ epoch: 0, n: 0, report: true } satisfies Load);
    expect((await node.fetch(`/v1/events?stream=load&device=${device}`, { method: "POST", body })).status).toBe(200);
  }
  await expect.poll(async () => storedIn(await node.status(), "reports"), soon).toBe(expected.size);
  const reports = await node.events<object>("reports", expected.size);
  expect(new Map(reports.map(({ device, value }) => [device, value]))).toEqual(
    new Map([...expected].map(([device, { count, checksum }]) => [device, { count, checksum, disorders: 0 }])),
  );

  // The tables.
  const ids = `device, (payload->>'$.epoch')::BIGINT AS epoch, (payload->>'$.n')::BIGINT AS n`;
  const rows = `(SELECT ${ids} FROM load WHERE payload->>'$.report' IS NULL)`;
  expect(await node.query(`SELECT count(*), count(DISTINCT (device, epoch, n)) FROM ${rows}`)).toEqual([
    [stored.length, stored.length],
  ]);
  expect(await node.query(`SELECT device, epoch, n FROM ${rows} GROUP BY ALL HAVING count(*) > 1`)).toEqual([]);
  expect(
    await node.query(`SELECT device, count(*), sum(n)::BIGINT FROM ${rows} GROUP BY device ORDER BY device`),
  ).toEqual([...expected].sort().map(([device, { count, sum }]) => [device, count, sum]));
  expect(
    await node.query(`SELECT count(*), count(DISTINCT (device, epoch, n)) FROM (SELECT ${ids} FROM counted)`),
  ).toEqual([[stored.length, stored.length]]);
  // Each report was one event more.
  await expect
    .poll(() => node.query("SELECT device, sum(n)::BIGINT FROM per_second GROUP BY device ORDER BY device"), soon)
    .toEqual([...expected].sort().map(([device, { count }]) => [device, count + 1]));
});

/** What a function that saw these messages in this order holds per device. */
function summariesOf(stored: readonly MessageId[]): Map<string, { count: number; checksum: number; sum: number }> {
  const summaries = new Map<string, { count: number; checksum: number; sum: number }>();
  for (const { device, epoch, sequence } of stored) {
    const { count, checksum, sum } = summaries.get(device) ?? { count: 0, checksum: 0, sum: 0 };
    summaries.set(device, {
      count: count + 1,
      checksum: (checksum * 31 + epoch * 7 + sequence) % 1_000_000_007,
      sum: sum + sequence,
    });
  }
  return summaries;
}
