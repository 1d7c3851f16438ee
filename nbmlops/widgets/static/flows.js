// Tab "Flows & alerts": flows with their stages; monitor reports with findings and drift; alerts.

function flowsTab(root, desk) {
  const parts = [
    { list: "alerts", what: "alerts", one: "report", height: 150, closed: true },
    { list: "flows", what: "flows", one: "flow", height: 190 },
    { list: "reports", what: "monitor reports", one: "report", height: 190 },
  ].map((p) => ({ ...p, box: make("div"), detail: make("div"), table: null }));
  for (const p of parts) { const s = section(p.what, p.box); s.append(p.detail); root.append(s); }

  return async function refresh() {
    for (const p of parts) {
      const data = await desk.call(p.list);
      const open = async (ref) => {
        try { p.detail.replaceChildren(drawCard(await desk.call(p.one, { ref }))); } catch (error) { p.detail.replaceChildren(desk.fault(error)); }
      };
      if (p.table) p.table.update(data.columns, data.rows, data.ids);
      else p.table = grid(p.box, { ...data, what: p.what, height: p.height, onOpen: open });
      if (data.ids.length && !p.closed && !p.detail.childElementCount) await open(data.ids[0]);
    }
  };
}
