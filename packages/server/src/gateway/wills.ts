/** A will is published like any message of its client (MQTT 5.0 §3.1.2.5): the policy is asked, streams take it. */
import type { Will } from "@headrace/mqtt";
import type { Publisher } from "./ingest.ts";
import type { Shared } from "./shared.ts";

/** Whose will it is. */
export interface Testator {
  readonly clientId: string;
  readonly identity: string | undefined;
}

export const publishWill = (
  shared: Pick<Shared, "router" | "intake" | "authorize" | "nowMs" | "counters">,
  { clientId, identity }: Testator,
  publisher: Publisher,
  will: Will,
): void => {
  const { router, intake, authorize, nowMs, counters } = shared;
  const { payload, retain, properties = {} } = will;
  const { willDelaySeconds: _delay, ...sent } = properties;
  if (authorize("publish", identity, clientId, will.topic) !== undefined) {
    counters.refused += 1;
    return;
  }
  const topic = Buffer.from(will.topic);
  const route = router.mqtt.lookup(topic, 0, topic.length);
  const isPlain = Object.keys(sent).length === 0;
  const end = payload.byteLength;
  const given = isPlain ? undefined : sent;
  const answer = intake.take(route, publisher, clientId, will.qos, retain, false, nowMs(), payload, 0, end, given);
  if (answer >= 0x80) counters.refused += 1;
};
