/** A server under load, in processes of its own. */
import type { ChildProcess } from "node:child_process";

export interface Server extends AsyncDisposable {
  readonly pid: number;
  readonly mqttPort: number;
  /** kill -9 of the server's process; settles when it is gone. */
  kill(): Promise<void>;
  /** Drains and ends it, where that writes a profile. */
  stop?(): Promise<void>;
}

const running = new Set<ChildProcess>();
// Whatever ends the bench, no server outlives it.
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

const tailBytes = 8_192;

/** Watches a child that was started: it ends with the bench. Answers what it said last, for when it ends too early. */
export function watched(child: ChildProcess): () => string {
  running.add(child);
  child.once("exit", () => running.delete(child));
  let words = "";
  const listen = (chunk: Buffer): void => {
    words = (words + chunk.toString()).slice(-tailBytes);
  };
  child.stdout?.on("data", listen);
  child.stderr?.on("data", listen);
  return () => words.trim();
}

/** Ends a child with this signal and waits for it; nothing happens when it has ended. */
export async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((exit) => child.once("exit", exit));
  child.kill(signal);
  await exited;
}
