/** JSON as tasks write it: rows of derived streams, effects, failures. */
import { HeadraceError } from "@headrace/sdk";
import { utf8Transient } from "../block/utf8.ts";

/** Largest payload that is emitted, bytes. */
export const outputBytesMax = 256 * 1024;
/** Half of what may be emitted: the outbox keeps a command in its state and tells of it in events, with more around it. */
export const effectBytesMax = 128 * 1024;

const plainBigint = (_name: string, item: unknown): unknown => {
  if (typeof item !== "bigint") return item;
  return item >= -9007199254740991n && item <= 9007199254740991n ? Number(item) : item.toString();
};

/** A replacer makes JSON.stringify several times slower, so it comes in only where a bigint is met. */
export const stringify = (value: unknown): string | undefined => {
  try {
    return JSON.stringify(value);
  } catch {
    return JSON.stringify(value, plainBigint);
  }
};

/** JSON as it goes into a derived stream, until the commit has taken it; bigint becomes a number when it is safe, else text. */
export const encodeJson = (value: unknown, bytesMax = outputBytesMax): Uint8Array => {
  const text = stringify(value);
  if (text === undefined)
    throw new HeadraceError("HR_STATE_INVALID", `a ${typeof value} cannot be emitted: emit plain data`);
  const bytes = utf8Transient(text);
  checkSize(bytes, bytesMax);
  return bytes;
};

/** @throws HR_STATE_INVALID for a payload beyond `bytesMax` */
export const checkSize = (bytes: Uint8Array, bytesMax = outputBytesMax): void => {
  if (bytes.byteLength <= bytesMax) return;
  throw new HeadraceError(
    "HR_STATE_INVALID",
    `an emitted value of ${bytes.byteLength} bytes exceeds the limit of ${bytesMax}`,
  );
};
