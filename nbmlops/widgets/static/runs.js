// Tab "Runs": the table; metric curves and a comparison of the selected ones; the card of the one opened.

function runsTab(root, desk) {
  const below = make("div"), detail = make("div");
  let table = null, data = null, turn = 0;
  const labelOf = (id) => show(data.rows[data.ids.indexOf(id)]?.[0]) || id;

  async function select(ids) {
    const mine = (turn += 1);
    below.replaceChildren();
    if (!ids.length) return;
    if (ids.length > 8) { below.append(make("div", "nbm-soft nbm-note", "select up to 8 runs to see their curves side by side")); return; }
    const on = new Set(ids), rows = data.rows.filter((_, i) => on.has(data.ids[i]));
    if (rows.length > 1) below.append(section(`compare ${rows.length} runs`, comparison(data.columns, rows, (r) => show(r[0]))));
    const keys = data.columns.map((c, i) => [c.key, i]).filter(([k, i]) => k.startsWith("metrics.") && rows.some((r) => r[i] !== null))
      .map(([k]) => k.slice(8));
    const box = make("div", "nbm-figures");
    below.prepend(section("metric curves", box));
    await drawCurves(box, ids, keys, 0, () => mine === turn);
  }

  async function drawCurves(box, ids, keys, from, current) {
    const some = keys.slice(from, from + 6);
    for (const key of some) {
      const replies = await Promise.all(ids.map((ref) => desk.call("curve", { ref, key }).catch(() => null)));
      if (!current()) return;
      const series = replies.map((r, i) => r && { ...r, label: labelOf(ids[i]), color: COLORS[i % COLORS.length] }).filter((s) => s?.points.length);
      if (series.some((s) => s.points.length > 1)) box.append(curves(key, series));
    }
    if (!box.childElementCount && from + 6 >= keys.length) {
      box.append(make("div", "nbm-soft", desk.live ? "no metric has more than one point" : "this saved copy keeps no curves of these runs"));
    }
    if (from + 6 < keys.length) {
      const more = button(`${keys.length - from - 6} more metrics`, () => { more.remove(); drawCurves(box, ids, keys, from + 6, current); });
      box.append(more);
    }
  }

  async function open(ref) {
    try { detail.replaceChildren(drawCard(await desk.call("run", { ref }))); } catch (error) { detail.replaceChildren(desk.fault(error)); }
  }

  async function refresh() {
    data = await desk.call("runs");
    if (table) { table.update(data.columns, data.rows, data.ids); await select(table.selected); return; }
    table = grid(root, { ...data, what: "runs", selectable: true, height: 320, onSelect: select, onOpen: open });
    root.append(make("div", "nbm-soft nbm-note", "Tick runs to compare them and to see their curves; open one for all it recorded."), below, detail);
  }
  return refresh;
}
