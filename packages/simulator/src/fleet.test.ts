import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { nextEpoch } from "./epoch.ts";
import { defineFleet, deviceIds } from "./fleet.ts";
import { seededRandom } from "./random.ts";
import { CommandResponder } from "./responder.ts";

describe("a fleet", () => {
  const good = { devices: 2, rate: 1, topic: () => "t", payload: () => ({}) };

  test("numbers its devices, or names them as its author says", () => {
    expect(deviceIds(good)).toEqual(["device-0001", "device-0002"]);
    expect(deviceIds({ devices: 2, deviceId: (number) => `pump-${number}` })).toEqual(["pump-0", "pump-1"]);
  });

  test.each([
    [{ devices: 0 }, "devices 0"],
    [{ devices: 1.5 }, "devices 1.5"],
    [{ rate: 0 }, "rate 0"],
    [{ rate: Number.NaN }, "rate NaN"],
    [{ burst: 0 }, "burst 0"],
    [{ jitter: 2 }, "jitter 2"],
    [{ link: { loss: -1 } }, "link.loss -1"],
    [{ link: { disconnectEverySeconds: 0 } }, "disconnectEverySeconds 0"],
  ])("refuses %j", (wrong, message) => {
    expect(() => defineFleet({ ...good, ...wrong })).toThrow(message);
  });
});

test("seeds decide the numbers, and neighbouring seeds have nothing in common", () => {
  const numbers = (seed: string) => {
    const random = seededRandom(seed);
    return Array.from({ length: 100 }, random);
  };
  expect(numbers("pump-1")).toEqual(numbers("pump-1"));
  expect(numbers("pump-1")).not.toEqual(numbers("pump-2"));
  const first = Array.from({ length: 1000 }, (_, index) => seededRandom(`pump-${index}`)());
  const mean = first.reduce((sum, number) => sum + number) / first.length;
  expect(mean).toBeGreaterThan(0.45);
  expect(mean).toBeLessThan(0.55);
  expect(first.every((number) => number >= 0 && number < 1)).toBe(true);
});

describe("the epoch", () => {
  const folder = mkdtempSync(join(tmpdir(), "headrace-epoch-"));

  test("grows with every start", () => {
    const file = join(folder, "new", "fleet.json");
    expect([nextEpoch(file), nextEpoch(file), nextEpoch(file)]).toEqual([1, 2, 3]);
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({ epoch: 3 });
  });

  test("is not guessed when the file is damaged", () => {
    const file = join(folder, "damaged.json");
    writeFileSync(file, "{}");
    expect(() => nextEpoch(file)).toThrow("holds no epoch");
    rmSync(folder, { recursive: true });
  });
});

describe("a command", () => {
  const device = { id: "p1", number: 0, model: undefined };
  const command = (fields: object) =>
    Buffer.from(JSON.stringify({ id: "c1", name: "fan", args: { on: true }, ...fields }));

  test("is run once and answered as often as it comes", async () => {
    let runs = 0;
    const responder = new CommandResponder(device, (_device, { args }) => {
      runs += 1;
      return args;
    });
    const answer = { topic: "devices/p1/commands/c1/ack", payload: '{"ok":true,"result":{"on":true}}' };
    expect(await responder.answer(command({}))).toEqual(answer);
    expect(await responder.answer(command({}))).toEqual(answer);
    expect(runs).toBe(1);
  });

  test("that throws is answered with its error; what is no command is not answered", async () => {
    const responder = new CommandResponder(device, () => {
      throw new Error("stuck");
    });
    expect((await responder.answer(command({})))?.payload).toBe('{"ok":false,"error":"stuck"}');
    expect(await responder.answer(command({ id: 1 }))).toBeUndefined();
    expect(await responder.answer(Buffer.from("{"))).toBeUndefined();
    expect(await responder.answer(Buffer.from("null"))).toBeUndefined();
  });
});
