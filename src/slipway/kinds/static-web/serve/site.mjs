// Writes NGINX's site for a route: `node serve/site.mjs ROUTE > default.conf`. NGINX itself reads no environment.
import { readFileSync } from "node:fs";
import { argv, stdout } from "node:process";
import { fileURLToPath } from "node:url";

/**
 * Return the site for a route.
 *
 * @param {string} template with @ROUTE@ where the route stands, without a slash at its end
 * @param {string} route a path such as `/shop`, or `/`
 */
export function site(template, route) {
  if (!/^\/[\w.~/-]*$/.test(route)) throw new Error(`ROUTE is ${JSON.stringify(route)}: write a path, such as /shop`);
  const prefix = route.replace(/\/+$/, "");
  return template
    .replace(/^#.*\n/gm, "")
    .replace(/ *@REDIRECT@\n/, prefix ? `    location = ${prefix} { return 308 ${prefix}/; }\n` : "")
    .replaceAll("@ROUTE@", prefix);
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  stdout.write(site(readFileSync(new URL("site.conf", import.meta.url), "utf8"), argv[2]));
}
