/** What the command line and tests see of a running node. */
import type { NodeStatus } from "./control.ts";
import type { ListenerOptions, TlsFiles } from "./gateway/index.ts";

export interface StartOptions {
  /** The application's file, or a folder with app.ts. */
  readonly app: string;
  /** Everything durable is in it; made if absent. */
  readonly dataFolder: string;
  /** Of the API. Default 127.0.0.1. */
  readonly host?: string;
  /** Where devices connect. Default: TCP on `host`, port 1883. */
  readonly listeners?: readonly ListenerOptions[];
  /** Files of the listeners over TLS. They are read again when they change. */
  readonly tls?: TlsFiles | undefined;
  /** Default 8080; 0 chooses a free one. */
  readonly httpPort?: number;
  /** Gateway threads; default 1, which shares a thread with the log. */
  readonly gateways?: number;
  /** Open connections of each gateway thread; default 10,000. Never more than the process may open files. */
  readonly connectionsMax?: number;
  /** Longest wait of input for company at low rates, ms; default 1, 0 never waits. */
  readonly lingerMs?: number;
  /** Takes what functions log and what the node has to say. */
  readonly log?: (entry: { level: string; message: string; function?: string }) => void;
}

export interface AlertNotice {
  readonly name: string;
  readonly device: string;
  readonly state: "raised" | "updated" | "cleared";
  readonly severity: string;
  readonly timeMs: number;
}

export interface HeadraceNode {
  /** Where devices connect, with the ports that were given, in the order of the options. */
  readonly listeners: readonly (ListenerOptions & { readonly url: string })[];
  readonly httpPort: number;
  readonly apiUrl: string;
  /** The URL of the first listener. */
  readonly mqttUrl: string;
  readonly dataFolder: string;
  /** The application's files: `dev` watches them. */
  readonly files: readonly string[];
  status(): Promise<NodeStatus>;
  onAlert(listener: (alert: AlertNotice) => void): void;
  /** Compiles the application again and replaces the running one. @throws HR_APP_LOAD_FAILED, with the old one still running */
  reload(): Promise<void>;
  /** Reads the files of TLS again, now. A bad one is logged, and the last good ones stay in use. */
  reloadTls(): void;
  /** Settles when the node has stopped; rejects when it had to. */
  readonly closed: Promise<void>;
  /** Stops intake, lets tasks commit, closes. */
  close(options?: { deadlineMs?: number }): Promise<void>;
}
