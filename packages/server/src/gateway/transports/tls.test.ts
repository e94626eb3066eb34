/**
 * Goal: TLS lets in whom it should, tells who it is exactly (I3), and no file of its own opens it or brings it down (I7). Method:
 * certificates made with openssl, which knows nothing of our code; mosquitto, MQTT.js and paho as clients; Node's TLS where one has to dawdle.
 */
import { execFile } from "node:child_process";
import { copyFileSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";
import { promisify } from "node:util";
import { encodeConnect, reasonCodes } from "@headrace/mqtt";
import { describe, expect, test } from "vitest";
import { runMqttJs, runPaho } from "../../../test/foreign-clients.ts";
import { startTestNode, type TestNode } from "../../../test/gateway-node.ts";
import { type Issued, TestAuthority, testAuthority } from "../../../test/test-authority.ts";
import { type ClientCertificate, certificatesOf, fingerprintOf, urisOf } from "./certificate.ts";
import { byCertificate } from "./certificate-identity.ts";
import { examineTls } from "./tls-examination.ts";
import type { TlsFiles } from "./tls-material.ts";

const run = promisify(execFile);
const topic = "plants/a/pumps/p1";
const authority = testAuthority();
const { server } = authority;
/** Another authority of the same name. */
const twin = new TestAuthority(authority.folder, "twin", "/CN=Test Authority");
const device = authority.issue({ subject: "/CN=pump", names: "URI:urn:pump:1,DNS:pump", usage: "clientAuth" });
const fingerprint = (file: string): string => fingerprintOf(certificatesOf(readFileSync(file, "utf8"))[0]!);

const start = (files: Partial<TlsFiles> = {}, options: Parameters<typeof startTestNode>[0] = {}): Promise<TestNode> =>
  startTestNode({
    listeners: [
      { transport: "tls", host: "127.0.0.1", port: 0 },
      { transport: "wss", host: "127.0.0.1", port: 0 },
    ],
    tls: { ...server, ...files },
    ...options,
  });
const mutual = { authorities: authority.certificate, clientCertificates: "required" } as const;

let knocks = 0;

/** A connection over TLS: the first byte of what the node answers to CONNECT, and its reason code. */
const knock = (
  port: number,
  shown?: Issued,
  options: ConnectionOptions = {},
): Promise<{ readonly socket: TLSSocket; readonly code: number }> =>
  new Promise((resolve, reject) => {
    const files = shown && { cert: readFileSync(shown.certificate), key: readFileSync(shown.key) };
    const socket = connectTls({
      host: "127.0.0.1",
      port,
      servername: "localhost",
      ca: authority.pem,
      ...files,
      ...options,
    });
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("closed")));
    socket.once("data", (answer) => resolve({ socket, code: answer[3] ?? -1 }));
    socket.write(encodeConnect({ version: 5, clientId: `knocks-${++knocks}` }));
  });

describe.each([1, 2])("with %i gateway thread(s)", { timeout: 60_000 }, (gateways) => {
  test("mosquitto, MQTT.js and paho store over TLS and WebSocket over TLS, with certificates of their own", async () => {
    await using node = await start(mutual, { gateways });
    const [tls, wss] = node.gateway.listeners.map(({ port }) => port) as [number, number];
    const files = { ca: authority.certificate, cert: device.certificate, key: device.key };
    const shown = ["--cafile", files.ca, "--cert", files.cert, "--key", files.key];
    await run("mosquitto_pub", [
      "-h",
      "localhost",
      "-p",
      `${tls}`,
      ...shown,
      "-i",
      "m",
      "-t",
      topic,
      "-m",
      "mosquitto",
      "-q",
      "1",
    ]);
    await expect(
      run("mosquitto_pub", [
        "-h",
        "localhost",
        "-p",
        `${tls}`,
        "--cafile",
        files.ca,
        "-t",
        topic,
        "-m",
        "no certificate",
        "-q",
        "1",
      ]),
    ).rejects.toThrow();
    await runPaho({ port: tls, topic, payload: "paho", transport: "tcp", files });
    await runPaho({ port: wss, topic, payload: "paho over WebSocket", transport: "websockets", files });
    const large = "x".repeat(200_000);
    expect(await runMqttJs({ url: `mqtts://localhost:${tls}`, topic, payloads: ["js", large], files })).toEqual([
      "js",
      large,
    ]);
    await runMqttJs({ url: `wss://localhost:${wss}/mqtt`, topic, payloads: ["js over WebSocket"], files });
    const stored = (await node.events("readings")).map(({ payload }) => payload).sort();
    expect(stored).toEqual(["js", "js over WebSocket", "mosquitto", "paho", "paho over WebSocket", large].sort());
    await expect
      .poll(() => node.gateway.stats().listeners, { timeout: 10_000 })
      .toMatchObject([
        { transport: "tls", connections: 0, failed: 1 },
        { transport: "wss", connections: 0, failed: 0 },
      ]);
  });

  test("a new certificate is used from the next handshake on, and what is connected stays", async () => {
    const files = own();
    await using node = await start(files, { gateways });
    const before = await knock(node.port);
    expect(fingerprint(server.certificate)).toBe(shownBy(before.socket));
    const next = authority.issue({ subject: "/CN=localhost", names: "DNS:localhost", usage: "serverAuth" });
    put(next, files);
    node.gateway.reloadTls();
    await expect
      .poll(async () => {
        const { socket } = await knock(node.port);
        const shown = shownBy(socket);
        socket.destroy();
        return shown;
      })
      .toBe(fingerprint(next.certificate));
    before.socket.write(Uint8Array.of(0xc0, 0));
    expect(await new Promise<Buffer>((data) => before.socket.once("data", data))).toEqual(Buffer.from([0xd0, 0]));
    before.socket.destroy();
  });
});

