/** Many connections that do nothing but exist, or that come and go. */
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { encodeConnect, encodePingreq } from "@headrace/mqtt";
import { LatencyHistogram } from "@headrace/simulator";
import { answerRequests } from "../processes/asked-process.ts";
import type { CrowdAnswer, CrowdOptions, CrowdRequest, CrowdSample } from "./messages.ts";

const silenceMs = 30_000;
const pingreq = encodePingreq();
const disconnect = Buffer.of(0xe0, 0);
const readBuffer = Buffer.allocUnsafeSlow(4_096);
/** Ports of one source address are fewer than the connections of a large crowd. */
const connectionsPerAddress = 10_000;

const sockets = new Set<Socket>();
const latency = new LatencyHistogram();
let acknowledged = 0;
let lastMs = 0;
let failure: string | undefined;

/** Settles at CONNACK. */
function open(number: number, { port, keepAliveSeconds }: CrowdOptions): Promise<Socket> {
  const startMs = performance.now();
  return new Promise((resolve, reject) => {
    let isConnected = false;
    const socket = connect({
      host: "127.0.0.1",
      ...(number >= connectionsPerAddress && {
        localAddress: `127.0.0.${1 + Math.floor(number / connectionsPerAddress)}`,
      }),
      port,
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (_, bytes) => {
          if (isConnected) return true;
          isConnected = true;
          if (bytes[0] !== 0x20 || bytes[3] !== 0) reject(new Error(`CONNACK with code ${bytes[3]}`));
          acknowledged += 1;
          lastMs = performance.now();
          latency.record(lastMs - startMs);
          resolve(socket);
          return true;
        },
      },
    });
    sockets.add(socket);
    const clientId = `crowd-${number}`;
    socket.once("connect", () => socket.write(encodeConnect({ version: 4, clientId, keepAliveSeconds })));
    socket.on("error", reject);
    socket.once("close", () => {
      sockets.delete(socket);
      reject(new Error(`the server closed connection ${number} before CONNACK`));
    });
  });
}

async function stay(options: CrowdOptions): Promise<void> {
  let next = 0;
  const opener = async (): Promise<void> => {
    while (next < options.connections) {
      const number = next;
      next += 1;
      const socket = await open(number, options);
      socket.once("close", () => {
        failure ??= `the server closed connection ${number}`;
      });
    }
  };
  const done = new AbortController();
  const connected = Promise.all(Array.from({ length: options.atOnce }, opener)).finally(() => done.abort());
  await Promise.race([connected, silence(done.signal)]);
  if (options.keepAliveSeconds > 0) void ping(options.keepAliveSeconds * 1_000);
}

/** Rejects when no CONNACK has come for long; settles with the signal. */
async function silence(signal: AbortSignal): Promise<void> {
  lastMs = performance.now();
  while (!signal.aborted) {
    if (performance.now() - lastMs > silenceMs) {
      throw new Error(`no CONNACK for ${silenceMs / 1_000} s, after ${acknowledged}`);
    }
    await sleep(500);
  }
}

/** Each connection once in `everyMs`, evenly. */
async function ping(everyMs: number): Promise<void> {
  const tickMs = 100;
  while (sockets.size > 0) {
    const perTick = Math.ceil((sockets.size * tickMs) / everyMs);
    let left = 0;
    for (const socket of sockets) {
      if (left === 0) {
        await sleep(tickMs);
        left = perTick;
      }
      left -= 1;
      socket.write(pingreq);
    }
  }
}

/** Each says DISCONNECT, and the server closes: its side keeps what the system remembers of a closed connection. */
function churn(options: CrowdOptions): void {
  let next = 0;
  const again = async (): Promise<void> => {
    while (failure === undefined) {
      next = (next + 1) % connectionsPerAddress;
      const socket = await open(next, options);
      socket.write(disconnect);
      await new Promise((closed) => socket.once("close", closed));
    }
  };
  for (let index = 0; index < options.atOnce; index += 1) {
    again().catch((error: Error) => {
      failure ??= error.message;
    });
  }
}

function sample(resetLatency: boolean): CrowdSample {
  const { user, system } = process.cpuUsage();
  const result: CrowdSample = {
    nowMs: performance.now(),
    acknowledged,
    open: sockets.size,
    ackLatencyMs: { p50: latency.percentile(50), p99: latency.percentile(99) },
    cpuSeconds: (user + system) / 1e6,
  };
  if (resetLatency) latency.reset();
  return result;
}

answerRequests(async (request: CrowdRequest): Promise<CrowdAnswer> => {
  if (failure !== undefined) throw new Error(failure);
  if (request.type === "sample") return { type: "sample", sample: sample(request.resetLatency) };
  if (request.options.kind === "churn") churn(request.options);
  else await stay(request.options);
  return { type: "done" };
});
