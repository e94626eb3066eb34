export { errorFromWire, errorToWire, Moved, openRpc, type Rpc } from "./rpc.ts";
