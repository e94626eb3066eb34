/** The command line of the bench. */
import { parseArgs } from "node:util";
import { UsageError } from "./errors.ts";
import { type PeerName, peerNames } from "./servers/peer.ts";

export const scenarioNames = [
  "ingest",
  "fan-in",
  "fan-out",
  "pairs",
  "connect",
  "idle",
  "end-to-end",
  "low-rate",
  "round-trip",
  "log",
  "recovery",
  "generator",
] as const;
export type ScenarioName = (typeof scenarioNames)[number];

export interface Options {
  readonly scenario: ScenarioName;
  readonly rounds: number;
  readonly seconds: number | undefined;
  readonly data: string | undefined;
  readonly profile: string | undefined;
  readonly answer: boolean;
  readonly peers: readonly PeerName[];
  readonly loads: readonly string[] | undefined;
  readonly json: boolean;
}

export const help = `npm run bench -- <scenario> [options]

Scenarios
  ingest       messages stored durably; 100 connections with 50 in flight and 1,000 with one, QoS 0 and 1
  fan-in       100 publishers, one subscriber takes all
  fan-out      one publisher, 500 subscribers
  pairs        500 publishers to 500 subscribers
  connect      connections that come to be, a second
  idle         memory and CPU of 10,000 silent connections; 2,000 busy ones among 16,000
  end-to-end   the same with one and with five stateful functions, held with a lag under 1 s
  low-rate     100 devices, 2,000 messages a second, one in flight, a function and a command
  round-trip   device, function, command, device at 2,000 and 10,000 messages a second
  log          the embedded log through its own API: appends made durable, and read back
  recovery     how long a log takes to open and to read back, and the memory of its index
  generator    the loads against a server that only acknowledges and passes on

Options
  --peers <names>    brokers that take turns with Headrace: mosquitto, aedes, nats, or none (default: all that can be had)
  --loads <names>    only these loads of a scenario, such as qos1-100x50
  --rounds <n>       rounds, each system in turn (default 3; fewer are a try, not a result)
  --seconds <n>      length of one measurement (default 10; end-to-end 60; low-rate and round-trip 20; generator 5)
  --data <folder>    where the data lies, on a disk (default bench/results)
  --answer           devices acknowledge their commands (low-rate, round-trip; default: they only receive them)
  --profile <folder> write and print a CPU profile of every thread of the node; nothing is killed, so nothing is read back
  --json             the result as one JSON object in the last line
  --help             this text

Exit codes: 0 measured, 1 something is wrong with the result or the run, 2 wrong usage, 130 interrupted.
docs/guides/benchmarks.md says what each number means.
`;

const isScenario = (name: string | undefined): name is ScenarioName => scenarioNames.some((known) => known === name);

function positive(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!(Number.isInteger(value) && value > 0)) throw new UsageError(`--${name} ${text}: give a whole number above 0`);
  return value;
}

function peersOf(text: string | undefined): readonly PeerName[] {
  if (text === undefined) return peerNames;
  if (text === "none") return [];
  const known = (name: string): name is PeerName => peerNames.some((peer) => peer === name);
  return text.split(",").map((name) => {
    if (!known(name)) throw new UsageError(`--peers ${name}: give some of ${peerNames.join(",")}, or none`);
    return name;
  });
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        rounds: { type: "string" },
        seconds: { type: "string" },
        data: { type: "string" },
        profile: { type: "string" },
        peers: { type: "string" },
        loads: { type: "string" },
        answer: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** "help" when that was asked for. @throws UsageError */
export function optionsOf(args: readonly string[]): Options | "help" {
  const { values, positionals } = parse(args);
  if (values.help) return "help";
  const [scenario, ...rest] = positionals;
  if (!isScenario(scenario) || rest.length > 0) {
    const given = positionals.length === 0 ? "no scenario" : positionals.join(" ");
    throw new UsageError(`${given}: give one of ${scenarioNames.join(", ")}, or --help`);
  }
  return {
    scenario,
    rounds: positive("rounds", values.rounds) ?? 3,
    seconds: positive("seconds", values.seconds),
    data: values.data,
    profile: values.profile,
    answer: values.answer,
    peers: peersOf(values.peers),
    loads: values.loads?.split(","),
    json: values.json,
  };
}
