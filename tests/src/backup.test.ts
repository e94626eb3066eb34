/**
 * Goal (P1, P2): a backup that is made while the node runs under load holds everything that was acknowledged before it began, with the state
 * that belongs to it; a node on the restored folder goes on.
 * Method: two backups by the command while devices send; each is restored, started and compared with what the devices had noted when it began.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { defineFleet, startFleet } from "@headrace/simulator";
import { expect, test } from "vitest";
import { type Counted, countingViolationsOf, type MessageId, violationsOf } from "./checker.ts";
import type { Load } from "./fixtures/counting.ts";
import { appFile, command, NodeProcess, Running, soon, stablePort, storedIn, temporaryFolder } from "./node-process.ts";

const headrace = async (...args: string[]) => {
  const { code, stdout, stderr } = await new Running(process.execPath, [...command, ...args]).ended;
  return { code, stdout, stderr };
};

test("backups under load hold what was acknowledged before them, with its state", { timeout: 180_000 }, async () => {
  using folder = temporaryFolder();
  const mqttPort = await stablePort();
  const app = appFile("counting");
  const data = `${folder.path}/data`;
  const sent: MessageId[] = [];
  const acknowledged: MessageId[] = [];
  const backups: { path: string; acknowledged: number }[] = [];
  {
    await using node = await NodeProcess.start({ app, data, mqttPort });
    const fleet = startFleet(
      defineFleet({
        devices: 20,
        rate: 50,
        topic: ({ id }) => `load/${id}`,
        payload: (_device, index): Load => ({ epoch: 1, n: index + 1 }),
      }),
      {
        port: mqttPort,
        epoch: 1,
        drainMs: 30_000,
        onSent: (device, epoch, sequence) => sent.push({ device, epoch, sequence }),
        onAcknowledged: (device, epoch, sequence) => acknowledged.push({ device, epoch, sequence }),
      },
    );
    for (let index = 0; index < 2; index++) {
      const before = acknowledged.length;
      await expect.poll(() => acknowledged.length, soon).toBeGreaterThan(before + 200);
      const path = `${folder.path}/backup-${index}`;
      backups.push({ path, acknowledged: acknowledged.length });
      expect(await headrace("backup", path, "--data", data, "--json")).toMatchObject({ code: 0 });
      await sleep(100);
    }
    expect(await fleet.stop()).toMatchObject({ inflight: 0 });
    await node.end("SIGINT");
  }

  for (const [index, backup] of backups.entries()) {
    const restored = `${folder.path}/restored-${index}`;
    expect(await headrace("restore", backup.path, "--data", restored)).toMatchObject({ code: 0 });
    expect(await headrace("log", "verify", "--data", restored)).toMatchObject({ code: 0 });
    await using node = await NodeProcess.start({ app, data: restored, mqttPort });
    await node.drained();
    const events = await node.events<Load>("load", storedIn(await node.status(), "load"));
    const stored = events.map(({ device, value: { epoch, n } }) => ({ device, epoch, sequence: n }));
    const evidence = { sent, acknowledged: acknowledged.slice(0, backup.acknowledged), stored };
    expect(violationsOf(evidence, "exactlyOnce")).toEqual([]);
    const answers = await node.events<{ epoch: number; n: number; count: number }>(
      "counted",
      storedIn(await node.status(), "counted"),
    );
    const counted = answers.map(({ device, value }): Counted => ({ device, ...value, sequence: value.n }));
    expect(countingViolationsOf(stored, counted)).toEqual([]);
    expect(await node.query("SELECT count(*), count(DISTINCT (device, payload)) FROM load")).toEqual([
      [stored.length, stored.length],
    ]);
  }

  // What is there is not overwritten, and a folder that is no backup is named.
  const again = await headrace("backup", backups[0]!.path, "--data", data);
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining("is not empty") });
  const none = await headrace("restore", data, "--data", `${folder.path}/x`);
  expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining("is no backup") });
});
