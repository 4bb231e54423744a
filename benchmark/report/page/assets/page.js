"use strict";
// Text from records only ever becomes text: textContent, never innerHTML.
const page = document.getElementById("page");
const index = JSON.parse(document.getElementById("index").textContent);
const column = Object.fromEntries(index.columns.map((name, i) => [name, i]));
const NUMBERS = new Set(["trial", "seed", "score", "trainable", "step (ms)", "memory (MB)"]);
const LONG = 44; // letters, from which on a cell is broken into lines
const unpacked = {};

// --- what is packed: libraries and records, unpacked once, when first wanted
async function unpack(name) {
  const bytes = Uint8Array.from(atob(document.getElementById("pack-" + name).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).text();
}

function once(name, make) {
  unpacked[name] ??= make();
  return unpacked[name];
}

const address = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));

const tables = () => once("tables", async () => {
  document.head.prepend(make("style", await unpack("datatables_style")));
  return (await import(address(await unpack("datatables")))).default;
});

const records = () => once("records", async () => JSON.parse(await unpack("records")));
const figures = () => once("figures", async () => JSON.parse(await unpack("figures")));

// --- elements
function make(tag, content, attributes = {}) {
  const element = document.createElement(tag);
  if (Array.isArray(content)) element.append(...content);
  else if (content !== undefined && content !== null) element.textContent = content;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

const link = (text, ...parts) => make("a", text, { href: "#" + parts.map(encodeURIComponent).join("/") });
const badge = (kind) => make("span", kind, { class: "badge " + kind });
const badges = (rows) => [...new Set(rows.map((row) => row[column.records]))].sort().flatMap((kind) => [badge(kind), " "]);
const number = (value, digits) => (typeof value === "number" ? value.toLocaleString("en", Number.isInteger(value) ? {} : { maximumSignificantDigits: digits }) : value ?? "");

function facts(pairs) {
  return make("dl", pairs.flatMap(([key, value]) => [make("dt", key), make("dd", value instanceof Node ? [value] : String(value))]), { class: "facts" });
}

function grid(label, header, rows, numbers, digits = 6) {
  const kind = (name) => (numbers.has(name) ? { class: "number" } : {});
  const body = rows.map(({ cells, state, title, marks }) => make("tr", cells.map((cell, i) => {
    const beside = header[i] === "score" ? marks ?? "" : "";
    const td = make("td", cell instanceof Node ? [cell] : number(cell, digits) + beside, kind(header[i]));
    if (td.textContent.length > LONG) td.classList.add("text");
    if (numbers.has(header[i])) td.dataset.order = typeof cell === "number" ? cell : "";
    if (header[i] === "status") td.classList.add("state");
    return td;
  }), { class: state, ...(title && { title }) }));
  const table = make("table", [make("thead", [make("tr", header.map((name) => make("th", name, kind(name))))]), make("tbody", body)], { class: "data" });
  return make("div", [table], { class: "scroll", role: "region", tabindex: "0", "aria-label": "table: " + label });
}

// --- tables that sort and filter
async function dress(root) {
  const DataTable = await tables();
  for (const table of root.querySelectorAll("table.data")) {
    if (!table.isConnected || DataTable.isDataTable(table)) continue;
    const rows = table.tBodies[0].rows.length;
    const types = [...table.tHead.rows[0].cells].map((cell, i) => ({ targets: i, type: cell.classList.contains("number") ? "last" : "string" }));
    new DataTable(table, {
      order: [], autoWidth: false, columnDefs: types, paging: rows > 150, pageLength: 100, info: rows > 150, ordering: { indicators: false, handler: true },
      lengthChange: false, columnControl: rows > 5 ? ["orderStatus", "searchDropdown"] : ["orderStatus"],
      layout: { topStart: rows > 5 ? "search" : null, topEnd: null, bottomStart: rows > 150 ? "info" : null, bottomEnd: rows > 150 ? "paging" : null },
      language: { search: "", searchPlaceholder: "filter", zeroRecords: "nothing matches", emptyTable: "nothing here" },
    });
    scrolls(table);
  }
}

function scrolls(table) {
  // a sorted table scrolls in a box of its own: what was said of the outer box belongs to that one
  const [outer, inner] = [table.closest(".scroll"), table.parentElement];
  for (const name of ["role", "tabindex", "aria-label"]) { inner.setAttribute(name, outer.getAttribute(name)); outer.removeAttribute(name); }
  outer.classList.remove("scroll");
  inner.classList.add("scroll");
}

function sorts(DataTable) {
  // numbers by their value; what is no number comes last, whichever way
  const of = (cell) => (cell === "" || Number.isNaN(Number(cell)) ? null : Number(cell));
  const compare = (sign) => (a, b) => (a === null) - (b === null) || (a === null ? 0 : sign * (a - b));
  DataTable.ext.type.order["last-pre"] = of;
  DataTable.ext.type.order["last-asc"] = compare(1);
  DataTable.ext.type.order["last-desc"] = compare(-1);
}

// --- figures
const SVG = "http://www.w3.org/2000/svg";

function shape(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

const hint = make("div", null, { class: "hint", role: "status" });

function mark(x, y, text, route) {
  // says what is drawn there while it is pointed at; a click leads to the runs
  const circle = shape("circle", { cx: x, cy: y, r: 5, class: route ? "mark link" : "mark", "aria-label": text });
  circle.addEventListener("pointerenter", (event) => {
    hint.textContent = text;
    Object.assign(hint.style, { left: event.pageX + 12 + "px", top: event.pageY + 12 + "px" });
    document.body.append(hint);
  });
  circle.addEventListener("pointerleave", () => hint.remove());
  if (route) circle.addEventListener("click", () => { hint.remove(); location.hash = route; });
  return circle;
}

function draw(box, { drawing, marks }) {
  const svg = document.importNode(new DOMParser().parseFromString(drawing, "image/svg+xml").documentElement, true);
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  svg.append(...marks.map(([x, y, text, route]) => mark(x * width, y * height, text, route)));
  box.replaceChildren(svg);
}

function curve(title, points) {
  const [left, right, top, bottom] = [70, 620, 30, 190];
  const ends = (values) => [Math.min(...values), Math.max(...values)];
  const [xs, ys] = [points.map((p) => p[0]), points.map((p) => p[1])];
  const scaled = (value, [low, high], first, last) => first + (last - first) * (high > low ? (value - low) / (high - low) : 0.5);
  const spots = points.map(([x, y]) => [scaled(x, ends(xs), left, right), scaled(y, ends(ys), bottom, top)]);
  const label = (text, x, y, anchor) => shape("text", { x, y, "text-anchor": anchor }, text);
  const svg = shape("svg", { viewBox: "0 0 640 215", class: "curve" });
  svg.append(label(title, left, 16, "start"), shape("polyline", { points: spots.map((spot) => spot.join(",")).join(" ") }),
    ...ends(ys).map((value, i) => label(number(value, 4), left - 8, i ? top + 4 : bottom + 4, "end")),
    label("step " + number(ends(xs)[0]), left, 210, "start"), label(number(ends(xs)[1]), right, 210, "end"),
    ...points.map((point, i) => mark(...spots[i], "step " + point[0] + ": " + number(point[1], 6), "")));
  return svg;
}

function tabs(root) {
  for (const box of root.querySelectorAll(".figure")) {
    const buttons = [...box.querySelectorAll("button")];
    const choose = async (chosen) => {
      buttons.forEach((button) => button.setAttribute("aria-pressed", button === chosen));
      const figure = (await figures())[chosen.dataset.figure];
      if (chosen.getAttribute("aria-pressed") === "true") draw(box.querySelector(".plot"), figure);
    };
    buttons.forEach((button) => button.addEventListener("click", () => choose(button)));
    const seen = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) { seen.disconnect(); choose(buttons[0]); }
    }, { rootMargin: "200px" });
    seen.observe(box);
  }
}

