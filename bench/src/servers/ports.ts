/** Free ports, and waiting until a server answers on one. */
import type { ChildProcess } from "node:child_process";
import { connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { BenchError } from "../errors.ts";
import { end } from "./server.ts";

const startMs = 20_000;

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = server.address();
  await new Promise((closed) => server.close(closed));
  return typeof address === "object" && address !== null ? address.port : 0;
}

const answers = (port: number): Promise<boolean> =>
  new Promise((answer) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      answer(true);
    });
    socket.once("error", () => answer(false));
  });

/** Waits until the child listens. @throws BenchError with its last words when it does not; it is ended then */
export async function listening(name: string, child: ChildProcess, port: number, words: () => string): Promise<void> {
  const deadlineMs = performance.now() + startMs;
  while (!(await answers(port))) {
    if (child.exitCode !== null || child.signalCode !== null || performance.now() > deadlineMs) {
      await end(child, "SIGKILL");
      throw new BenchError(`${name} did not start: ${words()}`);
    }
    await sleep(20);
  }
}
