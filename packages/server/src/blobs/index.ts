export { EmbeddedBlobs } from "./embedded.ts";
