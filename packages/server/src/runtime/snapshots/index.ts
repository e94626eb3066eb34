export { chooseBase, journalBatches, type RecoveryBase } from "./choose-base.ts";
export { Snapshots, type SnapshotTrigger } from "./snapshots.ts";
export { snapshotFolder } from "./store.ts";
