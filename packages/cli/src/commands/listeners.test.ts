/** Goal: options of listeners become what the node is asked for, and what makes no sense together is refused before anything starts. */
import { Command } from "commander";
import { expect, test } from "vitest";
import { type ListenerFlags, listenersOf, withListeners } from "./listeners.ts";

const parsed = (...args: string[]): ReturnType<typeof listenersOf> =>
  listenersOf(
    withListeners(new Command().exitOverride().configureOutput({ writeErr: () => undefined }))
      .parse(args, { from: "user" })
      .opts<ListenerFlags>(),
  );
const tls = ["--tls-cert", "a.pem", "--tls-key", "a.key"];

test("without options it is MQTT over TCP on loopback and nothing else", () => {
  expect(parsed()).toEqual({ listeners: [{ transport: "tcp", host: "127.0.0.1", port: 1883 }] });
});

test("each port is a listener, on the host of all or on its own", () => {
  const ports = ["--mqtt-port", "0", "--mqtts-port", "0.0.0.0:8883", "--ws-port", "[::1]:8083", "--wss-port", "8084"];
  const origins = ["--ws-origin", "https://a.example", "--ws-origin", "https://b.example"];
  const proxies = ["--proxy", "mqtts=10.0.0.0/8", "--proxy", "mqtts=10.1.1.1", "--proxy", "ws=::1"];
  const mutual = ["--tls-ca", "ca.pem", "--tls-crl", "ca.crl", "--tls-client-cert", "required"];
  const named = ["https://a.example", "https://b.example"];
  expect(parsed("--host", "10.0.0.5", ...ports, ...origins, ...proxies, ...tls, ...mutual)).toEqual({
    listeners: [
      { transport: "tcp", host: "10.0.0.5", port: 0 },
      { transport: "tls", host: "0.0.0.0", port: 8883, proxies: ["10.0.0.0/8", "10.1.1.1"] },
      { transport: "ws", host: "::1", port: 8083, origins: named, proxies: ["::1"] },
      { transport: "wss", host: "10.0.0.5", port: 8084, origins: named },
    ],
    tls: {
      certificate: "a.pem",
      key: "a.key",
      authorities: "ca.pem",
      revoked: "ca.crl",
      clientCertificates: "required",
    },
  });
  expect(parsed("--mqtt-port", "off", "--mqtts-port", "8883", ...tls).listeners).toMatchObject([{ transport: "tls" }]);
});

test.each([
  ["--mqtt-port", "70000"],
  ["--mqtts-port", "::1:8883"],
  ["--mqtts-port", "8883"],
  ["--wss-port", "8884", "--tls-cert", "a.pem"],
  ["--tls-client-cert", "maybe"],
  ["--tls-client-cert", "required"],
  tls,
  ["--mqtt-port", "off"],
  ["--ws-origin", "https://a.example"],
  ["--proxy", "mqtts=10.0.0.0/8"],
  ["--proxy", "10.0.0.0/8"],
])("%j is refused", (...args) => {
  expect(() => parsed(...args)).toThrow();
});
