/** Options that several commands share. */
import { durationMs } from "@headrace/sdk";
import { type Command, InvalidArgumentError } from "commander";
import { ApiClient } from "../client/api-client.ts";
import { type ConnectionOptions, findNode } from "../client/connection.ts";

/** What a command writes to; tests give their own. */
export interface Output {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

/** A whole number in a range. */
export const wholeNumber =
  (min: number, max: number) =>
  (text: string): number => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max)
      throw new InvalidArgumentError(`A whole number from ${min} to ${max}.`);
    return value;
  };

/** One of a few words. */
export const oneOf =
  <Word extends string>(...words: readonly Word[]) =>
  (text: string): Word => {
    const word = words.find((one) => one === text);
    if (word === undefined) throw new InvalidArgumentError(`One of: ${words.join(", ")}.`);
    return word;
  };

/** A number above 0. */
export const positiveNumber = (text: string): number => {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value)) throw new InvalidArgumentError("A number above 0.");
  return value;
};

/** A duration such as 30s, in milliseconds. */
export const duration = (text: string): number => {
  try {
    return durationMs(text);
  } catch {
    throw new InvalidArgumentError("A duration such as 500ms, 30s or 5m.");
  }
};

/** Adds the options that find the running node. */
export const withConnection = (command: Command): Command =>
  command
    .option("--url <url>", "API of the node (or HEADRACE_URL); default: the node of the data folder")
    .option("--token <token>", "API token (or HEADRACE_TOKEN); default: the one in the data folder")
    .option("--data <folder>", "data folder of the node (default: .headrace)");

/** The client for a command's options. */
export const clientOf = (options: ConnectionOptions): ApiClient => new ApiClient(findNode(options));

/** Examples under a command's help. */
export const examples = (...lines: string[]): string =>
  `\nExamples:\n${lines.map((line) => `  $ ${line}`).join("\n")}\n`;
