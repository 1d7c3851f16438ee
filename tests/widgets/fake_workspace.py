"""A workspace made of samples: what the dashboard asks of the desks, without a store."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace
from typing import Any

import display_samples as s
import pandas as pd

from nbmlops import policy
from nbmlops import records as r
from nbmlops.errors import Blocked, NotFound

PROFILE = {
    "hour": {
        "type": "int64",
        "kind": "numeric",
        "count": 1000,
        "nulls": 12,
        "distinct": 24,
        "min": 0,
        "max": 23,
        "mean": 12.4567,
        "histogram": {
            "edges": [float(i) for i in range(0, 25, 2)],
            "counts": [3, 9, 30, 80, 150, 210, 190, 140, 100, 50, 20, 6],
        },
    },
    "delay": {
        "type": "double",
        "kind": "numeric",
        "count": 1000,
        "nulls": 0,
        "distinct": 700,
        "min": -20.5,
        "max": float("inf"),
        "mean": 7.1,
        "histogram": {"edges": [-20.0, 0.0, 20.0, 40.0, 60.0], "counts": [400, 500, 80, 20]},
    },
    s.EVIL: {
        "type": "string",
        "kind": "categorical",
        "count": 1000,
        "nulls": 0,
        "distinct": 3,
        "top": [["UA", 600], [s.EVIL, 300], ["", 100]],
        "other": 0,
    },
    "at": {
        "type": "timestamp[us]",
        "kind": "datetime",
        "count": 1000,
        "nulls": 0,
        "distinct": 990,
        "min": s.T,
        "max": s.T + 9e5,
        "mean": s.T,
    },
}


class Runs:
    def __init__(self, count: int) -> None:
        self.all = [s.run(i, name=s.EVIL) if i == 2 else s.run(i) for i in range(1, count + 1)]

    def search(self, limit: int = 100) -> list[r.Run]:
        return self.all[:limit]

    def get(self, ref: str) -> r.Run:
        for run in self.all:
            if run.ref == ref:
                return run
        raise NotFound.of("run", ref)

    def metric_history(self, run_id: str, key: str) -> pd.DataFrame:
        seed, n = int(run_id[3:]), 3000
        value = [
            1 / (1 + i / 300) + 0.05 * math.sin(i / 7 + seed) + (0.1 * seed % 0.37)
            if key == "loss"
            else 1 - 1 / (1 + i / (100 + 30 * (seed % 9)))
            for i in range(n)
        ]
        value[1500] = float("nan")
        return pd.DataFrame({"step": range(n), "timestamp": [s.T + i for i in range(n)], "value": value})


class Datasets:
    def list(self) -> list[r.DatasetVersion]:
        return [s.DATASET, dataclasses.replace(s.DATASET, name="weather", version=1, message="")]

    def versions(self, name: str) -> list[r.DatasetVersion]:
        return [dataclasses.replace(s.DATASET, name=name, version=v, rows=1000 * v) for v in (3, 2, 1)]

    def get(self, ref: str) -> r.DatasetVersion:
        name, _, version = ref.removeprefix("dataset:").partition("@")
        return dataclasses.replace(s.DATASET, name=name, version=int(version))

    def profile(self, version: r.DatasetVersion) -> dict[str, Any]:
        return PROFILE


class Models:
    def __init__(self) -> None:
        self.aliases = {3: ("staging",), 2: ("production",), 1: ()}

    def list(self) -> list[r.ModelVersion]:
        return self.versions("churn")[:1]

    def versions(self, name: str) -> list[r.ModelVersion]:
        return [self.get(f"model:{name}@{v}") for v in (3, 2, 1)]

    def get(self, ref: str) -> r.ModelVersion:
        name, _, version = ref.removeprefix("model:").partition("@")
        if int(version) not in self.aliases:
            raise NotFound.of("version", version, [str(v) for v in self.aliases])
        return dataclasses.replace(
            s.MODEL,
            name=name,
            version=int(version),
            aliases=self.aliases[int(version)],
            metrics={"auc": 0.6 + int(version) / 20},
        )


class Promotions:
    def __init__(self, models: Models) -> None:
        self.models = models
        self.waiting = [r.Approval("01A", "churn", 3, "production", "open", "better " + s.EVIL, "bob", s.T)]
        self.calls: list[tuple[str, ...]] = []

    def _done(self, version: int, to: str, status: str, reason: str) -> r.Promotion:
        return r.Promotion("churn", version, to, status, reason, "ada", 2, s.FINDINGS[:1], at=s.T)

    def promote(self, ref: str, to: str, reason: str) -> r.Promotion:
        self.calls.append(("promote", ref, to, reason))
        if ref.endswith("@1"):
            raise Blocked(
                "churn@1 is not promoted to staging: 1 of 3 gates blocks", "mend what the findings name", s.FINDINGS
            )
        self.models.aliases[int(ref[-1])] += (to,)
        return self._done(int(ref[-1]), to, "promoted", reason)

    def approve(self, ref: str, to: str, reason: str) -> r.Promotion:
        self.calls.append(("approve", ref, to, reason))
        self.waiting.clear()
        self.models.aliases |= {2: (), 3: ("staging", "production")}
        return self._done(3, to, "approved", reason)

    def reject(self, ref: str, to: str, reason: str) -> r.Promotion:
        self.calls.append(("reject", ref, to, reason))
        self.waiting.clear()
        return self._done(3, to, "rejected", reason)

    def rollback(self, name: str, environment: str, reason: str) -> r.Promotion:
        self.calls.append(("rollback", name, environment, reason))
        return self._done(1, environment, "rolled back", reason)

    def pending(self) -> list[r.Approval]:
        return self.waiting

    def policies(self) -> policy.Policies:
        return policy.Policies()

    def history(self, name: str, environment: str) -> list[dict[str, Any]]:
        return [{"version": 2, "previous": 1, "reason": "first good one", "user": "ada", "at": s.T}]


class Pipelines:
    def flows(self) -> list[r.Flow]:
        return [
            s.ALL["Flow"],
            dataclasses.replace(s.ALL["Flow"], flow_id="02FLOW", name="nightly", status="FINISHED", promotion=None),
        ]  # type: ignore[list-item,type-var]

    def get(self, ref: str) -> r.Flow:
        return next(f for f in self.flows() if f.ref == ref)


class Monitors:
    def reports(self, name: str | None = None) -> list[r.MonitorReport]:
        return [s.REPORT]

    def alerts(self, open_only: bool = False) -> list[dict[str, Any]]:
        return [
            {
                "id": "01AL",
                "name": "churn",
                "version": 3,
                "status": "open",
                "message": "drift in " + s.EVIL,
                "at": s.T,
                "findings": [],
            }
        ]


def fake_workspace(runs: int = 40) -> Any:
    models = Models()
    return SimpleNamespace(
        runs=Runs(runs),
        datasets=Datasets(),
        models=models,
        promotion=Promotions(models),
        pipelines=Pipelines(),
        monitors=Monitors(),
    )