// --- runs
const SHORT = ["run", "task", "method", "seed", "fold", "status", "score", "metric", "budget", "phase", "trial", "weights", "trainable", "step (ms)", "memory (MB)", "records", "reason"];

function listing(rows, left = []) {
  const header = SHORT.filter((name) => !left.includes(name));
  const cell = (row, name) => (name === "run" ? link(row[column.run], "run", row[column.run]) : name === "method" ? link(row[column.method], "method", row[column.method]) : row[column[name]]);
  return grid("runs", header, rows.map((row) => ({ cells: header.map((name) => cell(row, name)), state: row[column.status], title: row[column.reason], marks: row[column.marks] })), NUMBERS);
}

function fill(root) {
  for (const box of root.querySelectorAll(".runs")) {
    const { column: name, value } = box.dataset;
    const rows = name ? index.rows.filter((row) => row[column[name]] === value) : index.rows;
    box.append(rows.length ? listing(rows, name ? [name] : []) : make("p", "No run is recorded."));
  }
}

function flat(value, path = "") {
  if (value === null || typeof value !== "object") return [[path, value]];
  if (Array.isArray(value)) return [[path, JSON.stringify(value)]];
  return Object.entries(value).flatMap(([key, inner]) => flat(inner, path ? path + "." + key : key));
}

