/** Goal: frames mean what RFC 6455 says wherever they are cut, and what breaks it ends. Method: a law over random messages, and examples of each violation. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { clientFrame, frameOpcodes } from "../../../test/raw-web-socket.ts";
import { encodeFrame, FrameReader } from "./websocket-frames.ts";

interface Read {
  readonly payload: Buffer;
  readonly pings: string[];
  readonly end: FrameReader["end"];
}

/** Reads `bytes` in pieces. */
const readAll = (bytes: Uint8Array, pieces: readonly Uint8Array[] = [bytes]): Read => {
  const pings: string[] = [];
  const reader = new FrameReader();
  const payload: Buffer[] = [];
  for (const piece of pieces) {
    const chunk = Buffer.from(piece);
    payload.push(Buffer.from(chunk.subarray(0, reader.read(chunk))));
    if (reader.ping) pings.push(Buffer.from(reader.ping).toString());
    reader.ping = undefined;
  }
  return { payload: Buffer.concat(payload), pings, end: reader.end };
};

const { continuation, text, binary, close, ping, pong } = frameOpcodes;

test("however frames are cut, fragmented and mixed with pings, the payload comes out in order", () => {
  const part = fc.record({
    payload: fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ minLength: 120, maxLength: 300 })),
    ping: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(fc.array(part, { minLength: 1, maxLength: 4 })), fc.array(fc.nat()), (messages, cuts) => {
      const frames = messages.flatMap((parts) =>
        parts.flatMap(({ payload, ping: pinged }, index) => [
          ...(pinged ? [clientFrame(ping, Buffer.from("p"))] : []),
          clientFrame(index === 0 ? binary : continuation, payload, { isFinal: index === parts.length - 1 }),
        ]),
      );
      const bytes = Buffer.concat(frames);
      const places = [...new Set(cuts.map((cut) => cut % (bytes.byteLength + 1)))].sort((a, b) => a - b);
      const pieces = [0, ...places].map((from, index) => bytes.subarray(from, places[index] ?? bytes.byteLength));
      const parts = messages.flat();
      const { payload, pings, end } = readAll(bytes, pieces);
      expect([payload, end]).toEqual([Buffer.concat(parts.map((each) => each.payload)), undefined]);
      expect(new Set(pings)).toEqual(new Set(parts.some((each) => each.ping) ? ["p"] : []));
    }),
  );
});

test("a frame of 70,000 bytes comes out byte by byte and costs no memory before its bytes are there", () => {
  const payload = Buffer.from(Array.from({ length: 70_000 }, (_, index) => index & 0xff));
  const bytes = clientFrame(binary, payload);
  const pieces = Array.from(bytes, (_, index) => bytes.subarray(index, index + 1));
  expect(readAll(bytes, pieces).payload.equals(payload)).toBe(true);
  const announced = Buffer.from([0x82, 0xff, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
  expect(readAll(announced)).toMatchObject({ payload: Buffer.alloc(0), end: undefined });
});

describe("ends", () => {
  test.each([
    ["a text frame", clientFrame(text, Buffer.from("hi")), 1003],
    ["a text frame that is continued", clientFrame(text, Buffer.from("hi"), { isFinal: false }), 1003],
    ["a frame without mask", encodeFrame(binary, Buffer.from("x")), 1002],
    ["RSV1, a compressed frame (M20)", clientFrame(binary, Buffer.from("x"), { reserved: 0x40 }), 1002],
    ["opcode 3", clientFrame(3, Buffer.from("x")), 1002],
    ["opcode 11", clientFrame(11, Buffer.from("x")), 1002],
    ["a continuation of nothing", clientFrame(continuation, Buffer.from("x")), 1002],
    [
      "a message in a message",
      Buffer.concat([clientFrame(binary, Buffer.from("x"), { isFinal: false }), clientFrame(binary, Buffer.from("y"))]),
      1002,
    ],
    ["a ping in two frames", clientFrame(ping, Buffer.from("x"), { isFinal: false }), 1002],
    ["a ping of 126 bytes", clientFrame(ping, Buffer.alloc(126)), 1002],
    ["a length of 2^63", Buffer.from([0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 1002],
    ["close with one byte", clientFrame(close, Buffer.from([3])), 1002],
    ["close with 1005, which no frame may have", clientFrame(close, Buffer.from([0x03, 0xed])), 1002],
    ["close with 1000", clientFrame(close, Buffer.from([0x03, 0xe8])), 1000],
    ["close without a code", clientFrame(close, Buffer.alloc(0)), undefined],
  ] as const)("%s", (_name, bytes, code) => {
    const before = clientFrame(binary, Buffer.from("before"));
    const first = bytes[0] === 0x80 ? bytes : Buffer.concat([before, bytes]);
    const read = readAll(Buffer.concat([first, clientFrame(binary, Buffer.from("after"))]));
    expect(read.end).toMatchObject({ code });
    expect(read.payload.toString()).not.toContain("after");
  });

  test("a pong that nobody asked for does not", () => {
    expect(readAll(clientFrame(pong, Buffer.from("x")))).toMatchObject({ end: undefined, pings: [] });
  });
});
