/** Goal: rates are per second, the picture stays in place, and many alerts do not flood the terminal. */
import type { AlertNotice } from "@headrace/server";
import { expect, test } from "vitest";
import { emptyStatus } from "../../test/fake-node.ts";
import { jsonDisplay, linesDisplay, terminalDisplay } from "./display.ts";
import { Frames, summaryOf } from "./frame.ts";

const place = { application: "factory", dataFolder: "/data", apiUrl: "http://a", mqttUrl: "mqtt://a" };
const alert: AlertNotice = { name: "hot", device: "p\u001b1", state: "raised", severity: "critical", timeMs: 0 };
const frameOf = (stored: number) => {
  const frames = new Frames(0);
  frames.next({ ...emptyStatus(), stored: 100 }, undefined, 1000);
  return frames.next({ ...emptyStatus(), stored }, undefined, 3000);
};

test("a frame has rates since the one before, and the lag of the task that is furthest behind", () => {
  const status = emptyStatus();
  const [task] = status.tasks;
  const frames = new Frames(1000);
  frames.next({ ...status, stored: 50, tasks: [{ ...task!, processed: 10 }] }, undefined, 2000);
  const frame = frames.next(
    {
      ...status,
      stored: 250,
      tasks: [
        { ...task!, processed: 40, lagEvents: 3, lagMs: 1.6 },
        { ...task!, processed: 10, lagEvents: 7 },
      ],
    },
    undefined,
    4000,
  );
  expect(frame).toMatchObject({
    elapsedSeconds: 3,
    messagesPerSecond: 100,
    functionRuns: 50,
    functionRunsPerSecond: 20,
    lagEvents: 7,
    lagMs: 2,
  });
  expect(frame).not.toHaveProperty("ackLatencyMs");
});

test("a summary has the fields that programs read", () => {
  const status = { ...emptyStatus(), stored: 9, processed: 9, lake: { rows: 12, files: 1, bytes: 1, lagRows: 3 } };
  expect(summaryOf(status, undefined, 1.23456)).toEqual({
    sent: 0,
    acknowledged: 0,
    stored: 9,
    processed: 9,
    alerts: 0,
    commands: { sent: 0, acknowledged: 0 },
    rows: 12,
    ackLatencyMs: null,
    firstAlertSeconds: 1.23,
  });
});

/** What a terminal shows after the text: knows line ends, cursor up and erase below, which is all that is used. */
function screenOf(text: string): string[] {
  const lines: string[] = [""];
  for (const part of text.replaceAll("\u001b", "ESC").split(/(ESC\[\d+[AJ]|\n)/)) {
    const up = /^ESC\[(\d+)A$/.exec(part);
    if (up) lines.length = Math.max(1, lines.length - Number(up[1]));
    else if (part === "\n") lines.push("");
    else if (!part.startsWith("ESC")) lines[lines.length - 1] += part;
    if (up) lines[lines.length - 1] = "";
  }
  return lines;
}

test("on a terminal the picture is drawn in place and alerts scroll above it", () => {
  let text = "";
  const display = terminalDisplay(
    (more) => {
      text += more;
    },
    () => 100,
  );
  display.begin(place);
  display.frame(frameOf(300));
  display.alert(alert);
  display.frame(frameOf(500));
  const screen = screenOf(text);
  expect(screen.filter((line) => line.includes("messages"))).toEqual([
    "  messages    200/s   500 stored, 0 devices connected",
  ]);
  expect(screen.findIndex((line) => line.includes("raised   hot"))).toBeLessThan(
    screen.findIndex((line) => line.includes("messages")),
  );
  expect(screen.join("\n")).toContain("p\ufffd1");
  expect(Math.max(...screen.map((line) => line.length))).toBeLessThan(100);
  expect(screen.filter((line) => line.includes("Headrace runs factory"))).toHaveLength(1);
});

test("more alerts than a person reads become a count", () => {
  let text = "";
  const display = linesDisplay((more) => {
    text += more;
  });
  for (let i = 0; i < 500; i++) display.alert(alert);
  display.frame(frameOf(300));
  expect(text.split("\n").filter((line) => line.includes("hot"))).toHaveLength(10);
  expect(text).toContain("and 490 more");
  expect(text).toContain("100 msg/s  stored 300");
});

test("for programs each frame is one object with the alerts since the one before", () => {
  const lines: string[] = [];
  const notes: string[] = [];
  const display = jsonDisplay(
    (line) => lines.push(line),
    (line) => notes.push(line),
  );
  display.begin(place);
  display.alert(alert);
  display.note("hello");
  display.frame(frameOf(300));
  display.frame(frameOf(300));
  const objects = lines.map((line) => JSON.parse(line) as { alertChanges?: unknown[] });
  expect(objects.map(({ alertChanges }) => alertChanges?.length)).toEqual([undefined, 1, 0]);
  expect(notes).toEqual(["hello\n"]);
});
