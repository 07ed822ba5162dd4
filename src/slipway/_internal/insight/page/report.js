"use strict";
// Draws a report from the facts in the page. Everything is set as text: no fact ever becomes markup.

const facts = JSON.parse(document.getElementById("facts").textContent);
const tip = document.getElementById("tip");
const STATES = { done: "ran", cached: "cached", failed: "failed", stopped: "stopped before its end" };
const KINDS = {
  step: "step of the Dockerfile", own: "BuildKit's own step", image: "image, as Pulumi sees it", container: "container",
  gateway: "gateway", network: "network", gate: "step of the gate",
};
const MANY = 30;

// --- small helpers ---------------------------------------------------------------------------------------------------

/** Make an element: attributes by name, `on…` as listeners, `style` as properties, children as nodes or text. */
function make(name, attributes = {}, ...children) {
  const svg = ["svg", "g", "rect", "text", "path", "title"].includes(name);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "style") for (const [property, each] of Object.entries(value)) node.style.setProperty(property, each);
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== false && value !== undefined) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((each) => each !== null && each !== undefined));
  return node;
}

function seconds(value) {
  if (value >= 100) {
    const whole = Math.round(value);
    return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  }
  if (value >= 10) return `${value.toFixed(1)} s`;
  return value >= 0.095 ? `${value.toFixed(2)} s` : `${Math.round(value * 1000)} ms`;
}

function bytes(value) {
  if (value >= 1e9) return `${(value / 1e9).toFixed(1)} GB`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(value >= 1e8 ? 0 : 1)} MB`;
  return value >= 1e3 ? `${(value / 1e3).toFixed(0)} kB` : `${value} B`;
}

function percent(part, whole) {
  const value = whole ? (100 * part) / whole : 0;
  return value > 0 && value < 1 ? "< 1 %" : `${Math.round(value)} %`;
}

const share = (part, whole) => `${whole ? Math.max(0, Math.min(100, (100 * part) / whole)) : 0}%`;
const time = (began) => new Date(began * 1000).toISOString().replace("T", " ").slice(0, 16) + " UTC";
const lengthOf = (step) => step.end - step.begin;
const isFrom = (step) => /^\[[^\]]*\] FROM /.test(step.name);
const isOwn = (step) => step.kind === "step" && !step.name.startsWith("[");

/** Show a text beside an element while it is pointed at or has the focus. `lines`: the first is the heading. */
function explained(node, lines) {
  const show = () => {
    const [head, ...rest] = lines();
    tip.replaceChildren(make("b", {}, head), ...rest.filter(Boolean).map((line) => make("div", {}, line)));
    tip.hidden = false;
    const at = node.getBoundingClientRect();
    const size = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left), document.documentElement.clientWidth - size.width - 8);
    const below = at.bottom + 8 + size.height < innerHeight;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${below ? at.bottom + 8 : Math.max(8, at.top - size.height - 8)}px`;
  };
  const hide = () => { tip.hidden = true; };
  node.addEventListener("pointerenter", show);
  node.addEventListener("focus", show);
  node.addEventListener("pointerleave", hide);
  node.addEventListener("blur", hide);
  return node;
}

addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
addEventListener("scroll", () => { tip.hidden = true; }, { passive: true, capture: true });

/** Let the arrow keys move the focus between elements that share one stop of the Tab key. */
function roving(nodes) {
  nodes.forEach((node, number) => { node.tabIndex = number ? -1 : 0; });
  const go = (to) => {
    if (!to) return;
    nodes.forEach((each) => { each.tabIndex = -1; });
    to.tabIndex = 0;
    to.focus();
  };
  nodes.forEach((node, number) => node.addEventListener("keydown", (event) => {
    const to = { ArrowRight: nodes[number + 1], ArrowLeft: nodes[number - 1], Home: nodes[0], End: nodes.at(-1) }[event.key];
    if (to) { event.preventDefault(); go(to); }
  }));
  return go;
}

function section(id, title, words, ...children) {
  return make("section", { id, "aria-labelledby": `${id}-title` },
    make("h2", { id: `${id}-title` }, title), words ? make("p", {}, words) : null, ...children);
}

// --- what follows from the facts -------------------------------------------------------------------------------------

const critical = new Set(facts.critical.map((each) => `${each.service}\n${each.step}`));
const path = facts.critical.map(({ service, step }) => ({
  service, step: facts.services.find((each) => each.name === service).steps[step],
}));
const allSteps = facts.services.flatMap((service) => service.steps.map((step, number) => (
  { service: service.name, step, critical: critical.has(`${service.name}\n${number}`) })));
