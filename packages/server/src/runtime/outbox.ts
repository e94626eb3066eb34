/** The outbox task on the node's own thread: next to the gateway that sends, with the same task, journal and snapshots as any other. */
import {
  effectsLog,
  isRaisedAlert,
  type Leases,
  type OutboxStep,
  type OwedCommand,
  outboxHandlers,
  outboxTask,
  type PreparedCommit,
  pendingCommand,
  streamLog,
  Task,
  type TaskPlan,
} from "@headrace/engine";
import type { StreamDefinition } from "@headrace/sdk";
import { checksum, type EmbeddedLog } from "../log/index.ts";
import { blockText } from "./block-text.ts";
import type { TaskStart } from "./messages.ts";
import type { Snapshots } from "./snapshots/index.ts";
import { TaskDriver, type TaskPort } from "./task-driver.ts";
import { TaskRunner } from "./task-runner.ts";

export interface OutboxOptions {
  readonly log: EmbeddedLog;
  readonly leases: Leases;
  readonly snapshots: Snapshots;
  /** The streams `effects` (built here) and `command-acks`. */
  readonly acknowledgements: Omit<StreamDefinition, "schema">;
  /** Sends a command to the device; "offline" when no session takes it. */
  readonly deliver: (command: OwedCommand) => "sent" | "offline";
  readonly onDriver: (driver: TaskDriver) => void;
  readonly onLog: (entry: { level: string; message: string; function: string }) => void;
}

/** Attempts for a command whose device took it and did not answer: again after this pause, while its deadline lasts. */
const resendAfterMs = 5000;
const restartAfterMs = 1000;
/** Commands come and go: a snapshot of the outbox saves little, and is made after so many times the journal of other tasks. */
const snapshotFactor = 4;

export class Outbox {
  readonly #options: OutboxOptions;
  readonly driver: TaskDriver;
  #runner: TaskRunner | undefined;
  /** Ids of pending commands by device, with the time of the last attempt that reached a session; 0: none did. */
  readonly #pending = new Map<string, Map<string, number>>();
  readonly #raised = new Set<string>();
  /** Steps of commands since this start, for the status. */
  readonly steps: Record<OutboxStep, number> = {
    sent: 0,
    acknowledged: 0,
    failed: 0,
    expired: 0,
    raised: 0,
    cleared: 0,
  };
  readonly #resendTimer: NodeJS.Timeout;
  #restartTimer: NodeJS.Timeout | undefined;

  constructor(options: OutboxOptions) {
    this.#options = options;
    const plan: TaskPlan = {
      ...outboxTask,
      kind: "check",
      stream: "effects",
      partition: 0,
      partitions: 1,
      reportsRejected: false,
    };
    this.driver = new TaskDriver({
      log: options.log,
      leases: options.leases,
      plan,
      inputLogs: [effectsLog, streamLog(options.acknowledgements.name, 0)],
      snapshots: options.snapshots,
      snapshotTrigger: {
        ...options.snapshots.trigger,
        journalBytesMin: snapshotFactor * options.snapshots.trigger.journalBytesMin,
      },
      early: false,
      onCommitted: options.onDriver,
      onFailed: (error) => this.#restart(error),
    });
    this.#resendTimer = setInterval(() => this.#resend(Date.now()), 1000).unref();
  }

  get pendingCount(): number {
    let count = 0;
    for (const commands of this.#pending.values()) count += commands.size;
    return count;
  }
  get activeAlerts(): number {
    return this.#raised.size;
  }

  #send(command: OwedCommand): void {
    const { id, device } = command;
    const sentMs = this.#options.deliver(command) === "sent" ? Date.now() : 0;
    const commands = this.#pending.get(device);
    if (commands) commands.set(id, sentMs);
    else this.#pending.set(device, new Map([[id, sentMs]]));
  }

