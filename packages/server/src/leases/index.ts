export { EmbeddedLeases } from "./embedded.ts";
