/** The generator: a process of its own, so that its work is never counted as, or delayed by, the bench's. */
import { LatencyHistogram } from "@headrace/simulator";
import { LoadConnection, type Totals } from "./connection.ts";
import type { Answer, GeneratorOptions, Percentiles, Request, Sample } from "./messages.ts";
import { Pacer } from "./pacer.ts";

const connectTimeoutMs = 20_000;

const pacer = new Pacer();
const connections: LoadConnection[] = [];
const totals: Totals = {
  sent: 0,
  acknowledged: 0,
  asked: 0,
  commands: 0,
  repeatedCommands: 0,
  open: 0,
  failure: undefined,
  ackLatency: new LatencyHistogram(),
  roundTrip: new LatencyHistogram(),
};

const percentiles = (histogram: LatencyHistogram): Percentiles => ({
  p50: histogram.percentile(50),
  p99: histogram.percentile(99),
});

async function connectAll(options: GeneratorOptions): Promise<void> {
  for (let index = 0; index < options.connections; index += 1) {
    const connection = new LoadConnection(index, options, totals, pacer);
    connections.push(connection);
    pacer.add(connection);
  }
  const timeout = setTimeout(() => {
    totals.failure ??= `${totals.open} of ${options.connections} connections after ${connectTimeoutMs / 1000} s`;
    answer({ type: "failed", message: totals.failure });
  }, connectTimeoutMs);
  await Promise.all(connections.map(({ ready }) => ready));
  clearTimeout(timeout);
  if (totals.failure !== undefined) throw new Error(totals.failure);
}

function sample(resetLatency: boolean): Sample {
  const { user, system } = process.cpuUsage();
  const result: Sample = {
    nowMs: performance.now(),
    sent: totals.sent,
    acknowledged: totals.acknowledged,
    inFlight: totals.sent - totals.acknowledged,
    asked: totals.asked,
    commands: totals.commands,
    repeatedCommands: totals.repeatedCommands,
    ackLatencyMs: percentiles(totals.ackLatency),
    roundTripMs: percentiles(totals.roundTrip),
    cpuSeconds: (user + system) / 1e6,
    openConnections: totals.open,
  };
  if (resetLatency) {
    totals.ackLatency.reset();
    totals.roundTrip.reset();
  }
  return result;
}

const answer = (message: Answer): void => void process.send?.(message);

async function handle(request: Request): Promise<Answer> {
  switch (request.type) {
    case "connect":
      await connectAll(request.options);
      return { type: "done" };
    case "load":
      pacer.set(request.load);
      return { type: "done" };
    case "sample":
      return { type: "sample", sample: sample(request.resetLatency) };
    case "acknowledged":
      return { type: "acknowledged", connections: connections.map(({ acknowledgedIds }) => acknowledgedIds) };
  }
}

process.on("message", (request: Request) => {
  handle(request).then(answer, (error: Error) => answer({ type: "failed", message: error.message }));
});
// Without its bench there is nothing to measure. Signals are the bench's business.
process.on("disconnect", () => process.exit(0));
process.on("SIGINT", () => {});
