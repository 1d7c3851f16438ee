"""Exact versions of installed distributions, fast enough to ask for them before every stage.

``importlib.metadata.packages_distributions`` takes a tenth of a second for a scientific environment and says nothing of
requirements. Here an index of the whole environment is built once and kept, in memory and as a JSON file in the
user's cache folder; it is good for as long as no installation folder has changed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbmlops.notebook import provenance

if TYPE_CHECKING:
    from importlib import metadata

_FORMAT = 2
# Folders of installations keep times of a few milliseconds' grain: an index this young may miss an installation.
_SETTLED = 2.0
_HEADER = re.compile(r"^(Name|Version|Requires-Dist):[ \t]*(.*)$", re.MULTILINE)
_RECORDED = re.compile(r"^\"?([^/,\n\"]+)(/?)", re.MULTILINE)
_EXTRA = re.compile(r"\bextra\s*==\s*['\"]([^'\"]+)['\"]")
_SITES = {"site-packages", "dist-packages"}
_SUFFIXES = (".py", ".so", ".pyd")


@dataclass(frozen=True)
class Index:
    """``providers``: module -> distributions. ``distributions``: name -> [version, {extra: [[name, extras], …]}].

    ``sources``: name -> where it came from, of those that are from no index; ``records``: name -> digest of its files;
    see ``provenance``.
    """

    providers: Mapping[str, list[str]]
    distributions: Mapping[str, list[Any]]
    sources: Mapping[str, dict[str, Any]]
    records: Mapping[str, str]

    def version(self, name: str) -> str:
        """The version alone, without the commit that stands beside it where there is one."""
        return str(self.distributions[name][0]).partition(" (")[0]

    def required(self, names: Iterable[str]) -> set[str]:
        """These distributions and all that they require here, as far as they are installed."""
        done: set[tuple[str, str]] = set()
        todo = [(name, "") for name in names]
        while todo:
            name, extra = todo.pop()
            if (name, extra) in done or name not in self.distributions:
                continue
            done.add((name, extra))
            for required, extras in self.distributions[name][1].get(extra, ()):
                todo += [(required, ""), *((required, one) for one in extras)]
        return {name for name, _ in done}


def index() -> Index:
    """What is installed here: of this very state of the folders, and kept."""
    return _index(state())


def versions(top_level_names: Iterable[str]) -> dict[str, str]:
    """Versions of the distributions that provide these modules, and of all they require; ``python`` and ``nbmlops``.

    Of nbmlops only its own version counts. Requirements count where their markers hold here; those of extras where
    the extra is asked for. What is not installed is left out. A distribution installed from version control has its
    commit in its version.
    """
    here = index()
    names = set(top_level_names)
    if "nbmlops" in names:  # its version stands for itself; the frames that it hands out are pandas'
        names = (names - {"nbmlops"}) | {"pandas"}
    wanted = here.required(name for module in names for name in here.providers.get(module, ()))
    if "nbmlops" in here.distributions:
        wanted.add("nbmlops")
    found = {name: str(here.distributions[name][0]) for name in wanted}
    found["python"] = platform.python_version()
    return dict(sorted(found.items()))


def folders() -> tuple[str, ...]:
    """The folders of ``sys.path`` that hold installed distributions."""
    return tuple(dict.fromkeys(path for path in sys.path if is_installed(path)))


def is_installed(path: str) -> bool:
    """Whether a path is, or lies in, a folder of installed distributions; ``sysconfig`` would take 5 ms to tell."""
    return not _SITES.isdisjoint(path.replace("\\", "/").split("/"))


def state() -> tuple[tuple[str, int], ...]:
    """Each installation folder with the time of its last change, in nanoseconds: it changes with every installation."""
    found = []
    for folder in folders():
        with contextlib.suppress(OSError):
            found.append((folder, os.stat(folder).st_mtime_ns))
    return tuple(found)


@functools.lru_cache(2)
def _index(key: tuple[tuple[str, int], ...]) -> Index:
    path = _cache_file(key)
    if (held := _read(path, key)) is not None:
        return held
    index = _built([folder for folder, _ in key])
    settled = all(time.time() - changed / 1e9 > _SETTLED for _, changed in key)
    if settled and key == state():
        _write(path, key, index)
    return index


def _cache_file(key: tuple[tuple[str, int], ...]) -> Path:
    """One file for each environment: an index of an older state is overwritten."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    environment = "\n".join([sys.version, *(folder for folder, _ in key)])
    name = hashlib.sha256(environment.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return Path(base, "nbmlops", f"installed-{name}.json")


def _read(path: Path, key: tuple[tuple[str, int], ...]) -> Index | None:
    """The kept index, if it is whole and of this very state of the folders."""
    try:
        held = json.loads(path.read_bytes())
        if held["format"] != _FORMAT or held["folders"] != [list(pair) for pair in key]:
            return None
        found = Index(held["providers"], held["distributions"], held["sources"], held["records"])
        sound = all(isinstance(names, list) for names in found.providers.values()) and all(
            isinstance(version, str) and isinstance(requirements, dict)
            for version, requirements in found.distributions.values()
        )
        of_names = all(isinstance(source, dict) for source in found.sources.values()) and all(
            isinstance(digest, str) for digest in found.records.values()
        )
        return found if sound and of_names else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _write(path: Path, key: tuple[tuple[str, int], ...], index: Index) -> None:
    """Whole or not at all; a cache folder that cannot be written costs time and nothing else."""
    import tempfile

    held = {"format": _FORMAT, "folders": key, **vars(index)}
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.stem)
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(held, file, separators=(",", ":"))
            os.replace(part, path)
        except BaseException:  # Ctrl-C too: no half-written file stays
            os.unlink(part)
            raise


