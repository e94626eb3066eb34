/** What has passed in one place: messages by QoS and bytes. Counting one is an addition; sums are made when somebody asks. */
import type { Qos } from "@headrace/mqtt";

export type ByQos = readonly [number, number, number];

export class Traffic {
  // Six numbers in the object instead of two arrays: an idle connection has one of these.
  #in0 = 0;
  #in1 = 0;
  #in2 = 0;
  #out0 = 0;
  #out1 = 0;
  #out2 = 0;
  bytesIn = 0;
  bytesOut = 0;

  /** A message came from a client, whatever becomes of it. */
  cameIn(qos: Qos): void {
    if (qos === 0) this.#in0 += 1;
    else if (qos === 1) this.#in1 += 1;
    else this.#in2 += 1;
  }

  /** A message went to a client; one that is sent again counts again. */
  wentOut(qos: Qos): void {
    if (qos === 0) this.#out0 += 1;
    else if (qos === 1) this.#out1 += 1;
    else this.#out2 += 1;
  }

  get messagesIn(): ByQos {
    return [this.#in0, this.#in1, this.#in2];
  }
  get messagesOut(): ByQos {
    return [this.#out0, this.#out1, this.#out2];
  }

  add(other: Traffic): void {
    this.#in0 += other.#in0;
    this.#in1 += other.#in1;
    this.#in2 += other.#in2;
    this.#out0 += other.#out0;
    this.#out1 += other.#out1;
    this.#out2 += other.#out2;
    this.bytesIn += other.bytesIn;
    this.bytesOut += other.bytesOut;
  }
}
