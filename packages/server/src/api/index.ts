/**
 * The HTTP API of a node, in a thread of its own (the control thread).
 *
 *   api.ts          startApi: the thread's owner            guard.ts        who may call: token, host and origin
 *   thread.ts       the thread: token, listen, stop         http-errors.ts  errors of the catalogue as HTTP answers
 *   server.ts       fastify with its limits and routes      body.ts         bodies within one memory budget
 *   events.ts       POST /v1/events                         split-json.ts   where the values of a body start and end
 *   tail.ts         GET /v1/tail/:stream                    stream-reader.ts events of a stream by position
 *   dead-letters.ts /v1/dead-letters                        operations.ts   status, metrics, query, OpenAPI document
 */
export { type Api, startApi } from "./api.ts";
export type { ApiLimits } from "./limits.ts";
