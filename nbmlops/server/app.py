"""The HTTP door to one model: Open Inference Protocol v2, MLflow's scoring protocol, feedback and metrics."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import io
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import orjson
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from nbmlops import clock
from nbmlops.deployments import Deployments, in_environment
from nbmlops.errors import InvalidValue, NbmlopsError, NotFound
from nbmlops.frames.tables import read_table
from nbmlops.models import Models
from nbmlops.server import inputs
from nbmlops.server.gate import Gate, Metrics, error_body, fault
from nbmlops.server.recorder import CAPACITY, Recorder
from nbmlops.server.serving import Answer, Serving

log = logging.getLogger(__name__)

_BIG = 256 << 10  # bytes of JSON from which parsing leaves the event loop


class Desks(Protocol):
    """What the server needs of a workspace."""

    @property
    def models(self) -> Models: ...
    @property
    def deployments(self) -> Deployments: ...


def create_app(
    desks: Desks,
    ref: str,
    environment: str | None = None,
    *,
    token: str | None = None,
    trusted: tuple[str, ...] = (),
    capacity: int = CAPACITY,
) -> FastAPI:
    """An ASGI app that serves one model; the model is loaded before this returns.

    Args:
        desks: a workspace.
        ref: the model; an alias such as ``model:NAME@production`` is followed when it moves.
        environment: ``staging`` or ``production``, if ``ref`` does not say it; kept with every prediction.
        token: what clients must send as bearer token; None lets everybody in.
        trusted: further types to allow when the model is loaded.
        capacity: rows that may wait to be recorded; one request may have no more.

    Raises:
        NotFound: there is no such model.
        Untrusted: its package holds types that nobody trusts.
    """
    ref, environment = in_environment(desks.deployments.store, ref, environment)
    recorder = Recorder(desks.deployments, capacity)
    serving = Serving(desks.models, ref, environment, recorder, trusted)
    metrics = Metrics(serving)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        looking = asyncio.create_task(serving.keep_looking())
        yield
        looking.cancel()
        await asyncio.to_thread(serving.close)
        await asyncio.to_thread(recorder.close)

    title = f"nbmlops: {serving.current.version.name}"
    app = FastAPI(title=title, version=_version(), lifespan=lifespan, redoc_url=None)
    app.state.serving, app.state.recorder, app.state.metrics = serving, recorder, metrics
    _errors(app)
    _v2_about(app, serving)
    _v2_infer(app, serving, metrics)
    _mlflow(app, serving, metrics)
    _rest(app, serving, metrics, desks.deployments)
    app.add_middleware(Gate, serving=serving, metrics=metrics, token=token)
    return app


def _version() -> str:
    try:
        return importlib.metadata.version("nbmlops")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        return "0"


# -- requests and answers ------------------------------------------------------------------------------------------
def reply(content: Any, status: int = 200) -> Response:
    """JSON; NaN and infinities, which JSON lacks, become null."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS, default=str)
    return Response(body, status, media_type="application/json")


async def _json(request: Request) -> Any:
    body = await request.body()
    try:
        return await asyncio.to_thread(orjson.loads, body) if len(body) > _BIG else orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidValue(f"the body is no JSON: {error}", "a missing value is null; NaN is no JSON") from error


async def _predicted(serving: Serving, metrics: Metrics, columns: inputs.Columns, key: str | None = None) -> Answer:
    rows, most = len(next(iter(columns.values()), ())), serving.recorder.capacity
    if rows > most:  # they could never be recorded, and an id that leads nowhere is worse than no answer
        raise fault(
            413,
            f"the request has {rows:,} rows, and at most {most:,} can be recorded at once",
            "send several requests, or use `nbmlops predict` on a file",
        )
    answer = await serving.predict(columns, key)
    metrics.predictions.labels(answer.version.name, answer.version.version).inc(len(answer.ids))
    return answer


