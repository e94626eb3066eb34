/**
 * Goal: `headrace pub` and `headrace sub` are MQTT clients that a person can rely on: every QoS, properties, bytes as they are, and clear refusals.
 * Method: the commands as processes against a node, with each other and with mosquitto's clients on the other side.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { appFile, command, headrace, NodeProcess, Running, soon, temporaryFolder } from "./node-process.ts";

const folder = temporaryFolder();
let node: NodeProcess;
beforeAll(async () => {
  node = await NodeProcess.start({ app: appFile("counting"), data: folder.path });
});
afterAll(async () => {
  await node?.[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

const data = (): string[] => ["--data", folder.path];
const subscriber = async (...args: string[]): Promise<Running> => {
  const running = new Running(process.execPath, [...command, "sub", ...args, ...data()]);
  // What is printed when the subscription stands.
  await expect.poll(() => running.stderr, soon).toContain("subscribed");
  return running;
};
const linesOf = (text: string): unknown[] =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

test("each QoS arrives as it was sent, with its properties, and the exit codes say so", async () => {
  await using sub = await subscriber("talk/#", "--qos", "2", "--count", "3", "--json", "--timeout", "60s");
  for (const qos of ["0", "1", "2"]) {
    const sent = await headrace([
      ...["pub", `talk/${qos}`, `{"n":${qos}}`, "--qos", qos, "--content-type", "application/json", "--expiry", "1m"],
      ...["--response-topic", "answers", "--correlation", "c", "--property", "site=north", "--property", "a=b=c"],
      ...data(),
    ]);
    expect(sent).toMatchObject({ code: 0, stdout: "published 1 message\n", stderr: "" });
  }
  expect((await sub.ended).code).toBe(0);
  expect(linesOf(sub.stdout)).toMatchObject(
    [0, 1, 2].map((qos) => ({
      topic: `talk/${qos}`,
      qos,
      retain: false,
      payload: `{"n":${qos}}`,
      contentType: "application/json",
      responseTopic: "answers",
      correlationData: "c",
      messageExpirySeconds: 60,
      userProperties: [
        ["site", "north"],
        ["a", "b=c"],
      ],
    })),
  );
});

test("lines of standard input are messages; bytes go as base64 and hex; control characters do not reach the terminal", async () => {
  await using sub = await subscriber("bytes", "--count", "3", "--format", "hex", "--qos", "1", "--timeout", "60s");
  await using pub = new Running(process.execPath, [...command, "pub", "bytes", "-", "--format", "base64", ...data()]);
  pub.child.stdin?.end("AP8=\nG1sySg==\n");
  expect((await pub.ended).stdout).toBe("published 2 messages\n");
  await headrace(["pub", "bytes", "00ff", "--format", "hex", "--json", ...data()]);
  expect((await sub.ended).stdout).toBe("bytes  00ff\nbytes  1b5b324a\nbytes  00ff\n");
  await using shown = await subscriber("shown", "--count", "1", "--timeout", "60s");
  await headrace(["pub", "shown", "1b5b324a", "--format", "hex", ...data()]);
  expect((await shown.ended).stdout).toBe("shown  \\u001b[2J\n");
});

test("a retained message is there for later subscribers until an empty one removes it", async () => {
  await headrace(["pub", "kept/a", "first", "--retain", ...data()]);
  const got = await headrace(["sub", "kept/#", "--count", "1", "--timeout", "60s", "--json", ...data()]);
  expect([got.code, linesOf(got.stdout)]).toMatchObject([0, [{ topic: "kept/a", payload: "first", retain: true }]]);
  await headrace(["pub", "kept/a", "--retain", ...data()]);
  const late = await headrace(["sub", "kept/#", "--count", "1", "--timeout", "1s", "--json", ...data()]);
  expect([late.code, late.stdout]).toEqual([1, ""]);
  expect(linesOf(late.stderr).at(-1)).toMatchObject({ error: { message: "0 of 1 messages came within 1 s" } });
});

test("what the server refuses is said with its reason code, and what nobody answers with the address", async () => {
  const publish = await headrace(["pub", "devices/d/commands/fan", "x", "--json", ...data()]);
  expect(publish.code).toBe(1);
  expect(JSON.parse(publish.stderr)).toMatchObject({ error: { code: "HR_MQTT_REFUSED" } });
  expect(publish.stderr).toContain("0x87");
  const subscribe = await headrace(["sub", "a/#/b", ...data()]);
  expect([subscribe.code, subscribe.stderr]).toMatchObject([1, expect.stringContaining("0x8f")]);
  const nobody = await headrace(["pub", "a", "b", "--host", "127.0.0.1", "--port", "1"]);
  expect([nobody.code, nobody.stderr]).toMatchObject([1, expect.stringContaining("127.0.0.1:1")]);
  expect((await headrace(["pub", "a", "0", "--format", "hex", ...data()])).code).toBe(2);
});

test("mosquitto's clients and these understand each other", async () => {
  await using sub = await subscriber("mixed", "--count", "1", "--qos", "2", "--json", "--timeout", "60s");
  const port = `${node.mqttPort}`;
  await using pub = new Running("mosquitto_pub", [...["-p", port, "-V", "5", "-q", "2", "-t", "mixed", "-m", "hello"]]);
  expect((await pub.ended).code).toBe(0);
  expect((await sub.ended).code).toBe(0);
  expect(linesOf(sub.stdout)).toMatchObject([{ payload: "hello", qos: 2 }]);
  await headrace(["pub", "mixed", "kept", "--retain", ...data()]);
  await using other = new Running("mosquitto_sub", [...["-p", port, "-t", "mixed", "-C", "1", "-W", "60"]]);
  expect((await other.ended).stdout).toBe("kept\n");
});
