/** Pieces of the JSON schemas that the OpenAPI document is made of. */

const descriptions: Readonly<Record<number, string>> = {
  400: "The request is malformed.",
  401: "No valid token.",
  403: "Foreign host or origin.",
  404: "There is no such thing.",
  413: "Too large; nothing was stored.",
  422: "The query exceeded its limits.",
  429: "Overloaded, or no disk space or file descriptor is left; nothing was stored, send again after Retry-After.",
  503: "The node cannot answer now.",
};

const errorSchema = {
  type: "object",
  required: ["error"],
  properties: {
    error: {
      type: "object",
      required: ["code", "message", "action"],
      properties: {
        code: { type: "string", description: "Stable, see the error reference." },
        message: { type: "string" },
        action: { type: "string", description: "What to do." },
        data: { type: "object", additionalProperties: true },
      },
    },
  },
};

/** Responses with the error body. */
export const errorResponses = (...codes: number[]): Record<number, object> =>
  Object.fromEntries(codes.map((code) => [code, { description: descriptions[code], ...errorSchema }]));
