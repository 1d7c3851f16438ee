"""Lines that begin with ``%mlops``, read as far as they name data sets, models and files."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from nbmlops.notebook import known

_NAME_OPTIONS = ("--name", "-n")
# Commands of `dataset` and `model` -> how many references they read.
_READERS = {
    "dataset show": 1, "dataset profile": 1, "dataset uses": 1, "dataset tag": 1, "dataset diff": 2, "diff": 2,
    "dataset split": 1, "dataset contract": 1, "dataset check": 1, "dataset duplicates": 1, "dataset leakage": 2,
    "dataset labels": 1, "dataset export": 1, "dataset verify": 1, "model show": 1, "model verify": 1, "predict": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """``references`` are (role, kind, text); ``parts`` a data set that is split, and the names of its parts."""

    references: tuple[tuple[str, str, str], ...] = ()
    files: tuple[str, ...] = ()
    parts: tuple[str, tuple[str, ...]] | None = None
    impure: str = ""


def read_line(text: str) -> Line:
    """What the words behind ``%mlops`` do; nothing for those that only set or show something."""
    try:
        words = shlex.split(text)
    except ValueError:  # Python expressions need not be shell words; they name no data set either
        return Line()
    if not words:
        return Line()
    options, rest = _options(words)
    pair = " ".join(rest[:2])
    said = next((c for c in (pair, rest[0] if rest else "") if c in known.IMPURE_COMMANDS), "")
    impure = f"{known.IMPURE_COMMANDS[said]}: %mlops {said}" if said else ""
    if rest[:1] in (["snapshot"], ["register"]) or pair == "dataset snapshot":
        return _kept(rest[1:] if rest[0] != "dataset" else rest[2:], rest[0], options)
    command = next((c for c in (pair, rest[0] if rest else "") if c in _READERS), None)
    if command is None:
        return Line(impure=impure)
    given = rest[len(command.split()) :]
    kind = "model" if command.startswith(("model", "predict")) else "dataset"
    references = tuple(("reads", kind, ref) for ref in given[: _READERS[command]])
    files = tuple(path for name in ("--contract",) if (path := options.get(name)))
    parts = None
    if command == "dataset split" and given and "--parts" in options:
        parts = given[0], tuple(part.partition("=")[0].strip() for part in options["--parts"].split(","))
    if command == "predict" and len(given) > 1:
        data = given[1]
        references += (("reads", "dataset", data),) if data.startswith("dataset:") else ()
        files += () if data.startswith("dataset:") else (data,)
    return Line(references, files, parts, impure)


def _options(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Every option with the word behind it, and the other words; an option without a value takes none of them."""
    options: dict[str, str] = {}
    rest: list[str] = []
    place = 0
    while place < len(words):
        word = words[place]
        name, sign, value = word.partition("=")
        if not word.startswith("-"):
            rest.append(word)
        elif sign:
            options[name] = value
        elif name in {"--json", "--force", "-h", "--help"}:
            options[name] = ""
        elif place + 1 < len(words):
            place += 1
            options[name] = words[place]
        place += 1
    return options, rest


def _kept(given: list[str], verb: str, options: dict[str, str]) -> Line:
    """``snapshot`` and ``register``: what they write, and the files that they keep."""
    thing = given[0] if given else ""
    name = next((options[o] for o in _NAME_OPTIONS if o in options), "" if verb == "register" else thing)
    if not name:
        return Line()
    kind = "model" if verb == "register" else "dataset"
    files = [options[o] for o in ("--contract", "--labels") if re.search(r"[./]", options.get(o, ""))]
    if kind == "dataset" and (verb == "dataset" or re.search(r"\.(csv|parquet)(\.\w+)?$|/", thing)):
        files.insert(0, thing)
    return Line((("writes", kind, name),), tuple(files))
