/** Publishers and subscribers in a process of their own. Both ends in one place: it sees what arrives of what it has sent. */
import { LatencyHistogram } from "@headrace/simulator";
import { answerRequests, within } from "../processes/asked-process.ts";
import type { Shape, TrafficAnswer, TrafficOptions, TrafficRequest, TrafficSample } from "./messages.ts";
import { Publisher, topicOf } from "./publisher.ts";
import { type Arrivals, Subscriber } from "./subscriber.ts";

const connectTimeoutMs = 60_000;
const connectsAtOnce = 50;
/** A publisher whose messages do not arrive for so long stops waiting for them. */
const patienceMs = 2_000;

const arrivals: Arrivals = { arrived: 0, repeated: 0, failure: undefined, latency: new LatencyHistogram() };
const publishers: Publisher[] = [];

const filterOf = (shape: Shape, subscriber: number): string =>
  shape === "fan-in" ? "traffic/+" : topicOf(shape === "fan-out" ? 0 : subscriber);

async function connectAll(options: TrafficOptions): Promise<void> {
  const { shape } = options;
  const copies = shape === "fan-out" ? options.subscribers : 1;
  await opened(options.publishers, "publishers", (index) => {
    const publisher = new Publisher(index, options, copies, arrivals);
    publishers.push(publisher);
    return publisher.ready;
  });
  await opened(
    options.subscribers,
    "subscribers",
    (index) => new Subscriber(index, options, filterOf(shape, index), publishers, arrivals).ready,
  );
  let before = publishers.map(({ arrived }) => arrived);
  setInterval(() => {
    publishers.forEach((publisher, index) => {
      if (publisher.due === 0 || publisher.arrived !== before[index]) return;
      publisher.givenUp += publisher.due;
      publisher.pump();
    });
    before = publishers.map(({ arrived }) => arrived);
  }, patienceMs).unref();
}

async function opened(count: number, what: string, open: (index: number) => Promise<void>): Promise<void> {
  for (let first = 0; first < count; first += connectsAtOnce) {
    const size = Math.min(connectsAtOnce, count - first);
    const ready = Promise.all(Array.from({ length: size }, (_, index) => open(first + index)));
    await within(ready, connectTimeoutMs, () => `only ${first} of ${count} ${what} connected`);
    if (arrivals.failure !== undefined) throw new Error(arrivals.failure);
  }
}

function sample(resetLatency: boolean): TrafficSample {
  const { user, system } = process.cpuUsage();
  const result: TrafficSample = {
    nowMs: performance.now(),
    acknowledged: arrivals.arrived,
    sent: publishers.reduce((sum, { sent }) => sum + sent, 0),
    missing: publishers.reduce((sum, { due, givenUp }) => sum + due + givenUp, 0),
    repeated: arrivals.repeated,
    ackLatencyMs: { p50: arrivals.latency.percentile(50), p99: arrivals.latency.percentile(99) },
    cpuSeconds: (user + system) / 1e6,
  };
  if (resetLatency) arrivals.latency.reset();
  return result;
}

answerRequests(async (request: TrafficRequest): Promise<TrafficAnswer> => {
  if (arrivals.failure !== undefined) throw new Error(arrivals.failure);
  switch (request.type) {
    case "connect":
      await connectAll(request.options);
      return { type: "done" };
    case "load":
      for (const publisher of publishers) {
        publisher.isOn = request.isOn;
        publisher.pump();
      }
      return { type: "done" };
    case "sample":
      return { type: "sample", sample: sample(request.resetLatency) };
  }
});
