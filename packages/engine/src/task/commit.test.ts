/** Commits: golden bytes, laws of packing and reading, and commits that are larger than a block. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { taskHost } from "../../test/task-host.ts";
import { crc32c } from "../block/crc32c.ts";
import { blockBytesMax, blockKind, packBlock, readBlockHeader } from "../block/header.ts";
import { CommitBuilder, type CommitContent } from "./commit-builder.ts";
import {
  type CommitMeta,
  commitSection,
  decodeCommit,
  encodeMeta,
  encodePositions,
  encodeState,
  encodeTimers,
  type StateChange,
  type TimerChange,
} from "./commit-format.ts";
import type { ChannelPosition } from "./positions.ts";
import type { TaskSpec } from "./spec.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const journalLogId = 4;
const host = taskHost(2, () => 1000);
const spec: TaskSpec = {
  name: "f/0",
  functionName: "f",
  partition: 0,
  partitions: 1,
  inputs: [],
  outputs: [{ stream: "out", logId: 7 }],
  effectsLogId: 6,
  journalLogId,
  concurrency: 1,
  asynchronous: false,
  onEvent: () => undefined,
};

test("the bytes are part of the stored format", () => {
  expect(hex(encodePositions([{ logId: 1, writer: 2, low: 3, runs: [[5, 6]] }]))).toBe(
    "01000000020000000300000000000000" + "0100000005000000000000000600000000000000",
  );
  const state: StateChange[] = [
    { key: "a", bytes: new Uint8Array([1, 2]) },
    { key: "é", bytes: undefined },
  ];
  expect(hex(encodeState(state))).toBe("0100010002000000610102" + "0200000000000000c3a9");
  const timers: TimerChange[] = [
    { key: "a", name: "t", dueMs: 258 },
    { key: "b", name: "", dueMs: undefined },
  ];
  expect(hex(encodeTimers(timers))).toBe(
    "01000100010000000201000000000000" + "6174" + "0100000000000000000000000000000062",
  );
  expect(hex(encodeMeta({ timeMs: 1, processed: 2, nextTimerMs: 3, failed: 4 }))).toBe(
    "0100000000000000020000000000000003000000000000000400000000000000",
  );
});

const text = fc.string({ unit: "grapheme", maxLength: 10 });
const position: fc.Arbitrary<ChannelPosition> = fc.record({
  logId: fc.nat(),
  writer: fc.nat(),
  low: fc.maxSafeNat(),
  runs: fc.array(fc.tuple(fc.maxSafeNat(), fc.maxSafeNat()), { maxLength: 4 }),
});
const meta: fc.Arbitrary<CommitMeta> = fc.record({
  timeMs: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  processed: fc.maxSafeNat(),
  nextTimerMs: fc.maxSafeNat(),
  failed: fc.maxSafeNat(),
});
const bytes = fc.option(fc.uint8Array({ maxLength: 40 }), { nil: undefined });
const content = fc.record({
  positions: fc.array(position, { maxLength: 4 }),
  state: fc.array(fc.record({ key: text, bytes }), { maxLength: 10 }),
  timers: fc.array(fc.record({ key: text, name: text, dueMs: fc.option(fc.maxSafeNat(), { nil: undefined }) }), {
    maxLength: 10,
  }),
  meta,
});

const merged = (blocks: readonly Uint8Array[]) => {
  const commits = blocks.map(decodeCommit);
  const last = commits[commits.length - 1];
  return {
    state: commits.flatMap(({ state }) => state.map(({ key, bytes }) => ({ key, bytes }))),
    timers: commits.flatMap(({ timers }) => timers),
    positions: last.positions,
    meta: last.meta,
  };
};
const journalOf = (blocks: readonly Uint8Array[]): Uint8Array[] =>
  blocks.filter((block) => readBlockHeader(block).logId === journalLogId);

describe("laws", () => {
  test("what is packed is read again", () => {
    fc.assert(
      fc.property(content, (packed) => {
        const blocks = new CommitBuilder(spec, host, new Map()).build({ ...packed, outputs: [], effects: [] });
        expect(blocks).toHaveLength(1);
        expect(merged(blocks)).toEqual(packed);
      }),
    );
  });

  test("sections that are cut anywhere are refused", () => {
    const corrupt = expect.objectContaining({ code: "HR_BLOCK_CORRUPT" });
    const header = {
      logId: 1,
      writer: 1,
      epoch: 1,
      sequence: 0,
      recordCount: 1,
      earliestMs: 1,
      latestMs: 1,
      kind: blockKind.commit,
    };
    const sections = [
      { type: commitSection.positions, bytes: encodePositions([{ logId: 1, writer: 2, low: 3, runs: [[5, 6]] }]) },
      { type: commitSection.state, bytes: encodeState([{ key: "abc", bytes: new Uint8Array(5) }]) },
      { type: commitSection.timers, bytes: encodeTimers([{ key: "abc", name: "de", dueMs: 1 }]) },
      { type: commitSection.meta, bytes: encodeMeta({ timeMs: 1, processed: 2, nextTimerMs: 3, failed: 4 }) },
    ];
    for (const { type, bytes } of sections) {
      for (let end = 1; end < bytes.byteLength; end++) {
        const block = packBlock(header, [{ type, bytes: bytes.slice(0, end) }], crc32c);
        expect(() => decodeCommit(block), `section ${type} cut at ${end}`).toThrow(corrupt);
      }
    }
  });
});

describe("a commit larger than a block", () => {
  const empty = {
    positions: [],
    state: [],
    timers: [],
    outputs: [],
    effects: [],
    meta: { timeMs: 1, processed: 1, nextTimerMs: 0, failed: 0 },
  };
  const build = (more: Partial<CommitContent>): Uint8Array[] => {
    const blocks = new CommitBuilder(spec, host, new Map([[journalLogId, 10]])).build({ ...empty, ...more });
    for (const block of blocks) expect(block.byteLength).toBeLessThanOrEqual(blockBytesMax);
    // Its blocks follow each other, so that one append takes all of them or none.
    expect(journalOf(blocks).map((block) => readBlockHeader(block).sequence)).toEqual(
      journalOf(blocks).map((_, index) => 10 + index),
    );
    return blocks;
  };

  test("has its states in several", () => {
    const state = Array.from({ length: 20 }, (_, index) => ({
      key: `k${index}`,
      bytes: new Uint8Array(60_000).fill(index),
    }));
    const blocks = build({ state });
    expect(blocks.length).toBeGreaterThan(2);
    expect(merged(blocks)).toEqual({ ...merged(build({})), state });
  });

  test("has its timers in several, also those with long names", () => {
    const timers = Array.from({ length: 9000 }, (_, index) => ({
      key: "€".repeat(40),
      name: `t${index}`,
      dueMs: index,
    }));
    expect(merged(build({ timers })).timers).toEqual(timers);
  });

  test("has room for positions beside full states", () => {
    const runs = Array.from({ length: 9_000 }, (_, index): [number, number] => [2 * index + 1, 2 * index + 2]);
    const positions = [{ logId: 1, writer: 0, low: 0, runs }];
    const state = Array.from({ length: 6 }, (_, index) => ({ key: `k${index}`, bytes: new Uint8Array(64_000) }));
    const blocks = build({ state, positions });
    expect(merged(blocks)).toMatchObject({ positions, state });
    // Counters and positions are never apart: a block with only one of them would set the other back.
    for (const block of blocks) {
      const commit = decodeCommit(block);
      expect(commit.positions.length > 0).toBe(commit.meta.timeMs > 0);
    }
  });

  test("has its outputs and effects in several, numbered on", () => {
    const payload = new Uint8Array(200_000);
    const outputs = Array.from({ length: 6 }, (_, index) => ({
      stream: "out",
      key: "k",
      device: "d",
      payload,
      cause: `${index}`,
    }));
    const effects = Array.from({ length: 6 }, (_, index) => ({
      id: `${index}`,
      kind: "command",
      device: "d",
      payload,
    }));
    const blocks = build({ outputs, effects }).map((block) => readBlockHeader(block));
    for (const logId of [spec.outputs[0].logId, spec.effectsLogId]) {
      let next = 0;
      for (const { sequence, recordCount } of blocks.filter((header) => header.logId === logId)) {
        expect(sequence).toBe(next);
        next += recordCount;
      }
      expect(next).toBe(6);
    }
  });
});
