/** Messages from the node to a device: commands. Who receives a topic is looked up once, until subscriptions change. */
import { type PublishProperties, utf8 } from "@headrace/mqtt";
import type { FanOut } from "./fan-out.ts";
import { FanOutMessage } from "./fan-out-message.ts";
import type { DeliveryCache } from "./subscribers.ts";

/** Topics that are remembered; beyond this the oldest is forgotten. */
const topicsMax = 20_000;

interface Way extends DeliveryCache {
  readonly bytes: Uint8Array;
}

const noProperties = (): PublishProperties => ({});

export class DeviceDelivery {
  readonly #fanOut: FanOut;
  readonly #ways = new Map<string, Way>();

  constructor(fanOut: FanOut) {
    this.#fanOut = fanOut;
  }

  /** Sends to the subscribers of `topic`, which belongs to `device`; "sent" when a session of the device took it. */
  deliver(device: string, topic: string, payload: Uint8Array, properties = noProperties): "sent" | "offline" {
    const way = this.#wayOf(topic);
    const deliveries = this.#fanOut.subscribers.of(way);
    if (deliveries.length === 0) return "offline";
    const message = new FanOutMessage(
      { topic, payload, qos: 1, retain: false, properties, publisher: undefined },
      way.bytes,
    );
    let isReached = false;
    for (const delivery of deliveries) {
      // Whoever else listens to a device's commands gets a copy, but is not the device.
      const isDevice =
        delivery.receiver.deviceId === device ||
        delivery.filters.some((filter) => filter.startsWith(`devices/${device}/`));
      if (this.#fanOut.deliverTo(message, delivery) && isDevice) isReached = true;
    }
    return isReached ? "sent" : "offline";
  }

  #wayOf(topic: string): Way {
    let way = this.#ways.get(topic);
    if (!way) {
      way = { topic, bytes: utf8(topic), deliveries: [], deliveriesVersion: -1 };
      if (this.#ways.size >= topicsMax) this.#ways.delete(this.#ways.keys().next().value as string);
      this.#ways.set(topic, way);
    }
    return way;
  }
}
