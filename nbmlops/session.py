"""The only global state: the current workspace, experiment and runs; the functions of ``import nbmlops``
that start and end runs live here, the others in :mod:`nbmlops.fluent`.

The current run is a plain slot, not a context variable: a value set in a cell with ``await`` would be gone in the next
cell, and threads would never see it. A run started in another thread than the main one is that thread's own, so that
workers do not end each other's runs. ``reset()`` forgets everything, for tests.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
import traceback
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from nbmlops import context as contexts
from nbmlops import settings
from nbmlops.context import Context
from nbmlops.errors import InvalidValue, NotFound, UsageFault
from nbmlops.notebook import recorder
from nbmlops.records import Experiment, Run, Verdict
from nbmlops.workspace import Workspace

if TYPE_CHECKING:
    from nbmlops.cells.remark import Said
    from nbmlops.runs.live import LiveRun
    from nbmlops.runs.telemetry import Telemetry


class _State:
    """What the process is in the middle of."""

    def __init__(self) -> None:
        self.workspace: Workspace | None = None
        self.settings: tuple[Any, ...] | None = None
        self.given: Workspace | None = None  # chosen with use(), whatever the settings say
        self.experiment: str | None = None
        self.stack: list[ActiveRun] = []
        self.local = threading.local()
        self.stage: LiveRun | None = None  # the stage's run that a pipeline gave to this kernel
        self.joined = False
        self.touched: set[tuple[str, str, str, str]] = set()  # what the running cell has logged, read and made
        self.last_run: str | None = None
        # What estimators were fitted on, as long as somebody else keeps it alive, and in which run.
        self.fitted: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        self.context: Context | None = None
        self.remarked: Said | None = None  # the reason of the last remark on a clean run
        self.judged: tuple[str, Verdict] | None = None  # the execution in which a run was judged last, and how


_state = _State()


class ActiveRun:
    """A run in progress: a context manager that ends it, FAILED if the block raised.

    Carries ``run_id``, ``info`` and ``data`` as a finished :class:`Run` does.
    """

    def __init__(
        self, live: LiveRun, *, implicit: bool = False, joined: bool = False, telemetry: Telemetry | None = None
    ) -> None:
        self._live = live
        self._telemetry = telemetry
        self.implicit = implicit
        self.joined = joined
        self.began_in: str | None = None  # the execution in which it was started
        self.carded = False  # its card is shown when it ends, and has the verdict
        self.run_id = live.run_id
        self.name = live.name

    @property
    def record(self) -> Run:
        """The run as it stands now."""
        return workspace().runs.get(self.run_id)

    @property
    def info(self) -> Any:
        return self.record.info

    @property
    def data(self) -> Any:
        return self.record.data

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in {f.name for f in dataclasses.fields(Run)} | {"ref", "duration"}:
            raise AttributeError(f"a run has no {name!r}")
        return getattr(self.record, name)

    def to_dict(self) -> dict[str, Any]:
        return self.record.to_dict()

    def __repr__(self) -> str:
        return f"<run {self.name!r} {self.run_id}{'' if not self._live.ended else ' (ended)'}>"

    def __enter__(self) -> ActiveRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live.ended or self not in _runs():
            return
        while _runs()[-1] is not self:  # runs opened inside and left open end with their parent
            _end_top("FAILED" if error else "FINISHED", None)
        _end_top("FAILED" if error else "FINISHED", describe_error(error))


def describe_error(error: BaseException | None) -> dict[str, str] | None:
    """An exception as a run records it: ``name``, ``message``, ``traceback``."""
    if error is None:
        return None
    trace = "".join(traceback.format_exception(error))
    return {"name": type(error).__name__, "message": str(error)[:4000], "traceback": trace[-20_000:]}


# --- the current state --------------------------------------------------------------------------------------------
def workspace() -> Workspace:
    """The workspace that everything here acts on: the one given to :func:`use`, else that of the settings."""
    if _state.given is not None:
        return _state.given
    wanted = (settings.value("store"), settings.value("artifacts"), os.getcwd() if not settings.value("store") else "")
    if _state.workspace is None or (_state.settings != wanted and not _runs()):
        _state.workspace, _state.settings = Workspace(None, current_context, fitted), wanted
        _register_display()
    return _state.workspace


def use(store: str | os.PathLike[str] | Workspace | None) -> Workspace | None:
    """Act on another store from now on: a folder, a URL, an open workspace; None goes back to the settings."""
    if isinstance(store, Workspace) or store is None:
        _state.given = store
    else:
        from nbmlops.store import open_store

        _state.given = Workspace(open_store(store), current_context, fitted)
    _register_display()
    return _state.given


def current_context() -> Context:
    """Who acts here, and in which run and cell."""
    if _state.context is None:
        _state.context = contexts.from_environment()
    given = _state.context
    runs = _runs()
    run_id = runs[-1].run_id if runs else given.run_id
    user = given.user if contexts.VARIABLE in os.environ else contexts.who()
    here = recorder.current()
    return dataclasses.replace(given, user=user, run_id=run_id, cell_id=here.cell_id if here else None, touch=touch)


def opened() -> Workspace | None:
    """The workspace in use, if there is one yet."""
    return _state.given or _state.workspace


def touch(kind: str, subject: str, name: str = "", mode: str = "write") -> None:
    """Note what the running cell logs, reads or makes; see :class:`nbmlops.records.CellTouch`."""
    if recorder.current() is not None:  # nobody else asks, and a script may run for days
        _state.touched.add((kind, subject, name, mode))


def take_touches() -> set[tuple[str, str, str, str]]:
    """What was noted since the last call, with the metrics logged and the runs that are active."""
    taken, _state.touched = _state.touched, set()
    live = sys.modules.get("nbmlops.runs.live")
    for run in live.keeper.runs() if live is not None else ():
        taken.update((kind, run.run_id, key, "write") for kind, key in run.take_touched())
    stage = _state.context.run_id if _state.context else None
    active = [run.run_id for run in _runs()] or ([stage] if stage else [])
    taken.update(("run", run_id, "", "write") for run_id in active)
    taken.update([("run", subject, "", "write") for kind, subject, *_ in taken if kind in _OF_RUNS])
    return taken


_OF_RUNS = {"param", "metric", "tag", "artifact"}


def fitted(model: object) -> tuple[object | None, str | None]:
    """What a model was last fitted on in this process, if that still exists, and the run in which it was."""
    try:
        data, run_id = _state.fitted.get(model, (None, None))
    except TypeError:  # not hashable, or without weak references
        return None, None
    return data() if data is not None else None, run_id


def remember_fit(model: object, data: object, run_id: str | None) -> None:
    """Remember a fit, weakly: the model's signature, training profile and run come from there."""
    try:
        _state.fitted[model] = (weakref.ref(data), run_id)
    except TypeError:  # a list, say: nothing is lost but the convenience
        return


