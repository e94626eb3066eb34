/** Who may call: whoever knows the token, and on a loopback address only under a loopback name (against DNS rebinding). */
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { HeadraceError } from "@headrace/sdk";

const loopbackNames = new Set(["localhost", "127.0.0.1", "[::1]"]);
const loopbackHosts = new Set(["localhost", "127.0.0.1", "::1"]);

const nameOf = (authority: string): string => authority.toLowerCase().replace(/:\d*$/, "");
const digestOf = (text: string): Buffer => createHash("sha256").update(text).digest();

/** The host of an Origin header; undefined when it has none (`null`, garbage). */
function originHost(origin: string): string | undefined {
  try {
    return new URL(origin).host || undefined;
  } catch {
    return undefined;
  }
}

/**
 * Makes the check for a server that is bound to `host`.
 *
 * @returns a function that throws `HR_API_FORBIDDEN` or `HR_API_UNAUTHORIZED`
 */
export function makeGuard(token: string, host: string): (headers: IncomingHttpHeaders) => void {
  // Digests have one length, so the comparison tells nothing about the token's.
  const expected = digestOf(token);
  const onLoopback = loopbackHosts.has(host) || host.startsWith("127.");

  return (headers) => {
    if (onLoopback) {
      const called = headers.host ?? "";
      if (!loopbackNames.has(nameOf(called)) && nameOf(called) !== host) {
        throw new HeadraceError(
          "HR_API_FORBIDDEN",
          `the host ${JSON.stringify(called)} is not this machine's loopback`,
        );
      }
      const { origin } = headers;
      if (origin !== undefined && originHost(origin) !== called.toLowerCase()) {
        throw new HeadraceError("HR_API_FORBIDDEN", `the origin ${JSON.stringify(origin)} is not this node`);
      }
    }
    const [scheme, given] = (headers.authorization ?? "").split(" ");
    if (scheme?.toLowerCase() !== "bearer" || !given || !timingSafeEqual(digestOf(given), expected)) {
      throw new HeadraceError(
        "HR_API_UNAUTHORIZED",
        given ? "the token is not this node's" : "the request carries no token",
      );
    }
  };
}
