/** What the thread of the log and the gateway threads say to each other. */
import type { Subscription } from "@headrace/mqtt";
import type { WireMessage } from "./fan-out-message.ts";
import type { GatewayLimits } from "./limits.ts";
import type { WriterChannel } from "./partition-writer.ts";
import type { SourceStream } from "./stream-state.ts";
import type { ListenerOptions } from "./transports/transport.ts";

/** A stream with the channels of one thread's writer, one per partition. */
export interface ThreadStream {
  readonly stream: SourceStream;
  readonly channels: readonly WriterChannel[];
}

export interface ThreadStart {
  readonly listeners: readonly ListenerOptions[];
  readonly limits: GatewayLimits;
  readonly streams: readonly ThreadStream[];
  readonly retained: readonly RetainedMessage[];
  /** Open connections of all gateway threads. */
  readonly connections: Int32Array<SharedArrayBuffer>;
  /** Which of them this one is. */
  readonly index: number;
}

export interface RetainedMessage {
  readonly message: WireMessage;
  readonly arrivalMs: number;
}

/** A session of a gateway thread, as the others know it. */
export interface ThreadSubscription {
  readonly clientId: string;
  readonly deviceId: string;
  readonly subscription: Subscription;
}
