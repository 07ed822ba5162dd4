// The web service: one page that shows what the API has, and says so plainly when the API is down.
import { hostname } from "node:os";
import { readFileSync } from "node:fs";
import fastify from "fastify";
import { ask } from "./api.js";
import { page } from "./page.js";

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url)));

/**
 * Return the web server, not yet listening.
 *
 * @param {object} options
 * @param {string} [options.route] path prefix that the gateway sends here; `/` or nothing is all of it
 * @param {string} [options.apiUrl] where the API answers, such as `http://gateway:8080/api`; nothing: there is none
 * @param {typeof fetch} [options.get] stands in for `fetch` in tests
 * @param {boolean} [options.logger] log requests as JSON lines
 */
export function build({ route = "/", apiUrl, get = fetch, logger = false } = {}) {
  const app = fastify({ logger, forceCloseConnections: "idle", disableRequestLogging: true });
  const prefix = route.replace(/\/+$/, "");
  const self = { service: "web", version, runtime: `Node.js ${process.versions.node}`, instance: hostname() };

  const health = async () => ({ status: "ok" });
  const home = async (request, reply) => {
    const api = apiUrl ? await ask(apiUrl, get) : { down: "no API_URL is set" };
    if (api.down) request.log.warn({ url: apiUrl, why: api.down }, "the API does not answer");
    return reply.type("text/html; charset=utf-8").header("cache-control", "no-store").send(page(self, api));
  };

  app.get(prefix || "/", home);
  if (prefix) app.get(`${prefix}/`, home);
  app.get(`${prefix}/info`, async () => self);
  app.get("/health", health);
  if (prefix) app.get(`${prefix}/health`, health);
  return app;
}
