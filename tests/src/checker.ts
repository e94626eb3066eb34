/**
 * Compares what devices know with what a node holds after crashes. Pure: the tests collect the evidence, this judges it.
 *
 * With sequences (`exactlyOnce`): acknowledged ⊆ stored exactly once ⊆ sent, in order per device. Without (`atLeastOnce`):
 * the same, but a message may be stored more than once, and a repeat may stand behind later messages.
 */

/** A message by what its device called it. */
export interface MessageId {
  readonly device: string;
  /** Grows with each start of the device; 0 for one that knows none. */
  readonly epoch: number;
  readonly sequence: number;
}

export interface Evidence {
  /** Everything that was written to a socket at least once. */
  readonly sent: readonly MessageId[];
  /** Everything that was acknowledged to its device. */
  readonly acknowledged: readonly MessageId[];
  /** Everything that is stored; of one device in the order of the log. */
  readonly stored: readonly MessageId[];
}

/** What a counting function said about one message: how many of its device it had counted with it. */
export interface Counted extends MessageId {
  readonly count: number;
}

export type Guarantee = "exactlyOnce" | "atLeastOnce";

/** Violations beyond this many are only counted. */
const listedMax = 20;

const nameOf = ({ device, epoch, sequence }: MessageId): string => `${device} ${epoch}.${sequence}`;
const namesOf = (ids: readonly MessageId[]): Set<string> => new Set(ids.map(nameOf));

/** The violations, each as one sentence; empty when the guarantee holds. */
export function violationsOf({ sent, acknowledged, stored }: Evidence, guarantee: Guarantee): string[] {
  const found: string[] = [];
  const sentNames = namesOf(sent);
  const storedNames = namesOf(stored);
  for (const name of namesOf(acknowledged)) {
    if (!storedNames.has(name)) found.push(`lost: ${name} was acknowledged and is not stored`);
  }
  for (const name of storedNames) {
    if (!sentNames.has(name)) found.push(`invented: ${name} is stored and was never sent`);
  }
  if (guarantee === "exactlyOnce") found.push(...duplicatesIn(stored, "stored"));
  found.push(...reorderingsIn(stored, guarantee));
  return shortened(found);
}

/** What is wrong with the answers of a counting function: each stored message once, counts that grow by one per device. */
export function countingViolationsOf(stored: readonly MessageId[], counted: readonly Counted[]): string[] {
  const found = duplicatesIn(counted, "counted");
  const countedNames = namesOf(counted);
  const storedNames = namesOf(stored);
  for (const name of storedNames) {
    if (!countedNames.has(name)) found.push(`not counted: ${name} is stored`);
  }
  for (const name of countedNames) {
    if (!storedNames.has(name)) found.push(`counted from nowhere: ${name} is not stored`);
  }
  const counts = new Map<string, number>();
  for (const one of counted) {
    const expected = (counts.get(one.device) ?? 0) + 1;
    if (one.count !== expected) found.push(`miscounted: ${nameOf(one)} is number ${one.count} and not ${expected}`);
    counts.set(one.device, one.count);
  }
  return shortened(found);
}

export interface EffectEvidence {
  /** Everything that functions owed, each by a name of its own. */
  readonly owed: readonly string[];
  /** Each time that an effect was met, sent or in a record, with the id that it had. */
  readonly attempts: readonly { readonly id: string; readonly effect: string }[];
  /** Ids that came to an end: acknowledged, failed or expired. */
  readonly ended: readonly string[];
}

/** Effects are met at least once, each under one id that is its own, and end exactly once; nobody meets one that is not owed. */
export function effectViolationsOf({ owed, attempts, ended }: EffectEvidence): string[] {
  const found: string[] = [];
  const ids = new Map<string, string>();
  const effects = new Map<string, string>();
  for (const { id, effect } of attempts) {
    const known = ids.get(effect) ?? id;
    if (known !== id) found.push(`${effect} was met as ${known} and as ${id}`);
    ids.set(effect, known);
    const other = effects.get(id) ?? effect;
    if (other !== effect) found.push(`${id} stands for ${other} and for ${effect}`);
    effects.set(id, other);
  }
  const owedNames = new Set(owed);
  for (const effect of owedNames) if (!ids.has(effect)) found.push(`lost: ${effect} was owed and nobody met it`);
  for (const effect of ids.keys())
    if (!owedNames.has(effect)) found.push(`invented: ${effect} was met and is not owed`);
  const ends = new Map<string, number>();
  for (const id of ended) ends.set(id, (ends.get(id) ?? 0) + 1);
  for (const [id, effect] of effects) {
    const times = ends.get(id) ?? 0;
    if (times !== 1) found.push(`${effect} (${id}) ended ${times} times`);
  }
  return shortened([...new Set(found)]);
}

