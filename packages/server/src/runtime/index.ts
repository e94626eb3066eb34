export { streamLog } from "@headrace/engine";
export { type AppOutline, findApp, loadApp, type Release } from "./app-bundle.ts";
export { Runtime, type RuntimeOptions } from "./runtime.ts";
