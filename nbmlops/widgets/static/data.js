// Tab "Data sets": the list, the versions of one, and the profile of a version.

function profileTable(columns) {
  const table = make("table", "nbm-grid nbm-profile"), head = make("tr");
  for (const t of ["column", "type", "nulls", "distinct", "mean", "min … max", "distribution"]) head.append(make("th", ["nulls", "distinct", "mean"].includes(t) ? "nbm-right" : "", t));
  table.append(head);
  for (const c of columns) {
    const tr = make("tr"), picture = make("td");
    if (c.histogram?.counts?.length) picture.append(histogram(c.histogram.counts, c.histogram.edges));
    else if (c.top?.length) picture.append(shares(c.top, c.count - c.nulls));
    const nulls = c.count && c.nulls ? `${c.nulls.toLocaleString("en-US")} (${((100 * c.nulls) / c.count).toFixed(1)} %)` : "";
    const as = c.kind === "datetime" ? "time" : "number", ends = c.min === null || c.min === undefined ? "" : `${show(c.min, as)} … ${show(c.max, as)}`;
    tr.append(make("td", "", c.name), make("td", "nbm-code nbm-soft", c.type), make("td", "nbm-right", nulls), make("td", "nbm-right", show(c.distinct, "count")),
      make("td", "nbm-right", show(c.mean, as)), make("td", "", ends), picture);
    table.append(tr);
  }
  const box = make("div", "nbm-scroll");
  box.append(table);
  return box;
}

// A list on top, the versions of what is opened under it, and one version under those.
function versioned(root, desk, { list, versions, what, draw }) {
  const middle = make("div"), bottom = make("div");
  let table = null, data = null, opened = null;

  async function openVersion(ref) {
    opened = ref;
    try { await draw(bottom, ref, refresh); } catch (error) { bottom.replaceChildren(desk.fault(error)); }
  }

  async function open(ref) {
    const name = data.rows[data.ids.indexOf(ref)][0];
    middle.replaceChildren();
    await openVersion(ref);
    try {
      const all = await desk.call(versions, { name });
      if (all.rows.length > 1) {
        const box = make("div");
        middle.append(section(`versions of ${name}`, box));
        grid(box, { ...all, what: "versions", height: 180, onOpen: openVersion });
      }
    } catch (error) { middle.replaceChildren(desk.fault(error)); }
  }

  async function refresh() {
    data = await desk.call(list);
    if (table) table.update(data.columns, data.rows, data.ids);
    else {
      table = grid(root, { ...data, what, height: 220, onOpen: open });
      root.append(middle, bottom);
      if (data.ids.length) opened = data.ids[0];
    }
    if (opened) {
      const last = opened, name = last.replace(/^\w+:/, "").replace(/@\d+$/, "");
      const head = data.ids.find((id, i) => data.rows[i][0] === name);
      if (head) { await open(head); if (last !== head) await openVersion(last); }
    }
  }
  return { refresh, openVersion };
}

function dataTab(root, desk) {
  return versioned(root, desk, {
    list: "datasets", versions: "dataset_versions", what: "data sets",
    draw: async (box, ref) => {
      const { card, profile } = await desk.call("dataset", { ref });
      const drawn = drawCard(profile.length ? { ...card, sections: [] } : card);
      if (profile.length) drawn.append(section("profile", profileTable(profile)));
      box.replaceChildren(drawn);
    },
  }).refresh;
}
