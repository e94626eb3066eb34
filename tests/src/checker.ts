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
