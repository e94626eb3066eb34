/** Goal: the simulated disk is a file system while it runs, and loses exactly what was not synced when the power goes. Method: the suite of the port, then cuts with chosen luck. */
import { afterEach, describe, expect, test } from "vitest";
import { filesConformance } from "./files-conformance.ts";
import { PowerCut, SimulatedDisk } from "./simulated-disk.ts";
import { VirtualLoop } from "./virtual-loop.ts";

/** Luck: 0 loses everything unsynced, 0.99 keeps it. */
const diskWith = (luck: { value: number }): SimulatedDisk =>
  new SimulatedDisk({ random: () => luck.value, pass: () => undefined, onCut: () => undefined });
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

filesConformance({ test, equal: (actual, expected) => expect(actual).toEqual(expected) }, () => {
  const files = diskWith({ value: 0.5 }).openProcess();
  files.makeFolder("/data");
  return { files, folder: "/data" };
});

describe("a power cut", () => {
  const prepared = (luck: { value: number }): SimulatedDisk => {
    const disk = diskWith(luck);
    const files = disk.openProcess();
    const file = files.open("/a", "w");
    files.write(file, bytes("synced"), 0, 6);
    files.fsync(file);
    const root = files.open("/", "r");
    files.fsync(root);
    files.write(file, bytes(" lost"), 0, 5);
    files.open("/b", "w");
    return disk;
  };

  test("takes bytes and names that no sync has asked for", () => {
    const luck = { value: 0 };
    const disk = prepared(luck);
    disk.cutPower();
    expect(disk.paths()).toEqual(["/a"]);
    expect(disk.contentOf("/a")).toEqual(bytes("synced"));
  });

  test("may leave all of it", () => {
    const luck = { value: 0.99 };
    const disk = prepared(luck);
    disk.cutPower();
    expect(disk.paths()).toEqual(["/a", "/b"]);
    expect(disk.contentOf("/a")).toEqual(bytes("synced lost"));
  });

  test("takes a file whose folder was not synced, although the file was", () => {
    const disk = diskWith({ value: 0 });
    const files = disk.openProcess();
    const file = files.open("/a", "w");
    files.fsync(file);
    disk.cutPower();
    expect(disk.paths()).toEqual([]);
  });

  test("a killed process loses nothing, and can do nothing any more", () => {
    const disk = prepared({ value: 0 });
    const files = disk.openProcess();
    disk.kill();
    expect(disk.contentOf("/a")).toEqual(bytes("synced lost"));
    expect(() => files.exists("/a")).toThrow(PowerCut);
  });

  test("what a failed sync did not write is read on, and no later sync writes it", () => {
    const luck = { value: 0.99 };
    const disk = prepared(luck);
    const files = disk.openProcess();
    const file = files.open("/a", "r+");
    files.write(file, bytes("SYNC"), 0, 4, 0);
    disk.faults = { shortWrite: 0, writeError: 0, slowSync: 0, syncError: 1 };
    expect(() => files.fsync(file)).toThrow("EIO");
    disk.faults = { shortWrite: 0, writeError: 0, slowSync: 0, syncError: 0 };
    files.fsync(file);
    expect(disk.contentOf("/a")).toEqual(bytes("SYNCed lost"));
    disk.cutPower();
    expect(disk.contentOf("/a")).toEqual(bytes("synced"));
  });

  test("comes in the middle of the call that it was asked for", () => {
    const disk = diskWith({ value: 0 });
    const files = disk.openProcess();
    disk.cutIn(2, (call) => call === "write");
    const file = files.open("/a", "w");
    files.write(file, bytes("1"), 0, 1);
    expect(() => files.write(file, bytes("2"), 0, 1)).toThrow(PowerCut);
    expect(() => files.exists("/a")).toThrow(PowerCut);
  });

  test("a full disk takes what has its place already, and nothing that needs more", () => {
    const disk = prepared({ value: 0.5 });
    const files = disk.openProcess();
    const file = files.open("/a", "r+");
    disk.isFull = true;
    expect(files.write(file, bytes("SYNCED"), 0, 6, 0)).toBe(6);
    expect(files.write(file, bytes("0123456789"), 0, 10, 6)).toBe(5);
    expect(() => files.write(file, bytes("x"), 0, 1, 11)).toThrow("ENOSPC");
    expect(() => files.open("/c", "w")).toThrow("ENOSPC");
  });
});

describe("the virtual loop", () => {
  let loop: VirtualLoop | undefined;
  afterEach(() => loop?.[Symbol.dispose]());

  test("runs timers by their time, immediates before time passes, promises at once, and no time of the machine", async () => {
    loop = new VirtualLoop({ startMs: 1000, onWarning: () => undefined }).install();
    const seen: string[] = [];
    const say = (text: string) => (): void => void seen.push(`${text} ${Date.now()}`);
    setTimeout(say("hour"), 3_600_000);
    setTimeout(say("second"), 1000);
    const cancelled = setTimeout(say("never"), 500);
    clearTimeout(cancelled);
    setImmediate(() => {
      say("immediate")();
      void Promise.resolve().then(say("promise"));
      setImmediate(say("next"));
    });
    const every = setInterval(say("half"), 600);
    await loop.run(() => seen.length >= 5, 10_000);
    clearInterval(every);
    await loop.run(() => seen.some((text) => text.startsWith("hour")), 4_000_000);
    expect(seen.map((text) => text.split(" ")[0])).toEqual(["immediate", "promise", "next", "half", "second", "hour"]);
    expect(seen.at(-1)).toBe("hour 3601000");
  });

  test("a process that has ended does nothing any more; the world goes on", async () => {
    loop = new VirtualLoop({ startMs: 0, onWarning: () => undefined }).install();
    const seen: string[] = [];
    setTimeout(() => seen.push("process"), 10);
    loop.after(20, () => seen.push("world"));
    loop.endProcess();
    setTimeout(() => seen.push("next process"), 5);
    await loop.run(() => seen.length === 2, 1000);
    expect(seen).toEqual(["next process", "world"]);
  });

  test("says so when nothing is left, or when it takes too long", async () => {
    loop = new VirtualLoop({ startMs: 0, onWarning: () => undefined }).install();
    await expect(loop.run(() => false, 1000)).rejects.toThrow("nothing is left to happen");
    const every = setInterval(() => undefined, 100);
    await expect(loop.run(() => false, 1000)).rejects.toThrow("not done after 1000 ms");
    clearInterval(every);
  });
});
