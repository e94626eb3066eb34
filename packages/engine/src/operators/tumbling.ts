/**
 * Tumbling windows per key. A window closes when its key's watermark passes end + lateness, or when the arrival clock, corrected for the
 * device's skew, passes end + lateness + idleAfter (DESIGN, Time). An event that comes later makes a new revision while the window is
 * still remembered. With arrival time the watermark is the clock itself.
 */
import type { AggregateDefinition, WindowDefinition } from "@headrace/sdk";
import { timeOf } from "../task/decoder.ts";
import type { Invocation, TaskEvent, TaskHandlers } from "../task/spec.ts";

/** One aggregate under way: count, sum, min and max serve all kinds. */
interface Cell {
  count: number;
  sum: number;
  min: number;
  max: number;
}
interface Window {
  cells: Record<string, Cell>;
  /** Revision that was emitted last; 0 while open. */
  revision: number;
}
interface WindowState {
  /** Greatest event time seen. */
  watermarkMs: number;
  /** Least difference between arrival and event time: the device's skew and the way. */
  skewMs: number | undefined;
  windows: Map<number, Window>;
  /** Start of the newest window that was closed and is no longer kept. */
  forgottenMs: number | undefined;
}

/** Closed windows of a key that still take late events. */
const rememberedMax = 3;

const resultOf = (aggregate: AggregateDefinition, cell: Cell): number | null => {
  switch (aggregate.kind) {
    case "count":
      return cell.count;
    case "sum":
      return cell.sum;
    case "mean":
      return cell.count > 0 ? cell.sum / cell.count : null;
    case "min":
      return cell.count > 0 ? cell.min : null;
    case "max":
      return cell.count > 0 ? cell.max : null;
    default:
      throw new Error(`unknown aggregate ${JSON.stringify(aggregate satisfies never)}`);
  }
};

/** Handlers of a tumbling window; rows go to `definition.table`. */
export const tumblingHandlers = (definition: WindowDefinition): TaskHandlers => {
  const { sizeMs, latenessMs, idleAfterMs, timeField, table } = definition;
  const aggregates = Object.entries(definition.aggregates);
  const arrivalTime = timeField === undefined;

  const emit = (start: number, window: Window, invocation: Invocation): void => {
    window.revision += 1;
    const row: Record<string, unknown> = {
      windowStart: start,
      windowEnd: start + sizeMs,
      revision: window.revision,
      op: "upsert",
    };
    for (const [name, aggregate] of aggregates) row[name] = resultOf(aggregate, window.cells[name]);
    invocation.emit(table, row);
  };
  const close = (start: number, window: Window, state: WindowState, invocation: Invocation): void => {
    emit(start, window, invocation);
    invocation.removeTimer(String(start));
    const closed = [...state.windows].filter(([, candidate]) => candidate.revision > 0).map(([at]) => at);
    for (const old of closed.sort((a, b) => a - b).slice(0, Math.max(0, closed.length - rememberedMax))) {
      state.windows.delete(old);
      state.forgottenMs = Math.max(old, state.forgottenMs ?? old);
    }
  };
  const newWindow = (): Window => ({
    cells: Object.fromEntries(aggregates.map(([name]) => [name, { count: 0, sum: 0, min: 0, max: 0 }])),
    revision: 0,
  });

  return {
    initialState: (): WindowState => ({
      watermarkMs: 0,
      skewMs: undefined,
      windows: new Map(),
      forgottenMs: undefined,
    }),
    onEvent: (event: TaskEvent, invocation) => {
      const state = invocation.state as WindowState;
      const value = event.value as Record<string, unknown>;
      const timeMs = arrivalTime ? event.arrivalTimeMs : timeOf(value?.[timeField]);
      if (timeMs === undefined)
        throw new TypeError(`field "${timeField}" is no time: ${JSON.stringify(value?.[timeField as string])}`);
      const start = Math.floor(timeMs / sizeMs) * sizeMs;
      let window = state.windows.get(start);
      if (!window) {
        // A window before that one may have had a result that a new one would replace with less.
        if (state.forgottenMs !== undefined && start <= state.forgottenMs)
          throw new RangeError(`the event is late: its window ended at ${start + sizeMs} and is no longer kept`);
        window = newWindow();
        state.windows.set(start, window);
        const skewMs = Math.min(state.skewMs ?? Number.POSITIVE_INFINITY, event.arrivalTimeMs - timeMs);
        state.skewMs = skewMs;
        const dueMs = arrivalTime ? start + sizeMs : start + sizeMs + latenessMs + idleAfterMs + Math.max(0, skewMs);
        invocation.setTimer(String(start), Math.max(0, Math.ceil(dueMs)));
      }
      for (const [name, aggregate] of aggregates) {
        const cell = window.cells[name];
        if (aggregate.kind === "count") cell.count++;
        else {
          const number = value?.[aggregate.field];
          if (typeof number !== "number" || !Number.isFinite(number)) continue;
          cell.min = cell.count === 0 || number < cell.min ? number : cell.min;
          cell.max = cell.count === 0 || number > cell.max ? number : cell.max;
          cell.count++;
          cell.sum += number;
        }
      }
      if (window.revision > 0) emit(start, window, invocation);
      if (timeMs > state.watermarkMs) {
        state.watermarkMs = timeMs;
        if (state.windows.size > 1) {
          for (const [at, open] of [...state.windows].sort(([a], [b]) => a - b)) {
            if (open.revision === 0 && at + sizeMs + latenessMs <= timeMs) close(at, open, state, invocation);
          }
        }
      }
    },
    onTimer: (name, _dueMs, invocation) => {
      const state = invocation.state as WindowState;
      const start = Number(name);
      const window = state.windows.get(start);
      if (window && window.revision === 0) close(start, window, state, invocation);
    },
  };
};
