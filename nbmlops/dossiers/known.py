"""What the store knows of a version, as statements: each with the reference of what shows it, nothing without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbmlops import clock
from nbmlops.dossiers.written import FOLDER, KEYS
from nbmlops.errors import NotFound
from nbmlops.records import Evidence, Statement

if TYPE_CHECKING:
    from nbmlops.workspace import Workspace

_MOST = 12  # rows of a table, events of a history


class Known:
    """One version's facts. ``texts`` are what persons have written."""

    def __init__(self, workspace: Workspace, ref: str, texts: Mapping[str, str]) -> None:
        self.workspace = workspace
        self.version = workspace.models.get(ref, deleted=True)
        self.ref = self.version.ref
        self.texts = texts
        self.evidence: dict[str, Evidence] = {e.kind: e for e in workspace.evidence.of(self.ref)}
        self.run = workspace.runs.find(self.version.run_id) if self.version.run_id else None

    # -- what persons write ----------------------------------------------------------------------------------------
    def person(self, *keys: str) -> list[Statement]:
        """Their texts, or that they are missing."""
        path = f"{FOLDER}/{self.version.name}.toml"
        return [
            Statement(self.texts[key], path) if key in self.texts else Statement(KEYS[key], "", True, f"{path}: {key}")
            for key in keys
        ]

    # -- what the store knows --------------------------------------------------------------------------------------
    def identity(self) -> list[Statement]:
        """Name, version, who made it and when, what it is made of."""
        v = self.version
        made = f"{v.name}, version {v.version}, registered by {v.user} on {clock.iso(v.created_at)}"
        found = [Statement(made, v.ref)]
        if v.description:
            found.append(Statement(v.description, v.ref))
        libraries = self.workspace.models.manifest(v)["libraries"]
        versions = ", ".join(f"{name} {number}" for name, number in libraries.items())
        found.append(Statement(f"Package {v.package[:19]}…, {v.bytes:,} bytes, kept as {v.flavor}", v.ref))
        return [*found, Statement(f"Needs {versions or 'no libraries'}", v.ref)]

    def signature(self) -> list[Statement]:
        """What it takes and gives."""
        rows = []
        for column in self.version.signature["inputs"]:
            seen = ", ".join(map(str, column.get("categories") or ())) or (
                f"{_short(column['min'])} … {_short(column['max'])}" if "min" in column else ""
            )
            nulls = "yes" if column["nullable"] else "no"
            rows.append(
                {"column": column["name"], "type": column["type"], "may be empty": nulls, "seen in training": seen}
            )
        gives = ", ".join(f"{o['name']} ({o['type']})" for o in self.version.signature["outputs"])
        return [
            Statement(f"Takes {len(rows)} columns; rows that do not fit are refused", self.ref, table=tuple(rows)),
            Statement(f"Gives {gives}" if gives else "Gives no predictions", self.ref),
        ]

    def training(self) -> list[Statement]:
        """The run, its notebook, environment and data."""
        if self.run is None:
            return [
                Statement("the run that made it: it was registered outside of one", "", True, "register it in a run")
            ]
        run = self.run
        where = run.source.get("path") or run.source.get("type") or "a session"
        found = [
            Statement(f"Made by {run.user} in {where}, run {run.name}, started {clock.iso(run.started_at)}", run.ref)
        ]
        if run.git and run.git.get("commit"):
            dirty = ", with uncommitted changes" if run.git.get("dirty") else ""
            found.append(Statement(f"Code of commit {run.git['commit'][:12]}{dirty}", run.ref))
        if run.params:
            rows = tuple({"parameter": k, "value": v} for k, v in list(run.params.items())[:_MOST])
            found.append(Statement(f"{len(run.params)} parameters", run.ref, table=rows))
        if run.environment:
            found.append(Statement(f"Environment lock {run.environment[:19]}…", run.ref))
        return found

    def data(self) -> list[Statement]:
        """Training and test data."""
        found = []
        for ref in self.version.datasets:
            try:
                held = self.workspace.datasets.get(ref)
                found.append(Statement(f"Read {ref}: {held.rows:,} rows, {held.columns} columns", ref))
            except NotFound:
                found.append(Statement(f"Read {ref}, which is not in this store any more", self.ref))
        if not found:
            found.append(Statement("the data that it was trained on", "", True, 'load them with load_dataset("NAME")'))
        if (test := self._done("evaluation")) is not None:
            source = f" of {test.report['source']}" if test.report.get("source") else ""
            found.append(
                Statement(f"Judged by {test.report['rows']:,} frozen test rows{source}", self._source("evaluation"))
            )
        else:
            found.append(Statement("test data", "", True, "register_model(…, test_data=(X_test, y_test))"))
        return found

    def performance(self) -> list[Statement]:
        """Scores with intervals."""
        kept = self._done("performance")
        if kept is None:
            return [self._unmeasured("performance", "how good it is on rows that it has not seen")]
        rows = tuple({"score": k, **v} for k, v in kept.report.items() if isinstance(v, Mapping))
        text = f"Scores on {kept.report['rows']:,} test rows, with 95 % bootstrap intervals"
        return [Statement(text, self._source("performance"), table=rows)]

    def groups(self) -> list[Statement]:
        """Worst groups found, and fairness of named ones."""
        found = []
        if (kept := self._done("slices")) is not None:
            worst = kept.report["found"]
            text = (
                f"{len(worst)} groups in which it is worse than elsewhere ({kept.report['measure']})" if worst
                else f"{kept.report['tried']:,} groups were tried, and none is worse by more than chance"
            )  # fmt: skip
            rows = tuple({k: g[k] for k in ("group", "rows", "loss", "others")} for g in worst[:_MOST])
            found.append(Statement(text, self._source("slices"), table=rows))
        else:
            found.append(self._unmeasured("slices", "the groups of rows in which it is worse"))
        if (kept := self._done("fairness")) is None:
            return [*found, self._unmeasured("fairness", "how it treats groups of people")]
        for name, told in kept.report.items():
            gaps = {k.replace("_", " "): v for k, v in told.items() if k.endswith(("difference", "ratio"))}
            said = ", ".join(f"{k} {v:.3g}" for k, v in gaps.items() if v is not None)
            found.append(Statement(f"{name}: {said}", self._source("fairness"), table=tuple(told["groups"][:_MOST])))
        return found

    def reasons(self) -> list[Statement]:
        """Which columns it relies on, and whether its probabilities hold."""
        found = []
        if (kept := self._done("importance")) is not None:
            rows = tuple(
                {"column": r["column"], f"{kept.report['score']} lost": r["mean"]}
                for r in kept.report["columns"][:_MOST]
            )
            found.append(Statement("What is lost when a column is shuffled", self._source("importance"), table=rows))
        else:
            found.append(self._unmeasured("importance", "which columns it relies on"))
        if (kept := self._done("calibration")) is not None:
            text = f"Probabilities are off by {kept.report['ece']:.3g} on average (expected calibration error)"
            found.append(Statement(text, self._source("calibration")))
        return found

    def robustness(self) -> list[Statement]:
        """What the tests of its environments found."""
        reviews = self.workspace.promotion.reviews.of(self.version)
        if not reviews:
            return [Statement("tests like production", "", True, f"nbmlops model promote {self.ref} --to staging")]
        review = reviews[0]
        levels = [f.level for f in review.findings]
        text = (
            f"Tested for {review.environment} on {clock.iso(review.at)}: {levels.count('pass')} checks passed, "
            f"{levels.count('warn')} warn, {levels.count('block')} block"
        )
        rows = tuple({"check": f.check, "level": f.level, "seen": f.seen} for f in review.findings if not f.ok)
        return [Statement(text, f"review:{review.review_id}", table=rows)]

    def certificate(self) -> list[Statement]:
        """Whether a clean run gives the same."""
        held = self.version.certificate
        if held is None:
            return [Statement("a clean run of its notebook", "", True, f"nbmlops model certify {self.ref}")]
        return [
            Statement(
                f"Executed again in a fresh kernel: {held.status} ({clock.iso(held.at)})", f"run:{self.version.run_id}"
            )
        ]

    def cost(self) -> list[Statement]:
        """What training took, and what an answer takes."""
        found = []
        if (kept := self._done("cost")) is not None and kept.report.get("run_seconds"):
            found.append(Statement(f"The run took {clock.duration(kept.report['run_seconds'])}", self._source("cost")))
        if (kept := self._done("latency")) is not None:
            r = kept.report
            text = f"One row takes {r['median_ms']:.1f} ms, 99 of 100 at most {r['p99_ms']:.1f} ms"
            return [*found, Statement(text, self._source("latency"))]
        return [*found, self._unmeasured("latency", "what an answer takes")]

    def decisions(self) -> list[Statement]:
        """What was decided about it, by whom and why."""
        events = self.workspace.events(self.ref)
        kinds = ("model.promot", "model.approv", "model.reject", "model.rolled", "model.deleted", "model.registered")
        told = [e for e in reversed(events) if e.type.startswith(kinds)][-_MOST:]
        return [
            Statement(
                f"{clock.iso(e.at)} {e.type.removeprefix('model.').replace('-', ' ')}"
                f"{' for ' + e.data['environment'] if e.data.get('environment') else ''} by {e.user}"
                f"{': ' + str(e.data['reason']) if e.data.get('reason') else ''}",
                e.ref,
            )
            for e in told
        ]

    def monitoring(self) -> list[Statement]:
        """What became of it in service."""
        after = self.workspace.lineage.why(self.ref, impact=True)
        found = [
            Statement(n.title, self.ref) for n in after.root.behind if n.kind in {"predictions", "monitoring", "alert"}
        ]
        return found or [Statement("it has predicted nothing yet that was recorded", self.ref)]

    # -- inside ----------------------------------------------------------------------------------------------------
    def _done(self, kind: str) -> Evidence | None:
        kept = self.evidence.get(kind)
        return kept if kept is not None and kept.status == "done" else None

    def _source(self, kind: str) -> str:
        return f"{self.ref} evidence {kind}"

    def _unmeasured(self, kind: str, what: str) -> Statement:
        kept = self.evidence.get(kind)
        why = kept and (kept.report.get("reason") or kept.report.get("error"))
        text = f"{what}: {why}" if why else what
        return Statement(text, "", True, f"nbmlops model evidence {self.ref} --gather --kind {kind}")


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
