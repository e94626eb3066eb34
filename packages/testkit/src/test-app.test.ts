/** testApp: what tests of applications rely on, over small applications that use every part once. */
import { app, count, http, max, mqtt, type StandardSchema, sum, tumbling } from "@headrace/sdk";
import { describe, expect, test } from "vitest";
import { testApp } from "./test-app.ts";

const numbers: StandardSchema<unknown, { value: number }> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: (value) =>
      typeof (value as { value?: unknown } | null)?.value === "number"
        ? { value: value as { value: number } }
        : { issues: [{ message: "expected a number", path: ["value"] }] },
  },
};

describe("functions", () => {
  const meters = app("meters");
  const readings = meters.stream("readings", { from: mqtt("sites/:site/:device"), schema: numbers, partitions: 4 });
  const doubled = meters.stream<{ twice: number }>("doubled");
  meters.function(
    "double",
    { on: readings, emits: [doubled], state: () => ({ sum: 0 }) },
    ({ value: { value }, params }, { state, emit }) => {
      if (value < 0) throw new RangeError(`negative: ${value}`);
      state.sum += value;
      emit(doubled, { twice: value * 2 }, { key: params.site });
    },
  );
  meters.function(
    "by-site",
    { on: doubled, state: () => ({ n: 0, devices: new Set<string>() }) },
    (event, { state }) => {
      state.n += event.value.twice;
      state.devices.add(event.device);
    },
  );

  test("events go through function, derived stream and the next function before publish returns", async () => {
    const t = await testApp(meters);
    t.device("a").publish(readings, { value: 2 }, { params: { site: "s" } });
    t.device("b").publish("sites/s/b", { value: 3 });
    expect(t.outputs(doubled).map(({ value, key, device }) => [value.twice, key, device])).toEqual([
      [4, "s", "a"],
      [6, "s", "b"],
    ]);
    expect(t.state("double", "b")).toEqual({ sum: 3 });
    expect(t.state("by-site", "s")).toEqual({ n: 10, devices: new Set(["a", "b"]) });
  });

  test("what throws goes to the dead letters with the state before it, and the key goes on", async () => {
    const t = await testApp(meters);
    const a = t.device("a");
    for (const value of [1, -5, 2]) a.publish("sites/s/a", { value });
    expect(t.state("double", "a")).toEqual({ sum: 3 });
    expect(t.deadLetters()).toMatchObject([
      {
        function: "double",
        stream: "readings",
        device: "a",
        payload: '{"value":-5}',
        stateBefore: { sum: 1 },
        error: { name: "RangeError", message: "negative: -5", stack: expect.stringContaining("RangeError") },
      },
    ]);
  });

  test("any Standard Schema validator rejects, each rejection once", async () => {
    const t = await testApp(meters);
    t.device("a").publish("sites/s/a", { value: "two" });
    expect(t.rejected()).toMatchObject([{ reason: "schema", message: "value: expected a number", key: "a" }]);
  });

  test("a topic that feeds no stream, a parameter that is missing and unknown names say what there is", async () => {
    const t = await testApp(meters);
    expect(() => t.device("a").publish("elsewhere", {})).toThrow("sites/:site/:device");
    expect(() => t.device("a").publish(readings, {})).toThrow("params.site");
    expect(() => t.outputs("nothing")).toThrow("readings");
    expect(() => t.state("nothing", "a")).toThrow("double");
  });
});

describe("keys and headers", () => {
  const lines = app("lines");
  const parts = lines.stream("parts", { from: http("/lines/:line"), key: { header: "part" } });
  lines.function("seen", { on: parts, state: () => ({ headers: [] as unknown[] }) }, ({ headers, qos }, { state }) => {
    state.headers.push([{ ...headers }, qos]);
  });

  test("the key may be a header; without it, it is the device", async () => {
    const t = await testApp(lines);
    t.device("d").publish("lines/1", {}, { headers: { part: "p9" }, qos: 0 });
    t.device("d").publish("lines/1", {});
    expect(t.state("seen", "p9")).toEqual({ headers: [[{ part: "p9" }, 0]] });
    expect(t.state("seen", "d")).toEqual({ headers: [[{}, 1]] });
  });
});

