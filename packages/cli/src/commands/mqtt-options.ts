/** What `pub` and `sub` have in common: which server, as whom, and payloads as people write them. */
import { HeadraceError } from "@headrace/sdk";
import { MqttClient, type ReceivedMessage, RefusedError } from "@headrace/simulator";
import type { Command } from "commander";
import { mqttAddressOf } from "../client/connection.ts";
import { UsageError } from "../output/errors.ts";
import { duration, oneOf, wholeNumber } from "./options.ts";

export type PayloadFormat = "text" | "base64" | "hex";

export interface MqttOptions {
  readonly host?: string;
  readonly port?: number;
  readonly data?: string;
  readonly id?: string;
  readonly username?: string;
  readonly password?: string;
  readonly qos: 0 | 1 | 2;
  readonly format: PayloadFormat;
  readonly timeout?: number;
  readonly json?: boolean;
}

const qosOf = (text: string): 0 | 1 | 2 => Number(oneOf("0", "1", "2")(text)) as 0 | 1 | 2;

export const withMqtt = (command: Command, qosDefault: 0 | 1): Command =>
  command
    .option("--host <host>", "MQTT server; default: the node of the data folder, else 127.0.0.1")
    .option("--port <port>", "default: that of the node, else 1883", wholeNumber(1, 65_535))
    .option("--data <folder>", "data folder of the node (default: .headrace)")
    .option("--id <client id>", "default: one that the server makes")
    .option("--username <name>")
    .option("--password <password>", "or HEADRACE_MQTT_PASSWORD, which other users of the machine do not see")
    .option("--qos <qos>", "0, 1 or 2", qosOf, qosDefault)
    .option("--format <format>", "payload as text, base64 or hex", oneOf("text", "base64", "hex"), "text")
    .option("--timeout <duration>", "end after it", duration);

/** Connects. @throws HeadraceError `HR_MQTT_REFUSED`, `HR_UNAVAILABLE` */
export const connectMqtt = async (
  options: MqttOptions,
  onMessage: (message: ReceivedMessage) => void,
): Promise<MqttClient> => {
  const { id, username, password = process.env.HEADRACE_MQTT_PASSWORD } = options;
  const { host, port } = mqttAddressOf(options);
  const who = {
    ...(id !== undefined && { clientId: id }),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
  };
  return MqttClient.connect({ host, port, ...who }, onMessage).catch((error: unknown) => {
    throw mqttError(error, `${host}:${port}`);
  });
};

/** An error of the client in the words of the catalogue. */
export const mqttError = (error: unknown, server: string): HeadraceError => {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof RefusedError) {
    return new HeadraceError("HR_MQTT_REFUSED", message, {
      cause: error,
      data: { reasonCode: error.reasonCode, server },
    });
  }
  return new HeadraceError("HR_UNAVAILABLE", `the MQTT server ${server}: ${message}`, {
    cause: error,
    data: { server },
  });
};

const hex = /^([0-9a-f]{2})*$/i;
const base64 = /^[A-Za-z0-9+/]*={0,2}$/;

export const payloadOf = (text: string, format: PayloadFormat): Buffer => {
  if ((format === "hex" && !hex.test(text)) || (format === "base64" && (!base64.test(text) || text.length % 4 !== 0)))
    throw new UsageError(`the payload is not ${format}: ${JSON.stringify(text.slice(0, 40))}`);
  return Buffer.from(text, format === "text" ? "utf8" : format);
};

export const payloadText = (payload: Buffer, format: PayloadFormat): string =>
  payload.toString(format === "text" ? "utf8" : format);
