/** What the command line and tests see of a running node. */
import type { NodeStatus } from "./control.ts";

export interface StartOptions {
  /** The application's file, or a folder with app.ts. */
  readonly app: string;
  /** Everything durable is in it; made if absent. */
  readonly dataFolder: string;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 1883; 0 chooses a free one. */
  readonly mqttPort?: number;
  /** Default 8080; 0 chooses a free one. */
  readonly httpPort?: number;
  /** Gateway threads; default 1, which shares a thread with the log. */
  readonly gateways?: number;
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
  readonly mqttPort: number;
  readonly httpPort: number;
  readonly apiUrl: string;
  readonly mqttUrl: string;
  readonly dataFolder: string;
  /** The application's files: `dev` watches them. */
  readonly files: readonly string[];
  status(): Promise<NodeStatus>;
  onAlert(listener: (alert: AlertNotice) => void): void;
  /** Compiles the application again and replaces the running one. @throws HR_APP_LOAD_FAILED, with the old one still running */
  reload(): Promise<void>;
  /** Settles when the node has stopped; rejects when it had to. */
  readonly closed: Promise<void>;
  /** Stops intake, lets tasks commit, closes. */
  close(options?: { deadlineMs?: number }): Promise<void>;
}
