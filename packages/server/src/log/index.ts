export { checksum } from "./checksum.ts";
export { copyLog, writeDurably } from "./copy.ts";
export { type EarlyListener, EmbeddedLog, type EmbeddedLogOptions, type GroupSource } from "./embedded.ts";
export { type Finding, type Progress, Survey } from "./findings.ts";
export { lockFolder } from "./folder-lock.ts";
export type { Gap } from "./history-manifest.ts";
export { RemoteLog, serveLog } from "./remote.ts";
export { type RepairReport, repairLog } from "./repair.ts";
export { type LogSurvey, verifyLog } from "./verify.ts";
