/** State by key: what is completed counts, what is not is forgotten. */
import { expect, test } from "vitest";
import { encodeValue } from "../value/codec.ts";
import { KeyedState } from "./keyed-state.ts";

const counting = () => new KeyedState(() => ({ n: 0 }));

test("a key is what it was last completed as", () => {
  const state = counting();
  const cell = state.open("a");
  (cell.value as { n: number }).n = 1;
  expect(state.peek("a")).toBeUndefined();
  state.complete(cell);
  (cell.value as { n: number }).n = 2;
  expect(state.peek("a")).toEqual({ n: 1 });
  state.restore(cell);
  expect(state.open("a").value).toEqual({ n: 1 });
});

test("a key that was never completed leaves nothing", () => {
  const state = counting();
  state.restore(state.open("a"));
  expect([state.size, state.hasDirty, state.byteLength]).toEqual([0, false, 0]);
});

test("changed keys are taken once, also when they changed twice", () => {
  const state = counting();
  for (const key of ["a", "b", "a"]) state.complete(state.open(key));
  expect(state.takeDirty(1).map(({ key }) => key)).toEqual(["a", "b"]);
  expect(state.hasDirty).toBe(false);
  state.complete(state.open("b"));
  expect(state.takeDirty(1).map(({ key }) => key)).toEqual(["b"]);
});

test("several keys are completed all or none", () => {
  const state = counting();
  const [a, b] = [state.open("a"), state.open("b")];
  (a.value as { n: number }).n = 7;
  b.value = { f: () => 0 };
  expect(() => state.completeAll([a, b])).toThrow("function");
  expect([state.peek("a"), state.hasDirty]).toEqual([undefined, false]);
});

test("loading counts bytes, replaces and removes", () => {
  const state = counting();
  const one = encodeValue({ n: 1 });
  const wide = encodeValue({ n: 1, more: "text" });
  state.load("a", one);
  state.load("a", wide);
  state.load("b", one);
  state.load("b", undefined);
  state.load("never", undefined);
  expect([...state.entries()].map(({ key }) => key)).toEqual(["a"]);
  expect([state.size, state.byteLength]).toEqual([1, wide.byteLength + 1]);
  expect(state.open("a").value).toEqual({ n: 1, more: "text" });
});
