/** The certificate of a client, as whoever authenticates gets it: what can be compared exactly, and nothing that invites patterns (I3). */
import { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";

export interface ClientCertificate {
  /** SHA-256 of the certificate, in hexadecimal without colons: names exactly one certificate. */
  readonly fingerprint: string;
  /** For people; two authorities can issue the same one. */
  readonly subject: string;
  /** The URIs of its subject alternative name. With `issuer` each names one device, also when the certificate is renewed. */
  readonly uris: readonly string[];
  /** Fingerprint of the authority's certificate whose key has signed it; undefined when none of `--tls-ca` nor of what the client sent has. */
  readonly issuer: string | undefined;
  readonly issuerName: string;
  /** Why it does not count, such as `CERT_HAS_EXPIRED`; undefined when an authority of `--tls-ca` vouches for it now. */
  readonly problem: string | undefined;
}

/** The certificates of a PEM file, in its order. @throws what node:crypto throws for one that is damaged */
export const certificatesOf = (pem: string): X509Certificate[] =>
  (pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []).map(
    (text) => new X509Certificate(text),
  );

export const fingerprintOf = ({ fingerprint256 }: X509Certificate): string =>
  fingerprint256.replaceAll(":", "").toLowerCase();

/** Whether the key of `authority` has signed `certificate`: names alone can be copied. */
export const hasSigned = (authority: X509Certificate, certificate: X509Certificate): boolean =>
  certificate.checkIssued(authority) && certificate.verify(authority.publicKey);

/**
 * The URIs of a subject alternative name as Node prints it: `URI:a, DNS:b`, where a value with a comma, a quotation mark or the like
 * is a JSON string, so that no value can pass for two.
 */
export const urisOf = (names: string | undefined): string[] => {
  const uris: string[] = [];
  for (const [, kind, value = ""] of (names ?? "").matchAll(/([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)/g)) {
    if (kind === "URI") uris.push(value.startsWith('"') ? String(JSON.parse(value)) : value);
  }
  return uris;
};

/** What the client of a finished handshake has shown; undefined when it has no certificate. */
export const clientCertificateOf = (
  socket: TLSSocket,
  authorities: readonly X509Certificate[],
): ClientCertificate | undefined => {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return undefined;
  const sent = certificate.issuerCertificate;
  const issuer = [...authorities, ...(sent ? [sent] : [])].find((authority) => hasSigned(authority, certificate));
  return {
    fingerprint: fingerprintOf(certificate),
    subject: certificate.subject,
    uris: urisOf(certificate.subjectAltName),
    issuer: issuer && fingerprintOf(issuer),
    issuerName: certificate.issuer,
    problem: socket.authorized ? undefined : String(socket.authorizationError ?? "not authorised"),
  };
};
