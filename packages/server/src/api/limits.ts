/** Every bound of the API in one place; what happens at it is said beside it. */
export interface ApiLimits {
  /** Largest body of `POST /v1/events`; above it 413. Default 8 MiB. */
  readonly bodyBytesMax: number;
  /** Bytes of all bodies that are held at once; above it 429. Default 64 MiB. */
  readonly bodiesBytesMax: number;
  /** Connections at once; above it new ones are closed. Default 1,024. */
  readonly connectionsMax: number;
  /** Followers of streams at once; above it 429. Default 256. */
  readonly tailsMax: number;
  /** All headers of a request; above it 431. Default 16 KiB. */
  readonly headersBytesMax: number;
  /** From the first byte of a request to its last header; above it 408. Default 10 s. */
  readonly headersTimeoutMs: number;
  /** From the first byte of a request to the last of its body; above it 408. Default 30 s. */
  readonly requestTimeoutMs: number;
  /** An idle connection is closed after it. Default 10 s. */
  readonly keepAliveTimeoutMs: number;
  /** How long a stop waits for answers that are on their way. Default 1.5 s. */
  readonly stopDeadlineMs: number;
}

export const apiLimits: ApiLimits = {
  bodyBytesMax: 8 * 1024 * 1024,
  bodiesBytesMax: 64 * 1024 * 1024,
  connectionsMax: 1024,
  tailsMax: 256,
  headersBytesMax: 16 * 1024,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  keepAliveTimeoutMs: 10_000,
  stopDeadlineMs: 1_500,
};
