export { poolYieldsToMessagePath, yieldToMessagePath } from "./background.ts";
export { type Endpoint, errorFromWire, errorToWire, Moved, openRpc, type Rpc } from "./rpc.ts";