def reset() -> None:
    """Forget all state: runs are ended, the workspace is closed."""
    global _state
    for thread_runs in (getattr(_state.local, "stack", []), _state.stack):
        while thread_runs:
            thread_runs.pop()._live.end("KILLED")
    if _state.workspace is not None:
        _state.workspace.store.close()
    _state = _State()
    recorder.install(None)


def _runs() -> list[ActiveRun]:
    """The stack of runs as this thread sees it."""
    if threading.current_thread() is threading.main_thread():
        return _state.stack
    own = getattr(_state.local, "stack", None)
    return own if own else _state.stack


def _register_display() -> None:
    """Records show themselves richly in a notebook even when the extension is not loaded."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None and hasattr(module, "get_ipython") else None
    if shell is not None:
        from nbmlops import display

        display.register(shell)


# --- tracking -----------------------------------------------------------------------------------------------------
def set_experiment(name: str | None = None, *, experiment_id: str | None = None) -> Experiment:
    """New runs belong to this experiment from now on; it is made if it is new.

    Raises:
        InvalidValue: the name is empty, too long, or not text.
        NotFound: no experiment has this id.
    """
    if experiment_id is not None:
        known = {e.experiment_id: e for e in workspace().runs.experiments()}
        if experiment_id not in known:
            raise NotFound.of("experiment", experiment_id, known)
        name = known[experiment_id].name
    if name is None:
        raise InvalidValue("an experiment needs a name", "set_experiment('flight delays')")
    experiment = workspace().runs.experiment(name)
    _state.experiment = experiment.name
    return experiment


def start_run(
    run_name: str | None = None,
    nested: bool = False,
    tags: Mapping[str, Any] | None = None,
    description: str | None = None,
    *,
    run_id: str | None = None,
    experiment_id: str | None = None,
    log_system_metrics: bool = False,
) -> ActiveRun:
    """Start a run, usable as ``with start_run(): …``; the run ends FAILED if the block raises.

    Args:
        run_name: shown in lists; any text, a short one is made up if left out.
        nested: start it inside the active run, as its child.
        tags: tags to set at once.
        description: free text.
        run_id: go on with this run instead of starting one.
        experiment_id: the experiment, if not the current one.
        log_system_metrics: sample CPU, memory and GPU every few seconds.

    Raises:
        UsageFault: a run is active and ``nested`` is false.
    """
    stack = _runs()
    if stack and stack[-1].implicit and not nested:
        _end_top("FINISHED", None)
        stack = _runs()
    if stack and not nested and threading.current_thread() is threading.main_thread():
        raise UsageFault(
            f"run {stack[-1].name!r} is active already",
            "end it with end_run(), or start this one inside it with nested=True",
        )
    active = _resume(run_id) if run_id else _begin(run_name, tags, description, experiment_id)
    if log_system_metrics:
        from nbmlops.runs.telemetry import Telemetry

        active._telemetry = Telemetry(active._live)
    _push(active)
    return active


def _begin(
    run_name: str | None, tags: Mapping[str, Any] | None, description: str | None, experiment_id: str | None
) -> ActiveRun:
    stage = stage_run()
    stack = _runs()
    if stage is not None and not stack and not _state.joined:
        # A stage is one run: the notebook's own start_run joins what the pipeline began.
        _state.joined = True
        stage.set_tags({**(tags or {}), **({"run_name": run_name} if run_name else {})})
        return ActiveRun(stage, joined=True)
    parent = stack[-1].run_id if stack else (stage.run_id if stage else None)
    experiment = _state.experiment
    if experiment_id is not None:
        experiment = set_experiment(experiment_id=experiment_id).name
    runs = workspace().runs
    live = runs.start(experiment, run_name, parent_id=parent, tags=dict(tags or {}), description=description or "")
    active = ActiveRun(live)
    active.began_in = here.execution_id if (here := recorder.current()) else None
    return active


def _resume(ref: str) -> ActiveRun:
    return ActiveRun(workspace().runs.resume(ref))


def stage_run() -> LiveRun | None:
    """The run of the stage this kernel executes, or None."""
    run_id = current_stage_id()
    if run_id is None:
        return None
    if _state.stage is None:
        _state.stage = workspace().runs.resume(run_id, owned=False)
    return _state.stage


def current_stage_id() -> str | None:
    """The id of the stage's run that a pipeline gave to this process."""
    current_context()
    return _state.context.run_id if _state.context else None


