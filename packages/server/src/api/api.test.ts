/**
 * Goal: the API stores whole bodies or nothing, answers in the catalogue's words, and lets nobody in without the token.
 * Method: the real thread over real HTTP; the node behind it is a fake that answers the Control contract, the log is real.
 */
import { statSync } from "node:fs";
import { connect } from "node:net";
import { HeadraceError } from "@headrace/sdk";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventsFrom, startTestNode, type TestNode } from "../../test/api-node.ts";

let node: TestNode;
beforeAll(async () => {
  node = await startTestNode();
});
afterAll(() => node[Symbol.asyncDispose]());

const json = { "content-type": "application/json" };
const textOf = (payload: Uint8Array): string => new TextDecoder().decode(payload);
const codeOf = async (response: Response): Promise<[number, string]> => {
  const { error } = (await response.json()) as { error: { code: string; message: string; action: string } };
  expect(error.action).not.toBe("");
  expect(JSON.stringify(error)).not.toContain("node_modules");
  return [response.status, error.code];
};
const post = (
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = json,
  query = "?topic=pumps/p1",
): Promise<Response> => node.call(`/v1/events${query}`, { method: "POST", body, headers });

/** Sends bytes as they are and reads until the other side closes or `waitMs` is over. */
const raw = (text: string, { port = node.api.port, waitMs = 3000 } = {}): Promise<string> =>
  new Promise((resolve) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    const timer = setTimeout(() => socket.destroy(), waitMs);
    socket.on("data", (chunk) => {
      answer += chunk.toString("latin1");
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(answer);
    });
  });

describe("POST /v1/events", () => {
  test("one value is one event, stored as the bytes that came", async () => {
    const response = await post(' {"temperature": 61.50, "n": 12345678901234567890} ');
    expect([response.status, await response.json()]).toEqual([200, { stored: 1, repeated: false }]);
    const [event] = node.submitted.at(-1)?.events ?? [];
    expect(textOf(event!.payload)).toBe('{"temperature": 61.50, "n": 12345678901234567890}');
    expect(event).toMatchObject({ topic: "pumps/p1", contentType: "application/json" });
  });

  test("an array is one event per element, with sequences that count up", async () => {
    const headers = { ...json, "hr-epoch": "3", "hr-seq": "41", "hr-site": "north", "idempotency-key": "k1" };
    const response = await post('[{"a":1},{"a":2}]', headers, "?stream=readings&device=p1");
    expect(await response.json()).toEqual({ stored: 2, repeated: false });
    const { events, idempotencyKey } = node.submitted.at(-1)!;
    expect(idempotencyKey).toBe("k1");
    expect(events.map(({ payload, ...rest }) => ({ ...rest, text: textOf(payload) }))).toEqual(
      [1, 2].map((a) => ({
        stream: "readings",
        device: "p1",
        contentType: "application/json",
        userProperties: [["hr-site", "north"]],
        deviceEpoch: 3,
        deviceSequence: 40 + a,
        text: `{"a":${a}}`,
      })),
    );
  });

  test("lines are one event each; other bytes are one event", async () => {
    expect(await (await post('{"a":1}\n[2]\n', { "content-type": "application/x-ndjson" })).json()).toMatchObject({
      stored: 2,
    });
    expect(await (await post(new Uint8Array([0, 255]), { "content-type": "image/png" })).json()).toMatchObject({
      stored: 1,
    });
    expect(node.submitted.at(-1)?.events[0]).toMatchObject({
      contentType: "image/png",
      payload: new Uint8Array([0, 255]),
    });
  });

  test("what does not split is refused with the byte, and nothing of it is stored", async () => {
    const before = node.submitted.length;
    const response = await post('[{"a":1},{"a":]');
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: "HR_BATCH_NOT_JSON", data: { offset: 14 } } });
    expect(node.submitted.length).toBe(before);
  });

  test.each([
    ["no address", "", {}, "HR_BAD_REQUEST"],
    ["two addresses", "?topic=a&stream=b", {}, "HR_BAD_REQUEST"],
    ["an unknown parameter", "?topic=a&devise=b", {}, "HR_BAD_REQUEST"],
    ["a sequence that is none", "?topic=a", { "hr-seq": "-1" }, "HR_BAD_REQUEST"],
    ["an epoch without sequence", "?topic=a", { "hr-epoch": "1" }, "HR_BAD_REQUEST"],
  ])("%s is a bad request", async (_what, query, headers, code) => {
    expect(await codeOf(await post("1", { ...json, ...headers }, query))).toEqual([400, code]);
  });

  test("an empty body is a bad request", async () => {
    expect(await codeOf(await node.call("/v1/events?topic=a", { method: "POST" }))).toEqual([400, "HR_BAD_REQUEST"]);
  });

  test("too large a body or an event is refused", async () => {
    expect(await codeOf(await post("x".repeat(9 * 1024 * 1024)))).toEqual([413, "HR_BODY_TOO_LARGE"]);
    expect(await codeOf(await post(`["${"x".repeat(300 * 1024)}"]`))).toEqual([413, "HR_EVENT_TOO_LARGE"]);
    expect(await codeOf(await post("x".repeat(300 * 1024), { "content-type": "a/b" }))).toEqual([
      413,
      "HR_EVENT_TOO_LARGE",
    ]);
  });

  test.each([
    ["HR_OVERLOADED", 429, "1"],
    ["HR_DISK_FULL", 429, "1"],
    ["HR_OUT_OF_DESCRIPTORS", 429, "1"],
    ["HR_NOT_FOUND", 404, null],
    ["HR_LOG_FAILED", 503, null],
  ] as const)("%s of the node is %i, Retry-After %s", async (code, statusCode, retryAfter) => {
    node.refuseWith = new HeadraceError(code, "planted");
    const response = await post("1");
    node.refuseWith = undefined;
    expect(response.headers.get("retry-after")).toBe(retryAfter);
    expect(await codeOf(response)).toEqual([statusCode, code]);
  });

  test("bodies of all requests share one bound, which refusals give back", async () => {
    await using small = await startTestNode({ bodiesBytesMax: 1000 });
    const send = (bytes: number, query = "?topic=a"): Promise<Response> =>
      small.call(`/v1/events${query}`, { method: "POST", body: "1".repeat(bytes), headers: json });
    expect(await codeOf(await send(1001))).toEqual([429, "HR_OVERLOADED"]);
    for (let i = 0; i < 3; i++) expect((await send(900, "")).status).toBe(400);
    for (let i = 0; i < 3; i++) expect((await send(900)).status).toBe(200);
  });
});

