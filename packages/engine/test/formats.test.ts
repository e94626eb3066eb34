/**
 * Goal: what is written today is read by every later version. Golden bytes: the formats of docs/reference/formats.md, once written and kept in
 * golden/; what the code writes must equal them, and what they hold must be read back.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { crc32c } from "../src/block/crc32c.ts";
import { EventBlockBuilder, InternedString } from "../src/block/event-builder.ts";
import { EventBlockReader } from "../src/block/event-reader.ts";
import { blockKind, packBlock, verifyBlock } from "../src/block/header.ts";
import { encodeCause, encodeProperties } from "../src/block/properties.ts";
import {
  commitSection,
  decodeCommit,
  encodeMeta,
  encodePositions,
  encodeState,
  encodeTimers,
} from "../src/task/commit-format.ts";
import { decodeValue, encodeValue } from "../src/value/codec.ts";

const hex = (bytes: Uint8Array): string =>
  `${Buffer.from(bytes).toString("hex").replace(/.{64}/g, "$&\n").trimEnd()}\n`;
const golden = (name: string): Uint8Array =>
  new Uint8Array(
    Buffer.from(readFileSync(new URL(`./golden/${name}.hex`, import.meta.url), "latin1").replace(/\s/g, ""), "hex"),
  );
const expectGolden = (bytes: Uint8Array, name: string): Promise<void> =>
  expect(hex(bytes)).toMatchFileSnapshot(`./golden/${name}.hex`);

const at = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const place = { logId: 7, writer: 3, epoch: 2, sequence: 9_007_199_254_740_000 };

const everyProperty = {
  messageExpirySeconds: 3600,
  contentType: "application/json",
  responseTopic: "devices/π/ack",
  correlationData: Uint8Array.of(0, 1, 255),
  userProperties: [
    ["hr-note", "größer"],
    ["", ""],
  ] as [string, string][],
  deviceTimeMs: at - 0.5,
  cause: "guard/0/1/0/42",
  payloadFormat: 1,
};

const events = (): Uint8Array => {
  const builder = new EventBlockBuilder(4096);
  const [topic, key, client] = ["plants/a/pumps/p1", "p1", "box-ü"].map((text) => new InternedString(text)) as [
    InternedString,
    InternedString,
    InternedString,
  ];
  const add = (
    payload: Uint8Array,
    flags: number,
    ms: number,
    properties?: Uint8Array,
    epoch = -1,
    sequence = -1,
  ): void => {
    expect(
      builder.append(topic, key, client, flags, ms, payload, 0, payload.byteLength, properties, epoch, sequence),
    ).toBe(true);
  };
  add(utf8('{"temperature":21.5}'), 1, at);
  add(utf8("x".repeat(60)), 1 | 4 | 8, at + 3, encodeProperties(everyProperty), 5, 2 ** 52);
  add(new Uint8Array(0), 16, at - 1000, encodeCause("guard/0/1/0/42/1"));
  return builder.seal(place, crc32c).slice();
};

describe("event block", () => {
  test("is written as ever", () => expectGolden(events(), "events"));

  test("is read as ever", () => {
    const block = golden("events");
    const reader = new EventBlockReader(block);
    expect(verifyBlock(block, reader.header, crc32c)).toBe(true);
    expect(reader.header).toMatchObject({ ...place, recordCount: 3, kind: blockKind.events, earliestMs: at });
    const read: unknown[] = [];
    while (reader.next()) {
      const { sequence, topic, key, client, qos, repeated, arrivalMs, deviceEpoch, deviceSequence } = reader;
      const payload = new TextDecoder().decode(reader.payload);
      read.push({
        sequence,
        topic,
        key,
        client,
        qos,
        repeated,
        arrivalMs,
        deviceEpoch,
        deviceSequence,
        payload,
        properties: reader.properties(),
      });
    }
    const common = { topic: "plants/a/pumps/p1", key: "p1", client: "box-ü" };
    expect(read).toEqual([
      {
        ...common,
        sequence: place.sequence,
        qos: 1,
        repeated: false,
        arrivalMs: at,
        deviceEpoch: -1,
        deviceSequence: -1,
        payload: '{"temperature":21.5}',
        properties: {},
      },
      {
        ...common,
        sequence: place.sequence + 1,
        qos: 1,
        repeated: false,
        arrivalMs: at + 3,
        deviceEpoch: 5,
        deviceSequence: 2 ** 52,
        payload: "x".repeat(60),
        properties: everyProperty,
      },
      {
        ...common,
        sequence: place.sequence + 2,
        qos: 0,
        repeated: true,
        arrivalMs: at,
        deviceEpoch: -1,
        deviceSequence: -1,
        payload: "",
        properties: { cause: "guard/0/1/0/42/1" },
      },
    ]);
  });

  test("a property of more than 65,535 bytes has a length of 24 bits", async () => {
    const correlationData = new Uint8Array(70_000).fill(7);
    const bytes = encodeProperties({ correlationData });
    await expectGolden(bytes.subarray(0, 64), "long-property-head");
    expect([...bytes.subarray(0, 4)]).toEqual([4, 1, 0x70, 0x11]);
  });
});

const positions = [
  {
    logId: 1,
    writer: 0,
    low: 100,
    runs: [
      [105, 110],
      [2 ** 40, 2 ** 40 + 1],
    ] as [number, number][],
  },
  { logId: 2, writer: 9, low: 0, runs: [] },
];
const state = [
  { key: "p1", bytes: Uint8Array.of(1, 2, 3) },
  { key: "größer", bytes: undefined },
];
const timers = [
  { key: "p1", name: "deadline", dueMs: at },
  { key: "p2", name: "", dueMs: undefined },
];
const meta = { timeMs: at, processed: 12_345, nextTimerMs: at + 1, failed: 2 };

describe("commit block", () => {
  test("is written as ever", async () => {
    const sections = [
      { type: commitSection.state, bytes: encodeState(state) },
      { type: commitSection.timers, bytes: encodeTimers(timers) },
      { type: commitSection.positions, bytes: encodePositions(positions) },
      { type: commitSection.meta, bytes: encodeMeta(meta) },
    ];
    const header = { ...place, recordCount: 1, earliestMs: at, latestMs: at, kind: blockKind.commit };
    await expectGolden(packBlock(header, sections, crc32c), "commit");
  });

  test("is read as ever", () => {
    const commit = decodeCommit(golden("commit"));
    expect(commit).toMatchObject({
      positions,
      timers,
      meta,
      state: [{ key: "p1" }, { key: "größer", bytes: undefined }],
    });
    expect([...(commit.state[0]?.bytes ?? [])]).toEqual([1, 2, 3]);
  });
});

describe("state values", () => {
  const value = {
    nothing: undefined,
    empty: null,
    no: false,
    yes: true,
    small: -7,
    large: 2 ** 31,
    double: 0.1,
    minusZero: -0,
    notANumber: Number.NaN,
    text: "Grüße",
    half: "\ud800x",
    big: -(2n ** 70n),
    list: [1, [2], "3"],
    map: new Map<unknown, unknown>([
      ["a", 1],
      [2, new Set([3])],
    ]),
    date: new Date(at),
    bytes: Uint8Array.of(1, 2),
    doubles: Float64Array.of(1.5, -2),
    bigints: BigInt64Array.of(-1n),
  };

  test("are written as ever", () => expectGolden(encodeValue(value), "state-value"));
  test("are read as ever", () => {
    expect(decodeValue(golden("state-value"))).toEqual(value);
    expect(Object.is((decodeValue(golden("state-value")) as typeof value).minusZero, -0)).toBe(true);
  });
});
