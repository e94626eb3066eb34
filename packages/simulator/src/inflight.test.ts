import { expect, test } from "vitest";
import { Inflight } from "./inflight.ts";

const publish = (packetId: number) => Uint8Array.of(0x32, packetId);

function sendAll(inflight: Inflight): [sequence: number, again: boolean, firstByte: number][] {
  const sent: [number, boolean, number][] = [];
  inflight.pump(1, (message, again) => {
    sent.push([message.sequence, again, message.bytes[0]!]);
    return true;
  });
  return sent;
}

test("messages go out once per connection, and again with DUP, in order, before newer ones", () => {
  const inflight = new Inflight();
  for (const sequence of [1, 2, 3]) inflight.add(sequence, publish);
  expect(sendAll(inflight)).toEqual([
    [1, false, 0x32],
    [2, false, 0x32],
    [3, false, 0x32],
  ]);
  expect(sendAll(inflight)).toEqual([]);
  expect(inflight.take(2)?.sequence).toBe(2);
  inflight.disconnected();
  inflight.add(4, publish);
  expect(sendAll(inflight)).toEqual([
    [1, true, 0x3a],
    [3, true, 0x3a],
    [4, false, 0x32],
  ]);
});

test("no more are on the wire than the server receives at once", () => {
  const inflight = new Inflight();
  inflight.receiveMaximum = 2;
  for (const sequence of [1, 2, 3, 4]) inflight.add(sequence, publish);
  expect(sendAll(inflight).map(([sequence]) => sequence)).toEqual([1, 2]);
  inflight.take(1);
  expect(sendAll(inflight).map(([sequence]) => sequence)).toEqual([3]);
});

test("an answer counts once, and only on the connection that the message went out on", () => {
  const inflight = new Inflight();
  inflight.add(1, publish);
  expect(inflight.take(1)).toBeUndefined();
  sendAll(inflight);
  inflight.disconnected();
  expect(inflight.take(1)).toBeUndefined();
  sendAll(inflight);
  expect(inflight.take(1)?.sequence).toBe(1);
  expect(inflight.take(1)).toBeUndefined();
  expect(inflight.size).toBe(0);
});

test("packet identifiers in use are not given again, and 65,535 never", () => {
  const inflight = new Inflight();
  inflight.add(1, publish);
  const seen = new Set<number>();
  for (let count = 0; count < 70_000; count += 1) {
    inflight.add(count + 2, publish);
    inflight.pump(0, (message) => {
      if (message.packetId !== 1) seen.add(message.packetId);
      return true;
    });
    for (const id of seen) inflight.take(id);
    expect(inflight.size).toBe(1);
    if (count % 1000 === 0) expect(seen.has(1) || seen.has(65_535)).toBe(false);
    seen.clear();
  }
});
