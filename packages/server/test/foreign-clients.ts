/**
 * For tests: clients that know nothing of our code, each in a process of its own. MQTT.js as well: the conditions under which the test
 * runner loads packages give it half of its WebSocket library.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const cwd = fileURLToPath(new URL("../", import.meta.url));
const timeout = 30_000;

/** What a TLS client has and trusts: paths of PEM files. */
export interface ClientFiles {
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
}

const mqttJsScript = `
const { readFileSync } = require("node:fs");
const mqtt = require("mqtt");
const { url, topic, payloads, files = {} } = JSON.parse(readFileSync(0, "utf8"));
const tls = Object.fromEntries(Object.entries(files).map(([name, file]) => [name, readFileSync(file)]));
(async () => {
  const client = await mqtt.connectAsync(url, { protocolVersion: 5, clientId: "js", reconnectPeriod: 0, ...tls }, false);
  const seen = [];
  const all = new Promise((resolve) => client.on("message", (_topic, payload) => {
    seen.push(payload.toString());
    if (seen.length === payloads.length) resolve();
  }));
  await client.subscribeAsync(topic, { qos: 1 });
  for (const payload of payloads) await client.publishAsync(topic, payload, { qos: 1 });
  await all;
  await client.endAsync();
  process.stdout.write(JSON.stringify(seen));
})().catch((error) => {
  process.stderr.write(String(error.message));
  process.exit(1);
});`;

/** Connects, subscribes, publishes at QoS 1, and gives what came back. Rejects with what the client said. */
export const runMqttJs = async (options: {
  readonly url: string;
  readonly topic: string;
  readonly payloads: readonly string[];
  readonly files?: ClientFiles;
}): Promise<string[]> => {
  const running = run(process.execPath, ["-e", mqttJsScript], { cwd, timeout });
  // Not as an argument: those have a bound that large payloads reach.
  running.child.stdin?.end(JSON.stringify(options));
  const { stdout } = await running;
  return JSON.parse(stdout) as string[];
};

const pahoScript = `
import json, sys
import paho.mqtt.client as mqtt
options = json.loads(sys.argv[1])
version = [mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []
client = mqtt.Client(*version, client_id="py", transport=options["transport"])
if "files" in options:
    files = options["files"]
    client.tls_set(files["ca"], files.get("cert"), files.get("key"))
client.connect("127.0.0.1", options["port"])
client.loop_start()
client.publish(options["topic"], options["payload"], qos=1).wait_for_publish(20)
client.disconnect()
client.loop_stop()
`;

/** paho-mqtt publishes one message at QoS 1. */
export const runPaho = async (options: {
  readonly port: number;
  readonly topic: string;
  readonly payload: string;
  readonly transport: "tcp" | "websockets";
  readonly files?: ClientFiles;
}): Promise<void> => {
  await run("/usr/bin/python3", ["-c", pahoScript, JSON.stringify(options)], { timeout });
};
