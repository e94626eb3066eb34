/** What every scenario gets and gives. */

import type { Percentiles } from "../generator/messages.ts";
import type { Disk } from "../measure/disk.ts";
import type { Absent, Peer } from "../servers/peer.ts";

export interface Context {
  readonly rounds: number;
  /** How long one measurement takes; each scenario has its own default. */
  readonly seconds: number | undefined;
  /** Profiles of the node's threads go there, and nothing is killed. */
  readonly profileFolder: string | undefined;
  /** Devices acknowledge their commands. */
  readonly answer: boolean;
  /** Brokers that take turns with Headrace, and those that were asked for and are not here. */
  readonly peers: readonly Peer[];
  readonly absent: readonly Absent[];
  /** Loads of the scenario that were asked for; undefined: all. */
  readonly loads: readonly string[] | undefined;
  readonly signal: AbortSignal;
  /** Progress, for people. */
  say(line: string): void;
  /** A new empty folder on the disk under test, with how to remove it. */
  folder(): AsyncDisposable & { readonly path: string };
}

/** One system under one load, the middle of all rounds. */
export interface SystemResult {
  /** What is counted, a second: acknowledged messages, arrivals at subscribers, connections. */
  readonly rate: number;
  /** CPU seconds of the server's whole process tree for a million of them. */
  readonly cpuSecondsPerMillion: number;
  /** Until the acknowledgement, the arrival, the CONNACK. */
  readonly ackLatencyMs: Percentiles;
  /** Acknowledged messages that were gone after kill -9, or did not arrive; null where nothing can be read back. */
  readonly lost: number | null;
  readonly [more: string]: unknown;
}

/** The last line of `--json`. */
export interface Result {
  readonly scenario: string;
  readonly rounds: number;
  readonly [more: string]: unknown;
}

export interface Report {
  readonly result: Result;
  readonly table: readonly (readonly string[])[];
  /** Sentences under the table. */
  readonly notes: readonly string[];
  /** What makes the run a failure: the exit code says so. */
  readonly failures: readonly string[];
}

export interface Machine {
  readonly cores: number;
  readonly cpu: string;
  readonly node: string;
  readonly disk: Disk;
}
