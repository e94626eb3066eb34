/** /v1/clients: the MQTT clients of the node, page by page, one by one, and the way to end one. */
import type { FastifyInstance } from "fastify";
import type { ClientDetail, ClientQuery, ClientSummary, KickResult } from "../control.ts";
import type { Rpc } from "../threads/index.ts";
import { errorResponses } from "./schemas.ts";

const tags = ["clients"];
const pageMax = 1_000;
const reasonDefault = "ended by an operator";

const integer = { type: "integer" };
const text = { type: "string" };
const summary = {
  type: "object",
  properties: {
    clientId: text,
    state: { type: "string", enum: ["connected", "absent"] },
    identity: { ...text, description: "Who the client is, when it had to say." },
    session: { type: "string", enum: ["lasting", "clean"], description: "`clean` ends with its connection." },
    sessionExpirySeconds: integer,
    expiresAtMs: { ...integer, description: "When an absent client's session ends." },
    subscriptions: integer,
    inFlight: { ...integer, description: "QoS 1 and 2 messages to the client that it has not acknowledged." },
    queued: { ...integer, description: "Messages that wait for the client." },
    queuedBytes: integer,
    unacknowledged: { ...integer, description: "QoS 1 and 2 messages of the client whose end is due." },
    connection: {
      type: "object",
      properties: {
        listener: text,
        address: { ...text, description: "`address:port`" },
        protocol: { type: "string", enum: ["3.1.1", "5.0"] },
        keepAliveSeconds: integer,
        connectedAtMs: integer,
        lastPacketAtMs: integer,
        messagesIn: { ...integer, description: "PUBLISH packets from the client." },
        messagesOut: { ...integer, description: "PUBLISH packets to the client." },
        bytesIn: integer,
        bytesOut: integer,
      },
    },
  },
};
const detail = {
  ...summary,
  properties: {
    ...summary.properties,
    filters: {
      type: "array",
      items: {
        type: "object",
        properties: {
          filter: text,
          qos: integer,
          noLocal: { type: "boolean" },
          retainAsPublished: { type: "boolean" },
          identifier: integer,
        },
      },
    },
  },
};
/** Ids are any text of at most 256 UTF-16 units; a URL cannot hold the paths `.` and `..`. */
const idParams = { type: "object", required: ["id"], properties: { id: { type: "string", maxLength: 256 } } };
const idQuery = {
  id: { type: "string", maxLength: 256, description: "The id, where a path cannot hold it: `.` and `..`." },
};

interface ById {
  Params: { id: string };
  Querystring: { id?: string };
}

/** Adds the routes. */
export function addClientRoutes(server: FastifyInstance, control: Rpc): void {
  server.get<{ Querystring: ClientQuery }>(
    "/v1/clients",
    {
      schema: {
        tags,
        summary: "List MQTT clients by id, and lasting sessions that nobody is connected to.",
        querystring: {
          type: "object",
          additionalProperties: false,
          properties: {
            limit: { type: "integer", minimum: 1, maximum: pageMax, default: 100 },
            after: { type: "string", maxLength: 256, description: "`next` of the page before." },
            contains: { type: "string", maxLength: 256, description: "Text that the id contains." },
            state: { type: "string", enum: ["connected", "absent"] },
            protocol: { type: "string", enum: ["3.1.1", "5.0"] },
            address: { type: "string", maxLength: 64, description: "IP address of the client." },
            listener: { type: "string", maxLength: 64 },
          },
        },
        response: {
          200: {
            type: "object",
            properties: {
              clients: { type: "array", items: summary },
              next: { type: "string", description: "Absent on the last page." },
            },
          },
          ...errorResponses(400, 401, 403, 503),
        },
      },
    },
    async ({ query }) => {
      // One more than asked for tells whether there is another page.
      const found = (await control.call("clients", [{ ...query, limit: query.limit + 1 }])) as ClientSummary[];
      const clients = found.slice(0, query.limit);
      return { clients, ...(found.length > query.limit && { next: clients.at(-1)?.clientId }) };
    },
  );

  server.get<ById>(
    "/v1/clients/:id",
    {
      schema: {
        tags,
        summary: "One MQTT client with its subscriptions.",
        params: idParams,
        querystring: { type: "object", additionalProperties: false, properties: idQuery },
        response: { 200: detail, ...errorResponses(400, 401, 403, 404, 503) },
      },
    },
    async ({ params, query }) => (await control.call("client", [query.id ?? params.id])) as ClientDetail,
  );

  server.delete<ById & { Querystring: { reason: string; session: boolean } }>(
    "/v1/clients/:id",
    {
      schema: {
        tags,
        summary:
          "End a client's connection (reason code 0x98). It may come back; its session goes on unless it is ended too.",
        params: idParams,
        querystring: {
          type: "object",
          additionalProperties: false,
          properties: {
            ...idQuery,
            reason: {
              type: "string",
              maxLength: 256,
              default: reasonDefault,
              description: "Told to an MQTT 5 client.",
            },
            session: { type: "boolean", default: false, description: "End the session, with what waits in it." },
          },
        },
        response: {
          200: {
            type: "object",
            properties: { disconnected: { type: "boolean" }, sessionEnded: { type: "boolean" } },
          },
          ...errorResponses(400, 401, 403, 404, 503),
        },
      },
    },
    async ({ params, query: { id = params.id, reason, session } }) =>
      (await control.call("kickClient", [id, { reason, endSession: session }])) as KickResult,
  );
}
