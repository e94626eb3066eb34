/**
 * Goal: the judge of durability finds what it is there for, and nothing else.
 * Method: traces of a few calls, right ones and ones with a step left out.
 */
import { expect, test } from "vitest";
import { durabilityViolations, type Reliance } from "./durability.ts";
import { stepsOf } from "./trace.ts";

const reliances: Reliance[] = [
  { on: ({ name, text }) => name === "write" && text.includes('"acked'), needs: /\.wal$/, says: "acknowledged" },
];
const violations = (...lines: string[]): string[] => durabilityViolations(stepsOf(lines.join("\n")), "/d", reliances);

const create = '7 openat(AT_FDCWD</>, "/d/1.wal", O_RDWR|O_CREAT|O_EXCL, 0666) = 9</d/1.wal>';
const append = '7 pwritev(9</d/1.wal>, [{iov_base="x", iov_len=1}], 1, 0) = 1';
const sync = "7 fdatasync(9</d/1.wal>) = 0";
const syncFolder = "7 fsync(10</d>) = 0";
const ack = '7 write(1</dev/pts/0>, "acked 1", 7) = 7';

test("written, synced, named, acknowledged is right", () => {
  expect(violations(create, syncFolder, append, sync, ack)).toEqual([]);
});

test("an acknowledgement before the sync is found", () => {
  expect(violations(create, syncFolder, append, ack, sync)).toEqual([
    "acknowledged while the bytes of 1.wal could still be lost",
  ]);
});

test("a sync that another thread interrupts covers what was written before it began, and counts when it ends", () => {
  const begun = "7 fdatasync(9</d/1.wal> <unfinished ...>";
  const ended = "7 <... fdatasync resumed>) = 0";
  const other = append.replace("7 ", "8 ");
  expect(violations(create, syncFolder, append, begun, ended, ack)).toEqual([]);
  expect(violations(create, syncFolder, append, begun, other, ended, ack)).toHaveLength(1);
});

test("a name whose folder was never synced is found, and a folder's own name as well", () => {
  expect(violations(create, append, sync, ack)).toEqual(["acknowledged while the name of 1.wal could still be lost"]);
  const below = [create, append, sync, ack].map((line) => line.replaceAll("/d/1.wal", "/d/wal/1.wal"));
  const made = '7 mkdir("/d/wal", 0777) = 0';
  const syncWal = "7 fsync(10</d/wal>) = 0";
  expect(violations(made, below[0]!, syncWal, below[1]!, below[2]!, below[3]!)).toEqual([
    "acknowledged while the name of wal could still be lost",
  ]);
});

test("a failed sync allows no acknowledgement and no second try", () => {
  const failing = "7 fdatasync(9</d/1.wal>) = -1 EIO (Input/output error) (INJECTED)";
  expect(violations(create, syncFolder, append, failing)).toEqual([]);
  expect(violations(create, syncFolder, append, failing, ack)).toContain("acknowledged after a failed sync of 1.wal");
  expect(violations(create, syncFolder, append, failing, sync)).toEqual([
    "1.wal is synced again after its sync failed",
  ]);
});

test("a rename before the sync of the bytes is found, and a prepared file is not relied on", () => {
  const temporary = create.replaceAll("1.wal", "1.tmp");
  const fill = append.replaceAll("1.wal", "1.tmp");
  const rename = '7 rename("/d/1.tmp", "/d/1.wal") = 0';
  const link = '7 link("/d/1.tmp", "/d/1.wal") = 0';
  expect(violations(temporary, fill, rename)).toEqual(["1.tmp is renamed before its bytes are synced"]);
  expect(violations(temporary, fill, sync.replaceAll("1.wal", "1.tmp"), link, ack)).toEqual([]);
});
