/** Blocks and the event envelope: golden bytes, laws of packing and reading, and what damage does. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { crc32c } from "./crc32c.ts";
import { EventBlockBuilder, InternedString } from "./event-builder.ts";
import { type EventProperties, recordFlag } from "./event-format.ts";
import { EventBlockReader } from "./event-reader.ts";
import {
  blockBytesMax,
  blockKind,
  packBlock,
  readBlockHeader,
  readSections,
  sectionBytes,
  verifyBlock,
} from "./header.ts";
import { decodeProperties, encodeProperties } from "./properties.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const place = { logId: 3, writer: 2, epoch: 5, sequence: 2 ** 33 + 7 };

interface Event {
  topic: string;
  key: string;
  client: string;
  flags: number;
  arrivalMs: number;
  payload: Uint8Array;
  properties: EventProperties;
  device: { epoch: number; sequence: number } | undefined;
}

const append = (builder: EventBlockBuilder, event: Event): boolean => {
  const { topic, key, client, flags, arrivalMs, payload, properties, device } = event;
  const [topicText, keyText, clientText] = [topic, key, client].map((text) => new InternedString(text));
  return builder.append(
    topicText,
    keyText,
    clientText,
    flags,
    arrivalMs,
    payload,
    0,
    payload.byteLength,
    encodeProperties(properties),
    device?.epoch ?? -1,
    device?.sequence ?? -1,
  );
};

const read = (block: Uint8Array): Event[] => {
  const reader = new EventBlockReader(block);
  const events: Event[] = [];
  while (reader.next()) {
    const { topic, key, client, flags, arrivalMs, payload, deviceEpoch, deviceSequence } = reader;
    events.push({
      topic,
      key,
      client,
      flags: flags & ~recordFlag.deviceSequence,
      arrivalMs,
      payload: payload.slice(),
      properties: reader.properties(),
      device: deviceSequence < 0 ? undefined : { epoch: deviceEpoch, sequence: deviceSequence },
    });
  }
  return events;
};

const name = fc.string({ unit: "grapheme", maxLength: 8 });
const properties: fc.Arbitrary<EventProperties> = fc.record(
  {
    messageExpirySeconds: fc.nat(2 ** 31 - 1),
    contentType: name,
    responseTopic: name,
    correlationData: fc.uint8Array({ maxLength: 20 }),
    userProperties: fc.array(fc.tuple(name, name), { minLength: 1, maxLength: 3 }),
    deviceTimeMs: fc.double({ noNaN: true }),
    cause: name,
    payloadFormat: fc.nat(1),
  },
  { requiredKeys: [] },
);
const event: fc.Arbitrary<Event> = fc.record({
  topic: name,
  key: name,
  client: name,
  flags: fc.nat(31),
  arrivalMs: fc.integer({ min: 1_000_000, max: 2_000_000 }),
  payload: fc.uint8Array({ maxLength: 100 }),
  properties,
  device: fc.option(fc.record({ epoch: fc.nat(), sequence: fc.maxSafeNat() }), { nil: undefined }),
});

const golden = (): Uint8Array => {
  const builder = new EventBlockBuilder(4096);
  append(builder, {
    topic: "p/1",
    key: "1",
    client: "c",
    flags: 1,
    arrivalMs: 1_700_000_000_000,
    payload: bytesOf('{"t":1}'),
    properties: {},
    device: undefined,
  });
  append(builder, {
    topic: "p/1",
    key: "1",
    client: "c",
    flags: 1 | recordFlag.retain,
    arrivalMs: 1_700_000_000_250,
    payload: bytesOf("x"),
    properties: { contentType: "a", userProperties: [["k", "v"]] },
    device: { epoch: 9, sequence: 77 },
  });
  return builder.seal(place, crc32c);
};

describe("golden bytes", () => {
  test("CRC32C of RFC 3720 and of the usual check", () => {
    expect(crc32c(bytesOf("123456789"))).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(crc32c(bytesOf("56789"), crc32c(bytesOf("1234")))).toBe(0xe3069283);
  });

  test("an events block", () => {
    expect(hex(golden())).toBe(
      [
        "4852423101004000b8000000", // magic, version 1, header 64, block 184 bytes
        "2e065f04", // checksum
        "030000000200000005000000", // log 3, writer 2, epoch 5
        "02000000", // two records
        "0700000002000000", // sequence
        "0068e5cf8b010000fa68e5cf8b010000", // earliest and latest arrival
        "0100000000000000", // kind events
        "0100000058000000", // RECORDS, 88 bytes
        "20000000010000000100020000000000" + "0700000000000000" + "7b2274223a317d00",
        "380000002500000001000200fa000000" + "010000000d000000" + "09000000000000004d00000000000000",
        "78" + "020001006105000400" + "01006b76" + "0000",
        "020000000f000000", // STRINGS, 15 bytes
        "03000000" + "0300702f31" + "010031" + "010063" + "00",
      ].join(""),
    );
  });
});

describe("laws", () => {
  test("what is appended is read again, and the same events make the same bytes", () => {
    fc.assert(
      fc.property(fc.array(event, { minLength: 1, maxLength: 20 }), (events) => {
        const pack = (): Uint8Array => {
          const builder = new EventBlockBuilder();
          for (const one of events) expect(append(builder, one)).toBe(true);
          const block = builder.seal(place, crc32c);
          expect(block.byteLength % 8).toBe(0);
          return block.slice();
        };
        const block = pack();
        const earliestMs = events[0].arrivalMs;
        // The wall clock may step back inside a block: a record is then given the block's earliest time.
        expect(read(block)).toEqual(events.map((one) => ({ ...one, arrivalMs: Math.max(one.arrivalMs, earliestMs) })));
        const header = readBlockHeader(block);
        expect(header).toMatchObject({ ...place, recordCount: events.length, kind: blockKind.events, earliestMs });
        expect(verifyBlock(block, header, crc32c)).toBe(true);
        expect(hex(pack())).toBe(hex(block));
      }),
    );
  });

  test("a full block refuses without a trace, and takes the event after reset", () => {
    fc.assert(
      fc.property(fc.array(event, { minLength: 5, maxLength: 60 }), (events) => {
        const builder = new EventBlockBuilder(1024);
        const all: Event[] = [];
        const seal = (): void => {
          const block = builder.seal(place, crc32c);
          expect(block.byteLength).toBeLessThanOrEqual(1024);
          all.push(...read(block));
          builder.reset();
        };
        for (const one of events) {
          if (!append(builder, one)) {
            seal();
            expect(append(builder, one)).toBe(true);
          }
        }
        seal();
        expect(all.map(({ payload, topic }) => [topic, hex(payload)])).toEqual(
          events.map(({ payload, topic }) => [topic, hex(payload)]),
        );
      }),
    );
  });

  test("properties are unpacked as they were packed, also beyond 64 KiB", () => {
    fc.assert(
      fc.property(properties, (packed) => {
        expect(decodeProperties(encodeProperties(packed))).toEqual(packed);
      }),
    );
    const large: EventProperties = { userProperties: [["n".repeat(65_535), "v".repeat(65_535)]], cause: "after" };
    expect(decodeProperties(encodeProperties(large))).toEqual(large);
  });
});

describe("limits", () => {
  test("an event larger than a block, and a string longer than 16 bits can say, are refused", () => {
    const builder = new EventBlockBuilder(1024);
    const tooLarge = expect.objectContaining({ code: "HR_EVENT_TOO_LARGE" });
    const text = new InternedString("t");
    expect(() => builder.append(text, text, text, 1, 0, new Uint8Array(1024), 0, 1024)).toThrow(tooLarge);
    expect(() => new InternedString("€".repeat(21_846))).toThrow(tooLarge);
    expect(new InternedString("x".repeat(65_535)).bytes.byteLength).toBe(65_535);
  });

  test("a block of sections has at most 512 KiB", () => {
    const header = { ...place, recordCount: 1, earliestMs: 1, latestMs: 2, kind: blockKind.commit };
    const room = blockBytesMax - 64 - 8;
    expect(packBlock(header, [{ type: 9, bytes: new Uint8Array(room) }], crc32c).byteLength).toBe(blockBytesMax);
    expect(() => packBlock(header, [{ type: 9, bytes: new Uint8Array(room + 1) }], crc32c)).toThrow(
      expect.objectContaining({ code: "HR_BLOCK_TOO_LARGE" }),
    );
  });
});

describe("damage", () => {
  const corrupt = expect.objectContaining({ code: "HR_BLOCK_CORRUPT" });

  test("cut at any byte, a block is refused", () => {
    const block = golden();
    for (let end = 0; end < block.byteLength; end++) expect(() => read(block.slice(0, end))).toThrow(corrupt);
  });

  test("a cut block that claims to be whole is refused at its sections, strings or records", () => {
    const block = golden();
    for (let end = 64; end < block.byteLength; end += 8) {
      const cut = block.slice(0, end);
      new DataView(cut.buffer).setUint32(8, end, true);
      // The strings alone may be missing: then naming one is what fails.
      expect(() => read(cut)).toThrow(corrupt);
    }
  });

  test("a flipped bit is found by the checksum, and reading on never fails in another way", () => {
    const block = golden();
    for (let bit = 0; bit < block.byteLength * 8; bit++) {
      const flipped = block.slice();
      flipped[bit >>> 3] ^= 1 << (bit & 7);
      const outcome = (): string => {
        try {
          const sound = verifyBlock(flipped, readBlockHeader(flipped), crc32c);
          read(flipped);
          return sound ? "not found" : "found";
        } catch (error) {
          return String((error as { code?: unknown }).code);
        }
      };
      expect(["found", "HR_BLOCK_CORRUPT"], `bit ${bit}`).toContain(outcome());
    }
  });

  test("an unknown section is passed over, a section that is too long is not", () => {
    const header = { ...place, recordCount: 1, earliestMs: 1, latestMs: 2, kind: blockKind.control };
    const block = packBlock(
      header,
      [
        { type: 500, bytes: bytesOf("new") },
        { type: 1, bytes: bytesOf("old") },
      ],
      crc32c,
    );
    const read = readBlockHeader(block);
    const found = sectionBytes(block, readSections(block, read), 1);
    expect(found && hex(found)).toBe(hex(bytesOf("old")));
    new DataView(block.buffer).setUint32(68, 1000, true);
    expect(() => readSections(block, read)).toThrow(corrupt);
  });
});
