/** Messages from the node to a device: commands. Who receives a topic is looked up once, until subscriptions change. */
import type { PublishProperties } from "@headrace/mqtt";
import type { FanOut } from "./fan-out.ts";
import { FanOutMessage } from "./fan-out-message.ts";
import { Ways } from "./ways.ts";

const noProperties = (): PublishProperties => ({});

export class DeviceDelivery {
  readonly #fanOut: FanOut;
  readonly #ways: Ways;

  constructor(fanOut: FanOut) {
    this.#fanOut = fanOut;
    this.#ways = new Ways(fanOut.subscribers);
  }

  /** Sends to the subscribers of `topic`, which belongs to `device`; "sent" when a session of the device took it. */
  deliver(device: string, topic: string, payload: Uint8Array, properties = noProperties): "sent" | "offline" {
    const { deliveries, bytes } = this.#ways.of(topic);
    if (deliveries.length === 0) return "offline";
    const message = new FanOutMessage(
      { topic, payload, qos: 1, retain: false, properties, publisher: undefined },
      bytes,
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
}
