/** POST /v1/events: one event, a batch, or any bytes; answered when they are durable. */
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { HeadraceError } from "@headrace/sdk";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { SubmittedEvent } from "../control.ts";
import type { Rpc } from "../threads/index.ts";
import { BodyBudget, type HeldBody, readBody } from "./body.ts";
import type { ApiLimits } from "./limits.ts";
import { errorResponses } from "./schemas.ts";
import { type ByteRange, splitJson, splitLimits, splitLines } from "./split-json.ts";

interface Query {
  topic?: string;
  stream?: string;
  device?: string;
}

const epochMax = 2 ** 32 - 1;
const idempotencyKeyLengthMax = 255;
const ownHeaders = new Set(["hr-epoch", "hr-seq"]);
/** They are stored with each event of a batch. */
const userPropertiesLengthMax = 1024;

const schema = {
  tags: ["events"],
  summary: "Store events; 200 only when they are durable.",
  description: [
    "`application/json`: one value is one event, an array is one event per element. `application/x-ndjson`: one event per line.",
    "Any other content type: the body is one event, whatever it holds.",
    "A body is stored whole or not at all. It is split by brackets, quotes and commas; numbers, literals and what stands between",
    "the values inside an event are not checked here: such an event is stored and shows up in the stream `rejected`.",
    "`hr-epoch` and `hr-seq` let the node recognise repeats of a device (element i of an array has `hr-seq` + i); other headers",
    "`hr-…` become headers of the event. `idempotency-key` makes a repeated request store nothing and get the first answer, with `repeated` true (the last 10,000 keys are kept).",
  ].join("\n"),
  consumes: ["application/json", "application/x-ndjson", "application/octet-stream"],
  querystring: {
    type: "object",
    additionalProperties: false,
    properties: {
      topic: {
        type: "string",
        minLength: 1,
        maxLength: 1024,
        description: "As a device would publish on; not with `stream`.",
      },
      stream: {
        type: "string",
        minLength: 1,
        maxLength: 255,
        description: "Names the stream instead; takes `device`.",
      },
      device: { type: "string", minLength: 1, maxLength: 255 },
    },
  },
  headers: {
    type: "object",
    properties: {
      "hr-epoch": { type: "string", pattern: "^\\d+$", description: "0 to 2^32 - 1; 0 when absent." },
      "hr-seq": { type: "string", pattern: "^\\d+$", description: "0 to 2^53 - 1." },
      "idempotency-key": { type: "string", minLength: 1, maxLength: idempotencyKeyLengthMax },
    },
  },
  response: {
    200: {
      description: "Everything is on stable storage.",
      type: "object",
      required: ["stored", "repeated"],
      properties: {
        stored: { type: "integer", description: "Events stored by this request." },
        repeated: { type: "boolean", description: "True when the request was a repeat and stored nothing." },
      },
    },
    ...errorResponses(400, 401, 403, 404, 413, 429, 503),
  },
};

/** A header that is a whole number, within its range. */
function wholeNumber(headers: IncomingHttpHeaders, name: string, max: number): number | undefined {
  const text = headers[name];
  if (text === undefined) return undefined;
  const value = typeof text === "string" && /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= max)) throw new HeadraceError("HR_BAD_REQUEST", `header ${name}: a whole number from 0 to ${max}`);
  return value;
}

function userPropertiesOf(headers: IncomingHttpHeaders): [string, string][] {
  const properties: [string, string][] = [];
  let length = 0;
  for (const [name, value] of Object.entries(headers)) {
    if (!name.startsWith("hr-") || ownHeaders.has(name)) continue;
    const text = String(value);
    length += name.length + text.length;
    properties.push([name, text]);
  }
  if (length > userPropertiesLengthMax) {
    throw new HeadraceError("HR_BAD_REQUEST", `the headers hr-… exceed ${userPropertiesLengthMax} characters`);
  }
  return properties;
}

function rangesOf(bytes: Uint8Array, contentType: string): readonly ByteRange[] {
  if (contentType === "application/json" || contentType.endsWith("+json")) return splitJson(bytes);
  if (contentType === "application/x-ndjson") return splitLines(bytes);
  if (bytes.byteLength > splitLimits.valueBytesMax) {
    throw new HeadraceError(
      "HR_EVENT_TOO_LARGE",
      `an event of ${bytes.byteLength} bytes exceeds ${splitLimits.valueBytesMax}`,
    );
  }
  return [{ start: 0, end: bytes.byteLength }];
}

function eventsOf(bytes: Uint8Array, query: Query, headers: IncomingHttpHeaders): SubmittedEvent[] {
  const { topic, stream, device } = query;
  if ((topic === undefined) === (stream === undefined)) {
    throw new HeadraceError("HR_BAD_REQUEST", "say where to: exactly one of ?topic= and ?stream=");
  }
  const deviceEpoch = wholeNumber(headers, "hr-epoch", epochMax);
  const firstSequence = wholeNumber(headers, "hr-seq", Number.MAX_SAFE_INTEGER);
  if (deviceEpoch !== undefined && firstSequence === undefined) {
    throw new HeadraceError("HR_BAD_REQUEST", "header hr-epoch: needs hr-seq beside it");
  }
  const given = (headers["content-type"] ?? "application/octet-stream").split(";")[0]!.trim().toLowerCase();
  const contentType = given === "application/x-ndjson" ? "application/json" : given;
  const userProperties = userPropertiesOf(headers);
  return rangesOf(bytes, given).map(({ start, end }, index) => ({
    ...(topic !== undefined && { topic }),
    ...(stream !== undefined && { stream }),
    ...(device !== undefined && { device }),
    payload: bytes.subarray(start, end),
    contentType,
    ...(userProperties.length > 0 && { userProperties }),
    ...(firstSequence !== undefined && { deviceEpoch: deviceEpoch ?? 0, deviceSequence: firstSequence + index }),
  }));
}

/** Adds the route in a scope of its own, whose bodies are bytes. */
export async function addEventRoutes(server: FastifyInstance, control: Rpc, limits: ApiLimits): Promise<void> {
  const budget = new BodyBudget(limits.bodiesBytesMax);
  await server.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", (_request: FastifyRequest, payload: IncomingMessage) =>
      readBody(payload, limits.bodyBytesMax, budget),
    );
    // Not in the handler, which is not reached when a query parameter is refused.
    scope.addHook("onResponse", async ({ body }) => (body as HeldBody | undefined | null)?.[Symbol.dispose]());
    scope.post<{ Querystring: Query }>("/v1/events", { schema }, async (request) => {
      const body = request.body as HeldBody | undefined | null;
      if (!body) throw new HeadraceError("HR_BAD_REQUEST", "the body is empty");
      const { headers } = request.raw;
      const events = eventsOf(body.bytes, request.query, headers);
      const key = headers["idempotency-key"];
      if (events.length === 0) return { stored: 0, repeated: false };
      return await control.call("submit", [events, typeof key === "string" ? key : undefined], [body.bytes.buffer]);
    });
  });
}
