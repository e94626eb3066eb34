/** The handshake of TLS between accept and MQTT. */
import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { createServer, type Server, type TLSSocket, type TlsOptions } from "node:tls";
import type { Arrival, Stage } from "./arrival.ts";
import { certificatesOf, clientCertificateOf } from "./certificate.ts";
import { secureContextOf, type TlsMaterial } from "./tls-material.ts";

export interface TlsStage {
  enter(socket: Socket, arrival: Arrival): void;
  /** For handshakes from now on; what is connected stays so. Whether clients need a certificate does not change. */
  use(material: TlsMaterial): void;
}

export const tlsStage = (material: TlsMaterial, next: Stage): TlsStage => {
  const { clientCertificates } = material;
  const arrivals = new Map<string, Arrival>();
  let authorities: readonly X509Certificate[] = [];
  const options: TlsOptions = {
    ...secureContextOf(material),
    requestCert: clientCertificates !== "none",
    // With "optional" whoever authenticates is told why a certificate does not count.
    rejectUnauthorized: clientCertificates === "required",
    noDelay: true,
  };
  // Never listens: sockets are given to it. The deadline of the arrival is that of the handshake.
  const server: Server = createServer(options, (socket: TLSSocket) => {
    const arrival = arrivals.get(placeOf(socket));
    if (arrival === undefined) {
      socket.destroy();
      return;
    }
    if (clientCertificates !== "none") arrival.certificate = clientCertificateOf(socket, authorities);
    next(socket, arrival);
  });
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  const use = (next: TlsMaterial): void => {
    server.setSecureContext(secureContextOf(next));
    authorities = certificatesOf(next.authorities ?? "");
  };
  use(material);
  return {
    use,
    enter: (socket, arrival) => {
      // Both ends of the same connection: no two that are open at once have the same.
      const place = placeOf(socket);
      arrivals.set(place, arrival);
      socket.on("close", () => arrivals.delete(place));
      server.emit("connection", socket);
    },
  };
};

const placeOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;
