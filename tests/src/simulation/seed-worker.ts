/** A thread that runs one seed after the other. */
import { parentPort } from "node:worker_threads";
import { runSeed } from "./seed.ts";

if (!parentPort) throw new Error("this file runs as a worker thread");
const port = parentPort;
port.on("message", async (seed: number) => {
  port.postMessage(await runSeed(seed));
});
