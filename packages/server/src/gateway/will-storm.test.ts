// Goal: when a whole site dies at once, each will is published once, paced by the room that there is (M14). Method: 1,000 clients
// whose sockets are destroyed in one turn, half of them with lasting sessions, and a log that takes little at a time.
import { utf8 } from "@headrace/mqtt";
import { expect, test } from "vitest";
import { startTestNode } from "../../test/gateway-node.ts";
import { RawClient } from "../../test/raw-client.ts";

test("M14: a thousand clients die at once: each will comes once, within the bound of what is not durable", async () => {
  const waitingBytesMax = 64 * 1_024;
  await using node = await startTestNode({ limits: { waitingBytesMax } });
  const count = 1_000;
  const connect = (index: number): Promise<RawClient> =>
    RawClient.connect(node.port, {
      clientId: `c-${index}`,
      will: { topic: "raw/wills", payload: utf8(`${index}`.padEnd(1_000)), qos: 1, retain: false },
      properties: index % 2 === 0 ? {} : { sessionExpirySeconds: 3_600 },
    });
  const clients: RawClient[] = [];
  while (clients.length < count) {
    clients.push(...(await Promise.all(Array.from({ length: 50 }, (_, at) => connect(clients.length + at)))));
  }
  await using witness = await RawClient.connect(node.port, { clientId: "witness" });
  let mostBytes = 0;
  const timer = setInterval(() => {
    mostBytes = Math.max(mostBytes, node.gateway.stats().waitingBytes);
  }, 1);
  for (const client of clients) client.destroy();
  witness.publish("raw/x", "x", { packetId: 1 });
  await witness.until(({ packetId }) => packetId === 1, 15_000);
  await expect.poll(() => node.gateway.stats().byStream.raw, { timeout: 15_000 }).toBe(count + 1);
  clearInterval(timer);
  const wills = (await node.events("raw")).filter(({ topic }) => topic === "raw/wills");
  expect(new Set(wills.map(({ payload }) => payload.trim())).size).toBe(count);
  // A megabyte of wills: the bound, and what the ends of sessions write beside it.
  expect(mostBytes).toBeLessThan(waitingBytesMax * 4);
}, 60_000);
