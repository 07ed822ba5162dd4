// The page shows what the API has, and stays up without it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { build } from "../app/app.js";

const ITEMS = [
  { id: 1, name: "anchor", stock: 12 },
  { id: 2, name: "<b>cable</b>", stock: 40 },
];
const INFO = { service: "api", version: "4.5.6", runtime: "Python 3.13" };

const answering = async (url) => Response.json(url.endsWith("/items") ? ITEMS : INFO);
const refusing = async () => {
  throw new TypeError("fetch failed", { cause: { code: "ECONNREFUSED" } });
};

async function load(path, options) {
  const app = build(options);
  try {
    return await app.inject(path);
  } finally {
    await app.close();
  }
}

test("the page shows the API's items and version", async () => {
  const answer = await load("/", { apiUrl: "http://api", get: answering });
  assert.equal(answer.statusCode, 200);
  assert.match(answer.body, /anchor/);
  assert.match(answer.body, /4\.5\.6/);
});

test("what comes from the API is never HTML", async () => {
  const answer = await load("/", { apiUrl: "http://api", get: answering });
  assert.doesNotMatch(answer.body, /<b>cable/);
  assert.match(answer.body, /&lt;b&gt;cable/);
});

test("an API that is down costs its data, not the page", async () => {
  const answer = await load("/", { apiUrl: "http://api", get: refusing });
  assert.equal(answer.statusCode, 200);
  assert.match(answer.body, /not reachable/);
  assert.match(answer.body, /ECONNREFUSED/);
});

test("an API that makes no sense counts as down", async () => {
  const answer = await load("/", { apiUrl: "http://api", get: async () => Response.json({}) });
  assert.match(answer.body, /no list of items/);
});

test("it answers below its route, and for its health at the root too", async () => {
  for (const path of ["/shop", "/shop/", "/shop/health", "/health"]) {
    const answer = await load(path, { route: "/shop", apiUrl: "http://api", get: answering });
    assert.equal(answer.statusCode, 200, path);
  }
  assert.equal((await load("/", { route: "/shop" })).statusCode, 404);
});
