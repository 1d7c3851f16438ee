"""The proof of a stage: it is executed in a clean kernel, and what it gives is held against what there was."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nbmlops.errors import NbmlopsError
from nbmlops.extraction import fingerprints
from nbmlops.extraction.asking import Asked
from nbmlops.notebook.job import Event, Stop
from nbmlops.pipelines.progress import Progress
from nbmlops.records import Difference, ModelVersion
from nbmlops.reproduction import Logged, Reproduction, Rerun, comparing
from nbmlops.reproduction.logged import Kept, of_runs
from nbmlops.reproduction.past import Past
from nbmlops.reproduction.past import of_runs as past_of
from nbmlops.reproduction.predicting import by_predictions
from nbmlops.reproduction.rerun import Clean, clean
from nbmlops.reproduction.rerun import Wish as Task
from nbmlops.reproduction.watching import watched

_CHECK = "nbmlops-extraction"
_CHANCE = {"random", "clock", "network", "database", "environment", "shell"}  # findings that explain a difference
_ASK = """import nbmlops as _nbmlops
import nbmlops.extraction.fingerprints as _fingerprints
with _nbmlops.start_run({run!r}, nested=True):
    _nbmlops.log_params({{"fingerprint": _fingerprints.of({name}), "shown": repr(_fingerprints.shown({name}))}})
"""


@dataclass(frozen=True)
class Expected:
    """What the stage must give: metrics, data sets, artifacts and models by name, or the value of a variable."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    datasets: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, ModelVersion] = field(default_factory=dict)
    name: str = ""
    fingerprint: str = ""
    shown: Any = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to hold against."""
        return not (self.metrics or self.params or self.datasets or self.artifacts or self.models or self.name)


@dataclass(frozen=True)
class Proof:
    """What became of the proof; the words are those of :class:`nbmlops.records.Extracted`."""

    status: str = "not tried"
    compared: dict[str, int] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    error: str = ""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What the notebook's metadata say of it."""
        return {
            "status": self.status,
            "compared": self.compared,
            "differences": [d.to_dict() for d in self.differences],
            **({"error": self.error} if self.error else {}),
        }


def expected(desk: Reproduction, asked: Asked, namespace: Mapping[str, Any]) -> Expected:
    """What the asked result is, as it stands in the store or in the live notebook."""
    if asked.name:
        value = namespace.get(asked.name)
        return Expected(name=asked.name, fingerprint=fingerprints.of(value), shown=fingerprints.shown(value))
    if asked.model:
        version = desk.models.get(asked.model)
        return Expected(models={version.name: version})
    found = of_runs(desk.store, desk.runs, [asked.run_id]) if asked.run_id else []
    if not found:
        return Expected()
    run = found[0]
    if asked.artifact:
        return Expected(artifacts={asked.artifact: run.artifacts.get(asked.artifact, "")})
    metrics = {
        k: m.value for k, m in run.metrics.items() if (k == asked.metric if asked.metric else not comparing.is_clock(k))
    }
    if asked.metric:
        return Expected(metrics)
    params = dict(run.params) if run.kind == "run" else {}  # a stage's are those it was given
    return Expected(metrics, params, {k: d.digest for k, d in run.datasets.items()})


def prove(
    desk: Reproduction,
    documents: Mapping[str, Mapping[str, Any]],
    folder: Path,
    asked: Asked,
    wanted: Expected,
    *,
    progress: Progress | bool | None = None,
) -> Proof:
    """Execute the stages one after the other in clean kernels, and compare.

    Args:
        desk: what executes them.
        documents: the stages by their file names; all see one scratch store.
        folder: where they run.
        asked: what was extracted: versions without a number are those that its run found.
        wanted: what they must give together.
        progress: as in ``Reproduction.reproduce``.
    """
    if wanted.is_empty:
        return Proof(notes=("it logged nothing that could be compared",))
    if wanted.fingerprint.startswith("?"):
        return Proof(notes=(f"no way is known to compare {wanted.name}: {wanted.fingerprint[2:]}",))
    past = Past(pins=past_of(desk.store, [asked.run_id], None).pins if asked.run_id else {})

    def work(announce: Callable[[Event], None], stop: Stop) -> Proof:
        runs: tuple[Logged, ...] = ()
        with clean(desk.store, desk.context(), past, json.dumps(list(documents.values()))) as here:
            for name, document in documents.items():
                done = _executed(here, (name, _with_check(document, wanted)), folder, announce, stop)
                if not done.ok:
                    return Proof("failed", error=failure(done))
                runs = done.runs
            return judge(wanted, runs, _models(desk, here, wanted))

    try:
        found = watched(work, progress)
    except NbmlopsError as error:  # a secret that is not set, say: told with the stage, which is written all the same
        return Proof("failed", error=error.message)
    return replace(found, notes=why(documents)) if found.status == "differs" else found


