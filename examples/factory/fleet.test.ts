/** What the pumps say: readings that the application accepts, some of them too hot, and the same at every run. */
import { deviceIds, seededRandom } from "@headrace/simulator";
import { expect, test } from "vitest";
import fleet from "./fleet.ts";

/** The first `count` readings of a pump. */
function readingsOf(number: number, count: number) {
  const id = deviceIds(fleet)[number]!;
  const model = fleet.model!({ id, number }, seededRandom(`test/${id}/model`));
  const random = seededRandom(`test/${id}/payload`);
  return Array.from({ length: count }, (_, index) => fleet.payload({ id, number, model }, index, random));
}

test("a hundred pumps are spread over the plants", () => {
  const ids = deviceIds(fleet);
  expect([ids.length, ids[0], ids[99]]).toEqual([100, "pump-0001", "pump-0100"]);
  const model = { plant: "north", phase: 0, rpm: 0 };
  expect(fleet.topic({ id: "pump-0001", number: 0, model })).toBe("plants/north/pumps/pump-0001");
});

test("each plays the series from its own place, the same at every run", () => {
  expect(readingsOf(0, 50)).toEqual(readingsOf(0, 50));
  expect(readingsOf(0, 50)).not.toEqual(readingsOf(1, 50));
  for (const reading of readingsOf(7, 50)) {
    expect(reading).toEqual({ temperature: expect.any(Number), vibration: expect.any(Number) });
  }
});

test("within 15 seconds some get hot and some of them cool down again", () => {
  const courses = deviceIds(fleet).map((_, number) => {
    const temperatures = readingsOf(number, 15 * fleet.rate).map(
      (reading) => (reading as { temperature: number }).temperature,
    );
    const hotAt = temperatures.findIndex((temperature) => temperature > 96);
    return { hot: hotAt >= 0, cooled: hotAt >= 0 && temperatures.slice(hotAt).some((temperature) => temperature < 88) };
  });
  expect(courses.filter(({ hot }) => hot).length).toBeGreaterThan(10);
  expect(courses.filter(({ cooled }) => cooled).length).toBeGreaterThan(3);
});

test("a pump switches its fan, and knows no other command", async () => {
  const model = { plant: "north", phase: 0, rpm: 0 };
  const pump = { id: "pump-0001", number: 0, model };
  expect(await fleet.commands!(pump, { id: "1", name: "fan", args: { on: true } })).toEqual({ rpm: 1200 });
  expect(await fleet.commands!(pump, { id: "2", name: "fan", args: { on: false } })).toEqual({ rpm: 0 });
  expect(() => fleet.commands!(pump, { id: "3", name: "horn", args: {} })).toThrow('"horn"');
});
