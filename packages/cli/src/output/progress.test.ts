/** Goal: a bar on a terminal, plain lines in a pipe, nothing when a program reads. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { progressBar } from "./progress.ts";

beforeEach(() => vi.useFakeTimers({ toFake: ["performance"] }));
afterEach(() => vi.useRealTimers());

const shown = (options: { quiet?: boolean; isTerminal?: boolean }): string => {
  const written: string[] = [];
  const bar = progressBar("verified", "bytes", { ...options, write: (text) => void written.push(text) });
  for (const done of [100, 5000, 10_000]) {
    vi.advanceTimersByTime(6000);
    bar.update(done, 10_000);
  }
  bar.end();
  return written.join("");
};

test("in a pipe it prints whole lines", () => {
  expect(shown({ isTerminal: false })).toBe(
    "verified 1 %, 100 of 10,000 bytes\nverified 50 %, 5,000 of 10,000 bytes\nverified 100 %, 10,000 of 10,000 bytes\n",
  );
});

test("on a terminal it fills a bar and clears it", () => {
  const text = shown({ isTerminal: true });
  expect(text).toContain(`[${"=".repeat(15)}${" ".repeat(15)}] verified 50 %`);
  expect(text.endsWith("\r\u001b[K")).toBe(true);
});

test("quiet is quiet", () => {
  expect(shown({ quiet: true, isTerminal: true })).toBe("");
});
