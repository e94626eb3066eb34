/**
 * What every driver of the Log port does, as tests: run it against each of them. The functions of the test runner are arguments,
 * so that this package needs none.
 */
import { type BlockHeader, blockKind, crc32c, type Log, packBlock, readBlockHeader } from "@headrace/engine";

/** A log under test. */
export interface OpenLog {
  readonly log: Log;
  /** Closes it as a clean stop does, and opens it again over what it kept; absent for a log that keeps nothing. */
  readonly reopen?: () => Promise<Log>;
  close(): Promise<void>;
}

/** The part of a test runner that the suite needs; vitest's `test` and `assert` fit. */
export interface Runner {
  test(name: string, run: () => Promise<void>): void;
  equal(actual: unknown, expected: unknown): void;
}

interface BlockOptions {
  readonly logId: number;
  readonly sequence: number;
  readonly writer?: number;
  readonly epoch?: number;
  readonly recordCount?: number;
  readonly fill?: number;
  readonly contentBytes?: number;
}

/** A sealed block for tests of logs. */
export const testBlock = (options: BlockOptions): Uint8Array => {
  const {
    logId,
    sequence,
    writer = 0,
    epoch = 1,
    recordCount = 1,
    fill = sequence & 0xff,
    contentBytes = 40,
  } = options;
  return packBlock(
    { logId, writer, epoch, sequence, recordCount, earliestMs: 1, latestMs: 2, kind: blockKind.control },
    [{ type: 9, bytes: new Uint8Array(contentBytes).fill(fill) }],
    crc32c,
  );
};

const sequencesOf = (blocks: readonly Uint8Array[]): number[] => blocks.map((block) => readBlockHeader(block).sequence);
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "settled",
    (error: { code?: unknown }) => String(error.code ?? error),
  );

