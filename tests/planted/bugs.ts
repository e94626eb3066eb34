/**
 * The planted bugs: what could go wrong in the promises, as edits of the source. Each must make a test fail, or the tests prove nothing.
 * Shipped code carries no switches for them: an edit is made while a module is loaded, in one process and its worker threads.
 */

export interface PlantedBug {
  readonly name: string;
  /** Relative to the root of the repository. */
  readonly file: string;
  /** Occurs exactly once in the file; a test sees to it. */
  readonly find: string;
  readonly replace: string;
}

export const plantedBugs: readonly PlantedBug[] = [
  {
    // Acknowledges a group that is written, and makes it durable a moment later.
    name: "ack-before-fsync",
    file: "packages/server/src/log/wal.ts",
    find: "    try {\n      this.#files.fdatasync(this.#descriptor);",
    replace:
      "    try {\n      const late = this.#descriptor; setTimeout(() => { try { this.#files.fdatasync(late); } catch {} }, 5);",
  },
  {
    name: "ignore-fsync-error",
    file: "packages/server/src/log/wal.ts",
    find: 'throw new HeadraceError("HR_LOG_FAILED", `fdatasync of',
    replace: 'void new HeadraceError("HR_LOG_FAILED", `fdatasync of',
  },
  {
    name: "no-dir-fsync",
    file: "packages/server/src/log/segment.ts",
    find: 'const descriptor = files.open(folder, "r");\n  try {\n    files.fsync(descriptor);',
    replace: 'const descriptor = files.open(folder, "r");\n  try {',
  },
  {
    // Goes on behind a last frame that was read and may not be on disk: after a kill, or a sync that failed.
    name: "trust-cached-frame",
    file: "packages/server/src/log/wal.ts",
    find: "for (const { offset, bytes } of tail) writeAll(",
    replace: "for (const { offset, bytes } of tail.slice(2)) writeAll(",
  },
  {
    // Deletes segments by a list of history that may not be on disk.
    name: "trust-cached-manifest",
    file: "packages/server/src/log/history.ts",
    find: "settleManifest(historyFolder, manifest, this.#system);",
    replace: "if (manifest.tornAt !== undefined) settleManifest(historyFolder, manifest, this.#system);",
  },
  {
    // Takes folders and files that a killed process has made for durable.
    name: "trust-cached-names",
    file: "packages/server/src/log/log-folders.ts",
    find: "for (const named of [dirname(folder), folder, walFolder, historyFolder]) syncNames(named, files);",
    replace: "void [dirname, syncNames];",
  },
  {
    // Takes damage in the middle for the end of the log.
    name: "truncate-mid-log",
    file: "packages/server/src/log/recovery.ts",
    find: "if (hasLaterFrame(bytes, at, end.groupNumber, end.salt))",
    replace: "if (at < 0)",
  },
  {
    name: "commit-without-fence",
    file: "packages/engine/src/log/fence.ts",
    find: "if (header.epoch < expected.epoch || header.sequence !== expected.endSequence)",
    replace: "if (header.epoch < 0)",
  },
  {
    // The commit is durable before the effects that it owes are.
    name: "checkpoint-before-outbox",
    file: "packages/engine/src/task/commit-builder.ts",
    find: "if (content.effects.length > 0) {\n      const rows = this.#rows(blocks, this.#spec.effectsLogId, timeMs);\n      for (const { id, kind, device, payload } of content.effects)",
    replace:
      "const held = (this as { held?: typeof content.effects }).held ?? [];\n    (this as { held?: typeof content.effects }).held = content.effects;\n    if (held.length > 0) {\n      const rows = this.#rows(blocks, this.#spec.effectsLogId, timeMs);\n      for (const { id, kind, device, payload } of held)",
  },
  {
    // A task that starts again begins at the end of its input.
    name: "drop-on-takeover",
    file: "packages/server/src/runtime/task-driver.ts",
    find: "    for (const [logId, writer, next] of message.positions)\n      this.#cursors.set(",
    replace:
      "    for (const [logId, writer, low] of message.positions)\n      for (const next of [Math.max(low, this.#options.log.endSequence({ logId, writer }))])\n      this.#cursors.set(",
  },
  {
    // Delivers a retained message without asking the policy.
    name: "retained-skips-acl",
    file: "packages/server/src/gateway/subscribe.ts",
    find: "void fanOut.deliverTo(message, delivery),",
    replace: "void delivery.receiver.receive(message, delivery),",
  },
  {
    name: "dedupe-only-in-memory",
    file: "packages/server/src/gateway/marks-log.ts",
    find: "if (reader.deviceSequence >= 0 && !reader.repeated)",
    replace: "if (reader.deviceSequence < -1)",
  },
  {
    // A task that starts again handles the last event before its position once more.
    name: "offset-off-by-one",
    file: "packages/engine/src/task/task.ts",
    find: "this.positions.restore(commit.positions);",
    replace: "this.positions.restore(commit.positions.map((p) => ({ ...p, low: Math.max(0, p.low - 1) })));",
  },
  {
    // A timer that has fired is not taken out of the journal.
    name: "timer-fires-twice",
    file: "packages/engine/src/task/task.ts",
    find: "this.ledger.timers.push({ key: timer.key, name: timer.name, dueMs: undefined });",
    replace: "",
  },
];

/** The bug of this name. */
export const plantedBug = (name: string): PlantedBug => {
  const bug = plantedBugs.find((one) => one.name === name);
  if (!bug) throw new Error(`no planted bug ${name}; there are ${plantedBugs.map((one) => one.name).join(", ")}`);
  return bug;
};

/** The source with the bug in it. @throws when the place is not there exactly once: a bug that is not planted proves nothing */
export const plant = ({ name, file, find, replace }: PlantedBug, source: string): string => {
  const parts = source.split(find);
  if (parts.length !== 2) {
    throw new Error(
      `planted bug ${name}: its place occurs ${parts.length - 1} times in ${file}; bring tests/planted/bugs.ts up to date`,
    );
  }
  return parts.join(replace);
};