const instructions = allSteps.filter(({ step }) => step.kind === "step" && !isOwn(step) && !isFrom(step));
const cached = instructions.filter(({ step }) => step.state === "cached").length;

const stored = [...new Map(facts.images.flatMap((image) => image.layers.map((layer) => [layer.digest, layer.size]))).values()]
  .reduce((sum, each) => sum + each, 0);

// --- the parts of the page -------------------------------------------------------------------------------------------

function heading() {
  const words = { done: "done", failed: "failed", interrupted: "interrupted" };
  return make("header", {},
    make("h1", {}, `${facts.workspace}: ${facts.what}${facts.stack ? ` of ${facts.stack}` : ""}`),
    make("ul", { class: "badges" },
      make("li", { class: `badge ${facts.result}` }, words[facts.result] || facts.result),
      facts.mode ? make("li", { class: "badge" }, `images: ${facts.mode}`) : null,
      make("li", { class: "badge" }, time(facts.began)),
      make("li", { class: "badge" }, `${facts.known} services in the workspace`)),
    facts.problem ? make("p", { class: "problem" }, facts.problem) : null);
}

function tiles() {
  const longest = [...facts.phases].sort((a, b) => lengthOf(b) - lengthOf(a))[0];
  const waited = path.reduce((sum, { step }) => sum + lengthOf(step), 0);
  const worked = facts.services.filter((each) => each.kind === "service").length;
  const tile = (number, words) => make("div", { class: "tile" }, make("b", {}, number), make("span", {}, words));
  return make("div", { class: "tiles" },
    tile(seconds(facts.seconds), "from command to end"),
    longest ? tile(percent(lengthOf(longest), facts.seconds), `of it: ${longest.name}`) : null,
    tile(String(worked), worked === 1 ? "service with work" : "services with work"),
    instructions.length ? tile(percent(cached, instructions.length), `of ${instructions.length} instructions cached`) : null,
    path.length ? tile(seconds(waited), "on the critical path") : null,
    stored ? tile(bytes(stored), "in layers, each counted once") : null);
}

const parts = [...new Set(facts.phases.map((each) => each.name))];
const between = (name) => name === "between" || name === "the rest";
const partColour = (name) => (between(name) ? "var(--own)" : `var(--p${parts.filter((each) => !between(each)).indexOf(name) % 8})`);

/** Make the bar of one of the command's parts; `style` places it. */
function part(each, style) {
  return explained(make("button", {
    type: "button", class: `part ${between(each.name) ? "rest" : ""}`, "aria-label": `${each.name}: ${seconds(lengthOf(each))}`,
    style: { ...style, width: share(lengthOf(each), facts.seconds), background: partColour(each.name) },
  }), () => [each.name, `${seconds(lengthOf(each))}, ${percent(lengthOf(each), facts.seconds)} of the command`,
    `from ${seconds(each.begin)} to ${seconds(each.end)}`]);
}

function phases() {
  const bars = facts.phases.map((each) => part(each, {}));
  roving(bars);
  const sum = (name) => facts.phases.filter((each) => each.name === name).reduce((all, each) => all + lengthOf(each), 0);
  return section("phases", "Where the time goes", "The command's own parts, one after the other.",
    make("div", { class: "stack", role: "group", "aria-label": "Phases in their order" }, ...bars),
    make("ul", { class: "legend" }, ...parts.map((name) => make("li", { class: between(name) ? "rest" : "" },
      make("i", { style: { background: partColour(name) } }), make("span", {}, name),
      make("b", {}, `${seconds(sum(name))} · ${percent(sum(name), facts.seconds)}`)))));
}

/** Put steps into as few lanes as they fit in; a whole image's lane is the first. What takes no time needs no room. */
function lanes(steps) {
  const ends = [];
  return [...steps].sort((a, b) => a.step.begin - b.step.begin || lengthOf(b.step) - lengthOf(a.step)).map((each) => {
    let lane = ends.findIndex((end) => end <= each.step.begin + 1e-6);
    if (lane < 0) lane = ends.push(0) - 1;
    ends[lane] = each.step.end;
    return { ...each, lane };
  });
}

