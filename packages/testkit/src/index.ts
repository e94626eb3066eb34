export { busConformance, type OpenBus, type TestMessage } from "./bus-conformance.ts";
export { leasesConformance, type OpenLeases } from "./leases-conformance.ts";
export { logConformance, type OpenLog, type Runner, testBlock } from "./log-conformance.ts";
export { MemoryBus } from "./memory-bus.ts";
export { MemoryLeases, type MemoryLeasesOptions } from "./memory-leases.ts";
export { MemoryLog } from "./memory-log.ts";
export type { TestEvent } from "./stream-view.ts";
export { type LogEntry, TestApp, type TestAppOptions, testApp } from "./test-app.ts";
export type { CommandHandler, PublishOptions, ReceivedCommand, TestDevice } from "./test-device.ts";
