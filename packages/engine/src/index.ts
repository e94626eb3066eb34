export * from "./blobs/port.ts";
export * from "./block/crc32c.ts";
export * from "./block/event-builder.ts";
export * from "./block/event-format.ts";
export * from "./block/event-reader.ts";
export * from "./block/header.ts";
export * from "./block/properties.ts";
export * from "./bus/hub.ts";
export * from "./bus/port.ts";
export * from "./keys.ts";
export * from "./leases/decide.ts";
export * from "./leases/port.ts";
export * from "./leases/take-over.ts";
export * from "./log/fence.ts";
export * from "./log/files.ts";
export * from "./log/port.ts";
export {
  type CommandEnded,
  isRaisedAlert,
  type OutboxStep,
  outboxHandlers,
  outboxInput,
  pendingCommand,
  type SendCommand,
} from "./operators/outbox.ts";
export { tumblingHandlers } from "./operators/tumbling.ts";
export { failureStreams } from "./task/commit-builder.ts";
export * from "./task/commit-format.ts";
export { Compaction, type SnapshotContent } from "./task/compaction.ts";
export { timeOf } from "./task/decoder.ts";
export { describeError } from "./task/failure.ts";
export { functionHandlers, isAsyncHandler, type LogSink } from "./task/function-handlers.ts";
export { OwedCommand, readOwed } from "./task/owed-command.ts";
export * from "./task/plan.ts";
export { type ChannelPosition, Positions, windowEventsMax } from "./task/positions.ts";
export * from "./task/spec.ts";
export { type PreparedCommit, Task } from "./task/task.ts";
export { matchPattern, topicParams } from "./task/topic-params.ts";
export { decodeValue, encodeValue } from "./value/codec.ts";
