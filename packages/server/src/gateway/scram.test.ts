// Goal: SCRAM-SHA-256 as RFC 7677 shows it, and over AUTH packets as MQTT 5.0 §4.12 demands.
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { encodeAuth, packetTypes, utf8 } from "@headrace/mqtt";
import { describe, expect, test } from "vitest";
import { startTestNode } from "../../test/gateway-node.ts";
import { RawClient } from "../../test/raw-client.ts";
import { scram, scramMethod, scramSecret } from "./scram.ts";

const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString("utf8");

describe("the example of RFC 7677", () => {
  const salt = Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64");
  const secret = scramSecret("pencil", salt, 4_096);
  const begin = scram(
    (user) => (user === "user" ? secret : undefined),
    () => "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
  );
  const first = utf8("n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
  const final =
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

  test("challenge, proof and the server's signature", () => {
    const exchange = begin();
    const step = exchange.step(first);
    expect("challenge" in step && text(step.challenge)).toBe(
      "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    );
    const last = exchange.step(utf8(final));
    expect("identity" in last && [last.identity, text(last.data)]).toEqual([
      "user",
      "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ]);
  });

  test.each([
    ["a wrong proof", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", final.replace("dHzb", "dHzc")],
    ["another nonce", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", final.replace("%hvY", "%hvZ")],
    ["another header", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", final.replace("biws", "eSws")],
    ["an unknown user, who is challenged like a known one", "n,,n=who,r=rOprNGfwEbeRWgbNEkqO", final],
    ["no text at all", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", ""],
  ])("%s is refused", (_name, one, two) => {
    const exchange = begin();
    expect(exchange.step(utf8(one))).toHaveProperty("challenge");
    expect(exchange.step(utf8(two))).toMatchObject({ reasonCode: 0x87 });
  });

  test.each(["", "n,,", "p=tls-unique,,n=user,r=x", "n,,n=a=b,r=x", "\0\xff"])(
    "a first message %j is refused",
    (one) => {
      expect(begin().step(utf8(one))).toMatchObject({ reasonCode: 0x87 });
    },
  );
});

const hmac = (key: Uint8Array, data: string): Buffer => createHmac("sha256", key).update(data).digest();

/** The client's answer to a challenge. */
const proofOf = (password: string, bare: string, challenge: string): Uint8Array => {
  const [, nonce = "", salt = "", iterations = ""] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(challenge) ?? [];
  const salted = pbkdf2Sync(password, Buffer.from(salt, "base64"), Number(iterations), 32, "sha256");
  const key = hmac(salted, "Client Key");
  const withoutProof = `c=biws,r=${nonce}`;
  const signature = hmac(createHash("sha256").update(key).digest(), `${bare},${challenge},${withoutProof}`);
  const proof = Buffer.from(key.map((byte, index) => byte ^ (signature[index] as number)));
  return utf8(`${withoutProof},p=${proof.toString("base64")}`);
};

describe("over MQTT", () => {
  const secret = scramSecret("secret");
  const mechanisms = new Map([[scramMethod, scram((user) => (user === "device" ? secret : undefined))]]);
  const bare = "n=device,r=abc";
  const method = { authenticationMethod: scramMethod };
  const data = (bytes: Uint8Array) => ({ ...method, authenticationData: bytes });
  const challenged = async (client: RawClient, count: number): Promise<string> => {
    const auths = () => client.packets.filter(({ type }) => type === packetTypes.auth);
    await expect.poll(() => auths().length).toBe(count);
    return text(auths().at(-1)?.properties?.authenticationData);
  };

  test("[v5 4.12.1-2] a client proves its password, is told the server's proof, and does it again while connected", async () => {
    let identity: string | undefined;
    const authorize = (_action: string, who: string | undefined) => {
      identity = who;
      return undefined;
    };
    await using node = await startTestNode({ mechanisms, authorize });
    await using client = await RawClient.begin(node.port, { clientId: "c", properties: data(utf8(`n,,${bare}`)) });
    const challenge = await challenged(client, 1);
    client.send(encodeAuth(0x18, data(proofOf("secret", bare, challenge))));
    const connack = await client.until(({ type }) => type === packetTypes.connack);
    expect(connack).toMatchObject({ reasonCode: 0, properties: method });
    expect(text(connack.properties?.authenticationData)).toMatch(/^v=/);
    await client.subscribe("x", 1);
    expect(identity).toBe("device");
    client.send(encodeAuth(0x19, data(utf8(`n,,${bare}`))));
    client.send(encodeAuth(0x18, data(proofOf("secret", bare, await challenged(client, 2)))));
    expect(await challenged(client, 3)).toMatch(/^v=/);
    client.send(encodeAuth(0x19, data(utf8(`n,,${bare}`))));
    await challenged(client, 4);
    client.send(encodeAuth(0x18, data(utf8("c=biws,r=x,p=x"))));
    await client.closed();
    expect(client.packets.at(-1)).toMatchObject({ type: packetTypes.disconnect, reasonCode: 0x87 });
  });

  test("[v5 4.12.0-4] M19: a wrong password, an unknown method and another method later are refused", async () => {
    await using node = await startTestNode({ mechanisms });
    await using wrong = await RawClient.begin(node.port, { clientId: "c", properties: data(utf8(`n,,${bare}`)) });
    wrong.send(encodeAuth(0x18, data(proofOf("guess", bare, await challenged(wrong, 1)))));
    await wrong.closed();
    expect(wrong.packets.at(-1)).toMatchObject({ type: packetTypes.connack, reasonCode: 0x87, sessionPresent: false });
    await using unknown = await RawClient.begin(node.port, {
      clientId: "c",
      properties: { authenticationMethod: "M" },
    });
    await unknown.closed();
    expect(unknown.packets).toMatchObject([{ type: packetTypes.connack, reasonCode: 0x8c }]);
    await using other = await RawClient.begin(node.port, { clientId: "c", properties: data(utf8(`n,,${bare}`)) });
    await challenged(other, 1);
    other.send(encodeAuth(0x18, { authenticationMethod: "M" }));
    await other.closed();
    expect(other.packets.at(-1)).toMatchObject({ type: packetTypes.connack, reasonCode: 0x8c });
  });
});
