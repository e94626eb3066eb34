/** headrace sub: messages over MQTT, as any client gets them. */
import { HeadraceError } from "@headrace/sdk";
import type { ReceivedMessage } from "@headrace/simulator";
import type { Command } from "commander";
import { escaped } from "../output/text.ts";
import { connectMqtt, type MqttOptions, mqttError, type PayloadFormat, payloadText, withMqtt } from "./mqtt-options.ts";
import { examples, type Output, wholeNumber } from "./options.ts";

interface Options extends MqttOptions {
  readonly count?: number;
  readonly retained: boolean;
}

/** One message as an object: properties by the names of the specification, bytes in the format that was asked for. */
const jsonOf = ({ topic, payload, qos, retain, properties }: ReceivedMessage, format: PayloadFormat): object => {
  const { correlationData, ...rest } = properties;
  return {
    timeMs: Date.now(),
    topic,
    qos,
    retain,
    payload: payloadText(payload, format),
    ...rest,
    ...(correlationData !== undefined && { correlationData: payloadText(Buffer.from(correlationData), format) }),
  };
};

const lineOf = ({ topic, payload, retain }: ReceivedMessage, format: PayloadFormat): string =>
  `${escaped(topic)}${retain ? " (retained)" : ""}  ${escaped(payloadText(payload, format))}\n`;

export function addSub(program: Command, { out, err }: Output): void {
  withMqtt(program.command("sub"), 0)
    .summary("subscribe over MQTT")
    .description("Subscribes over MQTT 5 and prints what comes, until Ctrl-C, the count or the timeout.")
    .argument("<filter...>", "topic filters, also $share/group/filter and $SYS/#")
    .option("--count <messages>", "end after that many; with --timeout fewer are a failure", wholeNumber(1, 1e9))
    .option("--no-retained", "without retained messages")
    .option("--json", "one JSON object per message, with its properties")
    .addHelpText(
      "after",
      examples(
        "headrace sub 'plants/#'",
        "headrace sub '$SYS/#' --timeout 5s",
        "headrace sub cam/1 --format base64 --json --count 1",
      ),
    )
    .action(async (filters: string[], options: Options) => {
      const { count = Number.POSITIVE_INFINITY, format, timeout, json, qos, retained } = options;
      const done = Promise.withResolvers<"count" | "stopped" | "late" | Error>();
      let seen = 0;
      const client = await connectMqtt(options, (message) => {
        if (seen >= count) return;
        seen += 1;
        out(json ? `${JSON.stringify(jsonOf(message, format))}\n` : lineOf(message, format));
        if (seen >= count) done.resolve("count");
      });
      const stop = (): void => done.resolve("stopped");
      process.once("SIGINT", stop);
      const timer = timeout === undefined ? undefined : setTimeout(() => done.resolve("late"), timeout);
      try {
        void client.closed.then(done.resolve);
        const retainHandling = retained ? 0 : 2;
        const codes = await client
          .subscribe(filters.map((filter) => ({ filter, qos, retainHandling })))
          .catch((error: unknown) => {
            throw mqttError(error, "it was subscribed at");
          });
        const refused = filters.filter((_, index) => (codes[index] ?? 0x80) >= 0x80);
        if (refused.length > 0) {
          const text = refused
            .map((filter) => `${filter} (0x${codes[filters.indexOf(filter)]?.toString(16)})`)
            .join(", ");
          throw new HeadraceError("HR_MQTT_REFUSED", `the server refused the subscription: ${text}`);
        }
        const { clientId } = client;
        err(json ? `${JSON.stringify({ subscribed: filters, clientId })}\n` : `subscribed as ${escaped(clientId)}\n`);
        const end = await done.promise;
        if (end instanceof Error) throw mqttError(end, "it was subscribed at");
        if (end === "late" && Number.isFinite(count)) {
          throw new HeadraceError(
            "HR_UNAVAILABLE",
            `${seen} of ${count} messages came within ${(timeout ?? 0) / 1_000} s`,
          );
        }
      } finally {
        clearTimeout(timer);
        process.off("SIGINT", stop);
        await client[Symbol.asyncDispose]();
      }
    });
}
