/** The thread behind the log, on the machine's file system. */
import { parentPort } from "node:worker_threads";
import { openRpc, yieldToMessagePath } from "../threads/index.ts";
import { maintenanceSteps } from "./maintenance.ts";
import { nodeFiles } from "./node-files.ts";

if (!parentPort) throw new Error("this file runs as a worker thread");

yieldToMessagePath();
openRpc(parentPort, { ...maintenanceSteps(nodeFiles) });
