"""What differs between two environments, and whether a result may differ with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from nbmlops.notebook.installed import canonical
from nbmlops.records import Finding

_RANK = {"block": 0, "warn": 1, "pass": 2}
_LAST_DIGITS = "sums in another order: last digits may differ"
_SHOWN = 6  # names of one line
# What each variable changes; any other one that is noted sets a number of threads.
_VARIABLES = {
    "CUBLAS_WORKSPACE_CONFIG": "results on a GPU may differ from run to run",
    "TF_DETERMINISTIC_OPS": "results on a GPU may differ from run to run",
    "CUDA_VISIBLE_DEVICES": "other devices are used",
}
_BLAS, _BOTH = frozenset({"blas"}), frozenset({"blas", "openmp"})
_COUNTED = {
    "OPENBLAS_NUM_THREADS": _BLAS, "GOTO_NUM_THREADS": _BLAS, "MKL_NUM_THREADS": _BLAS, "BLIS_NUM_THREADS": _BLAS,
    "OMP_NUM_THREADS": _BOTH,
}  # fmt: skip
_MUTE = frozenset({"PYTHONHASHSEED", "TZ", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_NUMERIC", "LC_COLLATE"})


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[Finding, ...]:
    """What differs between two environments, the worst first; empty if nothing does.

    ``block``: results may well differ, or the code may not run; ``warn``: the last digits, or an order, may differ;
    ``pass``: one line with whatever else differs. Facts that one side does not have, as those noted by earlier
    versions or read from a lock, are not compared. Of packages those count that ``before`` had imported; where that
    is not known, all of them.

    Args:
        before: the facts of the environment that a result was made in, as :func:`nbmlops.runs.environment.facts`
            reads them.
        now: those of the environment it is held against.
    """
    found: list[Finding] = []
    other: list[str] = []
    for check in (_python, _machine, _packages, _libraries, _cpu, _seed, _system, _variables, _gpus, _rest):
        for item in check(before, now):
            if isinstance(item, Finding):
                found.append(item)
            else:
                other.append(item)
    found.sort(key=lambda f: _RANK[f.level])
    if other:
        found.append(Finding("other differences", "pass", "", _few(other), "these seldom change results"))
    return tuple(found)


def _both(before: Mapping[str, Any], now: Mapping[str, Any], *keys: str) -> tuple[Any, Any] | None:
    """A fact of both sides; None where one does not know it, or where they agree."""
    a: Any = before
    b: Any = now
    for key in keys:
        a = a.get(key) if isinstance(a, Mapping) else None
        b = b.get(key) if isinstance(b, Mapping) else None
    return None if a is None or b is None or a == b else (a, b)


def _few(texts: list[str]) -> str:
    return "; ".join(texts[:_SHOWN]) + (f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else "")


def _python(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Finding | str]:
    if pair := _both(before, now, "implementation"):
        yield Finding("python", "block", str(pair[0]), str(pair[1]), "another Python: results may differ")
    if pair := _both(before, now, "python"):
        a, b = map(str, pair)
        if a.split(".")[:2] == b.split(".")[:2]:
            yield f"Python {a} → {b}"
        else:
            minor = ".".join(a.split(".")[:2])
            yield Finding(
                "python",
                "block",
                f"Python {a}",
                f"Python {b}",
                f"results may differ, pickles may not load: use Python {minor}",
            )
    if pair := _both(before, now, "build", "abi"):
        yield f"ABI {pair[0]} → {pair[1]}"


def _machine(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Finding | str]:
    if pair := _both(before, now, "machine"):
        yield Finding(
            "CPU architecture", "block", str(pair[0]), str(pair[1]), "other compiled code: results may differ slightly"
        )


# --- packages -----------------------------------------------------------------------------------------------------
def _packages(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Finding | str]:
    if "packages" not in before or "packages" not in now:
        return
    had, has = _named(before["packages"]), _named(now["packages"])
    used = before.get("imported")
    matters = set(had) if used is None else {canonical(str(name)) for name in used}
    others = 0
    for name in sorted(had.keys() | has.keys()):
        if name in matters and name in had:
            yield from _package(name, had[name], has.get(name), before, now)
        elif had.get(name) != has.get(name):
            others += 1
    if others:
        yield f"{others} package{'s' if others > 1 else ''} that the run had not imported"


def _package(
    name: str, a: str, b: str | None, before: Mapping[str, Any], now: Mapping[str, Any]
) -> Iterator[Finding | str]:
    if b is None:
        yield Finding(name, "block", a, "not installed", f"pip install '{name}=={a}'")
        return
    if a != b:
        level, why = _step(a, b)
        yield Finding(name, level, a, b, why)
        return
    if pair := _both(before, now, "sources", name, "commit"):
        commits = [str(commit)[:12] for commit in pair]
        yield Finding(name, "block", f"{a} at {commits[0]}", f"{b} at {commits[1]}", "another commit: other code")
    elif any(_both(before, now, "sources", name, key) for key in ("dirty", "changes")):
        yield Finding(name, "warn", a, b, "its folder has, or had, changes in no commit")
    elif _both(before, now, "records", name):
        yield Finding(name, "warn", a, f"{b}, other files", "the same version built or patched in another way")


def _step(a: str, b: str) -> tuple[str, str]:
    """How far two versions are from each other: the level, and what it may mean."""
    first, second = _release(a), _release(b)
    if first is None or second is None:
        return "block", "another version: results may differ"
    for place, word in enumerate(("major", "minor")):
        if first[place] != second[place]:
            return "block", f"another {word} version: results may differ"
    return "warn", "another patch of it: results seldom differ"


def _release(version: str) -> tuple[int, int] | None:
    match = re.match(r"(?:\d+!)?(\d+)(?:\.(\d+))?", version)
    return (int(match[1]), int(match[2] or 0)) if match else None


def _named(packages: Mapping[str, Any]) -> dict[str, str]:
    return {canonical(str(name)): str(version) for name, version in packages.items()}


# --- what moves the last digits -----------------------------------------------------------------------------------
def _libraries(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Finding | str]:
    for api, title in (("blas", "BLAS"), ("openmp", "OpenMP")):
        had, has = _loaded(before, api), _loaded(now, api)
        if not had or had == has:
            continue
        names, here = ", ".join(had), ", ".join(has)
        if has.keys() < had.keys():  # nothing else does the work here; what is not loaded cannot be asked
            yield Finding(title, "pass", names, here or "not loaded here", "what is not loaded was not compared")
        elif names != here:
            yield Finding(title, "warn", names, here, _LAST_DIGITS)
        threads = sorted(set(had.values())), sorted(set(has.values()))
        if has and not set(threads[1]) <= set(threads[0]):
            asked, seen = (f"{', '.join(n)} threads" for n in threads)
            yield Finding(f"{title} threads", "warn", asked, seen, _mend(api, threads[0]))


def _mend(api: str, threads: list[str]) -> str:
    variable = "OPENBLAS_NUM_THREADS" if api == "blas" else "OMP_NUM_THREADS"
    return f"set {variable}={threads[0]}, else last digits may differ" if len(threads) == 1 else _LAST_DIGITS


def _loaded(facts: Mapping[str, Any], api: str) -> dict[str, str]:
    """Each library of that kind, with version and processor, and its threads."""
    found = {}
    for one in facts.get("libraries") or ():
        if one.get("api") == api:
            words = (one.get("library"), one.get("version"), one.get("architecture"), one.get("layer"))
            found[" ".join(str(word) for word in words if word)] = str(one.get("threads"))
    return dict(sorted(found.items()))


def _cpu(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Finding | str]:
    if pair := _both(before, now, "cpu", "features"):
        asked, seen = (" ".join(map(str, side)) if isinstance(side, list) else str(side) for side in pair)
        why = "other vector instructions: last digits may differ"
        yield Finding("CPU instructions", "warn", asked or "none of them", seen or "none of them", why)
    if pair := _both(before, now, "cpu", "model"):
        yield f"CPU {pair[0]} → {pair[1]}"
    if pair := _both(before, now, "cpu", "usable"):
        yield f"{pair[0]} → {pair[1]} CPUs"


def _seed(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Finding | str]:
    if pair := _both(before, now, "build", "hash_seed"):
        a, b = map(str, pair)
        mend = "start without PYTHONHASHSEED" if a == "random" else f"start with PYTHONHASHSEED={a}"
        yield Finding("hash seed", "warn", a, b, f"sets in another order: {mend}")


def _system(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Finding | str]:
    if pair := _both(before, now, "os", "system"):
        why = "paths, line ends and last digits may differ"
        yield Finding("operating system", "warn", str(pair[0]), str(pair[1]), why)
    elif pair := _both(before, now, "os", "libc"):
        why = "exp, log, sin are its: last digits may differ"
        yield Finding("C library", "warn", str(pair[0]), str(pair[1]), why)
    if (pair := _both(before, now, "os", "name")) or (pair := _both(before, now, "platform")):
        yield f"{pair[0]} → {pair[1]}"


def _variables(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Finding | str]:
    if not isinstance(before.get("variables"), Mapping) or not isinstance(now.get("variables"), Mapping):
        return
    had, has = before["variables"], now["variables"]
    told = {api for api in ("blas", "openmp") if _loaded(before, api) and _loaded(now, api)}
    for name in sorted((had.keys() | has.keys()) - _MUTE):
        a, b = had.get(name), has.get(name)
        if a != b and name in _COUNTED and told >= _COUNTED[name]:
            yield f"{name} {a or 'not set'} → {b or 'not set'}"  # the threads themselves were compared
        elif a != b:
            why = _VARIABLES.get(name, _LAST_DIGITS)
            yield Finding(name, "warn", "not set" if a is None else str(a), "not set" if b is None else str(b), why)


def _gpus(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Finding | str]:
    had, has = ([str(gpu.get("name", "")) for gpu in side.get("gpus") or ()] for side in (before, now))
    if "gpus" in before and "gpus" in now and had != has:
        if not had:
            yield f"a GPU that was not there before: {', '.join(has)}"
        else:
            why = "other hardware computes: results may differ slightly"
            yield Finding("GPU", "warn", ", ".join(had), ", ".join(has) or "none", why)
    elif had:
        drivers = [sorted({str(gpu.get("driver", "")) for gpu in side["gpus"]}) for side in (before, now)]
        if drivers[0] != drivers[1]:
            yield f"GPU driver {', '.join(drivers[0])} → {', '.join(drivers[1])}"


def _rest(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Finding | str]:
    for key, title in (("timezone", "time zone"), ("locale", "locale"), ("memory_gb", "GB of memory")):
        if pair := _both(before, now, key):
            yield f"{title} {pair[0]} → {pair[1]}"
    if pair := _both(before, now, "build", "kind"):
        yield f"Python of a {pair[0]} → {pair[1]}"
