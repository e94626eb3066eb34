/** Who a client is by its certificate: exact matches only, so that no spelling of a name is another's (I3). */
import { reasonCodes } from "@headrace/mqtt";
import type { Authenticate, Authentication } from "../policy.ts";

/** One certificate, or a URI of one authority, which stays the same when the certificate is renewed. Fingerprints as in `ClientCertificate`. */
export type CertificateRule = { readonly identity: string } & (
  | { readonly fingerprint: string }
  | { readonly issuer: string; readonly uri: string }
);

const refused = (reason: string): Authentication => ({ reasonCode: reasonCodes.notAuthorized, reason });

/** Admits clients by their certificate: those that no rule names, two rules name, or no authority vouches for are refused. */
export const byCertificate = (rules: readonly CertificateRule[]): Authenticate => {
  const identities = new Map<string, string>();
  for (const rule of rules) {
    // A fingerprint has no space, so the pairs and the single ones do not meet.
    identities.set("fingerprint" in rule ? rule.fingerprint : `${rule.issuer} ${rule.uri}`, rule.identity);
  }
  return ({ peer: { certificate } }) => {
    if (certificate === undefined) return refused("a client certificate is needed");
    const { fingerprint, issuer, uris, problem } = certificate;
    if (problem !== undefined) return refused(`the client certificate does not count: ${problem}`);
    const found = new Set(
      [fingerprint, ...uris.map((uri) => `${issuer} ${uri}`)].flatMap((key) => identities.get(key) ?? []),
    );
    const [identity] = found;
    if (identity === undefined) return refused("the client certificate is nobody's");
    return found.size > 1 ? refused("the client certificate is more than one's") : { identity };
  };
};
