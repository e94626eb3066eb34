/** The outbox: the life of alerts and commands, each step once, whatever is repeated, late or lost. */
import { systemStreams } from "@headrace/sdk";
import { describe, expect, test } from "vitest";
import { sourceStream, TaskBench } from "../../test/task-host.ts";
import { type CommandFields, type OwedCommand, packCommand } from "../task/owed-command.ts";
import { outboxHandlers, outboxInput, pendingCommand } from "./outbox.ts";

/** How the function wrote what it owes: packed, or as version 0.1 did. */
const start = (form: "packed" | "json" = "packed") => {
  const sent: OwedCommand[] = [];
  const ended: string[] = [];
  const legacy = { timers: false };
  const handlers = outboxHandlers(
    (command) => sent.push(command),
    (id) => ended.push(id),
  );
  const t = new TaskBench(
    [systemStreams.alerts, systemStreams.commands, systemStreams.rejected, systemStreams.deadLetters],
    (effects, acknowledgements) => ({
      ...handlers,
      // Read when a task is made: version 0.1 journalled each timer.
      get timerOf() {
        return legacy.timers ? undefined : handlers.timerOf;
      },
      partition: 0,
      partitions: 1,
      inputs: [
        {
          stream: sourceStream("effects", { kind: "derived", sources: [] }),
          logIds: [effects],
          decode: false,
          reportsRejected: false,
        },
        {
          stream: sourceStream("command-acks", {
            sources: [{ kind: "mqtt", pattern: "devices/:device/commands/:id/ack" }],
          }),
          logIds: [acknowledgements],
          decode: true,
          reportsRejected: true,
        },
      ],
      asynchronous: false,
      concurrency: 1,
    }),
  );
  let count = 0;
  const owe = (effect: object, { key = "p1", device = "p1", id = `f:0:1:0:${count++}:0` } = {}): string => {
    const isPacked = form === "packed" && (effect as { kind: string }).kind === "command";
    const value = isPacked
      ? packCommand({ ...(effect as CommandFields), id, key }, "guard")
      : { id, key, function: "guard", effect };
    t.task.deliver(outboxInput.effects, t.store(t.inputId, [{ key: device, value }]));
    return id;
  };
  const acknowledge = (id: string, value: unknown, device = "p1"): void => {
    const topic = `devices/${device}/commands/${id}/ack`;
    t.task.deliver(outboxInput.acknowledgements, t.store(t.secondId, [{ key: device, value, topic }]));
  };
  const command = (withinMs = 1000, more: object = {}): string =>
    owe({ kind: "command", device: "p1", name: "fan", args: { on: true }, deadlineMs: t.nowMs + withinMs, ...more });
  const lives = (stream: string): Record<string, unknown>[] => {
    t.commit();
    return t.output(stream).map(({ value }) => value);
  };
  const statuses = (stream: string): unknown[] => lives(stream).map(({ status }) => status);
  return { t, sent, ended, owe, acknowledge, command, lives, statuses, legacy };
};

describe("alerts", () => {
  const raise = (details: object = {}, severity = "critical") => ({
    kind: "alert.raise",
    name: "hot",
    severity,
    details,
  });
  const clear = { kind: "alert.clear", name: "hot" };

  test("are raised, updated when they change, and cleared, each once", () => {
    const { t, owe, lives } = start();
    owe(clear);
    owe(raise({ c: 90 }));
    owe(raise({ c: 90 }));
    t.nowMs += 10;
    owe(raise({ c: 95 }));
    owe(raise({ c: 95 }, "info"));
    owe(clear);
    owe(clear);
    owe(raise({ c: 90 }));
    expect(lives(systemStreams.alerts)).toMatchObject([
      { name: "hot", status: "raised", severity: "critical", details: { c: 90 }, raisedAtMs: 1000, function: "guard" },
      { status: "updated", details: { c: 95 }, raisedAtMs: 1000 },
      { status: "updated", severity: "info", raisedAtMs: 1000 },
      { status: "cleared", severity: "info", details: { c: 95 }, raisedAtMs: 1000 },
      { status: "raised", raisedAtMs: 1010 },
    ]);
  });

  test("of different keys and names do not meet, also on one device", () => {
    const { t, owe, statuses } = start();
    owe(raise(), { key: "line-1" });
    owe(raise(), { key: "line-2" });
    owe({ ...clear, name: "cold" }, { key: "line-1" });
    owe(clear, { key: "line-1" });
    expect(statuses(systemStreams.alerts)).toEqual(["raised", "raised", "cleared"]);
    expect([...t.task.state.entries()].map(({ key }) => key)).toEqual(["line-2\u0000hot"]);
  });

  test("stay raised over a recovery", () => {
    const { t, owe, statuses } = start();
    owe(raise());
    t.commit();
    t.recover();
    owe(raise());
    owe(clear);
    expect(statuses(systemStreams.alerts)).toEqual(["raised", "cleared"]);
  });
});

