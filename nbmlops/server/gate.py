"""What every request passes: the token, the size of its body, the counters, and one shape for all errors."""

from __future__ import annotations

import hmac
import logging
import time
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nbmlops.errors import NbmlopsError, UsageFault
from nbmlops.server.serving import Serving

log = logging.getLogger(__name__)

BODY_BYTES = 16 << 20
OPEN = frozenset({"/v2/health/live", "/v2/health/ready", "/ping"})  # probes carry no token
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The metrics of one app, in a registry of their own. No label holds a prediction's id or a user."""

    def __init__(self, serving: Serving) -> None:
        self.registry = CollectorRegistry()
        labels = ["model", "version"]
        self.requests = Counter("nbmlops_requests", "Requests answered", [*labels, "code"], registry=self.registry)
        self.seconds = Histogram(
            "nbmlops_request_duration_seconds",
            "Time until the answer was ready",
            labels,
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.predictions = Counter("nbmlops_predictions", "Rows predicted", labels, registry=self.registry)
        self.info = Gauge("nbmlops_model_info", "The version in service", [*labels, "flavor"], registry=self.registry)
        recorder = serving.recorder
        for name, what, read in (
            ("nbmlops_predictions_recorded", "Rows kept in the store", lambda: recorder.recorded),
            ("nbmlops_predictions_dropped", "Rows dropped because the queue was full", lambda: recorder.dropped),
            (
                "nbmlops_recorder_failures",
                "Writes that the store refused, and that were tried again",
                lambda: recorder.failures,
            ),
            ("nbmlops_recorder_waiting", "Rows that wait to be recorded", lambda: recorder.waiting),
        ):
            Gauge(name, what, registry=self.registry).set_function(read)

    def show(self, serving: Serving) -> None:
        """Point ``nbmlops_model_info`` at the version in service."""
        version = serving.current.version
        self.info.clear()
        self.info.labels(version.name, version.version, version.flavor).set(1)


class Gate:
    """ASGI middleware around the app; ``token`` None lets everybody in."""

    def __init__(self, app: ASGIApp, serving: Serving, metrics: Metrics, token: str | None) -> None:
        self._app = app
        self._serving = serving
        self._metrics = metrics
        self._token = token.encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status, started = time.perf_counter(), 500, False

        async def counted(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
            await send(message)

        try:
            await self._passed(scope, receive, counted)
        except NbmlopsError as error:
            if started:
                raise
            await _answer(error, counted)
        finally:
            if scope["path"] != "/metrics" and scope["path"] not in OPEN:
                version = self._serving.current.version
                self._metrics.requests.labels(version.name, version.version, status).inc()
                self._metrics.seconds.labels(version.name, version.version).observe(time.perf_counter() - start)

    async def _passed(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if self._token and scope["path"] not in OPEN and not self._known(headers.get(b"authorization", b"")):
            raise fault(401, "this server needs a bearer token", "send the header Authorization: Bearer TOKEN")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > BODY_BYTES:
            raise _too_large()
        await self._app(scope, _bounded(receive), send)

    def _known(self, header: bytes) -> bool:
        scheme, _, given = header.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), self._token or b"")


def _bounded(receive: Receive) -> Receive:
    """Stops a body that is longer than it said, or did not say."""
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > BODY_BYTES:
            raise _too_large()
        return message

    return limited


def _too_large() -> NbmlopsError:
    return fault(
        413,
        f"the body is larger than {BODY_BYTES >> 20} MiB",
        "send fewer rows at once, or use `nbmlops predict` on a file",
    )


def fault(status: int, message: str, hint: str) -> NbmlopsError:
    """An error with an HTTP status of its own."""
    error = UsageFault(message, hint)
    error.http_status = status
    return error


def error_body(error: NbmlopsError) -> dict[str, Any]:
    """The one shape of errors: ``error``, ``message``, ``hint``."""
    return error.to_dict()


async def _answer(error: NbmlopsError, send: Send) -> None:
    body = orjson.dumps(error_body(error))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if error.http_status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": error.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
