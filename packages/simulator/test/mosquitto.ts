/** A mosquitto of the tests' own, on a loopback port that was free; ended with the test. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const binary = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto"].find(existsSync);

/** Whether this machine has mosquitto and its clients. */
export const hasMosquitto = binary !== undefined && spawnSync("mosquitto_sub", ["--help"]).error === undefined;

export interface Mosquitto extends AsyncDisposable {
  readonly port: number;
  /** kill -9. */
  kill(): Promise<void>;
  /** Starts it again on the same port. */
  start(): Promise<void>;
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = server.address();
  await new Promise((closed) => server.close(closed));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

export async function startMosquitto(): Promise<Mosquitto> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "headrace-mosquitto-"));
  const configuration = join(folder, "mosquitto.conf");
  writeFileSync(
    configuration,
    `listener ${port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_inflight_messages 0\nlog_type error\n`,
  );
  let child: ChildProcess | undefined;
  const start = async () => {
    child = spawn(binary!, ["-c", configuration], { stdio: "ignore" });
    while (!(await answers(port))) await sleep(20);
  };
  const kill = async () => {
    const running = child;
    if (running === undefined) return;
    child = undefined;
    const exited = new Promise((exit) => running.once("exit", exit));
    running.kill("SIGKILL");
    await exited;
  };
  await start();
  return {
    port,
    kill,
    start,
    async [Symbol.asyncDispose]() {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((answer) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      answer(true);
    });
    socket.on("error", () => answer(false));
  });
}
