/** What a power cut leaves of changes that were not synced: any part of them, whole pages mostly, and some torn at a sector or at any byte. */

/** A change of a file's bytes, or of its size. */
export type UnsyncedChange =
  | { readonly kind: "write"; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: "size"; readonly size: number };

const pageBytes = 4096;
const sectorBytes = 512;

/** How one power cut treats what it meets: all of it, none of it, or each by its own chance; entries of folders in their order, or each by itself. */
export const survives = (
  random: () => number,
): { entry(): boolean; parts(change: UnsyncedChange): UnsyncedChange[] } => {
  const share = ([0, 0.5, 0.9, 1] as const)[Math.floor(random() * 4)]!;
  const tearing = random() < 0.7 ? 0.3 : 0;
  const isOrdered = random() < 0.5;
  let isOver = false;
  return {
    entry: () => {
      if (isOrdered && isOver) return false;
      const isKept = random() < share;
      if (!isKept) isOver = true;
      return isKept;
    },
    parts: (change) => {
      if (change.kind === "size") return random() < share ? [change] : [];
      const parts: UnsyncedChange[] = [];
      for (let from = 0; from < change.bytes.byteLength; ) {
        const at = change.at + from;
        const to = Math.min(change.bytes.byteLength, from + pageBytes - (at % pageBytes));
        if (random() < share) parts.push({ kind: "write", at, bytes: change.bytes.subarray(from, to) });
        else if (random() < tearing) {
          const length = Math.floor(random() * (to - from));
          const kept = random() < 0.5 ? length : Math.max(0, length - ((at + length) % sectorBytes));
          if (kept > 0) parts.push({ kind: "write", at, bytes: change.bytes.subarray(from, from + kept) });
        }
        from = to;
      }
      return parts;
    },
  };
};