def _errors(app: FastAPI) -> None:
    @app.exception_handler(NbmlopsError)
    async def ours(_request: Request, error: NbmlopsError) -> Response:
        return reply(error_body(error), error.http_status)

    @app.exception_handler(HTTPException)
    async def routing(request: Request, error: HTTPException) -> Response:
        asked = f"{request.method} {request.url.path}"
        answer = reply(
            error_body(fault(error.status_code, f"{asked}: {error.detail}", "/docs lists what there is")),
            error.status_code,
        )
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def bug(_request: Request, error: Exception) -> Response:
        log.error("a request failed", exc_info=error)
        hint = "the server's log has the traceback"
        return reply({"error": type(error).__name__, "message": "the server failed", "hint": hint}, 500)


def _body(example: Mapping[str, Any] | list[Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


# -- Open Inference Protocol ---------------------------------------------------------------------------------------
_V2: list[Any] = ["Open Inference Protocol v2"]


def _v2_about(app: FastAPI, serving: Serving) -> None:
    @app.get("/v2", tags=_V2)
    async def server() -> Response:
        """What serves here."""
        return reply({"name": "nbmlops", "version": app.version, "extensions": []})

    @app.get("/v2/health/live", tags=_V2)
    async def live() -> Response:
        """Whether the process answers."""
        return reply({"live": True})

    @app.get("/v2/health/ready", tags=_V2)
    async def ready() -> Response:
        """Whether the model is loaded."""
        return reply({"ready": True})

    @app.get("/v2/models/{name}/versions/{version}", tags=_V2)
    @app.get("/v2/models/{name}", tags=_V2)
    async def model(name: str, version: str | None = None) -> Response:
        """What the model takes and gives."""
        return reply(_metadata(_asked_for(serving, name, version)))

    @app.get("/v2/models/{name}/versions/{version}/ready", tags=_V2)
    @app.get("/v2/models/{name}/ready", tags=_V2)
    async def model_ready(name: str, version: str | None = None) -> Response:
        """Whether this model, and this version, is served here."""
        served = _asked_for(serving, name, version)
        return reply({"name": served.name, "version": str(served.version), "ready": True})


def _v2_infer(app: FastAPI, serving: Serving, metrics: Metrics) -> None:
    example = {"inputs": [{"name": "x0", "shape": [2], "datatype": "FP64", "data": [0.5, 1.5]}]}

    @app.post("/v2/models/{name}/versions/{version}/infer", tags=_V2, openapi_extra=_body(example))
    @app.post("/v2/models/{name}/infer", tags=_V2, openapi_extra=_body(example))
    async def infer(request: Request, name: str, version: str | None = None) -> Response:
        """Predict: one tensor per column, or one 2-D tensor for a model of arrays."""
        signature = _asked_for(serving, name, version).signature
        body = await _json(request)
        columns = inputs.from_v2(body, signature)
        wanted = inputs.outputs_asked(body, signature)
        asked = body.get("id") if isinstance(body, Mapping) else None
        answer = await _predicted(serving, metrics, columns, str(asked) if asked else None)
        return reply(
            {
                "model_name": answer.version.name,
                "model_version": str(answer.version.version),
                "id": str(body.get("id") or clock.new_id()),
                "parameters": {"prediction_ids": answer.ids, "recorded": answer.recorded},
                "outputs": inputs.to_v2(answer.outputs, answer.types, wanted),
            }
        )


def _asked_for(serving: Serving, name: str, version: str | None) -> Any:
    served = serving.current.version
    if name != served.name:
        raise NotFound.of("model", name, [served.name], f"this server serves {served.ref}")
    if version is not None and version.removeprefix("v") != str(served.version):
        raise NotFound.of(f"version of model {name!r}", version, [], f"this server serves {served.ref}")
    return served


def _metadata(version: Any) -> dict[str, Any]:
    signature = version.signature
    shape = signature.get("shape")
    if signature["input_kind"] == "array" and shape:
        kinds = {inputs.datatype_of(c["type"]) for c in signature["inputs"]}
        given = [{"name": "input", "datatype": kinds.pop() if len(kinds) == 1 else "FP64", "shape": shape}]
    else:
        given = [_tensor(c) for c in signature["inputs"]]
    return {
        "name": version.name,
        "versions": [str(version.version)],
        "platform": f"nbmlops_{version.flavor}",
        "inputs": given,
        "outputs": [_tensor(c) for c in signature["outputs"]],
    }


def _tensor(column: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": column["name"], "datatype": inputs.datatype_of(column["type"]), "shape": [-1]}


# -- MLflow --------------------------------------------------------------------------------------------------------
def _mlflow(app: FastAPI, serving: Serving, metrics: Metrics) -> None:
    tags: list[Any] = ["MLflow scoring protocol"]
    example = {"dataframe_split": {"columns": ["x0"], "data": [[0.5], [1.5]]}}

    @app.get("/ping", tags=tags)
    @app.get("/health", tags=tags)
    async def ping() -> Response:
        """Whether the process answers."""
        return Response("\n", media_type="text/plain")

    @app.post("/invocations", tags=tags, openapi_extra=_body(example))
    async def invocations(request: Request) -> Response:
        """Predict: dataframe_split, dataframe_records, inputs, instances, or CSV."""
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        signature = serving.current.version.signature
        if kind == "text/csv":
            frame = read_table(io.BytesIO(await request.body()), signature, ".csv")
            columns: inputs.Columns = {str(c): frame[c].tolist() for c in frame.columns}
            if not len(frame):
                raise InvalidValue("the CSV has no rows", "send a line of column names and one line per row")
        elif kind in {"application/json", ""}:
            columns = inputs.from_mlflow(await _json(request), signature)
        else:
            raise fault(415, f"the content type {kind} is not understood", "send application/json or text/csv")
        answer = await _predicted(serving, metrics, columns)
        chosen = [values for name, values in answer.outputs.items() if name.startswith("prediction")]
        values = chosen[0] if len(chosen) == 1 else [list(row) for row in zip(*chosen, strict=True)]
        said = {"prediction_ids": answer.ids, "recorded": answer.recorded, "model": answer.version.ref}
        return reply({"predictions": values, **said})


# -- feedback and metrics ------------------------------------------------------------------------------------------
def _rest(app: FastAPI, serving: Serving, metrics: Metrics, deployments: Deployments) -> None:
    example = {"prediction_id": "01J…", "actual": 1}

    @app.post("/feedback", tags=["nbmlops"], openapi_extra=_body(example))
    async def feedback(request: Request) -> Response:
        """Say what really happened: one object with prediction_id and actual, or a list of them."""
        body = await _json(request)
        items = body if isinstance(body, list) else [body]
        faults = [
            f"item {i} lacks {key}" if isinstance(item, Mapping) else f"item {i} is no object"
            for i, item in enumerate(items)
            for key in ("prediction_id", "actual")
            if not isinstance(item, Mapping) or key not in item
        ]
        if faults or not items:
            raise InvalidValue.of(
                "feedback", list(dict.fromkeys(faults)) or ["there is none"], 'send {"prediction_id": "…", "actual": …}'
            )
        ids, actuals = [str(x["prediction_id"]) for x in items], [x["actual"] for x in items]
        await asyncio.to_thread(_keep_feedback, deployments, serving.recorder, ids, actuals)
        return reply({"recorded": len(ids)})

    @app.get("/waiting", tags=["nbmlops"])
    async def waiting() -> Response:
        """A version that waits for its approval here: its shares, and what became of its requests."""
        return reply(serving.beside.told())

    @app.get("/metrics", tags=["nbmlops"])
    async def prometheus() -> Response:
        """Counters for Prometheus."""
        metrics.show(serving)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _keep_feedback(deployments: Deployments, recorder: Recorder, ids: list[str], actuals: list[Any]) -> None:
    """A prediction may be younger than the last write of the log: then that is done first."""
    try:
        deployments.feedback_many(ids, actuals)
    except NotFound:
        if not recorder.waiting:
            raise
        recorder.flush()
        deployments.feedback_many(ids, actuals)
