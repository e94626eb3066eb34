/** What a function keeps per key, and for how long. */
import type { StateDefinition } from "./definition.ts";
import { invalid } from "./invalid.ts";
import { type ByteSize, byteSize, type Duration, durationMs } from "./units.ts";

/** State with bounds: what {@link FunctionOptions.state} takes beside a plain function. */
export interface StateOptions<State> {
  /** Makes the state of a key that has none yet. */
  readonly initial: () => State;
  /**
   * Time to live: a key whose last event was committed this long ago is removed, and its next event begins anew. Default: keys stay.
   * A key that is touched again lives on; removing is recorded in the journal like any other change.
   */
  readonly ttl?: Duration;
  /** Largest state of one key as it is stored; default `"64KiB"`, at most `"384KiB"`. Beyond it the event fails with `HR_STATE_INVALID`. */
  readonly bytesPerKey?: ByteSize;
  /**
   * Largest state of one partition of the function, keys and values as they are stored; default `"512MiB"`. An event that would pass it fails
   * with `HR_STATE_FULL`; what makes the state smaller always passes. In memory a key takes about 350 bytes more than that.
   */
  readonly bytesPerTask?: ByteSize;
}

const bytesPerKeyMax = 384 * 1024;

/** The parts of a function's definition that its `state` option gives. @throws HR_APP_INVALID */
export function stateDefinition<State>(
  what: string,
  state: (() => State) | StateOptions<State> | undefined,
): { readonly state?: () => State; readonly stateLimits?: StateDefinition } {
  if (state === undefined) return {};
  if (typeof state === "function") return { state };
  const { initial, ttl, bytesPerKey, bytesPerTask } = state;
  if (typeof initial !== "function")
    throw invalid(`${what}: state has no \`initial\`: give a function that makes the state of a new key`);
  const perKey = bytesPerKey === undefined ? undefined : byteSize(bytesPerKey);
  if (perKey !== undefined && perKey > bytesPerKeyMax)
    throw invalid(
      `${what}: bytesPerKey ${JSON.stringify(bytesPerKey)}: at most 384KiB, the state of a key is kept in one block`,
    );
  return {
    state: initial,
    stateLimits: {
      ...(ttl !== undefined && { ttlMs: durationMs(ttl) }),
      ...(perKey !== undefined && { bytesPerKey: perKey }),
      ...(bytesPerTask !== undefined && { bytesPerTask: byteSize(bytesPerTask) }),
    },
  };
}