def _built(paths: list[str]) -> Index:
    from importlib import metadata  # loads the email package, which a kept index does not need

    providers: dict[str, list[str]] = {}
    distributions: dict[str, list[Any]] = {}
    sources: dict[str, dict[str, Any]] = {}
    records: dict[str, str] = {}
    for found in metadata.distributions(path=paths):
        header = (found.read_text("METADATA") or found.read_text("PKG-INFO") or "").partition("\n\n")[0]
        fields: dict[str, list[str]] = {}
        for name, value in _HEADER.findall(header):
            fields.setdefault(name, []).append(value.strip())
        name = canonical(fields.get("Name", [""])[0])
        if not name or name in distributions:  # a broken one; or one that another folder has before it
            continue
        distributions[name] = [
            fields.get("Version", [""])[0] + _commit(found),
            _requirements(fields.get("Requires-Dist", [])),
        ]
        record = found.read_text("RECORD") or ""
        for module in _modules(found, record):
            providers.setdefault(module, []).append(name)
        if digest := provenance.record_digest(record):
            records[name] = digest
        if direct := found.read_text("direct_url.json"):
            sources[name] = provenance.source(direct, found.read_text("INSTALLER") or "")
    return Index(providers, distributions, sources, records)


def canonical(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _commit(found: metadata.Distribution) -> str:
    """`` (COMMIT)`` of a distribution from version control: its version alone says nothing of the code."""
    with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
        return f" ({json.loads(found.read_text('direct_url.json') or '{}')['vcs_info']['commit_id'][:12]})"
    return ""


def _modules(found: metadata.Distribution, record: str) -> set[str]:
    """The top-level modules of a distribution, by its list of files."""
    names = set((found.read_text("top_level.txt") or "").split())
    for first, slash in _RECORDED.findall(record):
        if not slash:
            stem = first.partition(".")[0]
            if not first.endswith(_SUFFIXES) or stem.startswith("__editable__"):
                continue
            first = stem
        names.add(first)
    return {name for name in names if name.isidentifier() and name != "__pycache__"}


def _requirements(texts: list[str]) -> dict[str, list[Any]]:
    """What is required, by extra (``""``: always), with the extras asked of it; markers are those of this Python."""
    from packaging.requirements import InvalidRequirement, Requirement

    found: dict[str, list[Any]] = {}
    for text in texts:
        try:
            one = Requirement(text)
        except InvalidRequirement:
            continue
        entry = [canonical(one.name), sorted(map(canonical, one.extras))]
        extras = ["", *_EXTRA.findall(text.partition(";")[2])] if one.marker else [""]
        for extra in extras:
            if one.marker is None or one.marker.evaluate({"extra": extra}):
                found.setdefault(canonical(extra), []).append(entry)
                if not extra:
                    break
    return found
