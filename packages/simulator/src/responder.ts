/** A device's side of commands: runs each once, and answers a repeated one with what it answered before. */
import type { Fleet, ReceivedCommand, SimulatedDevice } from "./fleet.ts";

/** How many answers a device remembers; commands are repeated within seconds, not after hundreds of others. */
const answersKept = 64;

export const commandFilter = (deviceId: string): string => `devices/${deviceId}/commands/+`;

/** Topic and payload of an acknowledgement. */
export interface CommandAnswer {
  readonly topic: string;
  readonly payload: string;
}

export class CommandResponder<Model> {
  readonly #device: SimulatedDevice<Model>;
  readonly #handler: NonNullable<Fleet<Model>["commands"]>;
  readonly #answers = new Map<string, CommandAnswer>();

  constructor(device: SimulatedDevice<Model>, handler: NonNullable<Fleet<Model>["commands"]>) {
    this.#device = device;
    this.#handler = handler;
  }

  /** The answer to a command's payload; undefined when the payload is no command. */
  async answer(payload: Buffer): Promise<CommandAnswer | undefined> {
    const command = parseCommand(payload);
    if (command === undefined) return undefined;
    const known = this.#answers.get(command.id);
    if (known) return known;
    const answer = {
      topic: `devices/${this.#device.id}/commands/${command.id}/ack`,
      payload: JSON.stringify(await this.#run(command)),
    };
    this.#answers.set(command.id, answer);
    if (this.#answers.size > answersKept) this.#answers.delete(this.#answers.keys().next().value!);
    return answer;
  }

  async #run(command: ReceivedCommand): Promise<object> {
    try {
      const result = await this.#handler(this.#device, command);
      return { ok: true, ...(result !== undefined && { result }) };
    } catch (error) {
      return { ok: false, error: error instanceof Error ? error.message : String(error) };
    }
  }
}

function parseCommand(payload: Buffer): ReceivedCommand | undefined {
  try {
    const { id, name, args } = JSON.parse(payload.toString()) as Partial<ReceivedCommand>;
    return typeof id === "string" && typeof name === "string" ? { id, name, args } : undefined;
  } catch {
    return undefined;
  }
}
