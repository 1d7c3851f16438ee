// Elements, values as text, and cards. Data reaches the page through textContent only.

function make(tag, cls, text) {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  if (text !== undefined && text !== null) e.textContent = text;
  return e;
}

// A live view hides the static twin that was saved beside it.
function announce(model, root) {
  const token = model.get("token");
  if (!token) return;
  root.dataset.nbmLive = token;
  for (const twin of document.querySelectorAll(`[data-nbm="${token}"]`)) twin.hidden = true;
}

function button(text, onclick, cls = "nbm-button") {
  const b = make("button", cls, text);
  b.type = "button";
  b.onclick = onclick;
  return b;
}

const TONES = {};
for (const [tone, words] of Object.entries({
  good: "FINISHED pass ok promoted approved production closed done up",
  warn: "warn waiting staging open retraining pending KILLED",
  bad: "FAILED block BLOCKED alert rejected error TIMEOUT DIED down",
  busy: "RUNNING",
})) for (const word of words.split(" ")) TONES[word] = tone;

const badge = (status) => make("span", `nbm-badge nbm-${TONES[status] ?? "calm"}`, status);

const RIGHT = new Set(["number", "count", "bytes", "duration"]);
const NUMERIC = new Set([...RIGHT, "time"]);
const SPECIAL = { nan: NaN, inf: Infinity, "-inf": -Infinity };

// NaN and infinities come as texts, params are texts: what such a value is as a number, NaN if it is none.
const toNumber = (v) => (typeof v === "number" ? v : v in SPECIAL ? SPECIAL[v] : v === "" || v === null ? NaN : Number(v));

function number(v) {
  if (typeof v !== "number" || Number.isInteger(v)) return String(v);
  const size = Math.abs(v);
  if (size >= 1e15 || (size > 0 && size < 1e-4)) return v.toExponential(4);
  return size >= 1e4 ? v.toFixed(1) : String(Number(v.toPrecision(5)));
}

function bytes(v) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let place = 0;
  while (v >= 1000 && place < 4) { v /= 1000; place += 1; }
  return `${place ? v.toFixed(1) : v} ${units[place]}`;
}

function duration(s) {
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${s.toFixed(0)} s`;
  const m = Math.floor(s / 60);
  return m < 60 ? `${m} min ${Math.floor(s) % 60} s` : `${Math.floor(m / 60)} h ${m % 60} min`;
}

const two = (n) => String(n).padStart(2, "0");

function time(seconds) {
  const d = new Date(seconds * 1000);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ` +
    `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

const SHOW = { time, duration, bytes, count: (v) => (Number.isInteger(v) ? v.toLocaleString("en-US") : number(v)), number };

function show(v, kind) {
  if (v === null || v === undefined) return "";
  if (Array.isArray(v)) return v.map((x) => show(x)).join(", ");
  if (typeof v === "object") return JSON.stringify(v);
  // Params are kept as texts: 0.30000000000000004 is shown as the number it is.
  if (typeof v === "string") return kind === "number" && v.length > 9 && Number.isFinite(Number(v)) ? number(Number(v)) : v;
  return typeof v === "number" ? (SHOW[kind] ?? number)(v) : String(v);
}

function fill(cell, v, kind) {
  if (v === null || v === undefined || v === "") return cell;
  if (kind === "status") cell.append(badge(String(v)));
  else if (kind === "badges") (Array.isArray(v) ? v : [v]).forEach((x) => cell.append(badge(String(x)), " "));
  else cell.textContent = show(v, kind);
  if (kind === "code") cell.classList.add("nbm-code");
  return cell;
}

// A small table as it is: no sorting, no scrolling. `mark(row)` may give the row a class.
function plainTable(columns, rows, more = 0, mark = null) {
  const table = make("table", "nbm-grid"), head = make("tr"), body = make("tbody");
  columns.forEach((c) => head.append(make("th", RIGHT.has(c.kind) ? "nbm-right" : "", c.title)));
  rows.forEach((row) => {
    const tr = make("tr", mark ? mark(row) : "");
    columns.forEach((c, i) => tr.append(fill(make("td", RIGHT.has(c.kind) ? "nbm-right" : ""), row[i], c.kind)));
    body.append(tr);
  });
  if (columns.some((c) => c.title)) { const h = make("thead"); h.append(head); table.append(h); }
  table.append(body);
  const box = make("div");
  box.append(table);
  if (more) box.append(make("div", "nbm-soft", `… and ${more.toLocaleString("en-US")} more`));
  return box;
}

function section(title, content) {
  const box = make("div", "nbm-section");
  if (title) box.append(make("div", "nbm-title", title));
  box.append(content);
  return box;
}

// A record: {kind, name, status, facts: [[label, value, kind]], sections: [{title, columns, rows, more} | {title, text}]}
function drawCard(card) {
  const box = make("div", "nbm-detail"), head = make("div", "nbm-head"), facts = make("div", "nbm-factlist");
  head.append(make("span", "nbm-kind", card.kind), make("span", "nbm-name", card.name));
  if (card.status) head.append(badge(card.status));
  for (const [label, value, kind] of card.facts) facts.append(make("div", "nbm-soft", label), fill(make("div"), value, kind));
  const sections = make("div", "nbm-sections");
  for (const s of card.sections) {
    sections.append(section(s.title, s.columns ? plainTable(s.columns, s.rows, s.more) : make("pre", "nbm-block", s.text)));
  }
  box.append(head, facts, sections);
  return box;
}
