// Tab "Models": versions, and the acts on them: promote, approve, reject, roll back. Each asks for a reason and a second click.

// The form of one act: what will happen, why, and yes or no.
function ask(act, desk, done) {
  const form = make("form", "nbm-ask"), label = make("label", "", "Reason (kept in the ledger)"), reason = make("textarea");
  const line = make("div", "nbm-bar"), yes = make("button", "nbm-button nbm-primary", act.confirm), note = make("span", "nbm-soft");
  reason.rows = 2;
  reason.required = true;
  reason.maxLength = 2000;
  yes.type = "submit";
  yes.disabled = true;
  const check = () => { yes.disabled = !reason.value.trim(); note.textContent = yes.disabled ? "a reason is required" : ""; };
  reason.oninput = check;
  reason.onkeydown = (event) => event.stopPropagation();
  label.append(reason);
  line.append(yes, button("Cancel", () => form.remove()), note);
  form.append(make("strong", "", act.title), label, line);
  form.onsubmit = async (event) => {
    event.preventDefault();
    yes.disabled = true;
    note.textContent = "working …";
    try { await done(await desk.call(act.verb, { ...act.args, reason: reason.value.trim() })); } catch (error) { check(); form.append(desk.fault(error)); }
  };
  check();
  return form;
}

function modelActs(ref, name, aliases, pending) {
  const short = ref.replace(/^model:/, ""), acts = [];
  for (const to of ["staging", "production"]) {
    if (!aliases.includes(to) && !pending.some((p) => p.environment === to)) acts.push({ label: `Promote to ${to}`, title: `Promote ${short} to ${to}`, confirm: "Confirm promotion", verb: "promote", args: { ref, to } });
  }
  for (const p of pending) {
    const to = p.environment;
    acts.push({ label: `Approve for ${to}`, title: `Approve ${short} for ${to}`, confirm: "Confirm approval", verb: "approve", args: { ref, to } });
    acts.push({ label: `Reject for ${to}`, title: `Reject ${short} for ${to}`, confirm: "Confirm rejection", verb: "reject", args: { ref, to } });
  }
  for (const environment of ["production", "staging"].filter((e) => aliases.includes(e))) {
    acts.push({ label: `Roll back ${environment}`, title: `Roll ${environment} of ${name} back to the version before`, confirm: "Confirm roll back", verb: "rollback", args: { name, environment } });
  }
  return acts;
}

function modelsTab(root, desk) {
  const waiting = make("div"), rest = make("div");
  let pending = [];
  root.append(waiting, rest);

  function drawWaiting() {
    waiting.replaceChildren();
    if (!pending.length) return;
    const box = make("div", "nbm-waiting");
    box.append(make("strong", "", pending.length === 1 ? "1 approval is waiting" : `${pending.length} approvals are waiting`));
    for (const p of pending) {
      const line = make("div", "nbm-bar", `${p.name}@${p.version} for ${p.environment}: ${p.reason} (${p.user}, ${show(p.at, "time")})`);
      line.append(button("Look at it", () => inner.openVersion(`model:${p.name}@${p.version}`)));
      box.append(line);
    }
    waiting.append(box);
  }

  const inner = versioned(rest, desk, {
    list: "models", versions: "model_versions", what: "models",
    draw: async (box, ref, refresh) => {
      const { card, name, version, aliases, history } = await desk.call("model", { ref });
      const bar = make("div", "nbm-bar nbm-acts"), place = make("div", "nbm-result"), drawn = drawCard(card);
      for (const act of modelActs(ref, name, aliases, pending.filter((p) => p.name === name && p.version === version))) {
        const b = button(act.label, () => place.replaceChildren(ask(act, desk, async (result) => {
          await all();
          box.querySelector(".nbm-result")?.replaceChildren(drawCard(result));
        })));
        b.disabled = !desk.live;
        bar.append(b);
      }
      if (!desk.live) bar.append(make("span", "nbm-soft", "a saved copy: to act, run the cell again with a kernel"));
      drawn.append(...(history.rows.length ? [section("history of environments", plainTable(history.columns, history.rows))] : []));
      drawn.querySelector(".nbm-head").after(bar, place);
      box.replaceChildren(drawn);
    },
  });
  async function all() {
    pending = await desk.call("pending");
    drawWaiting();
    await inner.refresh();
  }
  return all;
}
