"""``%mlops`` and ``%%mlops``. Text-only verbs are the command line itself, called in process; only those that take
Python objects or a cell's body are written here. Loading this module imports nothing heavy.
"""

from __future__ import annotations

import functools
from typing import Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class

from nbmlops import words as words_of
from nbmlops.errors import InvalidValue, NbmlopsError, NotFound, UsageFault

_HELP = """nbmlops in a notebook

  %mlops                                   store, experiment, active run
  %mlops experiment NAME                   new runs belong to it
  %mlops start [NAME] [--tag k=v]          start a run          %mlops end [--status FAILED]
  %mlops param lr=0.1 depth=2*base         values are Python expressions
  %mlops metric rmse=rmse auc=auc --step 3
  %mlops log fig --as plots/roc.png        a figure, frame, dictionary, text or file
  %mlops snapshot df --name sales          keep a version of a data set
  %mlops register model --name churn --test X_test,y_test --groups sex     register a model
  %mlops extract auc -o stage.ipynb        the minimal cells behind a variable, run, model or figure, as a stage
  %mlops runs | datasets | models | flows  tables to sort and filter
  %mlops history [NAME | CELL] [-n N]      earlier versions of a cell or variable, and what they gave
  %mlops restore CELL@N                    put an earlier version into a new cell below
  %mlops dashboard                         runs, data sets, models and approvals in tabs
  %mlops check                             would a clean run of this notebook differ, and why
  %mlops reproduce RUN                     the same again in a fresh kernel? a certificate
  %mlops why prediction:ID                 back to the cells and data that made it

  %%mlops run baseline --tag team=vision   the cell is a tracked run: its literals are parameters, its numbers
  lr = 0.1                                 metrics, and fitted models, figures and printed text are kept
  model = LogisticRegression(C=lr).fit(X, y)
  auc = roc_auc_score(y_test, model.predict_proba(X_test)[:, 1])

Any command of `nbmlops` works as %mlops COMMAND; %mlops COMMAND --help explains it.
"""

# A verb has the same name everywhere: `%mlops promote …` is `nbmlops model promote …`.
NOUNS = {
    "promote": "model",
    "approve": "model",
    "reject": "model",
    "rollback": "model",
    "approvals": "model",
    "evidence": "model",
    "review": "model",
    "card": "model",
    "dossier": "model",
    "environments": "model",
    "compare": "run",
    "reproduce": "run",
    "diff": "dataset",
}
# Verbs that exist only here; everything else is the command line's.
VERBS = (
    "experiment", "start", "end", "param", "metric", "log", "snapshot", "register", "extract", "history", "restore",
    "dashboard", "flows",
)  # fmt: skip


def short_errors(method: Any) -> Any:
    """The boundary between our errors and IPython: two lines in the notebook, name and text whole under papermill.

    IPython shows what ``_render_traceback_`` of an exception *instance* returns. Its own ``UsageError`` would reach
    papermill without a message, so it is turned into ours. Bugs, and errors of the user's own code, pass untouched.
    """

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        from IPython.core.error import UsageError

        try:
            return method(*args, **kwargs)
        except UsageError as error:
            fault: NbmlopsError = UsageFault(str(error), "see %mlops?")
            raise _shortened(fault) from None
        except NbmlopsError as error:
            raise _shortened(error) from error.__cause__

    return call


def _shortened(error: NbmlopsError) -> NbmlopsError:
    lines = [line for line in error.lines() if line]
    error._render_traceback_ = lambda *_args, **_more: lines  # type: ignore[attr-defined]
    return error


