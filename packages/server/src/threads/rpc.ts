/**
 * Calls between threads over one MessagePort. Requests carry a number, answers carry it back; errors of the catalogue keep their code.
 * Bounded: a caller that has `callsMax` unanswered calls is refused.
 */
import type { MessagePort, Transferable, Worker } from "node:worker_threads";
import { type ErrorCode, HeadraceError, type Retry } from "@headrace/sdk";

const callsMax = 100_000;

/** Wraps a result whose buffers are moved instead of copied. */
export class Moved<T> {
  readonly value: T;
  readonly transfer: Transferable[];
  constructor(value: T, transfer: Transferable[]) {
    this.value = value;
    this.transfer = transfer;
  }
}

interface WireError {
  message: string;
  stack?: string;
  code?: ErrorCode;
  retry?: Retry;
  data?: Record<string, unknown>;
}
type Message =
  | { call: number; method: string; args: unknown[] }
  | { answer: number; value?: unknown; error?: WireError }
  | { event: string; args: unknown[] };

/** An error as plain data, so that its code survives the way between threads. */
export const errorToWire = (error: unknown): WireError =>
  error instanceof HeadraceError
    ? { message: error.message, stack: error.stack, code: error.code, retry: error.retry, data: error.data }
    : {
        message: error instanceof Error ? error.message : String(error),
        stack: error instanceof Error ? error.stack : undefined,
      };

export const errorFromWire = (wire: WireError): Error => {
  const error = wire.code
    ? new HeadraceError(wire.code, wire.message, { retry: wire.retry, data: wire.data })
    : new Error(wire.message);
  if (wire.stack) error.stack = wire.stack;
  return error;
};

export interface Rpc {
  /** Calls a method of the other side. */
  call(method: string, args: unknown[], transfer?: Transferable[]): Promise<unknown>;
  /** Sends without an answer. */
  emit(event: string, args: unknown[], transfer?: Transferable[]): void;
  /** Ends the connection: what is unanswered fails with HR_UNAVAILABLE. */
  close(): void;
}

/** The other side: a MessagePort, or a Worker seen from its parent. */
export type Endpoint = MessagePort | Worker;

type Methods = Record<string, (...args: never[]) => unknown>;

/** Joins two threads: `methods` answer the other side's calls, `events` take its messages. */
export const openRpc = (port: Endpoint, methods: Methods = {}, events: Methods = {}): Rpc => {
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  let lastCall = 0;

  const answer = async (message: { call: number; method: string; args: unknown[] }): Promise<void> => {
    try {
      const result = await methods[message.method](...(message.args as never[]));
      if (result instanceof Moved) port.postMessage({ answer: message.call, value: result.value }, result.transfer);
      else port.postMessage({ answer: message.call, value: result });
    } catch (error) {
      port.postMessage({ answer: message.call, error: errorToWire(error) });
    }
  };

  port.on("message", (message: Message) => {
    if ("answer" in message) {
      const call = waiting.get(message.answer);
      waiting.delete(message.answer);
      if (message.error) call?.reject(errorFromWire(message.error));
      else call?.resolve(message.value);
    } else if ("call" in message) void answer(message);
    else events[message.event]?.(...(message.args as never[]));
  });
  const close = (): void => {
    for (const call of waiting.values()) call.reject(new HeadraceError("HR_UNAVAILABLE", "the other thread has ended"));
    waiting.clear();
  };
  if ("close" in port) port.on("close", close);
  else port.on("exit", close);

  return {
    call: (method, args, transfer) =>
      new Promise((resolve, reject) => {
        if (waiting.size >= callsMax) {
          reject(new HeadraceError("HR_OVERLOADED", `${callsMax} calls between threads are unanswered`));
          return;
        }
        const call = ++lastCall;
        waiting.set(call, { resolve, reject });
        port.postMessage({ call, method, args }, transfer);
      }),
    emit: (event, args, transfer) => port.postMessage({ event, args }, transfer),
    close: () => {
      close();
      if ("close" in port) port.close();
    },
  };
};