function timeline() {
  const span = Math.max(facts.seconds, 0.001);
  const view = { zoom: 1, all: facts.services.length <= MANY, text: "", order: "begin" };
  const box = make("div", { class: "tl", role: "group", "aria-label": "Timeline: arrow keys move between steps" });
  const rows = make("div", { class: "rows" });
  box.append(rows);
  const orders = {
    begin: (a, b) => a.begin - b.begin,
    busy: (a, b) => b.busy - a.busy,
    name: (a, b) => a.name.localeCompare(b.name),
  };
  const services = facts.services.map((service) => ({
    ...service,
    begin: Math.min(...service.steps.map((step) => step.begin)),
    steps: service.steps.map((step, number) => ({ step, service: service.name, critical: critical.has(`${service.name}\n${number}`) })),
  }));

  const worthIt = ({ step }) => view.all || step.state === "failed" || step.state === "stopped" || lengthOf(step) > span / 500;

  function bar({ step, service, critical: marked, lane }) {
    const kind = isOwn(step) ? "own" : step.kind;
    const state = step.state === "done" ? "" : step.state;
    const node = make("button", {
      type: "button", class: ["bar", kind, state, marked ? "critical" : ""].filter(Boolean).join(" "),
      "aria-label": `${service}: ${step.name}, ${seconds(lengthOf(step))}, ${STATES[step.state]}${marked ? ", on the critical path" : ""}`,
      style: { left: share(step.begin, span), width: share(lengthOf(step), span), top: `${4 + lane * 14}px` },
    });
    return explained(node, () => [`${service}: ${step.name}`,
      `${seconds(lengthOf(step))} · ${STATES[step.state]} · ${KINDS[kind]}`,
      `from ${seconds(step.begin)} to ${seconds(step.end)}`, marked ? "On the critical path" : ""]);
  }

  function row(service) {
    const placed = lanes(service.steps.filter(worthIt));
    const depth = 1 + Math.max(0, ...placed.map((each) => each.lane));
    return make("div", { class: "row" },
      make("div", { class: `name ${service.kind}`, title: service.name }, make("b", {}, service.name), make("small", {}, seconds(service.busy))),
      make("div", { class: "plot", style: { height: `${8 + depth * 14}px` } }, ...placed.map(bar)));
  }

  /** The row above all others: the command's own parts, in the colours that they have above. */
  function command() {
    const bars = facts.phases.map((each) => part(each, { left: share(each.begin, span), top: "4px" }));
    return make("div", { class: "row command" }, make("div", { class: "name" }, make("b", {}, "the command"), make("small", {}, seconds(span))),
      make("div", { class: "plot", style: { height: "22px" } }, ...bars));
  }

  function axis(width) {
    const about = (span * 90) / Math.max(width, 90);
    const base = 10 ** Math.floor(Math.log10(about));
    const tick = [1, 2, 5, 10].map((each) => each * base).find((each) => each >= about);
    const marks = [];
    for (let at = 0; at < span; at += tick) {
      marks.push(make("span", { style: { left: share(at, span) } }, `${+at.toFixed(3)} s`));
    }
    return make("div", { class: "axis", "aria-hidden": "true" }, make("div", { class: "name" }), make("div", { class: "plot" }, ...marks));
  }

  function draw() {
    const wanted = view.text.toLowerCase();
    const shown = services.filter((each) => each.name.toLowerCase().includes(wanted)
      || (wanted && each.steps.some(({ step }) => step.name.toLowerCase().includes(wanted)))).sort(orders[view.order]);
    rows.style.width = `${view.zoom * 100}%`;
    const width = box.clientWidth * view.zoom - 150;
    const drawn = shown.map(row);
    const first = command();
    rows.replaceChildren(axis(width), first, ...(drawn.length ? drawn : [make("div", { class: "empty" }, "No service or step has that in its name.")]));
    keys([first, ...drawn]);
  }

  /** Left and right move within a row, up and down to the step of the next row that is nearest in time. */
  function keys(drawn) {
    const bars = drawn.map((each) => [...each.querySelectorAll(".bar, .part")]);
    const go = roving(bars.flat());
    bars.forEach((line, at) => line.forEach((node) => node.addEventListener("keydown", (event) => {
      const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      let next = at + by;
      while (bars[next] && !bars[next].length) next += by;
      const left = (each) => parseFloat(each.style.left);
      if (bars[next]) go(bars[next].reduce((a, b) => (Math.abs(left(b) - left(node)) < Math.abs(left(a) - left(node)) ? b : a)));
    })));
  }

  function zoom(to, clientX) {
    const before = view.zoom;
    view.zoom = Math.min(40, Math.max(1, to));
    const x = clientX === undefined ? box.clientWidth / 2 : clientX - box.getBoundingClientRect().left;
    const at = (box.scrollLeft + x) / before;
    draw();
    box.scrollLeft = at * view.zoom - x;
  }

  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(view.zoom * (event.deltaY < 0 ? 1.25 : 0.8), event.clientX);
  }, { passive: false });
  box.addEventListener("keydown", (event) => {
    const to = { "+": view.zoom * 1.5, "=": view.zoom * 1.5, "-": view.zoom / 1.5, 0: 1 }[event.key];
    if (to) { event.preventDefault(); zoom(to); }
  });
  addEventListener("resize", draw);
  requestAnimationFrame(draw); // the box has its width only now

  const button = (label, words, act) => make("button", { type: "button", class: "do", "aria-label": words, title: words, onclick: act }, label);
  const key = (colour, words) => make("li", {}, make("i", { style: { background: colour } }), words);
  const kinds = new Set(allSteps.map(({ step }) => (isOwn(step) ? "own" : step.kind)));
  const states = new Set(allSteps.map(({ step }) => step.state));
  return section("timeline", "Timeline",
    "Each service's steps, in lanes where they overlap. Zoom with + and −, or Ctrl and the wheel; arrow keys move from step to step.",
    make("div", { class: "tools" },
      make("label", {}, "Find", make("input", { type: "search", placeholder: "service or step", oninput: (event) => { view.text = event.target.value; draw(); } })),
      make("label", {}, "Order", make("select", { onchange: (event) => { view.order = event.target.value; draw(); } },
        make("option", { value: "begin" }, "by begin"), make("option", { value: "busy" }, "longest first"), make("option", { value: "name" }, "by name"))),
      make("label", {}, make("input", { type: "checkbox", checked: view.all, onchange: (event) => { view.all = event.target.checked; draw(); } }), "cached and small steps too"),
      make("span", {}, button("−", "Zoom out", () => zoom(view.zoom / 1.5)), " ", button("+", "Zoom in", () => zoom(view.zoom * 1.5)), " ",
        button("Fit", "Show the whole run", () => zoom(1)))),
    box,
    make("ul", { class: "keys" },
      ...Object.entries(KINDS).filter(([kind]) => kinds.has(kind)).map(([kind, words]) => key(`var(--${kind})`, words)),
      ...["cached", "failed", "stopped"].filter((state) => states.has(state)).map((state) => key(`var(--${state})`, STATES[state])),
      key("var(--path)", "underlined: on the critical path")));
}