/** One step in the life of something that belongs to a key. */
export interface Step {
  readonly key: string;
  readonly step: string;
}

/** Each key's steps are the ones that are due, in their order, each once. */
export function stepViolationsOf(due: readonly Step[], taken: readonly Step[]): string[] {
  const byKey = (steps: readonly Step[]): Map<string, string[]> => {
    const lists = new Map<string, string[]>();
    for (const { key, step } of steps) lists.set(key, [...(lists.get(key) ?? []), step]);
    return lists;
  };
  const dueByKey = byKey(due);
  const takenByKey = byKey(taken);
  const found: string[] = [];
  for (const key of new Set([...dueByKey.keys(), ...takenByKey.keys()])) {
    const expected = dueByKey.get(key) ?? [];
    const actual = takenByKey.get(key) ?? [];
    for (let at = 0; at < Math.max(expected.length, actual.length); at++) {
      if (expected[at] === actual[at]) continue;
      found.push(`${key}: step ${at + 1} is ${actual[at] ?? "missing"} and not ${expected[at] ?? "the end"}`);
      break;
    }
  }
  return shortened(found);
}

/** One result of a part of a key's events; a later one of the same part has a higher revision and replaces it. */
export interface Part {
  readonly key: string;
  readonly part: string;
  readonly revision: number;
  readonly value: number;
}

/** The newest results of all parts add up to each key's total, and no revision comes twice or is left out. */
export function sumViolationsOf(totals: ReadonlyMap<string, number>, parts: readonly Part[]): string[] {
  const found: string[] = [];
  const newest = new Map<string, Part>();
  for (const part of parts) {
    const name = `${part.key} ${part.part}`;
    const expected = (newest.get(name)?.revision ?? 0) + 1;
    if (part.revision !== expected) found.push(`${name}: revision ${part.revision} comes where ${expected} is due`);
    newest.set(name, part);
  }
  const sums = new Map<string, number>();
  for (const { key, value } of newest.values()) sums.set(key, (sums.get(key) ?? 0) + value);
  for (const key of new Set([...totals.keys(), ...sums.keys()])) {
    const [total, sum] = [totals.get(key) ?? 0, sums.get(key) ?? 0];
    if (total !== sum) found.push(`${key}: the parts add up to ${sum} and not to ${total}`);
  }
  return shortened(found);
}

function duplicatesIn(ids: readonly MessageId[], what: string): string[] {
  const times = new Map<string, number>();
  for (const id of ids) times.set(nameOf(id), (times.get(nameOf(id)) ?? 0) + 1);
  return [...times]
    .filter(([, count]) => count > 1)
    .map(([name, count]) => `doubled: ${name} is ${what} ${count} times`);
}

/** A message that stands for the first time behind a later one of its device. */
function reorderingsIn(stored: readonly MessageId[], guarantee: Guarantee): string[] {
  const found: string[] = [];
  const latest = new Map<string, MessageId>();
  const seen = new Set<string>();
  for (const id of stored) {
    const isRepeat = seen.has(nameOf(id));
    seen.add(nameOf(id));
    if (isRepeat && guarantee === "atLeastOnce") continue;
    const before = latest.get(id.device);
    if (before && (before.epoch > id.epoch || (before.epoch === id.epoch && before.sequence > id.sequence))) {
      found.push(`out of order: ${nameOf(id)} is stored behind ${nameOf(before)}`);
    } else latest.set(id.device, id);
  }
  return found;
}

function shortened(found: readonly string[]): string[] {
  const more = found.length - listedMax;
  return more > 0 ? [...found.slice(0, listedMax), `and ${more} more`] : [...found];
}
