/** Three ways to show a run: in place on a terminal, lines in a pipe, objects for programs. */
import type { AlertNotice } from "@headrace/server";
import { grouped, milliseconds, oneLine } from "../output/text.ts";
import type { Frame } from "./frame.ts";

/** Where the node is, shown at the start. */
export interface Place {
  readonly application: string;
  readonly dataFolder: string;
  readonly apiUrl: string;
  readonly mqttUrl: string;
}

export interface Display {
  begin(place: Place): void;
  frame(frame: Frame): void;
  alert(alert: AlertNotice): void;
  /** A line of the node or the command. */
  note(text: string): void;
  /** After the last frame: nothing is drawn over any more. */
  end(): void;
}

type Write = (text: string) => void;

/** More alerts than this in one interval become a count: a terminal is no place for thousands of lines. */
const alertLinesMax = 10;

const alertMarks = { raised: "!", updated: "~", cleared: "+" } as const;

export const alertLine = ({ name, device, state, severity, timeMs }: AlertNotice): string =>
  `${new Date(timeMs).toISOString().slice(11, 19)}  ${alertMarks[state]} ${state.padEnd(7)}  ${oneLine(name)}  ${oneLine(device)}  ${oneLine(severity)}`;

const placeLines = ({ application, dataFolder, apiUrl, mqttUrl }: Place): string[] => [
  `Headrace runs ${oneLine(application)}`,
  `  MQTT  ${mqttUrl}`,
  `  API   ${apiUrl}   (token: ${dataFolder}/api-token)`,
  `  data  ${dataFolder}`,
];

const latencyOf = ({ ackLatencyMs }: Frame): string =>
  ackLatencyMs ? `p50 ${milliseconds(ackLatencyMs.p50)}  p99 ${milliseconds(ackLatencyMs.p99)}` : "no fleet";

/** The lines of the picture that stays in place. */
export function frameLines(frame: Frame): string[] {
  const { alerts, commands } = frame;
  const trouble = [
    frame.rejected > 0 && `${grouped(frame.rejected)} rejected`,
    frame.refused > 0 && `${grouped(frame.refused)} refused`,
    frame.failed > 0 && `${grouped(frame.failed)} failed`,
  ].filter((text) => text !== false);
  return [
    `  messages    ${grouped(frame.messagesPerSecond)}/s   ${grouped(frame.stored)} stored, ${grouped(frame.devices)} devices connected`,
    `  ack latency ${latencyOf(frame)}`,
    `  functions   ${grouped(frame.functionRunsPerSecond)} runs/s   ${grouped(frame.functionRuns)} runs, lag ${grouped(frame.lagEvents)} events, ${milliseconds(frame.lagMs)}`,
    `  table rows  ${grouped(frame.rows)}`,
    `  alerts      ${grouped(alerts.active)} active, ${grouped(alerts.raised)} raised, ${grouped(alerts.cleared)} cleared`,
    `  commands    ${grouped(commands.sent)} sent, ${grouped(commands.acknowledged)} acknowledged`,
    ...(trouble.length > 0 ? [`  trouble     ${trouble.join(", ")}`] : []),
  ];
}

const plainLine = (frame: Frame): string =>
  [
    `${Math.round(frame.elapsedSeconds)}s`,
    `${frame.messagesPerSecond} msg/s`,
    `stored ${frame.stored}`,
    ...(frame.ackLatencyMs ? [`ack ${latencyOf(frame)}`] : []),
    `runs ${frame.functionRuns}`,
    `lag ${frame.lagEvents} (${frame.lagMs} ms)`,
    `rows ${frame.rows}`,
    `alerts +${frame.alerts.raised} -${frame.alerts.cleared}`,
    `commands ${frame.commands.acknowledged}/${frame.commands.sent}`,
  ].join("  ");

/** Counts alert lines in one interval. */
class AlertBudget {
  #shown = 0;
  #hidden = 0;

  take(): boolean {
    if (this.#shown < alertLinesMax) {
      this.#shown++;
      return true;
    }
    this.#hidden++;
    return false;
  }
  /** Starts the next interval; the line about what was not shown. */
  next(): string | undefined {
    const hidden = this.#hidden;
    this.#shown = this.#hidden = 0;
    return hidden > 0 ? `          and ${grouped(hidden)} more alert changes` : undefined;
  }
}

/** Lines scroll above a picture that is drawn again in place. */
export function terminalDisplay(write: Write, columns: () => number): Display {
  const budget = new AlertBudget();
  let shown: string[] = [];
  let drawn = 0;
  const erase = (): string => (drawn > 0 ? `\u001b[${drawn}A\u001b[0J` : "");
  // A line that wraps would be two lines to go up.
  const fitted = (line: string): string => line.slice(0, Math.max(10, columns() - 1));
  const draw = (above: readonly string[]): void => {
    const picture = shown.length > 0 ? ["", ...shown, "", "  Ctrl-C stops"] : [];
    write(`${erase()}${[...above, ...picture].map((line) => `${fitted(line)}\n`).join("")}`);
    drawn = picture.length;
  };
  return {
    begin: (place) => draw(placeLines(place)),
    frame: (frame) => {
      shown = frameLines(frame);
      const more = budget.next();
      draw(more === undefined ? [] : [more]);
    },
    alert: (alert) => {
      if (budget.take()) draw([alertLine(alert)]);
    },
    note: (text) => draw(text.split("\n").map((line) => line.replaceAll("\r", ""))),
    end: () => {
      drawn = 0;
      shown = [];
    },
  };
}

/** One line a second. */
export function linesDisplay(write: Write): Display {
  const budget = new AlertBudget();
  return {
    begin: (place) => write(`${placeLines(place).join("\n")}\n`),
    frame: (frame) => {
      const more = budget.next();
      write(`${more === undefined ? "" : `${more}\n`}${plainLine(frame)}\n`);
    },
    alert: (alert) => {
      if (budget.take()) write(`${alertLine(alert)}\n`);
    },
    note: (text) => write(`${text}\n`),
    end: () => {},
  };
}

/** One object a second, with the alert changes since the one before (at most 1,000). */
export function jsonDisplay(write: Write, writeNote: Write): Display {
  let changes: AlertNotice[] = [];
  return {
    begin: (place) => write(`${JSON.stringify({ started: place })}\n`),
    frame: (frame) => {
      write(`${JSON.stringify({ ...frame, alertChanges: changes })}\n`);
      changes = [];
    },
    alert: (alert) => {
      if (changes.length < 1000) changes.push(alert);
    },
    note: (text) => writeNote(`${text}\n`),
    end: () => {},
  };
}