describe("who may call", () => {
  test("the token is random, kept, and readable by its owner only", async () => {
    expect(Buffer.from(node.token, "base64url")).toHaveLength(32);
    expect(statSync(node.tokenFile).mode & 0o777).toBe(0o600);
  });

  test.each(["/v1/status", "/v1/tail/readings", "/metrics", "/openapi.json", "/nothing"])(
    "%s needs the token",
    async (path) => {
      expect(await codeOf(await fetch(`${node.api.url}${path}`))).toEqual([401, "HR_API_UNAUTHORIZED"]);
      const wrong = { authorization: `Bearer ${node.token.slice(1)}` };
      expect(await codeOf(await fetch(`${node.api.url}${path}`, { headers: wrong }))).toEqual([
        401,
        "HR_API_UNAUTHORIZED",
      ]);
      expect((await fetch(`${node.api.url}${path}?token=${node.token}`)).status).toBe(401);
    },
  );

  const withHeaders = (...lines: string[]): Promise<string> =>
    raw(
      ["GET /v1/status HTTP/1.1", `Authorization: Bearer ${node.token}`, "Connection: close", ...lines, "", ""].join(
        "\r\n",
      ),
    );

  test("a foreign host name or web page is refused although it knows the token (DNS rebinding)", async () => {
    expect(await withHeaders("Host: evil.example")).toMatch(/^HTTP\/1.1 403 /);
    expect(await withHeaders("Host: localhost:1", "Origin: http://evil.example")).toMatch(/^HTTP\/1.1 403 /);
    expect(await withHeaders("Host: localhost:1", "Origin: null")).toMatch(/^HTTP\/1.1 403 /);
    expect(await withHeaders("Host: localhost:1", "Origin: http://localhost:1")).toMatch(/^HTTP\/1.1 200 /);
    expect(await withHeaders("Host: [::1]:80")).toMatch(/^HTTP\/1.1 200 /);
  });
});

