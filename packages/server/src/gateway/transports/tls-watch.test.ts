/** Goal: new files are found without being told, however they come, and trouble is looked at again (I7). Method: real files, an interval of milliseconds. */
import { copyFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { testAuthority } from "../../../test/test-authority.ts";
import { readTlsFiles } from "./tls-material.ts";
import { TlsWatch } from "./tls-watch.ts";

const authority = testAuthority();
const { server } = authority;
const next = authority.issue({ subject: "/CN=localhost", names: "DNS:localhost", usage: "serverAuth" });
const path = (name: string): string => join(authority.folder, name);

test("a replaced file, a link that leads elsewhere and files that come one after the other are found; one that is gone is not used", async () => {
  const files = { certificate: path("watched.pem"), key: path("watched.key") };
  symlinkSync(server.certificate, files.certificate);
  symlinkSync(server.key, files.key);
  const changes: string[] = [];
  const troubles: string[] = [];
  using watch = new TlsWatch({
    files,
    intervalMs: 5,
    onChange: ({ certificate }) => changes.push(certificate),
    onTrouble: ({ message }) => troubles.push(message),
  });
  watch.start();
  const first = watch.material.certificate;
  const { certificate: second } = readTlsFiles(next);

  const leadTo = (target: string, link: string): void => {
    symlinkSync(target, path("link"));
    renameSync(path("link"), link);
  };
  leadTo(next.certificate, files.certificate);
  await expect.poll(() => troubles).toEqual([expect.stringContaining("is not the key of")]);
  expect(watch.material.certificate).toBe(first);
  leadTo(next.key, files.key);
  await expect.poll(() => changes).toEqual([second]);

  rmSync(files.key);
  await expect.poll(() => troubles.length).toBe(2);
  expect([watch.material.certificate, troubles[1]]).toEqual([second, expect.stringContaining("cannot be read")]);
  writeFileSync(files.key, "");
  await expect.poll(() => troubles.length).toBe(3);
  rmSync(files.certificate);
  copyFileSync(server.certificate, files.certificate);
  copyFileSync(server.key, files.key);
  await expect.poll(() => changes).toEqual([second, first]);
  expect(watch.material.certificate).toBe(first);
});
