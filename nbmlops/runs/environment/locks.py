"""An environment as a file that ``pip install -r`` takes, and such files read again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nbmlops.errors import InvalidValue
from nbmlops.notebook.installed import canonical
from nbmlops.runs.environment.form import facts

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_COMMIT = re.compile(r"[0-9a-fA-F]{7,64}")
_ADDRESS = re.compile(r"(https|ssh|git)://[\w.@:~/%+-]+")
_HASH = re.compile(r"[0-9a-f]{32,128}")
_STRONG = ("sha512", "sha384", "sha256")  # what pip takes
_INSTALLERS = frozenset({"pip"})
_IMPORTED, _REST = "# --- imported by the run", "# --- also installed"
_PINNED = re.compile(r"(?P<name>[\w.-]+)(?:\[[^\]]*\])?\s*===?\s*(?P<version>[\w.!+-]+)")
_SAYS = re.compile(r"# (?P<what>Python|machine|platform): (?P<value>\S.*)")
_LARGEST = 5_000_000


def lock(environment: bytes | Mapping[str, Any]) -> str:
    """The lines of a requirements file: every distribution exactly, those that the run had imported first.

    Version control is named with its commit. What came from a folder cannot be installed from elsewhere, and what has
    a version that no index takes neither: such lines are comments. Hashes are known only of archives that were
    installed as files; pip takes either all hashes or none, so they are given only when all are known, and are
    comments otherwise. Install with ``pip install --no-deps -r FILE``.

    Raises:
        InvalidValue: the environment does not have the form of one.
    """
    known = facts(environment) if isinstance(environment, bytes) else environment
    imported = set(known.get("imported") or ())
    names = sorted((str(name) for name in known["packages"]), key=lambda name: (name.lower(), name))
    lines = {name: _Line(name, known) for name in names}
    hashed = all(line.hashes for line in lines.values() if not line.why_not) and not any(
        line.why_not or line.address for line in lines.values()
    )
    head = [*_head(known), *(["# Each archive is held to its hash."] if hashed else [])]
    first = [text for name in names if name in imported for text in lines[name].texts(hashed)]
    rest = [text for name in names if name not in imported for text in lines[name].texts(hashed)]
    parts = ["\n".join(head)]
    parts += ["\n".join([_IMPORTED, *first])] if first else []
    parts += ["\n".join([*([_REST] if first else []), *rest])] if rest else []
    return "\n\n".join(parts) + "\n"


def _head(known: Mapping[str, Any]) -> list[str]:
    lines = ["# Every distribution of an environment, exactly: pip install --no-deps -r THIS_FILE"]
    system = known.get("os") or {}
    for what, value in (
        ("Python", known.get("python")),
        ("machine", known.get("machine")),
        ("platform", known.get("platform")),
        ("system", " ".join(filter(None, (str(system.get("name") or ""), str(system.get("libc") or ""))))),
    ):
        if value:
            lines.append(f"# {what}: {_one_line(value)}")
    return lines


def _one_line(value: Any) -> str:
    """A text from a store as a comment: it must not begin a line of its own."""
    return "".join(c if c.isprintable() else " " for c in str(value))[:200]


class _Line:
    """One distribution: how pip may install it, or why it cannot."""

    def __init__(self, name: str, known: Mapping[str, Any]) -> None:
        source = (known.get("sources") or {}).get(name) or {}
        self.version = str(known["packages"][name])
        self.source: Mapping[str, Any] = source
        given = source.get("hashes")
        self.hashes = _hashes(given) if isinstance(given, Mapping) else []
        self.address = _address(source)
        self.name = name
        self.why_not = self._why_not()

    def _why_not(self) -> str:
        if not _NAME.fullmatch(self.name) or not _VERSION.fullmatch(self.version) or not _is_version(self.version):
            return "no index takes this version"
        if self.name.lower() in _INSTALLERS:
            return "the installer itself"
        if "editable" in self.source:
            how = "an editable folder" if self.source["editable"] else "a folder"
            commit = str(self.source.get("commit") or "")
            at = f" at commit {commit}" if _COMMIT.fullmatch(commit) else ""
            dirty = " with uncommitted changes" if self.source.get("dirty") else ""
            return f"from {how}{at}{dirty}: cannot be installed from elsewhere"
        if self.source.get("vcs") and not self.address:
            return f"from {_one_line(self.source['vcs'])} at {_one_line(self.source.get('commit'))}: address not usable"
        return ""

    def texts(self, hashed: bool) -> Iterator[str]:
        """Its line, or lines."""
        exact = f"{self.name}=={self.version}"
        if self.why_not:
            yield f"# {_one_line(exact)}  # {self.why_not}"
        elif self.address:
            yield f"{self.name} @ {self.address}  # {self.version}"
        elif self.hashes and hashed:
            yield " \\\n    ".join([exact, *(f"--hash={name}:{value}" for name, value in self.hashes)])
        elif "hashes" in self.source:
            known = ", ".join(f"{name}:{value}" for name, value in self.hashes)
            yield f"{exact}  # from a file{': ' if known else ''}{known}"
        else:
            yield exact


def _is_version(text: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _hashes(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The strongest hash that pip takes."""
    return [(name, str(given[name])) for name in _STRONG if _HASH.fullmatch(str(given.get(name, "")))][:1]


