/**
 * Goal: the commands find their node, ask it the right thing, print what people and programs read, and end with the right code.
 * Method: the whole command line in this process, against an HTTP server that answers as the API does.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { emptyStatus } from "../test/fake-node.ts";
import { run } from "./program.ts";

const folder = mkdtempSync(join(tmpdir(), "headrace-cli-"));
const data = join(folder, "data");
const token = "t".repeat(43);
let server: Server;
let url: string;
let requests: { method: string; url: string; headers: IncomingMessage["headers"]; body: string }[] = [];

const letter = {
  id: "0.1.2",
  timeMs: 0,
  device: "p1",
  function: "f",
  stream: "readings",
  error: { name: "Error", message: "m" },
};
const events = [
  { timeMs: 0, device: "p1", value: { t: 1, s: "\u001b" } },
  { timeMs: 1000, device: "p2", payload: "/wA=" },
];
const client = {
  clientId: "p\u001b[2J\u202e1",
  state: "connected",
  session: "lasting",
  sessionExpirySeconds: 3600,
  subscriptions: 1,
  inFlight: 2,
  queued: 3,
  queuedBytes: 4000,
  unacknowledged: 0,
  connection: {
    listener: "mqtt",
    address: "10.0.0.7:50123",
    protocol: "5.0",
    keepAliveSeconds: 60,
    connectedAtMs: 0,
    lastPacketAtMs: 0,
    messagesIn: 12,
    messagesOut: 13,
    bytesIn: 1400,
    bytesOut: 1500,
  },
};
const answers: Record<string, unknown> = {
  "POST /v1/events": { stored: 2, repeated: false },
  "POST /v1/query": {
    columns: [
      { name: "n", type: "BIGINT" },
      { name: "d", type: "VARCHAR" },
    ],
    rows: [[1, "=p1"]],
    truncated: true,
    elapsedMs: 1,
  },
  "GET /v1/status": emptyStatus(),
  "GET /v1/dead-letters": { deadLetters: [letter] },
  "GET /v1/dead-letters/0.1.2": {
    ...letter,
    error: { stack: "Error: m\n  at f" },
    payload: '{"t":1}',
    stateBefore: { hot: 2 },
  },
  "POST /v1/dead-letters/0.1.2/redrive": { stored: 1 },
  "GET /v1/clients": { clients: [client], next: client.clientId },
  "GET /v1/clients/p%2F1": { ...client, filters: [{ filter: "a/\u001b#", qos: 1 }] },
  "DELETE /v1/clients/p%2F1": { disconnected: true, sessionEnded: true },
  "DELETE /v1/clients/-": { disconnected: true, sessionEnded: false },
};

beforeAll(async () => {
  server = createServer(async (request, response) => {
    const { method = "", url: path = "", headers } = request;
    requests.push({ method, url: path, headers, body: await text(request) });
    const key = `${method} ${path.split("?")[0]}`;
    if (headers.authorization !== `Bearer ${token}`) {
      response
        .writeHead(401)
        .end(JSON.stringify({ error: { code: "HR_API_UNAUTHORIZED", message: "no", action: "a" } }));
    } else if (key === "GET /v1/tail/readings") {
      response.end(`:\n\n${events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("")}`);
    } else if (answers[key] === undefined) {
      response
        .writeHead(404)
        .end(JSON.stringify({ error: { code: "HR_NOT_FOUND", message: `no ${path}`, action: "a" } }));
    } else response.end(JSON.stringify(answers[key]));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  mkdirSync(data);
  writeFileSync(join(data, "node.json"), JSON.stringify({ pid: 1, apiUrl: url, mqttUrl: "" }));
  writeFileSync(join(data, "api-token"), `${token}\n`);
});
afterAll(() => {
  server.close();
  server.closeAllConnections();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  requests = [];
});

async function headrace(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = "";
  let err = "";
  const code = await run(args, {
    out: (more) => {
      out += more;
    },
    err: (more) => {
      err += more;
    },
  });
  return { code, out, err };
}
const onNode = (...args: string[]) => headrace(...args, "--data", data);

describe("client commands", () => {
  test("send to a stream, or to a topic when there is a slash", async () => {
    expect(await onNode("send", "readings", '{"t": 1}', "--device", "p1", "--key", "k")).toEqual({
      code: 0,
      out: "stored 2 events\n",
      err: "",
    });
    expect(requests[0]).toMatchObject({ url: "/v1/events?stream=readings&device=p1", body: '{"t": 1}' });
    expect(requests[0]?.headers).toMatchObject({ "content-type": "application/json", "idempotency-key": "k" });
    expect((await onNode("send", "pumps/p1", "1", "--json")).out).toBe('{"stored":2,"repeated":false}\n');
    expect(requests[1]?.url).toBe("/v1/events?topic=pumps%2Fp1");
    await onNode("send", "pumps", "1", "--topic");
    expect(requests[2]?.url).toBe("/v1/events?topic=pumps");
  });

  test("send refuses what is not JSON before it sends", async () => {
    const { code, err } = await onNode("send", "readings", "{t:1}");
    expect([code, requests.length]).toEqual([2, 0]);
    expect(err).toContain("Quote it for the shell");
  });

  test("tail prints events, and their bytes when they are no JSON", async () => {
    const { code, out } = await onNode("tail", "readings", "--from", "start", "--limit", "2");
    expect([code, requests[0]?.url]).toEqual([0, "/v1/tail/readings?from=start&limit=2"]);
    expect(out).toBe(
      '1970-01-01T00:00:00.000Z  p1  {"t":1,"s":"\\u001b"}\n1970-01-01T00:00:01.000Z  p2  /wA= (base64)\n',
    );
    expect(
      (await onNode("tail", "readings", "--limit", "2", "--json")).out
        .split("\n")
        .slice(0, 2)
        .map((line) => JSON.parse(line)),
    ).toEqual(events);
    expect((await onNode("tail", "readings")).err).toContain("the node ended the stream");
  });

  test("clients lists, shows and kicks; ids are hostile and shown escaped", async () => {
    const listed = await onNode("clients", "list", "--state", "connected", "--limit", "1", "--contains", "p");
    expect(listed.code).toBe(0);
    expect(requests[0]?.url).toBe("/v1/clients?limit=1&contains=p&state=connected");
    expect(listed.out).toContain("p\\u001b[2J\\u202e1  connected  10.0.0.7:50123  mqtt");
    expect(listed.out).toContain('--after "p\\u001b[2J\\u202e1"');
    expect((await onNode("clients")).out).toContain("10.0.0.7:50123");
    const shown = await onNode("clients", "show", "p/1");
    expect(shown.out).toContain("lasting, expires after 3,600 s");
    expect(shown.out).toContain("2 in flight, 3 queued (4,000 bytes)");
    expect(shown.out).toContain("12 messages, 1,400 bytes");
    expect(shown.out).toContain("a/\\u001b#");
    expect(JSON.parse((await onNode("clients", "show", "p/1", "--json")).out)).toMatchObject(client);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none may reach the terminal
    expect(listed.out + shown.out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/);
    requests = [];
    expect((await onNode("clients", "kick", "p/1", "--reason", "too old", "--session")).out).toBe(
      "p/1: disconnected, session ended\n",
    );
    expect((await onNode("clients", "kick", "..", "--json")).out).toBe('{"disconnected":true,"sessionEnded":false}\n');
    expect(requests.map(({ url }) => url)).toEqual([
      "/v1/clients/p%2F1?reason=too+old&session=true",
      "/v1/clients/-?id=..",
    ]);
    expect(await onNode("clients", "show", "nobody")).toMatchObject({ code: 1, out: "" });
    expect((await onNode("clients", "list", "--state", "gone")).code).toBe(2);
  });

  test("query as table, JSON and CSV", async () => {
    expect(await onNode("query", "select 1", "--rows", "1")).toEqual({
      code: 0,
      out: "n  d\n-  ---\n1  =p1\n(1 row)\n",
      err: "headrace: there are more rows; --rows 1 cut them off\n",
    });
    expect(JSON.parse(requests[0]?.body ?? "")).toEqual({ sql: "select 1", rowsMax: 1 });
    expect((await onNode("query", "select 1", "--csv")).out).toBe("n,d\r\n1,'=p1\r\n");
    expect(JSON.parse((await onNode("query", "select 1", "--json", "--timeout", "2s")).out)).toMatchObject({
      rows: [[1, "=p1"]],
    });
    expect(JSON.parse(requests[2]?.body ?? "")).toMatchObject({ timeoutMs: 2000 });
  });

  test("status for people and programs", async () => {
    expect((await onNode("status")).out).toContain("guard/0  running");
    expect(JSON.parse((await onNode("status", "--json")).out)).toEqual(emptyStatus());
  });

  test("dead letters are listed, shown, and redriven", async () => {
    expect((await onNode("dead-letters", "list")).out).toContain(
      "0.1.2  1970-01-01T00:00:00.000Z  f         readings  p1      Error: m",
    );
    const { out } = await onNode("dead-letters", "show", "0.1.2");
    for (const part of ["Error: m\n", '  {"t":1}', '"hot": 2']) expect(out).toContain(part);
    expect((await onNode("dead-letters", "redrive", "0.1.2")).out).toContain("is in its stream again");
    const missing = await onNode("dead-letters", "show", "0.1.3");
    expect([missing.code, missing.err]).toEqual([1, expect.stringContaining("[HR_NOT_FOUND]")]);
  });
});

describe("finding the node", () => {
  test("a folder's token goes to that folder's node only", async () => {
    const other = "http://127.0.0.1:1";
    expect((await onNode("status", "--url", other)).err).toContain(`no token for ${other}`);
    expect((await headrace("status", "--url", other, "--token", "x")).err).toContain(`no node answers at ${other}`);
    expect((await headrace("status", "--url", `${url}/`, "--token", "wrong")).err).toContain("[HR_API_UNAUTHORIZED]");
    expect((await onNode("status", "--url", url)).code).toBe(0);
  });
  test("without a node it says so", async () => {
    const { code, err } = await headrace("status", "--data", folder, "--json");
    expect([code, JSON.parse(err)]).toEqual([1, { error: expect.objectContaining({ code: "HR_UNAVAILABLE" }) }]);
  });
});

describe("usage", () => {
  test.each([
    [["frobnicate"]],
    [["tail"]],
    [["start", "--rate", "5"]],
    [["start", "--fleet", "--devices", "none"]],
    [["start", "--duration", "soon"]],
    [["start", "--mqtt-port", "70000"]],
  ])("%j is 2 with a message", async (args) => {
    const { code, err } = await headrace(...args);
    expect([code, err]).toEqual([2, expect.stringContaining("headrace: ")]);
  });

  test("with --json it is an object", async () => {
    const { code, err } = await headrace("query", "select 1", "--json", "--csv");
    expect([code, JSON.parse(err)]).toEqual([
      2,
      { error: { code: "usage", message: expect.stringContaining("--csv") } },
    ]);
  });

  test("every command has help with examples", async () => {
    for (const command of ["init", "dev", "start", "send", "tail", "query", "status", "dead-letters"]) {
      const { code, out } = await headrace(command, "--help");
      expect([code, out]).toEqual([0, expect.stringContaining("Examples:")]);
    }
    expect(await headrace("--version")).toEqual({ code: 0, out: "0.1.0\n", err: "" });
  });
});

describe("init", () => {
  test("writes a project, and nothing over what exists", async () => {
    const project = join(folder, "My Pumps");
    mkdirSync(project);
    writeFileSync(join(project, "README.md"), "mine");
    const { written, kept } = JSON.parse((await headrace("init", project, "--json")).out) as {
      written: string[];
      kept: string[];
    };
    expect([written.sort(), kept]).toEqual([
      [".gitignore", "app.test.ts", "app.ts", "package.json", "tsconfig.json"],
      ["README.md"],
    ]);
    expect(readFileSync(join(project, "README.md"), "utf8")).toBe("mine");
    expect(JSON.parse(readFileSync(join(project, "package.json"), "utf8"))).toMatchObject({
      name: "my-pumps",
      dependencies: { headrace: "0.1.0" },
    });
    expect(readFileSync(join(project, "app.ts"), "utf8")).toContain('app("my-pumps")');
    expect((await headrace("init", project)).out).toContain("kept   app.ts");
  });
  test("a folder that cannot be made is an error", async () => {
    expect((await headrace("init", join(data, "api-token", "x"))).err).toContain("[HR_FOLDER_UNUSABLE]");
    expect(existsSync(join(data, "api-token", "x"))).toBe(false);
  });
});
