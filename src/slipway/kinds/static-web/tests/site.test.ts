// NGINX's site is the one for the route, and what Vite builds is found there.
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "vite";
import { afterAll, expect, test } from "vitest";
import { site } from "../serve/site.mjs";

const TEMPLATE = readFileSync(new URL("../serve/site.conf", import.meta.url), "utf8");
const folder = mkdtempSync(join(tmpdir(), "site-"));
afterAll(() => rmSync(folder, { recursive: true }));

test.each(["/shop", "/shop/"])("below the route %s NGINX serves its files, and redirects the route itself", (route) => {
  const conf = site(TEMPLATE, route);
  expect(conf).toContain("location ^~ /shop/assets/ {");
  expect(conf).toContain("location = /shop { return 308 /shop/; }");
  expect(conf).toContain("try_files $uri /shop/index.html;");
  expect(conf).not.toContain("@");
});

test("a service at / has no route to redirect", () => {
  const conf = site(TEMPLATE, "/");
  expect(conf).toContain("location ^~ /assets/ {");
  expect(conf).not.toMatch(/308|@/);
});

test.each(["shop", "/a b", "/a;b", "/$x", ""])("%j is no route", (route) => {
  expect(() => site(TEMPLATE, route)).toThrow("ROUTE");
});

test("what is built has hashed names below assets/, and the page asks for them below the route", async () => {
  await build({ base: "/shop/", logLevel: "error", build: { outDir: folder } });
  const page = readFileSync(join(folder, "index.html"), "utf8");
  const assets = readdirSync(join(folder, "assets"));
  expect(assets.map((name) => name.split(".").pop()).sort()).toEqual(["css", "js"]);
  for (const name of assets) {
    expect(name).toMatch(/-[\w-]{8}\./);
    expect(page).toContain(`"/shop/assets/${name}"`);
  }
  expect(page).toContain('"/shop/anchor.svg"');
});
