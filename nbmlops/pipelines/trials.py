"""Trials of a search while they run: their metric so far, and whether it falls behind the others'."""

from __future__ import annotations

import sqlalchemy as sa

from nbmlops.errors import NotFound
from nbmlops.pipelines.desks import Desks
from nbmlops.pipelines.sweep import Sweep
from nbmlops.store import schema


class Trials:
    """Looks up the points of a flow's trials, and asks their study about them."""

    def __init__(self, desks: Desks, flow_id: str) -> None:
        self._desks, self._flow_id = desks, flow_id

    def is_behind(self, sweep: Sweep, place: int, run_id: str | None = None) -> bool:
        """Whether a trial (by default its run in progress) is not worth finishing.

        The study keeps the points it is asked about: those of a trial that has ended count for the others.
        """
        if sweep.study is None or sweep.stage.select is None or not sweep.study.prunes:
            return False
        run_id = run_id or self._running(sweep.label(place))
        if run_id is None:
            return False
        try:
            history = self._desks.runs.metric_history(run_id, sweep.stage.select.metric)
        except NotFound:  # nothing is logged yet
            return False
        points = sorted(zip(history["step"].tolist(), history["value"].tolist(), strict=True))
        return sweep.study.should_prune(place, points)

    def _running(self, label: str) -> str | None:
        s = schema.stage_runs
        mine = sa.and_(s.c.flow_id == self._flow_id, s.c.label == label, s.c.status == "RUNNING")
        with self._desks.store.read() as db:
            return db.execute(sa.select(s.c.run_id).where(mine)).scalar()
