/** Loads a bundle and reports its definition without the user's code. */
import { parentPort, workerData } from "node:worker_threads";
import { importApp } from "./import-app.ts";

try {
  const definition = await importApp((workerData as { bundleUrl: string }).bundleUrl);
  const outline = {
    ...definition,
    streams: definition.streams.map(({ schema, ...stream }) => ({ ...stream, hasSchema: schema !== undefined })),
    functions: definition.functions.map(({ name, on, emits, concurrency }) => ({ name, on, emits, concurrency })),
  };
  // Through JSON, so that nothing but plain data leaves.
  parentPort?.postMessage({ outline: JSON.parse(JSON.stringify(outline)) });
} catch (error) {
  const failure = error as Error & { code?: string };
  parentPort?.postMessage({
    error: failure.code === "HR_APP_INVALID" ? failure.message : (failure.stack ?? String(error)),
    invalid: failure.code === "HR_APP_INVALID",
  });
}
