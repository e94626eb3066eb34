/**
 * The header of the PROXY protocol, version 2, by which a proxy says whose connection it passes on
 * (haproxy.org/download/2.9/doc/proxy-protocol.txt §2.2):
 *
 *     12 bytes signature | version(4) command(4) | family(4) protocol(4) | length(16) | addresses, then TLVs
 *
 * Version 1 is text without a length and is refused.
 */

const signature = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a);
const fixedBytes = 16;
/** Addresses of UNIX sockets are 216 bytes, and proxies add a few TLVs; the length could say 65,535. */
export const proxyHeaderBytesMax = 4096;

const commands = { local: 0, proxy: 1 } as const;
const families = { unspecified: 0, ipv4: 1, ipv6: 2, unix: 3 } as const;
const stream = 1;

export interface ProxyHeader {
  readonly type: "header";
  /** What to skip. */
  readonly byteLength: number;
  /** The client; undefined when the proxy speaks for itself (LOCAL, its health check) or says nothing of the client. */
  readonly client: { readonly address: string; readonly port: number } | undefined;
}

export type ProxyHeaderResult =
  | ProxyHeader
  /** So far it is right, and there has to be more. */
  | { readonly type: "incomplete" }
  | { readonly type: "wrong"; readonly reason: string };

const incomplete = { type: "incomplete" } as const;
const wrong = (reason: string): ProxyHeaderResult => ({ type: "wrong", reason });

/** Reads the header at the start of what a connection has sent so far. */
export const readProxyHeader = (bytes: Uint8Array): ProxyHeaderResult => {
  for (const [index, byte] of signature.entries()) {
    if (index >= bytes.byteLength) return incomplete;
    if (bytes[index] !== byte) return wrong("it does not begin with the signature of version 2");
  }
  if (bytes.byteLength < fixedBytes) return incomplete;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [version, command] = [view.getUint8(12) >> 4, view.getUint8(12) & 0x0f];
  const [family, protocol] = [view.getUint8(13) >> 4, view.getUint8(13) & 0x0f];
  const byteLength = fixedBytes + view.getUint16(14);
  if (version !== 2) return wrong(`there is no version ${version} with this signature`);
  if (command !== commands.local && command !== commands.proxy) return wrong(`there is no command ${command}`);
  if (byteLength > proxyHeaderBytesMax) return wrong(`it has ${byteLength} bytes; ${proxyHeaderBytesMax} are read`);
  if (bytes.byteLength < byteLength) return incomplete;
  if (command === commands.local || family === families.unspecified || family === families.unix)
    return { type: "header", byteLength, client: undefined };
  if (family !== families.ipv4 && family !== families.ipv6) return wrong(`there is no address family ${family}`);
  if (protocol !== stream) return wrong("MQTT travels over streams");
  const addressBytes = family === families.ipv4 ? 4 : 16;
  const portAt = fixedBytes + 2 * addressBytes;
  if (byteLength < portAt + 4) return wrong("its length has no room for the addresses");
  const address = bytes.subarray(fixedBytes, fixedBytes + addressBytes);
  return { type: "header", byteLength, client: { address: textOf(address), port: view.getUint16(portAt) } };
};

/** An address as Node prints it for a socket. */
const textOf = (address: Uint8Array): string => {
  if (address.byteLength === 4) return address.join(".");
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((address[2 * index] ?? 0) << 8) | (address[2 * index + 1] ?? 0)).toString(16),
  );
  // The URL parser shortens addresses as RFC 5952 says.
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
};
