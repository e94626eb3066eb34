/** The factory on a virtual clock: the same tasks, windows and outbox as on a node, in milliseconds. */
import { testApp } from "@headrace/testkit";
import { expect, test } from "vitest";
import factory from "./app.ts";

const topic = "plants/north/pumps/pump-1";

/** A pump that has sent these temperatures. */
async function heated(...temperatures: number[]) {
  const t = await testApp(factory);
  const pump = t.device("pump-1");
  for (const temperature of temperatures) pump.publish(topic, { temperature, vibration: 0.4 });
  return { t, pump };
}

test("a pump that stays hot raises one alert, and its fan is switched on", async () => {
  const { t } = await heated(80, 96, 97, 98, 99);
  expect(t.alerts()).toEqual([
    {
      name: "overheating",
      status: "raised",
      severity: "critical",
      raisedAtMs: t.nowMs,
      details: { plant: "north", reading: 98 },
      function: "overheat-guard",
      key: "pump-1",
      device: "pump-1",
    },
  ]);
  expect(t.commands()).toMatchObject([
    { name: "fan", args: { on: true }, device: "pump-1", status: "sent", deadlineMs: t.nowMs + 10_000 },
  ]);
});

test("a value that hovers around the threshold raises nothing", async () => {
  const { t } = await heated(96, 94, 97, 93, 96, 96, 94);
  expect(t.alerts()).toEqual([]);
});

test("once it has cooled down, the alert is cleared and the fan is switched off", async () => {
  const { t } = await heated(96, 96, 96, 92, 92, 92, 89, 88, 87);
  expect(t.alerts().map(({ status }) => status)).toEqual(["raised", "cleared"]);
  expect(t.commands().map(({ args }) => args)).toEqual([{ on: true }, { on: false }]);
});

test("the pump's answer comes back as an event", async () => {
  const { t, pump } = await heated();
  pump.onCommand(({ name, args }) => (name === "fan" && (args as { on: boolean }).on ? { rpm: 1200 } : { rpm: 0 }));
  for (let reading = 0; reading < 3; reading++) pump.publish(topic, { temperature: 99, vibration: 0.4 });
  expect(t.commands().map(({ status }) => status)).toEqual(["sent", "acknowledged"]);
  expect(t.state("fan-log", "pump-1")).toEqual({ rpm: 1200, failed: 0 });
});

test("a fan that does not answer within ten seconds is counted and logged", async () => {
  const { t } = await heated(96, 96, 96);
  await t.advance("9s");
  expect(t.state("fan-log", "pump-1")).toEqual({ rpm: 0, failed: 0 });
  await t.advance("1s");
  expect(t.commands().map(({ status }) => status)).toEqual(["sent", "expired"]);
  expect(t.state("fan-log", "pump-1")).toEqual({ rpm: 0, failed: 1 });
  expect(t.logged()).toMatchObject([{ level: "warn", fields: { device: "pump-1", status: "expired" } }]);
});

test("the table has a row per pump and five seconds", async () => {
  const { t, pump } = await heated(70, 80);
  await t.advance("5s");
  pump.publish(topic, { temperature: 60, vibration: 0.1 });
  t.device("pump-2").publish("plants/east/pumps/pump-2", { temperature: 50, vibration: 0.2 });
  await t.advance("5s");
  const first = Math.floor(t.nowMs / 5000) * 5000 - 10_000;
  expect(t.table("per_5s")).toMatchObject([
    { key: "pump-1", windowStart: first, temperature: 75, peak: 80, shake: 0.4, n: 2, revision: 1 },
    { key: "pump-1", windowStart: first + 5000, temperature: 60, n: 1 },
    { key: "pump-2", windowStart: first + 5000, temperature: 50, n: 1 },
  ]);
});

test("a reading that does not fit the schema is rejected with the reason, and the next one counts", async () => {
  const { t, pump } = await heated(70);
  pump.publish(topic, { temperature: "hot", vibration: 0.4 });
  pump.publish(topic, new TextEncoder().encode("{oops"));
  pump.publish(topic, { temperature: 71, vibration: 0.4 });
  expect(t.rejected()).toMatchObject([
    { stream: "readings", reason: "schema", message: expect.stringContaining("temperature"), device: "pump-1" },
    { stream: "readings", reason: "json", payload: "{oops", topic },
  ]);
  expect(t.state("pump-count", "pump-1")).toEqual({ count: 2 });
});

test("a crash loses and repeats nothing", async () => {
  const { t, pump } = await heated(96, 96);
  t.crash();
  pump.publish(topic, { temperature: 96, vibration: 0.4 });
  expect(t.alerts()).toHaveLength(1);
  t.crash();
  expect(pump.received.map(({ id }) => id)).toEqual([t.commands()[0].id, t.commands()[0].id]);
  expect(t.state("pump-count", "pump-1")).toEqual({ count: 3 });
});
