/**
 * The outbox: a system task per application whose input is the effects that functions owe and what devices acknowledge. Its state is
 * which alerts are raised and which commands are pending, a key each. Commands are sent as soon as their effect is durable, at least
 * once, with the same id; past its deadline a command expires with an event instead of being sent.
 */
import { systemStreams } from "@headrace/sdk";
import { transientCopy } from "../block/transient.ts";
import { stringify } from "../task/json-text.ts";
import {
  type CommandFields,
  isPackedCommand,
  OwedCommand,
  type OwedEnvelope,
  packCommand,
  packedCommandId,
  readOwed,
} from "../task/owed-command.ts";
import type { Invocation, TaskEvent, TaskHandlers } from "../task/spec.ts";

interface RaisedAlert {
  readonly severity: string;
  readonly raisedAtMs: number;
  readonly details: Readonly<Record<string, unknown>>;
}

/** State of one key: the record of a command that is pending, or an alert that is raised. Version 0.1 kept the command's fields. */
type OutboxState = Uint8Array | { command?: CommandFields | undefined; alert?: RaisedAlert | undefined };

/** A step in the life of a command or an alert, told to the host as it happens, before its commit. */
export type OutboxStep = "sent" | "acknowledged" | "failed" | "expired" | "raised" | "cleared";

interface Acknowledgement {
  readonly ok?: unknown;
  readonly result?: unknown;
  readonly error?: unknown;
}

/** Inputs of the outbox task, in order. */
export const outboxInput = { effects: 0, acknowledgements: 1 } as const;

/** Called for each command to send, and again after a restart for what is still pending. */
export type SendCommand = (command: OwedCommand) => void;
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
  const lifeCycle = (command: OwedCommand, status: OutboxStep, more: string, invocation: Invocation): void => {
    taken(status, command.id);
    invocation.emitEncoded(systemStreams.commands, command.row(status, more), command.key, command.device);
  };
  const end = (command: OwedCommand, status: OutboxStep, more: string, invocation: Invocation): void => {
    invocation.state = undefined;
    invocation.removeTimer(deadlineTimer);
    ended(command.id, command.device);
    lifeCycle(command, status, more, invocation);
  };

  const onCommand = (command: OwedCommand, invocation: Invocation): void => {
    if (command.deadlineMs <= invocation.nowMs) {
      invocation.state = undefined;
      lifeCycle(command, "expired", "", invocation);
      return;
    }
    invocation.state = command.bytes;
    invocation.setTimer(deadlineTimer, command.deadlineMs);
    send(command);
    lifeCycle(command, "sent", "", invocation);
  };

  const onAlert = (
    { key, function: functionName, effect }: OwedEnvelope,
    state: { alert?: RaisedAlert | undefined },
    invocation: Invocation,
  ): void => {
    if (effect.kind === "command") return;
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

  const onEffect = ({ value, device }: TaskEvent, invocation: Invocation): void => {
    const payload = value as Uint8Array;
    if (isPackedCommand(payload)) {
      onCommand(new OwedCommand(transientCopy(payload), invocation.key, device), invocation);
      return;
    }
    const owed = readOwed(payload);
    const { id, key, function: functionName, effect } = owed;
    if (effect.kind === "command")
      onCommand(new OwedCommand(packCommand({ ...effect, id, key }, functionName)), invocation);
    else onAlert(owed, invocation.state as { alert?: RaisedAlert }, invocation);
  };

  const onAcknowledgement = (device: string, acknowledgement: Acknowledgement, invocation: Invocation): void => {
    const command = pendingCommand(invocation.state);
    if (!command) {
      // A repeat, or one that came after its command had expired: the first word counted.
      invocation.state = undefined;
      return;
    }
    // An answer in another device's name is none.
    if (command.device !== device) return;
    if (acknowledgement?.ok === true) {
      const result = stringify(acknowledgement.result);
      end(command, "acknowledged", result === undefined ? "" : `,"result":${result}`, invocation);
    } else {
      const error = String(acknowledgement?.error ?? "the device gave no reason");
      end(command, "failed", `,"error":${JSON.stringify(error)}`, invocation);
    }
  };

  return {
    // Whatever a handler could ask for has room here: an effect that fails behind its commit would be lost.
    stateLimits: { bytesPerKey: 384 * 1024, bytesPerTask: Number.MAX_SAFE_INTEGER },
    initialState: (): OutboxState => ({}),
    isStateRarelyRead: true,
    // A key per command and per alert: a device that answers nothing must not make each further command dearer.
    stateKey: (event, input) => {
      if (input !== outboxInput.effects) return commandIdOfTopic(event.topic);
      const payload = event.value as Uint8Array;
      if (isPackedCommand(payload)) return packedCommandId(payload);
      const { id, key, effect } = readOwed(payload);
      return effect.kind === "command" ? id : alertKey(key, effect.name);
    },
    onEvent: (event: TaskEvent, invocation, input) => {
      if (input === outboxInput.effects) onEffect(event, invocation);
      else onAcknowledgement(event.device, event.value as Acknowledgement, invocation);
    },
    timerOf: (state) => {
      const command = pendingCommand(state);
      return command && { name: deadlineTimer, dueMs: command.deadlineMs };
    },
    onTimer: (_name, _dueMs, invocation) => {
      const command = pendingCommand(invocation.state);
      if (command) end(command, "expired", "", invocation);
    },
  };
};

/** The command that is pending in a key's state, if there is one. */
export const pendingCommand = (state: unknown): OwedCommand | undefined => {
  if (state instanceof Uint8Array) return new OwedCommand(state);
  const command = (state as { command?: CommandFields } | undefined)?.command;
  return command && new OwedCommand(packCommand(command, ""));
};
/** Whether a key's state is an alert that is raised. */
export const isRaisedAlert = (state: unknown): boolean =>
  (state as { alert?: unknown } | undefined)?.alert !== undefined;

const alertKey = (key: string, name: string): string => `${key}\u0000${name}`;

const commandIdOfTopic = (topic: string): string => topic.split("/")[3] ?? "";