describe.each(["packed", "json"] as const)("commands, %s", (form) => {
  test("are sent and acknowledged with the result; a repeated or contrary acknowledgement changes nothing", () => {
    const { t, sent, ended, acknowledge, command, lives } = start(form);
    const id = command();
    expect(sent).toMatchObject([{ id, device: "p1", name: "fan", args: { on: true }, deadlineMs: 2000 }]);
    acknowledge(id, { ok: true, result: { rpm: 7 } });
    acknowledge(id, { ok: true, result: { rpm: 8 } });
    acknowledge(id, { ok: false, error: "no" });
    t.advance(10_000);
    expect(lives(systemStreams.commands)).toMatchObject([
      { id, status: "sent" },
      { id, status: "acknowledged", result: { rpm: 7 } },
    ]);
    expect([ended, t.task.timers.size, [...t.task.state.entries()]]).toEqual([[id], 0, []]);
  });

  test.each([
    [{ ok: false, error: "stuck" }, "stuck"],
    [{ ok: "true" }, "the device gave no reason"],
    [null, "the device gave no reason"],
    ["yes", "the device gave no reason"],
  ])("acknowledged with %j they have failed", (answer, error) => {
    const { acknowledge, command, lives } = start(form);
    acknowledge(command(), JSON.stringify(answer));
    expect(lives(systemStreams.commands)).toMatchObject([{ status: "sent" }, { status: "failed", error }]);
  });

  test("expire at their deadline; one whose deadline has passed is not sent at all", () => {
    const { t, sent, ended, acknowledge, command, statuses } = start(form);
    const id = command(1000);
    t.advance(1999);
    expect(statuses(systemStreams.commands)).toEqual(["sent"]);
    t.advance(2000);
    acknowledge(id, { ok: true });
    command(0);
    expect(statuses(systemStreams.commands)).toEqual(["sent", "expired", "expired"]);
    expect([sent.length, ended]).toEqual([1, [id]]);
  });

  test("that are pending keep id and deadline over a recovery", () => {
    const { t, acknowledge, command, statuses } = start(form);
    const [first, second] = [command(1000), command(5000)];
    t.commit();
    t.recover();
    expect(
      [...t.task.state.entries()]
        .flatMap(({ key }) => pendingCommand(t.task.state.peek(key)) ?? [])
        .map(({ id, deadlineMs }) => [id, deadlineMs]),
    ).toEqual([
      [first, 2000],
      [second, 6000],
    ]);
    acknowledge(second, { ok: true });
    t.advance(2000);
    expect(statuses(systemStreams.commands)).toEqual(["sent", "sent", "acknowledged", "expired"]);
  });

  test("that a journal of version 0.1 has timers for expire once, and the journal forgets those timers", () => {
    const { t, command, statuses, legacy } = start(form);
    legacy.timers = true;
    t.recover();
    command(1000);
    t.commit();
    legacy.timers = false;
    t.recover();
    expect(t.task.timers.all()).toMatchObject([{ name: "deadline", dueMs: 2000 }]);
    t.advance(2000);
    expect(statuses(systemStreams.commands)).toEqual(["sent", "expired"]);
    legacy.timers = true;
    t.recover();
    expect([t.task.timers.size, t.task.state.size]).toEqual([0, 0]);
  });

  test("whose sending was not committed are sent again with the same id, and live once", () => {
    const { t, sent, acknowledge, command, statuses } = start(form);
    const id = command();
    t.recover();
    t.replay();
    expect(sent.map((command) => command.id)).toEqual([id, id]);
    acknowledge(id, { ok: true });
    expect(statuses(systemStreams.commands)).toEqual(["sent", "acknowledged"]);
  });

  test("are answered by their own device only, and an unreadable answer is rejected", () => {
    const { acknowledge, command, lives, statuses } = start(form);
    const id = command();
    acknowledge(id, { ok: true }, "p2");
    acknowledge(id, "{oops");
    expect(statuses(systemStreams.commands)).toEqual(["sent"]);
    expect(lives(systemStreams.rejected)).toMatchObject([{ reason: "json", stream: "command-acks" }]);
  });
});
