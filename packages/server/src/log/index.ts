export { checksum } from "./checksum.ts";
export { type EarlyListener, EmbeddedLog, type EmbeddedLogOptions, type GroupSource } from "./embedded.ts";
export { lockFolder } from "./folder-lock.ts";
export { RemoteLog, serveLog } from "./remote.ts";
