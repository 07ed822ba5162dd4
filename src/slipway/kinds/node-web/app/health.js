// The container's health check: ends with status 0 when the server answers. Without `fetch`, whose start takes four times
// the processor time of all the rest, and this runs every few seconds.
import { get } from "node:http";

const ask = get({ host: "127.0.0.1", port: process.env.PORT, path: "/health", timeout: 2000 }, (answer) => {
  process.exitCode = answer.statusCode === 200 ? 0 : 1;
  if (process.exitCode) console.error(`answered ${answer.statusCode}`);
  answer.resume();
});
ask.on("timeout", () => ask.destroy(new Error("nothing within two seconds")));
ask.on("error", (error) => {
  console.error(`no answer: ${error.code ?? error.message}`);
  process.exitCode = 1;
});
