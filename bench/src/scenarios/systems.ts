/** What takes turns in a comparison: Headrace in its configurations, and the peers. */
import { startHeadrace } from "../servers/headrace.ts";
import type { Server } from "../servers/server.ts";
import type { Context } from "./scenario.ts";

export interface System {
  /** Its name in the result. */
  readonly key: string;
  /** Its name in the table. */
  readonly title: string;
  /** Gateway threads of a Headrace; undefined for a peer. */
  readonly gateways: number | undefined;
  start(folder: string): Promise<Server>;
}

const headraces = [
  { key: "headrace", title: "headrace, durable", gateways: 1 },
  { key: "headraceTwoGateways", title: "headrace, durable, 2 gateway threads", gateways: 2 },
] as const;

/** Headrace with one and with two gateway threads, then the peers. `connections` is what it has to take. */
export function systemsOf({ peers, profileFolder }: Context, connections?: number): readonly System[] {
  return [
    ...headraces.map(({ key, title, gateways }) => ({
      key,
      title,
      gateways,
      start: (dataFolder: string) =>
        startHeadrace({
          application: "ingest",
          dataFolder,
          gateways,
          ...(connections !== undefined && { connections }),
          ...(profileFolder !== undefined && { profileFolder }),
        }),
    })),
    ...peers.map(({ key, title, start }) => ({ key, title, gateways: undefined, start })),
  ];
}
