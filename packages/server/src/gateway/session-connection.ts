import type { Held } from "./fan-out-message.ts";
import type { Receiver } from "./receiver.ts";

/** The connection of a session, as the session needs it. */
export interface SessionConnection extends Receiver {
  /** Writes a message with its identifier. */
  send(held: Held, packetId: number, step: "publish" | "again" | "release"): void;
  write(bytes: Uint8Array): void;
  end(reasonCode: number, reason: string): void;
}
