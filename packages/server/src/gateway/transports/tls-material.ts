/** Certificate, key and authorities of the TLS listeners: read, examined as a whole, and only then used. */
import { createPrivateKey, type X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext, type SecureContextOptions } from "node:tls";
import { HeadraceError } from "@headrace/sdk";
import { certificatesOf, hasSigned } from "./certificate.ts";

/** Whether clients show a certificate: none is asked for, one that is shown has to be examined, or nobody comes in without a valid one. */
export type ClientCertificates = "none" | "optional" | "required";

/** The files, all PEM. */
export interface TlsFiles {
  /** The node's certificate, then those of the authorities between it and the root. */
  readonly certificate: string;
  readonly key: string;
  /** The authorities that may vouch for clients. Needed unless `clientCertificates` is "none". */
  readonly authorities?: string;
  /** What the authorities have revoked; with it every authority needs a list that is not too old, or its clients stay outside. */
  readonly revoked?: string;
  /** Default "none". */
  readonly clientCertificates?: ClientCertificates;
}

/** The contents. Travels between threads. */
export interface TlsMaterial {
  readonly certificate: string;
  readonly key: string;
  readonly authorities: string | undefined;
  readonly revoked: string | undefined;
  readonly clientCertificates: ClientCertificates;
}

/** TLS 1.3, and of 1.2 only what has forward secrecy and authenticated encryption. */
const ciphers = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");

export const secureContextOf = ({ certificate, key, authorities, revoked }: TlsMaterial): SecureContextOptions => ({
  cert: certificate,
  key,
  // Never the authorities of the public web: they vouch for everybody.
  ca: authorities ?? [],
  ...(revoked !== undefined && { crl: revoked }),
  minVersion: "TLSv1.2",
  ciphers,
  honorCipherOrder: true,
});

const invalid = (message: string, data: Record<string, unknown>, cause?: unknown): HeadraceError =>
  new HeadraceError("HR_TLS_INVALID", message, { data, ...(cause !== undefined && { cause }) });

const readText = (file: string): string => {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw invalid(`${file} cannot be read: ${(error as Error).message}`, { file }, error);
  }
};

/** The certificates of a file that has to have some. @throws HR_TLS_INVALID naming it */
export const readCertificates = (file: string, text = readText(file)): X509Certificate[] => {
  let found: X509Certificate[];
  try {
    found = certificatesOf(text);
  } catch (error) {
    throw invalid(`${file} holds a damaged certificate: ${(error as Error).message}`, { file }, error);
  }
  // A file that holds nothing must not mean "nobody is asked", nor half of one "those few".
  if (found.length === 0) throw invalid(`${file} holds no certificate in PEM`, { file });
  if (found.length !== text.split("-----BEGIN CERTIFICATE-----").length - 1)
    throw invalid(`${file} ends in the middle of a certificate`, { file });
  return found;
};

/** Where a chain breaks: each certificate has to be signed by the one behind it. */
const brokenLink = (chain: readonly X509Certificate[]): number =>
  chain.findIndex((certificate, index) => {
    const next = chain[index + 1];
    return next !== undefined && !hasSigned(next, certificate);
  });

/**
 * Reads and examines the files; what it gives can be used.
 *
 * @throws HR_TLS_INVALID naming the file: not readable, empty, damaged, not a pair, a chain in the wrong order
 */
export const readTlsFiles = (files: TlsFiles): TlsMaterial => {
  const { clientCertificates = "none" } = files;
  const [certificate, key] = [readText(files.certificate), readText(files.key)];
  const chain = readCertificates(files.certificate, certificate);
  const [own] = chain as [X509Certificate];
  let isPair: boolean;
  try {
    isPair = own.checkPrivateKey(createPrivateKey(key));
  } catch (error) {
    throw invalid(
      `${files.key} holds no private key without a passphrase: ${(error as Error).message}`,
      { file: files.key },
      error,
    );
  }
  if (!isPair) throw invalid(`${files.key} is not the key of ${files.certificate}`, { file: files.key });
  const broken = brokenLink(chain);
  if (broken >= 0)
    throw invalid(`certificate ${broken + 2} of ${files.certificate} has not signed the one before it`, {
      file: files.certificate,
    });
  if (clientCertificates !== "none" && files.authorities === undefined)
    throw invalid("client certificates need the authorities that may vouch for them (--tls-ca)", {});
  const authorities = files.authorities === undefined ? undefined : readText(files.authorities);
  if (files.authorities !== undefined) readCertificates(files.authorities, authorities);
  const revoked = files.revoked === undefined ? undefined : readText(files.revoked);
  if (revoked !== undefined && !revoked.includes("-----BEGIN X509 CRL-----"))
    throw invalid(`${files.revoked} holds no revocation list in PEM`, { file: files.revoked });
  const material = { certificate, key, authorities, revoked, clientCertificates };
  try {
    createSecureContext(secureContextOf(material));
  } catch (error) {
    throw invalid(`TLS does not take these files: ${(error as Error).message}`, { files: { ...files } }, error);
  }
  return material;
};

/** When the certificate of a node ends, ms. */
export const validUntilMs = ({ certificate }: TlsMaterial): number =>
  Date.parse(certificatesOf(certificate)[0]?.validTo ?? "");
