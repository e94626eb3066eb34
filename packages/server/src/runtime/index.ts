export { type AppOutline, findApp, loadApp, type Release } from "./app-bundle.ts";
export { streamLog } from "./plan.ts";
export { Runtime, type RuntimeOptions } from "./runtime.ts";
