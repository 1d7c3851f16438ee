// The dashboard: tabs, and the one line to Python: {id, verb, args} -> {id, ok, data | error}.

function connect(model) {
  const waiting = new Map(), saved = model.get("snapshot") ?? {}, live = model.get("live");
  // A number that no other view of the same widget uses: each view sees all replies.
  const view = Math.random().toString(36).slice(2);
  let last = 0;
  const settle = (reply, { resolve, reject }) => (reply.ok ? resolve(reply.data) : reject(reply.error));
  const receive = (reply) => {
    if (!waiting.has(reply.id)) return;
    settle(reply, waiting.get(reply.id));
    waiting.delete(reply.id);
  };
  if (live) model.on("msg:custom", receive);
  const missing = { error: "NotKept", message: "this saved copy does not hold it", hint: "run the cell again with a kernel" };
  function call(verb, args = {}) {
    return new Promise((resolve, reject) => {
      if (!live) {
        const name = `${verb}?${Object.keys(args).sort().map((k) => `${k}=${args[k]}`).join("&")}`;
        return settle(saved[name] ?? { ok: false, error: missing }, { resolve, reject });
      }
      const id = `${view}-${(last += 1)}`;
      waiting.set(id, { resolve, reject });
      return model.send({ id, verb, args });
    });
  }
  function fault(error) {
    const box = make("div", "nbm-fault");
    box.setAttribute("role", "alert");
    box.append(make("div", "", `${error.error ?? "Error"}: ${error.message ?? error}`));
    if (error.hint) box.append(make("div", "", `  -> ${error.hint}`));
    if (error.findings) box.append(plainTable(error.findings.columns, error.findings.rows));
    return box;
  }
  return { live, call, fault, close: () => live && model.off("msg:custom", receive) };
}

const TABS = [["Runs", runsTab], ["Data sets", dataTab], ["Models", modelsTab], ["Flows & alerts", flowsTab]];
let views = 0;

function render({ model, el }) {
  const root = make("div", "nbm nbm-view nbm-dashboard"), bar = make("div", "nbm-tabs"), list = make("div", "nbm-tablist");
  const desk = connect(model), name = `nbm-view-${(views += 1)}`, tabs = [];
  list.setAttribute("role", "tablist");

  async function refresh(tab) {
    tab.note.replaceChildren(make("span", "nbm-soft", "loading …"));
    try { await tab.refresh(); tab.note.replaceChildren(); } catch (error) { tab.note.replaceChildren(desk.fault(error)); }
  }
  function choose(place) {
    tabs.forEach((t, i) => {
      t.button.setAttribute("aria-selected", i === place);
      t.button.tabIndex = i === place ? 0 : -1;
      t.panel.hidden = i !== place;
    });
    model.set("tab", place);
    model.save_changes();
    if (!tabs[place].drawn) { tabs[place].drawn = true; refresh(tabs[place]); }
  }
  const current = () => tabs.findIndex((t) => !t.panel.hidden);

  TABS.forEach(([title, build], i) => {
    const b = button(title, () => choose(i), "nbm-tab"), panel = make("div", "nbm-panel"), content = make("div"), note = make("div");
    b.id = `${name}-tab-${i}`;
    panel.id = `${name}-panel-${i}`;
    b.setAttribute("role", "tab");
    b.setAttribute("aria-controls", panel.id);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", b.id);
    panel.append(note, content);
    tabs.push({ button: b, panel, note, refresh: build(content, desk), drawn: false });
    list.append(b);
  });
  list.onkeydown = (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    const place = (current() + move + tabs.length) % tabs.length;
    choose(place);
    tabs[place].button.focus();
  };
  bar.append(list);
  if (desk.live) bar.append(button("Refresh", () => refresh(tabs[current()])));
  else bar.append(make("span", "nbm-soft", `saved ${show(model.get("saved_at"), "time")}, read-only`));
  root.append(bar, ...tabs.map((t) => t.panel));
  el.append(root);
  announce(model, root);
  choose(Math.min(model.get("tab") ?? 0, tabs.length - 1));
  return desk.close;
}

export default { render };
