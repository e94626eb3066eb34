/**
 * The Headrace node. The way of a message: gateway/ → log/ → runtime/ → log/ → gateway/ and lake/; api/ asks, compose.ts wires.
 */

export { type BackupInfo, backupDataFolder, restoreDataFolder } from "./backup.ts";
export { startNode } from "./compose.ts";
export type {
  ClientDetail,
  ClientSummary,
  Control,
  KickResult,
  NodeStatus,
  QueryResult,
  SubmittedEvent,
  TaskStatus,
} from "./control.ts";
export { type Diagnosis, examine } from "./doctor.ts";
export type { ClientCertificates, ListenerOptions, TlsFiles, Transport } from "./gateway/index.ts";
export type { AlertNotice, HeadraceNode, StartOptions } from "./node.ts";
export { repairDataFolder } from "./repair.ts";
export { type DataSurvey, verifyDataFolder } from "./verify.ts";