def _executed(
    here: Clean, named: tuple[str, dict[str, Any]], folder: Path, announce: Callable[[Event], None], stop: Stop
) -> Rerun:
    name, document = named
    told = {"stage": name, "label": f"proving {name}", "run_id": name, "attempt": 1}
    announce({"type": "stage", "status": "RUNNING", "why": [], **told})
    done = here.execute(document, Task(str(folder)), lambda event: announce({**told, **event}), stop)
    if done.status == "KILLED":
        raise KeyboardInterrupt
    announce({"type": "stage", "status": done.status, "error": done.error, **told, "seconds": done.seconds})
    return done


def why(documents: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """What in the stages may explain that they gave something else: chance, the clock, files."""
    from nbmlops.notebook import verdict

    found = [one for document in documents.values() for one in verdict.check_document(document).findings]
    return tuple(dict.fromkeys(f"may explain it: {one.what}" for one in found if one.kind in _CHANCE))


def _models(desk: Reproduction, here: Clean, wanted: Expected) -> dict[str, str]:
    """The packages of the versions that the stages registered, in a run or outside of any.

    One that predicts the same as the wanted one, to the last bit, counts as that one.
    """
    known = {v.name: v.version for v in desk.models.list()}
    same = by_predictions(desk.store, 0.0, lambda _signature: None)
    found = {}
    for name, before in wanted.models.items():
        after = next((v for v in here.desks.models.list() if v.name == name and v.version > known[name]), None)
        if after is None:
            continue
        differs = None if after.package == before.package else same(_kept(before), _kept(after))
        found[name] = before.package if differs is None else differs[0]
    return found


def _kept(version: ModelVersion) -> Kept:
    row = {"signature": version.signature, "flavor": version.flavor, "profile": version.profile}
    return Kept(version.name, version.version, version.package, False, row)


def _with_check(document: Mapping[str, Any], wanted: Expected) -> dict[str, Any]:
    """The stage, and for a variable a last cell that tells what it has become."""
    found = copy.deepcopy(dict(document))
    if wanted.name:
        source = _ASK.format(run=_CHECK, name=wanted.name)
        found["cells"].append(
            {
                "cell_type": "code",
                "id": "check",
                "execution_count": None,
                "metadata": {},
                "outputs": [],
                "source": source,
            }
        )
    return found


def failure(run: Rerun) -> str:
    """What ended a clean run, in one line, with the cell."""
    error = run.error or {}
    said = " ".join(f"{error.get('name', run.status)}: {error.get('message', '')}".split())
    cell = error.get("cell")
    if cell is None:
        return said
    source = run.notebook["cells"][cell]["source"].strip() or "\n"
    line = next((line for line in source.splitlines() if line.strip()), "")
    return f"cell {cell + 1} ({line.strip()[:60]}): {said}"


def judge(wanted: Expected, runs: Sequence[Logged], models: Mapping[str, str]) -> Proof:
    """Hold what the stages logged and registered against what there was, bit for bit."""
    if wanted.name:
        return _of_value(wanted, runs)
    found: dict[str, dict[str, Any]] = {"metric": {}, "param": {}, "dataset": {}, "artifact": {}, "model": {**models}}
    for run in runs:
        found["metric"] |= {k: m.value for k, m in run.metrics.items()}
        found["param"] |= dict(run.params)
        found["dataset"] |= {k: d.digest for k, d in run.datasets.items()}
        found["artifact"] |= dict(run.artifacts)
    asked: dict[str, Mapping[str, Any]] = {
        "metric": wanted.metrics, "param": wanted.params, "dataset": wanted.datasets,
        "artifact": wanted.artifacts, "model": {name: version.package for name, version in wanted.models.items()},
    }  # fmt: skip
    differences = [
        difference
        for kind, values in asked.items()
        for name, before in values.items()
        if (difference := compare(kind, name, before, found[kind].get(name))) is not None
    ]
    compared = {kind: len(values) for kind, values in asked.items() if values}
    return Proof("differs" if differences else "proved", compared, tuple(differences))


def compare(kind: str, name: str, before: Any, after: Any) -> Difference | None:
    """A difference, or None where both are the same bit for bit; not-a-numbers are alike."""
    if after is None:
        return Difference("missing", name, before, None)
    if isinstance(before, float) and isinstance(after, float):
        if comparing.same(before, after, 0.0):
            return None
        return Difference(kind, name, before, after, abs(after - before))
    return None if before == after else Difference(kind, name, before, after)


def _of_value(wanted: Expected, runs: Sequence[Logged]) -> Proof:
    last = next((run for run in reversed(runs) if run.name == _CHECK), None)
    if last is None:
        return Proof("failed", error=f"{wanted.name} could not be looked at after the clean run")
    if last.params.get("fingerprint") == wanted.fingerprint:
        return Proof("proved", {"value": 1})
    after: Any = last.params.get("shown", "")
    if isinstance(wanted.shown, float):
        with contextlib.suppress(ValueError):
            after = float(after)
    same = wanted.shown == after or repr(wanted.shown) == after
    told = (wanted.fingerprint, last.params.get("fingerprint")) if same else (wanted.shown, after)
    difference = compare("value", wanted.name, *told) or Difference("value", wanted.name, *told)
    return Proof("differs", {"value": 1}, (difference,))
