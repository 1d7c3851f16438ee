"""References: one grammar for every door.

``run:ID`` · ``dataset:NAME[@VERSION|@ALIAS]`` · ``model:NAME[@VERSION|@ALIAS]`` · ``stage:NAME`` · ``flow:ID`` ·
``prediction:ID`` · ``event:SEQ``, and MLflow's ``models:/NAME/VERSION``, ``models:/NAME@ALIAS``, ``runs:/ID``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nbmlops.errors import InvalidValue

KINDS = ("run", "dataset", "model", "stage", "flow", "prediction", "event")
_NAME = re.compile(r"[\w][\w .+\-]*(/[\w][\w .+\-]*)*", re.UNICODE)
_MLFLOW = re.compile(r"models:/(?P<name>[^@]+?)(?:/(?P<version>[^/@]+)|@(?P<alias>[^/@]+))?$")


@dataclass(frozen=True)
class Ref:
    """A parsed reference. ``version`` is a number, ``alias`` a label; both None means the latest."""

    kind: str
    name: str
    version: int | None = None
    alias: str | None = None

    def __str__(self) -> str:
        mark = self.version if self.version is not None else self.alias
        return f"{self.kind}:{self.name}" + (f"@{mark}" if mark is not None else "")


def parse(text: str, kind: str | None = None) -> Ref:
    """Parse a reference. ``kind`` is what the verb implies when the text leaves it out.

    Raises:
        InvalidValue: the text is no reference, or one of another kind.
    """
    if not isinstance(text, str) or not text.strip():
        raise InvalidValue(
            f"a reference is needed, not {text!r}", "for example run:01J…, dataset:sales@3, model:churn@production"
        )
    text = text.strip()
    if match := _MLFLOW.match(text):
        return _check(_build("model", match["name"], match["version"] or match["alias"]), kind, text)
    if text.startswith("runs:/"):
        return _check(Ref("run", text[6:].split("/")[0]), kind, text)
    head, colon, rest = text.partition(":")
    if colon and head in KINDS:
        found, body = head, rest
    elif kind is None:
        raise InvalidValue(
            f"{text!r} does not say what kind of thing it is", f"write KIND:NAME, with one of {', '.join(KINDS)}"
        )
    else:
        found, body = kind, text
    if found in {"dataset", "model"}:
        name, _, mark = body.partition("@")
        return _check(_build(found, name, mark), kind, text)
    return _check(Ref(found, body), kind, text)


def _build(kind: str, name: str, mark: str | None) -> Ref:
    if mark and (digits := mark.removeprefix("v")).isdecimal():
        return Ref(kind, name, version=int(digits))
    return Ref(kind, name, alias=mark if mark and mark != "latest" else None)


def _check(ref: Ref, kind: str | None, text: str) -> Ref:
    if not ref.name:
        raise InvalidValue(f"{text!r} names nothing", "write KIND:NAME, for example dataset:sales")
    if kind is not None and ref.kind != kind:
        raise InvalidValue(f"{text!r} is a {ref.kind}, and a {kind} is needed", f"write {kind}:NAME")
    return ref


def check_name(name: object, what: str) -> str:
    """A name that is safe as a key, in a path and on a page, or an error that says what is allowed.

    Letters of any alphabet, digits, ``_ - . + space``, and ``/`` between parts; at most 250 characters.

    Raises:
        InvalidValue: the name has another type, length or character.
    """
    if not isinstance(name, str):
        raise InvalidValue(f"the name of {_a(what)} must be text, not {type(name).__name__}", "give it as a string")
    if not 0 < len(name) <= 250 or not _NAME.fullmatch(name) or ".." in name:
        shown = name if len(name) <= 60 else name[:57] + "…"
        raise InvalidValue(
            f"{shown!r} cannot be the name of {_a(what)}",
            "use letters, digits, '_', '-', '.', '+', spaces, and '/' between parts; at most 250 characters",
        )
    return name


def check_key(key: object, what: str) -> str:
    """A parameter, metric or tag key: any printable text of 1 to 250 characters.

    Wider than :func:`check_name`, because keys such as ``fit__l2(pen)=1`` or ``<b>`` are only data: stored
    as they are and escaped where shown.

    Raises:
        InvalidValue: not text, empty, too long, or with control characters.
    """
    if isinstance(key, str) and 0 < len(key) <= 250 and key.isprintable():
        return key
    if not isinstance(key, str):
        raise InvalidValue(
            f"the name of {_a(what)} must be text, not {type(key).__name__} ({key!r:.60})", "give it as a string"
        )
    raise InvalidValue(f"{key[:60]!r} cannot be the name of {_a(what)}", "use 1 to 250 printable characters")


def _a(what: str) -> str:
    return f"{'an' if what[:1] in 'aeiou' else 'a'} {what}"