/** Registers the suite. @param make opens an empty log */
export const logConformance = (make: () => Promise<OpenLog>, { test, equal }: Runner): void => {
  const withLog = (name: string, run: (log: Log, open: OpenLog) => Promise<void>): void =>
    test(name, async () => {
      const open = await make();
      try {
        await run(open.log, open);
      } finally {
        await open.close();
      }
    });
  const appendAll = async (log: Log, logId: number, count: number, recordCount = 1): Promise<void> => {
    for (let index = 0; index < count; index++) {
      await log.append([testBlock({ logId, sequence: index * recordCount, recordCount })]);
    }
  };

  withLog("a log is found by its name, and listed by a prefix", async (log) => {
    const [a, b] = [await log.open("stream/a/0", "stream"), await log.open("journal/f/0", "journal")];
    equal((await log.open("stream/a/0", "stream")).id, a.id);
    equal(a.id === b.id, false);
    equal(log.list("stream/"), [{ id: a.id, name: "stream/a/0", role: "stream" }]);
    const together = await Promise.all(["x", "y", "x"].map((name) => log.open(`stream/${name}/0`, "stream")));
    equal([together[0].id === together[2].id, together[0].id === together[1].id], [true, false]);
  });

  withLog("what is appended is read byte by byte, in order, from any position", async (log) => {
    const { id } = await log.open("stream/a/0", "stream");
    await appendAll(log, id, 10, 3);
    const channel = { logId: id, writer: 0 };
    const blocks = await log.read(channel, 0, 1e9);
    equal(sequencesOf(blocks), [0, 3, 6, 9, 12, 15, 18, 21, 24, 27]);
    equal([...blocks[4]], [...testBlock({ logId: id, sequence: 12, recordCount: 3 })]);
    // The block that holds the sequence comes first, also when it starts before it.
    equal(sequencesOf(await log.read(channel, 13, 1e9))[0], 12);
    equal(sequencesOf(await log.read(channel, 29, 1)), [27]);
    equal(await log.read(channel, 30, 1e9), []);
    equal(sequencesOf(await log.read(channel, 0, 1)), [0]);
    const two = blocks[0].byteLength + blocks[1].byteLength;
    equal(sequencesOf(await log.read(channel, 0, two)), [0, 3]);
  });

  withLog("a group of several logs and channels is one append", async (log) => {
    const [a, b] = [await log.open("stream/a/0", "stream"), await log.open("journal/f/0", "journal")];
    await log.append([
      testBlock({ logId: a.id, sequence: 0 }),
      testBlock({ logId: b.id, sequence: 0, writer: 7 }),
      testBlock({ logId: a.id, sequence: 1, recordCount: 4 }),
    ]);
    const ends = (logId: number): unknown =>
      log.channels(logId).map(({ writer, endSequence }) => [writer, endSequence]);
    equal([ends(a.id), ends(b.id)], [[[0, 5]], [[7, 1]]]);
  });

  withLog("a group with one wrong sequence stores nothing", async (log) => {
    const [a, b] = [await log.open("stream/a/0", "stream"), await log.open("journal/f/0", "journal")];
    for (const wrong of [1, 5]) {
      const group = [testBlock({ logId: a.id, sequence: 0 }), testBlock({ logId: b.id, sequence: wrong })];
      equal(await codeOf(log.append(group)), "HR_FENCED");
    }
    await log.append([testBlock({ logId: a.id, sequence: 0 })]);
    equal(await codeOf(log.append([testBlock({ logId: a.id, sequence: 0 })])), "HR_FENCED");
    equal((await log.read({ logId: a.id, writer: 0 }, 0, 1e9)).length, 1);
    equal(await log.read({ logId: b.id, writer: 0 }, 0, 1e9), []);
  });

  withLog("a former owner is fenced, also in the group of a new one", async (log) => {
    const { id } = await log.open("journal/f/0", "journal");
    const channel = { logId: id, writer: id };
    const first = await log.fence(channel);
    await log.append([testBlock({ logId: id, writer: id, sequence: 0, epoch: first })]);
    const second = await log.fence(channel);
    equal(second > first, true);
    const zombie = log.append([testBlock({ logId: id, writer: id, sequence: 1, epoch: first, fill: 1 })]);
    const owner = log.append([testBlock({ logId: id, writer: id, sequence: 1, epoch: second, fill: 2 })]);
    equal([await codeOf(zombie), await codeOf(owner)], ["HR_FENCED", "settled"]);
    const [, block] = await log.read(channel, 0, 1e9);
    equal(readBlockHeader(block).epoch, second);
  });

  withLog("a channel is taken over with the epoch of a lease, never with one that it has passed", async (log) => {
    const { id } = await log.open("journal/f/0", "journal");
    const channel = { logId: id, writer: id };
    equal(await log.fence(channel, 7), 7);
    equal(await codeOf(log.fence(channel, 6)), "HR_FENCED");
    // A take-over that is tried again, and a larger lease.
    equal(await log.fence(channel, 7), 7);
    const block = (epoch: number, sequence: number): Uint8Array[] => [
      testBlock({ logId: id, writer: id, sequence, epoch }),
    ];
    equal(await codeOf(log.append(block(6, 0))), "HR_FENCED");
    await log.append(block(7, 0));
    equal(await log.fence(channel, 12), 12);
    equal(await codeOf(log.append(block(11, 1))), "HR_FENCED");
    await log.append(block(12, 1));
    equal(await log.fence(channel), 13);
    // A block with a larger epoch than the channel has seen takes it over as well.
    await log.append(block(20, 2));
    equal(await codeOf(log.append(block(19, 3))), "HR_FENCED");
    equal(log.channels(id)[0].epoch, 20);
  });

  withLog("one stale block, wherever it stands in a group of several logs, stores nothing of it", async (log) => {
    const logs = await Promise.all(["out", "effects", "journal"].map((name) => log.open(`${name}/f/0`, "stream")));
    const group = (epoch: number, sequence: number): Uint8Array[] =>
      logs.map(({ id }) => testBlock({ logId: id, writer: 5, sequence, epoch }));
    await log.append(group(1, 0));
    for (const [at, { id }] of logs.entries()) {
      // Only one of its channels has been taken over so far.
      await log.fence({ logId: id, writer: 5 }, 2 + at);
      const zombie = group(1 + at, 1);
      for (const order of [zombie, [...zombie].reverse()]) equal(await codeOf(log.append(order)), "HR_FENCED");
      for (const one of logs) await log.fence({ logId: one.id, writer: 5 }, 2 + at);
    }
    const wrongSequence = [
      ...group(9, 1).slice(0, 2),
      testBlock({ logId: logs[2].id, writer: 5, sequence: 2, epoch: 9 }),
    ];
    equal(await codeOf(log.append(wrongSequence)), "HR_FENCED");
    // What was refused has left no mark: not its sequence, and not its epoch.
    await log.append(group(4, 1));
    for (const { id } of logs) equal(sequencesOf(await log.read({ logId: id, writer: 5 }, 0, 1e9)), [0, 1]);
  });

  withLog("within one turn and one group a larger epoch fences the smaller ones behind it", async (log) => {
    const { id } = await log.open("journal/f/0", "journal");
    const block = (epoch: number, sequence: number): Uint8Array =>
      testBlock({ logId: id, writer: id, sequence, epoch });
    const owner = codeOf(log.append([block(5, 0)]));
    const zombie = codeOf(log.append([block(3, 1)]));
    const again = codeOf(log.append([block(5, 1)]));
    equal([await owner, await zombie, await again], ["settled", "HR_FENCED", "settled"]);
    equal(await codeOf(log.append([block(6, 2), block(5, 3)])), "HR_FENCED");
    equal(log.channels(id)[0].endSequence, 2);
  });

  withLog("what a zombie has on its way when the channel is taken over is stored before that or never", async (log) => {
    const [journal, out] = await Promise.all([log.open("journal/f/0", "journal"), log.open("stream/o/0", "stream")]);
    const channels = [journal, out].map(({ id }) => ({ logId: id, writer: 5 }));
    const end = (logId: number): number => log.channels(logId).find(({ writer }) => writer === 5)?.endSequence ?? 0;
    const group = (epoch: number, sequence: number): Uint8Array[] =>
      channels.map((channel) => testBlock({ ...channel, sequence, epoch, fill: epoch }));
    for (let epoch = 1; epoch <= 12; epoch++) {
      // Three appends of the owner before: pauses of their own set where the take-over comes in between.
      const from = end(journal.id);
      const onTheirWay: Promise<string>[] = [];
      for (let at = 0; at < 3; at++) {
        onTheirWay.push(codeOf(log.append(group(epoch, from + at))));
        for (let pause = 0; pause < (epoch + at) % 4; pause++) await Promise.resolve();
      }
      if (epoch % 3 === 0) await onTheirWay[0];
      if (epoch % 5 === 0) await new Promise((resolve) => setTimeout(resolve));
      for (const channel of channels) await log.fence(channel, epoch + 1);
      const [taken, takenOut] = [end(journal.id), end(out.id)];
      equal(taken, takenOut);
      const outcomes = await Promise.all(onTheirWay);
      equal(await codeOf(log.append(group(epoch, taken))), "HR_FENCED");
      equal([end(journal.id), end(out.id)], [taken, takenOut]);
      equal(outcomes.filter((outcome) => outcome === "settled").length, taken - from);
      await log.append(group(epoch + 1, taken));
      equal([end(journal.id), end(out.id)], [taken + 1, taken + 1]);
    }
    const epochs = (await log.read(channels[0], 0, 1e9)).map((block) => readBlockHeader(block).epoch);
    equal(
      epochs,
      [...epochs].sort((a, b) => a - b),
    );
  });

  withLog("appends of one turn are stored in order, each seeing the one before", async (log) => {
    const { id } = await log.open("stream/a/0", "stream");
    const [a, wrong, b] = [0, 5, 1].map((sequence) => codeOf(log.append([testBlock({ logId: id, sequence })])));
    equal([await a, await wrong, await b], ["settled", "HR_FENCED", "settled"]);
    equal(sequencesOf(await log.read({ logId: id, writer: 0 }, 0, 1e9)), [0, 1]);
  });

  withLog("writers of one log are channels of their own", async (log) => {
    const { id } = await log.open("stream/a/0", "stream");
    await log.append([1, 2].map((writer) => testBlock({ logId: id, sequence: 0, writer })));
    await log.append([testBlock({ logId: id, sequence: 1, writer: 2 })]);
    const channels = log.channels(id).map(({ writer, endSequence }) => [writer, endSequence]);
    equal(channels.sort(), [
      [1, 1],
      [2, 2],
    ]);
    equal(sequencesOf(await log.read({ logId: id, writer: 2 }, 0, 1e9)), [0, 1]);
  });

  withLog("a watcher is told of appends to its log, after they are durable, until it cancels", async (log) => {
    const [a, b] = [await log.open("stream/a/0", "stream"), await log.open("stream/b/0", "stream")];
    const seen: number[] = [];
    const cancel = log.watch(a.id, () => seen.push(log.channels(a.id)[0].endSequence));
    await log.append([testBlock({ logId: a.id, sequence: 0 }), testBlock({ logId: a.id, sequence: 1 })]);
    await log.append([testBlock({ logId: b.id, sequence: 0 })]);
    await log.append([testBlock({ logId: a.id, sequence: 2 })]);
    cancel();
    await log.append([testBlock({ logId: a.id, sequence: 3 })]);
    equal(seen, [2, 3]);
  });

  withLog("trimming changes neither what is kept nor where writing goes on", async (log) => {
    const { id } = await log.open("stream/a/0", "stream");
    const channel = { logId: id, writer: 0 };
    await appendAll(log, id, 6);
    log.trim(channel, 4);
    equal(sequencesOf(await log.read(channel, 4, 1e9)), [4, 5]);
    const [{ startSequence, endSequence }] = log.channels(id);
    equal([startSequence <= 4, endSequence], [true, 6]);
    if (startSequence > 0) equal(await codeOf(log.read(channel, startSequence - 1, 1e9)), "HR_NOT_FOUND");
    await log.append([testBlock({ logId: id, sequence: 6 })]);
    equal(sequencesOf(await log.read(channel, 5, 1e9)), [5, 6]);
  });

  withLog("reopened, it holds what was appended, and goes on with a higher epoch", async (log, { reopen }) => {
    if (!reopen) return;
    const { id } = await log.open("stream/a/0", "stream");
    const channel = { logId: id, writer: 3 };
    const epoch = await log.fence(channel);
    const blocks = Array.from({ length: 20 }, (_, index) =>
      testBlock({ logId: id, writer: 3, sequence: index, epoch, contentBytes: 900 }),
    );
    for (const block of blocks) await log.append([block]);
    const again = await reopen();
    equal(again.list("stream/"), [{ id, name: "stream/a/0", role: "stream" }]);
    const headers: BlockHeader[] = [];
    for (let next = 0; ; ) {
      const read = await again.read(channel, next, 3000);
      if (read.length === 0) break;
      for (const block of read) headers.push(readBlockHeader(block));
      const last = headers[headers.length - 1];
      next = last.sequence + last.recordCount;
    }
    equal(
      headers.reduce((sum, { recordCount }) => sum + recordCount, 0),
      20,
    );
    const newEpoch = await again.fence(channel);
    equal(newEpoch > epoch, true);
    await again.append([testBlock({ logId: id, writer: 3, sequence: 20, epoch: newEpoch })]);
    const other = await again.open("stream/b/0", "stream");
    equal(other.id === id, false);
  });
};
