"""A rehearsal: the packaged model as a service, asked what clients will ask it, before it may stand anywhere."""

from __future__ import annotations

import http.client
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from nbmlops.errors import NbmlopsError
from nbmlops.models import Models
from nbmlops.promotion.answers import equal
from nbmlops.promotion.rehearsal import bodies
from nbmlops.promotion.rehearsal.service import Reply, Service, served
from nbmlops.records import Finding, ModelVersion

if TYPE_CHECKING:
    import pandas as pd

ROWS, SINGLE, MANY, LINES = 200, 60, 160, 8
SLOW_MS = 200.0
_INVOKE = "/invocations"
_TOLERANCE = 1e-12  # every float is sent in full


class Rehearsal:
    """All that is asked of one version. ``told`` has what a reviewer may want to see besides the findings."""

    def __init__(self, models: Models, version: ModelVersion, rows: pd.DataFrame) -> None:
        self.models = models
        self.version = version
        self.rows = rows.head(ROWS).reset_index(drop=True)
        self.told: dict[str, Any] = {}

    def findings(self) -> list[Finding]:
        """One finding for each part; a service that does not start is the only one then."""
        try:
            with served(self.models, self.version) as service:
                parts: tuple[tuple[str, str, Callable[[Service], Finding | str]], ...] = (
                    ("service answers", "a service gives the offline predictions", self._answers),
                    ("service refuses", "malformed requests are refused, and the service goes on", self._refuses),
                    ("service latency", f"99 of 100 rows are answered within {SLOW_MS:.0f} ms", self._latency),
                    ("service ends", "it ends when it is asked to", self._ends),
                )
                return [self._tried(service, *part) for part in parts]
        except NbmlopsError as error:
            hint = error.hint or "mend the model, or what it needs to be served"
            return [Finding("service", "block", "the packaged model starts as a service", error.message, hint)]

    def _tried(self, service: Service, check: str, asked: str, part: Callable[[Service], Finding | str]) -> Finding:
        try:
            found = part(service)
        except (OSError, http.client.HTTPException, NbmlopsError) as error:
            state = "runs" if service.alive() else f"has ended: {service.last_words()}"
            seen = f"{type(error).__name__}: {error}; the service {state}"
            return Finding(check, "block", asked, seen, "serve it by hand and look at its log: nbmlops serve REF")
        return found if isinstance(found, Finding) else Finding(check, "pass", asked, found)

    # -- parts -----------------------------------------------------------------------------------------------------
    def _answers(self, service: Service) -> Finding | str:
        """All rows in one request, and the first ones alone, against the package in this process."""
        import pandas as pd

        expected = self.models.predict_frame(self.version.ref, self.rows)
        names = [name for name in expected.columns if str(name).startswith("prediction")]
        with service.line() as line:
            whole = service.ask(line, _INVOKE, bodies.split(self.rows))
            if whole.status != 200:
                return self._wrong(f"status {whole.status}: {_message(whole)}")
            alone = [
                service.ask(line, _INVOKE, bodies.split(self.rows.iloc[[n]])) for n in range(min(10, len(self.rows)))
            ]
        given = [row if isinstance(row, list) else [row] for row in whole.body["predictions"]]
        found = pd.DataFrame(given, columns=names)
        differing = int((~equal(found, _as_sent(expected[names]), _TOLERANCE)).sum())
        singles = sum(
            r.status != 200 or r.body["predictions"][0] != whole.body["predictions"][n] for n, r in enumerate(alone)
        )
        self.told["answers"] = {"rows": len(self.rows), "differing": differing, "alone": len(alone)}
        if differing or singles:
            return self._wrong(
                f"{differing} of {len(self.rows)} rows differ, {singles} of {len(alone)} when sent alone"
            )
        return f"{len(self.rows)} rows in one request and {len(alone)} alone, all equal"

    def _wrong(self, seen: str) -> Finding:
        hint = "what the client sends is not what the model was trained with, or its libraries differ"
        return Finding("service answers", "block", "a service gives the offline predictions", seen, hint)

    def _refuses(self, service: Service) -> Finding | str:
        """Each malformed request on a connection of its own: the server may close it."""
        told, wrong = [], []
        for request in bodies.malformed(self.rows.head(1), self.version.signature["inputs"]):
            try:
                with service.line() as line:
                    reply = service.ask(line, _INVOKE, request.body, request.kind)
            except (BrokenPipeError, ConnectionResetError):
                reply = Reply(413, {"message": "the connection was closed while the body was sent"}, 0.0)
            refused = 400 <= reply.status < 500 and isinstance(reply.body, dict)
            told.append({"request": request.what, "status": reply.status, "answer": _message(reply)})
            if not refused:
                wrong.append(f"{request.what}: {reply.status}")
        with service.line() as line:
            after = service.ask(line, _INVOKE, bodies.split(self.rows.head(1)))
        self.told["malformed"] = told
        if wrong or after.status != 200:
            seen = "; ".join(wrong) or f"a good request gets {after.status} afterwards"
            hint = "narrow the signature: register the model with training_data="
            return Finding("service refuses", "block", "malformed requests are refused", seen, hint)
        return f"{len(told)} of {len(told)} refused with a reason; a good request is answered afterwards"

    def _latency(self, service: Service) -> Finding | str:
        """Over the wire, one row a request: on one connection, then on eight at once."""
        import numpy as np

        single = [bodies.split(self.rows.iloc[[n % len(self.rows)]]) for n in range(SINGLE)]
        with service.line() as line:
            service.ask(line, _INVOKE, single[0])
            one = [service.ask(line, _INVOKE, body).seconds * 1_000 for body in single]
        local = threading.local()

        def ask(body: bytes) -> float:
            if not hasattr(local, "line"):
                local.line = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
            return service.ask(local.line, _INVOKE, body).seconds * 1_000

        begun = time.perf_counter()
        with ThreadPoolExecutor(LINES) as lines:
            many = list(lines.map(ask, [single[n % SINGLE] for n in range(MANY)]))
        rate = MANY / (time.perf_counter() - begun)
        rows = [
            {
                "connections": count,
                "requests": len(took),
                **{f"p{q}_ms": float(np.quantile(took, q / 100)) for q in (50, 95, 99)},
            }
            for count, took in ((1, one), (LINES, many))
        ]
        memory = service.memory()
        self.told["latency"] = rows
        self.told["service"] = {"requests_per_second": rate, "memory_bytes": memory}
        held = f", {memory / 2**20:.0f} MiB of memory" if memory else ""
        seen = (
            f"{rows[0]['p50_ms']:.1f} ms in the median, {rows[0]['p99_ms']:.1f} ms at the 99th percentile; "
            f"{LINES} at once: {rate:.0f} requests a second{held}"
        )
        if rows[0]["p99_ms"] <= SLOW_MS:
            return seen
        hint = "take a smaller model, or serve it in batches"
        return Finding("service latency", "warn", f"99 of 100 rows are answered within {SLOW_MS:.0f} ms", seen, hint)

    def _ends(self, service: Service) -> Finding | str:
        code = service.stop()
        if code in {0, -signal.SIGTERM}:  # uvicorn raises the signal again when all is done
            return "it ended by itself"
        seen = "it had to be killed" if code is None else f"exit code {code}: {service.last_words()}"
        return Finding("service ends", "warn", "it ends when it is asked to", seen, "look at its log")


def _as_sent(expected: pd.DataFrame) -> pd.DataFrame:
    """Predictions after the way through JSON."""
    import pandas as pd

    return pd.DataFrame(bodies.values(expected), columns=list(expected.columns))


def _message(reply: Reply) -> str:
    """What the service says, in one line."""
    if isinstance(reply.body, dict):
        faults = reply.body.get("faults") or ()
        return f"{reply.body.get('message', '')} {'; '.join(map(str, faults[:2]))}".strip()[:300]
    return str(reply.body)[:300]
