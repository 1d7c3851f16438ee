"""Whether an earlier result of a stage is still right, and if not, why: the cache of pipelines.

Nothing is kept beside the records themselves: each finished run carries the facts it was made from, and a stage whose
facts are the same now is not executed again.
"""

from __future__ import annotations

import glob
import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nbmlops import settings
from nbmlops.notebook import contract as contracts
from nbmlops.notebook import parameters, types
from nbmlops.pipelines.desks import Desks
from nbmlops.pipelines.facts import ABSENT, FORMAT, Facts, differences, fingerprint
from nbmlops.pipelines.work import Work
from nbmlops.records import FIRST_TIME, StageContract
from nbmlops.refs import Ref, parse
from nbmlops.store import schema

FRESH, STALE, ALWAYS = "fresh", "stale", "always"
_ENDED = {
    "FAILED": "failed", "TIMEOUT": "took too long", "DIED": "died", "KILLED": "was stopped", "PRUNED": "was given up",
    "RUNNING": "has not ended", "SKIPPED": "was skipped",
}  # fmt: skip
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Verdict:
    """What is to be done about a work. ``state``: fresh (``run_id`` has the result), stale, or always executed."""

    work: Work
    state: str
    why: tuple[str, ...] = ()
    run_id: str | None = None


class Reuse:
    """Judges works against what the store has."""

    def __init__(self, desks: Desks) -> None:
        self._store = desks.store
        self._contracts: dict[tuple[str, bytes, str], StageContract] = {}

    def contract(self, work: Work) -> StageContract:
        """What the work's notebook says about itself; read once, so that all of a flow goes by the same."""
        key = work.path, work.document, repr(work.params)
        if key not in self._contracts:
            self._contracts[key] = read_contract(work)
        return self._contracts[key]

    def judge(self, work: Work, *, force: bool = False, earlier: str | None = None) -> Verdict:
        """Whether the work's result exists; the verdict's work carries the facts, and why it must be executed.

        Args:
            force: execute it in any case.
            earlier: a flow that is resumed: what it finished is taken also where a stage is always executed.
        """
        stage = self.contract(work)
        now = self.facts(work, stage)
        print_ = fingerprint(now)
        always = self._always(work, stage)
        work = replace(work, facts=now, fingerprint=None if always else print_)
        if force:
            return _stale(work, STALE, ["forced"])
        if earlier and (run_id := self._of_flow(work, earlier, print_)):
            return Verdict(work, FRESH, (), run_id)
        if always:
            return _stale(work, ALWAYS, [always])
        found, changed = self._finished(work, print_)
        if found:
            return Verdict(work, FRESH, (), found)
        return _stale(work, STALE, changed or self._why(work, now))

    # -- facts -----------------------------------------------------------------------------------------------------
    def facts(self, work: Work, stage: StageContract) -> Facts:
        """What the work's result depends on, as it is now."""
        from nbmlops.notebook import installed

        return {
            "format": FORMAT,
            "notebook": _shown(Path(work.path)),
            "code": [[cell.number, cell.digest] for cell in stage.cells],
            "modules": dict(stage.modules),
            "params": types.to_json(work.declared.complete(work.params)),
            "inputs": {str(ref): self._input(ref, work.pins) for ref in _reads(work, stage)},
            "files": _files(work, stage),
            "variables": {name: _variable(name) for name in sorted({*work.variables, *stage.variables})},
            "contracts": {str(held.ref): _text_digest(repr(held.contract)) for held in work.contracts},
            "packages": installed.versions(stage.distributions),
            "settings": {
                "writes": sorted(work.writes),
                "kernel": work.kernel,
                "skip": sorted(work.skip),
                "candidate": work.candidate,
            },
        }

    def found(self, work: Work, run_id: str, wrote: set[str]) -> dict[str, list[Any]]:
        """Inputs that a run read and that could not be known before; what it wrote itself is none of them."""
        d, m = schema.dataset_uses, schema.model_uses
        with self._store.read() as db:
            data = db.execute(sa.select(d.c.name, d.c.version).where(d.c.run_id == run_id, d.c.mode == "read")).all()
            models = db.execute(sa.select(m.c.name, m.c.version).where(m.c.run_id == run_id)).all()
        known = {f"{ref.kind}:{ref.name}" for ref in _reads(work, self.contract(work))}
        read = [*(("dataset", n, v) for n, v in data), *(("model", n, v) for n, v in models)]
        return {
            f"{kind}:{name}": self._version(kind, name, version)
            for kind, name, version in read
            if f"{kind}:{name}" not in known | wrote
        }

    def changed_meanwhile(self, work: Work) -> bool:
        """Whether a module or file that a stage uses is no longer what it was when the stage began."""
        if work.facts is None:
            return False
        stage = read_contract(work)
        return work.facts["modules"] != dict(stage.modules) or work.facts["files"] != _files(work, stage)

    def _input(self, ref: Ref, pins: dict[str, int]) -> list[Any]:
        """Version and digest of what a reference means for a stage with these pins."""
        version = ref.version
        if ref.alias is not None:
            version = self._alias(ref)
        elif version is None:
            version = pins.get(f"{ref.kind}:{ref.name}")
        elif version < 1:
            return [None, ABSENT]
        if ref.alias is not None and version is None:
            return [None, ABSENT]
        return self._version(ref.kind, ref.name, version)

    def _alias(self, ref: Ref) -> int | None:
        table = schema.dataset_aliases if ref.kind == "dataset" else schema.model_aliases
        query = sa.select(table.c.version).where(table.c.name == ref.name, table.c.alias == ref.alias)
        with self._store.read() as db:
            return db.execute(query).scalar()

    def _version(self, kind: str, name: str, version: int | None) -> list[Any]:
        """Version and digest; of the latest where none is given."""
        table = schema.dataset_versions if kind == "dataset" else schema.model_versions
        content = table.c.digest if kind == "dataset" else table.c.package
        query = (
            sa.select(table.c.version, content).where(table.c.name == name).order_by(table.c.version.desc()).limit(1)
        )
        with self._store.read() as db:
            row = db.execute(query if version is None else query.where(table.c.version == version)).first()
        return [row[0], row[1]] if row else [None, ABSENT]

    # -- earlier runs ----------------------------------------------------------------------------------------------
    def _always(self, work: Work, stage: StageContract) -> str:
        """Why the work's result is never reused; empty if it may be."""
        if work.cache is False:
            return "it says cache: false"
        if stage.impure and work.cache is None:
            cell, what = stage.impure[0]
            return f"cell {cell} {what}"
        return ""

    def _finished(self, work: Work, print_: str) -> tuple[str | None, list[str]]:
        """The newest finished run with this fingerprint whose further inputs are the same too; else what changed."""
        s, r = schema.stage_runs, schema.runs
        query = (
            sa.select(s.c.run_id, s.c.facts)
            .join(r, r.c.id == s.c.run_id)
            .where(s.c.fingerprint == print_, s.c.status == "FINISHED", r.c.deleted_at.is_(None))
            .order_by(s.c.run_id.desc())
            .limit(20)
        )
        with self._store.read() as db:
            rows = db.execute(query).all()
        changed: list[str] = []
        for run_id, facts in rows:
            differ = []
            for name, (version, digest) in (facts.get("found") or {}).items():
                present = self._input(parse(name), work.pins)
                if present[1] != digest:
                    differ.append(f"{name} {version} -> {present[0] or 'none'}")
            if not differ:
                return run_id, []
            changed = changed or differ
        return None, changed

    def _of_flow(self, work: Work, flow_id: str, print_: str) -> str | None:
        s = schema.stage_runs
        query = sa.select(s.c.run_id, s.c.facts).where(
            s.c.flow_id == flow_id, s.c.label == work.label, s.c.status == "FINISHED"
        )
        with self._store.read() as db:
            rows = db.execute(query.order_by(s.c.run_id.desc())).all()
        return next((run_id for run_id, facts in rows if facts and fingerprint(facts) == print_), None)

    def _why(self, work: Work, now: Facts) -> list[str]:
        """Why no earlier result will do: the differences to the last run of the same stage that finished."""
        s, r = schema.stage_runs, schema.runs
        query = (
            sa.select(s.c.status, s.c.facts, s.c.fingerprint, s.c.label)
            .join(r, r.c.id == s.c.run_id)
            .where(s.c.stage == work.stage, s.c.facts.is_not(None), r.c.deleted_at.is_(None))
            .order_by(s.c.run_id.desc())
        )
        with self._store.read() as db:
            same = db.execute(query.where(s.c.label == work.label).limit(20)).all()
            any_ = same or db.execute(query.limit(1)).all()
        same = [row for row in same if row.facts.get("notebook") == now["notebook"]] or same
        if not same:
            return [FIRST_TIME[1] if any_ else FIRST_TIME[0]]
        last = same[0]
        finished = next((row for row in same if row.status == "FINISHED"), None)
        ended = [] if last.status == "FINISHED" else [f"its last run {_ENDED.get(last.status, last.status.lower())}"]
        if finished is None:
            return ended
        changed = differences(finished.facts, now)
        if not changed and finished.fingerprint is None:
            changed = ["what it reads changed while it ran"]
        return [*ended, *changed] or ["its result is no longer there"]


