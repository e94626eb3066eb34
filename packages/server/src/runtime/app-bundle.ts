/** From an application's folder to a release: one bundled file, named by its content, and its definition as plain data. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { type AppDefinition, HeadraceError } from "@headrace/sdk";
import { type BuildFailure, build } from "esbuild";

/** What the node knows of a function without running its code. */
export interface FunctionOutline {
  readonly name: string;
  readonly on: string;
  readonly emits: readonly string[];
  readonly concurrency: number;
}
/** The definition without the user's code: what crosses threads. */
export interface AppOutline extends Omit<AppDefinition, "functions" | "streams"> {
  readonly streams: readonly (Omit<AppDefinition["streams"][number], "schema"> & { readonly hasSchema: boolean })[];
  readonly functions: readonly FunctionOutline[];
}
export interface Release {
  /** SHA-256 of the bundle, 16 hex digits. */
  readonly id: string;
  readonly bundleUrl: string;
  readonly outline: AppOutline;
  /** Files that the bundle was made of, absolute: watched by `dev`. */
  readonly files: readonly string[];
}

/** The application's file: `path` itself, or app.ts, app.js or index.ts in it. @throws HR_APP_LOAD_FAILED */
export const findApp = (path: string): string => {
  const full = resolve(path);
  if (!existsSync(full)) throw new HeadraceError("HR_APP_LOAD_FAILED", `there is no application at ${full}`);
  if (statSync(full).isFile()) return full;
  for (const name of ["app.ts", "app.mts", "app.js", "app.mjs", "index.ts", "index.js"])
    if (existsSync(join(full, name))) return join(full, name);
  throw new HeadraceError("HR_APP_LOAD_FAILED", `${full} has no app.ts; name the application's file`);
};

/** Compiles the application. @throws HR_APP_LOAD_FAILED naming file, line and reason; HR_APP_INVALID for a definition that is wrong */
export const loadApp = async (path: string, releasesFolder: string): Promise<Release> => {
  const entry = findApp(path);
  const sourceCondition = process.execArgv.some((argument) => argument.includes("headrace-source"));
  const result = await build({
    entryPoints: [entry],
    absWorkingDir: dirname(entry),
    bundle: true,
    write: false,
    metafile: true,
    format: "esm",
    platform: "node",
    target: "node24",
    sourcemap: "inline",
    logLevel: "silent",
    ...(sourceCondition && { conditions: ["headrace-source", "module"] }),
  }).catch((failure: BuildFailure) => {
    const first = failure.errors?.[0];
    const where = first?.location
      ? `${join(dirname(entry), first.location.file)}:${first.location.line}:${first.location.column + 1}: `
      : "";
    throw new HeadraceError(
      "HR_APP_LOAD_FAILED",
      `the application does not compile: ${where}${first?.text ?? String(failure)}`,
      { cause: failure },
    );
  });
  const [{ contents }] = result.outputFiles;
  const id = createHash("sha256").update(contents).digest("hex").slice(0, 16);
  mkdirSync(releasesFolder, { recursive: true });
  const bundle = join(releasesFolder, `${id}.mjs`);
  if (!existsSync(bundle)) writeFileSync(bundle, contents);
  const bundleUrl = pathToFileURL(bundle).href;
  const files = Object.keys(result.metafile.inputs).map((file) => resolve(dirname(entry), file));
  return { id, bundleUrl, outline: await inspect(bundleUrl, entry), files };
};

/** Runs the bundle in a thread of its own for its definition: the node's own threads never run the user's code. */
const inspect = (bundleUrl: string, entry: string): Promise<AppOutline> =>
  new Promise((settle, reject) => {
    const file = import.meta.url.endsWith(".ts") ? "./app-inspect-worker.ts" : "./app-inspect-worker.js";
    const worker = new Worker(new URL(file, import.meta.url), {
      workerData: { bundleUrl },
      env: {},
      execArgv: [...process.execArgv, "--enable-source-maps"],
    });
    const fail = (message: string, cause?: unknown): void =>
      reject(new HeadraceError("HR_APP_LOAD_FAILED", `${entry} could not be loaded: ${message}`, { cause }));
    const deadline = setTimeout(() => {
      fail("it did not finish loading within 10 s");
      void worker.terminate();
    }, 10_000);
    worker.on("message", (message: { outline?: AppOutline; error?: string; invalid?: boolean }) => {
      clearTimeout(deadline);
      if (message.outline) settle(message.outline);
      else if (message.invalid)
        reject(new HeadraceError("HR_APP_INVALID", message.error ?? "the definition is not valid"));
      else fail(message.error ?? "unknown reason");
      void worker.terminate();
    });
    worker.on("error", (error) => {
      clearTimeout(deadline);
      fail(error.message, error);
    });
  });
