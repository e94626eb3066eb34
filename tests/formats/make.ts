/**
 * Makes a data folder to keep: `node --conditions=headrace-source tests/formats/make.ts v1`. Run once for a version of the formats, before its first
 * release; what is there is never made again, because it stands for what users have.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { EventBlockBuilder, InternedString } from "@headrace/engine";
import { checksum, EmbeddedLog } from "@headrace/server/log";
import { appFile, NodeProcess, storedIn, temporaryFolder } from "../src/node-process.ts";

const version = process.argv[2];
if (!version || !/^v\d+$/.test(version)) throw new Error("name the version: v1");
const target = fileURLToPath(new URL(`./${version}`, import.meta.url));
if (existsSync(target)) throw new Error(`${target} is there and is never made again`);
mkdirSync(target);

/** Segments are long runs of zeros behind what was written. */
const cutZeros = (folder: string): void => {
  for (const name of readdirSync(join(folder, "wal"))) {
    const file = join(folder, "wal", name);
    const bytes = readFileSync(file);
    let end = bytes.byteLength;
    while (end > 0 && bytes[end - 1] === 0) end--;
    if (end === 0) rmSync(file);
    else truncateSync(file, Math.ceil(end / 8) * 8);
  }
};

/** A log with history files, segments, two writers, and records with everything that an envelope can carry. */
async function makeLog(folder: string): Promise<void> {
  using running = temporaryFolder();
  const log = await EmbeddedLog.open({
    folder: running.path,
    segmentBytes: 8192,
    onFatal: (error) => {
      throw error;
    },
  });
  const { id } = await log.open("stream/kept/0", "stream");
  const builder = new EventBlockBuilder(4096);
  const [topic, key, client] = [new InternedString("plants/a/ü"), new InternedString("p1"), new InternedString("box")];
  for (let number = 0; number < 120; number++) {
    const writer = number % 2;
    const payload = Buffer.from(JSON.stringify({ number, text: "x".repeat(200) }));
    builder.reset();
    builder.append(
      topic,
      key,
      client,
      1,
      1_767_323_045_000 + number,
      payload,
      0,
      payload.byteLength,
      undefined,
      1,
      number,
    );
    await log.append([
      builder.seal({ logId: id, writer, epoch: 1, sequence: Math.floor(number / 2) }, checksum).slice(),
    ]);
    if (number % 20 === 0) await sleep(50);
  }
  const files = () =>
    readdirSync(join(running.path, "history"), { recursive: true }).filter((name) => String(name).endsWith(".hist"));
  while (files().length < 3) await sleep(50);
  await log.close();
  cpSync(running.path, folder, { recursive: true });
  cutZeros(folder);
}

/** A node's folder: functions with state, outputs, a table, a lake. */
async function makeNode(folder: string): Promise<void> {
  using running = temporaryFolder();
  const data = join(running.path, "data");
  await using node = await NodeProcess.start({ app: appFile("counting"), data });
  for (let n = 1; n <= 40; n++) {
    const body = JSON.stringify({ epoch: 1, n });
    await node.fetch(`/v1/events?stream=load&device=${n % 2 === 0 ? "even" : "odd"}`, { method: "POST", body });
  }
  await node.drained();
  while (storedIn(await node.status(), "per_second") === 0) await sleep(100);
  await sleep(11_000);
  await node.end("SIGINT");
  for (const name of ["lock", "lock.pid", "releases", "api-token", "node.json"])
    rmSync(join(data, name), { recursive: true, force: true });
  cpSync(data, folder, { recursive: true });
  cutZeros(folder);
}

await makeLog(join(target, "log"));
await makeNode(join(target, "node"));
writeFileSync(
  join(target, "README.md"),
  `# Data folders of format ${version}\n\nMade by \`tests/formats/make.ts\`; never changed. \`tests/src/formats.test.ts\` opens copies of them.\n`,
);
