/** SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side, without channel binding. The node never sees a password. */
import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from "node:crypto";
import { reasonCodes } from "@headrace/mqtt";
import type { Exchange } from "./mechanism.ts";
import type { Authentication } from "./policy.ts";

/** What is kept of a user's password. */
export interface ScramSecret {
  readonly salt: Uint8Array;
  readonly iterations: number;
  readonly storedKey: Uint8Array;
  readonly serverKey: Uint8Array;
}

export const scramMethod = "SCRAM-SHA-256";
const hashBytes = 32;
/** Of an unknown user: so that names cannot be guessed from the answer. */
const decoy = { salt: randomBytes(16), iterations: 4_096, key: randomBytes(hashBytes) };

const hmac = (key: Uint8Array, data: string | Uint8Array): Buffer => createHmac("sha256", key).update(data).digest();
const sha256 = (data: Uint8Array): Buffer => createHash("sha256").update(data).digest();

/** Makes what has to be kept of a password. Takes milliseconds: not for the thread that serves devices. */
export const scramSecret = (password: string, salt: Uint8Array = randomBytes(16), iterations = 4_096): ScramSecret => {
  const salted = pbkdf2Sync(password.normalize("NFKC"), salt, iterations, hashBytes, "sha256");
  return { salt, iterations, storedKey: sha256(hmac(salted, "Client Key")), serverKey: hmac(salted, "Server Key") };
};

const refused: Authentication = { reasonCode: reasonCodes.notAuthorized, reason: "SCRAM authentication failed" };

/** A mechanism over the secrets of users; the identity is the user's name. */
export const scram =
  (secretOf: (user: string) => ScramSecret | undefined, nonce = () => randomBytes(18).toString("base64")) =>
  (): Exchange =>
    new ScramExchange(secretOf, nonce());

class ScramExchange implements Exchange {
  readonly #secretOf: (user: string) => ScramSecret | undefined;
  readonly #serverNonce: string;
  #first:
    | { user: string; secret: ScramSecret | undefined; header: string; nonce: string; messages: string }
    | undefined;

  constructor(secretOf: (user: string) => ScramSecret | undefined, serverNonce: string) {
    this.#secretOf = secretOf;
    this.#serverNonce = serverNonce;
  }

  step(data: Uint8Array | undefined): { readonly challenge: Uint8Array } | Authentication {
    if (data === undefined || data.byteLength > 4_096) return refused;
    const text = Buffer.from(data).toString("utf8");
    return this.#first === undefined ? this.#begin(text) : this.#finish(text);
  }

  // client-first-message: gs2-header "n=" name ",r=" nonce
  #begin(text: string): { readonly challenge: Uint8Array } | Authentication {
    const found = /^([ny],(?:a=[^,]*)?,)(n=([^,]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?)$/s.exec(text);
    if (found === null) return refused;
    const [, header = "", bare = "", name = "", clientNonce = ""] = found;
    if (/=(?!2C|3D)/.test(name)) return refused;
    const user = name.replaceAll("=2C", ",").replaceAll("=3D", "=");
    const secret = this.#secretOf(user);
    const nonce = clientNonce + this.#serverNonce;
    // An unknown user gets a salt of its own that stays the same.
    const salt = secret?.salt ?? hmac(decoy.key, user).subarray(0, 16);
    const challenge = `r=${nonce},s=${Buffer.from(salt).toString("base64")},i=${secret?.iterations ?? decoy.iterations}`;
    this.#first = { user, secret, header, nonce, messages: `${bare},${challenge}` };
    return { challenge: Buffer.from(challenge) };
  }

  // client-final-message: "c=" base64 gs2-header ",r=" nonce ",p=" proof
  #finish(text: string): Authentication {
    const first = this.#first;
    const found = /^(c=([^,]+),r=([^,]+)(?:,.*)?),p=([A-Za-z0-9+/=]+)$/s.exec(text);
    if (first === undefined || found === null) return refused;
    const [, withoutProof = "", binding = "", nonce = "", proofText = ""] = found;
    if (nonce !== first.nonce || Buffer.from(binding, "base64").toString("utf8") !== first.header) return refused;
    const proof = Buffer.from(proofText, "base64");
    const { secret } = first;
    if (secret === undefined || proof.length !== hashBytes) return refused;
    const messages = `${first.messages},${withoutProof}`;
    const signature = hmac(secret.storedKey, messages);
    const clientKey = proof.map((byte, index) => byte ^ (signature[index] as number));
    if (!timingSafeEqual(sha256(clientKey), secret.storedKey)) return refused;
    return { identity: first.user, data: Buffer.from(`v=${hmac(secret.serverKey, messages).toString("base64")}`) };
  }
}
