/**
 * Goal: what goes wrong is said clearly, with what to do and a code, and disturbs nothing else.
 * Method: one node serves throughout; after each fault a device's message still has to be counted.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { connect as connectSocket, createServer } from "node:net";
import { delimiter, join } from "node:path";
import { errorCatalogue } from "@headrace/sdk";
import mqtt from "mqtt";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  type Ended,
  environment,
  headrace,
  NodeProcess,
  repository,
  soon,
  storedIn,
  temporaryFolder,
} from "./node-process.ts";

const app = join(repository, "examples/factory");
const topic = "plants/north/pumps/p1";
const good = JSON.stringify({ temperature: 20, vibration: 0.1 });

const folder = temporaryFolder();
const data = join(folder.path, "data");
let node: NodeProcess;
let client: mqtt.MqttClient;

const connect = (port: number): Promise<mqtt.MqttClient> =>
  mqtt.connectAsync({ host: "127.0.0.1", port, clientId: "p1", protocolVersion: 5, reconnectPeriod: 0 });

beforeAll(async () => {
  node = await NodeProcess.start({ app, data });
  client = await connect(node.mqttPort);
});
afterAll(async () => {
  await client?.endAsync();
  await node?.[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

/** Messages that the function has handled, and those on which it failed. */
async function counted(): Promise<{ processed: number; failed: number }> {
  const task = (await node.status()).tasks.find((one) => one.function === "pump-count");
  return { processed: task?.processed ?? -1, failed: task?.failed ?? -1 };
}

afterEach(async () => {
  const before = await counted();
  await client.publishAsync(topic, good, { qos: 1 });
  await expect.poll(counted, soon).toEqual({ processed: before.processed + 1, failed: 0 });
  expect(node.isEnded, node.stderr).toBe(false);
});

/** What every refused command has in common: exit code, what failed, what to do, the code. */
function expectError({ code, stderr }: Ended, errorCode: keyof typeof errorCatalogue, message: RegExp): void {
  expect(stderr).toMatch(message);
  expect(stderr).toContain(`${errorCatalogue[errorCode].action}  [${errorCode}]`);
  expect(stderr.trim().split("\n").length, stderr).toBeLessThanOrEqual(3);
  expect(code).toBe(1);
}

const startOn = (options: { app?: string; data?: string; mqttPort?: number; httpPort?: number }): Promise<Ended> => {
  const ports = ["--mqtt-port", `${options.mqttPort ?? 0}`, "--http-port", `${options.httpPort ?? 0}`];
  return headrace(["start", options.app ?? app, "--data", options.data ?? join(folder.path, "other"), ...ports]);
};

interface Rejected {
  readonly stream: string;
  readonly reason: string;
  readonly message: string;
  readonly payload: string;
  readonly topic: string;
}

describe("messages", () => {
  test.each([
    { what: "malformed JSON", payload: '{"temperature": 20,', reason: "json", message: /JSON/ },
    {
      what: "a break of the schema",
      payload: '{"temperature":"hot"}',
      reason: "schema",
      message: /temperature|number/,
    },
  ])("$what is stored, acknowledged and in `rejected` with its reason", async ({ payload, reason, message }) => {
    const before = await node.status();
    // Resolves with the acknowledgement, and rejects for a reason code that refuses.
    await client.publishAsync(topic, payload, { qos: 1 });
    await expect.poll(async () => (await node.status()).rejected, soon).toBe(before.rejected + 1);
    const after = await node.status();
    expect(storedIn(after, "readings")).toBe(storedIn(before, "readings") + 1);
    const rejected = await node.events<Rejected>("rejected", after.rejected);
    expect(rejected.at(-1)).toMatchObject({ device: "p1", value: { stream: "readings", reason, payload, topic } });
    expect(rejected.at(-1)!.value.message).toMatch(message);
  });

  test("a topic that the policy refuses gets 0x87, and the connection goes on", async () => {
    const before = await node.status();
    const refused = client.publishAsync("devices/p2/commands/fan", "{}", { qos: 1 });
    await expect(refused).rejects.toMatchObject({ code: 0x87 });
    expect(client.connected).toBe(true);
    expect((await node.status()).refused).toBe(before.refused + 1);
  });

  test("an oversized packet ends its connection with 0x95", async () => {
    const connectPacket = [0x10, 14, 0, 4, ...Buffer.from("MQTT"), 5, 2, 0, 60, 0, 0, 1, 0x61];
    // PUBLISH, QoS 1, with a remaining length of 4 MiB, which is said before any of it is sent.
    const publishHead = [0x32, 0x80, 0x80, 0x80, 0x02];
    const received = await new Promise<Buffer>((resolve, reject) => {
      const chunks: Buffer[] = [];
      const socket = connectSocket(node.mqttPort, "127.0.0.1", () => {
        socket.write(Buffer.from([...connectPacket, ...publishHead]));
      });
      socket.on("data", (chunk) => chunks.push(chunk));
      socket.on("close", () => resolve(Buffer.concat(chunks)));
      socket.on("error", reject);
    });
    expect(received[0], "CONNACK").toBe(0x20);
    const disconnect = received.subarray(2 + received[1]!);
    expect([disconnect[0], disconnect[2]], "DISCONNECT with its reason").toEqual([0xe0, 0x95]);
  });
});