def _address(source: Mapping[str, Any]) -> str:
    """``git+https://…@COMMIT``, or nothing where a part of it is not what it should be."""
    commit, url, vcs = (str(source.get(key) or "") for key in ("commit", "url", "vcs"))
    if not (_COMMIT.fullmatch(commit) and _ADDRESS.fullmatch(url) and vcs in {"git", "hg", "svn", "bzr"}):
        return ""
    folder = str(source.get("subdirectory") or "")
    tail = f"#subdirectory={folder}" if re.fullmatch(r"[\w./-]+", folder) else ""
    return f"{vcs}+{url}@{commit}{tail}"


# --- reading ------------------------------------------------------------------------------------------------------
def read_lock(text: str) -> dict[str, Any]:
    """The facts that a requirements file holds: exact versions, and of one made by :func:`lock` Python and machine.

    Raises:
        InvalidValue: it pins nothing, or is far too long.
    """
    if len(text) > _LARGEST:
        raise InvalidValue(f"a lock has at most {_LARGEST:,} characters", "give the file that `nbmlops run env` wrote")
    known: dict[str, Any] = {"packages": {}, "sources": {}}
    imported: list[str] | None = None
    listed = False
    for line in _joined(text.splitlines()):
        if line.startswith(_IMPORTED):
            imported, listed = [], True
        elif line.startswith(_REST):
            listed = False
        elif said := _SAYS.fullmatch(line):
            known.setdefault(said["what"].lower(), said["value"])
        elif (name := _take(line, known)) and listed and imported is not None:
            imported.append(name)
    if not known["packages"]:
        raise InvalidValue("the lock pins no version", "its lines are NAME==VERSION, as `nbmlops run env` writes them")
    return known if imported is None else {**known, "imported": imported}


def read_lock_file(path: str) -> dict[str, Any]:
    """As :func:`read_lock`, of a file.

    Raises:
        InvalidValue: it is no text, pins nothing, or is far too long.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return read_lock(file.read(_LARGEST + 1))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValue(f"{path} cannot be read as a lock: {error}", "give what `nbmlops run env` wrote") from error


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Lines as pip reads them: a backslash at the end goes on in the next."""
    held = ""
    for line in lines:
        if line.endswith("\\"):
            held += line[:-1]
        else:
            yield (held + line).strip()
            held = ""
    if held:
        yield held.strip()


_COMMENTED = re.compile(r"# (?P<exact>\S+==\S+)  # (?P<why>.*)")


def _take(line: str, known: dict[str, Any]) -> str:
    """Note one line's distribution; its name, or nothing for another line."""
    if comment := _COMMENTED.fullmatch(line):
        line, commit = comment["exact"], re.search(r"at commit ([0-9a-f]{7,64})", comment["why"])
        source = {"editable": True, "commit": commit[1]} if commit else {}
    else:
        source = {}
        if at := re.match(r"([\w.-]+) @ (\w+)\+(\S+)@([0-9a-fA-F]{7,64})\S*  # (\S+)$", line):
            line, source = f"{at[1]}=={at[5]}", {"vcs": at[2], "url": at[3], "commit": at[4]}
    pinned = _PINNED.match(line)
    if pinned is None:
        return ""
    name = canonical(pinned["name"])
    known["packages"][name] = pinned["version"]
    if source:
        known["sources"][name] = source
    return name
