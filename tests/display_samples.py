"""One record of every class, with hostile names: what displays and widgets are tested with."""

from __future__ import annotations

from typing import Any

from nbmlops import records as r

EVIL = "<script>window.hacked=1</script>"
QUOTES = '"><img src=x onerror=window.hacked=1>'
T = 1_790_000_000.0


def run(i: int = 1, **more: Any) -> r.Run:
    given: dict[str, Any] = {
        "run_id": f"01J{i:023d}",
        "name": f"run-{i}",
        "experiment": "flights",
        "status": ["FINISHED", "FAILED", "RUNNING", "KILLED"][i % 4],
        "started_at": T + i,
        "ended_at": None if i % 4 == 2 else T + i + 75.5,
        "user": "ada",
        "params": {"lr": str(0.1 * (i % 7 + 1)), "depth": str(i % 5), "solver": ["lbfgs", "saga"][i % 2]},
        "metrics": {"auc": 0.5 + (i * 7919 % 500) / 1000, "loss": float("nan") if i % 9 == 0 else 1 / i},
        "tags": {"team": "ops"},
    }
    return r.Run(**{**given, **more})


CELL_VERSION = r.CellVersion(
    EVIL, 2, f"{EVIL}\n{QUOTES}", "[3]", 4, "error", QUOTES, T, 0.1, ("01J1",), (EVIL,), f"-{EVIL}", EVIL, True
)
FINDINGS = (
    r.Finding("metrics.auc", "pass", "metrics.auc >= 0.65", "0.71"),
    r.Finding("certificate", "block", "a clean run", "cells 3 and 5 differ", "re-run the notebook from the top"),
    r.Finding(EVIL, "warn", "a < b", QUOTES, "look at it"),
)
PROMOTION = r.Promotion("churn", 3, "production", "waiting", "better recall", "ada", 2, FINDINGS, "01APPROVAL", 17, T)
CERTIFICATE = r.Certificate(
    "01CERT",
    "01RUN",
    "drifted",
    "stage",
    {"metrics": 2, "models": 1},
    (
        r.Difference("metric", EVIL, 0.1, float("nan"), 0.2, ("[3]", QUOTES)),
        r.Difference("missing", "dataset " + EVIL, "3 rows", "nothing"),
    ),
    {"cell": "[4]", "name": "NameError", "message": EVIL, "why": QUOTES},
    (f"[3]: {EVIL}",),
    {"same": False, "python": ["3.11.1", "3.12.0"], "packages": {EVIL: ["1.0", None]}},
    1e-6,
    2.5,
    "ada",
    T,
)
STAGE = r.StageRun(
    "01STAGE",
    "train",
    "train.ipynb",
    "FINISHED",
    {"depth": 6},
    {"dataset:flights": 3},
    {"auc": 0.7},
    ("model:churn@3",),
    "sha256:ab",
    2,
    9,
    9,
    T,
    T + 31.4,
    None,
    "01FLOW",
)
STAGE_BAD = r.StageRun(
    "01BAD",
    "report",
    "report.ipynb",
    "FAILED",
    cells=4,
    cells_done=2,
    started_at=T,
    ended_at=T + 3,
    error={"name": "ValueError", "message": EVIL, "traceback": "Traceback …\nValueError: " + EVIL},
)
TREE = r.LineageNode(
    "prediction:1",
    "prediction",
    "prediction 1",
    {"at": "2026-11-20"},
    (
        r.LineageNode(
            "model:churn@3",
            "model",
            "model churn@3 " + EVIL,
            {"auc": 0.7},
            (
                r.LineageNode("dataset:flights@3", "dataset", "data set flights@3"),
                r.LineageNode("run:1", "run", "run fit"),
            ),
        ),
    ),
)
DRIFT = (
    {"column": "hour", "kind": "numeric", "psi": 0.02, "ks": 0.01, "p": 0.7, "level": "pass"},
    {"column": EVIL, "kind": "categorical", "psi": 0.41, "ks": float("nan"), "p": None, "level": "block"},
)
MODEL = r.ModelVersion(
    "churn",
    3,
    "skops",
    "sha256:cafe",
    {
        "inputs": [
            {"name": "hour", "type": "int64", "nullable": True, "min": 0, "max": 23},
            {"name": EVIL, "type": "string", "categories": ["a", EVIL]},
        ],
        "outputs": [{"name": "prediction", "type": "int64"}],
    },
    {"auc": 0.71},
    ("dataset:flights@3",),
    "01RUN",
    ("staging", "best"),
    EVIL,
    "ada",
    12_345,
    T,
)
DATASET = r.DatasetVersion(
    "flights",
    3,
    "sha256:beef",
    "frame",
    1_234_567,
    3,
    9_876_543,
    (
        {"name": "hour", "type": "int64", "nullable": False},
        {"name": "delay", "type": "double"},
        {"name": EVIL, "type": "string"},
    ),
    "March " + EVIL,
    {"path": "flights.parquet"},
    "ada",
    "01RUN",
    T,
    ("gold",),
)
VIOLATION = r.Violation(
    EVIL, "max", "at most 24", "3 rows are above", 3, 0.1, ({"row": 7, "value": EVIL}, {"row": 9}), "mend it"
)
REPORT = r.MonitorReport("01REP", "churn", 3, "alert", 5000, T - 86400, T, FINDINGS, DRIFT, {"auc": 0.6}, "01AL", T)