  /** Sends a command once more, with the same id. */
  #sendAgain(id: string, commands: Map<string, number>, nowMs: number): void {
    const command = pendingCommand(this.#runner?.task.state.peek(id));
    if (command) commands.set(id, this.#options.deliver(command) === "sent" ? nowMs : 0);
  }

  /** A device has come and can take commands. */
  deviceReady(device: string): void {
    const commands = this.#pending.get(device);
    if (commands) for (const id of commands.keys()) this.#sendAgain(id, commands, Date.now());
  }

  #resend(nowMs: number): void {
    for (const commands of this.#pending.values())
      for (const [id, sentMs] of commands)
        if (sentMs !== 0 && nowMs - sentMs >= resendAfterMs) this.#sendAgain(id, commands, nowMs);
  }

  /** Runs the task again from its journal: after a full disk, say. What it sent in between is sent again with the same ids. */
  #restart(error: unknown): void {
    this.#options.onLog({
      level: "error",
      message: `the outbox starts again from its journal: ${String(error)}`,
      function: outboxTask.functionName,
    });
    this.driver.stop();
    this.#runner = undefined;
    this.#pending.clear();
    this.#raised.clear();
    clearTimeout(this.#restartTimer);
    this.#restartTimer = setTimeout(() => void this.start().catch((failure) => this.#restart(failure)), restartAfterMs);
  }

  async start(): Promise<void> {
    let restoring: { task: Task; from: TaskStart } | undefined;
    const port: TaskPort = {
      start: (from) => {
        const system = { sources: [], partitions: 1, retain: {}, system: true, columns: [], table: false } as const;
        const effects: StreamDefinition = { ...system, name: "effects", kind: "derived" };
        const [effectsId, acknowledgementsId] = from.inputLogIds;
        const handlers = outboxHandlers(
          (command) => this.#send(command),
          (id, device) => {
            const commands = this.#pending.get(device);
            commands?.delete(id);
            if (commands?.size === 0) this.#pending.delete(device);
          },
          (step, key) => {
            this.steps[step]++;
            if (step === "raised") this.#raised.add(key);
            else if (step === "cleared") this.#raised.delete(key);
          },
        );
        const task = new Task(
          {
            ...handlers,
            ...from.plan,
            inputs: [
              { stream: effects, logIds: [effectsId], decode: false, reportsRejected: false },
              {
                stream: this.#options.acknowledgements,
                logIds: [acknowledgementsId],
                decode: true,
                reportsRejected: true,
              },
            ],
            outputs: from.outputLogIds.map(([stream, logId]) => ({ stream, logId })),
            effectsLogId: from.effectsLogId,
            journalLogId: from.journalLogId,
            asynchronous: false,
            concurrency: 1,
          },
          { nowMs: Date.now, checksum, text: blockText(), epoch: from.epoch },
        );
        restoring = { task, from };
      },
      restore: (blocks) => {
        for (const block of blocks) restoring?.task.restore(block);
      },
      begin: () => {
        if (!restoring) return;
        const { task, from } = restoring;
        restoring = undefined;
        const [effectsId] = from.inputLogIds;
        task.begin(new Map(from.ends));
        // What was pending when the node stopped is sent again, with its old id.
        for (const { key } of task.state.entries()) {
          const state = task.state.peek(key);
          const command = pendingCommand(state);
          if (command) this.#send(command);
          if (isRaisedAlert(state)) this.#raised.add(key);
        }
        const runner = new TaskRunner(
          task,
          (block) => (new DataView(block.buffer, block.byteOffset).getUint32(16, true) === effectsId ? 0 : 1),
          {
            commit: (commit: PreparedCommit, urgent) => this.#commit(task, commit, urgent),
            delivered: (byteLength) => this.driver.delivered(byteLength),
            // The command is out already; its record may wait for company.
            isUrgent: () => false,
          },
        );
        this.#runner = runner;
        const meta = {
          timeMs: 0,
          processed: task.processed,
          failed: task.failed,
          nextTimerMs: task.nextDueMs ?? 0,
        };
        this.driver.ready({
          kind: "ready",
          task: from.plan.name,
          positions: positionsOf(task),
          meta,
          keys: task.state.size,
          stateBytes: task.state.byteLength,
        });
      },
      block: (block) => this.#runner?.deliver(block),
      advance: (nowMs) => this.#runner?.advance(nowMs),
      committed: () => this.#runner?.committed(),
      skip: ({ logId, writer }, fromSequence, toSequence) =>
        this.#runner?.skip(logId, writer, fromSequence, toSequence),
    };
    await this.driver.start(port);
  }

  #commit(task: Task, commit: PreparedCommit, urgent: boolean): void {
    this.driver.commit({
      kind: "commit",
      task: task.spec.name,
      ...commit,
      positions: positionsOf(task),
      latestArrivalMs: this.#runner?.latestArrivalMs ?? 0,
      keys: task.state.size,
      stateBytes: task.state.byteLength,
      urgent,
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#resendTimer);
    clearTimeout(this.#restartTimer);
    await this.#runner?.drain();
    await this.driver.close();
  }
}

const positionsOf = (task: Task): [number, number, number][] =>
  task.positions.all().map(({ logId, writer, low }) => [logId, writer, low]);
