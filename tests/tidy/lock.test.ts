/**
 * Goal: package-lock.json is complete for every platform, or `npm ci` refuses it on a clean machine.
 * Method: compare the optional dependencies that the lock names with its entries (`npm run lock:platforms` adds them).
 */
import { expect, test } from "vitest";
import { type LockPackages, missingPlatforms } from "../../tools/lock-platforms.ts";
import { textOf } from "./repository.ts";

test("every optional dependency that the lock names is in the lock", () => {
  const { packages } = JSON.parse(textOf("package-lock.json") ?? "{}") as { packages: LockPackages };
  expect(Object.keys(packages).length).toBeGreaterThan(0);
  expect(Object.keys(missingPlatforms(packages))).toEqual([]);
});

test("a planted gap is found, with the platform from the name", () => {
  const optionalDependencies = { "@a/cli-linux-x64-musl": "1.0.0", "@a/cli-linux-x64": "1.0.0" };
  const packages = {
    "node_modules/a": { optionalDependencies },
    "node_modules/@a/cli-linux-x64": { version: "1.0.0" },
  };
  expect(missingPlatforms(packages)).toEqual({
    "node_modules/@a/cli-linux-x64-musl": {
      version: "1.0.0",
      cpu: ["x64"],
      libc: ["musl"],
      optional: true,
      os: ["linux"],
    },
  });
});
