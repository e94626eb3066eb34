/**
 * The bench. A map of the files:
 *
 *   options.ts   the command line                      generator/  messages to be acknowledged
 *   scenarios/   one module per scenario               traffic/    messages from publishers to subscribers
 *   servers/     Headrace and its peers under load     crowd/      connections that only exist, or come and go
 *   ../apps/     the applications that Headrace runs   processes/  how the bench talks to these three
 *   report/      the table                             sink/       a server that only acknowledges and passes on
 *   measure/     CPU, memory, disk, windows, ids read back
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { cpus } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { BenchError, UsageError } from "./errors.ts";
import { measureDisk } from "./measure/disk.ts";
import { help, type Options, optionsOf, type ScenarioName } from "./options.ts";
import { profileFiles, profilesText } from "./report/profile.ts";
import { tableText } from "./report/table.ts";
import { connect } from "./scenarios/connect.ts";
import { endToEnd } from "./scenarios/end-to-end.ts";
import { fanIn, fanOut, pairs } from "./scenarios/fan.ts";
import { generatorSelfTest } from "./scenarios/generator-self-test.ts";
import { idle } from "./scenarios/idle.ts";
import { ingest } from "./scenarios/ingest.ts";
import { log } from "./scenarios/log.ts";
import { lowRate } from "./scenarios/low-rate.ts";
import { recovery } from "./scenarios/recovery.ts";
import { roundTrip } from "./scenarios/round-trip.ts";
import type { Context, Machine, Report } from "./scenarios/scenario.ts";
import type { Absent, Peer, PeerName } from "./servers/peer.ts";
import { findPeers } from "./servers/peers.ts";

const scenarios: Record<ScenarioName, (context: Context) => Promise<Report>> = {
  ingest,
  "fan-in": fanIn,
  "fan-out": fanOut,
  pairs,
  connect,
  idle,
  "end-to-end": endToEnd,
  "low-rate": lowRate,
  "round-trip": roundTrip,
  log,
  recovery,
  generator: generatorSelfTest,
};
const withPeers: readonly ScenarioName[] = ["ingest", "fan-in", "fan-out", "pairs", "connect", "idle"];

/** Peers that take part: `end-to-end` has mosquitto only. */
function peersWanted({ scenario, peers }: Options): readonly PeerName[] {
  if (withPeers.includes(scenario)) return peers;
  return scenario === "end-to-end" ? ["mosquitto"] : [];
}

const roundsOfResult = 3;

const say = (line: string): void => void process.stderr.write(`${line}\n`);
const out = (line: string): void => void process.stdout.write(`${line}\n`);

function describe(machine: Machine, options: Options, peers: readonly Peer[], absent: readonly Absent[]): void {
  const { fileSystem, syncMs } = machine.disk;
  out(`${machine.cores} cores (${machine.cpu}), Node ${machine.node}`);
  out(`data on ${fileSystem}: 64 KiB written and synced in ${syncMs.p50} ms (p50), ${syncMs.p99} ms (p99)`);
  for (const { title, version, configuration, promise } of peers) {
    out(`${title} ${version}: ${configuration.join(", ")}`);
    out(`  an acknowledgement means: ${promise}`);
  }
  for (const { key, reason } of absent) out(`${key}: not available (${reason})`);
  if (options.rounds < roundsOfResult) out(`only ${options.rounds} of ${roundsOfResult} rounds: a try, not a result`);
}

async function runScenario(options: Options, signal: AbortSignal): Promise<number> {
  const root = resolve(options.data ?? fileURLToPath(new URL("../results", import.meta.url)));
  mkdirSync(root, { recursive: true });
  const run = mkdtempSync(join(root, "run-"));
  const remove = (): void => rmSync(run, { recursive: true, force: true, maxRetries: 5 });
  process.once("exit", remove);
  const [first] = cpus();
  const machine: Machine = {
    cores: cpus().length,
    cpu: first?.model ?? "unknown",
    node: process.version,
    disk: measureDisk(run),
  };
  const { peers, absent } = findPeers(peersWanted(options), say);
  describe(machine, options, peers, absent);
  let folders = 0;
  const profileFolder = options.profile === undefined ? undefined : resolve(options.profile);
  if (profileFolder !== undefined) mkdirSync(profileFolder, { recursive: true });
  const profilesBefore = new Set(profileFolder === undefined ? [] : profileFiles(profileFolder));
  const report = await scenarios[options.scenario]({
    rounds: options.rounds,
    seconds: options.seconds,
    profileFolder,
    answer: options.answer,
    peers,
    absent,
    loads: options.loads,
    signal,
    say,
    folder: () => {
      folders += 1;
      const path = join(run, String(folders));
      mkdirSync(path);
      return {
        path,
        [Symbol.asyncDispose]: async () => rmSync(path, { recursive: true, force: true, maxRetries: 5 }),
      };
    },
  });
  out("");
  out(tableText(report.table));
  for (const note of report.notes) out(note);
  if (profileFolder !== undefined) out(`\n${profilesText(profileFolder, profilesBefore)}`);
  for (const failure of report.failures) say(`FAILED: ${failure}`);
  if (options.json) out(JSON.stringify({ ...report.result, machine }));
  return report.failures.length === 0 ? 0 : 1;
}

async function main(args: readonly string[]): Promise<number> {
  const interrupted = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    // The first ends the run cleanly, the second at once; servers and folders go with both.
    process.on(name, () => (interrupted.signal.aborted ? process.exit(130) : interrupted.abort()));
  }
  try {
    const options = optionsOf(args);
    if (options === "help") {
      process.stdout.write(help);
      return 0;
    }
    return await runScenario(options, interrupted.signal);
  } catch (error) {
    if (interrupted.signal.aborted) return 130;
    if (error instanceof UsageError) say(error.message);
    else if (error instanceof BenchError) say(`bench: ${error.message}`);
    else throw error;
    return error instanceof UsageError ? 2 : 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