function criticalPath() {
  if (!path.length) return null;
  const most = Math.max(...path.map(({ step }) => lengthOf(step)));
  const shown = path.filter(({ step }) => lengthOf(step) >= facts.seconds / 500);
  const left = path.length - shown.length;
  return section("critical", "Critical path",
    "The steps that the run waited for, in their order: to be quicker, make one of these quicker."
      + (left ? ` ${left} shorter than a five-hundredth of the run ${left === 1 ? "is" : "are"} left out.` : ""),
    make("ol", { class: "path", tabindex: "0", "aria-label": "Steps of the critical path" }, ...shown.map(({ service, step }) => make("li", {},
      make("b", { title: service }, service),
      make("span", {}, make("span", { class: "what mono", title: step.name }, step.name),
        make("i", { class: "meter", style: { width: share(lengthOf(step), most) } })),
      make("span", { class: "num" }, seconds(lengthOf(step)))))));
}

function slowest() {
  const found = allSteps.filter(({ step }) => step.kind !== "image" && lengthOf(step) > facts.seconds / 500)
    .sort((a, b) => lengthOf(b.step) - lengthOf(a.step)).slice(0, 12);
  if (!found.length) return null;
  return section("slowest", "Longest steps", "Whether or not anything waited for them.",
    make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Longest steps" }, make("table", {},
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Service"), make("th", { scope: "col" }, "Step"), make("th", { scope: "col", class: "num" }, "Took"))),
      make("tbody", {}, ...found.map(({ service, step }) => make("tr", {},
        make("td", {}, service), make("td", { class: "wide mono" }, step.name), make("td", { class: "num" }, seconds(lengthOf(step)))))))));
}

