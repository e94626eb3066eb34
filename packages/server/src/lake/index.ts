/**
 * The lake: streams in Parquet files, and SQL over them.
 *
 * `worker.ts` is a thread: `writer.ts` follows the logs into a `tail.ts` per stream; `store.ts` turns tails into files (`parquet.ts`, which reads
 * blocks through `row-source.ts`) and says so in the `manifest.ts`. `query-client.ts` owns the `query-process.ts`. `open.ts` joins the two,
 * `supervised.ts` opens the lake again when it has failed.
 */

export { copyLake } from "./copy.ts";
export type { Lake, LakeStats, LakeStream } from "./options.ts";
export { type SupervisedLake, superviseLake } from "./supervised.ts";
export { verifyLake } from "./verify.ts";
