/**
 * Bytes that live until the next commit has taken them: rows and effects. An array of its own costs V8 about a microsecond (its memory lies
 * outside of the heap and has to be freed by the garbage collector), a view of a shared one a fifth of that. Small chunks, so that the little
 * that lives longer, in an asynchronous invocation that waits, does not hold on to much.
 */
const chunkBytes = 8 * 1024;
let chunk = new Uint8Array(chunkBytes);
let used = 0;

/** Room for `byteLength` bytes, not cleared; for what is short-lived only. */
export const transientBytes = (byteLength: number): Uint8Array => {
  if (byteLength > chunkBytes / 4) return new Uint8Array(byteLength);
  if (used + byteLength > chunkBytes) {
    chunk = new Uint8Array(chunkBytes);
    used = 0;
  }
  const start = used;
  used += byteLength;
  return chunk.subarray(start, used);
};

/** A copy of `bytes[start, end)`; for what is short-lived only. */
export const transientCopy = (bytes: Uint8Array, start = 0, end = bytes.byteLength): Uint8Array => {
  const copy = transientBytes(end - start);
  copy.set(bytes.subarray(start, end));
  return copy;
};
