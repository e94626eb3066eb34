/**
 * How large the write-ahead log may grow when its segments are not rewritten into history as fast as they fill, or not at all: nothing new is taken in
 * beyond the bound, and what is there is worked off. Tasks go on committing what was accepted, up to twice the bound, so that they are not restarted for
 * what is no fault of theirs.
 */
import { type BlockHeader, blockKind } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";

/** A start reads what is not rewritten: this much in some seconds. */
export const walBytesMaxDefault = 4 * 1024 ** 3;

const isOwed = ({ kind }: BlockHeader): boolean => kind === blockKind.commit || kind === blockKind.control;

/** Why a group is not taken; undefined when it is. @param headers of an append; undefined for input */
export const beyondBound = (
  walBytes: number,
  walBytesMax: number,
  headers?: readonly BlockHeader[],
): HeadraceError | undefined => {
  if (walBytes <= walBytesMax) return undefined;
  if (headers?.some(isOwed) && walBytes <= 2 * walBytesMax) return undefined;
  return new HeadraceError(
    "HR_LOG_BEHIND",
    `the write-ahead log has ${walBytes} bytes, its bound is ${walBytesMax}: segments are not rewritten into history as fast as they fill`,
    { data: { walBytes, walBytesMax } },
  );
};
