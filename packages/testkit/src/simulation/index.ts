export { seededRandom } from "../random.ts";
export { filesConformance } from "./files-conformance.ts";
export {
  type DiskEvent,
  type DiskFaults,
  type DiskOptions,
  noFaults,
  PowerCut,
  SimulatedDisk,
} from "./simulated-disk.ts";
export { type LoopOptions, VirtualLoop } from "./virtual-loop.ts";
