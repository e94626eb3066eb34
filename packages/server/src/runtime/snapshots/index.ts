export { chooseBase, journalBatches, type RecoveryBase } from "./choose-base.ts";
export { type Compactor, compactSnapshot } from "./compact.ts";
export { nodeSnapshotSystem, type SnapshotSystem, Snapshots, type SnapshotTrigger } from "./snapshots.ts";
export { snapshotFolder } from "./store.ts";
export { SnapshotCheck } from "./verify.ts";
