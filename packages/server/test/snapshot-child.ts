/** Makes one snapshot of a task in a process of its own. Killed by snapshot-crash.test.ts. Arguments: folder, sequence of the last commit. */
import { compactSnapshot } from "../src/runtime/snapshots/compact.ts";
import { journalLogId, journalOf } from "./snapshot-journal.ts";

const [folder = "", toSequence = "0"] = process.argv.slice(2);
await compactSnapshot({ folder, journalLogId, toSequence: Number(toSequence) }, journalOf(Number(toSequence) + 1));