describe("starts", () => {
  test("a second process on the same data folder is told who uses it", async () => {
    expectError(await startOn({ data }), "HR_DATA_FOLDER_LOCKED", new RegExp(`${data}.*${node.pid}`));
  });

  test.each(["mqttPort", "httpPort"] as const)("a port in use is named (%s)", async (option) => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    expectError(await startOn({ [option]: port }), "HR_PORT_IN_USE", new RegExp(`port ${port} on 127\\.0\\.0\\.1`));
    await new Promise((resolve) => server.close(resolve));
  });

  test("a data folder that cannot be written is named", async () => {
    // Root may write into a folder that is read-only by its mode; below a file nobody may.
    const file = join(folder.path, "file");
    writeFileSync(file, "");
    expectError(await startOn({ data: join(file, "data") }), "HR_DATA_FOLDER_UNUSABLE", /file.data/);
  });

  test.runIf(existsSync("/proc/self"))("so is one on a file system that takes no folders", async () => {
    expectError(await startOn({ data: "/proc/headrace" }), "HR_DATA_FOLDER_UNUSABLE", /\/proc\/headrace/);
  });

  test("an application that does not compile is named with file and line", async () => {
    const broken = join(folder.path, "broken.ts");
    writeFileSync(broken, 'import { app } from "headrace";\nconst broken = app("broken"\nexport default broken;\n');
    expectError(await startOn({ app: broken }), "HR_APP_LOAD_FAILED", /broken\.ts:3:\d+/);
  });
});

describe("queries", () => {
  test.each(["DROP TABLE readings", "SELECT 1; SELECT 2", "COPY readings TO 'x.csv'"])("%s is refused", async (sql) => {
    expectError(await headrace(["query", sql, "--data", data]), "HR_QUERY_NOT_SELECT", /one SELECT/);
    const response = await node.fetch("/v1/query", { method: "POST", body: JSON.stringify({ sql }) });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      error: { code: "HR_QUERY_NOT_SELECT", action: errorCatalogue.HR_QUERY_NOT_SELECT.action },
    });
    expect(await node.query("SELECT count(*) > 0 FROM readings")).toEqual([[true]]);
  });
});

/** A Node that is too old, if this machine has one. */
const oldNode = (process.env.PATH ?? "")
  .split(delimiter)
  .map((directory) => join(directory, "node"))
  .find((file) => {
    if (!existsSync(file)) return false;
    const { stdout } = spawnSync(file, ["--version"], { encoding: "utf8", env: environment });
    return Number(/^v(\d+)/.exec(stdout ?? "")?.[1] ?? 99) < 24;
  });

test.runIf(oldNode !== undefined)("a Node.js that is too old is told, and not with a syntax error", () => {
  // The entry is plain JavaScript but for its name, so that any Node reads it; the build gives it the other name.
  const built = join(folder.path, "bin");
  mkdirSync(built);
  copyFileSync(join(repository, "packages/cli/src/bin.ts"), join(built, "bin.mjs"));
  const { status, stderr } = spawnSync(oldNode!, [join(built, "bin.mjs"), "start"], {
    encoding: "utf8",
    env: environment,
  });
  expect(stderr).toMatch(/this is Node\.js \d+\.\d+\.\d+, and Headrace needs Node\.js 24 or newer/);
  expect(stderr).toContain("[HR_NODE_VERSION]");
  expect(status).toBe(1);
});
