/**
 * Seeded fleets over real MQTT. A map of the files: `fleet` is what an author describes, `run` what a program calls,
 * `device` one running device on its `connection`; `client` is an MQTT client for commands and scripts; `schedule`, `inflight`, `responder`, `backoff`, `random` and
 * `histogram` are pure.
 */
export { type ClientOptions, MqttClient, type OutgoingMessage, type ReceivedMessage, RefusedError } from "./client.ts";
export type { FleetSnapshot } from "./counters.ts";
export { nextEpoch } from "./epoch.ts";
export { defineFleet, deviceIds, type Fleet, type Link, type ReceivedCommand, type SimulatedDevice } from "./fleet.ts";
export { LatencyHistogram } from "./histogram.ts";
export { type Random, seededRandom } from "./random.ts";
export { type RunningFleet, type RunOptions, runFleet, startFleet } from "./run.ts";
