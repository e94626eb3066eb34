/** Decodes text out of blocks by Node's own decoder, wrapping each block's bytes once. */
export const blockText = (): ((bytes: Uint8Array, start: number, end: number) => string) => {
  let last: Uint8Array | undefined;
  let buffer: Buffer = Buffer.alloc(0);
  return (bytes, start, end) => {
    if (bytes !== last) {
      last = bytes;
      buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    return buffer.toString("utf8", start, end);
  };
};