function images() {
  if (!facts.images.length) return null;
  const sorted = [...facts.images].sort((a, b) => b.size - a.size);
  const most = sorted[0].size;
  const shared = new Map();
  facts.images.forEach((image) => new Set(image.layers.map((each) => each.digest)).forEach((digest) => shared.set(digest, (shared.get(digest) || 0) + 1)));
  const bars = [];
  const line = (image) => make("div", { class: "img" }, make("b", { title: image.service }, image.service),
    make("div", { class: "layers", role: "group", "aria-label": `Layers of ${image.service}`, style: { width: share(image.size, most) } },
      ...image.layers.map((layer, number) => {
        const others = shared.get(layer.digest) - 1;
        const node = explained(make("button", {
          type: "button", "aria-label": `${image.service}, layer ${number + 1}: ${bytes(layer.size)}`,
          style: { "flex-grow": String(Math.max(layer.size, most / 2000)), "flex-basis": "0", background: others ? "var(--own)" : `var(--p${number % 8})` },
        }), () => [`${image.service}, layer ${number + 1} of ${image.layers.length}: ${bytes(layer.size)}`, layer.made_by || "without a history",
          others ? `the same in ${others} other ${others === 1 ? "image" : "images"}` : "", layer.digest.slice(0, 19)]);
        bars.push(node);
        return node;
      })), make("span", { class: "num" }, bytes(image.size)));
  const lines = sorted.map(line);
  roving(bars);
  return section("images", "Images by layer",
    `Compressed, as they are pushed: ${bytes(facts.images.reduce((sum, each) => sum + each.size, 0))} counted one by one, ${bytes(stored)} as layers that images share are stored once (grey).`,
    make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Images" }, ...lines),
    make("details", {}, make("summary", {}, "As a table"), make("div", { class: "scroll" }, make("table", {},
      make("thead", {}, make("tr", {}, ...["Service", "Made by", "Size"].map((word) => make("th", { scope: "col" }, word)))),
      make("tbody", {}, ...sorted.flatMap((image) => image.layers.map((layer) => make("tr", {},
        make("td", {}, image.service), make("td", { class: "wide mono" }, layer.made_by), make("td", { class: "num" }, bytes(layer.size))))))))));
}