PROFILE = r.DatasetProfile(
    1000,
    {
        "n": {
            "type": "double",
            "kind": "numeric",
            "count": 990,
            "nulls": 10,
            "distinct": 500,
            "min": -1.5,
            "max": 2.0,
            "mean": 0.25,
            "histogram": {"edges": [-1.5, 0.0, 2.0], "counts": [1, 989]},
            "approximate": {"distinct": 0.023, "rank": 0.01},
        },
        "at": {
            "type": "timestamp[s]",
            "kind": "datetime",
            "count": 5,
            "nulls": 995,
            "distinct": 5,
            "coverage": {"first": "2024-01-01T00:00:00", "last": "2024-01-02T00:00:00", "span": 86400.0},
        },
        EVIL: {
            "type": "string",
            "kind": "text",
            "count": 1000,
            "nulls": 0,
            "distinct": 2,
            "top": [[EVIL, 900], ["b", 100]],
        },
        "none": {"type": "null", "kind": "empty", "count": 0, "nulls": 1000, "distinct": 0},
    },
    "dataset:flights@3",
)

ALL: dict[str, r.Record] = {
    x.__class__.__name__: x
    for x in (
        r.Experiment("01E", EVIL, T, {"a": QUOTES}, 4),
        CERTIFICATE,
        CERTIFICATE.differences[0],
        r.Artifact("plots/" + EVIL, "sha256:1", 4321, "image/png", T),
        run(
            5,
            name=EVIL,
            params={EVIL: QUOTES, "lr": "0.1"},
            description=QUOTES,
            git={"commit": "abcdef0123456", "dirty": True},
            artifacts=(r.Artifact("model.skops", "sha256:2", 999, "application/zip", T),),
            datasets=("dataset:flights@3",),
            error={"name": "ValueError", "message": EVIL, "traceback": EVIL},
            source={"type": "notebook", "path": EVIL},
        ),
        DATASET,
        r.DatasetDiff(
            "dataset:f@1",
            "dataset:f@2",
            False,
            (EVIL,),
            ("old",),
            {"x": ("int64", "double")},
            10,
            12,
            3,
            1,
            {"y": {"mean": [1.0, 2.0], "psi": 0.3}},
            2,
            ("id",),
            {"was": EVIL},
            True,
            {"y": 2},
            (
                {"change": "changed", "key": {"id": EVIL}, "before": {"y": 1.0}, "after": {"y": None}},
                {"change": "added", "row": 3, "after": {"y": EVIL}},
            ),
        ),
        PROFILE,
        r.DatasetUse("dataset:f@2", "run:01RUN", "read", EVIL, "ada", T),
        MODEL,
        FINDINGS[2],
        PROMOTION,
        STAGE_BAD,
        r.StageContract(
            EVIL,
            (),
            ({"name": EVIL, "type": "int", "default": "3", "required": False, "help": QUOTES},),
            ("dataset:flights",),
            ("model:churn",),
            (EVIL,),
            ("REGION",),
            {"helpers.py": "ab", EVIL: "cd"},
            ("pandas",),
            {"pandas": "3.1.0"},
            ((3, EVIL),),
            ((4, QUOTES),),
        ),
        r.Flow(
            "01FLOW",
            EVIL,
            "flight.yml",
            "BLOCKED",
            {"month": 3},
            (STAGE, STAGE_BAD),
            {"model:churn": 3},
            PROMOTION,
            {"outcome": "blocked"},
            {"type": "user"},
            "ada",
            T,
            T + 100,
        ),
        r.PlannedStage(EVIL, "a.ipynb", ("x",), ("dataset:a",), ("dataset:b",), 2, {"p": QUOTES}),
        r.Plan(
            EVIL,
            "flight.yml",
            (
                r.PlannedStage("a", "a.ipynb", (), (), ("dataset:b",), 1),
                r.PlannedStage("b", "b.ipynb", ("a",), ("dataset:b",), (), 4),
            ),
        ),
        r.Predictions("01B", "model:churn@3", 7, EVIL),
        REPORT,
        r.Extracted(
            f"run:{EVIL}",
            f"{QUOTES}.ipynb",
            ("[1]", EVIL),
            ("[2]",),
            (r.LiftedParameter(EVIL, "int", "3", "[1]"),),
            (r.ReadTurned(EVIL, "dataset:x@1", "[1]"),),
            (EVIL,),
            "differs",
            {"metric": 2},
            (r.Difference("metric", EVIL, 0.5, 0.6, 0.1, ("[1]",)),),
            EVIL,
            (EVIL,),
            (QUOTES,),
        ),
        r.LiftedParameter(EVIL, "int", "3", "[1]", QUOTES),
        r.ReadTurned(EVIL, "dataset:x@1", "[1]"),
        r.Event(4, "01EV", "model.promoted", "model:churn@3", EVIL, T, {"reason": QUOTES}, "00", "ff"),
        TREE,
        r.Lineage(TREE),
        r.StoreInfo(
            "/data/<store>",
            "/data/blobs",
            "0001",
            "wal",
            {"runs": 1234},
            ({"setting": "user", "value": EVIL, "origin": "default"},),
        ),
        r.Diagnosis(FINDINGS, "3.11.9", "0.1.0", T),
        VIOLATION,
        r.ContractReport(EVIL, "dataset:flights@3", "block", 1000, 12, (VIOLATION, VIOLATION)),
        r.Duplicates("dataset:flights@3", 1000, 12, 5, (EVIL,), ((1, 7), (2, 3, 4))),
        r.Leakage("train", EVIL, 80, 20, 3, 1, ("a",), "y", {EVIL: QUOTES}, ((1, 2),), ((3, 4),)),
        r.LabelReport(
            "dataset:flights@3",
            "late",
            1000,
            900,
            5,
            0.91,
            0.04,
            ({"row": 7, "given": EVIL, "suggested": "no", "confidence": 0.98},),
            ({"label": EVIL, "rows": 300, "suspects": 1, "noise": 0.04},),
            "gradient boosting",
            (EVIL,),
        ),
        r.GcReport(False, 86400.0, 2, 3_000_000, T, ({"digest": EVIL, "bytes": 3, "touched": T},), 1, 10, 4, 20, 1),
        r.StoreCheck(12, 3_000_000, FINDINGS),
        r.Merged(
            EVIL,
            "01STORE",
            added={"runs": 2},
            there={"runs": 1},
            renumbered=(r.Renumbered(f"model:{EVIL}@1", f"model:{EVIL}@2", "01VERSION"),),
            left_out=(EVIL,),
        ),
        r.Renumbered(f"model:{EVIL}@1", f"model:{EVIL}@2", "01VERSION", same=True),
        r.CapsuleReport(
            "inspected",
            EVIL,
            "ab" * 32,
            "01RUN",
            EVIL,
            {"runs": 2},
            12,
            3_000,
            (f"dataset:{EVIL}@1",),
            r.Merged(EVIL, added={"runs": 2}, renumbered=(r.Renumbered(EVIL, QUOTES, "01V"),), left_out=(EVIL,)),
            7,
            T,
        ),
        r.Environment(
            "sha256:ab",
            "3.11.7",
            "CPython",
            EVIL,
            "x86_64",
            {EVIL: "1", "numpy": QUOTES},
            ("numpy",),
            {EVIL: {"editable": True, "commit": EVIL, "dirty": True}},
            {"libraries": [{"library": EVIL, "threads": 2}], "variables": {"TZ": EVIL}, "gpus": [{"name": QUOTES}]},
        ),
        r.EnvironmentCheck(EVIL, FINDINGS, 12, T),
        r.CellHistory("variable", EVIL, (CELL_VERSION, CELL_VERSION), 3),
        CELL_VERSION,
        r.CellExecution(
            "01EXECUTION",
            "01SESSION",
            3,
            f"print({EVIL!r})",
            EVIL,
            7,
            "error",
            error={"name": "ValueError", "message": EVIL, "traceback": QUOTES},
            loaded=(EVIL,),
            stored=("x",),
            started_at=T,
            seconds=0.25,
            touched=(r.CellTouch("metric", "01RUN", EVIL), r.CellTouch("run", "01RUN")),
        ),
        r.CellSession("01SESSION", "kernel", f"{EVIL}.ipynb", "k", EVIL, "host", 1, None, T, T + 5),
        r.CellTouch("metric", "01RUN", EVIL),
        r.CellFinding("repeated", "invalid", ("[4]",), f"[4] changed {EVIL} twice", QUOTES, (EVIL,)),
        r.Verdict("invalid", (r.CellFinding("edited", "invalid", ("[2]",), EVIL, QUOTES),), 5, f"{EVIL}.ipynb"),
    )
}
