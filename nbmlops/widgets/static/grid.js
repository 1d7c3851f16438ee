// A table of thousands of rows: only the rows in sight are elements. Sort, filter, choose columns, select; mouse or keyboard.

const ROW = 25;
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
let grids = 0;

// "auc>0.7 status=FAILED forest" -> tests that must all hold; a word that is no comparison must occur in some cell.
function parseFilter(text, columns) {
  return text.split(/\s+/).filter(Boolean).map((word) => {
    const match = word.match(/^(.+?)(>=|<=|!=|=|>|<)(.+)$/);
    const place = match ? columns.findIndex((c) => [c.title, c.key].some((n) => n.toLowerCase() === match[1].toLowerCase())) : -1;
    if (place < 0) { const w = word.toLowerCase(); return (row, all) => all.includes(w); }
    const [, , sign, wanted] = match, limit = Number(wanted);
    return (row) => {
      const v = row[place];
      if (v === null || v === undefined) return false;
      const same = show(v, columns[place].kind).toLowerCase() === wanted.toLowerCase() || toNumber(v) === limit;
      if (sign === "=" || sign === "!=") return same === (sign === "=");
      const n = toNumber(v);
      return sign === ">" ? n > limit : sign === "<" ? n < limit : sign === ">=" ? n >= limit : n <= limit;
    };
  });
}

function compareBy(place, kind, direction) {
  const key = NUMERIC.has(kind) ? toNumber : (v) => v;
  const missing = (v) => v === null || v === undefined || v === "" || (typeof v === "number" && Number.isNaN(v));
  return (a, b) => {
    const x = key(a.row[place]), y = key(b.row[place]);
    if (missing(x) || missing(y)) return missing(x) - missing(y);  // what is missing comes last either way
    return (typeof x === "number" && typeof y === "number" ? x - y : collator.compare(show(x), show(y))) * direction;
  };
}

