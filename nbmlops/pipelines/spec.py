"""A pipeline file: what it says, and every fault in it at once, with the line where it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from nbmlops.errors import InvalidValue, NbmlopsError, NotFound, StoreFault
from nbmlops.notebook import parameters
from nbmlops.notebook.parameters import Parameters, suggestion
from nbmlops.pipelines import contracted, limits
from nbmlops.pipelines.contracted import Held
from nbmlops.pipelines.faults import Faults
from nbmlops.pipelines.limits import Limits
from nbmlops.refs import Ref, check_name
from nbmlops.refs import parse as parse_ref
from nbmlops.rules import check as check_rules

_TOP = ("name", "params", "stages", "promote")
_STAGE = ("notebook", "params", "reads", "writes", "needs", "matrix", "search", "select", *limits.KEYS, "kernel",
          "skip", "cache", "files", "variables", "contracts")  # fmt: skip


@dataclass(frozen=True)
class Select:
    """How a sweep chooses: the candidate with the largest or smallest metric."""

    metric: str
    mode: str


@dataclass(frozen=True)
class Stage:
    """One stage as written. ``document`` is the notebook's bytes as they were when the file was read.

    ``cache`` says whether an earlier result may be reused: None leaves it to what the notebook does. ``files`` and
    ``variables`` are what its result depends on besides; ``skip`` are tags of cells that are left out.
    ``search`` is still as YAML gave it: what stands in it may be a value of the flow.
    """

    name: str
    notebook: str = ""
    path: str = ""
    document: bytes = b""
    declared: Parameters = field(default_factory=lambda: Parameters(""))
    params: dict[str, Any] = field(default_factory=dict)
    reads: tuple[Ref, ...] = ()
    writes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    matrix: dict[str, list[Any]] = field(default_factory=dict)
    search: Any = None
    select: Select | None = None
    limits: Limits = field(default_factory=Limits)
    kernel: str | None = None
    skip: tuple[str, ...] = ()
    cache: bool | None = None
    files: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    contracts: tuple[Held, ...] = ()


@dataclass(frozen=True)
class Promote:
    """What is asked of the model when all stages are done."""

    model: str
    to: str
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Spec:
    """A whole pipeline file. ``source`` is its bytes."""

    name: str
    path: str
    source: bytes
    params: dict[str, Any]
    stages: dict[str, Stage]
    promote: Promote | None = None


def read(path: str | Path) -> tuple[Spec, Faults]:
    """Read a pipeline file and the notebooks it names; faults are listed, not raised.

    Raises:
        NotFound: there is no such file.
        InvalidValue: it is not YAML, or not a mapping: nothing further can be said about it.
    """
    try:
        source = Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(f"no pipeline file {str(path)!r}", "give the path of a YAML file with stages") from error
    except OSError as error:
        raise StoreFault(f"cannot read {path}: {error.strerror}", "check the file's permissions") from error
    reader = _Reader(source, Path(path))
    if isinstance(reader.data, dict) and {"cells", "nbformat"} <= set(reader.data):
        raise InvalidValue(f"{path} is a notebook, and no pipeline file", "run it alone with `nbmlops stage run`")
    return reader.spec(), reader.faults


class _Reader:
    """Collects faults while it builds the spec, so that one reading reports them all."""

    def __init__(self, source: bytes, path: Path) -> None:
        self.source, self.path = source, path
        self.lines: dict[tuple[Any, ...], int] = {}
        self.faults = Faults(self.lines)
        try:
            node = yaml.compose(source, yaml.SafeLoader)
            if node is not None:
                self._note(node, ())
            self.data = yaml.safe_load(source)
        except (
            yaml.YAMLError,
            UnicodeError,
            ValueError,
            TypeError,
        ) as error:  # Value, Type: dates or keys YAML cannot make
            raise InvalidValue(
                f"{path} is not YAML: {' '.join(str(error).split())}", "mend the file at that place"
            ) from error
        if not isinstance(self.data, dict):
            raise InvalidValue(f"{path} holds no pipeline", "write a mapping with name and stages")

    def _note(self, node: yaml.Node, at: tuple[Any, ...]) -> None:
        """Remember the line of each key, and find keys that are given twice (YAML keeps the last one, unseen)."""
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                place = (*at, key.value)
                if place in self.lines:
                    line, first = key.start_mark.line + 1, self.lines[place]
                    self.faults.add_at_line(line, f"{key.value!r} is given twice (first in line {first})")
                    continue
                self.lines[place] = key.start_mark.line + 1
                self._note(value, place)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self.lines[(*at, index)] = value.start_mark.line + 1
                self._note(value, (*at, index))

    def fault(self, at: tuple[Any, ...], text: str) -> None:
        """A fault with the nearest line known and the stage it is in."""
        self.faults.add(at, text)

    def mapping(self, value: Any, at: tuple[Any, ...], known: tuple[str, ...] | None = None) -> dict[str, Any]:
        """A mapping with text keys; with ``known``, other keys are faults."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.fault(at, f"{at[-1]} must be a mapping, not {_kind(value)}")
            return {}
        for key in value:
            if known is not None and key not in known:
                self.fault((*at, key), f"unknown key {key!r}{suggestion(key, known)}; known are {', '.join(known)}")
            elif not isinstance(key, str):
                self.fault((*at, str(key)), f"the key {key!r} must be text")
        return {k: v for k, v in value.items() if isinstance(k, str) and (known is None or k in known)}

    def texts(self, value: Any, at: tuple[Any, ...]) -> list[str]:
        """A list of texts; one text alone counts as a list of one."""
        items = value if isinstance(value, list) else [] if value is None else [value]
        for index, item in enumerate(items):
            if not isinstance(item, str):
                self.fault((*at, index), f"{at[-1]} holds {item!r}, and text is needed")
        return [item for item in items if isinstance(item, str)]

    def name(self, value: Any, what: str, at: tuple[Any, ...]) -> str:
        try:
            return check_name(value, what)
        except InvalidValue as error:
            self.fault(at, error.message)
            return str(value)

    def spec(self) -> Spec:
        top = self.mapping(self.data, (), _TOP)
        name = self.name(top.get("name", self.path.stem), "pipeline", ("name",))
        stages = self.mapping(top.get("stages"), ("stages",))
        if not stages:
            self.fault(("stages",), "there are no stages")
        for key in list(stages):
            self.name(key, "stage", ("stages", key))
        built = {key: self.stage(key, value) for key, value in stages.items()}
        return Spec(
            name,
            str(self.path),
            self.source,
            self.mapping(top.get("params"), ("params",)),
            built,
            self.promote(top["promote"], built) if top.get("promote") is not None else None,
        )

    def stage(self, name: str, value: Any) -> Stage:
        at = ("stages", name)
        given = self.mapping(value, at, _STAGE)
        notebook = given.get("notebook")
        path, document, declared = self.notebook(notebook, (*at, "notebook"))
        matrix, search = self.matrix(given, at), self.search(given, at)
        select = self.select(given.get("select"), (*at, "select"))
        if select and not matrix and search is None:
            self.fault((*at, "select"), "select needs a matrix or a search to choose from")
        reads = tuple(self.references(given.get("reads"), (*at, "reads")))
        writes = tuple(self.writes(given.get("writes"), (*at, "writes")))
        return Stage(
            name=name,
            notebook=str(notebook or ""),
            path=path,
            document=document,
            declared=declared,
            params=self.mapping(given.get("params"), (*at, "params")),
            reads=reads,
            writes=writes,
            needs=tuple(self.texts(given.get("needs"), (*at, "needs"))),
            matrix=matrix,
            search=search,
            select=select,
            limits=self.limits(given, at),
            skip=tuple(self.texts(given.get("skip"), (*at, "skip"))),
            cache=self.cache(given.get("cache"), (*at, "cache")),
            files=tuple(
                str(self.path.absolute().parent / file) for file in self.texts(given.get("files"), (*at, "files"))
            ),
            variables=tuple(self.texts(given.get("variables"), (*at, "variables"))),
            kernel=self.kernel(given.get("kernel"), (*at, "kernel")),
            contracts=tuple(self.contracts(given.get("contracts"), (*at, "contracts"), reads, writes)),
        )

    def notebook(self, value: Any, at: tuple[Any, ...]) -> tuple[str, bytes, Parameters]:
        """Absolute path, bytes and parameters of a stage's notebook, found from the folder of the pipeline file."""
        nothing = "", b"", Parameters("")
        if not isinstance(value, str) or not value:
            self.fault(at, "notebook is missing" if value is None else f"notebook must be a path, not {value!r}")
            return nothing
        path = (self.path.absolute().parent / value).resolve()
        try:
            document = path.read_bytes()
            return str(path), document, parameters.read(parameters.parse_document(document, value), value)
        except OSError as error:
            self.fault(at, f"there is no notebook {value!r}" if not path.exists() else f"{value}: {error.strerror}")
        except NbmlopsError as error:
            self.fault(at, error.message)
        return nothing

    def references(self, value: Any, at: tuple[Any, ...]) -> list[Ref]:
        found = []
        for index, text in enumerate(self.texts(value, at)):
            try:
                ref = parse_ref(text)
                if ref.kind not in {"dataset", "model"}:
                    raise InvalidValue(f"{text!r} is a {ref.kind}, and stages exchange data sets and models")
                check_name(ref.name, ref.kind)
                found.append(ref)
            except InvalidValue as error:
                self.fault((*at, index), f"{at[-1]}: {error.message}; write dataset:NAME or model:NAME")
        return found

    def writes(self, value: Any, at: tuple[Any, ...]) -> list[str]:
        for ref in (found := self.references(value, at)):
            if ref.version is not None or ref.alias is not None:
                self.fault(at, f"writes: {ref} names a version, and a stage always writes a new one")
        return list(dict.fromkeys(f"{ref.kind}:{ref.name}" for ref in found))

    def contracts(self, value: Any, at: tuple[Any, ...], reads: tuple[Ref, ...], writes: tuple[str, ...]) -> list[Held]:
        """What is under contract; every fault of each contract is one of the file."""
        read = {text for ref in reads if ref.kind == "dataset" for text in (str(ref), f"dataset:{ref.name}")}
        known = sorted({*read, *(thing for thing in writes if thing.startswith("dataset:"))})
        found = []
        for key, path in self.mapping(value, at).items():
            if key not in known:
                there = f"; there are {', '.join(known)}" if known else ", nor any other data set"
                near = suggestion(key, known)
                self.fault((*at, key), f"contracts: the stage neither reads nor writes {key}{near}{there}")
            contract, faults = contracted.read(self.path.absolute().parent, path)
            for text in faults:
                self.fault((*at, key), f"contract of {key}: {text}")
            if key in known and contract is not None:
                found.append(Held(parse_ref(key), contract, reads=key in read, writes=key in writes))
        return found

    def matrix(self, given: dict[str, Any], at: tuple[Any, ...]) -> dict[str, list[Any]]:
        matrix = self.mapping(given.get("matrix"), (*at, "matrix"))
        for name, values in matrix.items():
            if not isinstance(values, list) or not values:
                self.fault((*at, "matrix", name), f"matrix: {name} must be a list of values, not {values!r}")
            if isinstance(given.get("params"), dict) and name in given["params"]:
                self.fault((*at, "matrix", name), f"{name} is in params and in matrix")
        return {name: values for name, values in matrix.items() if isinstance(values, list) and values}

    def search(self, given: dict[str, Any], at: tuple[Any, ...]) -> Any:
        """As it is: only what concerns other keys of the stage is checked here."""
        search = given.get("search")
        if search is not None and given.get("matrix"):
            self.fault((*at, "search"), "matrix and search exclude each other; a list in search is a choice")
        drawn, fixed = (found if isinstance(found, dict) else {} for found in (search, given.get("params")))
        for name in drawn["params"] if isinstance(drawn.get("params"), dict) else ():
            if name in fixed:
                self.fault((*at, "search", "params", name), f"{name} is in params and in search")
        return search

    def select(self, value: Any, at: tuple[Any, ...]) -> Select | None:
        if value is None:
            return None
        given = self.mapping(value, at, ("metric", "mode"))
        metric, mode = given.get("metric"), given.get("mode")
        if not isinstance(metric, str) or not metric:
            self.fault(at, "select needs a metric")
        if mode not in {"max", "min"}:
            self.fault(at, f"select needs mode: max or min, not {mode!r}")
        return Select(str(metric), str(mode))

    def limits(self, given: dict[str, Any], at: tuple[Any, ...]) -> Limits:
        found, faults = limits.read(given)
        for key, text in faults:
            self.fault((*at, key), text)
        return found

    def cache(self, value: Any, at: tuple[Any, ...]) -> bool | None:
        if value is not None and not isinstance(value, bool):
            self.fault(at, f"cache must be true or false, not {value!r}")
            return None
        return value

    def kernel(self, value: Any, at: tuple[Any, ...]) -> str | None:
        if value is not None and not isinstance(value, str):
            self.fault(at, f"kernel must be the name of a kernelspec, not {value!r}")
            return None
        return value

    def promote(self, value: Any, stages: dict[str, Stage]) -> Promote | None:
        given = self.mapping(value, ("promote",), ("model", "to", "rules"))
        model, to = given.get("model"), given.get("to")
        if not isinstance(to, str) or not to:
            self.fault(("promote", "to"), "promote needs to: the environment")
        if not isinstance(model, str) or not model:
            self.fault(("promote", "model"), "promote needs model: the name of one that a stage writes")
            return None
        model = model.removeprefix("model:")
        rules = self.texts(given.get("rules"), ("promote", "rules"))
        for index, rule in enumerate(rules):
            try:
                check_rules([rule])
            except InvalidValue as error:
                self.fault(("promote", "rules", index), f"rule {error.faults[0]}")
        written = [w.removeprefix("model:") for s in stages.values() for w in s.writes if w.startswith("model:")]
        if model not in written:
            self.fault(("promote", "model"), f"promote: no stage writes model:{model}{suggestion(model, written)}")
        return Promote(model, str(to), tuple(rules))


def _kind(value: Any) -> str:
    return {"list": "a list", "str": f"the text {value!r:.40}"}.get(type(value).__name__, repr(value)[:40])