describe("asynchronous functions", () => {
  const slow = app("slow");
  const jobs = slow.stream("jobs", { from: mqtt("jobs/:device") });
  const gates = new Map<string, PromiseWithResolvers<void>>();
  slow.function("work", { on: jobs, state: () => ({ done: [] as unknown[] }) }, async (event, { state }) => {
    const { gate, id } = event.value as { gate?: string; id: number };
    if (gate) await gates.get(gate)?.promise;
    state.done.push(id);
  });

  test("settle waits for them; keys do not wait for each other, and one key stays in order", async () => {
    const t = await testApp(slow);
    gates.set("g", Promise.withResolvers());
    t.device("a").publish("jobs/a", { id: 1, gate: "g" });
    t.device("a").publish("jobs/a", { id: 2 });
    t.device("b").publish("jobs/b", { id: 3 });
    await new Promise(setImmediate);
    expect([t.state("work", "a"), t.state("work", "b")]).toEqual([undefined, { done: [3] }]);
    gates.get("g")?.resolve();
    await t.settle();
    expect(t.state("work", "a")).toEqual({ done: [1, 2] });
  });

  test("one that was under way at a crash is called again, and counts once", async () => {
    const t = await testApp(slow);
    gates.set("g", Promise.withResolvers());
    t.device("a").publish("jobs/a", { id: 1, gate: "g" });
    t.crash();
    gates.get("g")?.resolve();
    await t.settle();
    expect(t.state("work", "a")).toEqual({ done: [1] });
  });
});

describe("commands", () => {
  const valves = app("valves");
  const levels = valves.stream("levels", { from: mqtt("levels/:device") });
  valves.function("act", { on: levels }, ({ value }, { device }) => {
    device.command("open", value, { within: "1m" });
  });
  const statuses = async (act: (t: Awaited<ReturnType<typeof testApp>>) => unknown) => {
    const t = await testApp(valves);
    t.device("v").publish("levels/v", { percent: 7 });
    await act(t);
    return t.commands().map(({ name, status }) => `${name} ${status}`);
  };

  test("a device acknowledges by hand, by a handler, or by an asynchronous one", async () => {
    const expected = ["open sent", "open acknowledged"];
    expect(await statuses((t) => t.device("v").acknowledge(t.device("v").received[0].id, 1))).toEqual(expected);
    expect(await statuses((t) => t.device("v").onCommand(({ args }) => args))).toEqual(expected);
    const asynchronous = statuses((t) => {
      t.device("v").onCommand(async ({ args }) => args);
      return t.settle();
    });
    expect(await asynchronous).toEqual(expected);
  });

  test("what a handler throws is the reason of the failure", async () => {
    const t = await testApp(valves);
    t.device("v").onCommand(() => {
      throw new Error("stuck");
    });
    t.device("v").publish("levels/v", {});
    expect(t.commands()).toMatchObject([{ status: "sent" }, { status: "failed", error: "stuck" }]);
  });

  test("without an answer it expires at its deadline; a late answer changes nothing", async () => {
    const expired = statuses(async (t) => {
      await t.advance("1m");
      t.device("v").acknowledge(t.device("v").received[0].id);
    });
    expect(await expired).toEqual(["open sent", "open expired"]);
  });

  test("after a crash a pending command is sent again with its id, and still expires", async () => {
    const t = await testApp(valves);
    t.device("v").publish("levels/v", {});
    t.crash();
    expect(new Set(t.device("v").received.map(({ id }) => id)).size).toBe(1);
    expect(t.device("v").received).toHaveLength(2);
    await t.advance("2m");
    expect(t.commands().map(({ status }) => status)).toEqual(["sent", "expired"]);
  });
});

describe("windows", () => {
  const mixer = app("mixer");
  const weights = mixer.stream("weights", { from: mqtt("w/:device"), time: { field: "at" } });
  const table = weights
    .window(tumbling("10s", { lateness: "5s" }))
    .aggregate({ n: count(), total: sum("kg"), peak: max("kg") })
    .table("per_10s");

  test("they close in event time, take late events as revisions, and show the newest", async () => {
    const t = await testApp(mixer, { startMs: 1_000_000 });
    const send = (at: number, kg: number) => t.device("m").publish(weights, { at, kg });
    send(1_000_000, 1);
    send(1_009_999, 2);
    expect(t.table(table)).toEqual([]);
    send(1_015_000, 4);
    expect(t.table(table)).toMatchObject([{ windowStart: 1_000_000, n: 2, total: 3, peak: 2, revision: 1, key: "m" }]);
    send(1_003_000, 8);
    expect(t.table(table)).toMatchObject([{ windowStart: 1_000_000, n: 3, total: 11, peak: 8, revision: 2 }]);
    await t.advance("1m");
    expect(t.table(table).map(({ windowStart, n }) => [windowStart, n])).toEqual([
      [1_000_000, 3],
      [1_010_000, 1],
    ]);
  });
});

