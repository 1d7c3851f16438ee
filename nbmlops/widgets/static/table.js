// The table widget: rows of one kind, and the selected ones side by side. Also drawn without a kernel.

function render({ model, el }) {
  const root = make("div", "nbm nbm-view"), below = make("div");
  const read = () => [model.get("columns"), model.get("rows"), model.get("ids")];
  el.append(root);
  announce(model, root);

  function compare(chosen) {
    const [columns, rows, ids] = read(), on = new Set(chosen);
    const picked = rows.filter((_, i) => on.has(ids[i]));
    below.replaceChildren();
    if (picked.length > 1 && picked.length <= 12) {
      below.append(section(`compare ${picked.length} ${model.get("kind")}`, comparison(columns, picked, (r) => show(r[0]))));
    } else if (picked.length > 12) below.append(make("div", "nbm-soft", "select 2 to 12 rows to compare them"));
  }

  const [columns, rows, ids] = read();
  const table = grid(root, {
    columns, rows, ids, what: model.get("kind"), selectable: true, selected: model.get("selected"),
    onSelect: (chosen) => { model.set("selected", chosen); model.save_changes(); compare(chosen); },
  });
  if (model.get("note")) root.append(make("div", "nbm-soft nbm-note", model.get("note")));
  root.append(below);
  compare(model.get("selected"));
  const refresh = () => table.update(...read());
  model.on("change:rows", refresh);
  return () => model.off("change:rows", refresh);
}

export default { render };
