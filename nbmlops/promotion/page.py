"""The sections of a review, as a reviewer reads them: built from records, each of them says so if there is nothing."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from nbmlops import clock, display
from nbmlops.display import Column
from nbmlops.records import Evidence, Finding

if TYPE_CHECKING:
    from IPython.display import HTML

    from nbmlops.workspace import Workspace

_COLOUR = {"pass": "#2e7d4f", "warn": "#b26a00", "block": "#b3261e"}
_WORD = {"pass": "passed", "warn": "to look at", "block": "against it"}
_STYLE = (
    "<style>.nbr-box{border-left:6px solid;padding:.6em 1em;margin:.4em 0;background:rgba(127,127,127,.09)}"
    ".nbr-box h2{margin:.1em 0 .3em;font-size:1.35em}.nbr-n{display:inline-block;margin-right:1.4em}"
    ".nbr-n b{font-size:1.5em;margin-right:.3em}.nbr-pics{display:flex;flex-wrap:wrap;gap:1em}"
    ".nbr-pics figure{margin:0;background:#fff;padding:.5em;border:1px solid rgba(127,127,127,.35)}"
    ".nbr-pics figcaption{color:#444;font-size:.85em}.nbr-none{opacity:.7;font-style:italic}"
    ".nbm td:nth-child(2){overflow-wrap:normal}"
    ".nbr-how pre{background:rgba(127,127,127,.12);padding:.5em .7em;overflow-x:auto}</style>"
)
Rows = Sequence[Mapping[str, Any]]


class Page:
    """The sections of one review. Every method gives what a notebook shows.

    Args:
        workspace: over the store that has it.
        review_id: which one.
        reason: why the version is to stand there.
    """

    def __init__(self, workspace: Workspace, review_id: str, reason: str = "") -> None:
        self._workspace = workspace
        self._reason = reason
        self.review = workspace.promotion.reviews.get(review_id)
        self.version = workspace.models.get(self.review.ref, deleted=True)
        self._evidence = {e.kind: e for e in workspace.evidence.of(self.review.ref)}

    def verdict(self) -> HTML:
        """How many checks passed, what is asked of the reader, and by whom."""
        levels = [f.level for f in self.review.findings]
        worst = "block" if "block" in levels else "warn" if "warn" in levels else "pass"
        counts = "".join(
            f'<span class="nbr-n" style="color:{_COLOUR[level]}"><b>{levels.count(level)}</b>{_WORD[level]}</span>'
            for level in ("block", "warn", "pass")
        )
        said = {
            "block": "It does not enter: something speaks against it.",
            "warn": "It may enter. Look at what is listed below before you approve.",
            "pass": "It may enter: nothing speaks against it.",
        }[worst]
        facts = (
            f"tested for <b>{escape(self.review.environment)}</b> on "
            f"{escape(clock.iso(self.review.at))}, asked for by {escape(self.review.user)}; "
            f"registered by {escape(self.version.user)} on {escape(clock.iso(self.version.created_at))}"
        )
        words = {"why": self._reason, "what it is": self.version.description}
        what = "".join(f"<p>{label}: {escape(text)}</p>" for label, text in words.items() if text)
        return _html(
            f'{_STYLE}<div class="nbr-box" style="border-color:{_COLOUR[worst]}"><h2>{escape(self.review.ref)} → '
            f"{escape(self.review.environment)}</h2><p><b>{said}</b></p>"
            f"<p>{counts}</p>{what}<p>{facts}</p></div>"
        )

    def look_at(self) -> HTML:
        """What warns or blocks, with how to mend it."""
        found = [f for f in self.review.findings if not f.ok]
        return self._findings(sorted(found, key=lambda f: f.level != "block"), "nothing: every check passed")

    def passed(self) -> HTML:
        """What passed, and what was seen."""
        return self._findings([f for f in self.review.findings if f.ok], "no check passed")

    def against_production(self) -> HTML:
        """The comparison with the model in production, on the same rows."""
        found = [f for f in self.review.findings if f.check == "production"]
        return self._findings(found, "nothing stands in production yet: there is nothing to compare with")

    def scores(self) -> HTML:
        """Every score, with the interval that holds the true one in 95 of 100 cases."""
        kept, why = self._report("performance")
        if kept is None:
            return why
        rows = [{"score": k, **v} for k, v in kept.items() if isinstance(v, Mapping)]
        return _table(rows, ("score", "value", "low", "high"), f"on {kept['rows']:,} rows that the model has not seen")

    def pictures(self) -> HTML:
        """Confusion, calibration, residuals and importance."""
        figures = [
            f'<figure><img alt="{escape(kind)}" src="data:image/svg+xml;base64,{_encoded(data)}"><figcaption>'
            f"{escape(kind)}</figcaption></figure>"
            for kind, data in self._files()
        ]
        return (
            _html(f'{_STYLE}<div class="nbr-pics">{"".join(figures)}</div>') if figures else _none("no plots were made")
        )

    def worst_groups(self) -> HTML:
        """Groups of rows in which the model errs more than elsewhere, found by search."""
        kept, why = self._report("slices")
        if kept is None:
            return why
        if not kept["found"]:
            return _none(f"{kept['tried']:,} groups were tried, and none is worse than the others by more than chance")
        title = f"{kept['measure']}, over all rows {kept['loss']:.3g}; {kept['tried']:,} groups were tried"
        return _table(kept["found"], ("group", "rows", "loss", "others", "gap", "p"), title)

    def fairness(self) -> HTML:
        """The figures of named groups, side by side."""
        kept, why = self._report("fairness")
        if kept is None:
            return why
        parts = []
        for name, told in kept.items():
            columns = tuple(told["groups"][0]) if told["groups"] else ("group",)
            gaps = {k: v for k, v in told.items() if k.endswith(("difference", "ratio")) and v is not None}
            said = ", ".join(f"{k.replace('_', ' ')} {v:.3g}" for k, v in gaps.items())
            left = f"; too few rows: {', '.join(g['group'] for g in told['left_out'])}" if told["left_out"] else ""
            parts.append(f"{_table(told['groups'], columns, name).data}<p>{escape(said + left)}</p>")
        return _html("".join(str(part) for part in parts))

    def service(self) -> HTML:
        """Latency over the wire, and what malformed requests got."""
        kept, why = self._report("service")
        if kept is None:
            return why
        parts = [
            _table(
                kept.get("latency", ()), ("connections", "requests", "p50_ms", "p95_ms", "p99_ms"), "milliseconds a row"
            ),
            _table(kept.get("malformed", ()), ("request", "status", "answer"), "malformed requests"),
        ]
        return _html("".join(str(part.data) for part in parts))

    def origin(self) -> HTML:
        """The version: signature, metrics, data, run, certificate."""
        certificate = self.version.certificate
        told = f"certificate: {certificate.status}" if certificate else "no certificate: its run was not executed again"
        return _html(f"{display.html(self.version)}<p>{escape(told)}</p>")

    def decide(self) -> HTML:
        """The lines that approve or reject it where it waits, or ask for the next environment."""
        names = list(self._workspace.promotion.policies().environments)
        place = names.index(self.review.environment) if self.review.environment in names else -1
        if place < 0 or place + 1 >= len(names):
            return _none("there is no environment after this one")
        ref, to = self.review.ref, names[place + 1]
        verbs = ("promote", "approve", "reject")
        python = "\n".join(f'nbmlops.{verb}("{ref}", to="{to}", reason="…")' for verb in verbs)
        shell = "\n".join(f'nbmlops model {verb} {ref} --to {to} --reason "…"' for verb in verbs)
        magic = "\n".join(f'%mlops {verb} {ref} --to {to} --reason "…"' for verb in verbs)
        blocks = "".join(
            f"<p>{w}</p><pre>{escape(t)}</pre>"
            for w, t in (("terminal", shell), ("notebook", magic), ("Python", python))
        )
        return _html(f'{_STYLE}<div class="nbr-how">{blocks}</div>')

    # -- inside ----------------------------------------------------------------------------------------------------
    def _report(self, kind: str) -> tuple[Mapping[str, Any] | None, HTML]:
        """A kind's report, or why there is none."""
        kept: Evidence | None = self._evidence.get(kind)
        if kept is None:
            return None, _none("not measured")
        if kept.status != "done":
            return None, _none(str(kept.report.get("reason") or kept.report.get("error") or kept.status))
        return kept.report, _none("")

    def _files(self) -> list[tuple[str, bytes]]:
        desk = self._workspace.evidence
        return [
            (kind, desk.file(self.review.ref, kind, name))
            for kind, kept in self._evidence.items()
            for name in kept.files
            if name.endswith(".svg")
        ]

    def _findings(self, found: Sequence[Finding], nothing: str) -> HTML:
        width = 5 if any(f.hint for f in found) else 4
        rows = [(f.level, f.check, f.asked, f.seen, f.hint)[:width] for f in found]
        columns = [Column("level", "", "status"), *(Column(c, c) for c in ("check", "asked", "seen", "what to do"))]
        return _html(display.html_table(rows, columns[:width])) if rows else _none(nothing)


def _table(rows: Rows, columns: Sequence[str], title: str) -> HTML:
    if not rows:
        return _none(f"{title}: nothing")
    cells = [[row.get(name) for name in columns] for row in rows]
    kinds = ["text" if any(isinstance(row[i], str) for row in cells) else "number" for i in range(len(columns))]
    shown = [Column(name, name.replace("_", " "), kind) for name, kind in zip(columns, kinds, strict=True)]
    return _html(display.html_table(cells, shown, title))


def _none(text: str) -> HTML:
    return _html(f'{_STYLE}<p class="nbr-none">{escape(text)}</p>')


def _html(text: str) -> HTML:
    from IPython.display import HTML

    return HTML(text)


def _encoded(data: bytes) -> str:
    """A picture in an img element runs no script, whatever it holds."""
    return base64.b64encode(data).decode()