describe("GET /v1/tail/:stream", () => {
  test("from the start, then live, across partitions and writers; a payload that is no JSON comes as base64", async () => {
    await node.store("stream/temperatures/0", 1, [{ key: "p1", payload: '{"t":\n1e400}', topic: "pumps/p1" }]);
    await node.store("stream/temperatures/1", 2, [{ key: "p2", payload: new Uint8Array([255, 0]) }]);
    const response = await node.call("/v1/tail/temperatures?from=start&limit=3");
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    const reading = eventsFrom(response, 3);
    await node.store("stream/temperatures/0", 1, [{ key: "p1", payload: "2" }]);
    expect((await reading).map(({ data }) => data)).toEqual([
      expect.objectContaining({
        stream: "temperatures",
        partition: 0,
        writer: 1,
        sequence: 0,
        topic: "pumps/p1",
        device: "p1",
      }),
      expect.objectContaining({ partition: 1, writer: 2, sequence: 0, payload: "/wA=", timeMs: 1_700_000_000_000 }),
      expect.objectContaining({ partition: 0, writer: 1, sequence: 1, value: 2 }),
    ]);
  });

  test("from now on only what comes after", async () => {
    await node.store("stream/later/0", 1, [{ key: "a", payload: "1" }]);
    const response = await node.call("/v1/tail/later?limit=1");
    const reading = eventsFrom(response, 1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await node.store("stream/later/0", 1, [{ key: "a", payload: "2" }]);
    expect((await reading)[0]?.data).toMatchObject({ sequence: 1, value: 2 });
  });

  test("a stream that holds nothing yet can be followed; an unknown one cannot", async () => {
    expect(await codeOf(await node.call("/v1/tail/unknown"))).toEqual([404, "HR_NOT_FOUND"]);
    const reading = eventsFrom(await node.call("/v1/tail/readings?limit=1"), 1);
    await node.store("stream/readings/0", 1, [{ key: "a", payload: "1" }]);
    expect((await reading)[0]?.data).toMatchObject({ sequence: 0, value: 1 });
  });

  test("a reader that does not read holds back itself only", async () => {
    const payload = JSON.stringify("x".repeat(1000));
    const batch = Array.from({ length: 200 }, () => ({ key: "a", payload }));
    for (let i = 0; i < 100; i++) await node.store("stream/much/0", 1, batch);
    const request = `GET /v1/tail/much?from=start HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${node.token}\r\n\r\n`;
    const socket = connect(node.api.port, "127.0.0.1", () => socket.write(request));
    socket.pause();
    const started = performance.now();
    const events = await eventsFrom(await node.call("/v1/tail/much?from=start&limit=20000"), 20_000);
    expect(events.map(({ data }) => (data as { sequence: number }).sequence)).toEqual(events.map((_, index) => index));
    expect(events).toHaveLength(20_000);
    expect(performance.now() - started).toBeLessThan(10_000);
    socket.destroy();
  });
});

describe("the other routes", () => {
  test("status, metrics and queries are the node's; integers keep their digits", async () => {
    expect(await (await node.call("/v1/status")).json()).toMatchObject({ application: "factory", stored: 3 });
    const metrics = await node.call("/metrics");
    expect([metrics.headers.get("content-type"), await metrics.text()]).toEqual([
      "text/plain; version=0.0.4; charset=utf-8",
      "headrace_stored_total 3\n",
    ]);
    const query = (sql: string): Promise<Response> =>
      node.call("/v1/query", { method: "POST", headers: json, body: JSON.stringify({ sql, rowsMax: 5 }) });
    expect(await (await query("select 1")).json()).toMatchObject({
      rows: [["1152921504606846976", 7, "1970-01-01T00:00:00.000Z", "NaN", "AQ=="]],
    });
    expect(await codeOf(await query("drop table a"))).toEqual([400, "HR_QUERY_NOT_SELECT"]);
    const failed = await query("select boom");
    expect(failed.status).toBe(500);
    expect(await failed.text()).not.toContain("secret");
    expect(await codeOf(await node.call("/v1/query", { method: "POST", headers: json, body: "{" }))).toEqual([
      400,
      "HR_BAD_REQUEST",
    ]);
  });

  test("dead letters are listed newest first, shown whole, and redriven", async () => {
    const letter = (n: number): string =>
      JSON.stringify({
        function: "f",
        error: { name: "Error", message: `m${n}`, stack: "at f" },
        payload: "{}",
        stateBefore: { n },
      });
    await node.store(
      "stream/dead-letters/0",
      4,
      [1, 2, 3].map((n) => ({ key: `p${n}`, payload: letter(n) })),
    );
    const list = (await (await node.call("/v1/dead-letters?limit=2")).json()) as {
      deadLetters: Record<string, unknown>[];
    };
    expect(list.deadLetters.map(({ id, device, error }) => [id, device, error])).toEqual([
      ["0.4.2", "p3", { name: "Error", message: "m3" }],
      ["0.4.1", "p2", { name: "Error", message: "m2" }],
    ]);
    expect(await (await node.call("/v1/dead-letters/0.4.1")).json()).toMatchObject({
      id: "0.4.1",
      error: { stack: "at f" },
      payload: "{}",
      stateBefore: { n: 2 },
    });
    expect(await (await node.call("/v1/dead-letters/0.4.1/redrive", { method: "POST" })).json()).toEqual({ stored: 1 });
    expect(node.redriven).toEqual([[1, { partition: 0, writer: 4, sequence: 1 }]]);
    expect(await codeOf(await node.call("/v1/dead-letters/0.4.9"))).toEqual([404, "HR_NOT_FOUND"]);
    expect(await codeOf(await node.call("/v1/dead-letters/x"))).toEqual([400, "HR_BAD_REQUEST"]);
  });

  test("clients come in pages; each is shown and disconnected by its id, whatever that is", async () => {
    node.asked.length = 0;
    const page = async (query: string) =>
      (await (await node.call(`/v1/clients${query}`)).json()) as { clients: { clientId: string }[]; next?: string };
    expect(await page("?limit=2&contains=x&state=absent")).toMatchObject({
      clients: [{ clientId: "a" }, { clientId: "b" }],
      next: "b",
    });
    expect(await page("?after=b")).not.toHaveProperty("next");
    expect(node.asked).toEqual([
      ["clients", { limit: 3, contains: "x", state: "absent" }],
      ["clients", { limit: 101, after: "b" }],
    ]);
    expect(await codeOf(await node.call("/v1/clients?limit=1001"))).toEqual([400, "HR_BAD_REQUEST"]);
    expect(await codeOf(await node.call("/v1/clients?state=away"))).toEqual([400, "HR_BAD_REQUEST"]);

    node.asked.length = 0;
    const hostile = ["a/b?c#d", "\u001b[2J", "%2F", "\u{1F600}".repeat(128)];
    for (const id of hostile) {
      expect(await (await node.call(`/v1/clients/${encodeURIComponent(id)}`)).json()).toMatchObject({ clientId: id });
    }
    await node.call("/v1/clients/-?id=..", { method: "DELETE" });
    const answer = await node.call("/v1/clients/a?reason=old%20firmware&session=true", { method: "DELETE" });
    expect(await answer.json()).toEqual({ disconnected: true, sessionEnded: false });
    expect(node.asked).toEqual([
      ...hostile.map((id) => ["client", id]),
      ["kick", "..", { reason: "ended by an operator", endSession: false }],
      ["kick", "a", { reason: "old firmware", endSession: true }],
    ]);
  });

  test("the OpenAPI document names every route with its answers", async () => {
    const document = (await (await node.call("/openapi.json")).json()) as {
      openapi: string;
      paths: Record<string, object>;
    };
    expect(document.openapi).toBe("3.1.0");
    expect(Object.keys(document.paths).sort()).toEqual([
      "/metrics",
      "/v1/clients",
      "/v1/clients/{id}",
      "/v1/dead-letters",
      "/v1/dead-letters/{id}",
      "/v1/dead-letters/{id}/redrive",
      "/v1/events",
      "/v1/query",
      "/v1/status",
      "/v1/tail/{stream}",
    ]);
    expect(document.paths["/v1/events"]).toMatchObject({ post: { responses: { 200: {}, 400: {}, 429: {}, 503: {} } } });
  });

  test("what is not there is not found", async () => {
    expect(await codeOf(await node.call("/v2"))).toEqual([404, "HR_NOT_FOUND"]);
  });
});

describe("hostile clients", () => {
  const head = (...lines: string[]): string =>
    ["POST /v1/events?topic=a HTTP/1.1", "Host: localhost", ...lines, "", ""].join("\r\n");

  test("M23: slow headers and a body that never ends are closed after their timeouts", async () => {
    await using impatient = await startTestNode({ headersTimeoutMs: 500, requestTimeoutMs: 1000 });
    const { port } = impatient.api;
    const started = performance.now();
    expect(await raw("GET / HTTP/1.1\r\nHost: localhost\r\nX: ", { port, waitMs: 5000 })).toMatch(/^HTTP\/1.1 408 /);
    const chunked = head(
      `Authorization: Bearer ${impatient.token}`,
      "Content-Type: application/json",
      "Transfer-Encoding: chunked",
    );
    expect(await raw(`${chunked}1\r\n1\r\n`, { port, waitMs: 5000 })).toMatch(/^HTTP\/1.1 408 /);
    expect(performance.now() - started).toBeLessThan(6000);
  });

  test("M23: 100,000 headers are refused", async () => {
    expect(await raw(head(...Array.from({ length: 100_000 }, (_, i) => `x${i}: 1`)))).toMatch(/^HTTP\/1.1 431 /);
  });

  test("M23: a length beside chunks is refused", async () => {
    const before = node.submitted.length;
    const both = head(`Authorization: Bearer ${node.token}`, "Content-Length: 6", "Transfer-Encoding: chunked");
    expect(await raw(`${both}0\r\n\r\nX`)).toMatch(/^HTTP\/1.1 400 /);
    expect(node.submitted.length).toBe(before);
  });
});

test("a port in use is refused by name", async () => {
  await expect(startTestNode({}, node.api.port)).rejects.toMatchObject({
    code: "HR_PORT_IN_USE",
    message: expect.stringContaining(`${node.api.port} on 127.0.0.1`),
  });
});

test("a stop ends the followers and is quick", async () => {
  const other = await startTestNode();
  const reading = eventsFrom(await other.call("/v1/tail/readings"), 1);
  const started = performance.now();
  await other[Symbol.asyncDispose]();
  expect(await reading).toEqual([]);
  expect(performance.now() - started).toBeLessThan(2000);
  await other.api.closed;
});
