export * from "./block/crc32c.ts";
export * from "./block/event-builder.ts";
export * from "./block/event-format.ts";
export * from "./block/event-reader.ts";
export * from "./block/header.ts";
export * from "./block/properties.ts";
export * from "./keys.ts";
export * from "./log/port.ts";
