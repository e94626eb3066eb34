/** The generator: a process of its own, so that its work is never counted as, or delayed by, the bench's. */
import { LatencyHistogram } from "@headrace/simulator";
import { answerRequests, within } from "../processes/asked-process.ts";
import { LoadConnection, type Totals } from "./connection.ts";
import type { Answer, GeneratorOptions, Percentiles, Request, Sample } from "./messages.ts";
import { Pacer } from "./pacer.ts";

const connectTimeoutMs = 20_000;
const connectsAtOnce = 100;

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
    // Not more at once than a server's backlog takes.
    if (index % connectsAtOnce === connectsAtOnce - 1) await allReady(options);
  }
  await allReady(options);
}

async function allReady({ connections: wanted }: GeneratorOptions): Promise<void> {
  const ready = Promise.all(connections.map((connection) => connection.ready));
  await within(ready, connectTimeoutMs, () => `${totals.open} of ${wanted} connections`);
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

answerRequests(handle);
