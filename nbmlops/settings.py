"""Settings: argument > environment ``NBMLOPS_*`` > ``[tool.nbmlops]`` in pyproject.toml > default.

``SETTINGS`` is the whole list; ``resolve`` answers with each value and where it came from.
"""

from __future__ import annotations

import functools
import os
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbmlops.errors import InvalidValue


@dataclass(frozen=True)
class Setting:
    """One line of ``SETTINGS``: name, type, default and what it is for."""

    name: str
    kind: type
    default: Any
    help: str


@dataclass(frozen=True)
class Resolved:
    """A setting's value and its origin: ``argument``, ``NBMLOPS_…``, ``pyproject.toml`` or ``default``."""

    name: str
    value: Any
    origin: str


SETTINGS: tuple[Setting, ...] = (
    Setting("store", str, "", "folder or SQLAlchemy URL; default: .nbmlops in the project root"),
    Setting("artifacts", str, "", "fsspec URL for blobs, e.g. s3://bucket/prefix; default: blobs/ in the store folder"),
    Setting("cache", str, "", "folder for copies of remote blobs; default: nbmlops in the user's cache folder"),
    Setting("cache_gb", float, 10.0, "the most that these copies may take, in GB; 0 keeps none"),
    Setting("experiment", str, "Default", "experiment that new runs belong to"),
    Setting("user", str, "", "who acts, when there is no signing key and no JupyterHub user"),
    Setting("notebook", str, "", "path of the notebook that runs here, when it cannot be found out"),
    Setting("journal", bool, True, "record each cell that runs while the extension is loaded"),
    Setting("git", bool, True, "record commit and uncommitted changes with each run"),
    Setting(
        "kernel", str, "warm", "warm: stages start in kernels with their imports done, where there can be; or cold"
    ),
    Setting("lease", float, 30.0, "seconds without a heartbeat after which a run counts as KILLED"),
    Setting("resources", str, "", "what this machine offers to stages that ask for it, e.g. gpu=1,license=2"),
    Setting("openlineage", str, "", "file or server URL for OpenLineage events; default: OPENLINEAGE_URL, or none"),
    Setting("staging_service", bool, True, "test a model as a service of its own where an environment asks for it"),
    Setting("fold", float, 0.5, "seconds between two folds of the metric journal into the store"),
)
_BY_NAME = {s.name: s for s in SETTINGS}


def project_root(start: str | os.PathLike[str] | None = None) -> Path:
    """Nearest parent with ``.nbmlops/``, else with ``pyproject.toml`` or ``.git``, else the start itself."""
    if start is None:
        return _root_of(os.getcwd(), int(time.monotonic()))
    here = Path(start).resolve()
    parents = (here, *here.parents)
    for parent in parents:
        if (parent / ".nbmlops").is_dir():
            return parent
    for parent in parents:
        if (parent / "pyproject.toml").is_file() or (parent / ".git").exists():
            return parent
    return here


def journal_folder() -> Path:
    """Where the store of the settings has its journals; nothing is made or opened for it."""
    where = str(value("store"))
    kind, address, path = where.partition("://")
    if not address:
        return Path(where or project_root() / ".nbmlops").expanduser() / "journal"
    if kind.partition("+")[0] == "sqlite":
        return Path(path.removeprefix("/")).with_suffix("") / "journal"
    return project_root() / ".nbmlops" / "journal"  # of a server's store: what is on its way there


@functools.lru_cache(maxsize=4)
def _root_of(folder: str, _second: int) -> Path:
    """The root of a folder, looked up once a second: every setting asks for it."""
    return project_root(folder)


def resolve(name: str, argument: Any = None) -> Resolved:
    """The value of one setting and its origin.

    Raises:
        InvalidValue: the value found cannot be read as the setting's type.
    """
    setting = _BY_NAME[name]
    if argument is not None:
        return Resolved(name, argument, "argument")
    variable = f"NBMLOPS_{name.upper()}"
    if os.environ.get(variable):
        return Resolved(name, _convert(setting, os.environ[variable], variable), variable)
    table = _pyproject(str(project_root()))
    if name in table:
        return Resolved(name, _convert(setting, table[name], "pyproject.toml"), "pyproject.toml")
    return Resolved(name, setting.default, "default")


def value(name: str, argument: Any = None) -> Any:
    """The value of one setting; see :func:`resolve`."""
    return resolve(name, argument).value


def _convert(setting: Setting, raw: Any, origin: str) -> Any:
    try:
        if setting.kind is bool and isinstance(raw, str):
            return {
                "1": True,
                "true": True,
                "yes": True,
                "on": True,
                "0": False,
                "false": False,
                "no": False,
                "off": False,
            }[raw.lower()]
        return setting.kind(raw)
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidValue(
            f"setting {setting.name} from {origin} is {raw!r}, and a {setting.kind.__name__} is needed", setting.help
        ) from error


@functools.lru_cache(maxsize=8)
def _read_pyproject(path: str, mtime_ns: int) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            table = tomllib.load(file).get("tool", {}).get("nbmlops", {})
    except tomllib.TOMLDecodeError as error:
        raise InvalidValue(f"{path} is not valid TOML: {error}", "mend the file, or move it away") from error
    return table if isinstance(table, dict) else {}


def table(root: str | os.PathLike[str]) -> dict[str, Any]:
    """All of ``[tool.nbmlops]`` in a folder's pyproject.toml, as it is written; empty if there is none.

    Raises:
        InvalidValue: the file is not valid TOML.
    """
    return _pyproject(os.fspath(root))


FILE = "nbmlops.toml"
LARGEST = 1 << 20  # bytes of that file


def project_file(root: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The tables of a folder's ``nbmlops.toml``; None if there is none.

    Raises:
        InvalidValue: it is not valid TOML, or larger than any such file.
    """
    path = os.path.join(root, FILE)
    try:
        found = os.stat(path)
    except OSError:
        return None
    if found.st_size > LARGEST:
        raise InvalidValue(f"{path} has more than {LARGEST:,} bytes", "it holds a project's rules only")
    return _read_toml(path, found.st_mtime_ns)


def tables(root: str | os.PathLike[str], name: str) -> tuple[Any, str]:
    """What a project writes under a name, in ``nbmlops.toml`` or else below ``[tool.nbmlops]``; and in which file.

    Raises:
        InvalidValue: the file is not valid TOML.
    """
    own = project_file(root)
    if own is not None:
        return own.get(name), os.path.join(root, FILE)
    return table(root).get(name), os.path.join(root, "pyproject.toml")


@functools.lru_cache(maxsize=8)
def _read_toml(path: str, _changed: int) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidValue(f"{path} is not valid TOML: {error}", "mend the file, or move it away") from error


def _pyproject(root: str) -> dict[str, Any]:
    path = os.path.join(root, "pyproject.toml")
    try:
        return _read_pyproject(path, os.stat(path).st_mtime_ns)
    except OSError:
        return {}
