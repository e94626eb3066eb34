/** For tests: a certificate authority made with the openssl command, which knows nothing of our code, and what it issues. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

/** Paths of PEM files. */
export interface Issued {
  readonly certificate: string;
  readonly key: string;
}

export interface IssueOptions {
  /** Such as `/CN=pump-1`. */
  readonly subject: string;
  /** Subject alternative names, such as `URI:urn:pump:1` or `DNS:localhost`. */
  readonly names?: string;
  readonly usage?: "serverAuth" | "clientAuth";
  /** Both as openssl writes them: `20250101000000Z`. */
  readonly validity?: readonly [from: string, until: string];
}

export class TestAuthority {
  readonly folder: string;
  readonly #name: string;
  #issued = 0;

  constructor(folder: string, name: string, subject: string) {
    this.folder = folder;
    this.#name = name;
    const index = this.#path("index");
    writeFileSync(index, "");
    writeFileSync(`${index}.attr`, "unique_subject = no\n");
    writeFileSync(
      this.#path("cnf"),
      `[ca]\ndefault_ca=x\n[x]\ndatabase=${index}\nrand_serial=yes\ndefault_md=sha256\ndefault_days=30\ndefault_crl_days=30\npolicy=p\ncopy_extensions=copy\nunique_subject=no\nnew_certs_dir=${folder}\n[p]\ncommonName=supplied\norganizationName=optional\ncountryName=optional\n`,
    );
    this.#openssl(
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:prime256v1",
      "-nodes",
      "-days",
      "30",
      "-subj",
      subject,
      "-addext",
      "basicConstraints=critical,CA:TRUE",
      "-addext",
      "keyUsage=critical,keyCertSign,cRLSign",
      "-keyout",
      this.#path("key"),
      "-out",
      this.certificate,
    );
  }

  #path(kind: string): string {
    return join(this.folder, `${this.#name}.${kind}`);
  }
  #openssl(...args: string[]): void {
    execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
  }

  /** Path of its own certificate. */
  get certificate(): string {
    return this.#path("pem");
  }
  get pem(): string {
    return readFileSync(this.certificate, "utf8");
  }

  issue({ subject, names, usage, validity }: IssueOptions): Issued {
    const name = `${this.#name}-${++this.#issued}`;
    const [key, request, certificate] = ["key", "csr", "pem"].map((kind) => join(this.folder, `${name}.${kind}`)) as [
      string,
      string,
      string,
    ];
    const extensions = [...(names ? [`subjectAltName=${names}`] : []), ...(usage ? [`extendedKeyUsage=${usage}`] : [])];
    this.#openssl(
      "req",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:prime256v1",
      "-nodes",
      "-subj",
      subject,
      ...extensions.flatMap((extension) => ["-addext", extension]),
      "-keyout",
      key,
      "-out",
      request,
    );
    this.#openssl(
      "ca",
      "-batch",
      "-notext",
      "-config",
      this.#path("cnf"),
      "-cert",
      this.certificate,
      "-keyfile",
      this.#path("key"),
      ...(validity ? ["-startdate", validity[0], "-enddate", validity[1]] : []),
      "-in",
      request,
      "-out",
      certificate,
    );
    return { certificate, key };
  }

  /** Revokes a certificate, or none, and gives the path of the new list. */
  revoke(issued?: Issued): string {
    const config = ["-config", this.#path("cnf"), "-cert", this.certificate, "-keyfile", this.#path("key")];
    if (issued) this.#openssl("ca", ...config, "-revoke", issued.certificate);
    this.#openssl("ca", ...config, "-gencrl", "-out", this.#path("crl"));
    return this.#path("crl");
  }
}

/** An authority in a folder that goes with the test file, and a certificate for a node on localhost. */
export const testAuthority = (subject = "/CN=Test Authority"): TestAuthority & { readonly server: Issued } => {
  const folder = mkdtempSync(join(tmpdir(), "headrace-tls-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const authority = new TestAuthority(folder, "ca", subject);
  const names = "DNS:localhost,IP:127.0.0.1";
  return Object.assign(authority, {
    server: authority.issue({ subject: "/CN=localhost", names, usage: "serverAuth" }),
  });
};
