/** The HTTP server: limits, who may call, errors, and the routes. */
import swagger from "@fastify/swagger";
import { HeadraceError } from "@headrace/sdk";
import fastify, { type FastifyInstance } from "fastify";
import type { Rpc } from "../threads/index.ts";
import { addClientRoutes } from "./clients.ts";
import { addDeadLetterRoutes } from "./dead-letters.ts";
import { addEventRoutes } from "./events.ts";
import { makeGuard } from "./guard.ts";
import { httpErrorOf } from "./http-errors.ts";
import type { ApiLimits } from "./limits.ts";
import { addOperationRoutes } from "./operations.ts";
import type { StreamReader } from "./stream-reader.ts";
import { addTailRoute } from "./tail.ts";

/** Bodies other than events are small. */
const otherBodyBytesMax = 256 * 1024;

export interface ServerOptions {
  readonly control: Rpc;
  readonly reader: StreamReader;
  readonly token: string;
  readonly host: string;
  readonly limits: ApiLimits;
  /** Aborts when the node stops: followers of streams end. */
  readonly stopping: AbortSignal;
}

/** Makes the server, ready to listen. */
export async function buildServer(options: ServerOptions): Promise<FastifyInstance> {
  const { control, reader, token, host, limits, stopping } = options;
  const server = fastify({
    bodyLimit: otherBodyBytesMax,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    forceCloseConnections: "idle",
    // An MQTT client id of 256 units, each percent-encoded.
    routerOptions: { maxParamLength: 4_096 },
    // Ajv's own defaults would drop unknown fields in silence.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: true } },
    http: {
      headersTimeout: limits.headersTimeoutMs,
      maxHeaderSize: limits.headersBytesMax,
      // The timeouts above are looked at this often; Node's default is 30 s.
      connectionsCheckingInterval: Math.min(1_000, limits.headersTimeoutMs),
    },
  });
  server.server.maxConnections = limits.connectionsMax;
  // Schemas describe answers; they must not cut them.
  server.setSerializerCompiler(() => (data) => JSON.stringify(data));

  server.setErrorHandler((error, _request, reply) => {
    const { statusCode, body, retryAfterSeconds } = httpErrorOf(error);
    if (statusCode === 500) console.error("api:", error);
    if (retryAfterSeconds !== undefined) reply.header("retry-after", String(retryAfterSeconds));
    return reply.code(statusCode).send(body);
  });
  server.setNotFoundHandler(({ method, url }) => {
    throw new HeadraceError(
      "HR_NOT_FOUND",
      `there is no ${method} ${url.split("?")[0]}; GET /openapi.json lists what there is`,
    );
  });
  const guard = makeGuard(token, host);
  server.addHook("onRequest", async ({ raw }) => guard(raw.headers));
  server.addHook("onSend", async (_request, reply) => {
    reply.header("x-content-type-options", "nosniff").header("cache-control", "no-store");
  });

  await server.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "Headrace", description: "The HTTP API of a Headrace node.", version: "1" },
      components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
      security: [{ token: [] }],
    },
  });
  await addEventRoutes(server, control, limits);
  addTailRoute(server, reader, limits, stopping);
  addOperationRoutes(server, control);
  addDeadLetterRoutes(server, control, reader);
  addClientRoutes(server, control);
  return server;
}
