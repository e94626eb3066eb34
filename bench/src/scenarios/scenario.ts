/** What every scenario gets and gives. */

import type { Percentiles } from "../generator/messages.ts";
import type { Disk } from "../measure/disk.ts";

export interface Context {
  readonly rounds: number;
  /** How long one measurement takes; each scenario has its own default. */
  readonly seconds: number | undefined;
  /** Profiles of the node's threads go there, and nothing is killed. */
  readonly profileFolder: string | undefined;
  /** Devices acknowledge their commands. */
  readonly answer: boolean;
  readonly signal: AbortSignal;
  /** Progress, for people. */
  say(line: string): void;
  /** A new empty folder on the disk under test, with how to remove it. */
  folder(): AsyncDisposable & { readonly path: string };
}

/** One system under one load, the middle of all rounds. */
export interface SystemResult {
  /** Acknowledged messages a second. */
  readonly rate: number;
  /** CPU seconds of the server's whole process tree for a million acknowledged messages. */
  readonly cpuSecondsPerMillion: number;
  readonly ackLatencyMs: Percentiles;
  /** Acknowledged messages that were gone after kill -9; null where nothing is kept. */
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
  readonly mosquitto: string | undefined;
  readonly disk: Disk;
}
