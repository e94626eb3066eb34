/** /v1/dead-letters: events whose handler failed, read from their stream; redriving is the node's. */

import { HeadraceError, systemStreams } from "@headrace/sdk";
import type { FastifyInstance } from "fastify";
import type { Rpc } from "../threads/index.ts";
import { jsonOf } from "./event-json.ts";
import { errorResponses } from "./schemas.ts";
import type { StoredEvent, StreamReader } from "./stream-reader.ts";

const stream = systemStreams.deadLetters;
const tags = ["dead letters"];
const idParams = {
  type: "object",
  required: ["id"],
  properties: {
    id: { type: "string", pattern: "^\\d+\\.\\d+\\.\\d+$", description: "`partition.writer.sequence`, as listed." },
  },
};

interface Place {
  readonly partition: number;
  readonly writer: number;
  readonly sequence: number;
}

function placeOf(id: string): Place {
  const [partition = 0, writer = 0, sequence = 0] = id.split(".").map(Number);
  return { partition, writer, sequence };
}

/** The dead letter as a plain object; what is too long for a list is left out of it. */
function letterOf(event: StoredEvent, whole: boolean): Record<string, unknown> {
  const { partition, writer, sequence, device, timeMs, payload } = event;
  const id = `${partition}.${writer}.${sequence}`;
  const value: unknown = JSON.parse(jsonOf(payload) ?? "null");
  const letter = typeof value === "object" && value !== null ? (value as Record<string, unknown>) : { value };
  if (whole) return { id, device, timeMs, ...letter };
  const { error, payload: _payload, encoding: _encoding, stateBefore: _state, ...rest } = letter;
  const { name, message } = (error ?? {}) as { name?: unknown; message?: unknown };
  return { id, device, timeMs, ...rest, error: { name, message } };
}

/** Adds the routes. */
export function addDeadLetterRoutes(server: FastifyInstance, control: Rpc, reader: StreamReader): void {
  const letter = { type: "object", additionalProperties: true };

  server.get<{ Querystring: { limit: number } }>(
    "/v1/dead-letters",
    {
      schema: {
        tags,
        summary: "List dead letters, newest first, without payload, stack and state.",
        querystring: {
          type: "object",
          additionalProperties: false,
          properties: { limit: { type: "integer", minimum: 1, maximum: 200, default: 50 } },
        },
        response: {
          200: { type: "object", properties: { deadLetters: { type: "array", items: letter } } },
          ...errorResponses(400, 401, 403, 503),
        },
      },
    },
    async ({ query }) => {
      const events = await reader.newest(stream, query.limit);
      return { deadLetters: events.map((event) => letterOf(event, false)) };
    },
  );

  server.get<{ Params: { id: string } }>(
    "/v1/dead-letters/:id",
    {
      schema: {
        tags,
        summary: "One dead letter with payload, stack and the state before it.",
        params: idParams,
        response: { 200: letter, ...errorResponses(400, 401, 403, 404, 503) },
      },
    },
    async ({ params }) => letterOf(await reader.one(stream, placeOf(params.id)), true),
  );

  server.post<{ Params: { id: string } }>(
    "/v1/dead-letters/:id/redrive",
    {
      schema: {
        tags,
        summary: "Put the event back into its stream, behind everything that came since.",
        params: idParams,
        response: {
          200: { type: "object", properties: { stored: { type: "integer" } } },
          ...errorResponses(400, 401, 403, 404, 429, 503),
        },
      },
    },
    async ({ params }) => {
      const place = placeOf(params.id);
      await reader.one(stream, place);
      const result = await control.call("redrive", [place.sequence, place]);
      if (result === undefined)
        throw new HeadraceError("HR_UNAVAILABLE", "the node did not say whether it stored the event");
      return result;
    },
  );
}