@magics_class
class MlopsMagics(Magics):
    """The two magics of nbmlops."""

    @line_magic
    @short_errors
    def mlops(self, line: str) -> Any:
        words = words_of.split(line)
        if not words:
            return _status()
        if words[0] in {"help", "--help", "-h", "?"}:
            print(_HELP)
            return None
        if words[0] in VERBS:
            return getattr(self, f"_{words[0]}")(words[1:], line.strip()[len(words[0]) :])
        return self._command(words)

    mlops.__doc__ = _HELP

    @cell_magic("mlops")
    @short_errors
    def mlops_cell(self, line: str, cell: str) -> Any:
        words = words_of.split(line)
        if not words or words[0] != "run":
            asked = repr(words[0]) if words else "nothing"
            raise UsageFault(f"%%mlops knows run, not {asked}", "write %%mlops run [NAME] above the cell; see %mlops?")
        from nbmlops import capture

        options = capture.parse_options(words[1:])
        return capture.run_cell(self.shell, cell, options)

    mlops_cell.__doc__ = _HELP  # type: ignore[assignment]

    # -- verbs that take objects -----------------------------------------------------------------------------------
    def _experiment(self, words: list[str], _rest: str) -> Any:
        from nbmlops import session

        if not words:
            raise UsageFault("an experiment needs a name", "%mlops experiment NAME")
        return session.set_experiment(" ".join(words))

    def _start(self, words: list[str], _rest: str) -> Any:
        from nbmlops import session

        options, names = words_of.options(words, {"--tag": True, "--nested": False, "--system": False})
        run = session.start_run(
            " ".join(names) or None,
            nested="--nested" in options,
            tags=words_of.pairs(options.get("--tag", [])),
            log_system_metrics="--system" in options,
        )
        return run.record

    def _end(self, words: list[str], _rest: str) -> Any:
        from nbmlops import session

        options, _ = words_of.options(words, {"--status": True})
        active = session.active_run()
        if active is None:
            raise UsageFault("no run is active", "start one with %mlops start NAME")
        session.end_run(*options.get("--status", []))  # type: ignore[arg-type]
        return active.record

    def _param(self, _words: list[str], rest: str) -> Any:
        from nbmlops import fluent

        values, _ = self._expressions(rest, "param")
        fluent.log_params(values)

    def _metric(self, _words: list[str], rest: str) -> Any:
        from nbmlops import fluent

        text, step = words_of.take_step(rest)
        values, _ = self._expressions(text, "metric")
        fluent.log_metrics(values, None if step is None else self._evaluate(step))

    def _log(self, words: list[str], _rest: str) -> Any:
        from nbmlops import capture

        options, names = words_of.options(words, {"--as": True})
        if len(names) != 1:
            raise UsageFault("%mlops log takes one object or path", "%mlops log fig --as plots/roc.png")
        target = words_of.first(options, "--as")
        return capture.log_object(self._object_or_path(names[0]), names[0], target)

    def _snapshot(self, words: list[str], _rest: str) -> Any:
        from nbmlops.fluent.data import snapshot

        known = ("--name", "-n", "--message", "-m", "--contract", "--labels", "--tag")
        options, names = words_of.options(words, dict.fromkeys(known, True))
        if len(names) != 1:
            raise UsageFault("%mlops snapshot takes one variable or path", "%mlops snapshot df --name sales")
        name = words_of.first(options, "--name", "-n") or names[0]
        message = words_of.first(options, "--message", "-m")
        more = {o: words_of.first(options, f"--{o}") for o in ("contract", "labels")}
        if more["labels"] in self._space:
            more["labels"] = self._space[more["labels"]]
        return snapshot(
            self._object_or_path(names[0]), name, message, **more, tags=words_of.pairs(options.get("--tag", []))
        )

    def _register(self, words: list[str], _rest: str) -> Any:
        from nbmlops.fluent.models import register_model

        asked = ("--name", "-n", "--alias", "--description", "--flavor", "--training", "--test", "--target", "--groups")
        options, names = words_of.options(words, {**dict.fromkeys(asked, True), "--certify": False})
        given = words_of.first(options, "--name", "-n")
        if len(names) != 1 or not given:
            raise UsageFault("%mlops register takes one variable and --name", "%mlops register model --name churn")
        alias = words_of.first(options, "--alias")
        description = words_of.first(options, "--description")
        thing = names[0] if ":" in names[0] else self._variable(names[0])
        return register_model(
            thing,
            given,
            alias,
            description,
            flavor=words_of.first(options, "--flavor"),
            certify="--certify" in options,
            training_data=self._rows(words_of.first(options, "--training")),
            test_data=self._rows(words_of.first(options, "--test")),
            target=words_of.first(options, "--target"),
            groups=[g.strip() for g in (words_of.first(options, "--groups") or "").split(",") if g.strip()],
        )

    def _rows(self, given: str | None) -> Any:
        """``X,y``, one frame, or a data set's reference; None if nothing was given."""
        if not given:
            return None
        parts = [word if word.startswith("dataset:") else self._variable(word.strip()) for word in given.split(",")]
        return parts[0] if len(parts) == 1 else tuple(parts)

    def _history(self, words: list[str], _rest: str) -> Any:
        from nbmlops import session
        from nbmlops.cells import history

        options, names = words_of.options(words, {"-n": True})
        most = words_of.first(options, "-n") or str(history.SHOWN)
        if len(names) > 1 or not most.isdecimal() or not int(most):
            raise UsageFault("%mlops history takes one cell or variable, and a number", "%mlops history [3] -n 5")
        return history.shown(history.here(session.workspace().cells), next(iter(names), None), int(most))

    def _restore(self, words: list[str], _rest: str) -> None:
        from nbmlops import session
        from nbmlops.cells import history

        if len(words) != 1:
            raise UsageFault("%mlops restore takes one version of a cell", "%mlops restore 3@2; see %mlops history")
        version = history.pick(history.here(session.workspace().cells), words[0])
        self.shell.set_next_input(version.source, replace=False)  # type: ignore[union-attr]
        print(history.restored(version))

    def _extract(self, words: list[str], _rest: str) -> Any:
        from nbmlops import extract_line

        return extract_line.extract(words, {name: self._space[name] for name in self._own_names})

    def _dashboard(self, _words: list[str], _rest: str) -> Any:
        from nbmlops import session
        from nbmlops.widgets import Dashboard

        return Dashboard(session.workspace())

    def _flows(self, _words: list[str], _rest: str) -> Any:
        return self._command(["pipelines"])

    # -- everything else is the command line -----------------------------------------------------------------------
    def _command(self, words: list[str]) -> Any:
        import click

        from nbmlops.cli import entry
        from nbmlops.display import Listing

        words = [NOUNS[words[0]], *words] if words[0] in NOUNS else words
        as_json = "--json" in words
        try:
            value = entry.main(words, prog_name="%mlops", standalone_mode=False, obj={"print": as_json})
        except click.exceptions.Exit:
            return None
        if as_json or (isinstance(value, int) and not isinstance(value, bool)):
            return None  # printed already (--json), or the exit code of --help
        if isinstance(value, str):
            print(value)
            return None
        if isinstance(value, Listing):
            from nbmlops.widgets import table

            return table(value)
        return value

    # -- the user's namespace --------------------------------------------------------------------------------------
    @property
    def _space(self) -> dict[str, Any]:
        return self.shell.user_ns if self.shell is not None else {}

    @property
    def _own_names(self) -> list[str]:
        """The user's variables, without what IPython has put beside them."""
        hidden = self.shell.user_ns_hidden if self.shell is not None else {}
        return [n for n, v in self._space.items() if n[:1] != "_" and hidden.get(n, self) is not v]

    def _variable(self, name: str) -> Any:
        namespace = self._space
        if name in namespace:
            return namespace[name]
        if name.isidentifier():
            raise NotFound.of("variable", name, self._own_names[:200])
        return self._evaluate(name)

    def _object_or_path(self, text: str) -> Any:
        import os

        if text in self._space:
            return self._space[text]
        if os.path.exists(text):
            return text
        return self._variable(text)

    def _evaluate(self, expression: str) -> Any:
        try:
            return eval(expression, self._space)  # noqa: S307  (the user's own cell)
        except Exception as error:  # whatever the user's expression raises is the user's answer
            raise InvalidValue(
                f"{expression!r} cannot be evaluated: {type(error).__name__}: {error}", "define it first"
            ) from error

    def _expressions(self, text: str, verb: str) -> tuple[dict[str, Any], list[str]]:
        """``a=1 b=x+1`` evaluated in the user's namespace; the values may hold blanks inside brackets and strings."""
        pairs = words_of.split_assignments(text)
        if not pairs:
            raise UsageFault(f"%mlops {verb} takes name=expression", f"%mlops {verb} name=value other=2*value")
        return {name: self._evaluate(expression) for name, expression in pairs}, []


def _status() -> Any:
    from nbmlops import session
    from nbmlops.display import Listing

    info = session.workspace().info()
    active = session.active_run()
    rows = [
        {"": "store", "value": info.url},
        {"": "experiment", "value": session.experiment_name() or _default_experiment()},
        {"": "active run", "value": f"{active.name} ({active.run_id})" if active else "none"},
        {"": "this notebook", "value": _truth()},
        *({"": name, "value": count} for name, count in info.counts.items() if count),
    ]
    return Listing(rows, "nbmlops")


def _truth() -> str:
    """Would a clean run of this notebook differ, in one line."""
    from nbmlops import session
    from nbmlops.display.cells import quiet

    try:
        return quiet(session.workspace().cells.check().to_dict())
    except UsageFault as fault:
        return fault.message


def _default_experiment() -> str:
    from nbmlops import settings

    return str(settings.value("experiment"))
