/** The header of a proxy between accept and everything else: only from proxies that are named, and then it has to be there. */
import { BlockList, isIP } from "node:net";
import { HeadraceError } from "@headrace/sdk";
import type { Stage } from "./arrival.ts";
import { readProxyHeader } from "./proxy-protocol.ts";

/** Addresses and networks such as `10.0.0.0/8`. @throws HR_BAD_REQUEST naming what is neither */
export const addressList = (entries: readonly string[]): BlockList => {
  const list = new BlockList();
  for (const entry of entries) {
    const [address = "", prefix, more] = entry.split("/");
    const family = isIP(address);
    const bits = prefix === undefined ? (family === 4 ? 32 : 128) : Number(prefix);
    if (family === 0 || more !== undefined || !/^\d*$/.test(prefix ?? "") || bits > (family === 4 ? 32 : 128))
      throw new HeadraceError(
        "HR_BAD_REQUEST",
        `${JSON.stringify(entry)} is no address and no network such as 10.0.0.0/8`,
      );
    list.addSubnet(address, bits, family === 4 ? "ipv4" : "ipv6");
  }
  return list;
};

/** Whether an address is in the list; one of IPv4 that a socket of IPv6 shows is one of IPv4. */
const isListed = (list: BlockList, address: string): boolean =>
  isIP(address) !== 0 && list.check(address, isIP(address) === 4 ? "ipv4" : "ipv6");

/** Sockets of both families show IPv4 as `::ffff:a.b.c.d`. */
const plainAddress = (address: string): string => address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/, "");

/** The socket that is handed on is paused: what came too early stands in it. */
export const proxyStage = (proxies: readonly string[], next: Stage): Stage => {
  const trusted = addressList(proxies);
  return (socket, arrival) => {
    // Whoever is not a proxy could say that it is anybody.
    if (!isListed(trusted, plainAddress(arrival.address))) {
      socket.destroy();
      return;
    }
    let bytes: Buffer = Buffer.alloc(0);
    const received = (chunk: Buffer): void => {
      bytes = bytes.byteLength === 0 ? chunk : Buffer.concat([bytes, chunk]);
      const found = readProxyHeader(bytes);
      if (found.type === "incomplete") return;
      socket.off("data", received);
      if (found.type === "wrong") {
        socket.destroy();
        return;
      }
      socket.pause();
      if (found.client !== undefined) {
        arrival.address = found.client.address;
        arrival.port = found.client.port;
      }
      // What came behind the header belongs to whoever reads next.
      if (bytes.byteLength > found.byteLength) socket.unshift(bytes.subarray(found.byteLength));
      next(socket, arrival);
    };
    socket.on("data", received);
  };
};