/* options: {columns, rows, ids, what, height, selectable, onSelect(ids), onOpen(id)}; returns {update(columns, rows, ids), selected}. */
function grid(root, options) {
  const name = `nbm-grid-${(grids += 1)}`;
  const state = { columns: [], items: [], view: [], hidden: new Set(), sort: null, direction: 1, text: "", active: -1 };
  const selected = new Set(options.selected ?? []);
  const bar = make("div", "nbm-bar"), filter = make("input", "nbm-input"), count = make("span", "nbm-soft nbm-count");
  const chooser = make("details", "nbm-chooser"), choices = make("div", "nbm-choices");
  const box = make("div", "nbm-box"), head = make("div", "nbm-row nbm-header"), body = make("div", "nbm-body");
  filter.type = "search";
  filter.placeholder = "filter: words, status=FAILED, auc>0.7";
  filter.setAttribute("aria-label", `filter ${options.what}`);
  chooser.append(make("summary", "nbm-button", "Columns"), choices);
  count.setAttribute("role", "status");
  bar.append(filter, chooser, count);
  box.tabIndex = 0;
  box.setAttribute("role", "grid");
  box.setAttribute("aria-label", options.what);
  if (options.selectable) box.setAttribute("aria-multiselectable", "true");
  head.setAttribute("role", "row");
  body.setAttribute("role", "rowgroup");
  box.append(head, body);
  root.append(bar, box);

  const shown = () => state.columns.map((c, i) => ({ ...c, place: i })).filter((c) => !state.hidden.has(c.key));

  function widths() {
    const sample = state.items.slice(0, 200);
    const parts = shown().map((c) => {
      const longest = sample.reduce((n, it) => Math.max(n, show(it.row[c.place], c.kind).length), c.title.length + 2);
      return Math.round(Math.min(38, Math.max(5, longest)) * 7.1 + (c.kind === "status" || c.kind === "badges" ? 38 : 18));
    });
    const lead = options.selectable ? 30 : 0;
    const template = (lead ? "30px " : "") + parts.map((w) => `minmax(${w}px,${w}fr)`).join(" ");
    box.style.setProperty("--cols", template);
    const total = `${parts.reduce((a, b) => a + b, lead)}px`;
    head.style.minWidth = total;
    body.style.minWidth = total;
  }

  function drawHead() {
    head.replaceChildren();
    if (options.selectable) {
      const cell = make("div", "nbm-cell nbm-check"), all = make("input");
      all.type = "checkbox";
      all.setAttribute("aria-label", "select all rows shown");
      all.checked = state.view.length > 0 && state.view.every((it) => selected.has(it.id));
      all.onchange = () => choose(state.view.map((it) => it.id), all.checked);
      cell.append(all);
      head.append(cell);
    }
    for (const c of shown()) {
      const cell = make("div", `nbm-cell${RIGHT.has(c.kind) ? " nbm-right" : ""}`);
      const on = state.sort === c.key;
      const b = button(c.title, () => {
        if (!on) { state.sort = c.key; state.direction = 1; } else if (state.direction === 1) state.direction = -1;
        else state.sort = null;
        update();
        head.querySelector(`[data-place="${c.place}"]`)?.focus();
      }, "nbm-sort");
      b.dataset.place = c.place;
      b.title = `${c.title}: sort`;
      b.append(make("span", "nbm-arrow", on ? (state.direction === 1 ? " ▲" : " ▼") : ""));
      cell.setAttribute("role", "columnheader");
      cell.setAttribute("aria-sort", on ? (state.direction === 1 ? "ascending" : "descending") : "none");
      cell.append(b);
      head.append(cell);
    }
  }

  function drawRow(item, place, columns) {
    const row = make("div", `nbm-row nbm-line${place === state.active ? " nbm-active" : ""}${selected.has(item.id) ? " nbm-on" : ""}`);
    row.id = `${name}-${place}`;
    row.style.top = `${place * ROW}px`;
    row.setAttribute("role", "row");
    row.setAttribute("aria-rowindex", place + 2);
    if (options.selectable) {
      const cell = make("div", "nbm-cell nbm-check"), tick = make("input");
      tick.type = "checkbox";
      tick.tabIndex = -1;
      tick.checked = selected.has(item.id);
      tick.setAttribute("aria-label", `select ${show(item.row[0])}`);
      tick.onclick = (event) => { event.stopPropagation(); choose([item.id], tick.checked); };
      cell.append(tick);
      row.append(cell);
      row.setAttribute("aria-selected", selected.has(item.id));
    }
    for (const c of columns) {
      const cell = make("div", `nbm-cell${RIGHT.has(c.kind) ? " nbm-right" : ""}`);
      cell.setAttribute("role", "gridcell");
      fill(cell, item.row[c.place], c.kind);
      if (cell.textContent.length > 12) cell.title = cell.textContent;
      row.append(cell);
    }
    row.onclick = () => { state.active = place; open(item); paint(); };
    return row;
  }

  function paint() {
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 6), columns = shown();
    const last = first + Math.ceil((box.clientHeight || options.height || 340) / ROW) + 12;
    body.replaceChildren(...state.view.slice(first, last).map((it, k) => drawRow(it, first + k, columns)));
    if (!state.view.length) body.append(make("div", "nbm-empty nbm-soft", state.items.length ? "no row matches the filter" : `no ${options.what} yet`));
    const current = state.active >= first && state.active < last ? `${name}-${state.active}` : "";
    box.setAttribute("aria-activedescendant", current);
  }

  function update() {
    const tests = parseFilter(state.text, state.columns);
    state.view = tests.length ? state.items.filter((it) => tests.every((t) => t(it.row, it.text))) : state.items.slice();
    const place = state.columns.findIndex((c) => c.key === state.sort);
    if (place >= 0) state.view.sort(compareBy(place, state.columns[place].kind, state.direction));
    state.active = Math.min(state.active, state.view.length - 1);
    body.style.height = `${Math.max(1, state.view.length) * ROW}px`;
    bar.hidden = !options.selectable && !state.text && state.items.length <= 6;  // a short list needs no tools
    box.setAttribute("aria-rowcount", state.view.length + 1);
    const picked = selected.size ? ` · ${selected.size} selected` : "";
    const all = state.items.length.toLocaleString("en-US");
    count.textContent = (state.view.length === state.items.length ? all : `${state.view.length.toLocaleString("en-US")} of ${all}`) +
      ` ${state.items.length === 1 ? options.what.replace(/s$/, "") : options.what}${picked}`;
    widths();
    drawHead();
    const scrollbar = box.clientWidth && box.scrollWidth > box.clientWidth ? 18 : 2;
    box.style.height = `${Math.min(options.height ?? 340, (Math.max(1, state.view.length) + 1) * ROW + scrollbar)}px`;
    paint();
  }

  function choose(ids, on) {
    ids.forEach((id) => (on ? selected.add(id) : selected.delete(id)));
    update();
    options.onSelect?.([...selected]);
  }

  const open = (item) => (options.onOpen ? options.onOpen(item.id) : options.selectable && choose([item.id], !selected.has(item.id)));

  function load(columns, rows, ids) {
    const known = new Set(state.columns.map((c) => c.key));
    columns.filter((c) => c.hidden && !known.has(c.key)).forEach((c) => state.hidden.add(c.key));
    state.columns = columns;
    state.items = rows.map((row, i) => ({
      row, id: ids?.[i] ?? String(i), text: row.map((v, k) => show(v, columns[k].kind)).join("\n").toLowerCase(),
    }));
    const there = new Set(state.items.map((it) => it.id));
    [...selected].filter((id) => !there.has(id)).forEach((id) => selected.delete(id));
    choices.replaceChildren(...columns.map((c) => {
      const label = make("label"), tick = make("input");
      tick.type = "checkbox";
      tick.checked = !state.hidden.has(c.key);
      tick.onchange = () => { tick.checked ? state.hidden.delete(c.key) : state.hidden.add(c.key); update(); };
      label.append(tick, ` ${c.key.startsWith("params.") ? `param ${c.title}` : c.key.startsWith("metrics.") ? `metric ${c.title}` : c.title}`);
      return label;
    }));
    update();
  }

  const jumps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
  box.onkeydown = (event) => {
    if (event.target !== box || !state.view.length) return;
    event.stopPropagation();  // a notebook's own shortcuts must not run
    if (event.key in jumps) {
      state.active = Math.max(0, Math.min(state.view.length - 1, state.active + jumps[event.key]));
      const top = state.active * ROW, height = box.clientHeight - ROW - 2;
      if (top < box.scrollTop) box.scrollTop = top;
      else if (top + ROW > box.scrollTop + height) box.scrollTop = top + ROW - height;
    } else if (event.key === " " && state.active >= 0 && options.selectable) {
      const { id } = state.view[state.active];
      choose([id], !selected.has(id));
    } else if (event.key === "Enter" && state.active >= 0) open(state.view[state.active]);
    else return;
    event.preventDefault();
    paint();
  };
  filter.onkeydown = (event) => event.stopPropagation();
  filter.oninput = () => { state.text = filter.value; box.scrollTop = 0; update(); };
  box.onscroll = paint;
  load(options.columns, options.rows, options.ids);
  return { update: load, get selected() { return [...selected]; } };
}