def _push(active: ActiveRun) -> None:
    if threading.current_thread() is threading.main_thread():
        _state.stack.append(active)
        return
    own = getattr(_state.local, "stack", None)
    if own is None:
        own = _state.local.stack = []
    own.append(active)


def _end_top(status: str, error: dict[str, Any] | None) -> None:
    active = _runs().pop()
    if active._telemetry is not None:
        active._telemetry.stop()
    _state.last_run = active.run_id
    touch("run", active.run_id)
    if active.joined:
        active._live.flush()  # the pipeline ends it, with what became of the whole notebook
    else:
        active._live.end(status, error)
        _judge(active, status)


def _judge(active: ActiveRun, status: str) -> None:
    """Keep with a run that ended in a notebook whether a clean run would give the same; say it where it would not."""
    here = recorder.current()
    if here is None or not here.recording or contexts.reproducing():  # in a clean run nobody would read it
        return
    here.tell_touches()  # the cell that ends the run has not ended
    try:
        cells = workspace().cells
        cells.keep_document(active.run_id)
        same = _state.judged is not None and _state.judged[0] == active.began_in == here.execution_id
        verdict = cells.judge(active.run_id, _state.judged[1] if same and _state.judged else None)
        if verdict is not None and here.execution_id is not None:  # a loop's runs have the same cells behind them
            _state.judged = here.execution_id, verdict
        if verdict is not None and status != "FAILED" and not any(run.carded for run in (active, *_runs())):
            from nbmlops.cells import remark

            _state.remarked = remark.tell(verdict, _state.remarked)
    except Exception as error:  # the run itself is safe; what could not be judged is said by `nbmlops doctor`
        here.keep_fault(f"run {active.run_id} could not be judged: {type(error).__name__}: {error}")


def active_run() -> ActiveRun | None:
    """The run that ``log_…`` calls go to now, or None."""
    stack = _runs()
    return stack[-1] if stack else None


def last_active_run() -> Run | None:
    """The active run, else the one that ended last in this process."""
    if (active := active_run()) is not None:
        return active.record
    return workspace().runs.get(_state.last_run) if _state.last_run else None


def end_run(status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED") -> None:
    """End the active run; without one, nothing happens."""
    if _runs():
        _end_top(status, None)


def live() -> LiveRun:
    """The handle to log with; outside any run one is started, as MLflow does, and ended by the next ``start_run``."""
    stack = _runs()
    if stack:
        return stack[-1]._live
    stage = stage_run()
    if stage is not None:
        return stage
    active = _begin(None, None, None, None)
    active.implicit = True
    _push(active)
    print(f"nbmlops: no run was active; started {active.name!r} (end it with end_run())", file=sys.stderr)
    return active._live


def experiment_name() -> str | None:
    """The experiment chosen with :func:`set_experiment`, or None."""
    return _state.experiment


class AutologTarget:
    """What autolog needs of the session, so that the desk below need not know it."""

    def current(self) -> LiveRun | None:
        stack = _runs()
        return stack[-1]._live if stack else stage_run()

    def begin(self, name: str, nested: bool) -> ActiveRun:
        return start_run(name, nested=nested)

    def remember(self, model: object, data: object, run_id: str | None) -> None:
        remember_fit(model, data, run_id)

    def keep_model(self, model: object, name: str, data: object) -> None:
        workspace().models.log(model, name, training_data=data)