def _stale(work: Work, state: str, why: list[str]) -> Verdict:
    return Verdict(replace(work, why=tuple(why)), state, tuple(why))


def read_contract(work: Work) -> StageContract:
    """What the work's notebook says about itself, and the project's modules as they are now."""
    folder = Path(work.path).parent
    document = parameters.parse_document(work.document, work.notebook)
    return contracts.read_contract(document, work.path, settings.project_root(folder), work.params)


def _reads(work: Work, stage: StageContract) -> list[Ref]:
    """What is declared, and what the cells read with these values of the parameters."""
    seen = [parse(text) for text in stage.reads if text not in stage.writes]
    return list(dict.fromkeys([*work.reads, *seen]))


def _shown(path: Path) -> str:
    """The path as seen from the project's root, so that a copy of the project has the same facts."""
    root = settings.project_root(path.parent)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _files(work: Work, stage: StageContract) -> dict[str, str]:
    """Digests of the declared files (patterns and folders too) and of those the cells name."""
    folder = Path(work.path).parent
    found: dict[str, str] = {}
    for pattern in (*work.files, *stage.files):
        place = str(folder / pattern)
        matches = sorted(glob.glob(place, recursive=True)) if glob.has_magic(place) else [place]
        for match in matches or [place]:
            for file in _within(Path(match)):
                found[_shown(file)] = _digest(file)
    return dict(sorted(found.items()))


def _within(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError:
        return ABSENT
    return digest.hexdigest()


def _variable(name: str) -> str:
    """A variable's value is nobody's business: its digest tells whether it changed."""
    value = os.environ.get(name)
    return ABSENT if value is None else _text_digest(value)


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