/** The node's files, for one test to change. */
const own = (): Issued => {
  const files = { certificate: join(authority.folder, "own.pem"), key: join(authority.folder, "own.key") };
  put(server, files);
  return files;
};
const put = (from: Issued, to: Issued): void => {
  copyFileSync(from.certificate, to.certificate);
  copyFileSync(from.key, to.key);
};
const shownBy = (socket: TLSSocket): string => fingerprintOf(socket.getPeerX509Certificate()!);

describe("client certificates", { timeout: 60_000 }, () => {
  const expired = authority.issue({
    subject: "/CN=pump",
    names: "URI:urn:pump:1",
    usage: "clientAuth",
    validity: ["20240101000000Z", "20240201000000Z"],
  });
  const foreign = twin.issue({ subject: "/CN=pump", names: "URI:urn:pump:1", usage: "clientAuth" });
  const wrongUse = authority.issue({ subject: "/CN=pump", names: "URI:urn:pump:1", usage: "serverAuth" });
  const stolen = authority.issue({ subject: "/CN=pump", names: "URI:urn:pump:1", usage: "clientAuth" });
  const bad: [string, Issued, string][] = [
    ["expired", expired, "CERT_HAS_EXPIRED"],
    ["of another authority with the same name", foreign, "UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
    ["of a server", wrongUse, "INVALID_PURPOSE"],
    ["revoked", stolen, "CERT_REVOKED"],
  ];
  const revoked = authority.revoke(stolen);

  test("whoever authenticates is told exactly what was shown, and why it does not count (I3)", async () => {
    const seen: (ClientCertificate | undefined)[] = [];
    await using node = await start(
      { ...mutual, revoked, clientCertificates: "optional" },
      {
        authenticate: ({ peer }) => {
          seen.push(peer.certificate);
          return { identity: undefined };
        },
      },
    );
    for (const shown of [undefined, device, ...bad.map(([, issued]) => issued)])
      (await knock(node.port, shown)).socket.destroy();
    expect(seen).toEqual([
      undefined,
      {
        fingerprint: fingerprint(device.certificate),
        subject: "CN=pump",
        uris: ["urn:pump:1"],
        issuer: fingerprint(authority.certificate),
        issuerName: "CN=Test Authority",
        problem: undefined,
      },
      ...bad.map(([, { certificate }, problem]) =>
        expect.objectContaining({
          fingerprint: fingerprint(certificate),
          uris: ["urn:pump:1"],
          problem,
          issuer: certificate === foreign.certificate ? undefined : fingerprint(authority.certificate),
        }),
      ),
    ]);
  });

  test.each(bad)(
    "one that is %s does not come in: required it ends the handshake, optional it is refused (I3)",
    async (_name, shown) => {
      await using required = await start({ ...mutual, revoked });
      await expect(knock(required.port, shown)).rejects.toThrow();
      await expect(knock(required.port)).rejects.toThrow();
      await using optional = await start({ ...mutual, revoked, clientCertificates: "optional" });
      const { socket, code } = await knock(optional.port, shown);
      socket.destroy();
      expect(code).toBe(reasonCodes.notAuthorized);
    },
  );

  test("an identity belongs to a fingerprint, or to an authority with a URI, and to nothing that looks like it (I3)", async () => {
    const issuer = fingerprint(authority.certificate);
    const lookalikes = [
      authority.issue({ subject: "/CN=pump", usage: "clientAuth" }),
      authority.issue({ subject: "/CN=urn:pump:1", names: "DNS:urn.pump.1", usage: "clientAuth" }),
      authority.issue({ subject: "/CN=x", names: "URI:urn:pump:10", usage: "clientAuth" }),
      authority.issue({ subject: "/CN=x", names: "URI:URN:pump:1", usage: "clientAuth" }),
      authority.issue({ subject: "/CN=x", names: "URI:urn:pump:1\\,URI:urn:pump:2", usage: "clientAuth" }),
      foreign,
    ];
    const renewed = authority.issue({
      subject: "/O=other/CN=renewed",
      names: "DNS:x,URI:urn:pump:1",
      usage: "clientAuth",
    });
    const pinned = twin.issue({ subject: "/CN=pinned", usage: "clientAuth" });
    const both = authority.issue({ subject: "/CN=both", names: "URI:urn:pump:1,URI:urn:pump:2", usage: "clientAuth" });
    const byRules = byCertificate([
      { identity: "pump-1", issuer, uri: "urn:pump:1" },
      { identity: "pump-2", issuer, uri: "urn:pump:2" },
      { identity: "pinned", fingerprint: fingerprint(pinned.certificate) },
    ]);
    const both_ = join(authority.folder, "both.pem");
    writeFileSync(both_, authority.pem + twin.pem);
    const identities: unknown[] = [];
    await using node = await start(
      { ...mutual, authorities: both_ },
      {
        authenticate: async (credentials) => {
          const answer = await byRules(credentials);
          identities.push("identity" in answer ? answer.identity : "refused");
          return answer;
        },
      },
    );
    for (const shown of [device, renewed, pinned, both, ...lookalikes])
      (await knock(node.port, shown)).socket.destroy();
    expect(identities).toEqual(["pump-1", "pump-1", "pinned", "refused", ...lookalikes.map(() => "refused")]);
  });

  test("names that hold separators are one name", () => {
    expect(urisOf('URI:urn:a, DNS:b, URI:"urn:c, URI:urn:d", URI:"q\\"q", IP Address:127.0.0.1')).toEqual([
      "urn:a",
      "urn:c, URI:urn:d",
      'q"q',
    ]);
    expect(urisOf(undefined)).toEqual([]);
  });
});

describe("the handshake", () => {
  test.each([
    ["TLS 1.1", { maxVersion: "TLSv1.1", minVersion: "TLSv1" }],
    ["a cipher without forward secrecy", { maxVersion: "TLSv1.2", ciphers: "AES256-GCM-SHA384:AES128-SHA" }],
    ["a cipher with CBC", { maxVersion: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-SHA256" }],
  ] as const)("%s is not spoken", async (_name, options) => {
    await using node = await start();
    await expect(knock(node.port, undefined, options)).rejects.toThrow();
  });

  test("one that stalls, or ends without CONNECT, is closed at the deadline of CONNECT (M16)", async () => {
    await using node = await start({}, { limits: { connectDeadlineMs: 400 } });
    const stalled = connect(node.port, "127.0.0.1");
    // The beginning of a ClientHello.
    stalled.write(Buffer.from("1603010200", "hex"));
    const idle = connectTls({ host: "127.0.0.1", port: node.port, ca: authority.pem, servername: "localhost" });
    idle.on("error", () => undefined);
    await Promise.all([stalled, idle].map((socket) => new Promise((gone) => socket.once("close", gone))));
    await expect.poll(() => node.gateway.stats().listeners[0]).toMatchObject({ connections: 0, failed: 1 });
  });
});

describe("files", () => {
  const empty = join(authority.folder, "empty.pem");
  writeFileSync(empty, "");
  const half = join(authority.folder, "half.pem");
  writeFileSync(half, authority.pem + authority.pem.slice(0, 200));
  const reversed = join(authority.folder, "reversed.pem");
  writeFileSync(reversed, authority.pem + readFileSync(server.certificate, "utf8"));
  const missing = join(authority.folder, "missing.pem");

  test.each<[string, Partial<TlsFiles>, RegExp]>([
    ["a certificate that is not there", { certificate: missing }, /missing\.pem cannot be read/],
    ["an empty certificate", { certificate: empty }, /empty\.pem holds no certificate/],
    ["a key that is a certificate", { key: server.certificate }, /holds no private key/],
    ["another key", { key: device.key }, /is not the key of/],
    [
      "a chain that begins with the authority",
      { certificate: reversed, key: join(authority.folder, "ca.key") },
      /certificate 2 of .* has not signed/,
    ],
    [
      "authorities that are empty, which must not mean everybody",
      { ...mutual, authorities: empty },
      /empty\.pem holds no certificate/,
    ],
    ["authorities that are cut", { ...mutual, authorities: half }, /half\.pem ends in the middle/],
    ["client certificates without authorities", { clientCertificates: "required" }, /--tls-ca/],
    ["a revocation list that is empty", { ...mutual, revoked: empty }, /holds no revocation list/],
  ])("%s stop the start by name (I7)", async (_name, files, message) => {
    await expect(start(files)).rejects.toMatchObject({
      code: "HR_TLS_INVALID",
      message: expect.stringMatching(message),
    });
  });

  test("a bad new file is told once, the last good one goes on, and a good one after it is taken (I7)", async () => {
    const files = own();
    const troubles: string[] = [];
    await using node = await start(files, {
      onTrouble: (error) => troubles.push((error as { code?: string }).code ?? error.message),
    });
    const shown = async (): Promise<string> => {
      const { socket } = await knock(node.port);
      const found = shownBy(socket);
      socket.destroy();
      return found;
    };
    const first = fingerprint(server.certificate);
    const next = authority.issue({ subject: "/CN=localhost", names: "DNS:localhost", usage: "serverAuth" });
    const old = authority.issue({
      subject: "/CN=localhost",
      names: "DNS:localhost",
      validity: ["20240101000000Z", "20240201000000Z"],
    });
    copyFileSync(next.certificate, files.certificate);
    node.gateway.reloadTls();
    node.gateway.reloadTls();
    expect([await shown(), troubles]).toEqual([first, ["HR_TLS_INVALID"]]);
    truncateSync(files.certificate, 100);
    node.gateway.reloadTls();
    put(old, files);
    node.gateway.reloadTls();
    expect([await shown(), troubles.length]).toEqual([first, 3]);
    put(next, files);
    node.gateway.reloadTls();
    expect([await shown(), troubles.length]).toEqual([fingerprint(next.certificate), 3]);
  });
});

describe("what doctor says", () => {
  const nowMs = Date.now();
  const results = (files: Partial<TlsFiles>, names: string[] = [], at = nowMs): string[] =>
    examineTls({ ...server, ...files }, names, at).map(({ result, found }) => `${result}: ${found}`);

  test("of files that are right", () => {
    expect(results(mutual, ["localhost", "127.0.0.1"])).toEqual([
      `good: ${server.certificate} and ${server.key} belong together`,
      expect.stringMatching(/^good: the certificate is valid for \d+ days, until 20/),
      "good: the certificate is for DNS:localhost, IP Address:127.0.0.1",
      "good: the chain of 1 leads to CN=Test Authority",
      expect.stringMatching(/^good: the authority CN=Test Authority is valid for \d+ days/),
    ]);
  });

  test("of files that are not", () => {
    expect(results({}, ["broker.example"])).toContain(
      "bad: the certificate is for DNS:localhost, IP Address:127.0.0.1, not for broker.example",
    );
    expect(results({}, [], nowMs + 20 * 86_400_000)).toContainEqual(
      expect.stringMatching(/^warning: the certificate expires in \d days/),
    );
    expect(results({}, [], nowMs + 60 * 86_400_000)).toContainEqual(
      expect.stringMatching(/^bad: the certificate has expired on/),
    );
    expect(results({}, [], nowMs - 60 * 86_400_000)).toContainEqual(
      expect.stringMatching(/^bad: the certificate is valid from/),
    );
    expect(results({ key: device.key })).toEqual([expect.stringMatching(/^bad: .* is not the key of/)]);
    expect(results(device)).toContain("bad: the certificate is not meant for a server");
    const own = { certificate: authority.certificate, key: join(authority.folder, "ca.key") };
    expect(results(own)).toEqual(
      expect.arrayContaining([
        "warning: the certificate has signed itself",
        "bad: the certificate has no subject alternative name, and clients look nowhere else",
      ]),
    );
  });
});
