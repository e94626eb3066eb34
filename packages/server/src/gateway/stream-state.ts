/** What the gateway holds of one source stream: a writer per partition and the marks of its devices. */
import { InternedString, keyGroupOf, partitionOfGroup } from "@headrace/engine";
import type { StreamDefinition } from "@headrace/sdk";
import type { PartitionWriter } from "./partition-writer.ts";
import type { Marks } from "./repeats.ts";

/** What the gateway needs to know of a stream; plain data. */
export type SourceStream = Pick<StreamDefinition, "name" | "sources" | "partitions" | "key">;

export class StreamState {
  readonly definition: SourceStream;
  readonly partitions: readonly PartitionWriter[];
  readonly marks: Marks;
  /** Header that holds the key; undefined when the key is the device or a topic parameter. */
  readonly keyHeader: string | undefined;

  constructor(definition: SourceStream, partitions: readonly PartitionWriter[], marks: Marks) {
    this.definition = definition;
    this.partitions = partitions;
    this.marks = marks;
    this.keyHeader = definition.key && "header" in definition.key ? definition.key.header : undefined;
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