const start = (row) => row[column.backbone] + (row[column.weights] ? ", " + row[column.weights] + " weights" : "");
const absent = (what) => [make("h1", "Nothing here"), make("p", what), make("p", [link("back to the start", "")])];

function setting(name) {
  const known = index.settings[name];
  if (!known) return absent("These runs are not on this page: it was made from other records.");
  const rows = index.rows.filter((row) => known.runs.includes(row[column.run])).sort((a, b) => a[column.seed] - b[column.seed]);
  const [first] = rows;
  return [
    make("h1", [known.label + " on " + first[column.task] + " ", ...badges(rows)]),
    facts([
      ["task", link(first[column.task], "task", first[column.task])], ["method", link(first[column.method], "method", first[column.method])],
      ["backbone", start(first)], ["tables", known.tables.join(", ")],
    ]),
    make("p", "These runs differ only in their seed. Click an id for the whole record."),
    listing(rows, ["task", "method", "weights"]),
  ];
}

async function run(name) {
  const row = index.rows.find((one) => one[column.run] === name);
  if (!row) return absent("This run is not on this page: it was made from other records.");
  const record = (await records())[name];
  const settings = (title, content) => make("details", [make("summary", title), facts(flat(content))]);
  const text = [
    make("h1", [row[column.method] + " on " + row[column.task] + ", seed " + row[column.seed] + " ", badge(row[column.records])]),
    facts([
      ["run", name], ["status", row[column.status] + (row[column.reason] ? ": " + row[column.reason] : "")],
      ["task", link(row[column.task], "task", row[column.task])], ["method", link(row[column.method], "method", row[column.method])], ["backbone", start(row)],
      ["records", row[column.records]], ["record", record.file], ["created", record.created],
    ]),
    make("h2", "Repeat this run"), make("pre", record.command),
  ];
  if (record.files.length) text.push(make("p", "A record does not hold the paths of files. Insert those of: " + record.files.join(", "), { class: "legend" }));
  if (record.final.length) text.push(make("h2", "Measurements"), grid("measurements", ["split", "measurement", "value"], record.final.map((cells) => ({ cells })), new Set(["value"]), 12));
  text.push(...Object.entries(record.curves).map(([title, points]) => curve(title, points)));
  const opened = settings("settings", record.config);
  opened.open = true;
  text.push(make("h2", "Settings"), opened, settings("data", record.data), settings("environment", record.environment), settings("signatures of scores", record.signatures),
    make("details", [make("summary", "modules that the method changed (" + record.modules.length + ")"), make("pre", record.modules.join("\n"))]));
  return text;
}

// --- pages
let shown = 0;

async function show() {
  const current = ++shown;
  const route = location.hash.slice(1);
  const [kind, name] = route.split("/").map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  const template = [...document.querySelectorAll("template[data-route]")].find((one) => one.dataset.route === route);
  let content;
  if (template) content = [template.content.cloneNode(true)];
  else if (kind === "setting") content = setting(name);
  else if (kind === "run") content = await run(name);
  else content = absent("There is no such page.");
  if (current !== shown) return;
  hint.remove();
  page.replaceChildren(...content);
  page.dataset.route = route;
  document.title = (page.querySelector("h1")?.textContent.trim() ?? "CrossPEFT") + " · CrossPEFT";
  window.scrollTo(0, 0);
  fill(page);
  tabs(page);
  await dress(page);
  if (current === shown) page.dataset.ready = route;
}

page.addEventListener("click", (event) => {
  const jump = event.target.closest("[data-jump]");
  if (jump) [...page.querySelectorAll("[data-section]")].find((one) => one.dataset.section === jump.dataset.jump)?.scrollIntoView();
});

// --- light and dark
const THEMES = ["system", "light", "dark"];
const button = document.getElementById("theme");
const system = window.matchMedia("(prefers-color-scheme: dark)");
const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
let theme = THEMES.includes(stored()) ? stored() : "system";

function paint() {
  const dark = theme === "dark" || (theme === "system" && system.matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  document.documentElement.classList.toggle("dark", dark); // what DataTables looks at
  button.textContent = "theme: " + theme;
}

button.addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  try { localStorage.setItem("theme", theme); } catch { /* a browser may keep nothing for files */ }
  paint();
});
system.addEventListener("change", paint);
window.addEventListener("hashchange", show);
paint();
tables().then(sorts).then(show);
