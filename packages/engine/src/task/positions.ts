/**
 * How far a task has read, per input channel: everything below `low` is done, and so are the runs above it (handlers finish out of order).
 * The window above `low` is bounded: a task that would pass it waits.
 */
export interface ChannelPosition {
  readonly logId: number;
  readonly writer: number;
  low: number;
  /** Runs `[start, end)` above `low`, ascending and apart. */
  runs: [number, number][];
}

/** Largest distance between the low-water mark and the last event taken, in events. */
export const windowEventsMax = 65_536;

export class Positions {
  readonly #channels = new Map<string, ChannelPosition>();

  channel(logId: number, writer: number): ChannelPosition {
    const name = `${logId}/${writer}`;
    let position = this.#channels.get(name);
    if (!position) {
      position = { logId, writer, low: 0, runs: [] };
      this.#channels.set(name, position);
    }
    return position;
  }

  /** Marks `[start, end)` as done. */
  static done(position: ChannelPosition, start: number, end: number): void {
    if (end <= position.low) return;
    if (start <= position.low) {
      position.low = end;
    } else {
      const runs = position.runs;
      let at = runs.length;
      while (at > 0 && runs[at - 1][0] > start) at--;
      if (at > 0 && runs[at - 1][1] >= start) runs[at - 1][1] = Math.max(runs[at - 1][1], end);
      else runs.splice(at++, 0, [start, end]);
      while (at < runs.length && runs[at][0] <= runs[at - 1][1]) {
        runs[at - 1][1] = Math.max(runs[at - 1][1], runs[at][1]);
        runs.splice(at, 1);
      }
    }
    while (position.runs.length > 0 && position.runs[0][0] <= position.low) {
      position.low = Math.max(position.low, position.runs[0][1]);
      position.runs.shift();
    }
  }

  /** True if the event was done before: it is passed over after a recovery. */
  static isDone(position: ChannelPosition, sequence: number): boolean {
    if (sequence < position.low) return true;
    for (const [start, end] of position.runs) if (sequence >= start && sequence < end) return true;
    return false;
  }

  all(): ChannelPosition[] {
    return [...this.#channels.values()];
  }

  /** Takes over positions that were committed. */
  restore(positions: readonly ChannelPosition[]): void {
    for (const position of positions) {
      const own = this.channel(position.logId, position.writer);
      own.low = position.low;
      own.runs = position.runs.map(([start, end]) => [start, end]);
    }
  }
}
