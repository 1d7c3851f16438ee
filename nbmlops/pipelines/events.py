"""The events of a flow put in an order that a display can rely on.

Events of a cluster come late, twice, or not at all: a worker that is lost says nothing more. Here each execution gets
one begin and one end, the candidates of a sweep that are reused are told together, and nothing is told twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Event = dict[str, Any]
REUSED, LOST = "REUSED", "LOST"


class Ordered:
    """Takes events as they come, and gives those that are to be shown.

    What it gives for type ``stage``: ``RUNNING`` once for each run; then one end, with the ``why`` of its begin, and
    ``LOST`` where another place has begun the same execution anew, or the flow is over. ``REUSED`` has a ``count``, of
    ``of`` executions. Of types ``cell`` and ``output`` only those of runs in progress are given.
    """

    def __init__(self) -> None:
        self.executions: dict[str, int] = {}  # how many each stage has, where the flow has said so
        self._open: dict[str, Event] = {}  # the begins of runs in progress
        self._ended: set[str] = set()
        self._skipped: set[str] = set()
        self._reused: list[Event] = []

    def __call__(self, event: Event) -> Iterator[Event]:
        if event["type"] == "stage" and event.get("status") == REUSED:
            if self._reused and self._reused[0]["stage"] != event["stage"]:
                yield from self._told_reused()
            self._reused.append(event)
            return
        yield from self._told_reused()
        match event["type"]:
            case "flow":
                yield from self._flow(event)
            case "stage" if event.get("status") == "RUNNING":
                yield from self._begun(event)
            case "stage":
                yield from self._end(event)
            case "cell" | "output":
                yield from self._within(event)
            case "skip" if event["stage"] in self._skipped:
                return
            case _:
                yield event

    def close(self, status: str = "KILLED") -> Iterator[Event]:
        """What is left to say when nothing more comes: of runs in progress that they ended so."""
        yield from self._told_reused()
        for begin in list(self._open.values()):
            yield from self._end({**begin, "status": status})

    def _flow(self, event: Event) -> Iterator[Event]:
        if event.get("status") == "RUNNING":
            self.executions = dict(event.get("stages", {}))
        else:
            yield from self.close("KILLED" if event.get("status") == "KILLED" else LOST)
        yield event

    def _begun(self, event: Event) -> Iterator[Event]:
        run_id = event["run_id"]
        if run_id in self._open or run_id in self._ended:
            return
        for earlier in [e for e in self._open.values() if e["label"] == event["label"]]:
            yield from self._end({**earlier, "status": LOST})
        self._open[run_id] = event
        yield event

    def _end(self, event: Event) -> Iterator[Event]:
        run_id = event["run_id"]
        if run_id in self._ended:
            return
        begin = self._open.pop(run_id, {})
        self._ended.add(run_id)
        if event["status"] == "SKIPPED":
            self._skipped.add(event["stage"])
        yield {**event, "why": begin.get("why") or []}

    def _within(self, event: Event) -> Iterator[Event]:
        run_id = event["run_id"]
        if run_id in self._ended:
            return
        if run_id not in self._open:  # its begin has not come
            told: Event = {key: event[key] for key in ("stage", "label", "run_id", "attempt") if key in event}
            yield from self._begun({"label": run_id, "stage": "", **told, "type": "stage", "status": "RUNNING"})
        yield event

    def _told_reused(self) -> Iterator[Event]:
        if not self._reused:
            return
        first, count = self._reused[0], len(self._reused)
        self._reused = []
        of = max(count, self.executions.get(first["stage"], count))
        yield {**first, "count": count, "of": of, **({"label": first["stage"]} if count > 1 else {})}
