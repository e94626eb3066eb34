/** Goal: what is wrong with a machine is named with what to do, and a good one is called good. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Diagnosis, examine } from "./doctor.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "headrace-doctor-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const look = async (dataFolder: string, ports: number[] = []): Promise<Map<string, Diagnosis>> =>
  new Map((await examine({ dataFolder, host: "127.0.0.1", ports })).map((found) => [found.subject, found]));

test("a folder of one's own, and one that can be made, are good; nothing is left in them", async () => {
  const found = await look(folder);
  expect(found.get("folder")).toMatchObject({ result: "good" });
  expect(found.get("disk")?.found).toMatch(/a durable write takes \d+\.\d\d ms/);
  expect((await look(join(folder, "new", "deeper"))).get("folder")).toMatchObject({
    result: "good",
    found: expect.stringContaining("can be made"),
  });
  expect(await look(folder)).toBeDefined();
});

test("S20: a file in place of the folder, and a folder that everybody can write, are bad and say what to do", async () => {
  const file = join(folder, "file");
  writeFileSync(file, "");
  expect((await look(file)).get("folder")).toMatchObject({ result: "bad", action: expect.stringContaining("--data") });
  chmodSync(folder, 0o777);
  expect((await look(folder)).get("folder")).toMatchObject({ result: "bad", action: `chmod o-rwx ${folder}` });
});

test("a folder in memory is bad", async () => {
  const found = await look("/dev/shm/headrace-doctor");
  // Where there is no such file system there is nothing to find.
  if (found.get("disk")?.found.includes("is on")) expect(found.get("disk")).toMatchObject({ result: "bad" });
  else expect(found.get("disk")?.found).toMatch(/durable write/);
});

test("a port in use is named", async () => {
  const server = createServer();
  const port = await new Promise<number>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port)),
  );
  expect((await look(folder, [port])).get("port")).toMatchObject({
    result: "warning",
    found: `port ${port} on 127.0.0.1 is in use`,
  });
  server.close();
});
