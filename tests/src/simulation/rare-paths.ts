/** What should not happen often and has to happen in a simulation: each path is counted where the simulation sees it, and a long run must have seen all. */

/** Every rare path, by what is said when it is hit. */
export const rarePaths = [
  "a segment is rolled into a prepared file",
  "a segment is rolled without a prepared file",
  "a torn tail is cut",
  "the power goes while the node starts",
  "the power goes while history is written",
  "the power goes while the list of history is written",
  "the power goes while a snapshot is written",
  "the power goes while a segment is prepared",
  "a torn line of the list of history is cut",
  "left-over history is removed",
  "history is read",
  "history is deleted",
  "a damaged snapshot is passed over",
  "refused with HR_DISK_FULL",
  "a full disk is taken up again",
  "a short write is gone on with",
  "a write fails",
  "a sync fails",
  "a sync takes long",
  "a worker dies",
  "a zombie is refused by the fence",
  "a repeat is recognised",
  "an acknowledgement is lost",
  "a device reconnects with messages on their way",
  "a message survives that was not acknowledged",
  "a message is gone that was not acknowledged",
  "a command is sent again",
  "a command expires",
  "damage is found",
  "damage touches nothing that is used",
] as const;

export type RarePath = (typeof rarePaths)[number];

/** Counts what was hit; other names are kept as well, for the summary. */
export class Marks {
  readonly counts = new Map<string, number>();

  hit(path: string, times = 1): void {
    if (times > 0) this.counts.set(path, (this.counts.get(path) ?? 0) + times);
  }
  add(other: Iterable<readonly [string, number]>): void {
    for (const [path, times] of other) this.hit(path, times);
  }
  /** The rare paths that were never hit. */
  get missing(): RarePath[] {
    return rarePaths.filter((path) => !this.counts.has(path));
  }
}