test("same input, same seed, same bytes; another order of turns leaves the same results", async () => {
  const fleet = app("fleet");
  const readings = fleet.stream("readings", { from: mqtt("r/:device"), partitions: 3 });
  const draws = fleet.stream<{ draw: number; id: string }>("draws");
  fleet.function("draw", { on: readings, emits: [draws], state: () => ({ n: 0 }) }, (_event, context) => {
    context.state.n += 1;
    context.emit(draws, { draw: context.random(), id: context.uuid() });
    if (context.state.n % 4 === 0) context.alert.raise("often", { n: context.state.n });
  });
  fleet.function("later", { on: draws, state: () => ({ n: 0 }) }, async (_event, { state }) => {
    await Promise.resolve();
    state.n += 1;
  });
  readings.window(tumbling("5s")).aggregate({ n: count() }).table("per_5s");
  const run = async (seed: number) => {
    const t = await testApp(fleet, { seed });
    for (let event = 0; event < 40; event++) {
      t.device(`d${event % 7}`).publish(readings, { event });
      await t.advance("300ms");
      if (event === 20) t.crash();
    }
    await t.settle();
    return { bytes: Buffer.from(t.log.dump()), rows: t.table("per_5s"), alerts: t.alerts().length };
  };
  const [one, again, other] = [await run(7), await run(7), await run(8)];
  expect(one.bytes.equals(again.bytes)).toBe(true);
  expect(one.bytes.equals(other.bytes)).toBe(false);
  expect([other.rows, other.alerts]).toEqual([one.rows, one.alerts]);
  expect(one.alerts).toBeGreaterThan(5);
});

describe("time to live of state", () => {
  const fleet = app("fleet");
  const seen = fleet.stream("seen", { from: mqtt("d/:device"), schema: numbers });
  fleet.function(
    "count",
    { on: seen, state: { initial: () => ({ n: 0 }), ttl: "1h" } },
    ({ value: { value } }, { state }) => {
      if (value < 0) throw new RangeError("negative");
      state.n += 1;
    },
  );
  const start = async () => {
    const t = await testApp(fleet);
    const send = (device: string, value = 1): void => t.device(device).publish(seen, { value });
    const stateOf = (device: string): unknown => t.state("count", device);
    return { t, send, stateOf };
  };

  test("a key lives as long as events come, and begins anew after its time", async () => {
    const { t, send, stateOf } = await start();
    send("a");
    send("b");
    await t.advance("59m");
    send("a");
    await t.advance("59m");
    expect([stateOf("a"), stateOf("b")]).toEqual([{ n: 2 }, undefined]);
    await t.advance("1m");
    expect(stateOf("a")).toBeUndefined();
    send("a");
    expect(stateOf("a")).toEqual({ n: 1 });
  });

  test("an event that fails does not keep a key alive", async () => {
    const { t, send, stateOf } = await start();
    send("a");
    await t.advance("59m");
    send("a", -1);
    expect(t.deadLetters()).toMatchObject([{ stateBefore: { n: 1 } }]);
    await t.advance("1m");
    expect(stateOf("a")).toBeUndefined();
  });

  test("a recovery forgets neither that a key has gone nor when the others will", async () => {
    const { t, send, stateOf } = await start();
    send("a");
    await t.advance("30m");
    send("b");
    await t.advance("30m");
    t.crash();
    expect([stateOf("a"), stateOf("b")]).toEqual([undefined, { n: 1 }]);
    await t.advance("29m");
    t.crash();
    expect(stateOf("b")).toEqual({ n: 1 });
    await t.advance("1m");
    expect(stateOf("b")).toBeUndefined();
    t.crash();
    expect(stateOf("b")).toBeUndefined();
  });

  test("the same run gives the same bytes", async () => {
    const dump = async (): Promise<Uint8Array> => {
      const { t, send } = await start();
      for (let step = 0; step < 200; step++) {
        send(`d${(step * 7) % 11}`);
        await t.advance((step % 13) * 60_000);
        if (step % 50 === 49) t.crash();
      }
      return t.log.dump();
    };
    expect(Buffer.from(await dump()).equals(Buffer.from(await dump()))).toBe(true);
  });
});

test("state at its bound: what would grow it fails its event, what shrinks it passes", async () => {
  const bounded = app("bounded");
  const texts = bounded.stream("texts", { from: mqtt("d/:device") });
  bounded.function(
    "keep",
    { on: texts, state: { initial: () => ({ text: "" }), bytesPerTask: "1KB", bytesPerKey: "700B" } },
    (event, { state }) => {
      state.text = "x".repeat(event.value as number);
    },
  );
  const t = await testApp(bounded);
  const send = (device: string, length: number): void => t.device(device).publish(`d/${device}`, length);
  send("a", 600);
  send("b", 600);
  send("b", 300);
  send("a", 800);
  send("a", 10);
  send("c", 600);
  expect(["a", "b", "c"].map((key) => (t.state("keep", key) as { text: string } | undefined)?.text.length)).toEqual([
    10, 300, 600,
  ]);
  expect(t.deadLetters().map(({ key, error }) => [key, error.message])).toEqual([
    ["b", expect.stringContaining("the limit of this task is 1000")],
    ["a", expect.stringContaining("exceeds the limit of 700")],
  ]);
});
