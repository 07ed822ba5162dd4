// What the page says is right, whatever is typed.
import { expect, test } from "vitest";
import { describe, toKmh } from "../src/speed";

test("a knot is 1.852 kilometres an hour", () => {
  expect(toKmh(1)).toBeCloseTo(1.852);
  expect(describe("12")).toBe("22.2 km/h");
  expect(describe("0")).toBe("0.0 km/h");
});

test.each(["", " ", "fast", "-1", "Infinity"])("%j is no speed", (text) => {
  expect(describe(text)).toBe("Type a number from 0 up.");
});
