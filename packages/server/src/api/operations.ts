/** Status, metrics, queries and the OpenAPI document. */
import type { FastifyInstance } from "fastify";
import type { QueryResult } from "../control.ts";
import type { Rpc } from "../threads/index.ts";
import { errorResponses } from "./schemas.ts";

const rowsMax = 100_000;
const timeoutMsMax = 300_000;

/** A value of a result as JSON has it: integers beyond 2^53 and decimals as text, so that no digit is lost; bytes as base64. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [String(key), plain(item)]));
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
  }
  return value;
}

/** Adds the routes. */
export function addOperationRoutes(server: FastifyInstance, control: Rpc): void {
  server.get(
    "/v1/status",
    {
      schema: {
        tags: ["node"],
        summary: "What the node runs and how it is doing.",
        response: { 200: { type: "object", additionalProperties: true }, ...errorResponses(401, 403, 503) },
      },
    },
    () => control.call("status", []),
  );

  server.get(
    "/metrics",
    {
      schema: {
        tags: ["node"],
        summary: "Metrics for Prometheus.",
        response: {
          200: { description: "Text format.", content: { "text/plain": { schema: { type: "string" } } } },
          ...errorResponses(401, 403, 503),
        },
      },
    },
    async (_request, reply) => {
      const text = await control.call("metrics", []);
      return reply.type("text/plain; version=0.0.4; charset=utf-8").send(text);
    },
  );

  server.post<{ Body: { sql: string; rowsMax?: number; timeoutMs?: number } }>(
    "/v1/query",
    {
      schema: {
        tags: ["query"],
        summary: "Ask with one SELECT over streams and tables.",
        body: {
          type: "object",
          required: ["sql"],
          additionalProperties: false,
          properties: {
            sql: { type: "string", minLength: 1, maxLength: 100_000 },
            rowsMax: { type: "integer", minimum: 1, maximum: rowsMax },
            timeoutMs: { type: "integer", minimum: 1, maximum: timeoutMsMax },
          },
        },
        response: {
          200: {
            type: "object",
            properties: {
              columns: {
                type: "array",
                items: { type: "object", properties: { name: { type: "string" }, type: { type: "string" } } },
              },
              rows: { type: "array", items: { type: "array", items: {} } },
              truncated: { type: "boolean", description: "More rows exist than `rowsMax`." },
              elapsedMs: { type: "number" },
            },
          },
          ...errorResponses(400, 401, 403, 422, 429, 503),
        },
      },
    },
    async ({ body: { sql, ...options } }) => {
      const result = (await control.call("query", [sql, options])) as QueryResult;
      return { ...result, rows: result.rows.map((row) => row.map(plain)) };
    },
  );

  server.get("/openapi.json", { schema: { hide: true } }, async () => server.swagger());
}
