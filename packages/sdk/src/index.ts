export * from "./definition.ts";
export * from "./errors.ts";
export * from "./standard-schema.ts";
