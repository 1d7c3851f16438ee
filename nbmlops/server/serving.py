"""The model that is being served: which version, kept up to date, predicting for many requests at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from nbmlops import clock
from nbmlops.errors import CheckFailed, InvalidValue, NbmlopsError
from nbmlops.flavors import checking, prediction
from nbmlops.records import ModelVersion
from nbmlops.refs import parse
from nbmlops.server.inputs import Columns
from nbmlops.server.recorder import Piece, Recorder
from nbmlops.server.waiting import CANARY, SHADOW, Beside

if TYPE_CHECKING:
    from nbmlops.models import Models

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class Served:
    """One loaded version."""

    version: ModelVersion
    model: Any


@dataclass(frozen=True)
class Answer:
    """Predictions for one request: output columns with their dtypes, ids, and the version that made them.

    ``recorded`` is False if the log has no room for them: then no id will ever be found.
    """

    outputs: Columns
    types: dict[str, str]
    ids: list[str]
    version: ModelVersion
    recorded: bool


@dataclass(frozen=True)
class _Request:
    columns: Columns
    future: asyncio.Future[Answer]
    canary: bool = False
    shadow: bool = False

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values())))

    def shape(self) -> tuple[Any, ...]:
        """Requests are predicted together only if this is equal: one's types must not change another's columns."""
        return tuple((name, frozenset(map(type, values))) for name, values in self.columns.items())


class Serving:
    """Predicts in one thread; requests that arrive meanwhile are predicted together in the next step.

    A reference with an alias is followed: it is looked up at most once a second, a new version is loaded beside the
    old one, and then takes its place. A version that cannot be loaded leaves the old one in service.
    """

    def __init__(
        self, models: Models, ref: str, environment: str | None, recorder: Recorder, trusted: Sequence[str] = ()
    ) -> None:
        self._models = models
        self._ref = ref
        self._trusted = tuple(trusted)
        self.environment = environment
        self.recorder = recorder
        self._follows = parse(ref, kind="model").alias is not None
        self.current = self._load(models.get(ref))
        self.beside = Beside(models, environment if self._follows else None, self._load)
        self.beside.look(self.current.version.name, self.current.version.version)
        self._looked = time.monotonic()
        self._looking: asyncio.Task[None] | None = None
        self._refused: int | None = None
        self._pending: list[_Request] = []
        self._working: asyncio.Task[None] | None = None
        self._predictor = ThreadPoolExecutor(1, thread_name_prefix="nbmlops-predict")
        self._looker = ThreadPoolExecutor(1, thread_name_prefix="nbmlops-follow")

    def _load(self, version: ModelVersion) -> Served:
        return Served(version, self._models.load(version.ref, trusted=self._trusted))

    # -- predicting ------------------------------------------------------------------------------------------------
    async def predict(self, columns: Columns, key: str | None = None) -> Answer:
        """The answer to one request.

        Args:
            columns: its rows.
            key: the client's id of the request: the same one is always answered by the same version.

        Raises:
            InvalidValue: the columns do not fit the signature; lists every fault.
        """
        self.look()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        canary = self.beside.takes(CANARY, key)
        shadow = not canary and self.beside.takes(SHADOW, key)
        self._pending.append(_Request(columns, future, canary, shadow))
        if self._working is None or self._working.done():
            self._working = loop.create_task(self._work())
        return await future

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._pending:
            requests = self._next()
            results = await loop.run_in_executor(self._predictor, self._step, self.current, requests)
            for request, result in zip(requests, results, strict=True):
                if request.future.done():  # its client has gone
                    continue
                if isinstance(result, Answer):
                    request.future.set_result(result)
                    if request.shadow and (now := self.beside.now) is not None:
                        self.beside.see(partial(self._alone, now.served, request, SHADOW), result.outputs)
                else:
                    request.future.set_exception(result)

    def _next(self) -> list[_Request]:
        rows = count = 0
        for request in self._pending:
            if count and rows + request.rows > ROWS_AT_ONCE:
                break
            rows += request.rows
            count += 1
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken

    def _step(self, served: Served, requests: list[_Request]) -> list[Answer | Exception]:
        results: dict[int, Answer | Exception] = {}
        groups: dict[tuple[Any, ...], list[_Request]] = {}
        for request in requests:
            if request.canary and isinstance(answer := self._tried(request), Answer):
                results[id(request)] = answer
                continue
            groups.setdefault(request.shape(), []).append(request)
        for group in groups.values():
            for request, result in zip(group, self._together(served, group), strict=True):
                results[id(request)] = result
        return [results[id(request)] for request in requests]

    def _tried(self, request: _Request) -> Answer | Exception | None:
        """The waiting version's answer; where it has none, the version in service answers."""
        now = self.beside.now
        if now is None:
            return None
        answer = self._alone(now.served, request, CANARY)
        self.beside.counts["canary" if isinstance(answer, Answer) else "canary failed"] += 1
        return answer

    def _alone(self, served: Served, request: _Request, source: str) -> Answer | Exception:
        return self._together(served, [request], source)[0]

    def _together(self, served: Served, requests: list[_Request], source: str = "online") -> list[Answer | Exception]:
        """One call of the model; if that fails, one per request, so that each gets its own faults."""
        rows = None
        try:
            first = requests[0].columns
            columns = first if len(requests) == 1 else {n: [v for r in requests for v in r.columns[n]] for n in first}
            signature = served.version.signature
            rows = checking.check(signature, pd.DataFrame(columns), f"input of {served.version.ref}")
            outputs = prediction.predict(served.model, signature, rows)
        except Exception as error:  # a model may raise anything; it belongs to this request, not to the server
            if len(requests) > 1:
                return [result for request in requests for result in self._together(served, [request], source)]
            return [error if isinstance(error, NbmlopsError) else _model_fault(served, error, rows)]
        ids = [clock.new_id() for _ in range(len(rows))]
        recorded = self.recorder.add(Piece(served.version, self.environment, ids, rows, outputs, clock.now(), source))
        answers: list[Answer | Exception] = []
        values = {str(name): outputs[name].tolist() for name in outputs.columns}
        types = {str(name): str(dtype) for name, dtype in outputs.dtypes.items()}
        start = 0
        for request in requests:
            stop = start + request.rows
            part = {name: column[start:stop] for name, column in values.items()}
            answers.append(Answer(part, types, ids[start:stop], served.version, recorded))
            start = stop
        return answers

    # -- following -------------------------------------------------------------------------------------------------
    def look(self) -> None:
        """Start looking for another version, unless that was done within the last second."""
        now = time.monotonic()
        if not self._follows or now - self._looked < LOOK_SECONDS or (self._looking and not self._looking.done()):
            return
        self._looked = now
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        served = await asyncio.get_running_loop().run_in_executor(self._looker, self._newer)
        if served is not None:
            log.info("%s now stands for %s", self._ref, served.version.ref)
            self.current = served

    def _newer(self) -> Served | None:
        version: ModelVersion | None = None
        self.beside.look(self.current.version.name, self.current.version.version)
        try:
            version = self._models.get(self._ref)
            if version.version in (self.current.version.version, self._refused):
                return None
            return self._load(version)
        except Exception as error:  # the version in service stays, whatever is wrong with the store or the new one
            if isinstance(error, CheckFailed) and version is not None:
                self._refused = version.version  # it will not be any better in a second; a store may
            log.warning("still serving %s: %s", self.current.version.ref, error)
            return None

    async def keep_looking(self) -> None:
        """Look every second until cancelled, also while no request comes."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def close(self) -> None:
        """End both threads; requests that wait are answered first."""
        self._predictor.shutdown(wait=True)
        self._looker.shutdown(wait=True, cancel_futures=True)
        self.beside.close()


def _model_fault(served: Served, error: Exception, rows: pd.DataFrame | None) -> InvalidValue:
    """The client's fault if it left out values that the model cannot do without, else the model's."""
    lacking = [str(name) for name in (rows.columns[rows.isna().any()] if rows is not None else ())]
    said = f"{served.version.ref} could not predict: {type(error).__name__}: {error}"
    if lacking:
        return InvalidValue(said, f"values are missing in {', '.join(lacking)}")
    log.error("%s failed", served.version.ref, exc_info=error)
    fault = InvalidValue(said, "the input fits the signature; the server's log has the traceback")
    fault.http_status = 500
    return fault
