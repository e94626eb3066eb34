/** Reads bodies into memory of their own, so that they can be moved to another thread, within one budget for all requests. */
import type { Readable } from "node:stream";
import { HeadraceError } from "@headrace/sdk";

/** Bytes of bodies that are held at once over all requests. */
export class BodyBudget {
  readonly bytesMax: number;
  #held = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get heldBytes(): number {
    return this.#held;
  }

  /** @throws HeadraceError `HR_OVERLOADED` when that many more bytes do not fit */
  hold(bytes: number): void {
    if (this.#held + bytes > this.bytesMax) {
      throw new HeadraceError("HR_OVERLOADED", `the bodies under way already take ${this.#held} bytes`);
    }
    this.#held += bytes;
  }

  release(bytes: number): void {
    this.#held -= bytes;
  }
}

/** A body that counts against the budget until it is disposed. */
export interface HeldBody extends Disposable {
  /** Owns its buffer. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * Reads a request's body.
 *
 * @throws HeadraceError `HR_BODY_TOO_LARGE` above `bytesMax`, `HR_OVERLOADED` when the budget is used up
 */
export async function readBody(source: Readable, bytesMax: number, budget: BodyBudget): Promise<HeldBody> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  try {
    for await (const chunk of source as AsyncIterable<Uint8Array>) {
      if (total + chunk.byteLength > bytesMax) {
        throw new HeadraceError("HR_BODY_TOO_LARGE", `the body exceeds ${bytesMax} bytes`, { data: { bytesMax } });
      }
      budget.hold(chunk.byteLength);
      total += chunk.byteLength;
      chunks.push(chunk);
    }
  } catch (error) {
    budget.release(total);
    if (error instanceof HeadraceError) throw error;
    throw new HeadraceError("HR_BAD_REQUEST", "the body ended early", { cause: error });
  }
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  let held = true;
  return {
    bytes,
    [Symbol.dispose]: () => {
      if (held) budget.release(total);
      held = false;
    },
  };
}
