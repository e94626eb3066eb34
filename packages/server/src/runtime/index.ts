export { streamLog } from "@headrace/engine";
export { type AppOutline, findApp, loadApp, type Release } from "./app-bundle.ts";
export { FunctionTasks } from "./function-tasks.ts";
export type { FunctionThread, FunctionThreadEvents, StartFunctionThread } from "./function-thread.ts";
export type { FromWorker, ToWorker } from "./messages.ts";
export { Runtime, type RuntimeOptions, type RuntimeSystem } from "./runtime.ts";
export {
  type Compactor,
  compactSnapshot,
  SnapshotCheck,
  type SnapshotSystem,
  type SnapshotTrigger,
} from "./snapshots/index.ts";
