/**
 * Goal: what the project of `headrace init` says in its README works, word for word, in the hands of a newcomer.
 * Method: make the project, run it with `dev`, be a device with mosquitto_pub, change the function, see that the change
 * acts, and ask what happened. The packages stand where `npm install` would have put them.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  command,
  environment,
  headrace,
  Running,
  readNodeFile,
  repository,
  soon,
  temporaryFolder,
} from "./node-process.ts";

interface Alert {
  readonly device: string;
  readonly value: { readonly name: string; readonly status: string; readonly details: Record<string, unknown> };
}

test("init, dev, a message, an edit, the new behaviour, query and tail", async () => {
  using folder = temporaryFolder();
  const project = join(folder.path, "pumps");
  const inProject = { cwd: project };

  const made = await headrace(["init", "pumps"], { cwd: folder.path });
  expect(made).toMatchObject({ code: 0, stderr: "" });
  expect(made.stdout).toContain("cd pumps && npm install && npx headrace dev");
  for (const name of ["package.json", "app.ts", "app.test.ts", "tsconfig.json", "README.md", ".gitignore"]) {
    expect(existsSync(join(project, name)), name).toBe(true);
  }
  const modules = join(project, "node_modules");
  mkdirSync(modules);
  for (const name of ["headrace", "@headrace", "zod"])
    symlinkSync(join(repository, "node_modules", name), join(modules, name));

  const tests = spawnSync(process.execPath, ["--conditions=headrace-source", "--test"], {
    ...inProject,
    encoding: "utf8",
    env: environment,
  });
  expect(tests.status, tests.stdout).toBe(0);

  await using dev = new Running(
    process.execPath,
    [...command, "dev", "--mqtt-port", "0", "--http-port", "0"],
    inProject,
  );
  const data = join(project, ".headrace");
  await expect.poll(() => dev.stdout, soon).toContain("waiting for changes");
  const node = readNodeFile(data);
  if (!node) throw new Error(`no node:\n${dev.stdout}\n${dev.stderr}`);
  const port = new URL(node.mqttUrl).port;
  const publish = async (device: string, temperature: number): Promise<void> => {
    const message = ["-t", `sensors/${device}`, "-m", JSON.stringify({ temperature })];
    const { code, stderr } = await new Running("mosquitto_pub", ["-h", "127.0.0.1", "-p", port, "-q", "1", ...message])
      .ended;
    expect(code, stderr).toBe(0);
  };
  const firstAlert = async (): Promise<Alert> => {
    const tail = await headrace(["tail", "alerts", "--from", "start", "--limit", "1", "--json"], inProject);
    expect(tail, tail.stderr).toMatchObject({ code: 0 });
    return JSON.parse(tail.stdout) as Alert;
  };

  // As scaffolded: three hot readings in a row.
  await publish("s1", 95);
  const sent = await headrace(["send", "readings", '{"temperature": 96}', "--device", "s1"], inProject);
  expect(sent, sent.stderr).toMatchObject({ code: 0, stdout: "stored 1 event\n" });
  await publish("s1", 97);
  expect(await firstAlert()).toMatchObject({
    device: "s1",
    value: { name: "overheating", status: "raised", details: { temperature: 97 } },
  });

  // A change that does not compile leaves the old function at work, and is named.
  const file = join(project, "app.ts");
  const source = readFileSync(file, "utf8");
  writeFileSync(file, source.replace("state.hot === 3", "state.hot === ("));
  await expect.poll(() => dev.stderr, soon).toMatch(/app\.ts:\d+:\d+.*\n.*HR_APP_LOAD_FAILED/);
  expect(dev.stdout).toContain("the application before this change goes on");

  // One that does is loaded, and keeps the state of s1, which counts on from three.
  const edited = source.replace("state.hot === 3", "state.hot === 4").replace('"overheating", {', '"still-hot", {');
  expect(edited).not.toBe(source);
  writeFileSync(file, edited);
  await expect.poll(() => dev.stdout, soon).toMatch(/reloaded in .* \(app\.ts\)/);
  await publish("s1", 98);
  const alerts = async (): Promise<unknown> => {
    const sql = "select name, device, details->>'temperature' from alerts order by sequence";
    const { stdout, stderr } = await headrace(["query", sql, "--json"], inProject);
    if (stdout === "") throw new Error(stderr);
    return (JSON.parse(stdout) as { rows: unknown }).rows;
  };
  await expect.poll(alerts, soon).toEqual([
    ["overheating", "s1", "97"],
    ["still-hot", "s1", "98"],
  ]);

  const query = await headrace(["query", "select device, temperature from readings order by temperature"], inProject);
  expect(query).toMatchObject({ code: 0, stderr: "" });
  expect(query.stdout).toBe(
    [
      "device  temperature",
      "------  -----------",
      ...[95, 96, 97, 98].map((n) => `s1               ${n}`),
      "(4 rows)",
      "",
    ].join("\n"),
  );
  const tail = await headrace(["tail", "readings", "--from", "start", "--limit", "4"], inProject);
  expect(tail.stdout.trim().split("\n").at(-1)).toMatch(/^\d{4}-\S+Z {2}s1 {2}\{"temperature":98\}$/);
  expect(await headrace(["status"], inProject)).toMatchObject({ code: 0, stderr: "" });

  expect(await dev.end("SIGINT"), dev.stderr).toMatchObject({ code: 0 });
  expect(dev.stdout).toContain("stopped");
});
