/** headrace pub: messages over MQTT, as any client sends them. */
import { createInterface } from "node:readline";
import type { MqttClient, OutgoingMessage } from "@headrace/simulator";
import { type Command, InvalidArgumentError } from "commander";
import { connectMqtt, type MqttOptions, mqttError, payloadOf, withMqtt } from "./mqtt-options.ts";
import { duration, examples, type Output, wholeNumber } from "./options.ts";

type Pair = [name: string, value: string];

interface Options extends MqttOptions {
  readonly retain?: boolean;
  readonly count: number;
  readonly contentType?: string;
  readonly responseTopic?: string;
  readonly correlation?: string;
  readonly expiry?: number;
  readonly property?: readonly Pair[];
}

const pairs = (text: string, before: readonly Pair[] = []): Pair[] => {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("A user property is name=value.");
  return [...before, [text.slice(0, at), text.slice(at + 1)]];
};

const propertiesOf = (options: Options): NonNullable<OutgoingMessage["properties"]> => {
  const { contentType, responseTopic, correlation, expiry, property } = options;
  return {
    ...(contentType !== undefined && { contentType }),
    ...(responseTopic !== undefined && { responseTopic }),
    ...(correlation !== undefined && { correlationData: payloadOf(correlation, options.format) }),
    ...(expiry !== undefined && { messageExpirySeconds: Math.max(1, Math.round(expiry / 1_000)) }),
    ...(property !== undefined && { userProperties: [...property] }),
  };
};

/** The payloads: the argument, as often as asked for, or the lines of standard input. */
async function* payloadsOf(argument: string | undefined, { count, format }: Options): AsyncGenerator<Buffer> {
  if (argument === "-") {
    for await (const line of createInterface({ input: process.stdin })) yield payloadOf(line, format);
    return;
  }
  const payload = payloadOf(argument ?? "", format);
  for (let sent = 0; sent < count; sent += 1) yield payload;
}

export function addPub(program: Command, { out }: Output): void {
  withMqtt(program.command("pub"), 1)
    .summary("publish over MQTT")
    .description("Publishes over MQTT 5 and waits for each acknowledgement: from QoS 1 on the message is durable then.")
    .argument("<topic>")
    .argument("[payload]", "nothing is an empty message; - is one message for each line of standard input")
    .option("--retain", "keep it as the retained message of its topic; an empty one removes that")
    .option("--count <messages>", "send it that often", wholeNumber(1, 1e9), 1)
    .option("--content-type <type>")
    .option("--response-topic <topic>", "where an answer is expected")
    .option("--correlation <data>", "in the payload's format")
    .option("--expiry <duration>", "nobody gets it after that", duration)
    .option("--property <name=value>", "user property; may be given several times", pairs)
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      examples(
        `headrace pub sensors/s1 '{"temperature": 61}'`,
        "headrace pub sensors/s1 - --qos 2 < lines.ndjson",
        "headrace pub devices/s1/name '' --retain",
        "headrace pub cam/1 /9j/4AAQ --format base64 --property site=north",
      ),
    )
    .action(async (topic: string, payload: string | undefined, options: Options) => {
      const { qos, retain = false, timeout, json } = options;
      const properties = propertiesOf(options);
      const client: MqttClient = await connectMqtt(options, () => undefined);
      const timer = timeout === undefined ? undefined : setTimeout(() => client.end("the timeout has passed"), timeout);
      let published = 0;
      try {
        for await (const bytes of payloadsOf(payload, options)) {
          await client.publish({ topic, payload: bytes, qos, retain, properties }).catch((error) => {
            throw mqttError(error, `after ${published} messages`);
          });
          published += 1;
        }
      } finally {
        clearTimeout(timer);
        await client[Symbol.asyncDispose]();
      }
      if (json) out(`${JSON.stringify({ published, qos })}\n`);
      else out(`published ${published} ${published === 1 ? "message" : "messages"}\n`);
    });
}
