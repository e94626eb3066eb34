/** GET /v1/tail/:stream: a stream's events as server-sent events. */

import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { HeadraceError } from "@headrace/sdk";
import type { FastifyInstance } from "fastify";
import { eventJson } from "./event-json.ts";
import { httpErrorOf } from "./http-errors.ts";
import type { ApiLimits } from "./limits.ts";
import { errorResponses } from "./schemas.ts";
import type { StreamReader } from "./stream-reader.ts";

/** Proxies and clients close what is silent; a comment is the smallest sign of life. */
const heartbeatMs = 15_000;

const schema = {
  tags: ["events"],
  summary: "Follow a stream as server-sent events.",
  description: [
    "Each message is one stored event: `stream`, `partition`, `writer`, `sequence`, `topic`, `device`, `client`, `timeMs`, and `value`",
    "(the payload as it came, when it is JSON) or `payload` (base64). `event: gap` names records that retention removed before they were",
    "read. Order holds inside one partition and writer. A slow reader is waited for; it slows down nobody else.",
  ].join("\n"),
  params: { type: "object", required: ["stream"], properties: { stream: { type: "string", maxLength: 255 } } },
  querystring: {
    type: "object",
    additionalProperties: false,
    properties: {
      from: { type: "string", enum: ["now", "start"], default: "now" },
      limit: { type: "integer", minimum: 1, description: "Ends after that many events." },
    },
  },
  response: {
    200: {
      description: "Never ends, unless `limit` is given.",
      content: { "text/event-stream": { schema: { type: "string" } } },
    },
    ...errorResponses(400, 401, 403, 404, 429, 503),
  },
};

/** Writes, and waits while the reader is behind. */
async function write(response: ServerResponse, text: string, signal: AbortSignal): Promise<void> {
  if (!response.write(text)) await once(response, "drain", { signal });
}

/** Adds the route. `stopping` ends all followers. */
export function addTailRoute(
  server: FastifyInstance,
  reader: StreamReader,
  limits: ApiLimits,
  stopping: AbortSignal,
): void {
  let tails = 0;

  server.get<{ Params: { stream: string }; Querystring: { from: "now" | "start"; limit?: number } }>(
    "/v1/tail/:stream",
    { schema },
    async (request, reply) => {
      const { stream } = request.params;
      const { from, limit = Number.POSITIVE_INFINITY } = request.query;
      await reader.logsOf(stream);
      if (tails >= limits.tailsMax)
        throw new HeadraceError("HR_OVERLOADED", `${tails} followers are connected already`);
      tails++;
      reply.hijack();
      const response = reply.raw;
      const gone = new AbortController();
      const signal = AbortSignal.any([gone.signal, stopping]);
      response.once("close", () => gone.abort());
      const heartbeat = setInterval(() => {
        if (!response.writableNeedDrain) response.write(":\n\n");
      }, heartbeatMs);
      try {
        response.writeHead(200, {
          "content-type": "text/event-stream; charset=utf-8",
          "cache-control": "no-store",
          // What has ended is not used again, or a stop would wait for it.
          connection: "close",
          "x-accel-buffering": "no",
        });
        let sent = 0;
        const batches = reader.follow(stream, from, signal, () => response.write(": following\n\n"));
        following: for await (const batch of batches) {
          let text = "";
          for (const entry of batch) {
            if ("gap" in entry) text += `event: gap\ndata: ${JSON.stringify(entry.gap)}\n\n`;
            else {
              text += `data: ${eventJson(entry)}\n\n`;
              if (++sent >= limit) {
                await write(response, text, signal);
                break following;
              }
            }
            // One string of at most a few blocks; a reader that is behind gets no more until it has read this.
            if (text.length > 64 * 1024) {
              await write(response, text, signal);
              text = "";
            }
          }
          if (text !== "") await write(response, text, signal);
        }
      } catch (error) {
        if (!signal.aborted) response.write(`event: error\ndata: ${JSON.stringify(httpErrorOf(error).body)}\n\n`);
      } finally {
        clearInterval(heartbeat);
        tails--;
        response.end();
      }
    },
  );
}