// Selected rows side by side: one line per column, those that differ marked.
function comparison(columns, rows, label) {
  const root = make("div", "nbm-compare"), only = make("input"), box = make("div", "nbm-scroll"), line = make("label", "nbm-soft");
  const skip = new Set(["name", "run_id"]);
  const kept = columns.map((c, i) => [c, i]).filter(([c]) => !skip.has(c.key));
  const lines = kept.map(([c, i]) => {
    const texts = rows.map((r) => show(r[i], c.kind));
    return { title: c.title, key: c.key, kind: c.kind, texts, differs: new Set(texts).size > 1 };
  }).filter((l) => l.texts.some(Boolean));
  only.type = "checkbox";
  only.checked = lines.length > 12;
  function draw() {
    const table = make("table", "nbm-grid"), head = make("tr");
    head.append(make("th", "", ""), ...rows.map((r) => make("th", "nbm-right", label(r))));
    table.append(head);
    for (const l of lines.filter((x) => x.differs || !only.checked)) {
      const tr = make("tr", l.differs ? "nbm-differs" : "");
      tr.append(make("td", "nbm-soft", l.title), ...l.texts.map((t) => make("td", "nbm-right", t)));
      table.append(tr);
    }
    box.replaceChildren(table);
    if (only.checked && !lines.some((l) => l.differs)) box.append(make("div", "nbm-soft", "no differences"));
  }
  only.onchange = draw;
  line.append(only, " differences only");
  draw();
  root.append(line, box);
  return root;
}
