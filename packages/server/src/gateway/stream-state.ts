/** What the gateway holds of one source stream: a writer per partition, marks, counters. */
import { InternedString, keyGroupOf, partitionOfGroup } from "@headrace/engine";
import type { StreamDefinition } from "@headrace/sdk";
import type { PartitionWriter } from "./partition-writer.ts";
import type { Marks } from "./repeats.ts";

export class StreamState {
  readonly definition: StreamDefinition;
  readonly partitions: readonly PartitionWriter[];
  readonly marks: Marks;
  /** Header that holds the key; undefined when the key is the device or a topic parameter. */
  readonly keyHeader: string | undefined;
  readonly #start: number;

  constructor(definition: StreamDefinition, partitions: readonly PartitionWriter[], marks: Marks) {
    this.definition = definition;
    this.partitions = partitions;
    this.marks = marks;
    this.#start = this.#end;
    this.keyHeader = definition.key && "header" in definition.key ? definition.key.header : undefined;
  }

  get #end(): number {
    return this.partitions.reduce((sum, writer) => sum + writer.sequence, 0);
  }
  /** Events stored since this start. */
  get stored(): number {
    return this.#end - this.#start;
  }

  writerOf(key: Key): PartitionWriter {
    return this.partitions[partitionOfGroup(key.group, this.partitions.length)];
  }
}

/** A key with its group. */
export class Key extends InternedString {
  readonly group: number;
  constructor(text: string) {
    super(text);
    this.group = keyGroupOf(text);
  }
}
