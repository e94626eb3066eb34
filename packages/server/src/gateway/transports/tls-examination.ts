/** What there is to say about the files of TLS before a client says it: for `headrace doctor`. */
import type { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { readCertificates, readTlsFiles, type TlsFiles } from "./tls-material.ts";

export interface TlsFinding {
  readonly result: "good" | "warning" | "bad";
  readonly found: string;
  readonly action?: string;
}

const dayMs = 86_400_000;
/** Authorities that renew by themselves do so a month ahead. */
const soonDays = 14;
/** OBJECT IDENTIFIER of "TLS server" in the extended key usage. */
const serverUse = "1.3.6.1.5.5.7.3.1";

const good = (found: string): TlsFinding => ({ result: "good", found });
const bad = (found: string, action: string): TlsFinding => ({ result: "bad", found, action });
const warning = (found: string, action: string): TlsFinding => ({ result: "warning", found, action });

const isSelfSigned = (certificate: X509Certificate): boolean => certificate.checkIssued(certificate);

const validityOf = (name: string, { validFrom, validTo }: X509Certificate, nowMs: number): TlsFinding => {
  const days = Math.floor((Date.parse(validTo) - nowMs) / dayMs);
  const until = new Date(validTo).toISOString().slice(0, 10);
  if (Date.parse(validFrom) > nowMs)
    return bad(`${name} is valid from ${new Date(validFrom).toISOString()} only`, "Set the clock, or wait.");
  if (days < 0) return bad(`${name} has expired on ${until}`, "Renew it; a running node takes the new file by itself.");
  if (days < soonDays)
    return warning(
      `${name} expires in ${days} days, on ${until}`,
      "Renew it; a running node takes the new file by itself.",
    );
  return good(`${name} is valid for ${days} days, until ${until}`);
};

const useOf = (certificate: X509Certificate): TlsFinding[] => {
  // Node gives the extended key usage under this name; undefined when the certificate may be used for anything.
  const uses: readonly string[] | undefined = certificate.keyUsage;
  if (uses === undefined || uses.includes(serverUse)) return [];
  return [bad("the certificate is not meant for a server", "Issue one with extendedKeyUsage = serverAuth.")];
};

const namesOf = (certificate: X509Certificate, names: readonly string[]): TlsFinding[] => {
  const alternatives = certificate.subjectAltName;
  if (alternatives === undefined)
    return [
      bad(
        "the certificate has no subject alternative name, and clients look nowhere else",
        "Issue one with subjectAltName = DNS:… or IP:….",
      ),
    ];
  const missing = names.filter(
    (name) => (isIP(name) ? certificate.checkIP(name) : certificate.checkHost(name)) === undefined,
  );
  if (missing.length > 0)
    return [
      bad(
        `the certificate is for ${alternatives}, not for ${missing.join(", ")}`,
        "Issue one with every name that devices call.",
      ),
    ];
  return [good(`the certificate is for ${alternatives}`)];
};

const chainOf = (chain: readonly X509Certificate[]): TlsFinding => {
  const last = chain.at(-1) as X509Certificate;
  const issuer = last.issuer.replaceAll("\n", ", ");
  if (chain.length === 1 && isSelfSigned(last))
    return warning(
      "the certificate has signed itself",
      "Clients have to be given this very certificate; an authority of your own lets you renew it.",
    );
  return good(
    isSelfSigned(last)
      ? `the chain of ${chain.length} ends with its root`
      : `the chain of ${chain.length} leads to ${issuer}`,
  );
};

/**
 * Examines the files as a start would, then what clients will look at.
 *
 * @param names host names and addresses that devices call
 */
export const examineTls = (files: TlsFiles, names: readonly string[], nowMs: number): TlsFinding[] => {
  try {
    readTlsFiles(files);
  } catch (error) {
    return [bad((error as Error).message, "Correct the file: no listener for TLS starts with it.")];
  }
  const chain = readCertificates(files.certificate);
  const [own] = chain as [X509Certificate];
  const authorities = files.authorities === undefined ? [] : readCertificates(files.authorities);
  return [
    good(`${files.certificate} and ${files.key} belong together`),
    validityOf("the certificate", own, nowMs),
    ...chain
      .slice(1)
      .map((certificate, index) => validityOf(`certificate ${index + 2} of the chain`, certificate, nowMs)),
    ...useOf(own),
    ...namesOf(own, names),
    chainOf(chain),
    ...authorities.map((certificate) =>
      validityOf(`the authority ${certificate.subject.replaceAll("\n", ", ")}`, certificate, nowMs),
    ),
  ];
};