function graph() {
  const { nodes, edges } = facts.graph;
  if (!nodes.length) return null;
  const state = new Map(facts.services.map((service) => [service.name, service.steps.some((step) => step.state === "failed") ? "failed"
    : service.steps.some((step) => step.kind === "step" && step.state === "done" && !isOwn(step) && !isFrom(step)) ? "ran"
      : service.steps.some((step) => step.kind === "step") ? "cached" : ""]));
  const wide = 190, high = 24, gap = 6, top = 28;
  const columns = ["base", "lib", "service"].map((kind) => nodes.filter((node) => node.kind === kind)).filter((each) => each.length);
  const signature = (node) => edges.filter((edge) => edge.from === `service:${node.name}` && edge.kind !== "calls").map((edge) => edge.to).sort().join();
  columns.at(-1).sort((a, b) => signature(a).localeCompare(signature(b)) || a.name.localeCompare(b.name));
  const across = 90;
  const tallest = Math.max(...columns.map((each) => each.length)) * (high + gap);
  const place = new Map();
  columns.forEach((column, number) => column.forEach((node, line) => {
    const space = tallest / column.length;
    place.set(`${node.kind}:${node.name}`, { x: 4 + number * (wide + across), y: top + (line + 0.5) * space - high / 2 });
  }));
  const drawn = new Map();
  const width = 8 + columns.length * wide + (columns.length - 1) * across + (edges.some((edge) => edge.kind === "calls") ? 70 : 0);
  const svg = make("svg", { class: "graph", width, height: top + tallest + 6, viewBox: `0 0 ${width} ${top + tallest + 6}`, role: "group", "aria-label": "Dependencies" });
  const heads = { base: "Bases", lib: "Libs", service: "Services" };
  columns.forEach((column, number) => svg.append(make("text", { class: "head", x: 6 + number * (wide + across), y: 16 }, heads[column[0].kind])));
  const lines = edges.filter((edge) => place.has(edge.from) && place.has(edge.to)).map((edge) => {
    const from = place.get(edge.from), to = place.get(edge.to);
    const [x1, y1, y2] = [from.x, from.y + high / 2, to.y + high / 2];
    const curve = edge.kind === "calls"
      ? `M${x1 + wide},${y1} C${x1 + wide + 60},${y1} ${x1 + wide + 60},${y2} ${to.x + wide},${y2}`
      : `M${x1},${y1} C${x1 - 45},${y1} ${to.x + wide + 45},${y2} ${to.x + wide},${y2}`;
    const line = make("path", { class: `edge ${edge.kind}`, d: curve });
    svg.append(line);
    return { ...edge, line };
  });
  const look = (id) => {
    svg.classList.toggle("looking", Boolean(id));
    const near = new Set([id]);
    lines.forEach((edge) => {
      const touches = edge.from === id || edge.to === id;
      edge.line.classList.toggle("near", touches);
      if (touches) { near.add(edge.from); near.add(edge.to); }
    });
    drawn.forEach((node, each) => node.classList.toggle("near", near.has(each)));
  };
  nodes.forEach((node) => {
    const id = `${node.kind}:${node.name}`, at = place.get(id);
    const of = (kind) => edges.filter((edge) => edge.from === id && edge.kind === kind).map((edge) => edge.to.split(":")[1]).join(", ");
    const users = edges.filter((edge) => edge.to === id && edge.kind !== "calls").length;
    const callers = edges.filter((edge) => edge.to === id && edge.kind === "calls").map((edge) => edge.from.split(":")[1]).join(", ");
    const name = node.name.length > 24 ? `${node.name.slice(0, 23)}…` : node.name;
    const group = make("g", { class: `node ${node.kind} ${state.get(node.name) || ""}`, tabindex: "0", role: "img", "aria-label": `${node.kind} ${node.name}` },
      make("rect", { x: at.x, y: at.y, width: wide, height: high }), make("text", { x: at.x + 9, y: at.y + 16.5 }, name));
    explained(group, () => [`${node.kind} ${node.name}`, of("base") && `starts from ${of("base")}`, of("lib") && `uses ${of("lib")}`, of("calls") && `calls ${of("calls")}`, callers && `is called by ${callers}`,
      users ? `${users} ${users === 1 ? "service needs" : "services need"} it` : ""]);
    group.addEventListener("pointerenter", () => look(id));
    group.addEventListener("pointerleave", () => look(""));
    group.addEventListener("focus", () => look(id));
    group.addEventListener("blur", () => look(""));
    drawn.set(id, group);
    svg.append(group);
  });
  roving([...drawn.values()]);
  return section("graph", "What depends on what",
    "As the workspace is now: a change of a base or lib reaches the services that a line joins to it. Dashed: who calls whom, as the services' environment says. Filled: built in this run.",
    make("div", { class: "scroll" }, svg));
}

function history() {
  if (facts.history.length < 2) return null;
  const most = Math.max(...facts.history.map((each) => each.seconds));
  const median = [...facts.history].map((each) => each.seconds).sort((a, b) => a - b)[Math.floor(facts.history.length / 2)];
  const runs = facts.history.map((each) => {
    const building = Math.min(each.building, each.seconds);
    return explained(make("button", {
      type: "button", class: `run ${each.result} ${each.shown ? "shown" : ""}`, "aria-label": `${time(each.began)}: ${seconds(each.seconds)}, ${each.result}`,
    }, make("i", { style: { height: share(each.seconds - building, most) } }), make("i", { class: "building", style: { height: share(building, most) } })),
    () => [time(each.began), `${seconds(each.seconds)}, ${each.result}`, building ? `${seconds(building)} of it building images` : "nothing was built", each.shown ? "this run" : ""]);
  });
  roving(runs);
  return section("history", "The runs before", `The last ${facts.history.length} of this kind, the newest on the right; the median is ${seconds(median)}. Blue: building images.`,
    make("div", { class: "history", role: "group", "aria-label": "Runs" }, ...runs));
}

const longest = Math.max("the command".length, ...facts.services.map((each) => each.name.length));
document.documentElement.style.setProperty("--fit", `${Math.min(18, longest * 0.56 + 1.5)}rem`);
const pair = (...parts) => (parts.some(Boolean) ? make("div", { class: "pair" }, ...parts.filter(Boolean)) : null);
document.getElementById("page").replaceChildren(...[
  heading(), tiles(), phases(), timeline(), pair(criticalPath(), slowest()), pair(images(), history()), graph(),
  make("footer", {}, "Made by invoke report from a record in .slipway/records; full logs are in .slipway/logs. Times of steps are BuildKit's and Pulumi's own."),
].filter(Boolean));
