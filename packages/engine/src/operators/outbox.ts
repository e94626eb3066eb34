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

interface OutboxState {
  alerts: Map<string, RaisedAlert>;
  pending: Map<string, PendingCommand>;
}

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

export const outboxHandlers = (send: SendCommand, ended: CommandEnded): TaskHandlers => {
  const lifeCycle = (
    command: PendingCommand,
    fields: Readonly<Record<string, unknown>>,
    invocation: Invocation,
  ): void => {
    const { id, name, args, device, deadlineMs } = command;
    invocation.emit(systemStreams.commands, { id, name, args, device, deadlineMs, ...fields }, command.key, device);
  };
  const end = (
    command: PendingCommand,
    state: OutboxState,
    fields: Readonly<Record<string, unknown>>,
    invocation: Invocation,
  ): void => {
    state.pending.delete(command.id);
    invocation.removeTimer(command.id);
    ended(command.id, command.device);
    lifeCycle(command, fields, invocation);
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
        lifeCycle(command, { status: "expired" }, invocation);
        return;
      }
      state.pending.set(id, command);
      invocation.setTimer(id, effect.deadlineMs);
      send(command);
      lifeCycle(command, { status: "sent" }, invocation);
      return;
    }
    const alert = alertKey(key, effect.name);
    const raised = state.alerts.get(alert);
    if (effect.kind === "alert.clear") {
      if (!raised) return;
      state.alerts.delete(alert);
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
    state.alerts.set(alert, next);
    invocation.emit(
      systemStreams.alerts,
      { name: effect.name, status: raised ? "updated" : "raised", ...next, function: functionName },
      key,
    );
  };

  const onAcknowledgement = (
    id: string,
    device: string,
    acknowledgement: Acknowledgement,
    state: OutboxState,
    invocation: Invocation,
  ): void => {
    const command = state.pending.get(id);
    // An answer in another device's name is none.
    if (command && command.device !== device) return;
    // A repeat, or one that came after its command had expired: the first word counted.
    if (!command) return;
    if (acknowledgement?.ok === true) {
      end(
        command,
        state,
        { status: "acknowledged", ...(acknowledgement.result !== undefined && { result: acknowledgement.result }) },
        invocation,
      );
    } else
      end(
        command,
        state,
        { status: "failed", error: String(acknowledgement?.error ?? "the device gave no reason") },
        invocation,
      );
  };

  return {
    initialState: (): OutboxState => ({ alerts: new Map(), pending: new Map() }),
    // A key per command and per alert: a device that answers nothing must not make each further command dearer.
    stateKey: (event, input) => {
      if (input !== outboxInput.effects) return commandIdOfTopic(event.topic);
      const { id, key, effect } = event.value as OwedEnvelope;
      return effect.kind === "command" ? id : alertKey(key, effect.name);
    },
    onEvent: (event: TaskEvent, invocation, input) => {
      const state = invocation.state as OutboxState;
      if (input === outboxInput.effects) onEffect(event.value as OwedEnvelope, state, invocation);
      else
        onAcknowledgement(
          commandIdOfTopic(event.topic),
          event.device,
          event.value as Acknowledgement,
          state,
          invocation,
        );
      forget(state, invocation);
    },
    onTimer: (id, _dueMs, invocation) => {
      const state = invocation.state as OutboxState;
      const command = state.pending.get(id);
      if (command) end(command, state, { status: "expired" }, invocation);
      forget(state, invocation);
    },
  };
};

/** Commands that are pending in a device's state, after a recovery. */
export const pendingCommands = (state: unknown): PendingCommand[] => [
  ...((state as OutboxState | undefined)?.pending.values() ?? []),
];
/** Names and keys of the alerts that are raised in a device's state. */
export const raisedAlerts = (state: unknown): number => (state as OutboxState | undefined)?.alerts.size ?? 0;

const alertKey = (key: string, name: string): string => `${key}\u0000${name}`;

/** A key with nothing raised and nothing pending is removed. */
const forget = (state: OutboxState, invocation: Invocation): void => {
  if (state.alerts.size === 0 && state.pending.size === 0) invocation.state = undefined;
};

const commandIdOfTopic = (topic: string): string => topic.split("/")[3] ?? "";
