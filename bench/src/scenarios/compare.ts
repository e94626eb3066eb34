/** Systems under the same loads, in turns within each round: rows of one table, and one result. */
import { BenchError, UsageError } from "../errors.ts";
import { combined, heading, lossFailures, ratio, row } from "./combine.ts";
import type { Context, Report, SystemResult } from "./scenario.ts";
import type { System } from "./systems.ts";

export interface NamedLoad {
  /** Its name for `--loads` and in the result. */
  readonly key: string;
  readonly title: string;
}

/** All systems under one load. */
interface Row<L extends NamedLoad> {
  readonly load: L;
  readonly results: Map<System, SystemResult[]>;
  /** Why a system has no result. */
  readonly broken: Map<System, string>;
}

/** Those of the scenario's loads that were asked for. @throws UsageError */
export function chosenLoads<L extends NamedLoad>(all: readonly L[], { loads }: Context): readonly L[] {
  for (const name of loads ?? []) {
    if (all.some(({ key }) => key === name)) continue;
    throw new UsageError(`--loads ${name}: this scenario has ${all.map(({ key }) => key).join(", ")}`);
  }
  return loads === undefined ? all : all.filter(({ key }) => loads.includes(key));
}

export interface Comparison<L extends NamedLoad> {
  readonly scenario: string;
  readonly seconds: number;
  readonly loads: readonly L[];
  readonly systems: readonly System[];
  /** Names of the table's columns; default: those of messages. */
  readonly heading?: readonly string[];
  /** One measurement. */
  run(system: System, load: L): Promise<SystemResult>;
  /** A line of the table; default: rate, CPU, latency, loss. */
  cells?(name: string, result: SystemResult): string[];
  /** Whether what is lost of this load makes the run a failure; default: always. */
  mayLose?(load: L): boolean;
  /** How many times better ours is; default: by the rate. */
  ratio?(load: L, ours: SystemResult, theirs: SystemResult): number;
  readonly notes?: readonly string[];
}

/** @throws BenchError when Headrace itself cannot be measured; a peer that cannot is left out with the reason */
export async function compare<L extends NamedLoad>(context: Context, comparison: Comparison<L>): Promise<Report> {
  const rows: Row<L>[] = comparison.loads.map((load) => ({ load, results: new Map(), broken: new Map() }));
  for (let round = 1; round <= context.rounds; round += 1) {
    for (const one of rows) {
      for (const system of comparison.systems) await measureOne(context, comparison, one, system, round);
    }
  }
  return reportOf(context, comparison, rows);
}

async function measureOne<L extends NamedLoad>(
  context: Context,
  comparison: Comparison<L>,
  { load, results, broken }: Row<L>,
  system: System,
  round: number,
): Promise<void> {
  if (broken.has(system)) return;
  const { title } = system;
  try {
    const result = await comparison.run(system, load);
    results.set(system, [...(results.get(system) ?? []), result]);
    const { rate, cores, generatorCores } = result;
    context.say(
      `round ${round}, ${load.title}: ${title} ${rate.toLocaleString("en")}/s, server ${cores} cores, load ${generatorCores} cores`,
    );
  } catch (error) {
    if (!(error instanceof BenchError) || system.gateways !== undefined) throw error;
    broken.set(system, error.message);
    context.say(`round ${round}, ${load.title}: ${title}: ${error.message}`);
  }
}

const byRate = (_: NamedLoad, ours: SystemResult, theirs: SystemResult): number => ratio(ours, theirs);

function reportOf<L extends NamedLoad>(context: Context, comparison: Comparison<L>, rows: readonly Row<L>[]): Report {
  const cells = comparison.cells ?? row;
  const table: string[][] = [];
  const failures: string[] = [];
  const parts = rows.map(({ load, results, broken }) => {
    const peers: Record<string, SystemResult | { readonly notAvailable: string }> = {};
    const own: Record<string, SystemResult> = {};
    const ratios: Record<string, number> = {};
    for (const system of comparison.systems) {
      const { key, title, gateways } = system;
      const measured = results.get(system);
      if (measured === undefined) {
        const reason = broken.get(system) ?? "not measured";
        peers[key] = { notAvailable: reason };
        continue;
      }
      const result = combined(measured);
      table.push(cells(`${load.title}: ${title}`, result));
      if (gateways === undefined) {
        peers[key] = result;
        ratios[key] = (comparison.ratio?.bind(comparison) ?? byRate)(load, own.headrace!, result);
      } else {
        own[key] = result;
        if (comparison.mayLose?.(load) !== true) failures.push(...lossFailures(`${load.title}: ${title}`, result));
      }
    }
    return { load: load.key, ...own, peers, ratio: ratios };
  });
  const absent = Object.fromEntries(context.absent.map(({ key, reason }) => [key, reason]));
  const { load: _first, ...first } = parts[0]!;
  return {
    result: {
      scenario: comparison.scenario,
      rounds: context.rounds,
      seconds: comparison.seconds,
      ...first,
      rows: parts,
      notAvailable: absent,
      brokers: context.peers.map(({ key, version, configuration, promise }) => ({
        key,
        version,
        configuration,
        promise,
      })),
    },
    table: [[...(comparison.heading ?? heading)], ...table],
    notes: [
      ...parts.map(
        ({ ratio: ratios }, index) =>
          `headrace / peer, ${rows[index]!.load.title}: ${Object.entries(ratios)
            .map(([key, value]) => `${key} ${value}`)
            .join(", ")}`,
      ),
      ...rows.flatMap(({ load, broken }) =>
        [...broken].map(([{ title }, reason]) => `${load.title}: ${title} not available: ${reason}`),
      ),
      ...(comparison.notes ?? []),
    ],
    failures,
  };
}
