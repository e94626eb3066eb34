/**
 * Goal: the wire of commands is simple enough for a device of twenty lines in another language, and a command ends as one
 * expects: acknowledged, also when the device was away at first, or expired.
 * Method: tests/devices/device.py with paho-mqtt, and the stream of the commands' life.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Ask } from "./fixtures/switches.ts";
import { appFile, NodeProcess, Running, repository, soon, storedIn, temporaryFolder } from "./node-process.ts";

const script = join(repository, "tests/devices/device.py");
/** Debian's package serves Debian's Python, which need not be the first on the PATH. */
const python = ["/usr/bin/python3", "python3"].find(
  (name) => spawnSync(name, ["-c", "import paho.mqtt.client"], { stdio: "ignore" }).status === 0,
);

interface CommandLife {
  readonly id: string;
  readonly name: string;
  readonly args: unknown;
  readonly status: string;
  readonly deadlineMs: number;
  readonly result?: unknown;
}

const folder = temporaryFolder();
let node: NodeProcess;

beforeAll(async () => {
  node = await NodeProcess.start({ app: appFile("switches"), data: folder.path });
});
afterAll(async () => {
  await node?.[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

const device = (id: string): Running => {
  if (python === undefined) throw new Error("no Python with paho-mqtt: apt-get install python3-paho-mqtt");
  return new Running(python, [script, "127.0.0.1", `${node.mqttPort}`, id]);
};

async function ask(id: string, within: Ask["within"]): Promise<void> {
  const body = JSON.stringify({ within } satisfies Ask);
  expect((await node.fetch(`/v1/events?stream=asks&device=${id}`, { method: "POST", body })).status).toBe(200);
}

/** The events of all commands to a device so far. */
async function livesOf(id: string): Promise<CommandLife[]> {
  const events = await node.events<CommandLife>("commands", storedIn(await node.status(), "commands"));
  return events.filter((event) => event.device === id).map(({ value }) => value);
}
const statusesOf = async (id: string): Promise<string[]> => (await livesOf(id)).map(({ status }) => status);

test("the device has at most twenty lines", () => {
  expect(readFileSync(script, "utf8").trimEnd().split("\n").length).toBeLessThanOrEqual(20);
});

test("a command reaches the device, and its acknowledgement comes back with the result", async () => {
  await using running = device("near");
  await expect.poll(async () => (await node.status()).connections, soon).toBe(1);
  await ask("near", "30s");
  await expect.poll(() => statusesOf("near"), soon).toEqual(["sent", "acknowledged"]);
  const [sent, acknowledged] = await livesOf("near");
  expect(sent).toMatchObject({ name: "fan", args: { on: true }, device: "near", deadlineMs: expect.any(Number) });
  expect(acknowledged).toMatchObject({ id: sent!.id, name: "fan", result: { switched: true } });
  expect(running.isEnded, running.stderr).toBe(false);
});

test("a command to a device that is away waits and arrives when it connects", async () => {
  await ask("later", "60s");
  await expect.poll(async () => (await node.status()).commands.pending, soon).toBe(1);
  await sleep(500);
  expect(await statusesOf("later")).not.toContain("acknowledged");
  await using running = device("later");
  await expect.poll(async () => (await statusesOf("later")).at(-1), soon).toBe("acknowledged");
  expect(new Set((await livesOf("later")).map(({ id }) => id)).size).toBe(1);
  expect(running.isEnded, running.stderr).toBe(false);
});

test("a command that nobody acknowledges expires, and is not sent after its deadline", async () => {
  await ask("never", "1s");
  await expect.poll(async () => (await statusesOf("never")).at(-1), soon).toBe("expired");
  expect((await node.status()).commands).toMatchObject({ pending: 0, expired: 1 });
  await using running = device("never");
  await expect.poll(async () => (await node.status()).connections, soon).toBe(1);
  await sleep(500);
  expect(await statusesOf("never")).not.toContain("acknowledged");
  expect(running.isEnded, running.stderr).toBe(false);
});
