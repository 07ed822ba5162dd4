// The page as text. Everything from outside goes through `text`, which leaves no HTML in it.
const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

export const text = (value) => String(value ?? "").replace(/[&<>"']/g, (each) => ESCAPES[each]);

/** Return the page: who answered, and the API's items or why there are none. */
export function page(self, api) {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Slipway</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<header>
<h1>In stock</h1>
<p>Rendered by <b>${text(self.service)}</b>, data from <b>api</b>, each in its own container behind one gateway.</p>
</header>
${api.down ? down(api.down) : stock(api.items)}
<section class="cards" aria-label="Services">
${card(self, true)}
${api.down ? card({ service: "api", version: "–", runtime: "not reachable" }, false) : card(api.info, true)}
</section>
</main>
</body>
</html>
`;
}

const down = (why) => `<div class="down" role="alert">
<b>The API is not reachable.</b> This page works on without its data and asks again on each load.
<code>${text(why)}</code>
</div>`;

function stock(items) {
  const most = Math.max(1, ...items.map((item) => item.stock));
  const rows = items.map(
    (item) => `<tr><th scope="row">${text(item.name)}</th>
<td class="bar"><i style="width:${Math.round((100 * Number(item.stock)) / most) || 0}%"></i></td>
<td class="count">${text(item.stock)}</td></tr>`,
  );
  return `<table>${rows.join("\n")}</table>`;
}

const card = (one, up) => `<article class="${up ? "up" : "gone"}">
<h2>${text(one.service)}</h2>
<p class="version">${text(one.version)}</p>
<p>${text(one.runtime)}</p>
<p class="instance">${text(one.instance)}</p>
</article>`;

const STYLE = `
:root { --ground: #f4f6f8; --paper: #fff; --ink: #16232e; --soft: #5c6f7e; --line: #dde4ea; --sea: #0b7285; --alarm: #b42318; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0e161d; --paper: #16222c; --ink: #e6edf3; --soft: #8ca0af; --line: #263644; --sea: #3bc9db; --alarm: #ff8a7a; }
}
* { box-sizing: border-box; margin: 0; }
body { background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; padding: 8vh 1.25rem; }
main { max-width: 42rem; margin: auto; display: grid; gap: 1.75rem; }
h1 { font-size: 2.25rem; letter-spacing: -.02em; line-height: 1.2; }
header p, .instance, .runtime { color: var(--soft); }
table { width: 100%; border-collapse: collapse; background: var(--paper); border: 1px solid var(--line); border-radius: 12px; overflow: hidden; }
tr + tr { border-top: 1px solid var(--line); }
th, td { padding: .8rem 1.1rem; text-align: left; font-weight: 500; }
.bar { width: 55%; }
.bar i { display: block; height: .5rem; min-width: .5rem; border-radius: 1rem; background: var(--sea); }
.count { text-align: right; font-variant-numeric: tabular-nums; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: 1rem; }
article { background: var(--paper); border: 1px solid var(--line); border-left: 4px solid var(--sea); border-radius: 12px; padding: 1rem 1.2rem; }
article.gone { border-left-color: var(--alarm); }
article h2 { font-size: 1rem; }
.version { font-size: 1.6rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.instance { font: .8rem ui-monospace, monospace; overflow-wrap: anywhere; }
.down { background: var(--paper); border: 1px solid var(--alarm); border-radius: 12px; padding: 1rem 1.2rem; }
.down b { color: var(--alarm); }
code { display: block; margin-top: .5rem; color: var(--soft); font: .85rem ui-monospace, monospace; }
`;
