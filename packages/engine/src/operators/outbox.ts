/**
 * The outbox: a system task per application whose input is the effects that functions owe and what devices acknowledge. Its state is
 * which alerts are raised and which commands are pending, a key each. Commands are sent as soon as their effect is durable, at least
 * once, with the same id; past its deadline a command expires with an event instead of being sent.
 */
import { systemStreams } from "@headrace/sdk";
import type { Effect, Invocation, TaskEvent, TaskHandlers } from "../task/spec.ts";

/** A command on its way. */
export interface PendingCommand {
  readonly id: string;
  readonly device: string;
  readonly name: string;
  readonly args: unknown;
  readonly deadlineMs: number;
  /** Key of the event that asked for it: its life cycle goes there. */
  readonly key: string;
}

interface RaisedAlert {
  readonly severity: string;
  readonly raisedAtMs: number;
  readonly details: Readonly<Record<string, unknown>>;
}

/** State of one key: a command that is pending, or an alert that is raised. */
interface OutboxState {
  command?: PendingCommand | undefined;
  alert?: RaisedAlert | undefined;
}

/** A step in the life of a command or an alert, told to the host as it happens, before its commit. */
export type OutboxStep = "sent" | "acknowledged" | "failed" | "expired" | "raised" | "cleared";

interface OwedEnvelope {
  readonly id: string;
  readonly key: string;
  readonly function: string;
  readonly effect: Effect;
}
interface Acknowledgement {
  readonly ok?: unknown;
  readonly result?: unknown;
  readonly error?: unknown;
}

/** Inputs of the outbox task, in order. */
export const outboxInput = { effects: 0, acknowledgements: 1 } as const;

/** Called for each command to send, and again after a restart for what is still pending. */
export type SendCommand = (command: PendingCommand) => void;
/** Tells the host that a command needs no more sending. */
export type CommandEnded = (id: string, device: string) => void;
/** Told of each step; `stateKey` names the command or the alert. */
export type OutboxStepTaken = (step: OutboxStep, stateKey: string) => void;

/** The one timer of a pending command. */
const deadlineTimer = "deadline";

export const outboxHandlers = (
  send: SendCommand,
  ended: CommandEnded,
  taken: OutboxStepTaken = () => undefined,
): TaskHandlers => {
  const lifeCycle = (
    command: PendingCommand,
    status: OutboxStep,
    fields: Readonly<Record<string, unknown>>,
    invocation: Invocation,
  ): void => {
    const { id, name, args, device, deadlineMs } = command;
    taken(status, id);
    invocation.emit(
      systemStreams.commands,
      { id, name, args, device, deadlineMs, status, ...fields },
      command.key,
      device,
    );
  };
  const end = (
    command: PendingCommand,
    status: OutboxStep,
    fields: Readonly<Record<string, unknown>>,
    invocation: Invocation,
  ): void => {
    invocation.state = undefined;
    invocation.removeTimer(deadlineTimer);
    ended(command.id, command.device);
    lifeCycle(command, status, fields, invocation);
  };

  const onEffect = (
    { id, key, function: functionName, effect }: OwedEnvelope,
    state: OutboxState,
    invocation: Invocation,
  ): void => {
    if (effect.kind === "command") {
      const command: PendingCommand = {
        id,
        device: effect.device,
        name: effect.name,
        args: effect.args,
        deadlineMs: effect.deadlineMs,
        key,
      };
      if (effect.deadlineMs <= invocation.nowMs) {
        invocation.state = undefined;
        lifeCycle(command, "expired", {}, invocation);
        return;
      }
      state.command = command;
      invocation.setTimer(deadlineTimer, effect.deadlineMs);
      send(command);
      lifeCycle(command, "sent", {}, invocation);
      return;
    }
    const alert = alertKey(key, effect.name);
    const raised = state.alert;
    if (effect.kind === "alert.clear") {
      invocation.state = undefined;
      if (!raised) return;
      taken("cleared", alert);
      invocation.emit(
        systemStreams.alerts,
        { name: effect.name, status: "cleared", ...raised, function: functionName },
        key,
      );
      return;
    }
    const { severity, details } = effect;
    if (raised && raised.severity === severity && JSON.stringify(raised.details) === JSON.stringify(details)) return;
    const next: RaisedAlert = { severity, raisedAtMs: raised?.raisedAtMs ?? Math.floor(invocation.nowMs), details };
    state.alert = next;
    if (!raised) taken("raised", alert);
    invocation.emit(
      systemStreams.alerts,
      { name: effect.name, status: raised ? "updated" : "raised", ...next, function: functionName },
      key,
    );
  };

  const onAcknowledgement = (
    device: string,
    acknowledgement: Acknowledgement,
    state: OutboxState,
    invocation: Invocation,
  ): void => {
    const { command } = state;
    if (!command) {
      // A repeat, or one that came after its command had expired: the first word counted.
      invocation.state = undefined;
      return;
    }
    // An answer in another device's name is none.
    if (command.device !== device) return;
    if (acknowledgement?.ok === true) {
      const { result } = acknowledgement;
      end(command, "acknowledged", result === undefined ? {} : { result }, invocation);
    } else end(command, "failed", { error: String(acknowledgement?.error ?? "the device gave no reason") }, invocation);
  };

  return {
    // Whatever a handler could ask for has room here: an effect that fails behind its commit would be lost.
    stateLimits: { bytesPerKey: 384 * 1024, bytesPerTask: Number.MAX_SAFE_INTEGER },
    initialState: (): OutboxState => ({}),
    // A key per command and per alert: a device that answers nothing must not make each further command dearer.
    stateKey: (event, input) => {
      if (input !== outboxInput.effects) return commandIdOfTopic(event.topic);
      const { id, key, effect } = event.value as OwedEnvelope;
      return effect.kind === "command" ? id : alertKey(key, effect.name);
    },
    onEvent: (event: TaskEvent, invocation, input) => {
      const state = invocation.state as OutboxState;
      if (input === outboxInput.effects) onEffect(event.value as OwedEnvelope, state, invocation);
      else onAcknowledgement(event.device, event.value as Acknowledgement, state, invocation);
    },
    onTimer: (_name, _dueMs, invocation) => {
      const { command } = invocation.state as OutboxState;
      if (command) end(command, "expired", {}, invocation);
    },
  };
};

/** The command that is pending in a key's state, if there is one. */
export const pendingCommand = (state: unknown): PendingCommand | undefined =>
  (state as OutboxState | undefined)?.command;
/** Whether a key's state is an alert that is raised. */
export const isRaisedAlert = (state: unknown): boolean => (state as OutboxState | undefined)?.alert !== undefined;

const alertKey = (key: string, name: string): string => `${key}\u0000${name}`;

const commandIdOfTopic = (topic: string): string => topic.split("/")[3] ?? "";
